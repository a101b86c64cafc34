"""How late the machine was during a trial, and what follows from that: pure functions beside the
reader of the file.

A lab's kernels and programs share the machine's processors with everything else on it. What must
happen within a time may therefore come late although nothing is wrong. So a trial measures for how
long its directors were kept waiting for a processor, and how late a sleeper woke up; the prober
says how late its attempts began. An expectation that was missed is judged only where less than that
would have spoilt it (`verdict`): a miss on a calm machine stays a failure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import UsageError
from lvslab.runs.outage import Attempt, Beat
from lvslab.runs.records import TrialVerdict

COLUMNS = ("t", "who", "late")
PERIOD = 0.1
"""Seconds that a line of the file speaks of, those before its `t`."""


_PILING_UP = 2
"""Timeouts before a failure in which a late machine may have gathered the work that it had to wait
behind.
"""


@dataclass(frozen=True, slots=True)
class Delay:
    """A line of the file.

    Attributes:
        t: seconds since the epoch.
        who: a director's name: its processes; "machine": a sleeper that had to wake up at `t`.
        seconds: for which it was kept waiting in the `PERIOD` before `t`, summed over its
            processes.
    """

    t: float
    who: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Excuse:
    """What would explain that an expectation was missed, beside what was measured; in seconds.

    Attributes:
        needed: the machine must have been late by so much. Infinite where no lateness explains it.
        late: it was late by so much.
    """

    needed: float
    late: float

    @property
    def holds(self) -> bool:
        """Whether the machine may be the cause."""
        return 0 < self.needed <= self.late


def verdict(holds: bool, excuse: Excuse | None) -> TrialVerdict:
    """What an expectation comes to: "skip" where it was missed on a machine that was too late to
    judge it.
    """
    if holds:
        return "pass"
    return "skip" if excuse and excuse.holds else "fail"


def lateness(delays: Iterable[Delay], attempts: Iterable[Attempt], since: float, until: float) -> float:
    """By how many seconds the machine was late in a stretch of time: the sum for whoever waited the
    longest, or the worst start of an attempt.
    """
    waited: dict[str, float] = defaultdict(float)
    for delay in delays:
        if since < delay.t <= until + PERIOD:
            waited[delay.who] += delay.seconds
    starts = (attempt.start - attempt.planned for attempt in attempts if since <= attempt.planned <= until)
    return max([0.0, *waited.values(), *starts])


def longest_pause(delays: Sequence[Delay], since: float, until: float, span: float) -> float:
    """The most by which the machine was late in any `span` seconds of a stretch of time."""
    ends = [delay.t for delay in delays if since < delay.t <= until + PERIOD]
    return max((lateness(delays, (), end - span + PERIOD / 2, end - PERIOD) for end in ends), default=0.0)


def excuse_of_failures(
    failures: Iterable[Attempt | Beat], timeout: float, delays: Sequence[Delay], attempts: Sequence[Attempt]
) -> Excuse | None:
    """What would explain all of these failures, each of which gave up after `timeout` seconds: the
    machine used that up, while they waited or while what they had to wait behind piled up.

    Nothing explains one that was refused or answered wrongly.
    """
    return least_excused(
        [
            Excuse(
                timeout if failure.outcome == "timeout" else math.inf,
                lateness(delays, attempts, failure.planned - _PILING_UP * timeout, failure.planned + timeout),
            )
            for failure in failures
            if failure.failed
        ]
    )


def least_excused(excuses: Sequence[Excuse]) -> Excuse | None:
    """The excuse of several misses, of which each must be explained: the weakest one."""
    return min(excuses, key=lambda excuse: excuse.late - excuse.needed, default=None)


def read_delays(file: Path) -> tuple[Delay, ...]:
    """The lines of a trial's file; none where there is no such file, as in runs of earlier
    versions. A last line that was cut off is left out.

    Raises:
        UsageError: a line is wrong; names it.
    """
    if not file.is_file():
        return ()
    head, *lines = file.read_text(encoding="utf-8").split("\n")[:-1] or [""]
    if head and tuple(head.split(",")) != COLUMNS:
        raise UsageError(f"{file}, line 1: {','.join(COLUMNS)} is expected")
    delays = []
    for number, line in enumerate(lines, start=2):
        try:
            t, who, seconds = line.split(",")
            delays.append(Delay(float(t), who, float(seconds)))
        except ValueError:
            raise UsageError(f"{file}, line {number}: not {','.join(COLUMNS)}: {line}") from None
    return tuple(delays)
