"""What the directors say of themselves: their counters and their consoles."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lvslab.explore.records import Counted, Record, Violation
from lvslab.explore.stretches import present
from lvslab.explore.ways import holder_of
from lvslab.explore.wires import ACK, SYN, TCP, Segment, next_hop, segments
from lvslab.ipvs.listings import ServiceStats

COUNTERS, CONSOLES = "counters-equal-the-wires", "quiet-consoles"

_ALARM = re.compile(
    r"^.*(BUG:|WARNING:|Oops|general protection|Call Trace|Kernel panic|refcount_t|lockup|stalls on).*$", re.M
)
_PANIC = "director-panic"


def counters_equal_the_wires(record: Record) -> Iterator[Violation]:
    """Over a quiet stretch of load the HTTP service counts what crosses its director's card."""
    if present(record, record.rested):
        return
    holder = holder_of(record)
    for counted in record.counted:
        if counted.director == holder:
            grown, seen = _grown(record, counted), _seen(record, counted)
            for name, value in seen.items():
                if grown.get(name) != value:
                    yield Violation(
                        COUNTERS,
                        name,
                        counted.ended,
                        f"{holder} counted {grown.get(name, 0)} {name}, {value} crossed its card",
                    )


def _grown(record: Record, counted: Counted) -> dict[str, int]:
    """By how much the counters have grown."""
    wanted = f"TCP {record.net.vip}:{record.net.port}"

    def of(services: tuple[ServiceStats, ...]) -> dict[str, int]:
        return next((_numbers(service) for service in services if service.service == wanted), {})

    before = of(counted.before)
    return {name: value - before.get(name, 0) for name, value in of(counted.after).items()}


def _numbers(service: ServiceStats) -> dict[str, int]:
    return {
        "connections": service.conns,
        "packets in": service.in_packets,
        "bytes in": service.in_bytes,
        "packets out": service.out_packets,
        "bytes out": service.out_bytes,
    }


def _seen(record: Record, counted: Counted) -> dict[str, int]:
    """What crossed the director's card meanwhile."""
    own = [
        segment
        for segment in segments(
            frame
            for frame in record.frames
            if frame.node == counted.director and counted.began <= frame.t <= counted.ended
        )
        if segment.protocol == TCP
    ]
    door = (record.net.vip, record.net.port)
    came = [
        segment
        for segment in own
        if (segment.target, segment.target_port) == door
        and not segment.frame.outbound
        and record.net.macs.get(next_hop(segment.frame)) == counted.director
    ]
    went = [
        segment for segment in own if (segment.source, segment.source_port) == door and segment.frame.outbound
    ]
    opened = {segment.source_port for segment in came if segment.flags & (SYN | ACK) == SYN}
    seen = {"connections": len(opened), "packets in": len(came), "bytes in": _octets(came)}
    if record.net.replies_pass:
        seen |= {"packets out": len(went), "bytes out": _octets(went)}
    return seen


def _octets(own: list[Segment]) -> int:
    return sum(segment.size for segment in own)


def quiet_consoles(record: Record) -> Iterator[Violation]:
    """No kernel prints an oops or a warning, but one that was made to panic."""
    for director, text in record.consoles.items():
        if any(
            fault.injection.kind == _PANIC and fault.injection.target == director for fault in record.happened
        ):
            continue
        alarm = _ALARM.search(text)
        if alarm:
            line = alarm[0].strip()
            yield Violation(CONSOLES, alarm[1].rstrip(":"), record.rested, f"{director} printed: {line}")
