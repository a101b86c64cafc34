"""Outages, as the prober's records show them: pure functions, nothing is read.

All times are seconds since the epoch, on one clock. **An outage can be no finer than the probe
interval**: the service may have failed up to one interval before the first failed attempt, and may
have been whole again up to one interval before the attempt that ends the stretch. Say the interval
beside every figure.

Failed means failed for the client: an attempt that was held up and still answered within its
timeout is a good one. A fault that only delays packets (a kernel that stands still and goes on)
therefore seems to end up to one timeout before it is over, and one shorter than the timeout shows
in the durations alone. `local` failures count, since a prober that could not ask has not seen a
whole service.

Impaired is not down: with two real servers of which one is dead every other attempt fails. A
stretch therefore goes on until no attempt has failed for longer than a **gap**, and its share of
failures is `failed / attempts`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

GAP_ATTEMPTS, GAP_SECONDS = 100, 1.0
"""The usual gap: so many attempts without a failure, but no longer than so many seconds (and three
intervals at least).

A scheduler that picks one of four servers at random misses a dead one a hundred times in a row once
in 3e12 times.
"""

_TICK = 1e-6
"""Resolution of the records; two times closer than this are the same."""

_IN_FLIGHT = 0.1
"""Seconds for which a heartbeat without an answer counts as under way: far longer than an answer
takes in a healthy lab.
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to be served (see docs/run-directory.md); None is what did not happen.

    Attributes:
        planned: when it should have started.
        start: when it did; `start - planned` is the prober's own error.
        connect: TCP connection established.
        first_byte: first byte of the answer.
        end: when its outcome was known.
        local_port: the client's port.
        server: name that answered, or empty.
        outcome: ok, refused, reset, timeout, wrong, unreachable or local.
    """

    planned: float
    start: float
    connect: float | None
    first_byte: float | None
    end: float
    local_port: int | None
    server: str
    outcome: str

    @property
    def failed(self) -> bool:
        return self.outcome != "ok"


@dataclass(frozen=True, slots=True)
class Beat:
    """One heartbeat of a long-lived connection, or the connection's end; every outcome but "ok" is
    the connection's last.

    Attributes:
        connection: its number, from 1.
        opened: when it was established, or None if it never was.
        planned, sent: when the request should have left and when it did; of an end between two
            heartbeats: when that was seen; of a connection that was never established: of its SYN.
        answered: when the answer was whole.
        outcome: as an attempt's, or "closed" by the other side.
    """

    connection: int
    opened: float | None
    local_port: int | None
    planned: float
    sent: float
    answered: float | None
    server: str
    outcome: str

    @property
    def failed(self) -> bool:
        return self.outcome != "ok"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which the service was impaired.

    Attributes:
        start, end: from the planned start of the first failed attempt to that of the first attempt
            after the last failed one. When the probing ended with a failure, `end` is one interval
            after it.
        failed, attempts: how many attempts of the stretch failed, and how many it has.
        outcomes: how they failed: outcome → number; their sum is `failed`.
        ended: False when no gap without failures was seen after it: the failures may have lasted
            longer than the probing, and `end` is the earliest possible.
    """

    start: float
    end: float
    failed: int
    attempts: int
    outcomes: Mapping[str, int]
    ended: bool

    @property
    def seconds(self) -> float:
        return self.end - self.start


def usual_gap(interval: float) -> float:
    """Seconds without a failure after which a service counts as whole again (see
    `GAP_ATTEMPTS`).
    """
    return max(min(GAP_ATTEMPTS * interval, GAP_SECONDS), 3 * interval)


def stretches(attempts: Iterable[Attempt], interval: float, gap: float | None = None) -> tuple[Stretch, ...]:
    """All times in which the service was impaired, in order.

    Args:
        interval: seconds between planned starts.
        gap: failures whose planned starts are no further apart than this belong to one stretch;
            None: the usual gap.
    """
    return _stretches(sorted(attempts, key=lambda each: each.planned), interval, gap)


def _stretches(ordered: Sequence[Attempt], interval: float, gap: float | None) -> tuple[Stretch, ...]:
    """As `stretches`, of attempts in the order of their planned starts."""
    gap = usual_gap(interval) if gap is None else gap
    failed = [index for index, each in enumerate(ordered) if each.failed]
    groups: list[list[int]] = []
    for index in failed:
        if groups and ordered[index].planned - ordered[groups[-1][-1]].planned <= gap + _TICK:
            groups[-1].append(index)
        else:
            groups.append([index])
    found = []
    for group in groups:
        first, last = group[0], group[-1]
        after = ordered[last + 1].planned if last + 1 < len(ordered) else ordered[last].planned + interval
        watched = ordered[-1].planned - ordered[last].planned
        outcomes = Counter(ordered[index].outcome for index in group)
        whole_again = last + 1 < len(ordered) and watched >= gap - _TICK
        found.append(
            Stretch(ordered[first].planned, after, len(group), last - first + 1, dict(outcomes), whole_again)
        )
    return tuple(found)


def outage(
    attempts: Iterable[Attempt], interval: float, since: float, gap: float | None = None
) -> Stretch | None:
    """The time for which the service was impaired after a fault: the first stretch of failures at
    or after `since`.

    It lasts until the service is whole again, that is until no attempt has failed for longer than
    `gap`; failures after that (a second fault, the repair) are other stretches. What counts:

    - Attempts that had ended by `since` do not, failed or not.
    - An attempt that was planned before `since` but failed after it was in flight when the fault
      struck. It counts as failed at `since`: the outage then begins with the fault, never before
      it.
    - With no failure left there was no outage: None.
    """
    later, in_flight = [], []
    for each in sorted(attempts, key=lambda each: each.planned):
        if each.planned >= since:
            later.append(each)
        elif each.failed and each.end >= since:
            in_flight.append(_moved(each, since))
    found = _stretches([*in_flight, *later], interval, gap)
    return found[0] if found else None


def _moved(attempt: Attempt, planned: float) -> Attempt:
    """The same attempt as if it had been planned later."""
    return Attempt(
        planned,
        attempt.start,
        attempt.connect,
        attempt.first_byte,
        attempt.end,
        attempt.local_port,
        attempt.server,
        attempt.outcome,
    )


def start_errors(attempts: Iterable[Attempt]) -> tuple[float, ...]:
    """How late each attempt started, in seconds: the prober's own error."""
    return tuple(each.start - each.planned for each in attempts)


@dataclass(frozen=True, slots=True)
class Bin:
    """The attempts planned in [start, start + width): outcome → number."""

    start: float
    counts: Mapping[str, int]


def timeline(attempts: Iterable[Attempt], width: float = 0.01) -> tuple[Bin, ...]:
    """Outcomes over time, in bins that follow one another without a hole; the first begins with the
    first attempt.

    Args:
        width: seconds of a bin; a multiple of the probe interval, or the bins hold unequal numbers
            of attempts.
    """
    everything = list(attempts)
    if not everything:
        return ()
    origin = min(each.planned for each in everything)
    counts: dict[int, Counter[str]] = {}
    for each in everything:
        # The records have whole microseconds; floats near the epoch's seconds are only a quarter of
        # one apart.
        index = int((round((each.planned - origin) / _TICK) + 0.001) * _TICK / width)
        counts.setdefault(index, Counter())[each.outcome] += 1
    return tuple(Bin(origin + index * width, dict(counts.get(index, {}))) for index in range(max(counts) + 1))


class Mark(Protocol):
    """What `detection` needs of a trial's mark."""

    @property
    def t(self) -> float: ...
    @property
    def kind(self) -> str: ...


def detection(marks: Iterable[Mark], fault_t: float) -> float | None:
    """Seconds from a fault to the first change of a director's table or VRRP state at or after it;
    None without one.
    """
    times = [mark.t for mark in marks if mark.kind in ("table", "vrrp") and mark.t >= fault_t]
    return min(times) - fault_t if times else None


@dataclass(frozen=True, slots=True)
class Survival:
    """What a fault did to the connections that stood when it struck.

    Attributes:
        total, survived: how many stood, and how many of them lived on.
        lost: (connection, seconds of age at the fault, outcome that ended it) of each that did not.
        kept: (connection, seconds of age at the fault) of each that did.
    """

    total: int
    survived: int
    lost: tuple[tuple[int, float, str], ...]
    kept: tuple[tuple[int, float], ...]


def survival(beats: Iterable[Beat], fault_t: float, until: float | None = None) -> Survival:
    """Which connections survived a fault.

    A connection stood when a heartbeat of it had been answered by `fault_t` and it had not ended.
    It survived when it answered a heartbeat sent at or after the fault and had not ended by `until`
    (None: the end of the probing). A connection of which neither its end nor a heartbeat sent after
    the fault is known says nothing and is not counted. The records say when a fatal heartbeat was
    sent, not when it was given up: one sent up to `_IN_FLIGHT` before the fault was in flight and
    is the fault's, an earlier one is not.
    """
    by_connection: dict[int, list[Beat]] = {}
    for beat in beats:
        if until is None or (beat.sent if beat.answered is None else beat.answered) <= until:
            by_connection.setdefault(beat.connection, []).append(beat)
    lost: list[tuple[int, float, str]] = []
    kept: list[tuple[int, float]] = []
    for number, lines in sorted(by_connection.items()):
        proven = any(
            not line.failed and line.answered is not None and line.answered <= fault_t for line in lines
        )
        opened = next((line.opened for line in lines if line.opened is not None), None)
        if not proven or opened is None:
            continue
        age = fault_t - opened
        end = next((line for line in lines if line.failed), None)
        if end is not None and end.sent < fault_t - _IN_FLIGHT:
            continue
        if end is not None:
            lost.append((number, age, end.outcome))
        elif any(line.sent >= fault_t for line in lines):
            kept.append((number, age))
    return Survival(len(lost) + len(kept), len(kept), tuple(lost), tuple(kept))
