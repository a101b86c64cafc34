"""The outages of all repeats beside their prediction. Every repeat is a visible point; what is not
known is said in its place, never drawn as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvslab.report import style
from lvslab.report.failover.trials import Group, everything
from lvslab.runs.stats import present

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from lvslab.report.failover.frame import EDGE, HALF, HEAD, WIDE, Axis, draw_title, name_group, names_width

_LOG_FROM = 40.0
"""An axis becomes logarithmic when the largest outage is so many times the smallest."""
_NONE = 44.0  # points: the place of the repeats without an outage, left of the axis


def outages(groups: Sequence[Group], wide: bool = False) -> Figure:
    """Every repeat's outage as a point, its detection as a diamond below, the prediction as a band;
    `wide` fills a whole page.
    """
    width = WIDE if wide else HALF
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
            EDGE
            + names_width(groups)
            + (_NONE if any(not length.seconds and length.ended for length in known) else 0)
        )
        right = (
            width
            - EDGE
            - max(
                [style.text_width(text, 8) for g in groups for text in (g.range_text, g.median_text)] + [40]
            )
            - 16
        )
        bottom = HEAD + row * len(groups)
        key = _outage_key(groups)
        places = style.flow([17 + style.text_width(text, 8.5) for _, text in key], width - 2 * EDGE)
        figure, axes = style.sheet(width, bottom + 66 + 16 * places[-1][0])
        draw_title(
            axes,
            "Outage of every repeat",
            "seconds without full service; ◇ when it was detected",
            width,
        )
        top = max([largest, *near])
        low, high = (min(spans) / 1.5, top * 1.3) if log else (0.0, top * 1.06)
        factor, unit = (1.0, "s") if top >= 1.5 else (1e-3, "ms")
        axis = Axis(left, right, low, high, log)
        ticks = (
            LogLocator(subs=(1, 2, 5) if high / low < 200 or wide else (1, 3))
            if log
            else MaxNLocator(12 if wide else 6, steps=[1, 2, 2.5, 5, 10])
        )
        for value in ticks.tick_values(low / factor, high / factor):
            if low <= value * factor <= high:
                x = axis.x(value * factor)
                axes.plot([x, x], [HEAD, bottom], color=style.GRID, lw=0.8, zorder=0)
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
            _outage_row(axes, group, axis, HEAD + row * (index + 0.5), left)
        _draw_outage_key(axes, key, places, bottom + 50)
        return figure


def _outage_row(axes: Axes, group: Group, axis: Axis, y: float, left: float) -> None:
    from matplotlib.patches import Rectangle

    color = group.look.light
    name_group(axes, group, y)
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
    entries = [("●", "outage"), ("|", "median"), ("◇", "detected")]
    entries += [("▮", "predicted at most")] if any(trial.trial.bound for trial in trials) else []
    entries += [("○", "longer than predicted")] if any(trial.exceeded for trial in trials) else []
    entries += [("→", "not over at the end")] if any(t.length and not t.length.ended for t in trials) else []
    return entries


def _draw_outage_key(
    axes: Axes, entries: Sequence[tuple[str, str]], places: Sequence[tuple[int, float]], top: float
) -> None:
    for (sign, text), (row, across) in zip(entries, places, strict=True):
        x, y = EDGE + across, top + 16 * row
        if sign == "▮":
            style.rounded(axes, x, y - 4.5, 12, 9, 1, fc=style.MARK, ec="none", alpha=0.6)
        elif sign == "○":
            axes.plot([x + 6], [y], "o", ms=5.6, mfc=style.MUTED, mec=style.BAD, mew=1.3)
        else:
            axes.text(
                x + 6, y, sign, size=9, ha="center", va="center", weight="bold" if sign == "|" else "normal"
            )
        axes.text(x + 17, y, text, size=8.5, color=style.MUTED, va="center")
