"""The charts of a bench run: cost of each mode, growth with connections and servers, and the change
between two kernels.

Colours mean kernels here; a pale part or a broken line means the packet that opens a connection.
Axes of amounts begin at zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.looks import Looks
from lvslab.report.units import THIN_SPACE
from lvslab.runs.costs import Change, Cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table = Mapping[str, Mapping[str, Cost]]

_WIDE, _EDGE, _HEAD, _FOOT = 640.0, 14.0, 52.0, 40.0
_COLORS = (
    style.INK,
    style.outcome_color("closed"),
    style.outcome_color("unreachable"),
    style.outcome_color("refused"),
)
"""Ink and three colours of the theme that no mode has."""

_BAR, _GAP = 13.0, 9.0
_LINES = ("-", (0, (1, 1.2)), (0, (6, 2)), (0, (3, 1, 1, 1)))


def kernel_color(names: Sequence[str], kernel: str) -> str:
    """The colour of a kernel, the same in every chart of a run."""
    return _COLORS[names.index(kernel) % len(_COLORS)]


# -- modes -----------------------------------------------------------------------------------------


def mode_rows(table: Table) -> dict[str, tuple[str, str]]:
    """Configuration → its figures (established, new), of every mode and of connection tracking."""
    found: dict[str, tuple[str, str]] = {}
    for name in table:
        subject, _, rest = name.partition(":")
        base, _, phase = name.rpartition(":")
        if (
            subject in ("mode", "conntrack")
            and phase in ("established", "new")
            and not rest.startswith("routing")
        ):
            found[base] = (f"{base}:established", f"{base}:new")
    return found


def mode_label(name: str, looks: Looks) -> str:
    """`mode:nat:udp4` → "NAT · UDP, IPv4"."""
    subject, mode, traffic = name.split(":")[:3]
    tracked = ", tracked" if subject == "conntrack" else ""
    return f"{looks.of(mode).title} · {traffic[:-1].upper()}, IPv{traffic[-1]}{tracked}"


def modes(table: Table, names: Sequence[str], looks: Looks) -> Figure:
    """Cost of each mode over routing: a full bar for a packet of a known connection, a pale one for
    the first of a connection.
    """
    rows = mode_rows(table)
    with style.styled():
        labels = {name: mode_label(name, looks) for name in rows}
        left = _EDGE + max(style.text_width(label, 9.5) for label in labels.values()) + 12
        row = _BAR * len(names) + _GAP
        inner = row * len(rows)
        height = _HEAD + 18 + inner + _FOOT
        figure, sheet = style.sheet(_WIDE, height)
        _title(
            sheet,
            "What a forwarding mode costs",
            "beyond plain routing of the same packet; dark: established connection, pale: new ·"
            " less is better",
        )
        _kernel_key(sheet, names, left, _HEAD + 4)
        axes = figure.add_axes(_place((left, _HEAD + 18, _WIDE - left - _EDGE - 92, inner), _WIDE, height))
        largest = 1.0
        for index, (name, (known, first)) in enumerate(rows.items()):
            for place, kernel in enumerate(names):
                y = index * row + _GAP / 2 + _BAR * (place + 0.5)
                costs = [table.get(figure_name, {}).get(kernel) for figure_name in (known, first)]
                values = [cost.median if cost else None for cost in costs]
                largest = max(largest, *(value or 0.0 for value in values))
                _mode_bar(axes, y, values, kernel_color(names, kernel), costs)
            axes.annotate(
                labels[name],
                (0, index * row + row / 2),
                (-10, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                annotation_clip=False,
            )
        axes.set_xlim(0, largest * 1.03)
        axes.set_ylim(inner, 0)
        axes.set_yticks([])
        _thousands(axes, "x")
        axes.grid(True, axis="x")
        axes.set_xlabel("instructions per packet", loc="right")
        return figure


def _mode_bar(
    axes: Axes, y: float, values: Sequence[float | None], color: str, costs: Sequence[Cost | None]
) -> None:
    known, first = values
    if known is None and first is None:
        why = next((cost.error for cost in costs if cost and cost.error), "not measured")
        axes.annotate(
            style.fit(f"no figure: {why}", 300, 8),
            (0, y),
            (4, 0),
            textcoords="offset points",
            va="center",
            size=8,
            color=style.MUTED,
            style="italic",
        )
        return
    axes.barh(y, first or 0, height=_BAR - 3, color=color, alpha=0.28, lw=0)
    axes.barh(y, known or 0, height=_BAR - 3, color=color, lw=0)
    text = " → ".join(_short(value) for value in (known, first) if value is not None)
    axes.annotate(
        text,
        (1, y),
        (8, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        size=8.5,
        annotation_clip=False,
    )


# -- growth ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Curve:
    """Cost against a number, of one kernel; `dashed` counts the ways of breaking the line from 0, a
    full one.
    """

    kernel: str
    label: str
    points: tuple[tuple[int, float, float, float], ...]
    """(number, median, least and greatest over the seeds)"""
    dashed: int


def connection_curves(table: Table, names: Sequence[str]) -> list[Curve]:
    """Cost against the connections in the table: known ones and new ones, with the kernel's own
    size of table and with a larger one.
    """
    kinds = (
        ("established", "", "known", 0),
        ("new", "", "new", 1),
        ("established", ":tab18", "known, large table", 2),
        ("new", ":tab18", "new, large table", 3),
    )
    return [
        curve
        for kernel in names
        for phase, suffix, label, dashed in kinds
        if (curve := _curve(table, kernel, "connections:{}" + suffix + f":{phase}", label, dashed))
        is not None
    ]


def server_curves(table: Table, names: Sequence[str]) -> list[Curve]:
    """Cost of a new connection against the number of real servers, for each scheduler."""
    schedulers = list(dict.fromkeys(name.split(":")[1] for name in table if name.startswith("servers:")))
    return [
        curve
        for kernel in names
        for dashed, scheduler in enumerate(schedulers)
        if (curve := _curve(table, kernel, f"servers:{scheduler}:{{}}:new", scheduler, dashed)) is not None
    ]


def _curve(table: Table, kernel: str, pattern: str, label: str, dashed: int) -> Curve | None:
    before, after = pattern.split("{}")
    points = []
    for name, row in table.items():
        middle = name[len(before) : len(name) - len(after)]
        if name.startswith(before) and name.endswith(after) and middle.isdigit():
            cost = row.get(kernel)
            if cost is not None and cost.median is not None:
                points.append((int(middle), cost.median, min(cost.seeds.values()), max(cost.seeds.values())))
    return Curve(kernel, label, tuple(sorted(points)), dashed) if len(points) > 1 else None


def growth(title: str, subtitle: str, xlabel: str, curves: Sequence[Curve], names: Sequence[str]) -> Figure:
    """Curves over a logarithmic axis, the range of the seeds as a band, each curve named at its
    end.
    """
    with style.styled():
        from matplotlib.ticker import FuncFormatter, NullFormatter

        right = max(style.text_width(f"{curve.label}  {_short(99999)}", 8.5) for curve in curves) + 16
        height = _HEAD + 18 + 230 + _FOOT
        figure, sheet = style.sheet(_WIDE, height)
        _title(sheet, title, subtitle)
        left = _EDGE + 44
        _kernel_key(sheet, names, left, _HEAD + 4)
        axes = figure.add_axes(_place((left, _HEAD + 18, _WIDE - left - _EDGE - right, 230), _WIDE, height))
        for curve in curves:
            x, middle, low, high = (list(column) for column in zip(*curve.points, strict=True))
            color = kernel_color(names, curve.kernel)
            axes.fill_between(x, low, high, color=color, alpha=0.15, lw=0)
            axes.plot(x, middle, color=color, lw=1.8, ls=_LINES[curve.dashed % len(_LINES)], zorder=3)
            axes.plot(x, middle, "o", ms=4.5, mfc=color, mec=style.PAPER, mew=0.8, zorder=4)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", THIN_SPACE))
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        top = max(point[3] for curve in curves for point in curve.points) * 1.06
        axes.set_ylim(0, top)
        _thousands(axes, "y")
        axes.grid(True, which="major")
        axes.tick_params(axis="y", labelsize=8.5, labelcolor=style.MUTED)
        axes.set_xlabel(xlabel, loc="right")
        ends = _apart([(curve.points[-1][1], curve) for curve in curves], 12 * top / 230)
        for y, curve in ends:
            axes.annotate(
                f"{curve.label}  {_short(curve.points[-1][1])}",
                (1, y),
                (8, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                size=8.5,
                va="center",
                color=kernel_color(names, curve.kernel),
                annotation_clip=False,
            )
        return figure


def _apart(ends: Sequence[tuple[float, Curve]], least: float) -> list[tuple[float, Curve]]:
    """The heights of the names at the curves' ends, moved so far that they do not cover
    each other.
    """
    placed: list[tuple[float, Curve]] = []
    for y, curve in sorted(ends, key=lambda end: end[0]):
        placed.append((max(y, placed[-1][0] + least) if placed else y, curve))
    return placed


# -- change ----------------------------------------------------------------------------------------


def change(found: Sequence[Change], base: str, new: str) -> Figure:
    """Change of every figure from one kernel to another in per cent: right of the middle is more,
    left is less; grey is none.
    """
    with style.styled():
        row = 15.5
        left = _EDGE + max(style.text_width(each.base.name, 8.5) for each in found) + 12
        inner = row * len(found)
        height = _HEAD + inner + _FOOT
        figure, sheet = style.sheet(_WIDE, height)
        _title(
            sheet,
            f"From {base} to {new}",
            "change of the instructions per packet · grey: less than 0.1 %, or within the spread over seeds",
        )
        axes = figure.add_axes(_place((left, _HEAD, _WIDE - left - _EDGE, inner), _WIDE, height))
        least, most = (limit(0.0, *(100 * each.relative for each in found)) for limit in (min, max))
        room = 0.16 * max(1.0, most - least)
        for y, each in enumerate(found):
            value = 100 * each.relative
            color = (style.BAD if value > 0 else style.GOOD) if each.real else style.LINE
            axes.barh(y, value, height=0.66, color=color, lw=0)
            text = f"{value:+.2f} %".replace("-", "−")
            axes.annotate(
                text,
                (value, y),
                (4 if value >= 0 else -4, 0),
                textcoords="offset points",
                va="center",
                size=8,
                ha="left" if value >= 0 else "right",
                color=style.INK if each.real else style.MUTED,
            )
            axes.annotate(
                each.base.name,
                (0, y),
                (-8, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="center",
                size=8.5,
                annotation_clip=False,
            )
        axes.axvline(0, color=style.INK, lw=1)
        axes.set_xlim(least - (room if least < 0 else room / 8), most + (room if most > 0 else room / 8))
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_yticks([])
        axes.grid(True, axis="x")
        axes.set_xlabel("% more instructions", loc="right")
        return figure


# -- frames ----------------------------------------------------------------------------------------


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}".replace(",", THIN_SPACE)


def _title(sheet: Axes, title: str, subtitle: str) -> None:
    sheet.text(
        _EDGE, 21, style.fit(title, _WIDE - 2 * _EDGE, 11.5, True), size=11.5, weight="bold", va="baseline"
    )
    sheet.text(
        _EDGE, 36, style.fit(subtitle, _WIDE - 2 * _EDGE, 8.5), size=8.5, color=style.MUTED, va="baseline"
    )


def _kernel_key(sheet: Axes, names: Sequence[str], x: float, y: float) -> None:
    for name in names:
        style.rounded(sheet, x, y - 4, 14, 8, 2, fc=kernel_color(names, name), ec="none")
        shown = style.fit(name, 190, 8.5)
        sheet.text(x + 19, y, shown, size=8.5, va="center")
        x += 19 + style.text_width(shown, 8.5) + 16


def _place(
    box: tuple[float, float, float, float], width: float, height: float
) -> tuple[float, float, float, float]:
    """A box in points from the top left as matplotlib's fractions from the bottom left."""
    x, y, w, h = box
    return x / width, 1 - (y + h) / height, w / width, h / height


def _thousands(axes: Axes, which: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis: Any = getattr(axes, f"{which}axis")
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}".replace(",", THIN_SPACE)))
