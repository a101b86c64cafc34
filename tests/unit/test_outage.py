"""Outages, detection and survival, computed from made-up records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.runs import outage as o

INTERVAL = 0.001
T0 = 1_700_000_000.0
TICK = pytest.approx


def attempt(planned: float, outcome: str = "ok", takes: float = 0.0002) -> o.Attempt:
    end = planned + takes
    return o.Attempt(planned, planned, None, None, end, None, "rs1" if outcome == "ok" else "", outcome)


def attempts(outcomes: Sequence[str], interval: float = INTERVAL) -> list[o.Attempt]:
    """One attempt an interval from T0; "." is a good one, another letter a failure."""
    names = {".": "ok", "R": "refused", "T": "timeout", "X": "reset"}
    return [attempt(T0 + number * interval, names[letter]) for number, letter in enumerate(outcomes)]


def test_every_other_attempt_failing_is_one_stretch() -> None:
    (found,) = o.stretches(attempts("." * 20 + "RT" + ".R" * 30 + "." * 200), INTERVAL)
    assert (found.start, found.end) == (TICK(T0 + 0.020), TICK(T0 + 0.082))
    assert (found.failed, found.attempts, found.outcomes, found.ended) == (
        32,
        62,
        {"refused": 31, "timeout": 1},
        True,
    )
    assert found.seconds == TICK(0.062, abs=1e-6)


def test_a_longer_gap_parts_two_stretches_and_an_equal_one_does_not() -> None:
    made = attempts("R" + "." * 9 + "R" + "." * 10 + "R" + "." * 20)
    assert [each.failed for each in o.stretches(made, INTERVAL, gap=0.010)] == [2, 1]
    assert [each.failed for each in o.stretches(made, INTERVAL, gap=0.011)] == [3]


def test_failures_until_the_end_of_the_probing_have_not_ended() -> None:
    (found,) = o.stretches(attempts("...RRR"), INTERVAL)
    assert (found.end, found.ended) == (TICK(T0 + 0.006), False)
    # The last attempts were good by turns: nobody saw the service whole.
    (found,) = o.stretches(attempts("...R.R.R."), INTERVAL)
    assert (found.end, found.ended) == (TICK(T0 + 0.008), False)


def test_no_attempts_and_no_failures() -> None:
    assert o.stretches([], INTERVAL) == ()
    assert o.stretches(attempts("...."), INTERVAL) == ()
    assert o.outage([], INTERVAL, T0) is None
    assert o.outage(attempts("...."), INTERVAL, T0) is None


def test_attempts_may_come_in_the_order_in_which_they_ended() -> None:
    made = attempts("..RR." + "." * 200)
    assert o.stretches(reversed(made), INTERVAL) == o.stretches(made, INTERVAL)


def test_failures_before_the_fault_are_no_part_of_the_outage() -> None:
    made = attempts("RR........RRR" + "." * 200)
    found = o.outage(made, INTERVAL, since=T0 + 0.0085)
    assert found is not None
    assert (found.start, found.failed, found.attempts) == (TICK(T0 + 0.010), 3, 3)
    assert o.outage(made, INTERVAL, since=T0 + 0.020) is None


def test_an_attempt_in_flight_counts_and_the_outage_begins_with_the_fault() -> None:
    made = attempts("....." + "....R" + "." * 200)
    made[3] = attempt(made[3].planned, "timeout", takes=0.5)
    made[4] = attempt(made[4].planned, "reset", takes=0.0001)  # had failed before
    found = o.outage(made, INTERVAL, since=T0 + 0.0045)
    assert found is not None
    assert (found.start, found.end) == (TICK(T0 + 0.0045), TICK(T0 + 0.010))
    assert found.failed == 2 and found.outcomes == {"timeout": 1, "refused": 1}


def test_only_an_attempt_in_flight_failed() -> None:
    made = attempts("." * 300)
    made[3] = attempt(made[3].planned, "reset", takes=0.002)
    found = o.outage(made, INTERVAL, since=T0 + 0.0035)
    assert found is not None and (found.failed, found.ended) == (1, True)
    assert found.seconds == TICK(0.0005, abs=1e-6)


def test_a_second_fault_is_another_stretch() -> None:
    made = attempts("..RR" + "." * 150 + "RR" + "." * 150)
    found = o.outage(made, INTERVAL, since=T0)
    assert found is not None and found.failed == 2 and found.end == TICK(T0 + 0.004)
    longer = o.outage(made, INTERVAL, since=T0, gap=0.2)
    assert longer is not None and longer.failed == 4


@pytest.mark.parametrize(("interval", "gap"), [(0.001, 0.1), (0.01, 1.0), (0.1, 1.0), (1.0, 3.0)])
def test_the_usual_gap(interval: float, gap: float) -> None:
    assert o.usual_gap(interval) == TICK(gap)


OUTCOMES = st.text(alphabet="...RTX", max_size=120)


@given(OUTCOMES, st.integers(1, 30))
def test_stretches_hold_every_failure_once_and_are_further_apart_than_the_gap(
    outcomes: str, gap: int
) -> None:
    made = attempts(outcomes)
    found = o.stretches(made, INTERVAL, gap * INTERVAL)
    assert sum(each.failed for each in found) == sum(each.failed for each in made)
    for each in found:
        assert sum(each.outcomes.values()) == each.failed <= each.attempts
        assert each.seconds == TICK(each.attempts * INTERVAL, abs=1e-5)
    for before, after in pairwise(found):
        assert after.start - before.end >= (gap - 1) * INTERVAL + 1e-6 and before.ended
    assert not made or not made[-1].failed or not found[-1].ended


@given(OUTCOMES, st.integers(0, 130), st.integers(1, 30))
def test_an_outage_never_begins_before_the_fault(outcomes: str, at: int, gap: int) -> None:
    since = T0 + (at + 0.5) * INTERVAL
    made = attempts(outcomes)
    found = o.outage(made, INTERVAL, since, gap * INTERVAL)
    after = [each for each in made if each.failed and each.end >= since]
    assert (found is None) == (not after)
    if found is not None:
        assert found.start >= since and found.start == after[0].planned and found.failed <= len(after)


@given(OUTCOMES, OUTCOMES)
def test_what_happened_before_the_fault_does_not_change_the_outage(before: str, after: str) -> None:
    since = T0 + len(before) * INTERVAL - INTERVAL / 2
    with_history = o.outage(attempts(before + after), INTERVAL, since)
    alone = o.outage(attempts("." * len(before) + after), INTERVAL, since)
    assert with_history == alone


def test_start_errors() -> None:
    late = o.Attempt(T0, T0 + 0.25, None, None, T0 + 1, None, "", "timeout")
    assert o.start_errors([late, attempt(T0)]) == (0.25, 0.0)


def test_timeline_counts_by_planned_start_without_holes() -> None:
    made = attempts("." * 10 + "RRRRR.....")
    made += [attempt(T0 + 0.045, "timeout")]
    bins = o.timeline(made, 0.01)
    assert [each.start for each in bins] == TICK([T0, T0 + 0.01, T0 + 0.02, T0 + 0.03, T0 + 0.04])
    assert [each.counts for each in bins] == [{"ok": 10}, {"refused": 5, "ok": 5}, {}, {}, {"timeout": 1}]
    assert o.timeline([]) == ()


@given(st.integers(0, 999_999), st.integers(1, 400), st.integers(1, 20))
def test_full_bins_hold_equally_many(microseconds: int, count: int, per_bin: int) -> None:
    start = T0 + microseconds / 1e6
    made = [attempt(round(start + number * INTERVAL, 6)) for number in range(count)]
    bins = o.timeline(made, per_bin * INTERVAL)
    assert sum(each.counts["ok"] for each in bins) == count
    assert {each.counts["ok"] for each in bins[:-1]} <= {per_bin}


@dataclass(frozen=True)
class Mark:
    t: float
    kind: str


def test_detection_is_the_first_change_after_the_fault() -> None:
    marks = [
        Mark(9.0, "table"),
        Mark(10.0, "fault"),
        Mark(10.2, "control"),
        Mark(11.5, "table"),
        Mark(11.0, "vrrp"),
    ]
    assert o.detection(marks, 10.0) == 1.0
    assert o.detection(marks, 12.0) is None


def beat(
    connection: int, sent: float, outcome: str = "ok", opened: float | None = 1.0, takes: float = 0.001
) -> o.Beat:
    answered = sent + takes if outcome == "ok" else None
    return o.Beat(connection, opened, 40000, sent, sent, answered, "rs1" if outcome == "ok" else "", outcome)


def test_survivors_answered_a_heartbeat_sent_after_the_fault_and_lived_on() -> None:
    beats = [
        *(beat(1, at) for at in (2.0, 4.0, 6.0)),  # lives on
        beat(2, 2.0),
        beat(2, 4.0),
        beat(2, 6.0, "timeout"),  # lost
        beat(3, 2.0),
        beat(3, 6.0),
        beat(3, 8.0, "reset"),  # answered once more, then lost
        beat(4, 2.0),
        beat(4, 3.0, "closed"),  # had ended before
        beat(5, 6.0, opened=5.5),
        beat(5, 8.0, opened=5.5),  # came later
        beat(6, 2.0),  # nothing known after the fault
        beat(7, 1.0, "refused", opened=None),  # never stood
        beat(8, 4.0),
        beat(8, 4.95, "reset"),  # in flight when the fault struck
        # only an answer to a heartbeat from before the fault
        beat(9, 4.0),
        beat(9, 4.9999, takes=0.5),
    ]
    found = o.survival(beats, fault_t=5.0)
    assert (found.total, found.survived) == (4, 1)
    assert found.kept == ((1, 4.0),)
    assert found.lost == ((2, 4.0, "timeout"), (3, 4.0, "reset"), (8, 4.0, "reset"))


def test_survival_until_a_second_fault() -> None:
    beats = [beat(1, 2.0), beat(1, 6.0), beat(1, 9.0, "reset")]
    assert o.survival(beats, 5.0, until=8.0).survived == 1
    assert o.survival(beats, 5.0).survived == 0
    assert o.survival([], 5.0) == o.Survival(0, 0, (), ())
