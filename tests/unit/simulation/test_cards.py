"""Virtio cards and the line, from both sides: kicks, rings, and what is dropped."""

from __future__ import annotations

import struct

import pytest

from lvslab.simulation import participant, vhost
from lvslab.simulation.cards import Card, Line
from lvslab.simulation.errors import ProtocolError
from tests.unit.simulation.scripted_guest import ScriptedGuest
from tests.unit.simulation.worlds import FRAME, HEADER, Endless, World, driving, for_ever, router

# -- kicks -----------------------------------------------------------------------------------------


def test_a_kick_limits_the_guest_to_what_it_caused_before_it_is_answered(world: World) -> None:
    limits: list[int] = []

    def script(guest: ScriptedGuest) -> None:
        guest.sleep(1)
        guest.sleep(10)
        guest.drivers[0].send(HEADER + FRAME)
        limits.append(guest.limit)
        guest.sleep(50)
        for_ever(guest)

    def cause(frame: bytes) -> None:
        world.calendar.after(20, world.sent.append, (30, 0, frame))

    world.cards[0].transmit = cause
    world.boot(driving(world, script))
    world.calendar.run(1000)
    assert limits == [30]
    assert world.sent == [(30, 0, FRAME)]
    assert world.cards[0].kicks == 1


def test_a_transmit_interrupt_is_due_at_once_and_not_when_the_guest_is_past_it(world: World) -> None:
    limits: list[int] = []
    completed: list[int] = []

    def script(guest: ScriptedGuest) -> None:
        guest.interrupted = lambda driver: completed.append(guest.time)
        guest.sleep(1)
        guest.sleep(10)
        guest.drivers[0].outgoing.want_interrupts(True)
        guest.drivers[0].send(HEADER + FRAME)
        limits.append(guest.limit)
        guest.sleep(50)
        for_ever(guest)

    world.boot(driving(world, script))
    world.calendar.run(1000)
    assert (limits, completed) == ([10], [10])
    assert world.sent == [(10, 0, FRAME)]


def test_without_transmit_interrupts_none_is_sent(world: World) -> None:
    def script(guest: ScriptedGuest) -> None:
        guest.sleep(1)
        guest.drivers[0].send(HEADER + FRAME)
        for_ever(guest)

    world.boot(driving(world, script))
    world.calendar.run(1000)
    assert world.sent == [(1, 0, FRAME)]
    assert world.cards[0].calls == 0


def test_a_frame_in_several_parts_is_put_together(world: World) -> None:
    def script(guest: ScriptedGuest) -> None:
        guest.drivers[0].outgoing.chained = True
        guest.sleep(1)
        guest.drivers[0].send(HEADER + FRAME)
        for_ever(guest)

    world.boot(driving(world, script))
    world.calendar.run(10)
    assert world.sent == [(1, 0, FRAME)]


# -- devices ---------------------------------------------------------------------------------------


def test_a_driver_is_told_features_and_address(world: World) -> None:
    seen: list[tuple[int, bytes]] = []

    def script(guest: ScriptedGuest) -> None:
        seen.extend((driver.features, driver.config) for driver in guest.drivers)
        for_ever(guest)

    world.boot(driving(world, script))
    assert seen == [(1 << 5 | 1 << 30 | 1 << 32, card.mac) for card in world.cards]


def test_what_no_driver_takes_is_dropped_and_counted(world: World) -> None:
    world.boot(for_ever)
    world.cards[0].receive(FRAME)
    assert (world.cards[0].dropped, world.cards[0].calls) == (1, 0)


def test_a_frame_too_long_for_the_guests_buffer_is_dropped_and_the_next_arrives(world: World) -> None:
    got: list[bytes] = []

    def script(guest: ScriptedGuest) -> None:
        guest.interrupted = lambda driver: got.extend(driver.incoming.done())
        for_ever(guest)

    world.boot(driving(world, script))
    world.calendar.at(100, world.cards[0].receive, bytes(1024))
    world.calendar.at(100, world.cards[0].receive, FRAME)
    world.calendar.run(200)
    assert got == [b"", Card.header + FRAME]
    assert world.cards[0].dropped == 1


def test_frames_for_a_full_ring_are_dropped(world: World) -> None:
    world.boot(driving(world, for_ever))
    for _ in range(10):
        world.calendar.at(100, world.cards[0].receive, FRAME)
    world.calendar.run(200)
    assert world.cards[0].dropped == 2


def test_a_line_is_heard_at_once_while_a_guest_runs_closed(
    newer: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when whoever waits for the guest looks up, as nobody does here within its time."""

    class Impatient(Endless):
        def check(self, now: int) -> None:
            raise AssertionError("nothing was heard for five seconds")

    monkeypatch.setattr(participant, "GLANCE_SECONDS", 5.0)
    monkeypatch.setattr(vhost, "GLANCE_SECONDS", 5.0)
    heard: list[bytes] = []
    line = Line()
    line.hear_text = heard.append
    newer.devices[1] = line

    def script(guest: ScriptedGuest) -> None:
        guest.interrupted = lambda driver: guest.drivers[1].send(b"a word")
        for_ever(guest)

    newer.boot(driving(newer, script), Impatient())
    newer.calendar.at(100, newer.cards[0].receive, FRAME)
    newer.calendar.run(200)
    assert heard == [b"a word"]


def test_a_closed_guest_has_no_turn_and_its_frames_go_nowhere(world: World) -> None:
    world.boot(driving(world, router))
    assert world.participant
    world.participant.close()
    runs = world.participant.runs
    world.calendar.at(100, world.cards[0].receive, FRAME)
    world.calendar.run(200)
    assert (world.participant.runs, world.sent, world.cards[0].dropped) == (runs, [], 1)


def test_cards_serve_the_guest_that_boots_in_the_place_of_a_dead_one(world: World) -> None:
    world.boot(driving(world, router))
    world.calendar.at(100, world.cards[0].receive, FRAME)
    world.calendar.run(200)
    world.close()
    world.boot(driving(world, router))
    world.calendar.at(300, world.cards[1].receive, FRAME)
    world.calendar.run(400)
    assert world.sent == [(100, 1, FRAME), (300, 0, FRAME)]


def test_rings_outside_of_the_guests_memory_are_refused(world: World) -> None:
    def script(guest: ScriptedGuest) -> None:
        driver = guest.drivers[0]
        driver.tell(9, struct.pack("<IIQQQQ", 0, 0, 1 << 40, 1 << 40, 1 << 40, 0))

    with pytest.raises(ProtocolError, match="card0: cannot be set up"):
        world.boot(driving(world, script))
