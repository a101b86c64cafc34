"""The variants of a run side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvslab.report import style
from lvslab.report.failover.summary import outcomes_text
from lvslab.report.failover.trials import Group
from lvslab.report.units import MISSING, count, quantity, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from lvslab.report.failover.frame import EDGE, HEAD, WIDE, draw_title, name_group, names_width


def comparison(groups: Sequence[Group]) -> Figure:
    """The variants side by side: a table with a bar of how the attempts ended."""
    row = 34.0
    heads = (
        "outage, median",
        "predicted",
        "detected after",
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
        names = names_width(groups)
        free = WIDE - 2 * EDGE - names - bar - sum(widths[index] for index in shown)
        gap = min(34.0, free / (len(shown) + 1))
        kinds = [
            name for name in style.OUTCOMES if name != "ok" and any(group.outcomes[name] for group in groups)
        ]
        height = HEAD + 18 + row * len(groups) + (34 if kinds else 10)
        figure, axes = style.sheet(WIDE, height)
        draw_title(axes, "The variants compared", _numbers(groups), WIDE)
        x = EDGE + names + gap / 2
        places = []
        for index in shown:
            places.append((index, x + widths[index]))
            axes.text(
                x + widths[index],
                HEAD + 8,
                heads[index],
                size=8.5,
                color=style.MUTED,
                ha="right",
                va="baseline",
            )
            x += widths[index] + gap
        right = WIDE - EDGE
        axes.text(x, HEAD + 8, last, size=8.5, color=style.MUTED, va="baseline")
        for number, (group, row_texts) in enumerate(zip(groups, cells, strict=True)):
            y = HEAD + 18 + row * (number + 0.5)
            axes.plot([EDGE, right], [y - row / 2, y - row / 2], color=style.GRID, lw=0.8)
            name_group(axes, group, y)
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
        x = EDGE
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


def _numbers(groups: Sequence[Group]) -> str:
    repeats = sorted({len(group.trials) for group in groups})
    each = str(repeats[0]) if len(repeats) == 1 else f"{repeats[0]} to {repeats[-1]}"
    return (
        f"{each} repeat{'s' if repeats != [1] else ''} each; ranges from the shortest to the longest; ≥: not"
        " over when the probing ended"
    )
