"""Charts of a run's trials: the outages of all repeats beside their prediction, the comparison of
the variants, the surviving connections.

Every repeat is a visible point. What is not known is said in its place, never drawn as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.failover import Group, count, everything, outcomes_text, share
from lvslab.report.units import MISSING, quantity
from lvslab.runs.stats import present

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HALF, _WIDE, _EDGE, _HEAD = 432.0, 816.0, 14.0, 56.0
_LOG_FROM = 40.0
"""An axis becomes logarithmic when the largest outage is so many times the smallest."""


# --- outages --------------------------------------------------------------------------------------

_NONE = 44.0  # points: the place of the repeats without an outage, left of the axis


def outages(groups: Sequence[Group], wide: bool = False) -> Figure:
    """Every repeat's outage as a point, its detection as a diamond below, the prediction as a band;
    `wide` fills a whole page.
    """
    width = _WIDE if wide else _HALF
    row = 46.0
    known = [length for group in groups for length in group.lengths]
    spans = present(
        [length.seconds for length in known if length.seconds]
        + [d for group in groups for d in group.detections]
    )
    spans = spans or [1.0]
    bounds = [t.trial.bound.seconds for group in groups for t in group.trials if t.trial.bound]
    largest = max(spans)
    near = [bound for bound in bounds if bound <= 3 * largest]
    with style.styled():
        from matplotlib.ticker import LogLocator, MaxNLocator

        log = largest / max(min(spans), 1e-6) > _LOG_FROM
        left = (
            _EDGE
            + _names(groups)
            + (_NONE if any(not length.seconds and length.ended for length in known) else 0)
        )
        right = (
            width
            - _EDGE
            - max(
                [style.text_width(text, 8) for g in groups for text in (g.range_text, g.median_text)] + [40]
            )
            - 16
        )
        bottom = _HEAD + row * len(groups)
        key = _outage_key(groups)
        places = style.flow([17 + style.text_width(text, 8.5) for _, text in key], width - 2 * _EDGE)
        figure, axes = style.sheet(width, bottom + 66 + 16 * places[-1][0])
        _title(
            axes, "Outage of every repeat", "seconds without full service; ◇ when the director noticed", width
        )
        top = max([largest, *near])
        low, high = (min(spans) / 1.5, top * 1.3) if log else (0.0, top * 1.06)
        factor, unit = (1.0, "s") if top >= 1.5 else (1e-3, "ms")
        axis = _Axis(left, right, low, high, log)
        ticks = (
            LogLocator(subs=(1, 2, 5) if high / low < 200 or wide else (1, 3))
            if log
            else MaxNLocator(12 if wide else 6, steps=[1, 2, 2.5, 5, 10])
        )
        for value in ticks.tick_values(low / factor, high / factor):
            if low <= value * factor <= high:
                x = axis.x(value * factor)
                axes.plot([x, x], [_HEAD, bottom], color=style.GRID, lw=0.8, zorder=0)
                axes.text(
                    x, bottom + 13, f"{value:g}", size=8.5, color=style.MUTED, ha="center", va="baseline"
                )
        axes.plot([left, right], [bottom, bottom], color=style.LINE, lw=0.8)
        axes.text(
            right,
            bottom + 26,
            f"{unit}{', logarithmic' if log else ''}",
            size=9,
            color=style.MUTED,
            ha="right",
            va="baseline",
        )
        for index, group in enumerate(groups):
            _outage_row(axes, group, axis, _HEAD + row * (index + 0.5), left)
        _draw_outage_key(axes, key, places, bottom + 50)
        return figure


class _Axis:
    """Places seconds between `left` and `right`; what lies beyond an end is drawn at that end."""

    def __init__(self, left: float, right: float, low: float, high: float, log: bool) -> None:
        self.left, self.right, self._low, self._high, self._log = left, right, low, high, log

    def x(self, seconds: float) -> float:
        import math

        seconds = min(max(seconds, self._low), self._high)
        part = (seconds - self._low) / (self._high - self._low)
        if self._log:
            part = math.log(seconds / self._low) / math.log(self._high / self._low)
        return self.left + part * (self.right - self.left)


def _outage_row(axes: Axes, group: Group, axis: _Axis, y: float, left: float) -> None:
    from matplotlib.patches import Rectangle

    color = style.mode_color(group.mode)
    _name(axes, group, y)
    bounds = present(t.trial.bound.seconds for t in group.trials if t.trial.bound)
    if bounds:
        x = axis.x(bounds[-1])
        axes.add_patch(
            Rectangle(
                (axis.left, y - 18), x - axis.left, 36, fc=style.MARK, ec="none", alpha=0.45, zorder=0.4
            )
        )
        axes.plot([x, x], [y - 18, y + 18], color=style.INK, lw=0.9, ls=(0, (3, 2)), zorder=1)
    known = [trial for trial in group.trials if trial.length is not None]
    lost = len(group.trials) - len(known)
    for index, trial in enumerate(known):
        assert trial.length is not None
        offset = (index - (len(known) - 1) / 2) * min(6.5, 24 / max(1, len(known) - 1))
        at = y - 3 + offset
        if not trial.length.seconds and trial.length.ended:
            axes.plot(
                [left - _NONE / 2], [at], "o", ms=5.2, mfc=style.PAPER, mec=style.GOOD, mew=1.3, zorder=3
            )
            continue
        x = axis.x(trial.length.seconds)
        if not trial.length.ended:
            end = min(x + 20, axis.right + 12)
            axes.annotate(
                "",
                (end, at),
                (x, at),
                arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.4, "shrinkA": 0, "shrinkB": 0},
            )
        edge = style.BAD if trial.exceeded else style.PAPER
        axes.plot([x], [at], "o", ms=5.6, mfc=color, mec=edge, mew=1.3 if trial.exceeded else 0.8, zorder=3)
    if group.median and group.median.seconds:
        x = axis.x(group.median.seconds)
        axes.plot([x, x], [y - 17, y + 11], color=style.INK, lw=1.8, zorder=2.5, solid_capstyle="butt")
    for seconds in group.detections:
        axes.plot([axis.x(seconds)], [y + 16], "D", ms=4.2, mfc=style.PAPER, mec=style.INK, mew=1, zorder=3)
    if any(not t.length.seconds and t.length.ended for t in known if t.length):
        axes.text(left - _NONE / 2, y + 16, "none", size=7.5, color=style.GOOD, ha="center", va="center")
    text = axis.right + 16
    median = group.median_text if known else ""
    axes.text(text, y - 4 if group.range_text or lost else y, median, size=9, weight="bold", va="center")
    axes.text(text, y + 8, group.range_text, size=7.5, color=style.MUTED, va="center")
    if lost:
        why = next((trial.unknown for trial in group.trials if trial.unknown), "")
        words = f"not known: {why}" if not known else f"{lost} not known"
        room = axis.right - axis.left - 10
        if known:
            axes.text(text, y + 17, words, size=7.5, color=style.BAD, va="center")
        else:
            axes.text(
                axis.left + 6,
                y,
                style.fit(words, room, 8.5),
                size=8.5,
                color=style.MUTED,
                style="italic",
                va="center",
            )


def _outage_key(groups: Sequence[Group]) -> list[tuple[str, str]]:
    trials = everything(groups)
    entries = [("●", "outage"), ("|", "median"), ("◇", "noticed")]
    entries += [("▮", "predicted at most")] if any(trial.trial.bound for trial in trials) else []
    entries += [("○", "longer than predicted")] if any(trial.exceeded for trial in trials) else []
    entries += [("→", "not over at the end")] if any(t.length and not t.length.ended for t in trials) else []
    return entries


def _draw_outage_key(
    axes: Axes, entries: Sequence[tuple[str, str]], places: Sequence[tuple[int, float]], top: float
) -> None:
    for (sign, text), (row, across) in zip(entries, places, strict=True):
        x, y = _EDGE + across, top + 16 * row
        if sign == "▮":
            style.rounded(axes, x, y - 4.5, 12, 9, 1, fc=style.MARK, ec="none", alpha=0.6)
        elif sign == "○":
            axes.plot([x + 6], [y], "o", ms=5.6, mfc=style.MUTED, mec=style.BAD, mew=1.3)
        else:
            axes.text(
                x + 6, y, sign, size=9, ha="center", va="center", weight="bold" if sign == "|" else "normal"
            )
        axes.text(x + 17, y, text, size=8.5, color=style.MUTED, va="center")


# --- comparison -----------------------------------------------------------------------------------


def comparison(groups: Sequence[Group]) -> Figure:
    """The variants side by side: a table with a bar of how the attempts ended."""
    row = 34.0
    heads = (
        "outage, median",
        "predicted",
        "noticed after",
        "failed attempts",
        "start error, p99",
        "survivors",
    )
    cells = [_comparison_cells(group) for group in groups]
    with style.styled():
        last = "how the failed attempts ended"
        bar = style.text_width(last, 8.5) + 4
        widths = []
        for column, head in enumerate(heads):
            upper = [style.text_width(texts[column][0], 9.5, True) for texts in cells]
            lower = [style.text_width(texts[column][1], 7.5) for texts in cells]
            widths.append(min(150.0, max([style.text_width(head, 8.5), *upper, *lower])))
        shown = [
            index for index in range(len(heads)) if index != 5 or any(group.survivals for group in groups)
        ]
        names = _names(groups)
        free = _WIDE - 2 * _EDGE - names - bar - sum(widths[index] for index in shown)
        gap = min(34.0, free / (len(shown) + 1))
        kinds = [
            name for name in style.OUTCOMES if name != "ok" and any(group.outcomes[name] for group in groups)
        ]
        height = _HEAD + 18 + row * len(groups) + (34 if kinds else 10)
        figure, axes = style.sheet(_WIDE, height)
        _title(axes, "The variants compared", _numbers(groups), _WIDE)
        x = _EDGE + names + gap / 2
        places = []
        for index in shown:
            places.append((index, x + widths[index]))
            axes.text(
                x + widths[index],
                _HEAD + 8,
                heads[index],
                size=8.5,
                color=style.MUTED,
                ha="right",
                va="baseline",
            )
            x += widths[index] + gap
        right = _WIDE - _EDGE
        axes.text(x, _HEAD + 8, last, size=8.5, color=style.MUTED, va="baseline")
        for number, (group, row_texts) in enumerate(zip(groups, cells, strict=True)):
            y = _HEAD + 18 + row * (number + 0.5)
            axes.plot([_EDGE, right], [y - row / 2, y - row / 2], color=style.GRID, lw=0.8)
            _name(axes, group, y)
            for index, end in places:
                top_text, small = row_texts[index]
                bad = index == 0 and any(trial.exceeded for trial in group.trials)
                color = style.BAD if bad else style.MUTED if top_text == MISSING else style.INK
                weight = "bold" if index == 0 else "normal"
                middle = "center"
                axes.text(
                    end,
                    y - 5 if small else y,
                    top_text,
                    size=9.5,
                    weight=weight,
                    color=color,
                    ha="right",
                    va=middle,
                )
                axes.text(
                    end, y + 8, style.fit(small, 150, 7.5), size=7.5, color=style.MUTED, ha="right", va=middle
                )
            _outcome_bar(axes, group, x, y, right - x)
        x = _EDGE
        for name in kinds:
            style.rounded(axes, x, height - 20, 14, 9, 2, fc=style.outcome_color(name), ec="none")
            axes.text(x + 20, height - 15.5, name, size=8.5, color=style.MUTED, va="center")
            x += 34 + style.text_width(name, 8.5)
        return figure


def _comparison_cells(group: Group) -> tuple[tuple[str, str], ...]:
    """Each column's text and the small one below it."""
    late = quantity(group.start_error, "s")
    return (
        (group.median_text, group.range_text),
        (group.bound_text, group.formula),
        (group.detection_text, ""),
        (count(group.failed) if group.attempts else MISSING, _of(group)),
        (late, "" if group.start_error is not None or not group.attempts else "too few attempts"),
        (group.survivors_text, ""),
    )


def _of(group: Group) -> str:
    return (
        f"{share(group.failed, group.attempts)} of {count(group.attempts)}"
        if group.attempts
        else "no attempts recorded"
    )


def _outcome_bar(axes: Axes, group: Group, x: float, y: float, width: float) -> None:
    """How the failed attempts ended, as parts of one bar."""
    from matplotlib.patches import Rectangle

    if not group.attempts or not group.failed:
        text, color = ("no attempt failed", style.GOOD) if group.attempts else ("not recorded", style.MUTED)
        axes.text(x, y, text, size=8.5, color=color, va="center")
        return
    failed = {name: number for name, number in group.outcomes.items() if name != "ok"}
    start = x
    for name in sorted(failed, key=lambda name: style.OUTCOMES.index(name) if name in style.OUTCOMES else 99):
        part = width * failed[name] / group.failed
        axes.add_patch(Rectangle((start, y - 12), part, 11, fc=style.outcome_color(name), ec="none"))
        start += part
    axes.text(
        x, y + 8, style.fit(outcomes_text(failed), width, 7.5), size=7.5, color=style.MUTED, va="center"
    )


# --- survivors ------------------------------------------------------------------------------------


def survivors(groups: Sequence[Group]) -> Figure:
    """Every long-lived connection as a point over its age at the fault, one line a repeat: kept, or
    lost and how.
    """
    groups = [group for group in groups if group.survivals]
    lane = 13.0
    ages = [
        age
        for g in groups
        for s in g.survivals
        for age in [*(a for _, a in s.kept), *(a for _, a, _ in s.lost)]
    ]
    largest = max(ages, default=1.0) or 1.0
    with style.styled():
        from matplotlib.ticker import MaxNLocator

        rows = [max(38.0, lane * len(group.survivals) + 12) for group in groups]
        left = _EDGE + _names(groups)
        right = _HALF - _EDGE - max([style.text_width(_kept(group), 9, True) for group in groups] + [60]) - 14
        bottom = _HEAD + sum(rows)
        lost = [
            name
            for name in style.OUTCOMES
            if any(end == name for g in groups for s in g.survivals for _, _, end in s.lost)
        ]
        key = [("ok", "survived"), *((name, f"lost: {name}") for name in lost)]
        places = style.flow([16 + style.text_width(text, 8.5) for _, text in key], _HALF - 2 * _EDGE)
        figure, axes = style.sheet(_HALF, bottom + 62 + 16 * places[-1][0])
        _title(
            axes,
            "Connections that stood when the fault struck",
            "one point a connection, one line a repeat",
            _HALF,
        )
        factor, unit = (1.0, "s") if largest >= 1.5 else (1e-3, "ms")
        axis = _Axis(left + 6, right, 0, largest * 1.03, False)
        for value in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest * 1.03 / factor):
            if 0 <= value * factor <= largest * 1.03:
                x = axis.x(value * factor)
                axes.plot([x, x], [_HEAD, bottom], color=style.GRID, lw=0.8, zorder=0)
                axes.text(
                    x, bottom + 13, f"{value:g}", size=8.5, color=style.MUTED, ha="center", va="baseline"
                )
        axes.plot([axis.left, right], [bottom, bottom], color=style.LINE, lw=0.8)
        axes.text(
            right,
            bottom + 26,
            f"age at the fault, {unit}",
            size=9,
            color=style.MUTED,
            ha="right",
            va="baseline",
        )
        top = _HEAD
        for group, height in zip(groups, rows, strict=True):
            _survivor_row(axes, group, axis, top, height, lane)
            top += height
        for (name, text), (line, across) in zip(key, places, strict=True):
            axes.plot([_EDGE + across + 6], [bottom + 46 + 16 * line], **_point(name))
            axes.text(
                _EDGE + across + 16, bottom + 46 + 16 * line, text, size=8.5, color=style.MUTED, va="center"
            )
        return figure


def _kept(group: Group) -> str:
    return f"{group.survivors_text} survived"


def _point(outcome: str) -> dict[str, Any]:
    """The look of a connection: a filled circle that lives, a cross in the colour of what
    ended it.
    """
    if outcome == "ok":
        return {"marker": "o", "ms": 5, "mfc": style.GOOD, "mec": style.PAPER, "mew": 0.7, "ls": "none"}
    return {"marker": "x", "ms": 5, "mew": 1.5, "color": style.outcome_color(outcome), "ls": "none"}


def _survivor_row(axes: Axes, group: Group, axis: _Axis, top: float, height: float, lane: float) -> None:
    middle = top + height / 2
    axes.plot([_EDGE, _HALF - _EDGE], [top, top], color=style.GRID, lw=0.8)
    _name(axes, group, middle)
    found = group.survivals
    for index, survival in enumerate(found):
        y = middle + (index - (len(found) - 1) / 2) * lane
        points = [(age, "ok", number) for number, age in survival.kept] + [
            (age, end, number) for number, age, end in survival.lost
        ]
        for outcome in dict.fromkeys(end for _, end, _ in points):
            chosen = [
                (axis.x(age), y + (number % 3 - 1) * 2.6) for age, end, number in points if end == outcome
            ]
            axes.plot([x for x, _ in chosen], [y for _, y in chosen], zorder=3, **_point(outcome))
    x = axis.right + 10
    axes.text(x, middle - 5 if len(found) > 1 else middle, _kept(group), size=9, weight="bold", va="center")
    if len(found) > 1:
        each = ", ".join(str(survival.survived) for survival in found)
        room = _HALF - 4 - x
        axes.text(
            x, middle + 8, style.fit(f"each: {each}", room, 7.5), size=7.5, color=style.MUTED, va="center"
        )


# --- frames ---------------------------------------------------------------------------------------


def _numbers(groups: Sequence[Group]) -> str:
    repeats = sorted({len(group.trials) for group in groups})
    each = str(repeats[0]) if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    return (
        f"{each} repeat{'s' if repeats != [1] else ''} each; ranges from the shortest to the longest; ≥: not"
        " over when the probing ended"
    )


def _title(axes: Axes, title: str, subtitle: str, width: float) -> None:
    axes.text(_EDGE, 22, style.fit(title, width - 2 * _EDGE, 12, True), size=12, weight="bold", va="baseline")
    axes.text(
        _EDGE, 38, style.fit(subtitle, width - 2 * _EDGE, 8.5), size=8.5, color=style.MUTED, va="baseline"
    )


def _names(groups: Sequence[Group]) -> float:
    return min(130.0, max((style.text_width(group.label, 9.5) for group in groups), default=20)) + 14


def _name(axes: Axes, group: Group, y: float) -> None:
    axes.text(_EDGE, y, style.fit(group.label, 132, 9.5), size=9.5, va="center")
