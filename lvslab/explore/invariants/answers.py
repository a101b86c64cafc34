"""Whether users are answered, and by whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from lvslab.explore.records import HTTP, Record, Violation
from lvslab.explore.stretches import whole
from lvslab.explore.ways import way
from lvslab.explore.wires import TCP, UDP
from lvslab.runs.outage import Attempt, Beat

ANSWERED, ONE_SERVER = "answered-in-time", "one-server"

_SLACK = 0.01
_FEW = 3
"""So many lost attempts of a stretch are looked at for their ways."""


def answered_in_time(record: Record) -> Iterator[Violation]:
    """Every new connection, and every datagram of a lasting flow, is answered when the service must
    be whole: nothing is broken but what the set-up stands in for, and the formula's time has
    passed.
    """
    for service, attempts in record.attempts.items():
        for since, until in whole(record):
            inside = [
                attempt for attempt in attempts if since <= attempt.planned < until - record.promise.timeout
            ]
            lost = [attempt for attempt in inside if attempt.failed]
            if lost:
                yield _unanswered(record, service, lost, len(inside), since)


def _unanswered(record: Record, service: str, lost: list[Attempt], total: int, since: float) -> Violation:
    protocol = TCP if service == HTTP else UDP
    ways = Counter(
        way(record, protocol, attempt.local_port or 0, attempt.planned - _SLACK, attempt.end)
        for attempt in lost[:_FEW]
    )
    (how, sentence), _ = ways.most_common(1)[0]
    first = lost[0]
    what = "new connections" if service == HTTP else "datagrams of lasting flows"
    return Violation(
        ANSWERED,
        f"{service}, {how}",
        first.planned,
        f"{len(lost)} of {total} {what} failed ({first.outcome}), though {record.promise.whole:.2f} s had"
        f" passed since the last change, at {since - record.promise.whole:.2f} s: {sentence}",
    )


def one_server(record: Record) -> Iterator[Violation]:
    """An established connection keeps its real server, or is reset; another one never answers."""
    for number, beats in connections(record).items():
        names = list(dict.fromkeys(beat.server for beat in beats if beat.server))
        if len(names) > 1:
            second = next(beat for beat in beats if beat.server == names[1])
            yield Violation(
                ONE_SERVER,
                "another server answers",
                second.planned,
                f"connection {number} was answered by {names[0]}, then by {names[1]}",
            )


def connections(record: Record) -> Mapping[int, list[Beat]]:
    """The heartbeats of each lasting connection."""
    own: dict[int, list[Beat]] = {}
    for beat in record.beats:
        own.setdefault(beat.connection, []).append(beat)
    return own
