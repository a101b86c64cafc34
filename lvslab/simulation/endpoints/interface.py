"""Network cards of simulated hosts, and racks: many cards behind one port of a switch."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints.addresses import ARP, IPV4, IPV6, Network, group_mac, solicited_node
from lvslab.simulation.endpoints.arp import Arp
from lvslab.simulation.endpoints.base import Card, Machine
from lvslab.simulation.endpoints.discovery import Discovery
from lvslab.simulation.network.link import unplugged


class Concerned:
    """The cards of a rack that an address concerns.

    Attributes:
        mac: as which all of them know it, but for those that are unsettled.
    """

    __slots__ = ("cards", "mac", "unsettled")

    def __init__(self) -> None:
        self.cards: dict[Interface, None] = {}
        self.unsettled: dict[Interface, None] = {}
        self.mac = b""


class Interface:
    """A network card of a host.

    Attributes:
        addresses: its addresses with their prefix lengths, the first of a family being the one that
            it speaks with.
        mtu: octets that a frame carries.
        transmit: where its frames go; a link or a rack puts itself there.
    """

    def __init__(
        self,
        machine: Machine,
        mac: bytes,
        mtu: int,
        receive_ipv4: Callable[[Card, bytes], None],
        receive_ipv6: Callable[[Card, bytes], None],
    ) -> None:
        self._mac, self.mtu = mac, mtu
        self.transmit: Callable[[bytes], None] = unplugged
        self._addresses: list[Network] = []
        self._expected: dict[bytes, None] = {}
        self._index: dict[bytes, Concerned] | None = None
        self._receive_ipv4, self._receive_ipv6 = receive_ipv4, receive_ipv6
        self.up = True
        self.arp, self.discovery = Arp(machine, self), Discovery(machine, self)

    @property
    def mac(self) -> bytes:
        return self._mac

    @property
    def addresses(self) -> list[Network]:
        return self._addresses

    def expect(self, key: bytes) -> None:
        """Frames to a group concern this card when they ask for or come from `key`, an IPv4
        address, or go to `key`, a group's MAC address.
        """
        if len(key) == 16:
            key = group_mac(solicited_node(key))
        self._expected[key] = None
        if self._index is not None:
            group = self._index.get(key)
            if group is None:
                group = self._index[key] = Concerned()
            group.cards[self] = group.unsettled[self] = None

    def join(self, index: dict[bytes, Concerned]) -> None:
        """Keep this card up to date in a rack's index of what concerns whom."""
        self._index = index
        for key in list(self._expected):
            self.expect(key)

    def receive(self, frame: bytes) -> None:
        """A frame from the link."""
        if not self.up or (frame[:6] != self._mac and not frame[0] & 1):
            return
        kind = frame[12:14]
        if kind == IPV4:
            self._receive_ipv4(self, frame[14:])
        elif kind == ARP:
            self.arp.receive(frame)
        elif kind == IPV6:
            self._receive_ipv6(self, frame[14:])

    def announce(self, address: bytes) -> None:
        """Tell all neighbours that an address is here."""
        (self.arp if len(address) == 4 else self.discovery).announce(address)

    def forget(self) -> None:
        """Forget all neighbours."""
        self.arp.neighbours.forget()
        self.discovery.neighbours.forget()


_ALL_HOSTS = frozenset((b"\x33\x33\x00\x00\x00\x01", b"\x01\x00\x5e\x00\x00\x01"))


class Rack:
    """Many cards behind one port, as behind a switch of their own that knows them all. A broadcast
    costs no more than those whom it concerns.
    """

    def __init__(self, calendar: Calendar) -> None:
        self.transmit: Callable[[bytes], None] = unplugged
        self._calendar = calendar
        self._cards: dict[bytes, Interface] = {}
        self._index: dict[bytes, Concerned] = {}

    def add(self, card: Interface) -> None:
        """A further card."""
        self._cards[card.mac] = card
        card.transmit = self._send
        card.join(self._index)

    def receive(self, frame: bytes) -> None:
        """A frame from outside."""
        card = self._cards.get(frame[:6])
        if card is not None:
            card.receive(frame)
        elif frame[0] & 1:
            self._spread(frame)

    def _send(self, frame: bytes) -> None:
        """A frame from one of the cards."""
        card = self._cards.get(frame[:6])
        if card is not None:
            self._calendar.after(0, card.receive, frame)
            return
        self.transmit(frame)
        if frame[0] & 1:
            self._calendar.after(0, self._spread, frame)

    def _spread(self, frame: bytes) -> None:
        """A frame to a group, to all whom it concerns but its sender."""
        source = frame[6:12]
        if frame[12:14] == ARP:
            cards = self._concerned(frame[38:42], frame[28:32], frame[22:28])
        elif frame[:6] in _ALL_HOSTS:
            cards = list(self._cards.values())
        else:
            group = self._index.get(frame[:6])
            cards = list(group.cards) if group else []
        for card in cards:
            if card.mac != source:
                card.receive(frame)

    def _concerned(self, target: bytes, sender: bytes, mac: bytes) -> list[Interface]:
        """Whom ARP concerns: who has the address asked for, and who knows the sender by another MAC
        address.
        """
        owners, knowing = self._index.get(target), self._index.get(sender)
        cards = dict(owners.cards) if owners else {}
        if knowing is not None:
            cards |= knowing.unsettled if knowing.mac == mac else knowing.cards
            knowing.mac, knowing.unsettled = mac, {}
        return list(cards)
