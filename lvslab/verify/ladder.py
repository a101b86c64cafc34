"""Judged flows as ladders: data for the run directory, and text for a terminal. Pure.

`report/ladder.py` draws the figure, from that data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvslab.modes.base import Role
from lvslab.runs import records
from lvslab.runs.words import plural
from lvslab.verify.flows import Flow, JudgedHop
from lvslab.verify.frames import IpPacket

_COLUMN = 22
_ORDER = (Role.CLIENT, Role.DIRECTOR, Role.ROUTER, Role.REAL_SERVER)


def columns(flow: Flow, roles: Mapping[str, Role]) -> list[str]:
    """The nodes that a flow touched: clients left, real servers right."""
    touched = {node for each in flow.hops for node in (each.hop.sender, each.hop.receiver) if node}
    return sorted(touched, key=lambda node: (_ORDER.index(roles[node]), node))


def flow_record(name: str, flow: Flow) -> records.Flow:
    """A flow as the run directory keeps it (captures/<lab>.path.json)."""
    start = flow.hops[0].hop.t if flow.hops else 0
    wrong = flow.wrong
    return records.Flow(
        name=name,
        title=flow.title,
        verdict="fail" if wrong else "pass",
        reason=(
            wrong.why if wrong else f"served by {flow.server}" if flow.server else "answered by the director"
        ),
        steps=tuple(_step(judged, start) for judged in flow.hops),
    )


def _step(judged: JudgedHop, start: int) -> records.Step:
    hop, packet = judged.hop, judged.hop.packet
    outer = packet.outer
    return records.Step(
        t=(hop.t - start) / 1e9,
        source=hop.sender,
        target=hop.receiver,
        link=hop.link,
        frames=tuple(hop.frames),
        eth_src=hop.eth_src,
        eth_dst=hop.eth_dst,
        outer=None if outer is None else records.Outer(outer.src, outer.dst, outer.protocol),
        src=_end(packet, packet.src, packet.sport),
        dst=_end(packet, packet.dst, packet.dport),
        protocol=packet.protocol,
        info=packet.describe(),
        ttl=packet.ttl,
        rewritten=tuple(judged.rewritten),
        verdict=judged.verdict,
        why=judged.why,
    )


def _end(packet: IpPacket, address: str, port: int) -> str:
    return f"{address}:{port}" if packet.protocol in ("TCP", "UDP") else address


def text(flow: Flow, roles: Mapping[str, Role], limit: int | None = None) -> list[str]:
    """A flow as lines: time in ms, an arrow between the nodes, addresses, MACs, TTL; what was
    rewritten; what is wrong.

    Args:
        limit: show at most so many hops (but always up to the first wrong one).
    """
    nodes = columns(flow, roles)
    head = "".join(node.ljust(_COLUMN) for node in nodes).rstrip()
    lines = [f"{flow.title}" + (f"   served by {flow.server}" if flow.server else ""), f"{'ms':>9}  {head}"]
    start = flow.hops[0].hop.t if flow.hops else 0
    wrong_at = next((index for index, each in enumerate(flow.hops) if each.verdict == "wrong"), -1)
    shown = flow.hops if limit is None else flow.hops[: max(limit, wrong_at + 1)]
    for each in shown:
        lines += _hop_lines(each, nodes, start)
    if len(shown) < len(flow.hops):
        lines.append(f"{'':>9}  … {plural(len(flow.hops) - len(shown), 'more hop')}")
    return lines


def _hop_lines(judged: JudgedHop, nodes: Sequence[str], start: int) -> list[str]:
    hop, packet = judged.hop, judged.hop.packet
    line = (
        f"{(hop.t - start) / 1e6:9.3f}  {_arrow(judged, nodes)}  {_end(packet, packet.src, packet.sport)} > "
    )
    line += _end(packet, packet.dst, packet.dport)
    if packet.outer:
        line += f" in {packet.outer.src} > {packet.outer.dst} proto {packet.outer.protocol}"
    line += f"  {_short_mac(hop.eth_src)} > {_short_mac(hop.eth_dst)}  ttl {packet.ttl}"
    if judged.rewritten:
        line += f"  [{' '.join(judged.rewritten)}]"
    if judged.verdict == "ok":
        return [line]
    return [line, f"{'':>9}  {'▲ WRONG' if judged.verdict == 'wrong' else '? unjudged'}: {judged.why}"]


def _short_mac(mac: str) -> str:
    """The lab's own MACs begin with 02:00:00:00; the rest tells them apart."""
    return "…" + mac[12:] if mac.startswith("02:00:00:00:") else mac


def _arrow(judged: JudgedHop, nodes: Sequence[str]) -> str:
    hop = judged.hop
    begin = nodes.index(hop.sender)
    end = nodes.index(hop.receiver) if hop.receiver else begin
    left, right = sorted((begin, end))
    cells = ["│".ljust(_COLUMN) for _ in nodes]
    if left == right:
        row = "".join(cells)
        return (
            row[: begin * _COLUMN]
            + f"✗ {_label(hop.packet)}".ljust(len(row) - begin * _COLUMN)[: len(row) - begin * _COLUMN]
        )
    row = "".join(cells)
    label = f" {_label(hop.packet)} "
    span = (right - left) * _COLUMN - 1
    body = label.center(span - 1, "─")[: span - 1]
    drawn = body + "▶" if begin < end else "◀" + body
    position = left * _COLUMN + 1
    return (row[:position] + drawn + row[position + span :])[: (len(nodes) - 1) * _COLUMN + 1]


def _label(packet: IpPacket) -> str:
    if packet.protocol == "TCP":
        flags = packet.describe().split(" ")[0]
        return flags + (f" {len(packet.payload)} B" if packet.payload else "")
    if packet.protocol == "UDP":
        return f"UDP {len(packet.payload)} B"
    return packet.note.split(" id=")[0] or packet.protocol


def wrong_packet(flow: Flow, capture: str, in_words: str) -> list[str]:
    """The first wrong packet of a flow beside what the contract demands; empty when nothing is
    wrong.
    """
    wrong = flow.wrong
    if wrong is None:
        return []
    hop, packet = wrong.hop, wrong.hop.packet
    outer = (
        f"{packet.outer.src} > {packet.outer.dst} protocol {packet.outer.protocol} around "
        if packet.outer
        else ""
    )
    return [
        f"flow      {flow.title}",
        (
            f"packet    {outer}{_end(packet, packet.src, packet.sport)} >"
            f" {_end(packet, packet.dst, packet.dport)}  {packet.describe()}  ttl {packet.ttl}"
        ),
        (
            f"sent      by {hop.sender} ({hop.link}, MAC {hop.eth_src}) to {hop.receiver or 'nobody'} (MAC"
            f" {hop.eth_dst})"
        ),
        f"frames    {', '.join(map(str, hop.frames))} of {capture}",
        f"wrong     {wrong.why}",
        f"contract  {in_words}",
    ]
