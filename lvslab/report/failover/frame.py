"""What the charts of trials share: sizes, titles, names of the groups, and an axis of seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvslab.report import style
from lvslab.report.failover.trials import Group

if TYPE_CHECKING:
    from matplotlib.axes import Axes


HALF, WIDE, EDGE, HEAD = 432.0, 816.0, 14.0, 56.0


class Axis:
    """Places seconds between `left` and `right`; what lies beyond an end is drawn at that end."""

    def __init__(self, left: float, right: float, low: float, high: float, log: bool) -> None:
        self.left, self.right, self._low, self._high, self._log = left, right, low, high, log

    def x(self, seconds: float) -> float:
        """Where a time stands."""
        seconds = min(max(seconds, self._low), self._high)
        part = (seconds - self._low) / (self._high - self._low)
        if self._log:
            part = math.log(seconds / self._low) / math.log(self._high / self._low)
        return self.left + part * (self.right - self.left)


def draw_title(axes: Axes, title: str, subtitle: str, width: float) -> None:
    """A chart\'s title and, muted below it, what it shows."""
    axes.text(EDGE, 22, style.fit(title, width - 2 * EDGE, 12, True), size=12, weight="bold", va="baseline")
    axes.text(
        EDGE, 38, style.fit(subtitle, width - 2 * EDGE, 8.5), size=8.5, color=style.MUTED, va="baseline"
    )


def names_width(groups: Sequence[Group]) -> float:
    """The width of the column of the groups' names, in points."""
    return min(130.0, max((style.text_width(group.label, 9.5) for group in groups), default=20)) + 14


def name_group(axes: Axes, group: Group, y: float) -> None:
    """Write a group's name at the left edge."""
    axes.text(EDGE, y, style.fit(group.label, 132, 9.5), size=9.5, va="center")
