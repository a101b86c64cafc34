"""What a timeline shows of a trial: the stretch of time, the attempts in bins, and the marks as
labels that never cover each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lvslab.report import style
from lvslab.report.failover.trials import Observed
from lvslab.report.units import seconds_text
from lvslab.runs.records import Mark

WIDTH, EDGE, SIDE = 816.0, 14.0, 158.0
"""Of the sheet, in points; `SIDE` is the column of numbers right of the strips."""

LEFT, RIGHT = 48.0, WIDTH - SIDE - EDGE
"""Where strips begin and end."""

LABEL = 8.0
"""Size of the labels' letters."""

_BINS = 330
_BEAT_BINS = 110
_MIN_BIN = 0.01
_MAX_LANES = 8
_IMPORTANCE = ("fault", "repair", "vrrp", "table", "control", "note")


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of time that is shown, in seconds relative to the fault."""

    low: float
    high: float

    def x(self, t: float) -> float:
        """Where a time stands on the sheet."""
        return LEFT + (t - self.low) / (self.high - self.low) * (RIGHT - LEFT)

    def holds(self, t: float) -> bool:
        """Whether a time is shown."""
        return self.low <= t <= self.high


@dataclass(frozen=True, slots=True)
class Label:
    """Marks that stand at one place, as a text in a lane; lane 0 is the lowest, right above the
    strip.
    """

    x: float
    text: str
    kind: str
    lane: int


def choose_window(trials: Sequence[Observed]) -> Window:
    """Shows all failures from the fault on, with up to a second before and after them, and the
    marks that lie near.
    """
    ends, marks, last, first = [0.0], [0.0], 0.0, 0.0
    for trial in trials:
        times = [trial.since(t) for t in _planned(trial)]
        if times:
            first, last = min(first, min(times)), max(last, max(times))
        if trial.stretch:
            ends += [trial.since(stretch.end) for stretch in (trial.stretch, *trial.later)]
        marks += [trial.since(mark.t) for mark in trial.trial.marks if mark.kind != "note"]
        if trial.fault is None:
            ends.append(last)
    bounds = [trial.trial.bound.seconds for trial in trials if trial.trial.bound and trial.fault is not None]
    core = max(ends)
    if not core:  # nothing failed, and that is shown of the whole trial
        return Window(min(first, -0.1), max(last, 0.1))
    # The bound and marks come in when they do not squeeze the outage: twice and a half its length,
    # or half a second.
    room = max(2.5 * core, 0.5)
    core = max([core, *(value for value in (*bounds, *marks) if value <= room)])
    pad = min(1.0, max(0.1, 0.3 * core))
    low, high = -pad, core + pad
    if last and last - first <= 1.35 * (high - low):
        return Window(min(first, low), max(last, core))
    return Window(max(low, first) if first < 0 else low, high)


def bins(trial: Observed, window: Window) -> tuple[float, list[tuple[float, Counter[str]]]]:
    """The attempts in the window by their planned time: the width of a bin in seconds, and (start
    relative to the fault, outcomes).

    A bin is a whole number of intervals, at least 10 ms, and begins when an attempt is planned: so
    all bins hold the same number of attempts, and none holds attempts from both sides of the fault.
    """
    span = window.high - window.low
    if trial.attempts is None:  # heartbeats of many connections have no common rhythm
        interval = width = max(_MIN_BIN, span / _BEAT_BINS)
    else:
        interval = trial.trial.interval or _MIN_BIN
        together = max(1, math.ceil(max(_MIN_BIN, span / _BINS) / interval - 1e-6))
        # Servers take turns: a bin of whole rounds of 2, 3, 4 or 6 servers shows the share of
        # failures without a beat of its own.
        round_of = next((size for size in (12, 6, 2) if together > size / 2), 1)
        width = math.ceil(together / round_of) * round_of * interval
    events = trial.attempts if trial.attempts is not None else trial.beats or ()
    times = [(trial.since(event.planned), event.outcome) for event in events]
    origin = min((t for t, _ in times if t > -1e-6), default=0.0)  # times have whole microseconds
    counted: dict[int, Counter[str]] = {}
    for t, outcome in times:
        number = math.floor((t - origin + interval / 2) / width)
        if origin + (number + 1) * width > window.low and origin + number * width < window.high:
            counted.setdefault(number, Counter())[outcome] += 1
    return width, [(origin + number * width, counted[number]) for number in sorted(counted)]


def labels(trial: Observed, window: Window) -> tuple[list[Label], list[Mark]]:
    """The marks of a trial as labels in lanes that never cover each other, and those of the fault
    or after it that are not shown.

    A label stands right of its line. Labels further right that begin below it take lower lanes, so
    that no line crosses a text.
    """
    near: list[tuple[float, list[Mark]]] = []
    left_out = [mark for mark in trial.trial.marks if trial.since(mark.t) > window.high]
    for mark in trial.trial.marks:
        if not window.holds(trial.since(mark.t)):
            continue
        x = window.x(trial.since(mark.t))
        same = near and near[-1][1][0].kind == mark.kind and mark.kind not in ("fault", "repair")
        if same and x - near[-1][0] < 3:
            near[-1][1].append(mark)
        else:
            near.append((x, [mark]))
    while True:
        placed = _lanes(trial, near)
        highest = max((label.lane for label in placed), default=0)
        if highest < _MAX_LANES:
            return placed, sorted(left_out, key=lambda mark: mark.t)
        least = max(range(len(near)), key=lambda index: (_IMPORTANCE.index(near[index][1][0].kind), index))
        left_out += near.pop(least)[1]


def _lanes(trial: Observed, near: Sequence[tuple[float, Sequence[Mark]]]) -> list[Label]:
    placed: list[Label] = []
    for x, marks in reversed(near):
        t = trial.since(marks[0].t)
        more = f" (+{len(marks) - 1})" if len(marks) > 1 else ""
        time = (
            ""
            if marks[0].kind == "fault" and abs(t) < 1e-6
            else f"  {'+' if t >= 0 else '−'}{seconds_text(abs(t), 0.01)}"
        )
        strong = marks[0].kind in MARK_COLORS
        rest = more + time
        room = WIDTH - 10 - x - style.text_width(rest, LABEL, strong)
        text = style.fit(trial.label(marks[0]), min(330, room), LABEL, strong) + rest
        end = x + 10 + style.text_width(text, LABEL, strong)
        below = [label.lane for label in placed if label.x < end]
        placed.append(Label(x, text, marks[0].kind, max(below, default=-1) + 1))
    return placed[::-1]


def _planned(trial: Observed) -> list[float]:
    return [event.planned for event in (trial.attempts if trial.attempts is not None else trial.beats or ())]


MARK_COLORS = {"fault": style.BAD, "repair": style.GOOD}
