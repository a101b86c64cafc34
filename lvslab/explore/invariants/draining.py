"""Whether a server that an operator has taken out of service is left alone."""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.explore.kinds import KINDS
from lvslab.explore.records import Happened, Record, Shot, Violation
from lvslab.explore.stretches import real
from lvslab.explore.wires import ACK, SYN, TCP, segments

NAME = "drained-is-left"

_UNDER_WAY = 0.1
"""Seconds for which connections that had just been begun may still arrive."""


def drained_is_left(record: Record) -> Iterator[Violation]:
    """A server that was drained or removed gets no new connections until it is put back."""
    for fault in real(record):
        if not KINDS[fault.injection.kind].drains:
            continue
        until = record.rested if fault.ended is None else fault.ended
        new = _begun(record, fault.injection.target, fault.began + _UNDER_WAY, until)
        if new:
            how, why = _how(record, fault, until)
            yield Violation(
                NAME,
                f"{fault.injection.kind}, {how}",
                new[0],
                f"{fault.injection.target} got {len(new)} new connections, the first"
                f" {new[0] - fault.began:.2f} s after its {fault.injection.kind}: {why}",
            )


def _begun(record: Record, server: str, since: float, until: float) -> list[float]:
    """When a server heard for the first time of a connection of the client."""
    first: dict[int, float] = {}
    own = (frame for frame in record.frames if frame.node == server and not frame.outbound)
    for segment in segments(own):
        opens = segment.flags & (SYN | ACK) == SYN
        if segment.protocol == TCP and opens and segment.source == record.net.client:
            first.setdefault(segment.source_port, segment.frame.t)
    return sorted(t for t in first.values() if since <= t < until)


def _how(record: Record, fault: Happened, until: float) -> tuple[str, str]:
    """Why it got some, as the tables say that were read last before it was put back."""
    server = fault.injection.target
    shots = [shot for shot in record.shots if fault.began <= shot.t <= until + _SHOT_SECONDS]
    back = [shot.director for shot in shots if _weight(shot, record.net.servers[server])]
    if back:
        return "its weight came back", (
            f"{back[-1]} has it with its weight again, as keepalived puts it in when its check is good"
        )
    if any(_template(shot, record.net.servers[server]) for shot in shots):
        return "a persistent client comes back", (
            "the client's template leads there, as expire_quiescent_template is 0"
        )
    return "all the same", "nothing in the tables says why"


_SHOT_SECONDS = 1.0


def _weight(shot: Shot, address: str) -> int:
    entries = [server for service in shot.services for server in service.real_servers]
    return max((server.weight for server in entries if server.address == address), default=0)


def _template(shot: Shot, address: str) -> bool:
    return any(entry.is_template and entry.destination.address == address for entry in shot.connections)
