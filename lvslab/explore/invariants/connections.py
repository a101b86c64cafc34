"""Whether connections that stand go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lvslab.explore.invariants.answers import connections
from lvslab.explore.kinds import KINDS, Cover
from lvslab.explore.records import Happened, Record, Violation
from lvslab.explore.stretches import covered, real
from lvslab.explore.wires import sync_ports
from lvslab.runs.outage import Beat

NAME = "connections-live"

_HARMLESS = ("weight-zero",)
"""Faults of its own real server that a connection outlives."""


def connections_live(record: Record) -> Iterator[Violation]:
    """An established connection goes on through everything that the set-up stands in for: with
    connection sync a director may die, and nobody may notice what happens to other servers.
    """
    told = _told(record)
    for number, beats in connections(record).items():
        last = beats[-1]
        if last.outcome == "ok" or last.opened is None:
            continue
        faults = _near(record, beats)
        servers = {beat.server for beat in beats if beat.server}
        if not _must_live(record, faults, servers):
            continue
        moved = [fault for fault in faults if KINDS[fault.injection.kind].cover is Cover.PARTNER]
        times = told.get(last.local_port or 0, [])
        how, why = (
            _how(record, moved[-1], times) if moved else ("for no reason", "nothing had happened to it")
        )
        yield Violation(
            NAME,
            how,
            last.sent,
            f"connection {number}, established at {last.opened:.2f} s, ended at {last.sent:.2f} s"
            f" ({last.outcome}): {why}",
        )


def _near(record: Record, beats: Sequence[Beat]) -> list[Happened]:
    """The faults that a connection's end may have to do with."""
    good = [beat.sent for beat in beats if beat.outcome == "ok"]
    since, until = (good[-1] if good else beats[0].sent), beats[-1].sent
    after = record.promise.whole
    return [
        fault
        for fault in real(record)
        if fault.began <= until and (fault.ended is None or since <= fault.ended + after)
    ]


def _must_live(record: Record, faults: Sequence[Happened], servers: set[str]) -> bool:
    own = [
        fault
        for fault in faults
        if fault.injection.target in servers and fault.injection.kind not in _HARMLESS
    ]
    moves = any(KINDS[fault.injection.kind].cover is Cover.PARTNER for fault in faults)
    return not own and covered(record, faults) and (record.promise.synced or not moves)


def _how(record: Record, fault: Happened, told: Sequence[float]) -> tuple[str, str]:
    """How it was lost when a director went."""
    before = [t for t in told if t <= fault.began]
    what = f"{fault.injection.kind} of {fault.injection.target} at {fault.began:.2f} s"
    booted = [
        each.ended
        for each in real(record)
        if each.ended is not None
        and each.ended <= fault.began
        and each.injection.target in record.net.directors
        and each.injection.target != fault.injection.target
    ]
    if not before:
        return "lost between sync messages", f"{what} came before any sync message about it"
    if booted and before[-1] < booted[-1]:
        return "told to a partner that has forgotten", (
            f"{what}; the last sync message about it, at {before[-1]:.2f} s, came before the partner"
            f" was back, at {booted[-1]:.2f} s"
        )
    return (
        "lost though sync had told",
        f"{what}, {fault.began - before[-1]:.2f} s after a sync message about it",
    )


def _told(record: Record) -> dict[int, list[float]]:
    """Client's port → when a director told of its connection."""
    told: dict[int, list[float]] = {}
    for frame in record.frames:
        if frame.outbound and frame.node in record.net.directors:
            for port in sync_ports(frame):
                told.setdefault(port, []).append(frame.t)
    return told
