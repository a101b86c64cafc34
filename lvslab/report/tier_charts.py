"""The figure of a comparison of LVS with proxies: how many times the director's time of LVS each
proxy takes, by kind of work.

Every repetition is a visible point: filled as measured, hollow as estimated with system calls at
the machine's price (`lvslab.report.tier`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lvslab.report import style, tier
from lvslab.report.looks import looks_of
from lvslab.report.tier import Ratio
from lvslab.report.units import significant
from lvslab.runs.rundir import Run
from lvslab.runs.stats import median

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _EDGE, _HEAD, _ROW, _GAP, _FOOT = 816.0, 14.0, 78.0, 42.0, 34.0, 62.0
_NUMBERS = 40.0
"""Points right of each panel for its numbers."""


def describe(run: Run) -> str:
    """The figure in words, for who cannot see it."""
    base = tier.bases(run)[0]
    parts = []
    for work, words in tier.WORK.items():
        found = {name: tier.ratio(run, name, base, work) for name in tier.proxies(run)}
        parts.append(
            f"{words}: {tier.listed([f'{_title(name)} {each.text}' for name, each in found.items() if each])}"
        )
    return f"Director time in relation to {_title(base)}. {'; '.join(parts)}"


def can_draw(run: Run) -> bool:
    """Whether the run compares LVS with proxies and has a ratio to show."""
    found = tier.bases(run)
    return bool(found) and any(
        tier.ratio(run, name, found[0], work) for name in tier.proxies(run) for work in tier.WORK
    )


def ratios(run: Run) -> Figure:
    """One panel for each kind of work, on one logarithmic axis; a run that `can_draw`."""
    base, names, looks = tier.bases(run)[0], tier.proxies(run), looks_of(run)
    found = {(name, work): tier.ratio(run, name, base, work) for name in names for work in tier.WORK}
    values = [
        value for each in found.values() if each for value in (*each.measured, *each.estimated) if value > 0
    ]
    low, high = min(0.8, *values) / 1.1, max(2 * tier.MUCH, *values) * 1.15
    with style.styled():
        bottom = _HEAD + _ROW * len(names)
        figure, axes = style.sheet(_WIDTH, bottom + _FOOT)
        axes.text(
            _EDGE,
            21,
            f"What a proxy costs its director, in relation to {_title(base)}",
            size=11.5,
            weight="bold",
            va="baseline",
        )
        subtitle = (
            "director's processor time for the same work, logarithmic; every repetition is a point · less is"
            " better"
        )
        axes.text(_EDGE, 36, subtitle, size=8.5, color=style.MUTED, va="baseline")
        left = _EDGE + max(style.text_width(_title(name), 9.5) for name in names) + 12
        width = (_WIDTH - left - _EDGE - _GAP * (len(tier.WORK) - 1)) / len(tier.WORK)
        for y, name in enumerate(names):
            axes.text(left - 10, _middle(y), _title(name), size=9.5, ha="right", va="center")
        for column, work in enumerate(tier.WORK):
            start = left + column * (width + _GAP)
            panel = _Panel(axes, start, start + width - _NUMBERS, low, high, bottom)
            axes.text(start, _HEAD - 14, tier.WORK[work], size=9, weight="bold", va="baseline")
            panel.frame()
            for y, name in enumerate(names):
                panel.row(_middle(y), found[name, work], looks.of(name).light)
        _key(axes, left, bottom + 46, any(each.estimated for each in found.values() if each), base)
        return figure


class _Panel:
    """One kind of work between `left` and `right` on a logarithmic axis."""

    def __init__(self, axes: Axes, left: float, right: float, low: float, high: float, bottom: float) -> None:
        self._axes, self._left, self._right, self._low, self._high, self._bottom = (
            axes,
            left,
            right,
            low,
            high,
            bottom,
        )

    def _x(self, value: float) -> float:
        part = math.log(max(value, self._low) / self._low) / math.log(self._high / self._low)
        return self._left + part * (self._right - self._left)

    def frame(self) -> None:
        """Axis, ticks, and the lines at 1 (as much as LVS) and at what counts as much more."""
        for value in _ticks(self._low, self._high):
            x = self._x(value)
            self._axes.plot([x, x], [_HEAD, self._bottom], color=style.GRID, lw=0.8, zorder=0)
            self._axes.text(
                x, self._bottom + 13, f"{value:g}", size=8.5, color=style.MUTED, ha="center", va="baseline"
            )
        for value, line in ((1.0, "-"), (tier.MUCH, (0, (3, 2)))):
            self._axes.plot(
                [self._x(value)] * 2, [_HEAD, self._bottom], color=style.INK, lw=0.9, ls=line, zorder=1
            )
        self._axes.plot([self._left, self._right], [self._bottom] * 2, color=style.LINE, lw=0.8)

    def row(self, y: float, ratio: Ratio | None, color: str) -> None:
        """The repetitions of one proxy: measured above, estimated below."""
        if ratio is None:
            self._axes.text(
                self._left + 4, y, "not measured", size=8.5, color=style.MUTED, style="italic", va="center"
            )
            return
        both = bool(ratio.estimated)
        for values, lift, filled in (
            (ratio.measured, -7.0 if both else 0.0, True),
            (ratio.estimated, 8.0, False),
        ):
            if not values:
                continue
            at = y + lift
            self._axes.plot(
                [self._x(min(values)), self._x(max(values))],
                [at, at],
                color=color,
                lw=1.6,
                zorder=2,
                solid_capstyle="round",
            )
            face = color if filled else style.PAPER
            self._axes.plot(
                [self._x(value) for value in values],
                [at] * len(values),
                "o",
                ms=5,
                mfc=face,
                mec=color,
                mew=1.1,
                zorder=3,
            )
            middle = median(values) or 0.0
            self._axes.plot(
                [self._x(middle)] * 2,
                [at - 6, at + 6],
                color=style.INK,
                lw=1.5,
                zorder=3.5,
                solid_capstyle="butt",
            )
            look: dict[str, Any] = {"weight": "bold"} if filled else {"color": style.MUTED}
            self._axes.text(self._right + 8, at, f"{significant(middle)} ×", size=8.5, va="center", **look)


def _key(axes: Axes, x: float, y: float, estimated: bool, base: str) -> None:
    entries = [("point", "measured in the guest: an upper bound" if estimated else "measured")]
    entries += [("hollow", "estimated: each system call at the machine's price")] if estimated else []
    entries += [("line", f"as much as {_title(base)}"), ("dashes", f"{tier.MUCH:g} times: much")]
    for kind, text in entries:
        if kind in ("point", "hollow"):
            axes.plot(
                [x + 5],
                [y],
                "o",
                ms=5,
                mfc=style.MUTED if kind == "point" else style.PAPER,
                mec=style.MUTED,
                mew=1.1,
            )
        else:
            axes.plot(
                [x + 5, x + 5],
                [y - 6, y + 6],
                color=style.INK,
                lw=0.9,
                ls="-" if kind == "line" else (0, (3, 2)),
            )
        axes.text(x + 15, y, text, size=8.5, color=style.MUTED, va="center")
        x += 15 + style.text_width(text, 8.5) + 18


def _ticks(low: float, high: float) -> Sequence[float]:
    """1, 2, 5, 10, … within the axis; only powers of ten where it is long."""
    steps = (1, 2, 5) if high / low < 100 else (1, 3) if high / low < 1000 else (1,)
    return [value for power in range(-3, 7) for step in steps if low <= (value := step * 10.0**power) <= high]


def _middle(row: int) -> float:
    return _HEAD + _ROW * (row + 0.5)


def _title(name: str) -> str:
    return tier.TITLES.get(name, name)
