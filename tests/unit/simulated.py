"""Small simulated networks for unit tests: no kernel, no clock but the calendar's."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.network import Conditions, Link, Record, Switch
from lvslab.simulation.network.link import unplugged

SECOND, MILLISECOND = 1_000_000_000, 1_000_000


class Card:
    """A card that remembers what it received, and when."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.transmit: Callable[[bytes], None] = unplugged
        self.heard: list[tuple[int, bytes]] = []

    def receive(self, frame: bytes) -> None:
        self.heard.append((self._calendar.now, frame))

    @property
    def frames(self) -> list[bytes]:
        return [frame for _, frame in self.heard]


class Pair:
    """Two hosts, a and b, on one link: 10.0.0.1 and 10.0.0.2, fd00::1 and fd00::2."""

    def __init__(self, conditions: Conditions | None = None, *, seed: int = 0, mtu: int = 1500) -> None:
        self.calendar = Calendar()
        self.record = Record(self.calendar, keep=True)
        self.a, self.b = (Host(self.calendar, name, seed=seed) for name in "ab")
        cards = [
            host.plug(f"02:00:00:00:00:0{number}", f"10.0.0.{number}/24", f"fd00::{number}/64", mtu=mtu)
            for number, host in ((1, self.a), (2, self.b))
        ]
        ends = [self.record.tap(host.name, card) for host, card in zip((self.a, self.b), cards, strict=True)]
        self.link = Link(self.calendar, ends[0], ends[1], conditions, seed=seed)

    def run(self, seconds: float) -> None:
        self.calendar.run(self.calendar.now + round(seconds * SECOND))


class Lan:
    """A switch, and hosts on links of their own to it."""

    def __init__(self, conditions: Conditions | None = None, *, seed: int = 0) -> None:
        self.calendar, self.seed, self._conditions = Calendar(), seed, conditions
        self.switch = Switch(self.calendar)
        self.record = Record(self.calendar, keep=True)

    def host(self, number: int, network: int = 0, **options: object) -> Host:
        """A host 10.0.NETWORK.NUMBER/24, fd00:0:0:NETWORK::NUMBER/64."""
        host = Host(self.calendar, f"h{network}-{number}", seed=self.seed, **options)
        self.attach(host, number, network)
        return host

    def attach(self, host: Host, number: int, network: int = 0) -> None:
        card = host.plug(
            f"02:00:00:00:{network:02x}:{number:02x}",
            f"10.0.{network}.{number}/24",
            f"fd00:0:0:{network}::{number}/64",
        )
        name = f"{host.name}.{network}"
        tap = self.record.tap(name, card)
        Link(self.calendar, tap, self.switch.port(), self._conditions, name=name, seed=self.seed)

    def run(self, seconds: float) -> None:
        self.calendar.run(self.calendar.now + round(seconds * SECOND))
