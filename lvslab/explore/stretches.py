"""When which faults were there, and when a service must be whole in spite of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from lvslab.explore.kinds import KINDS, Cover
from lvslab.explore.records import Happened, Record


def real(record: Record) -> list[Happened]:
    """The faults that were done."""
    return [each for each in record.happened if not each.void]


def present(record: Record, t: float) -> list[Happened]:
    """The faults that are there at a time."""
    return [each for each in real(record) if each.began <= t and (each.ended is None or t < each.ended)]


def changes(record: Record) -> list[float]:
    """The times at which a fault came or went."""
    times = [each.began for each in real(record)]
    times += [each.ended for each in real(record) if each.ended is not None]
    return sorted(set(times))


def covered(record: Record, faults: Sequence[Happened]) -> bool:
    """Whether the set-up stands in for these faults together: one director is well, and one real
    server.
    """
    lost: dict[Cover, set[str]] = {cover: set() for cover in Cover}
    for fault in faults:
        lost[KINDS[fault.injection.kind].cover].add(fault.injection.target)
    return (
        not lost[Cover.NOTHING]
        and len(lost[Cover.PARTNER]) < len(record.net.directors)
        and len(lost[Cover.SERVERS]) < len(record.net.servers)
    )


def whole(record: Record) -> list[tuple[float, float]]:
    """The stretches of time in which every user must be served: the bound after the last change,
    until the next one.
    """
    times = [record.began, *changes(record), record.rested]
    return [
        (since + record.promise.whole, until)
        for since, until in pairwise(times)
        if since + record.promise.whole < until and covered(record, present(record, since))
    ]
