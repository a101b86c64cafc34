"""The table of neighbours: IP address → MAC address, filled by ARP or by neighbour discovery.

States and times are Linux's (net/core/neighbour.c; RFC 4861, 7.3): an entry that nobody has
confirmed for some 30 s is stale; it is still used, but asked about 5 s later, and given up when
three questions stay unanswered. So a client behind a failed router comes back by itself even if no
announcement reaches it.
"""

from __future__ import annotations

from collections.abc import Callable

from lvslab.simulation.endpoints.base import SECOND, Card, Machine

REACHABLE = 30 * SECOND
"""Base reachable time; an entry's own is drawn from half to one and a half of it."""

DELAY, RETRANSMIT, TRIES = 5 * SECOND, SECOND, 3
LOCK = SECOND
"""Of two different answers within this time the first one counts (`locktime`)."""

_WAITING = 100
"""Packets that wait for an address; Linux counts octets, for about as many."""


class Neighbour:
    """An entry.

    Attributes:
        header: of frames to it; empty while its address is not known.
        fresh: until when it counts as confirmed.
        asking: 0 not; 1 a question is planned; 2 and more: asked so often, less one.
        turn: changes whenever a planned question is out of date.
    """

    __slots__ = ("address", "asking", "fresh", "header", "mac", "turn", "updated", "waiting")

    def __init__(self, address: bytes) -> None:
        self.address, self.mac, self.header = address, b"", b""
        self.fresh, self.updated, self.asking, self.turn = 0, -LOCK, 0, 0
        self.waiting: list[bytes] = []


class Neighbours:
    """The neighbours of one card in one family."""

    def __init__(
        self,
        machine: Machine,
        card: Card,
        kind: bytes,
        ask: Callable[[bytes, bytes, bytes], None],
        give_up: Callable[[bytes], None],
    ) -> None:
        """
        Args:
            kind: EtherType of the packets.
            ask: asks for an address, at a MAC address or (empty) everywhere, because of a packet.
            give_up: is told of each packet whose neighbour did not answer.
        """
        self._machine, self._card, self._kind = machine, card, kind
        self._calendar, self._ask, self._give_up = machine.calendar, ask, give_up
        self._table: dict[bytes, Neighbour] = {}

    def __contains__(self, address: bytes) -> bool:
        return address in self._table

    def mac_of(self, address: bytes) -> bytes | None:
        """What is known of an address now."""
        entry = self._table.get(address)
        return entry.mac or None if entry else None

    def send(self, address: bytes, packet: bytes) -> None:
        """Send a packet to a neighbour, as soon as its MAC address is known."""
        entry = self._table.get(address)
        if entry is not None and entry.fresh > self._calendar.now:
            self._card.transmit(entry.header + packet)
            return
        if entry is None:
            entry = self._create(address)
        if entry.header:
            self._card.transmit(entry.header + packet)
            if not entry.asking:
                self._plan(entry, 1, DELAY, packet)
            return
        if len(entry.waiting) == _WAITING:
            del entry.waiting[0]
        entry.waiting.append(packet)
        if not entry.asking:
            self._question(entry, packet)

    def confirm(self, address: bytes) -> None:
        """Something above has seen that the neighbour hears us (RFC 4861, 7.3.1)."""
        entry = self._table.get(address)
        if entry is not None and entry.header and entry.fresh <= self._calendar.now:
            self._refresh(entry)

    def hear(self, address: bytes, mac: bytes, *, answer: bool, override: bool, create: bool) -> None:
        """A neighbour has said its address.

        Args:
            answer: to our own question, so it is there and hears us.
            override: even if another address was learned just now.
            create: also of one that nobody has asked for.
        """
        entry = self._table.get(address)
        now = self._calendar.now
        if entry is None:
            if not create:
                return
            entry = self._create(address)
        if entry.mac != mac:
            self._card.expect(address)
            if entry.mac and not override and now - entry.updated < LOCK:
                return
            entry.mac, entry.updated, entry.fresh = mac, now, 0
            entry.header = mac + self._card.mac + self._kind
            entry.asking, entry.turn = 0, entry.turn + 1
        if answer:
            self._refresh(entry)
        waiting, entry.waiting = entry.waiting, []
        for packet in waiting:
            self.send(address, packet)

    def forget(self) -> None:
        """Forget everything, as a machine does that is switched off."""
        for entry in self._table.values():
            entry.turn += 1
            entry.waiting.clear()
        self._table.clear()

    def _create(self, address: bytes) -> Neighbour:
        entry = self._table[address] = Neighbour(address)
        self._card.expect(address)
        return entry

    def _refresh(self, entry: Neighbour) -> None:
        entry.fresh = self._calendar.now + round(REACHABLE * (0.5 + self._machine.random.random()))
        entry.asking, entry.turn = 0, entry.turn + 1

    def _plan(self, entry: Neighbour, asking: int, delay: int, packet: bytes) -> None:
        entry.asking, entry.turn = asking, entry.turn + 1
        self._calendar.after(delay, self._due, entry, entry.turn, packet)

    def _question(self, entry: Neighbour, packet: bytes) -> None:
        self._plan(entry, max(entry.asking, 1) + 1, RETRANSMIT, packet)
        self._ask(entry.address, entry.mac, packet)

    def _due(self, entry: Neighbour, turn: int, packet: bytes) -> None:
        if turn != entry.turn:
            return
        if entry.asking <= TRIES:
            self._question(entry, packet)
            return
        entry.mac = entry.header = b""
        entry.asking = 0
        waiting, entry.waiting = entry.waiting, []
        for lost in waiting:
            self._give_up(lost)
