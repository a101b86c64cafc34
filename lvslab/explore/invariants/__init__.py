"""The invariants: pure functions from the record of a world to what did not hold in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lvslab.explore.invariants import addresses, answers, connections, draining, machines, tables
from lvslab.explore.records import Record, Violation

Invariant = Callable[[Record], Iterator[Violation]]

INVARIANTS: Mapping[str, Invariant] = {
    answers.ANSWERED: answers.answered_in_time,
    answers.ONE_SERVER: answers.one_server,
    connections.NAME: connections.connections_live,
    draining.NAME: draining.drained_is_left,
    addresses.NAME: addresses.one_director_answers,
    tables.AGREE: tables.tables_agree,
    tables.TIMERS: tables.no_entry_outlives_its_timer,
    machines.COUNTERS: machines.counters_equal_the_wires,
    machines.CONSOLES: machines.quiet_consoles,
}
"""All of them, by their names."""


def judge(record: Record) -> tuple[Violation, ...]:
    """All that did not hold, each failure once, by time."""
    violations: dict[str, Violation] = {}
    for invariant in INVARIANTS.values():
        for violation in invariant(record):
            violations.setdefault(violation.fingerprint, violation)
    return tuple(sorted(violations.values(), key=lambda violation: violation.t))
