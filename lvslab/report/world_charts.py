"""Charts of many worlds of one scenario: what a single repetition hides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.failover.frame import EDGE, HALF, HEAD, draw_title
from lvslab.runs.stats import median
from lvslab.runs.worlds import Lasting, SeedTrial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Variants = Mapping[str, Sequence[SeedTrial]]
"""The trials of each variant."""

_PLOT, _LEFT, _BELOW = 190.0, 50.0, 40.0
"""Points: the height of a plot, its distance from the left edge, and the room for its axis."""

_BINS = 24
_MARKS = ("o", "s", "D", "^", "v", "P")


@dataclass(frozen=True)
class _Plot:
    """A rectangle with two axes of numbers, on a sheet in points."""

    axes: Axes
    width: float
    x_from: float
    x_to: float
    y_from: float
    y_to: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x_from) / (self.x_to - self.x_from) * (self.width - EDGE - _LEFT)

    def y(self, value: float) -> float:
        return HEAD + _PLOT - (value - self.y_from) / (self.y_to - self.y_from) * _PLOT

    def draw_axes(self, below: str, along: Callable[[float], str]) -> None:
        """Lines and numbers; `below` names the axis of x, `along` writes the numbers of y."""
        from matplotlib.ticker import MaxNLocator

        right, bottom, steps = self.width - EDGE, HEAD + _PLOT, [1, 2, 2.5, 5, 10]
        for value in MaxNLocator(6, steps=steps).tick_values(self.x_from, self.x_to):
            if self.x_from <= value <= self.x_to:
                x = self.x(value)
                self.axes.plot([x, x], [HEAD, bottom], color=style.GRID, lw=0.8, zorder=0)
                self._write(x, bottom + 13, f"{value:g}", ha="center", va="baseline")
        for value in MaxNLocator(5, steps=steps).tick_values(self.y_from, self.y_to):
            if self.y_from <= value <= self.y_to:
                y = self.y(value)
                self.axes.plot([_LEFT, right], [y, y], color=style.GRID, lw=0.8, zorder=0)
                self._write(_LEFT - 6, y, along(value), ha="right", va="center")
        self.axes.plot([_LEFT, right], [bottom, bottom], color=style.LINE, lw=0.8)
        self._write(right, bottom + 26, below, ha="right", va="baseline")

    def _write(self, x: float, y: float, text: str, **place: Any) -> None:
        self.axes.text(x, y, text, size=8.5, color=style.MUTED, **place)


def _looks(variants: Variants, color: str) -> dict[str, dict[str, Any]]:
    """How the points of each variant look: filled in the mode's colour, then open ones in ink."""
    looks = {}
    for place, name in enumerate(variants):
        fill = color if place == 0 else style.PAPER
        edge = style.PAPER if place == 0 else style.INK
        size = 5.4 if place == 0 else 4.6  # the white edge makes a filled one look smaller
        looks[name] = {
            "marker": _MARKS[place % len(_MARKS)],
            "ms": size,
            "mfc": fill,
            "mec": edge,
            "mew": 0.9,
        }
    return looks


def _opened(
    title: str,
    subtitle: str,
    variants: Variants,
    color: str,
    spans: tuple[tuple[float, float], tuple[float, float]],
    more: Sequence[str] = (),
) -> tuple[Figure, _Plot, dict[str, dict[str, Any]]]:
    """A figure with its title and key below the plot; `more` are further entries of the key, drawn
    as dashed lines.
    """
    looks = _looks(variants, color)
    names = [*variants, *more]
    places = style.flow([17 + style.text_width(name, 8.5) for name in names], HALF - 2 * EDGE)
    key = HEAD + _PLOT + _BELOW
    figure, axes = style.sheet(HALF, key + 14 + 16 * places[-1][0])
    draw_title(axes, title, subtitle, HALF)
    for name, (row, across) in zip(names, places, strict=True):
        x, y = EDGE + across, key + 16 * row
        if name in looks:
            axes.plot([x + 6], [y], ls="none", **looks[name])
        else:
            axes.plot([x, x + 12], [y, y], color=style.INK, lw=0.9, ls=(0, (3, 2)))
        axes.text(x + 17, y, name or "all worlds", size=8.5, color=style.MUTED, va="center")
    (x_from, x_to), (y_from, y_to) = spans
    return figure, _Plot(axes, HALF, x_from, x_to, y_from, y_to), looks


def _span(values: Sequence[float]) -> tuple[float, float]:
    """From a little below the least to a little above the largest."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * (abs(high) or 1.0)
    return (max(0.0, low - margin) if low >= 0 else low - margin), high + margin


def known(variants: Variants) -> list[float]:
    """Every outage that is known."""
    return [trial.outage for own in variants.values() for trial in own if trial.outage is not None]


def outages(variants: Variants, color: str, worst: int) -> Figure:
    """How often which outage came: a column of points for each part of the range, one a world."""
    low, high = _span(known(variants))
    columns: dict[str, list[int]] = {}
    for name, own in variants.items():
        columns[name] = [0] * _BINS
        for trial in own:
            if trial.outage is not None:
                columns[name][_bin(trial.outage, low, high)] += 1
    tallest = max(max(counts) for counts in columns.values())
    with style.styled():
        figure, plot, looks = _opened(
            "How long the outages were",
            f"worlds in each part of the range; the worst is seed {worst}",
            variants,
            color,
            ((low, high), (0.0, tallest * 1.08)),
            ["median"],
        )
        plot.draw_axes("outage, s", lambda value: f"{value:g}" if value == int(value) else "")
        step = (high - low) / _BINS
        for place, (name, counts) in enumerate(columns.items()):
            _draw_columns(plot, counts, (low, step), place, len(columns), looks[name])
            middle = median([trial.outage for trial in variants[name] if trial.outage is not None])
            if middle is not None:
                xs, ink = [plot.x(middle)] * 2, color if place == 0 else style.INK
                plot.axes.plot(xs, [HEAD, HEAD + _PLOT], color=ink, lw=1.1, ls=(0, (3, 2)))
        return figure


def _draw_columns(
    plot: _Plot,
    counts: Sequence[int],
    grid: tuple[float, float],
    place: int,
    number: int,
    look: Mapping[str, Any],
) -> None:
    """The columns of one of `number` variants, side by side within each part."""
    from matplotlib.patches import Rectangle

    low, step = grid
    for index, count in enumerate(counts):
        if count:
            left = plot.x(low + (index + (0.08 + 0.84 * place / number)) * step)
            right = plot.x(low + (index + (0.08 + 0.84 * (place + 1) / number)) * step)
            top = plot.y(count)
            edge = look["mec"] if look["mfc"] == style.PAPER else "none"
            plot.axes.add_patch(
                Rectangle((left, top), right - left, plot.y(0) - top, fc=look["mfc"], ec=edge, lw=0.9)
            )


def _bin(value: float, low: float, high: float) -> int:
    return min(_BINS - 1, int((value - low) / (high - low) * _BINS))


def phases(variants: Variants, color: str, worst: int) -> Figure:
    """Each world's outage over the time since the last advertisement; where a formula says how long
    after that one the backup waits, its line.
    """
    points = {name: list(_phased(own)) for name, own in variants.items()}
    every = [point for own in points.values() for point in own]
    bounds = {trial.bound for own in variants.values() for trial in own if trial.bound is not None}
    largest = max(phase for phase, _, _ in every)
    ends = [bound - phase for bound in bounds for phase in (0.0, largest)]
    with style.styled():
        figure, plot, looks = _opened(
            "Outage against the phase of the advertisement",
            "missed the longest right after it has spoken; the next attempt ends an outage",
            variants,
            color,
            ((0.0, largest * 1.04 or 1.0), _span([*(outage for _, outage, _ in every), *ends])),
            ["the formula's bound, less the phase"] if bounds else [],
        )
        plot.draw_axes("s from the master's last advertisement to the fault", lambda value: f"{value:g} s")
        for bound in bounds:
            xs, ys = (plot.x(0), plot.x(largest)), (plot.y(bound), plot.y(bound - largest))
            plot.axes.plot(xs, ys, color=style.INK, lw=0.9, ls=(0, (3, 2)), zorder=1)
        for name, own in points.items():
            xs_, ys_ = [plot.x(phase) for phase, _, _ in own], [plot.y(outage) for _, outage, _ in own]
            plot.axes.plot(xs_, ys_, ls="none", zorder=3, **looks[name])
        marked = next(((phase, outage) for phase, outage, seed in every if seed == worst), None)
        if marked:
            x, y = plot.x(marked[0]), plot.y(marked[1])
            plot.axes.plot([x], [y], "o", ms=9, mfc="none", mec=style.BAD, mew=1.2, zorder=4)
            plot.axes.text(x + 8, y, f"seed {worst}", size=8.5, color=style.BAD, va="center", zorder=4)
        return figure


def _phased(trials: Sequence[SeedTrial]) -> Iterator[tuple[float, float, int]]:
    for trial in trials:
        if trial.phase is not None and trial.outage is not None:
            yield trial.phase, trial.outage, trial.seed


def has_phases(variants: Variants) -> bool:
    """Whether there is anything for `phases`."""
    return any(any(True for _ in _phased(own)) for own in variants.values())


def ages(variants: Variants, color: str) -> Figure:
    """Which part of the lasting connections of all worlds survived, over their age at the fault."""
    standing = {name: [one for trial in own for one in trial.connections] for name, own in variants.items()}
    oldest = max(one.age for own in standing.values() for one in own) or 1.0
    with style.styled():
        figure, plot, looks = _opened(
            "Lasting connections against their age",
            "survivors among those of an age, in all worlds",
            variants,
            color,
            ((0.0, oldest * 1.02), (0.0, 1.06)),
        )
        plot.draw_axes("age at the fault, s", lambda value: f"{value * 100:.0f} %")
        for name, own in standing.items():
            shares = list(share_by_age(own, oldest))
            xs, ys = [plot.x(age) for age, _ in shares], [plot.y(share) for _, share in shares]
            plot.axes.plot(xs, ys, color=style.MUTED, lw=0.9, zorder=2)
            plot.axes.plot(xs, ys, ls="none", zorder=3, **looks[name])
        return figure


def share_by_age(connections: Sequence[Lasting], oldest: float) -> Iterator[tuple[float, float]]:
    """Middle of an age's range and the share that survived, of ranges in which connections were."""
    for place in range(_BINS):
        own = [one for one in connections if _bin(one.age, 0.0, oldest) == place]
        if own:
            yield (place + 0.5) * oldest / _BINS, sum(one.outcome == "ok" for one in own) / len(own)
