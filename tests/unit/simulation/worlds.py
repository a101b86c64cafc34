"""A calendar with two cards and a guest that a script plays; scripts that several tests share."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lvslab.simulation.calendar import NEVER, Calendar
from lvslab.simulation.cards import Card
from lvslab.simulation.participant import GuestParticipant
from lvslab.simulation.vhost import Device
from tests.unit.simulation.scripted_guest import Driver, ScriptedGuest

HEADER = bytes(12)
FRAME = b"to:all" + b"from:1" + b"\x08\x00" + b"hello"
Script = Callable[[ScriptedGuest], object]


class Endless:
    """Patience for a guest that is there."""

    def begin(self) -> None: ...

    def check(self, now: int) -> None: ...


class World:
    """A calendar, two cards and a line, and guests to play with them."""

    def __init__(self, directory: Path, shares: bool) -> None:
        self.calendar, self.shares, self.directory = Calendar(), shares, directory
        self.cards = [Card(bytes((2, 0, 0, 0, 0, number))) for number in (0, 1)]
        self.devices: list[Device] = list(self.cards)
        self.sent: list[tuple[int, int, bytes]] = []
        for number, card in enumerate(self.cards):
            card.transmit = partial(self._note, number)
        self.participant: GuestParticipant | None = None
        self.guest: ScriptedGuest | None = None
        self.paths: list[Path] = []

    def _note(self, card: int, frame: bytes) -> None:
        self.sent.append((self.calendar.now, card, frame))

    def boot(self, script: Script, patience: object = None) -> ScriptedGuest:
        here, there = socket.socketpair()
        boots = len(list(self.directory.iterdir()))
        self.paths = [self.directory / f"{boots}-card{number}" for number in range(len(self.devices))]
        self.participant = GuestParticipant(
            self.calendar, 1, "d1", dict(zip(self.paths, self.devices, strict=True)), patience or Endless()
        )
        self.guest = ScriptedGuest(there, shares=self.shares, script=script)
        self.guest.start()
        self.participant.boot(here)
        return self.guest

    def close(self) -> None:
        if self.participant:
            self.participant.close()
        if self.guest:
            self.guest.join()


def for_ever(guest: ScriptedGuest) -> None:
    while True:
        guest.request(NEVER)
        guest.wait()


def driving(world: World, then: Script) -> Script:
    """A script that finds its cards first."""

    def script(guest: ScriptedGuest) -> None:
        guest.drivers += [Driver(guest, path) for path in world.paths]
        then(guest)

    return script


def forwarding(guest: ScriptedGuest) -> Callable[[Driver], None]:
    """Send what comes in on a card out of the other one."""

    def interrupted(driver: Driver) -> None:
        other = guest.drivers[1 - guest.drivers.index(driver)]
        for packet in driver.incoming.done():
            driver.incoming.fill()
            other.send(packet)

    return interrupted


def router(guest: ScriptedGuest) -> None:
    guest.interrupted = forwarding(guest)
    for_ever(guest)
