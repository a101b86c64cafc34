"""A world in virtual time with one guest between two hosts that answer pings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lvslab.catalog.virtual_time import kernel_in_virtual_time
from lvslab.host import sandbox
from lvslab.simulation.calendar import SECOND, Calendar
from lvslab.simulation.cards import Card
from lvslab.simulation.machine import Machine
from lvslab.simulation.network.link import Conditions, Link
from lvslab.simulation.network.record import Record
from lvslab.simulation.network.switch import Switch
from lvslab.simulation.processor import on_one_processor

DELAY = 7_000_123
"""Nanoseconds of each link."""

_ECHO_REQUEST, _ECHO_REPLY = 8, 0


class Responder:
    """A host that answers ARP and ICMP echo requests, and sends some.

    Attributes:
        round_trips: of its own echo requests, in nanoseconds.
    """

    def __init__(self, calendar: Calendar, address: str, mac: bytes) -> None:
        self.address, self.mac = bytes(map(int, address.split("."))), mac
        self.transmit: Callable[[bytes], object] = len
        self.round_trips: list[int] = []
        self._calendar, self._asked = calendar, 0

    def receive(self, frame: bytes) -> None:
        kind, packet = frame[12:14], frame[14:]
        if kind == b"\x08\x06" and packet[6:8] == b"\0\1" and packet[24:28] == self.address:
            answer = packet[:6] + b"\0\2" + self.mac + self.address + packet[8:18]
            self.transmit(packet[8:14] + self.mac + b"\x08\x06" + answer)
        elif kind == b"\x08\0" and packet[9] == 1 and packet[16:20] == self.address:
            self._hear_echo(frame)

    def _hear_echo(self, frame: bytes) -> None:
        if frame[34] == _ECHO_REPLY:
            self.round_trips.append(self._calendar.now - self._asked)
        elif frame[34] == _ECHO_REQUEST:
            swapped = frame[6:12] + self.mac + frame[12:26] + frame[30:34] + frame[26:30]
            rest = frame[38:]
            body = b"\0\0\0\0" + rest
            self.transmit(swapped + b"\0\0" + _checksum(body) + rest)

    def ping(self, target: str, mac: bytes) -> None:
        """Send one echo request now."""
        self._asked = self._calendar.now
        echo = b"\0\1\0\1" + b"payload of a ping"
        body = b"\x08\0" + _checksum(b"\x08\0\0\0" + echo) + echo
        source_target = self.address + bytes(map(int, target.split(".")))
        head = b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + b"\0\1\0\0\x40\x01"
        checksum = _checksum(head + b"\0\0" + source_target)
        self.transmit(mac + self.mac + b"\x08\0" + head + checksum + source_target + body)


def _checksum(data: bytes) -> bytes:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[place : place + 2], "big") for place in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


class VirtualWorld:
    """A guest d1 with eth0 10.0.0.1 and eth1 10.1.0.1, each in a switch with one host (.2).

    Attributes:
        record: of the guest's cards.
    """

    def __init__(self, kernel: str, directory: Path, seed: int) -> None:
        self.calendar = Calendar()
        self.record = Record(self.calendar)
        self.cards = [Card(bytes((2, 0, 0, 0, 1, number))) for number in (0, 1)]
        self.hosts = [
            Responder(self.calendar, f"10.{number}.0.2", bytes((2, 0, 0, 0, 2, number))) for number in (0, 1)
        ]
        for number, (card, host) in enumerate(zip(self.cards, self.hosts, strict=True)):
            switch = Switch(self.calendar, f"s{number}")
            ends = (self.record.tap(f"eth{number}", card), host)
            for name, end in zip(("guest", "host"), ends, strict=True):
                link = f"s{number}-{name}"
                Link(self.calendar, end, switch.port(), Conditions(delay=DELAY), name=link, seed=seed)
        self.directory = directory
        self.console = directory / "console"
        self.guest = Machine(
            self.calendar,
            kernel_in_virtual_time(kernel),
            1,
            "d1",
            directory / "d1",
            self.console,
            cards=self.cards,
            seed=seed,
        )

    def boot(self) -> None:
        self.guest.boot()
        self.guest.wait_ready()
        self.guest.command(
            "set -e\n"
            "for number in 0 1; do\n"
            "    ip addr add 10.$number.0.1/16 dev eth$number; ip link set eth$number up\n"
            "done\n"
            "sysctl -qw net.ipv4.ip_forward=1; sleep 2"
        ).check("d1", "addresses")

    def run(self, seconds: float) -> None:
        self.calendar.run(self.calendar.now + round(seconds * SECOND))


@contextmanager
def virtual_world(kernel: str, seed: int = 1, name: str = "world") -> Iterator[VirtualWorld]:
    """One that is up; inside a sandbox."""
    directory = sandbox.PRIVATE_DIRECTORY / name
    directory.mkdir(parents=True)
    world = VirtualWorld(kernel, directory, seed)
    with on_one_processor():
        try:
            world.boot()
            yield world
        finally:
            world.guest.power_off()
