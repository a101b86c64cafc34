"""Which way the packets of a flow went, for the sentences that explain a violation."""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.explore.records import Record
from lvslab.explore.stretches import present
from lvslab.explore.wires import RST, Segment, next_hop, segments


def way(record: Record, protocol: int, port: int, since: float, until: float) -> tuple[str, str]:
    """How an attempt from a client's port failed: in a few words that are the same for the same
    failure, and in a sentence.
    """
    frames = [frame for frame in record.frames if since <= frame.t <= until]
    own = [
        segment
        for segment in segments(frames)
        if segment.protocol == protocol and port in (segment.source_port, segment.target_port)
    ]
    asked = [segment for segment in own if segment.frame.outbound and _is_client(record, segment.frame.node)]
    if not asked:
        return "nothing was sent", f"from port {port} nothing was sent: nobody answers ARP"
    first = record.net.macs.get(next_hop(asked[0].frame), "nobody")
    reached = [segment.frame.node for segment in own if _at_server(record, segment)]
    if reached:
        return _server(record, reached[-1], own, port, since)
    if any(segment.flags & RST and segment.frame.outbound and segment.frame.node == first for segment in own):
        return "reset by a director", f"{first} resets what comes from port {port}"
    holder = holder_of(record)
    if holder and first != holder:
        return "sent to a director without the address", (
            f"packets from port {port} go to {first}, but {holder} has {record.net.vip}: nobody has told the"
            " client"
        )
    return "dropped by a director", f"packets from port {port} reach {first} and no server"


def _server(record: Record, server: str, own: Sequence[Segment], port: int, t: float) -> tuple[str, str]:
    faults = [fault for fault in present(record, t) if fault.injection.target == server]
    if faults:
        kind = faults[0].injection.kind
        return f"sent to a server after {kind}", (
            f"packets from port {port} go to {server}, {t - faults[0].began:.1f} s after its {kind}"
        )
    replies = [next_hop(each.frame) for each in own if each.frame.node == server and each.frame.outbound]
    gateway, holder = record.net.macs.get(replies[-1], "") if replies else "", holder_of(record)
    if holder and gateway in record.net.directors and gateway != holder:
        return "answered through a director without the address", (
            f"packets from port {port} reach {server}, but its replies go to {gateway}, while {holder} has"
            f" {record.net.vip}: nobody has told the real servers"
        )
    return "unanswered by a server", f"packets from port {port} reach {server}, and no answer comes back"


def holder_of(record: Record) -> str:
    """The director that answers for the virtual address at the end; "" where none or several do."""
    from lvslab.explore.invariants.addresses import answering

    names = answering(record)
    return names[0] if len(names) == 1 else ""


def _is_client(record: Record, node: str) -> bool:
    return node not in record.net.directors and node not in record.net.servers


def _at_server(record: Record, segment: Segment) -> bool:
    return not segment.frame.outbound and segment.frame.node in record.net.servers
