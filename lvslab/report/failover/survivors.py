"""The long-lived connections that stood when the fault struck: which survived, which were lost and
how.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.failover.trials import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from lvslab.report.failover.frame import EDGE, HALF, HEAD, Axis, draw_title, name_group, names_width


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
        left = EDGE + names_width(groups)
        right = HALF - EDGE - max([style.text_width(_kept(group), 9, True) for group in groups] + [60]) - 14
        bottom = HEAD + sum(rows)
        lost = [
            name
            for name in style.OUTCOMES
            if any(end == name for g in groups for s in g.survivals for _, _, end in s.lost)
        ]
        key = [("ok", "survived"), *((name, f"lost: {name}") for name in lost)]
        places = style.flow([16 + style.text_width(text, 8.5) for _, text in key], HALF - 2 * EDGE)
        figure, axes = style.sheet(HALF, bottom + 62 + 16 * places[-1][0])
        draw_title(
            axes,
            "Connections that stood when the fault struck",
            "one point a connection, one line a repeat",
            HALF,
        )
        factor, unit = (1.0, "s") if largest >= 1.5 else (1e-3, "ms")
        axis = Axis(left + 6, right, 0, largest * 1.03, False)
        for value in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest * 1.03 / factor):
            if 0 <= value * factor <= largest * 1.03:
                x = axis.x(value * factor)
                axes.plot([x, x], [HEAD, bottom], color=style.GRID, lw=0.8, zorder=0)
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
        top = HEAD
        for group, height in zip(groups, rows, strict=True):
            _survivor_row(axes, group, axis, top, height, lane)
            top += height
        for (name, text), (line, across) in zip(key, places, strict=True):
            axes.plot([EDGE + across + 6], [bottom + 46 + 16 * line], **_point(name))
            axes.text(
                EDGE + across + 16, bottom + 46 + 16 * line, text, size=8.5, color=style.MUTED, va="center"
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


def _survivor_row(axes: Axes, group: Group, axis: Axis, top: float, height: float, lane: float) -> None:
    middle = top + height / 2
    axes.plot([EDGE, HALF - EDGE], [top, top], color=style.GRID, lw=0.8)
    name_group(axes, group, middle)
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
        room = HALF - 4 - x
        axes.text(
            x, middle + 8, style.fit(f"each: {each}", room, 7.5), size=7.5, color=style.MUTED, va="center"
        )
