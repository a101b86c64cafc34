"""Connections and real servers as the kernel keeps them, and which server is the least loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from lvslab.conformance.ways import EARLY, Ways


@dataclass(frozen=True)
class Flow:
    """A client's connection: its address and port, and the address that it calls."""

    source: str
    port: int
    destination: str


@dataclass(eq=False)
class Server:
    """A real server as the kernel keeps it.

    Attributes:
        last_weight: the latest weight that was not 0 (or the one it was added with): what mh builds
            its table from.
        active, inactive: its connections. overloaded: the upper threshold was reached and the lower
            one not yet undercut.
        available: it belongs to the service; else it is in the trash, where its connections keep
            it.
        ways: of its kernel.
        service_version: IP version of its service.
    """

    number: int
    address: str
    port: int
    weight: int = 1
    upper: int = 0
    lower: int = 0
    last_weight: int = 0
    active: int = 0
    inactive: int = 0
    overloaded: bool = False
    available: bool = True
    ways: Ways = EARLY
    service_version: int = 4

    @property
    def total(self) -> int:
        """All its connections."""
        return self.active + self.inactive

    @property
    def overhead(self) -> int:
        """Its load as lc, wlc, lblc, lblcr and twos count it."""
        return self.active * self.ways.active_cost + self.inactive

    @property
    def usable(self) -> bool:
        """Whether it may get a new connection."""
        return self.weight > 0 and not self.overloaded

    def bound(self) -> None:
        """The upper threshold is looked at when a connection comes, after it was counted."""
        if self.upper and self.total >= self.upper:
            self.overloaded = True

    def unbound(self) -> None:
        """The lower threshold is looked at when a connection has gone; without one, three quarters
        of the upper one.
        """
        if self.ways.edits_count and not self.upper:
            free = True
        elif self.lower:
            free = self.total < self.lower
        elif self.upper:
            free = self.total * 4 < self.upper * 3
        else:
            free = True
        if free:
            self.overloaded = False


def least_loaded(servers: Sequence[Server]) -> Server | None:
    """The usable server with the least overhead for its weight, the first of equals: wlc, lblc and
    lblcr.
    """
    return min(
        (each for each in servers if each.usable),
        key=lambda each: Fraction(each.overhead, each.weight),
        default=None,
    )


def shortest_delay(servers: Sequence[Server]) -> Server | None:
    """The usable server where (active connections + 1) / weight is smallest, the first of
    equals.
    """
    return min(
        (each for each in servers if each.usable),
        key=lambda each: Fraction(each.active + 1, each.weight),
        default=None,
    )


def twos_choices(servers: Sequence[Server]) -> set[int]:
    """The numbers of the servers that twos may choose: of two usable ones (or twice one), the less
    loaded for its weight.
    """
    usable = [each for each in servers if each.usable]
    return {
        second.number if first.overhead * second.weight > second.overhead * first.weight else first.number
        for first in usable
        for second in usable
    }
