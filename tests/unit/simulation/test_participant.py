"""The calendar's side of a guest: its time, its interrupts, and how a world ends by it."""

from __future__ import annotations

import pytest

from lvslab.simulation.calendar import EPOCH
from lvslab.simulation.cards import Card
from lvslab.simulation.errors import GuestGoneError, GuestHangsError, GuestSpinsError, ProtocolError
from lvslab.simulation.patience import ProcessPatience
from lvslab.simulation.timetravel import MESSAGE, Operation
from tests.unit.simulation.scripted_guest import ScriptedGuest
from tests.unit.simulation.worlds import FRAME, Script, World, driving, for_ever, router

# -- time ------------------------------------------------------------------------------------------


def test_a_guest_that_sleeps_runs_again_when_it_asked_to(world: World) -> None:
    woke: list[int] = []

    def script(guest: ScriptedGuest) -> None:
        for until in (5, 60_000_000_000, 60_000_000_001):
            guest.sleep(until)
            woke.append(guest.time)
        for_ever(guest)

    world.boot(script)
    world.calendar.run(70_000_000_000)
    assert woke == [5, 60_000_000_000, 60_000_000_001]
    assert world.participant
    assert world.participant.shared == world.shares


def test_a_guest_runs_alone_up_to_what_is_due_next(world: World) -> None:
    waits: list[int] = []

    def script(guest: ScriptedGuest) -> None:
        guest.sleep(1)
        for until in range(2, 40, 10):
            guest.sleep(until)
            waits.append(world.participant.runs if world.participant else 0)
        for_ever(guest)

    world.calendar.at(25, lambda: None)
    world.boot(script)
    world.calendar.run(100)
    assert waits == [1, 1, 1, 2]  # 2, 12, 22 in one turn; 32 is past the event at 25


def test_the_date_is_the_worlds_and_not_the_machines(older: World) -> None:
    dates: list[int] = []

    def script(guest: ScriptedGuest) -> None:
        guest.sleep(7)
        dates.append(guest.ask(Operation.GET_TOD))
        for_ever(guest)

    older.boot(script)
    older.calendar.run(10)
    assert dates == [EPOCH + 7]


def test_a_guest_that_booted_later_has_a_clock_of_its_own(newer: World) -> None:
    newer.calendar.run(1000)

    def script(guest: ScriptedGuest) -> None:
        guest.sleep(1005)
        for_ever(guest)

    newer.boot(script)
    newer.calendar.run(2000)
    assert newer.guest
    runs = [time for operation, time in newer.guest.log if operation == Operation.RUN]
    assert runs == [5]


def test_a_guest_that_stood_still_goes_on_where_it_stood(world: World) -> None:
    woke: list[tuple[int, int]] = []

    def script(guest: ScriptedGuest) -> None:
        for until in (5, 60):
            guest.sleep(until)
            woke.append((world.calendar.now, guest.time))
        for_ever(guest)

    world.boot(script)
    world.calendar.at(50, lambda: None)  # so it waits for 60 and does not go there by itself
    world.calendar.run(20)
    assert world.participant and woke == [(5, 5)]
    world.calendar.leave(world.participant)
    world.calendar.run(1020)
    world.participant.stand_still(1000)
    world.calendar.join(world.participant)
    world.calendar.run(2000)
    assert woke == [(5, 5), (1060, 60)]


# -- packets ---------------------------------------------------------------------------------------


def test_a_forwarded_frame_leaves_in_the_nanosecond_of_its_arrival(world: World) -> None:
    world.boot(driving(world, router))
    for time in range(100, 3100, 100):
        world.calendar.at(time, world.cards[0].receive, FRAME + bytes((time // 100,)))
    world.calendar.run(5000)
    assert world.sent == [(time, 1, FRAME + bytes((time // 100,))) for time in range(100, 3100, 100)]


def test_after_an_interrupt_cards_do_not_kick_and_their_rings_are_looked_at_when_the_guest_waits(
    world: World,
) -> None:
    world.boot(driving(world, router))
    world.calendar.at(100, world.cards[0].receive, FRAME)
    world.calendar.run(200)
    assert world.sent == [(100, 1, FRAME)]
    assert [card.kicks for card in world.cards] == [0, 0]


def test_a_guest_with_an_interrupt_leaves_its_idle_loop_within_one_nanosecond_or_by_a_turn_more(
    world: World,
) -> None:
    limits: list[int] = []

    def script(guest: ScriptedGuest) -> None:
        guest.interrupted = lambda driver: limits.append(guest.limit)
        for_ever(guest)

    guest = world.boot(driving(world, script))
    world.calendar.run(50)
    before = len(guest.log)
    world.calendar.at(100, world.cards[1].receive, FRAME)
    world.calendar.run(200)
    turns = [operation for operation, _ in guest.log[before:]].count(Operation.RUN)
    assert (limits, turns) == (([100], 2) if world.shares else ([101], 1))


def test_a_guest_that_may_be_in_the_midst_of_something_is_heard_before_its_turn(world: World) -> None:
    """One that waits for a moment only: whether it asks for a turn is not known before it does."""
    seen: list[tuple[int, int]] = []

    def script(guest: ScriptedGuest) -> None:
        guest.interrupted = lambda driver: seen.append((guest.time, guest.limit))
        guest.sleep(500)
        for_ever(guest)

    world.calendar.at(100, world.cards[1].receive, FRAME)
    world.boot(driving(world, script))
    world.calendar.run(200)
    assert seen == [(100, 101)]


def test_frames_of_one_moment_come_with_one_interrupt(world: World) -> None:
    got: list[list[bytes]] = []

    def script(guest: ScriptedGuest) -> None:
        guest.interrupted = lambda driver: got.append(driver.incoming.done())
        for_ever(guest)

    world.boot(driving(world, script))
    for number in range(3):
        world.calendar.at(100, world.cards[0].receive, bytes((number,)))
    world.calendar.run(200)
    header = Card.header
    assert got == [[header + b"\0", header + b"\1", header + b"\2"]]
    assert world.cards[0].calls == 1


def test_interrupts_of_one_moment_come_by_card_whoever_was_first(world: World) -> None:
    order: list[int] = []

    def script(guest: ScriptedGuest) -> None:
        guest.interrupted = lambda driver: order.append(guest.drivers.index(driver))
        for_ever(guest)

    world.boot(driving(world, script))
    world.calendar.at(100, world.cards[1].receive, FRAME)
    world.calendar.at(100, world.cards[0].receive, FRAME)
    world.calendar.run(200)
    assert order == [0, 1]


def test_interrupts_go_out_before_the_guest_may_run(world: World) -> None:
    world.boot(driving(world, for_ever))
    world.calendar.at(100, world.cards[0].receive, FRAME)
    world.calendar.run(200)
    assert world.guest
    said = [operation for operation, _ in world.guest.log]
    if not world.shares:  # its questions, from the interrupt on, are answered first
        last_run = len(said) - 1 - said[::-1].index(Operation.RUN)
        assert said[last_run - 3 : last_run + 1] == [
            Operation.ACK,
            Operation.ACK,
            Operation.FREE_UNTIL,
            Operation.RUN,
        ]
    assert world.cards[0].calls == 1


def test_a_guest_that_takes_no_interrupt_is_not_run_before_its_time(world: World) -> None:
    """A kernel that is, in the midst of something, waiting for a later time panics when its time
    comes too early.
    """
    woke: list[int] = []

    def script(guest: ScriptedGuest) -> None:
        guest.drivers[0].incoming.want_interrupts(False)
        guest.request(500)
        guest.wait()
        woke.append(guest.time)
        for_ever(guest)

    world.boot(driving(world, script))
    world.calendar.at(100, world.cards[0].receive, FRAME)
    world.calendar.run(1000)
    assert woke == [500]


# -- the end of a world ----------------------------------------------------------------------------


def test_a_guest_that_goes_away_is_a_finding(world: World) -> None:
    world.boot(lambda guest: guest.sleep(50))
    with pytest.raises(GuestGoneError, match="d1: its kernel ended at 50 ns"):
        world.calendar.run(100)


def test_a_guest_that_goes_away_while_it_boots_is_a_finding(world: World) -> None:
    with pytest.raises(GuestGoneError, match="d1: its kernel ended at 0 ns"):
        world.boot(lambda guest: None)


def computing(world: World, over: list[bool]) -> Script:
    def script(guest: ScriptedGuest) -> None:
        guest.sleep(50)
        while not over:
            world.calendar  # noqa: B018 - looks at nothing that moves

    return script


def test_a_guest_that_spins_is_a_finding(world: World) -> None:
    used = iter(range(0, 1000, 7))
    over: list[bool] = []
    patience = ProcessPatience("d1", lambda: next(used))
    world.boot(computing(world, over), patience=patience)
    try:
        with pytest.raises(GuestSpinsError, match="d1: has computed for 21 s"):
            world.calendar.run(100)
    finally:
        over.append(True)


def test_a_guest_that_neither_computes_nor_answers_is_a_finding(world: World) -> None:
    clock = iter(range(0, 10_000, 25))
    over: list[bool] = []
    patience = ProcessPatience("d1", lambda: 3.0, clock=lambda: next(clock))
    world.boot(computing(world, over), patience=patience)
    try:
        with pytest.raises(GuestHangsError, match="d1: neither computes nor answers, for 75 s"):
            world.calendar.run(100)
    finally:
        over.append(True)


def test_a_slow_guest_on_a_busy_machine_is_waited_for() -> None:
    used, clock = iter(x / 2 for x in range(1000)), iter(range(0, 100_000, 30))
    patience = ProcessPatience("d1", lambda: next(used), clock=lambda: next(clock))
    patience.begin()
    for _ in range(40):  # 20 minutes of real time, 19.5 s of its own
        patience.check(0)
    patience.begin()
    for _ in range(40):
        patience.check(0)


def test_a_guest_whose_clock_runs_ahead_is_refused(older: World) -> None:
    def script(guest: ScriptedGuest) -> None:
        guest.sleep(5)
        guest.ask(Operation.UPDATE, 1000)

    older.boot(script)
    with pytest.raises(ProtocolError, match="d1: goes from 5 ns to 1000 ns; it may run until 101 ns"):
        older.calendar.run(100)


def test_what_no_kernel_says_is_refused(world: World) -> None:
    def script(guest: ScriptedGuest) -> None:
        guest.socket.send(MESSAGE.pack(77, 1, 0))

    with pytest.raises(ProtocolError, match="unknown message 77"):
        world.boot(script)
