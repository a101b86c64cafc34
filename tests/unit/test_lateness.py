"""A miss that the machine's lateness explains is not judged; any other one fails."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lvslab.errors import UsageError
from lvslab.runs.lateness import (
    PERIOD,
    Delay,
    Excuse,
    excuse_of_failures,
    lateness,
    least_excused,
    longest_pause,
    read_delays,
    verdict,
)
from lvslab.runs.outage import Attempt


def waits(who: str, share: float, since: float = 0.0, until: float = 10.0) -> list[Delay]:
    """Somebody is kept waiting for a share of a stretch of time."""
    number = round((until - since) / PERIOD)
    return [Delay(since + (each + 1) * PERIOD, who, share * PERIOD) for each in range(number)]


def attempt(planned: float, outcome: str, start_error: float = 0.0, lasting: float = 0.5) -> Attempt:
    start = planned + start_error
    return Attempt(planned, start, None, None, start + lasting, 1024, "", outcome)


CALM, BUSY = waits("lvs", 0.03), waits("lvs", 0.9)


@pytest.mark.parametrize(
    ("holds", "excuse", "outcome"),
    [
        (True, None, "pass"),
        (True, Excuse(0.1, 0.5), "pass"),
        (False, None, "fail"),
        (False, Excuse(0.6, 0.5), "fail"),
        (False, Excuse(math.inf, 9.0), "fail"),
        (False, Excuse(-0.1, 0.5), "fail"),
        (False, Excuse(0.4, 0.5), "skip"),
        (False, Excuse(0.5, 0.5), "skip"),
    ],
    ids=["held", "held late", "missed", "by more", "refused", "no miss in time", "by less", "by as much"],
)
def test_a_miss_is_judged_unless_the_machine_was_as_late(
    holds: bool, excuse: Excuse | None, outcome: str
) -> None:
    assert verdict(holds, excuse) == outcome


def test_lateness_is_that_of_whoever_waited_the_longest() -> None:
    delays = [*waits("lvs1", 0.2), *waits("lvs2", 0.5), *waits("machine", 0.1)]
    assert lateness(delays, (), 2.0, 4.0 - PERIOD) == pytest.approx(1.0)
    assert lateness(delays, (), 20.0, 30.0) == 0
    assert lateness((), (), 0.0, 10.0) == 0


def test_a_late_start_of_an_attempt_counts_in_its_time_only() -> None:
    late = [attempt(3.0, "ok", start_error=0.8), attempt(5.0, "ok", start_error=0.2)]
    assert lateness(CALM, late, 2.0, 4.0) == pytest.approx(0.8)
    assert lateness(CALM, late, 4.5, 6.0) == pytest.approx(0.2)


def test_a_pause_is_as_long_as_the_worst_span() -> None:
    delays = [*waits("lvs1", 0.05, 0, 4), *waits("lvs1", 1.0, 4, 4.5), *waits("lvs1", 0.05, 4.5, 10)]
    assert longest_pause(delays, 0.0, 10.0, 0.5) == pytest.approx(0.5)
    assert longest_pause(delays, 5.0, 10.0, 0.5) == pytest.approx(0.025)
    assert lateness(delays, (), 0.0, 10.0) > 0.9, "small waits of a long time are no pause"
    assert longest_pause((), 0.0, 10.0, 0.5) == 0


def test_many_short_waits_are_no_pause() -> None:
    """A message of connection sync that should have left 1.2 s ago is excused by a pause only."""
    busy = [Delay(0.1 * step, "lvs1", 0.05) for step in range(1, 101)]
    stalled = [Delay(0.1 * step, "lvs1", 0.1 if 40 <= step < 54 else 0.0) for step in range(1, 101)]
    assert lateness(busy, (), 0.0, 10.0) > 1.2, "their sum would have excused it"
    assert longest_pause(busy, 0.0, 10.0, 1.4) < 1.2 <= longest_pause(stalled, 0.0, 10.0, 1.4)


def test_timeouts_are_explained_by_a_late_machine_only() -> None:
    failures = [attempt(planned, "timeout") for planned in (4.0, 4.1, 4.2)]
    calm, busy = (excuse_of_failures(failures, 0.5, delays, failures) for delays in (CALM, BUSY))
    assert calm and not calm.holds
    assert busy and busy.holds and busy.needed == 0.5


def test_each_failure_must_be_explained() -> None:
    delays = waits("lvs", 0.9, 0, 5)
    failures = [attempt(4.0, "timeout"), attempt(8.0, "timeout")]
    excuse = excuse_of_failures(failures, 0.5, delays, failures)
    assert excuse and not excuse.holds, "the second one failed on a calm machine"


@pytest.mark.parametrize("outcome", ["refused", "reset", "wrong", "unreachable"])
def test_an_answer_is_no_lateness(outcome: str) -> None:
    failures = [attempt(4.0, "timeout"), attempt(4.1, outcome)]
    excuse = excuse_of_failures(failures, 0.5, BUSY, failures)
    assert excuse and not excuse.holds


def test_without_a_failure_there_is_nothing_to_explain() -> None:
    assert excuse_of_failures([attempt(4.0, "ok")], 0.5, BUSY, ()) is None
    assert least_excused([]) is None


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "mon-1.lateness.csv"
    assert read_delays(file) == (), "runs of earlier versions have none"
    file.write_text("t,who,late\n1.100000,lvs,0.050000\n1.200000,machine,0.002000\n1.3,l")
    assert read_delays(file) == (Delay(1.1, "lvs", 0.05), Delay(1.2, "machine", 0.002))
    file.write_text("t,who,late\n1.1,lvs\n")
    with pytest.raises(UsageError, match=r"mon-1\.lateness\.csv, line 2: "):
        read_delays(file)
