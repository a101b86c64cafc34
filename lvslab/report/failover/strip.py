"""One trial as a strip: failures grow from below in the colour of their kind, what worked stands
above them in a calm one, and a hole is time in which nothing was attempted. Below it stands the
outage as a bracket.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.failover.trials import Length, Observed
from lvslab.report.units import seconds_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from lvslab.report.failover.window import LEFT, RIGHT, Window, bins

STRIP = 42.0


def draw_trial(axes: Axes, trial: Observed, window: Window, top: float) -> None:
    """The strip of a trial at height `top`; why there is none where nothing was attempted."""
    from matplotlib.patches import Rectangle

    bound = trial.trial.bound
    bottom = top + STRIP
    axes.plot([LEFT, RIGHT], [bottom, bottom], color=style.LINE, lw=0.8, zorder=4)
    events = trial.attempts if trial.attempts is not None else trial.beats
    if not events:
        why = next(iter(trial.problems), "nothing was attempted in this trial")
        text = style.fit(why, RIGHT - LEFT - 12, 8.5)
        width = style.text_width(text, 8.5) + 8
        axes.add_patch(
            Rectangle((LEFT + 2, top + STRIP / 2 - 8), width, 16, fc=style.PAPER, ec="none", zorder=6)
        )
        axes.text(
            LEFT + 6,
            top + STRIP / 2,
            text,
            size=8.5,
            color=style.MUTED,
            style="italic",
            va="center",
            zorder=7,
        )
        return
    if bound and trial.fault is not None:
        x0, x1 = window.x(0), min(window.x(bound.seconds), RIGHT)
        axes.add_patch(Rectangle((x0, bottom), x1 - x0, 6, fc=style.MARK, ec="none", zorder=0.5))
        if window.holds(bound.seconds):
            axes.plot(
                [x1, x1], [top, bottom + 6], color=style.MARK, lw=1.8, zorder=4.5, solid_capstyle="butt"
            )
    width, counted = bins(trial, window)
    tallest = max((sum(outcomes.values()) for _, outcomes in counted), default=1)
    _draw_bars(axes, window, width, counted, top, tallest)
    for text, y in ((str(tallest), top), ("0", bottom)):
        axes.text(LEFT - 6, y, text, size=7.5, color=style.MUTED, ha="right", va="center")
    what = "attempts" if trial.attempts is not None else "heartbeats"
    axes.text(LEFT - 6, top + STRIP / 2 - 4, what, size=7, color=style.MUTED, ha="right", va="center")
    axes.text(
        LEFT - 6,
        top + STRIP / 2 + 4,
        f"/ {seconds_text(width, 0.001)}",
        size=7,
        color=style.MUTED,
        ha="right",
        va="center",
    )
    _draw_bracket(axes, trial, window, bottom + 10)


def _draw_bars(
    axes: Axes,
    window: Window,
    width: float,
    counted: Sequence[tuple[float, Counter[str]]],
    top: float,
    tallest: int,
) -> None:
    """The strip: one shape a kind of outcome, equal neighbours joined."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    order = [*[name for name in style.OUTCOMES if name != "ok"], "ok"]
    order[-1:-1] = sorted({name for _, outcomes in counted for name in outcomes} - set(order))
    boxes: dict[str, list[list[float]]] = {}
    for start, outcomes in counted:
        x0, x1 = (min(max(window.x(t), LEFT), RIGHT) for t in (start, start + width))
        low = 0
        for name in order:
            number = outcomes[name]
            if not number or x1 <= x0:
                continue
            row = boxes.setdefault(name, [])
            if row and row[-1][2:] == [low, low + number] and x0 - row[-1][1] < 1e-6:
                row[-1][1] = x1
            else:
                row.append([x0, x1, low, low + number])
            low += number
    for name, row in boxes.items():
        vertices, codes = [], []
        for x0, x1, below, above in row:
            y0, y1 = (top + STRIP * (1 - value / tallest) for value in (below, above))
            vertices += [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
            codes += [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
        axes.add_patch(
            PathPatch(Path(vertices, codes), fc=style.outcome_color(name), ec="none", lw=0, zorder=3)
        )


def _draw_bracket(axes: Axes, trial: Observed, window: Window, y: float) -> None:
    """The outage below the strip: a bracket with its length, an arrow where it has no end, words
    where there is none.
    """
    length = trial.length
    x = window.x(0)
    if length is None or trial.stretch is None:
        text, color = (
            (f"outage not known: {trial.unknown}", style.MUTED)
            if trial.unknown
            else ("no attempt failed", style.GOOD)
        )
        axes.text(max(x, LEFT), y + 5, text, size=8.5, color=color, va="center")
        return
    lengths = [length, *(Length(stretch.seconds, stretch.ended) for stretch in trial.later)]
    spans = [
        tuple(min(max(window.x(trial.since(t)), LEFT), RIGHT) for t in (stretch.start, stretch.end))
        for stretch in (trial.stretch, *trial.later)
    ]
    for number, ((x0, x1), each) in enumerate(zip(spans, lengths, strict=True)):
        until = spans[number + 1][0] if number + 1 < len(spans) else RIGHT
        before = spans[number - 1][1] if number else LEFT
        text = each.text(trial.trial.interval) + ("" if each.ended else ", not over when the probing ended")
        _draw_span(axes, (x0, x1), y, text, each.ended, (before, until), first=number == 0)


def _draw_span(
    axes: Axes,
    span: tuple[float, float],
    y: float,
    text: str,
    ended: bool,
    room: tuple[float, float],
    first: bool,
) -> None:
    """One bracket with its length; the text of a later one is left out when there is no room for
    it.
    """
    x0, x1 = span
    look: dict[str, Any] = {
        "color": style.BAD,
        "lw": 1.4 if first else 0.9,
        "solid_capstyle": "butt",
        "zorder": 6,
    }
    words: dict[str, Any] = {
        "size": 8.5,
        "weight": "bold" if first else "normal",
        "color": style.BAD,
        "va": "center_baseline",
    }
    axes.plot([x0, x1], [y, y], **look)
    axes.plot([x0, x0], [y - 4, y + 4], **look)
    if ended:
        axes.plot([x1, x1], [y - 4, y + 4], **look)
    else:
        axes.plot([x1], [y], ">", ms=6, mfc=style.BAD, mec=style.BAD, zorder=6)
    width = style.text_width(text, 8.5, first)
    if width + 8 < x1 - x0:
        middle = (x0 + x1) / 2
        axes.plot(
            [middle - width / 2 - 3, middle + width / 2 + 3],
            [y, y],
            color=style.PAPER,
            lw=6,
            zorder=6.5,
            solid_capstyle="butt",
        )
        axes.text(middle, y, text, ha="center", zorder=7, **words)
    elif x1 + 8 + width + 6 < room[1]:
        axes.text(x1 + 8, y, text, **words)
    elif first and x0 - 6 - width > room[0]:
        axes.text(x0 - 6, y, text, ha="right", **words)
