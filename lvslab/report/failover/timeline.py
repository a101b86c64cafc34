"""The timeline of failures: what became of the attempts around the fault, one panel a trial, all
aligned at their faults. Above each strip stand its marks, beside it its numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.failover.trials import Observed
from lvslab.report.units import count, quantity, seconds_text
from lvslab.runs.records import Mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
from lvslab.report.failover.strip import STRIP, draw_trial
from lvslab.report.failover.window import (
    EDGE,
    LABEL,
    LEFT,
    MARK_COLORS,
    RIGHT,
    SIDE,
    WIDTH,
    Label,
    Window,
    choose_window,
    labels,
)

_LANE, _LINE = 12.5, 11.0


@dataclass(frozen=True, slots=True)
class Panel:
    """One trial of the figure with its heading: `title` and, muted beside it, `note`."""

    trial: Observed
    title: str
    note: str = ""


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
            y += 20 + _LANE * lanes + max(STRIP + 30, 12 + _LINE * len(lines))
        notes = _legend_entries(panels)
        rows = style.flow([26 + style.text_width(text, 8.5) for _, text in notes], WIDTH - 2 * EDGE)
        figure, axes = style.sheet(WIDTH, y + 42 + 16 * (max(rows, default=(0, 0))[0] + 1))
        axes.text(
            EDGE, 22, style.fit(title, WIDTH - 2 * EDGE, 12, True), size=12, weight="bold", va="baseline"
        )
        axes.text(
            EDGE,
            38,
            style.fit(subtitle, WIDTH - 2 * EDGE, 8.5),
            size=8.5,
            color=style.MUTED,
            va="baseline",
        )
        step = _draw_axis(axes, window, y - 2, [strip for _, strip in tops])
        for panel, (placed, _), lines, (head, strip) in zip(panels, laid, numbers, tops, strict=True):
            _draw_heading(axes, panel, head + 9)
            draw_trial(axes, panel.trial, window, strip)
            _draw_labels(axes, placed, strip)
            for number, (text, look) in enumerate(lines):
                axes.text(RIGHT + 14, strip + 10 + _LINE * number, text, va="baseline", **look)
        what = (
            "since the fault"
            if any(panel.trial.fault is not None for panel in panels)
            else "since the start of the trial"
        )
        axes.text(RIGHT, y + 27, f"{step} {what}", size=9, color=style.MUTED, ha="right", va="baseline")
        _draw_legend(axes, notes, rows, y + 44)
        return figure


def _draw_axis(axes: Axes, window: Window, y: float, strips: Sequence[float]) -> str:
    """Ticks below all panels and faint lines through their strips; returns the unit."""
    from matplotlib.ticker import MaxNLocator

    factor, unit = (1.0, "s") if window.high - window.low >= 2.5 else (1e-3, "ms")
    axes.plot([LEFT, RIGHT], [y, y], color=style.LINE, lw=0.8)
    for value in MaxNLocator(10, steps=[1, 2, 2.5, 5, 10]).tick_values(
        window.low / factor, window.high / factor
    ):
        if not window.holds(value * factor):
            continue
        x = window.x(value * factor)
        for strip in strips:
            axes.plot([x, x], [strip, strip + STRIP], color=style.GRID, lw=0.8, zorder=0)
        axes.plot([x, x], [y, y + 4], color=style.LINE, lw=0.8)
        axes.text(
            x, y + 14, f"{value:g}".replace("-", "−"), size=8.5, color=style.MUTED, ha="center", va="baseline"
        )
    return unit


def _draw_heading(axes: Axes, panel: Panel, y: float) -> None:
    title = style.fit(panel.title, 330, 10.5, True)
    axes.text(EDGE, y, title, size=10.5, weight="bold", va="baseline")
    x = EDGE + style.text_width(title, 10.5, True) + 10
    axes.text(x, y, style.fit(panel.note, WIDTH - EDGE - x, 8.5), size=8.5, color=style.MUTED, va="baseline")


def _draw_labels(axes: Axes, placed: Iterable[Label], top: float) -> None:
    for label in placed:
        color = MARK_COLORS.get(label.kind, style.MUTED if label.kind in ("control", "note") else style.INK)
        y = top - 4 - _LANE * label.lane
        strong = label.kind in MARK_COLORS
        dashes: Any = (
            "-" if strong else (0, (1.2, 1.2)) if label.kind in ("control", "note") else (0, (4, 1.6))
        )
        axes.plot(
            [label.x, label.x],
            [y - 7, top + STRIP],
            color=color,
            lw=1.3 if strong else 0.9,
            ls=dashes,
            zorder=5,
        )
        axes.text(
            label.x + 4,
            y - 3.5,
            label.text,
            size=LABEL,
            color=color,
            weight="bold" if strong else "normal",
            va="center_baseline",
            zorder=7,
        )


def _numbers(trial: Observed, left_out: Sequence[Mark]) -> list[tuple[str, dict[str, Any]]]:
    """What stands right of a strip, line by line: the numbers of the trial, and what of it is not
    shown.
    """
    room = SIDE - 10
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
            (f"{count(trial.stretch.failed)} of {count(trial.stretch.attempts)} attempts failed", muted)
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
        style.rounded(axes, EDGE + x, at - 4.5, 14, 9, 2, fc=color, ec="none")
        axes.text(EDGE + x + 20, at, text, size=8.5, color=style.MUTED, va="center")
