"""The timeline of failures: what became of the attempts around the fault, one panel a trial, all
aligned at their faults.

A panel is a strip of constant height: failures grow from below in the colour of their kind, what
worked stands above them in a calm one, and a hole is time in which nothing was attempted. Above it
stand the marks, below it the outage as a bracket.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.failover import Length, Observed, count, seconds_text
from lvslab.report.units import quantity
from lvslab.runs.records import Mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _EDGE, _SIDE = 816.0, 14.0, 158.0
_LEFT, _RIGHT = 48.0, _WIDTH - _SIDE - _EDGE  # of the strips
_STRIP, _LANE, _LABEL, _LINE = 42.0, 12.5, 8.0, 11.0
_BINS = 330
_BEAT_BINS = 110
_MIN_BIN = 0.01
_MAX_LANES = 8
_IMPORTANCE = ("fault", "repair", "vrrp", "table", "control", "note")


@dataclass(frozen=True, slots=True)
class Panel:
    """One trial of the figure with its heading: `title` and, muted beside it, `note`."""

    trial: Observed
    title: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of time that is shown, in seconds relative to the fault."""

    low: float
    high: float

    def x(self, t: float) -> float:
        """Where a time stands on the sheet."""
        return _LEFT + (t - self.low) / (self.high - self.low) * (_RIGHT - _LEFT)

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


def draw(title: str, subtitle: str, panels: Sequence[Panel]) -> Figure:
    """The figure: panels one below the other over one axis of time.

    Args:
        panels: at least one.
    """
    window = choose_window([panel.trial for panel in panels])
    with style.styled():
        laid = [labels(panel.trial, window) for panel in panels]
        numbers = [_numbers(panel.trial, left_out) for panel, (_, left_out) in zip(panels, laid, strict=True)]
        tops, y = [], 54.0
        for (placed, _), lines in zip(laid, numbers, strict=True):
            lanes = max((label.lane for label in placed), default=-1) + 1
            tops.append((y, y + 20 + _LANE * lanes))
            y += 20 + _LANE * lanes + max(_STRIP + 30, 12 + _LINE * len(lines))
        notes = _legend_entries(panels)
        rows = style.flow([26 + style.text_width(text, 8.5) for _, text in notes], _WIDTH - 2 * _EDGE)
        figure, axes = style.sheet(_WIDTH, y + 42 + 16 * (max(rows, default=(0, 0))[0] + 1))
        axes.text(
            _EDGE, 22, style.fit(title, _WIDTH - 2 * _EDGE, 12, True), size=12, weight="bold", va="baseline"
        )
        axes.text(
            _EDGE,
            38,
            style.fit(subtitle, _WIDTH - 2 * _EDGE, 8.5),
            size=8.5,
            color=style.MUTED,
            va="baseline",
        )
        step = _draw_axis(axes, window, y - 2, [strip for _, strip in tops])
        for panel, (placed, _), lines, (head, strip) in zip(panels, laid, numbers, tops, strict=True):
            _draw_heading(axes, panel, head + 9)
            _draw_trial(axes, panel.trial, window, strip)
            _draw_labels(axes, placed, strip)
            for number, (text, look) in enumerate(lines):
                axes.text(_RIGHT + 14, strip + 10 + _LINE * number, text, va="baseline", **look)
        what = (
            "since the fault"
            if any(panel.trial.fault is not None for panel in panels)
            else "since the start of the trial"
        )
        axes.text(_RIGHT, y + 27, f"{step} {what}", size=9, color=style.MUTED, ha="right", va="baseline")
        _draw_legend(axes, notes, rows, y + 44)
        return figure


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
        strong = marks[0].kind in _MARK_COLORS
        rest = more + time
        room = _WIDTH - 10 - x - style.text_width(rest, _LABEL, strong)
        text = style.fit(trial.label(marks[0]), min(330, room), _LABEL, strong) + rest
        end = x + 10 + style.text_width(text, _LABEL, strong)
        below = [label.lane for label in placed if label.x < end]
        placed.append(Label(x, text, marks[0].kind, max(below, default=-1) + 1))
    return placed[::-1]


def _planned(trial: Observed) -> list[float]:
    return [event.planned for event in (trial.attempts if trial.attempts is not None else trial.beats or ())]


# --- drawing --------------------------------------------------------------------------------------

_MARK_COLORS = {"fault": style.BAD, "repair": style.GOOD}


def _draw_axis(axes: Axes, window: Window, y: float, strips: Sequence[float]) -> str:
    """Ticks below all panels and faint lines through their strips; returns the unit."""
    from matplotlib.ticker import MaxNLocator

    factor, unit = (1.0, "s") if window.high - window.low >= 2.5 else (1e-3, "ms")
    axes.plot([_LEFT, _RIGHT], [y, y], color=style.LINE, lw=0.8)
    for value in MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]).tick_values(
        window.low / factor, window.high / factor
    ):
        if not window.holds(value * factor):
            continue
        x = window.x(value * factor)
        for strip in strips:
            axes.plot([x, x], [strip, strip + _STRIP], color=style.GRID, lw=0.8, zorder=0)
        axes.plot([x, x], [y, y + 4], color=style.LINE, lw=0.8)
        axes.text(
            x, y + 14, f"{value:g}".replace("-", "−"), size=8.5, color=style.MUTED, ha="center", va="baseline"
        )
    return unit


def _draw_heading(axes: Axes, panel: Panel, y: float) -> None:
    title = style.fit(panel.title, 330, 10.5, True)
    axes.text(_EDGE, y, title, size=10.5, weight="bold", va="baseline")
    x = _EDGE + style.text_width(title, 10.5, True) + 10
    axes.text(
        x, y, style.fit(panel.note, _WIDTH - _EDGE - x, 8.5), size=8.5, color=style.MUTED, va="baseline"
    )


def _draw_trial(axes: Axes, trial: Observed, window: Window, top: float) -> None:
    from matplotlib.patches import Rectangle

    bound = trial.trial.bound
    bottom = top + _STRIP
    axes.plot([_LEFT, _RIGHT], [bottom, bottom], color=style.LINE, lw=0.8, zorder=4)
    events = trial.attempts if trial.attempts is not None else trial.beats
    if not events:
        why = next(iter(trial.problems), "nothing was attempted in this trial")
        text = style.fit(why, _RIGHT - _LEFT - 12, 8.5)
        width = style.text_width(text, 8.5) + 8
        axes.add_patch(
            Rectangle((_LEFT + 2, top + _STRIP / 2 - 8), width, 16, fc=style.PAPER, ec="none", zorder=6)
        )
        axes.text(
            _LEFT + 6,
            top + _STRIP / 2,
            text,
            size=8.5,
            color=style.MUTED,
            style="italic",
            va="center",
            zorder=7,
        )
        return
    if bound and trial.fault is not None:
        x0, x1 = window.x(0), min(window.x(bound.seconds), _RIGHT)
        axes.add_patch(Rectangle((x0, bottom), x1 - x0, 6, fc=style.MARK, ec="none", zorder=0.5))
        if window.holds(bound.seconds):
            axes.plot(
                [x1, x1], [top, bottom + 6], color=style.MARK, lw=1.8, zorder=4.5, solid_capstyle="butt"
            )
    width, counted = bins(trial, window)
    tallest = max((sum(outcomes.values()) for _, outcomes in counted), default=1)
    _draw_bars(axes, window, width, counted, top, tallest)
    for text, y in ((str(tallest), top), ("0", bottom)):
        axes.text(_LEFT - 6, y, text, size=7.5, color=style.MUTED, ha="right", va="center")
    what = "attempts" if trial.attempts is not None else "heartbeats"
    axes.text(_LEFT - 6, top + _STRIP / 2 - 4, what, size=7, color=style.MUTED, ha="right", va="center")
    axes.text(
        _LEFT - 6,
        top + _STRIP / 2 + 4,
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
        x0, x1 = (min(max(window.x(t), _LEFT), _RIGHT) for t in (start, start + width))
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
            y0, y1 = (top + _STRIP * (1 - value / tallest) for value in (below, above))
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
        axes.text(max(x, _LEFT), y + 5, text, size=8.5, color=color, va="center")
        return
    lengths = [length, *(Length(stretch.seconds, stretch.ended) for stretch in trial.later)]
    spans = [
        tuple(min(max(window.x(trial.since(t)), _LEFT), _RIGHT) for t in (stretch.start, stretch.end))
        for stretch in (trial.stretch, *trial.later)
    ]
    for number, ((x0, x1), each) in enumerate(zip(spans, lengths, strict=True)):
        until = spans[number + 1][0] if number + 1 < len(spans) else _RIGHT
        before = spans[number - 1][1] if number else _LEFT
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


def _draw_labels(axes: Axes, placed: Iterable[Label], top: float) -> None:
    for label in placed:
        color = _MARK_COLORS.get(label.kind, style.MUTED if label.kind in ("control", "note") else style.INK)
        y = top - 4 - _LANE * label.lane
        strong = label.kind in _MARK_COLORS
        dashes: Any = (
            "-" if strong else (0, (1.2, 1.2)) if label.kind in ("control", "note") else (0, (4, 1.6))
        )
        axes.plot(
            [label.x, label.x],
            [y - 7, top + _STRIP],
            color=color,
            lw=1.3 if strong else 0.9,
            ls=dashes,
            zorder=5,
        )
        axes.text(
            label.x + 4,
            y - 3.5,
            label.text,
            size=_LABEL,
            color=color,
            weight="bold" if strong else "normal",
            va="center_baseline",
            zorder=7,
        )


def _numbers(trial: Observed, left_out: Sequence[Mark]) -> list[tuple[str, dict[str, Any]]]:
    """What stands right of a strip, line by line: the numbers of the trial, and what of it is not
    shown.
    """
    room = _SIDE - 10
    lines: list[tuple[str, dict[str, Any]]] = []
    muted: dict[str, Any] = {"size": 8, "color": style.MUTED}
    small: dict[str, Any] = {"size": 7.5, "color": style.MUTED}
    if trial.length is not None:
        color = style.BAD if trial.length.seconds else style.GOOD
        text = f"outage {trial.length_text}" if trial.length.seconds else "no outage"
        lines.append((text, {"size": 9.5, "weight": "bold", "color": color}))
    if trial.trial.bound:
        above = trial.exceeded
        word = "predicted ≤ " + quantity(trial.trial.bound.seconds, "s") + (" ✗ exceeded" if above else "")
        lines.append((word, {"size": 8, "color": style.BAD if above else style.INK}))
        if trial.trial.bound.formula:
            lines += [(line, small) for line in style.wrap(trial.trial.bound.formula, room, 7.5)[:3]]
    if trial.fault is not None and trial.attempts is not None:
        seen = trial.detection
        lines.append(
            ("not detected" if seen is None else f"detected after {seconds_text(seen, 0.001)}", muted)
        )
    if trial.stretch:
        lines.append(
            (
                f"{count(trial.stretch.failed)} of {count(trial.stretch.attempts)} attempts failed meanwhile",
                muted,
            )
        )
    if trial.later:
        number = sum(stretch.failed for stretch in trial.later)
        lines.append((f"later {count(number)} more failed", {"size": 8, "color": style.BAD}))
    if left_out:
        first = left_out[0]
        more = f", +{len(left_out) - 1}" if len(left_out) > 1 else ""
        t = trial.since(first.t)
        lines.append(
            (f"not shown: {first.kind} {'+' if t >= 0 else '−'}{seconds_text(abs(t), 0.01)}{more}", muted)
        )
    return [(style.fit(text, room, look["size"], look.get("weight") == "bold"), look) for text, look in lines]


def _legend_entries(panels: Sequence[Panel]) -> list[tuple[str, str]]:
    found: Counter[str] = Counter()
    for panel in panels:
        events = panel.trial.attempts if panel.trial.attempts is not None else panel.trial.beats
        found.update(event.outcome for event in events or ())
    entries = [
        (name, _MEANINGS.get(name, name))
        for name in [*style.OUTCOMES, *sorted(set(found) - set(style.OUTCOMES))]
        if found[name]
    ]
    if any(panel.trial.trial.bound for panel in panels):
        entries.append(("bound", "time in which the service must be whole again, as predicted"))
    return entries


_MEANINGS = {
    "ok": "ok",
    "timeout": "timeout",
    "refused": "refused",
    "reset": "reset",
    "unreachable": "unreachable",
    "wrong": "wrong or short answer",
    "closed": "closed by the other side",
    "local": "the client itself could not",
}


def _draw_legend(
    axes: Axes, entries: Sequence[tuple[str, str]], places: Sequence[tuple[int, float]], y: float
) -> None:
    for (name, text), (row, x) in zip(entries, places, strict=True):
        color = style.MARK if name == "bound" else style.outcome_color(name)
        at = y + 16 * row
        style.rounded(axes, _EDGE + x, at - 4.5, 14, 9, 2, fc=color, ec="none")
        axes.text(_EDGE + x + 20, at, text, size=8.5, color=style.MUTED, va="center")
