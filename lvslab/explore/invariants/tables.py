"""What the directors' tables say, against each other and against time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lvslab.explore.invariants.answers import connections
from lvslab.explore.records import Record, Shot, Violation
from lvslab.explore.stretches import changes, present
from lvslab.explore.ways import holder_of
from lvslab.explore.wires import TCP, segments
from lvslab.plan.redundancy import SYNC_FLUSH

AGREE, TIMERS = "tables-agree", "no-entry-outlives-its-timer"

_PERIOD = 50
"""Of so many packets of a connection one makes sync tell of it (sync_threshold, "3 50")."""

_TIMEOUTS: Mapping[str, int] = {
    "NONE": 2,
    "ESTABLISHED": 900,
    "SYN_SENT": 120,
    "SYN_RECV": 60,
    "FIN_WAIT": 120,
    "TIME_WAIT": 120,
    "CLOSE": 10,
    "CLOSE_WAIT": 60,
    "LAST_ACK": 30,
    "LISTEN": 120,
    "SYNACK": 120,
    "UDP": 300,
}
"""Seconds by state: tcp_timeouts in ip_vs_proto_tcp.c, udp_timeouts in ip_vs_proto_udp.c."""

_WHEEL = 1.125
"""A timer fires up to an eighth late (kernel/time/timer.c)."""


def tables_agree(record: Record) -> Iterator[Violation]:
    """When nothing is broken and sync has had its time, the directors of a pair have the same
    services and weights, and the backup has every lasting connection that the master has.
    """
    shots = [shot for shot in record.shots if shot.t >= record.asked]
    settled = changes(record) and record.rested - changes(record)[-1] > record.promise.whole
    if len(shots) < 2 or present(record, record.rested) or not (settled or not changes(record)):
        return
    tables = [_weights(shot) for shot in shots]
    for name in dict.fromkeys(name for table in tables for name in table):
        values = [table.get(name) for table in tables]
        if values[0] != values[1]:
            both = " and ".join(
                f"{shot.director} has {'none' if value is None else f'weight {value}'}"
                for shot, value in zip(shots, values, strict=True)
            )
            yield Violation(AGREE, "weights", shots[0].t, f"of {name} {both}")
            break
    if record.promise.synced:
        yield from _missing(record, shots)


def _weights(shot: Shot) -> dict[str, int]:
    return {
        f"{server.name} in {service.name}": server.weight
        for service in shot.services
        for server in service.real_servers
    }


def _missing(record: Record, shots: list[Shot]) -> Iterator[Violation]:
    holder = holder_of(record)
    if holder not in {shot.director for shot in shots}:
        return
    here = next(shot for shot in shots if shot.director == holder)
    there = next(shot for shot in shots if shot.director != holder)
    due = _due(record, changes(record)[-1] if changes(record) else 0.0, here.t - SYNC_FLUSH)
    known = {entry.client.port: entry.destination for entry in there.connections if not entry.is_template}
    for entry in here.connections:
        port = entry.client.port
        if port in due and entry.state == "ESTABLISHED" and known.get(port) != entry.destination:
            yield Violation(
                AGREE,
                "connections",
                here.t,
                f"{here.director} has the connection from port {port} to {entry.destination},"
                f" {there.director} has {known.get(port, 'nothing')} of it, {due[port]} packets after the"
                " last change",
            )
            return


def _due(record: Record, since: float, until: float) -> dict[int, int]:
    """Ports of lasting connections of which sync must have told, and their packets."""
    alive = {beats[-1].local_port for beats in connections(record).values() if beats[-1].outcome == "ok"}
    sent: dict[int, int] = {}
    own = (frame for frame in record.frames if frame.outbound and since <= frame.t < until)
    for segment in segments(own):
        if segment.protocol == TCP and segment.source == record.net.client and segment.source_port in alive:
            sent[segment.source_port] = sent.get(segment.source_port, 0) + 1
    return {port: count for port, count in sent.items() if count > _PERIOD}


def no_entry_outlives_its_timer(record: Record) -> Iterator[Violation]:
    """No entry has more time left than its state gives it, and none is there that has heard nothing
    for longer.
    """
    for shot in record.shots:
        heard = _last_heard(record, shot)
        for entry in shot.connections:
            timeout = _TIMEOUTS.get(entry.state)
            if entry.is_template or timeout is None:
                continue
            port = entry.client.port
            silent = shot.t - heard[port] if port in heard else 0.0
            if entry.expires > timeout + 1:
                how, why = "too long a time", f"has {entry.expires} s left, of {timeout} s"
            elif silent > timeout * _WHEEL + 1:
                how, why = "still there", f"has been silent for {silent:.0f} s of {timeout} s"
            else:
                continue
            yield Violation(
                TIMERS,
                f"{entry.state}, {how}",
                shot.t,
                f"{shot.director}: the entry of port {port} in {entry.state} {why}",
            )


def _last_heard(record: Record, shot: Shot) -> dict[int, float]:
    """Client's port → when a packet of its flow last crossed a card of a director."""
    heard: dict[int, float] = {}
    own = (frame for frame in record.frames if frame.node == shot.director and frame.t <= shot.t)
    for segment in segments(own):
        if segment.source == record.net.client:
            heard[segment.source_port] = segment.frame.t
        elif segment.target == record.net.client:
            heard[segment.target_port] = segment.frame.t
    return heard
