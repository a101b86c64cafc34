"""The calendar's order, with participants that are scripts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.simulation import calendar as subject
from lvslab.simulation.calendar import LONGEST_TURN, NEVER, Calendar
from lvslab.simulation.errors import StalledError


class Script:
    """A participant that wants to run at given times, and notes its turns."""

    def __init__(
        self,
        number: int,
        times: list[int],
        log: list[tuple[int, object]],
        act: Callable[[int], object] = lambda now: None,
    ) -> None:
        self.number, self.limits = number, list[int]()
        self._times, self._log, self._act = sorted(times), log, act
        self.request = self._times.pop(0) if times else NEVER

    def run(self, now: int, free_until: int) -> None:
        self._log.append((now, self.number))
        self.limits.append(free_until)
        self._act(now)
        self.request = self._times.pop(0) if self._times else NEVER


TIMES = st.lists(st.integers(0, 20), max_size=12)


@given(events=TIMES, first=TIMES, second=TIMES)
def test_events_come_before_guests_and_guests_by_number(
    events: list[int], first: list[int], second: list[int]
) -> None:
    calendar, log = Calendar(), list[tuple[int, object]]()
    for number, time in enumerate(events):
        calendar.at(time, lambda number=number: log.append((calendar.now, ("event", number))))
    for guest, times in ((2, second), (1, first)):  # joined in the other order
        calendar.join(Script(guest, times, log))
    calendar.run(20)
    expected: list[tuple[int, object]] = []
    for time in range(21):
        expected += [(time, ("event", number)) for number, due in enumerate(events) if due == time]
        expected += [(time, 1) for due in first if due == time]
        expected += [(time, 2) for due in second if due == time]
    assert log == expected
    assert calendar.now == 20


@given(events=TIMES, first=TIMES, second=TIMES)
def test_nobody_may_run_past_what_is_due_next(events: list[int], first: list[int], second: list[int]) -> None:
    calendar, log = Calendar(), list[tuple[int, object]]()
    for time in events:
        calendar.at(time, lambda: log.append((calendar.now, "event")))
    scripts = [Script(1, first, log), Script(2, second, log)]
    for script in scripts:
        calendar.join(script)
    calendar.run(15)
    for script in scripts:
        turns = [index for index, (_, who) in enumerate(log) if who == script.number]
        for index, limit in zip(turns, script.limits, strict=True):
            later = [time for time, who in log[index + 1 :] if who != script.number]
            assert limit <= min([*later, 16])


@given(first=st.integers(0, 10), delays=st.lists(st.integers(0, 3), max_size=6))
def test_what_an_event_enters_for_the_same_time_comes_before_guests(first: int, delays: list[int]) -> None:
    calendar, log = Calendar(), list[tuple[int, object]]()

    def chain(rest: list[int]) -> None:
        log.append((calendar.now, "event"))
        if rest:
            calendar.after(rest[0], chain, rest[1:])

    calendar.at(first, chain, delays)
    calendar.join(Script(1, list(range(60)), log))
    calendar.run(59)
    for time in range(60):
        moment = [who for at, who in log if at == time]
        assert moment == sorted(moment, key=lambda who: who == 1)


def test_an_event_that_a_guest_causes_for_now_comes_before_the_next_guest() -> None:
    calendar, log = Calendar(), list[tuple[int, object]]()
    calendar.join(Script(1, [5], log, lambda now: calendar.after(0, log.append, (now, "caused"))))
    calendar.join(Script(2, [5], log))
    calendar.run(10)
    assert log == [(5, 1), (5, "caused"), (5, 2)]


def test_a_request_for_the_past_is_one_for_now() -> None:
    calendar, log = Calendar(), list[tuple[int, object]]()
    calendar.run(7)
    calendar.join(Script(1, [3], log))
    calendar.at(7, log.append, (7, "event"))
    calendar.run(7)
    assert log == [(7, "event"), (7, 1)]


def test_a_lone_guest_comes_back_after_the_longest_turn() -> None:
    calendar = Calendar()
    script = Script(1, [4], [])
    calendar.join(script)
    calendar.run(NEVER - 1)
    assert script.limits == [4 + LONGEST_TURN]


def test_stop_leaves_what_is_due_for_the_next_run() -> None:
    calendar, log = Calendar(), list[str]()
    for word in ("a", "b"):
        calendar.at(3, log.append, word)
        calendar.at(3, calendar.stop)
    calendar.run(10)
    assert (log, calendar.now) == (["a"], 3)
    calendar.run(10)
    assert (log, calendar.now) == (["a", "b"], 3)
    calendar.run(10)
    assert calendar.now == 10


def test_cancelled_entries_do_not_happen_and_the_others_do() -> None:
    calendar, log = Calendar(), list[int]()
    entries = [calendar.after(1, log.append, number) for number in range(4)]
    calendar.cancel(entries[1])
    calendar.run(1)
    calendar.cancel(entries[2])  # has happened
    assert log == [0, 2, 3]
    assert calendar.events == 3


def test_who_has_left_has_no_turn() -> None:
    calendar, log = Calendar(), list[tuple[int, object]]()
    script = Script(1, [5], log)
    calendar.join(script)
    with pytest.raises(ValueError, match="two participants of number 1"):
        calendar.join(Script(1, [], log))
    calendar.at(5, calendar.leave, script)
    calendar.run(9)
    assert log == []


@pytest.mark.parametrize("enter", [lambda calendar: calendar.at(4, print), lambda c: c.after(-1, print)])
def test_nothing_is_entered_for_the_past(enter: Callable[[Calendar], int]) -> None:
    calendar = Calendar()
    calendar.run(5)
    with pytest.raises(ValueError, match="entry for"):
        enter(calendar)


@pytest.mark.parametrize("guest", [False, True])
def test_a_world_without_delay_is_a_finding_and_no_hang(guest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_MOST_IN_A_MOMENT", 100)
    calendar = Calendar()

    def again() -> None:
        calendar.after(0, again)

    if guest:
        calendar.join(Script(1, [5] * 200, []))
    else:
        calendar.at(5, again)
    with pytest.raises(StalledError, match="stands still at 5 ns"):
        calendar.run(10)


def test_many_events_at_different_times_are_no_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_MOST_IN_A_MOMENT", 2)
    calendar = Calendar()
    for time in range(20):
        calendar.at(time // 2, lambda: None)
    calendar.run(20)
    assert calendar.events == 20


def test_an_event_cannot_let_time_pass() -> None:
    calendar = Calendar()
    calendar.at(3, calendar.run, 5)
    with pytest.raises(RuntimeError, match="in the midst of itself"):
        calendar.run(10)
    calendar.run(10)
    assert calendar.now == 10


def test_a_pause_comes_after_all_that_is_due_and_may_let_time_pass() -> None:
    calendar, log = Calendar(), list[tuple[int, object]]()
    calendar.join(Script(1, [10, 12, 30], log))
    calendar.at(10, lambda: log.append((calendar.now, "event")))

    def look() -> None:
        log.append((calendar.now, "pause"))
        calendar.run(12)

    calendar.pause_at(10, look)
    calendar.run(5)
    calendar.run(40)
    assert log == [(10, "event"), (10, 1), (10, "pause"), (12, 1), (30, 1)]
    assert calendar.now == 40
    with pytest.raises(ValueError, match="a pause at 39 ns, which is past: it is 40 ns"):
        calendar.pause_at(39, look)


def test_a_stop_before_a_pause_leaves_it_for_later() -> None:
    calendar, reached = Calendar(), list[int]()
    calendar.at(5, calendar.stop)
    calendar.pause_at(10, lambda: reached.append(calendar.now))
    calendar.run(20)
    assert (calendar.now, reached) == (5, [])
    calendar.run(20)
    assert (calendar.now, reached) == (20, [10])
