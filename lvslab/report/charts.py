"""The charts of a run: every repeat is a visible point, medians and spreads are drawn over them,
axes of amounts begin at zero.

A lab that could not be measured keeps its row, and the row says why. Colours mean modes, the same
in every chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from statistics import median
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.series import Series, Subject
from lvslab.report.units import THIN_SPACE, Scale, percent, quantity, scale
from lvslab.runs.records import Counters, Lab
from lvslab.runs.rundir import Run
from lvslab.runs.stats import percentile, present, shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 432.0  # points: half of a wide page at its natural size
_ROW, _EDGE, _HEAD, _FOOT = 33.0, 14.0, 52.0, 44.0


def metric(series: Series, subjects: Sequence[Subject]) -> Figure:
    """One metric: a pale bar up to the median, the median and the range of the repeats, and every
    repeat as a point.
    """
    unit = scale(series.unit, series.largest)
    with style.styled():
        texts = [_median_texts(series, s, unit) for s in subjects]
        room = max(
            max(style.text_width(median, 9, True), style.text_width(spread, 7.5)) for median, spread in texts
        )
        figure, axes = _rows(series.title, _subtitle(series), subjects, room + 14)
        largest = (series.largest or 0) / unit.factor
        axes.set_xlim(0, largest * 1.04 if largest else 1)
        for y, (subject, (median, spread)) in enumerate(zip(subjects, texts, strict=True)):
            _metric_row(axes, y, series, subject, unit)
            _beside(axes, y, median, 5.5 if spread else 0, size=9, weight="bold")
            _beside(axes, y, spread, -6.5, size=7.5, color=style.MUTED)
        _value_axis(
            axes, unit.suffix or series.unit.removeprefix("1")
        )  # a share or a count has no unit to name
        return figure


def median_text(series: Series, subject: Subject) -> str:
    """The median of one lab in words, for who cannot see the chart."""
    median = series.summary(subject.lab).median
    return (
        f"no number ({series.missing(subject.lab)})"
        if median is None
        else scale(series.unit, series.largest).text(median)
    )


def _subtitle(series: Series) -> str:
    better = f"{series.better} is better" if series.better else ""
    return " · ".join(filter(None, [series.meaning, better]))


def _median_texts(series: Series, subject: Subject, unit: Scale) -> tuple[str, str]:
    """What stands right of a row: the median, and below it how far the repeats lie apart."""
    summary = series.summary(subject.lab)
    if summary.median is None:
        return "", ""
    return (
        unit.text(summary.median),
        f"{f'spread {percent(summary.spread)}, ' if summary.spread is not None else ''}n {summary.n}",
    )


def _beside(axes: Axes, y: float, text: str, lift: float, **look: Any) -> None:
    """A text right of the plot, level with row y and `lift` points above its middle."""
    axes.annotate(
        text,
        (1, y),
        (10, lift),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        annotation_clip=False,
        **look,
    )


def _inside(axes: Axes, y: float, text: str, **look: Any) -> None:
    """A text inside a row, at its left end."""
    axes.annotate(
        text, (0, y), (6, 0), textcoords="offset points", va="center", annotation_clip=False, **look
    )


def _metric_row(axes: Axes, y: int, series: Series, subject: Subject, unit: Scale) -> None:
    color = subject.look.light
    summary = series.summary(subject.lab)
    if summary.median is None or summary.low is None or summary.high is None:
        room = _WIDTH - 2 * _EDGE - 110 - style.text_width("no number: ", 8.5)
        why = style.fit(series.missing(subject.lab), room, 8.5)
        _inside(axes, y, f"no number: {why}", size=8.5, color=style.MUTED, style="italic")
        return
    values = [value / unit.factor for value in series.values[subject.lab] if value is not None]
    middle = summary.median / unit.factor
    axes.barh(y, middle, height=0.56, color=color, alpha=0.25, lw=0, zorder=1)
    ends = [summary.low / unit.factor, summary.high / unit.factor]
    axes.plot(ends, [y, y], color=color, lw=2, zorder=2, solid_capstyle="round")
    axes.plot(
        [middle, middle], [y - 0.33, y + 0.33], color=style.INK, lw=1.8, zorder=2.5, solid_capstyle="butt"
    )
    axes.plot(
        values,
        _beeswarm(values),
        "o",
        ms=5.2,
        mfc=color,
        mec=style.PAPER,
        mew=0.8,
        zorder=3,
        transform=_shift(axes, y),
    )
    if summary.missing:
        _inside(
            axes,
            y,
            f"{summary.missing} of {summary.n + summary.missing} failed",
            size=7.5,
            color=style.BAD,
            zorder=5,
        )


def _beeswarm(values: Sequence[float]) -> list[float]:
    """Vertical places for the points of one row: fanned out in their order, so that equal ones stay
    apart.
    """
    step = min(0.13, 0.4 / max(1, len(values) - 1))
    return [(index - (len(values) - 1) / 2) * step for index in range(len(values))]


def _shift(axes: Axes, y: float) -> Any:
    from matplotlib.transforms import Affine2D

    return Affine2D().translate(0, y) + axes.transData


def latency(run: Run, subjects: Sequence[Subject]) -> Figure:
    """What part of the requests was answered within a time; thin lines are the single repeats,
    marks p50 and p99, as the table has them.
    """
    lists = {
        s.lab: [present(sample.values or ()) for sample in run.of("latency") if sample.lab == s.lab]
        for s in subjects
    }
    pooled = {lab: sorted(value for repeat in repeats for value in repeat) for lab, repeats in lists.items()}
    shown = [s for s in subjects if pooled[s.lab]]
    absent = [s for s in subjects if not pooled[s.lab]]
    everything = [value for s in shown for value in pooled[s.lab]]
    unit = scale("s", percentile(everything, 99) or max(everything))
    with style.styled():
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        subtitle = "new connection to last byte, one at a time · marks: median of the repeats' p50, p99"
        figure, axes = _plot("Latency of a request", subtitle, 230, 152)
        for subject in shown:
            color = subject.look.light
            for repeat in filter(None, lists[subject.lab]):
                axes.plot(*_steps(repeat, unit), color=color, lw=0.8, alpha=0.35, zorder=2)
            values = pooled[subject.lab]
            axes.plot(*_steps(values, unit), color=color, lw=2, zorder=3)
            for marker, rank in (("o", 50), ("D", 99)):
                at = typical(lists[subject.lab], rank)
                if at is not None:
                    axes.plot(
                        at / unit.factor,
                        rank / 100,
                        marker,
                        ms=5.5,
                        mfc=color,
                        mec=style.PAPER,
                        mew=0.9,
                        zorder=4,
                    )
        low, high = min(everything) / unit.factor, max(everything) / unit.factor
        if low > 0 and high / low > 6:
            axes.set_xscale("log")
            axes.set_xlim(low * 0.93, high * 1.07)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            axes.set_xlim(0, high * 1.04)
        axes.set_ylim(0, 1.02)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.99], ["0", "25 %", "50 %", "75 %", "99 %"])
        axes.tick_params(axis="y", labelsize=8.5, labelcolor=style.MUTED)
        axes.grid(True, which="major")
        axes.set_xlabel(unit.suffix, loc="right")
        _latency_key(axes, shown, absent, lists, unit)
        return figure


def typical(repeats: Sequence[Sequence[float]], percent: float) -> float | None:
    """The median of the repeats' percentiles: the requests inside a repeat are not independent."""
    found = present(percentile(values, percent) for values in repeats)
    return median(found) if found else None


def _steps(values: Sequence[float], unit: Scale) -> tuple[list[float], list[float]]:
    """The empirical distribution function through the sorted values; of very many, all of the tail
    and a part of the rest.
    """
    n = len(values)
    stride = max(1, n // 500)
    chosen = [index for index in range(n) if index % stride == 0 or index >= n - 100]
    return [values[index] / unit.factor for index in chosen], [(index + 1) / n for index in chosen]


def _latency_key(
    axes: Axes,
    shown: Sequence[Subject],
    absent: Sequence[Subject],
    lists: dict[str, list[list[float]]],
    unit: Scale,
) -> None:
    """A small table right of the plot: line, name, p50, p99."""

    def put(x: float, y: float, text: str, **look: Any) -> None:
        axes.annotate(
            text,
            (1, 1),
            (x, y),
            xycoords="axes fraction",
            textcoords="offset points",
            size=8.5,
            va="center",
            annotation_clip=False,
            **look,
        )

    put(108, 0, f"● p50, {unit.suffix}", ha="right", color=style.MUTED)
    put(152, 0, "◆ p99", ha="right", color=style.MUTED)
    y = -17.0
    for subject in shown:
        put(12, y, "━", color=subject.look.light, weight="bold")
        put(25, y, style.fit(subject.label, 56, 8.5))
        for x, rank in ((108, 50), (152, 99)):
            put(x, y, unit.number(typical(lists[subject.lab], rank)), ha="right")
        y -= 17
    for subject in absent:
        put(25, y, f"{subject.label}: no number", color=style.MUTED, style="italic")
        y -= 17


def answers(run: Run, subjects: Sequence[Subject]) -> Figure:
    """How the latency requests were shared among the real servers, over all repeats."""
    counts: dict[str, dict[str, float]] = {}
    for sample in run.of("answers"):
        server = sample.labels.get("server", "?")
        if sample.value is not None:
            lab = counts.setdefault(sample.lab, {})
            lab[server] = lab.get(server, 0) + sample.value
    with style.styled():
        figure, axes = _rows(
            "Who answered", "share of the latency requests that each real server answered", subjects, 14
        )
        axes.set_xlim(0, 1)
        for y, subject in enumerate(subjects):
            parts = shares(counts.get(subject.lab, {})) or {}
            start = 0.0
            for index, (server, part) in enumerate(sorted(parts.items(), key=lambda item: _natural(item[0]))):
                tint = (0.5, 0.28)[index % 2]
                axes.barh(y, part, left=start, height=0.62, color=subject.look.light, alpha=tint, lw=0)
                axes.plot([start + part] * 2, [y - 0.31, y + 0.31], color=style.PAPER, lw=1.5)
                width = part * (_WIDTH - _label_width(subjects) - 2 * _EDGE - 14)
                text = next(
                    (
                        t
                        for t in (f"{server} {percent(part)}", server)
                        if style.text_width(t, 8.5) < width - 4
                    ),
                    "",
                )
                axes.text(start + part / 2, y, text, size=8.5, ha="center", va="center")
                start += part
            if not parts:
                _inside(
                    axes,
                    y,
                    "no number: not measured or nothing answered",
                    size=8.5,
                    color=style.MUTED,
                    style="italic",
                )
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.grid(True, axis="x")
        return figure


def _natural(name: str) -> tuple[str, int]:
    digits = name[len(name.rstrip("0123456789")) :]
    return name.removesuffix(digits), int(digits or 0)


def totals(lab: Lab) -> Counters | None:
    """What the director counted over all services of a lab; None when it was not recorded."""
    if not lab.counters:
        return None

    def add(key: str) -> int | None:
        numbers = [getattr(service, key) for service in lab.counters]
        return None if any(number is None for number in numbers) else sum(numbers)

    return Counters(**{item.name: add(item.name) for item in fields(Counters)})


def counters(run: Run, subjects: Sequence[Subject]) -> Figure:
    """What IPVS counted in each lab: connections, and packets and bytes both ways."""
    counted = {lab.name: totals(lab) for lab in run.labs}
    shown = [s for s in subjects if counted.get(s.lab)]
    panels: tuple[tuple[str, tuple[str, ...], str], ...] = (
        ("Connections", ("conns",), "1"),
        ("Packets", ("in_packets", "out_packets"), "1"),
        ("Bytes", ("in_bytes", "out_bytes"), "B"),
    )
    with style.styled():
        title = "What the director counted"
        subtitle = "by IPVS over the whole lab; replies that bypass the director are not in it"
        height = _HEAD + 38.0 * len(shown) + 46
        figure, sheet = style.sheet(_WIDTH, height)
        _title(sheet, title, subtitle)
        left = _EDGE + _label_width(shown)
        width = (_WIDTH - left - _EDGE) / len(panels)
        for column, (name, keys, unit) in enumerate(panels):
            box = (left + column * width, _HEAD + 18, width - 56, 38.0 * len(shown))
            axes = figure.add_axes(_place(box, _WIDTH, height))
            _counter_panel(axes, shown, counted, keys, unit)
            sheet.text(box[0], _HEAD + 10, name, size=9, weight="bold", va="baseline")
        for y, subject in enumerate(shown):
            sheet.text(
                left - 10, _HEAD + 18 + 38 * (y + 0.5), subject.label, size=9.5, ha="right", va="center"
            )
        x = left
        for text, alpha in (("in: toward the real servers", 0.75), ("out: back through the director", 0.3)):
            style.rounded(sheet, x, height - 19, 14, 8, 2, fc=style.MUTED, alpha=alpha, ec="none")
            sheet.text(x + 19, height - 15, text, size=8.5, color=style.MUTED, va="center")
            x += 30 + style.text_width(text, 8.5) + 14
        return figure


def _counter_panel(
    axes: Axes, shown: Sequence[Subject], counted: dict[str, Counters | None], keys: Sequence[str], unit: str
) -> None:
    numbers = {(s.lab, key): getattr(counted[s.lab], key) for s in shown for key in keys}
    largest = max((number for number in numbers.values() if number is not None), default=0)
    axes.set_xlim(0, largest or 1)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    for y, subject in enumerate(shown):
        for index, key in enumerate(keys):
            number = numbers[subject.lab, key]
            at = y + (0 if len(keys) == 1 else 0.2 * (2 * index - 1))
            axes.barh(
                at,
                number or 0,
                height=0.34,
                color=subject.look.light,
                alpha=(0.75, 0.3)[index],
                lw=0,
            )
            text = "not counted" if number is None else quantity(number, unit)
            axes.annotate(
                text,
                (number or 0, at),
                (4, 0),
                textcoords="offset points",
                size=8.5,
                va="center",
                annotation_clip=False,
            )


# --- frames ---------------------------------------------------------------------------------------


def _label_width(subjects: Sequence[Subject]) -> float:
    return max((style.text_width(s.label, 9.5) for s in subjects), default=20) + 12


def _place(
    box: tuple[float, float, float, float], width: float, height: float
) -> tuple[float, float, float, float]:
    """A box in points from the top left as matplotlib's fractions from the bottom left."""
    x, y, w, h = box
    return x / width, 1 - (y + h) / height, w / width, h / height


def _title(sheet: Axes, title: str, subtitle: str) -> None:
    sheet.text(_EDGE, 21, title, size=11.5, weight="bold", va="baseline")
    sheet.text(
        _EDGE, 36, style.fit(subtitle, _WIDTH - 2 * _EDGE, 8.5), size=8.5, color=style.MUTED, va="baseline"
    )


def _plot(title: str, subtitle: str, inner: float, right: float) -> tuple[Figure, Axes]:
    """A titled figure with one plot, `inner` points high, and room for a key on the right."""
    height = _HEAD + inner + _FOOT
    figure, sheet = style.sheet(_WIDTH, height)
    _title(sheet, title, subtitle)
    axes = figure.add_axes(
        _place((_EDGE + 32, _HEAD, _WIDTH - 2 * _EDGE - 32 - right, inner), _WIDTH, height)
    )
    return figure, axes


def _rows(title: str, subtitle: str, subjects: Sequence[Subject], right: float) -> tuple[Figure, Axes]:
    """A titled figure with one row a lab, the first on top; `right` points stay free for texts."""
    inner = _ROW * len(subjects)
    height = _HEAD + inner + _FOOT
    figure, sheet = style.sheet(_WIDTH, height)
    _title(sheet, title, subtitle)
    left = _EDGE + _label_width(subjects)
    axes = figure.add_axes(_place((left, _HEAD, _WIDTH - left - _EDGE - right, inner), _WIDTH, height))
    axes.set_ylim(len(subjects) - 0.5, -0.5)
    axes.set_yticks(range(len(subjects)), [s.label for s in subjects])
    axes.tick_params(axis="y", length=0)
    return figure, axes


def _value_axis(axes: Axes, label: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}".replace(",", THIN_SPACE)))
    axes.grid(True, axis="x")
    axes.set_xlabel(label, loc="right")
