"""The packet ladder of one test flow: nodes are columns, time runs downwards, every arrow is one
packet on one link.

Above an arrow stands what the packet says (flags, numbers), below it from where to where, with the
outer header of an encapsulated packet; in the right margin its MAC addresses (as the names of their
nodes) and TTL. What the previous hop rewrote is marked; a packet that breaks its contract is red,
with the reason. Only nodes that the flow touches get a column. All sizes in points.

The data is `verify/ladder.py`'s, which also writes a ladder as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lvslab.report import style
from lvslab.report.looks import Look
from lvslab.runs.records import Flow, Lab, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_STEPS = 48
"""So many packets are drawn; the first wrong one is always among them, and a note says how many are
left out.
"""

_WIDTH, _EDGE, _TIMES = 660.0, 14.0, 46.0
_ROW, _REASON_LINE = 45.0, 13.0
_SIZE, _SMALL = 8.5, 7.8

_TUNNELS = {4: "IPIP", 17: "GUE", 47: "GRE"}
"""Protocol numbers of outer headers (RFC 2003, RFC 2784; GUE is UDP) → what they are called."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A piece of a line of text; `mark` puts it on the colour of what was rewritten."""

    text: str
    mark: bool = False
    bold: bool = False
    mono: bool = False
    color: str = style.INK

    def width(self, size: float) -> float:
        return 0.42 * size if self.text == " " else style.text_width(self.text, size, self.bold, self.mono)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the lines of the nodes stand, where the right margin begins, and the colour of the
    mode.
    """

    xs: dict[str, float]
    margin: float
    color: str


def draw(lab: Lab, look: Look, columns: Sequence[str], flow: Flow) -> Figure:
    """The ladder of `flow` in `lab`, whose director has `look`; `columns` is the order of the nodes
    from left to right.
    """
    with style.styled():
        counted = _relative(flow.steps)
        steps, left_out = _window(counted)
        names = _columns(columns, flow.steps)
        owners = {i.mac.lower(): node.name for node in lab.nodes for i in node.interfaces if i.mac}
        margin = (
            max(
                (_line_width(line, _SMALL) for step in steps for line in _margin_lines(step, owners)),
                default=40,
            )
            + 18
        )
        first, last = _EDGE + _TIMES + 46, _WIDTH - _EDGE - margin - 40
        xs = {name: first + (last - first) * i / max(1, len(names) - 1) for i, name in enumerate(names)}
        reason_width = _WIDTH - 2 * _EDGE - _TIMES - 20
        heights = [_ROW + _REASON_LINE * len(_reason_lines(step, reason_width)) for step in steps]
        top = 96.0
        bottom = top + sum(heights)
        notes = _notes(lab, steps, left_out, counted is not flow.steps)
        figure, axes = style.sheet(_WIDTH, bottom + 18 + 16 * len(notes) + 8)
        _draw_title(axes, look, flow)
        _draw_columns(axes, lab, look, xs, top, bottom)
        frame = _Frame(xs, _WIDTH - _EDGE - margin + 18, look.light)
        y = top
        for step, height in zip(steps, heights, strict=True):
            _draw_step(axes, step, frame, y, height, _reason_lines(step, reason_width))
            _draw_margin(axes, step, y, owners, frame.margin)
            y += height
        _draw_notes(axes, notes, bottom + 22)
        return figure


# --- what is shown --------------------------------------------------------------------------------


def _window(steps: Sequence[Step]) -> tuple[Sequence[Step], tuple[int, int]]:
    """At most MAX_STEPS steps with the first wrong one among them, and how many are left out before
    and after them.
    """
    if len(steps) <= MAX_STEPS:
        return steps, (0, 0)
    wrong = next((i for i, step in enumerate(steps) if step.verdict == "wrong"), 0)
    start = min(max(0, wrong - MAX_STEPS + 8), len(steps) - MAX_STEPS)
    return steps[start : start + MAX_STEPS], (start, len(steps) - start - MAX_STEPS)


def _relative(steps: Sequence[Step]) -> Sequence[Step]:
    """The steps with sequence numbers that count from each side's SYN, as far as that loses
    nothing.

    Where a hop changes the numbers (SYNPROXY) or the flow shows no handshake they stay as they were
    on the wire. A packet is the client's when its source is the source of a SYN on any hop, so this
    holds behind address translation too.
    """
    if any({"seq", "ack"} & set(step.rewritten) for step in steps):
        return steps
    syn = [step for step in steps if step.info.startswith("SYN seq=")]
    answer = [step for step in steps if step.info.startswith("SYN-ACK seq=")]
    bases = {
        (_number(step, "seq"), side)
        for side, found in (("client", syn), ("server", answer))
        for step in found
    }
    if len(bases) != 2 or len({side for _, side in bases}) != 2:
        return steps
    base = {side: number or 0 for number, side in bases}
    clients = {step.src for step in syn}

    def counted(step: Step) -> Step:
        own, other = ("client", "server") if step.src in clients else ("server", "client")
        words = []
        for word in step.info.split():
            key, _, number = word.partition("=")
            side = {"seq": own, "ack": other}.get(key)
            words.append(f"{key}={(int(number) - base[side]) % 2**32}" if side and number.isdigit() else word)
        return replace(step, info=" ".join(words))

    return [counted(step) for step in steps]


def _number(step: Step, key: str) -> int | None:
    found = re.search(rf"\b{key}=(\d+)", step.info)
    return int(found[1]) if found else None


def _columns(columns: Sequence[str], steps: Iterable[Step]) -> list[str]:
    touched = {name for step in steps for name in (step.source, step.target) if name}
    return [name for name in columns if name in touched] + sorted(touched - set(columns))


def _notes(
    lab: Lab, steps: Sequence[Step], left_out: tuple[int, int], counted: bool
) -> list[tuple[str, str]]:
    """The legend and what is left out: (what to draw before it, text)."""
    notes = []
    if any(step.rewritten for step in steps):
        notes.append(("mark", "differs from the previous hop of the same packet: rewritten there"))
    if any(step.verdict == "wrong" for step in steps):
        notes.append(("wrong", "breaks the mode's packet contract"))
    if any(step.verdict == "unjudged" for step in steps):
        notes.append(("unjudged", "not judged, for example because an earlier packet of the flow is wrong"))
    if any(not step.target for step in steps):
        notes.append(("lost", "received by nobody"))
    if counted:
        notes.append(("", "Sequence numbers count from the SYN of each side."))
    if any(left_out):
        before, after = left_out
        parts = [f"{before} before" if before else "", f"{after} after" if after else ""]
        shown = " and ".join(filter(None, parts))
        notes.append(("", f"Not shown: {shown} these packets; all are in captures/{lab.name}.ladder.txt"))
    return notes


def _info_line(step: Step) -> list[_Span]:
    """Flags in bold, then the numbers; a rewritten sequence or acknowledgement number is marked."""
    words = step.info.split()
    head = 0
    while head < len(words) and "=" not in words[head] and not words[head].startswith("("):
        head += 1
    color = style.BAD if step.verdict == "wrong" else style.INK
    spans = [_Span(" ".join(words[:head]) or step.protocol, bold=True, color=color)]
    for word in words[head:]:
        spans += [_Span(" "), _Span(word, mark=word.split("=")[0] in step.rewritten, color=style.MUTED)]
    return spans


def _address_line(step: Step) -> list[_Span]:
    """From where to where, with the outer header in front of an encapsulated packet; what was
    rewritten is marked.
    """
    spans = []
    if step.outer:
        protocol = _TUNNELS.get(step.outer.protocol, f"protocol {step.outer.protocol}")
        outer = f"{protocol} {step.outer.src} → {step.outer.dst}"
        spans += [
            _Span(outer, mark="outer" in step.rewritten, mono=True),
            _Span(" │ ", mono=True, color=style.LINE),
        ]
    elif "outer" in step.rewritten:
        spans += [
            _Span("outer header removed", mark=True, mono=True),
            _Span(" │ ", mono=True, color=style.LINE),
        ]
    for text, address_field, port_field in ((step.src, "src", "sport"), (step.dst, "dst", "dport")):
        address, colon, port = text.rpartition(":") if step.protocol in ("TCP", "UDP") else (text, "", "")
        marks = (address_field in step.rewritten, port_field in step.rewritten)
        if address_field == "dst":
            spans.append(_Span(" → ", mono=True, color=style.MUTED))
        if marks[0] == marks[1]:
            spans.append(_Span(text, mark=marks[0], mono=True))
        else:
            spans += [_Span(address, mark=marks[0], mono=True), _Span(colon + port, mark=marks[1], mono=True)]
    return spans


def _margin_lines(step: Step, owners: dict[str, str]) -> list[list[_Span]]:
    """MAC addresses, by the name of the node that owns them where it is known, and the TTL."""
    lines = []
    if step.eth_src or step.eth_dst:
        source, target = (owners.get(mac.lower(), mac or "?") for mac in (step.eth_src, step.eth_dst))
        lines.append([_Span(f"MAC {source} → {target}", color=style.MUTED)])
    if step.ttl is not None:
        lines.append([_Span(f"TTL {step.ttl}", color=style.MUTED)])
    return lines


def _reason_lines(step: Step, width: float) -> list[str]:
    """Why a step is wrong or could not be judged."""
    if step.verdict == "wrong":
        return style.wrap(f"✗ wrong: {step.why}", width, _SIZE)
    return (
        style.wrap(f"not judged: {step.why}", width, _SIZE) if step.verdict == "unjudged" and step.why else []
    )


# --- drawing --------------------------------------------------------------------------------------


def _line_width(line: Iterable[_Span], size: float) -> float:
    return sum(span.width(size) for span in line)


def _write(
    axes: Axes, line: Sequence[_Span], x: float, y: float, size: float, paper: str = style.PAPER
) -> None:
    """A line of spans from `x` on, its baseline at `y`, on a strip of paper that keeps the lines
    behind it away.
    """
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((x - 2, y - size), _line_width(line, size) + 4, size + 3, fc=paper, ec="none", zorder=3)
    )
    for span in line:
        width = span.width(size)
        if span.mark:
            style.rounded(
                axes, x - 1, y - size + 0.6, width + 2, size + 1.8, 2, fc=style.MARK, ec="none", zorder=4
            )
        weight = "bold" if span.bold else "normal"
        family = style.MONO if span.mono else style.SANS
        axes.text(
            x,
            y,
            span.text,
            size=size,
            weight=weight,
            family=family,
            color=span.color,
            va="baseline",
            zorder=5,
        )
        x += width


def _draw_title(axes: Axes, look: Look, flow: Flow) -> None:
    title = f"{look.title}: {flow.title or flow.name}"
    axes.text(_EDGE, 22, style.fit(title, _WIDTH - 220, 12, True), size=12, weight="bold", va="baseline")
    verdicts = {
        "pass": ("✓ keeps its packet contract", style.GOOD),
        "fail": ("✗ breaks its packet contract", style.BAD),
    }
    text, color = verdicts.get(flow.verdict, ("not judged", style.MUTED))
    axes.text(_WIDTH - _EDGE, 22, text, size=9.5, weight="bold", color=color, va="baseline", ha="right")


def _draw_columns(axes: Axes, lab: Lab, look: Look, xs: dict[str, float], top: float, bottom: float) -> None:
    roles = {node.name: node.role for node in lab.nodes}
    for name, x in xs.items():
        role = roles.get(name, "")
        width = max(style.text_width(name, 10, True), style.text_width(role, 8)) + 20
        director = role == "director"
        edge, line = (look.light, 1.8) if director else (style.LINE, 0.9)
        style.rounded(axes, x - width / 2, 42, width, 34, 5, fc=style.CARD, ec=edge, lw=line, zorder=3)
        axes.text(x, 56.5, name, size=10, weight="bold", ha="center", va="baseline", zorder=4)
        axes.text(x, 69, role, size=8, color=style.MUTED, ha="center", va="baseline", zorder=4)
        axes.plot([x, x], [76, bottom + 4], color=style.LINE, lw=0.9, zorder=1)
    axes.text(_EDGE + _TIMES - 10, top - 8, "ms", size=8, color=style.MUTED, ha="right", va="baseline")


def _draw_step(
    axes: Axes, step: Step, ladder: _Frame, y: float, height: float, reason: Sequence[str]
) -> None:
    from matplotlib.patches import FancyArrowPatch

    wrong = step.verdict == "wrong"
    paper = style.BAD_SOFT if wrong else style.PAPER
    if wrong:
        style.rounded(
            axes,
            _EDGE - 6,
            y - 3,
            _WIDTH - 2 * _EDGE + 12,
            height - 1,
            5,
            fc=paper,
            ec=style.BAD,
            lw=1,
            zorder=0,
        )
    arrow = y + 18
    x1 = ladder.xs.get(step.source, min(ladder.xs.values()))
    x2 = ladder.xs.get(step.target or "", x1 + (70 if x1 < max(ladder.xs.values()) else -70))
    color = style.BAD if wrong else ladder.color
    if not step.target:
        axes.plot([x2], [arrow], "x", ms=7, mew=2, color=color, zorder=7)
    time = f"{step.t * 1e3:.3f}"
    axes.text(
        _EDGE + _TIMES - 10,
        arrow,
        time,
        size=8,
        color=style.MUTED,
        ha="right",
        va="center_baseline",
        family=style.MONO,
    )
    axes.add_patch(
        FancyArrowPatch(
            (x1, arrow),
            (x2, arrow),
            arrowstyle="-|>" if step.target else "-",
            mutation_scale=11,
            color=color,
            lw=2.2 if wrong else 1.6,
            ls=(0, (2, 1.6)) if step.verdict == "unjudged" else "-",
            joinstyle="miter",
            shrinkA=0,
            shrinkB=1,
            zorder=6,
        )
    )
    for line, baseline in ((_info_line(step), arrow - 5), (_address_line(step), arrow + 13)):
        width = _line_width(line, _SIZE)
        x = max(min((x1 + x2 - width) / 2, ladder.margin - 12 - width), _EDGE + _TIMES)
        _write(axes, line, x, baseline, _SIZE, paper)
    for index, text in enumerate(reason):
        line = [_Span(text, color=style.BAD if wrong else style.MUTED)]
        _write(axes, line, _EDGE + _TIMES, arrow + 29 + _REASON_LINE * index, _SIZE, paper)


def _draw_margin(axes: Axes, step: Step, y: float, owners: dict[str, str], x: float) -> None:
    for index, line in enumerate(_margin_lines(step, owners)):
        for span in line:
            axes.text(
                x, y + 17 + 11.5 * index, span.text, size=_SMALL, color=span.color, va="baseline", zorder=2
            )


def _draw_notes(axes: Axes, notes: Sequence[tuple[str, str]], y: float) -> None:
    for kind, text in notes:
        x = _EDGE
        if kind == "unjudged":
            axes.plot([x, x + 16], [y - 3, y - 3], lw=1.6, ls=(0, (2, 1.6)), color=style.MUTED)
            x += 23
        elif kind == "lost":
            axes.plot([x + 8], [y - 3], "x", ms=6, mew=1.6, color=style.MUTED)
            x += 23
        elif kind:
            fill, edge = (style.MARK, "none") if kind == "mark" else (style.BAD_SOFT, style.BAD)
            style.rounded(axes, x, y - 8, 16, 10, 2, fc=fill, ec=edge, lw=1)
            x += 23
        axes.text(x, y, text, size=8.5, color=style.MUTED, va="baseline")
        y += 16
