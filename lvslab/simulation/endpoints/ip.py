"""IPv4 and IPv6 packets that arrive: checked, put together, handed to a host's protocols."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.simulation.endpoints.base import Card, Machine, Packet
from lvslab.simulation.endpoints.checksums import checksum
from lvslab.simulation.endpoints.fragments import Fragments
from lvslab.simulation.endpoints.path import (
    FRAGMENT,
    FRAGMENT_HEADER,
    IPV4_HEADER,
    IPV6_HEADER,
    MORE_FRAGMENTS,
)

_OFFSET = 0x1FFF
_HOP_BY_HOP, _ROUTING, _DESTINATION_OPTIONS = 0, 43, 60


class IPv4:
    """What a host does with an IPv4 packet that reaches it."""

    def __init__(self, machine: Machine, elsewhere: Callable[[Packet], None]) -> None:
        """`elsewhere`: gets the packets for other machines."""
        self._machine, self._elsewhere = machine, elsewhere
        self._fragments = Fragments(machine.calendar)

    def receive(self, card: Card | None, data: bytes) -> None:
        """A packet, perhaps with Ethernet's padding. One with a wrong length or checksum is
        dropped.
        """
        if len(data) < 20 or data[0] >> 4 != 4:
            return
        head, _, length, number, place, hops, protocol, _, source, destination = IPV4_HEADER.unpack_from(data)
        start = (head & 15) * 4
        if not 20 <= start <= length <= len(data) or checksum(data[:start]):
            return
        if len(data) > length:
            data = data[:length]
        payload = data[start:]
        packet = Packet(data, source, destination, protocol, payload, hops, card)
        if destination not in self._machine.addresses:
            self._elsewhere(packet)
            return
        if place & (_OFFSET | MORE_FRAGMENTS):
            key = (source, destination, protocol, number)
            more = bool(place & MORE_FRAGMENTS)
            header, payload = self._fragments.add(key, data[:start], (place & _OFFSET) << 3, more, payload)
            if not header:
                return
            packet = Packet(header + payload, source, destination, protocol, payload, hops, card)
        self._machine.take(packet)


class IPv6:
    """What a host does with an IPv6 packet that reaches it."""

    def __init__(self, machine: Machine, elsewhere: Callable[[Packet], None]) -> None:
        """`elsewhere`: gets the packets for other machines."""
        self._machine, self._elsewhere = machine, elsewhere
        self._fragments = Fragments(machine.calendar)

    def receive(self, card: Card | None, data: bytes) -> None:
        """A packet, perhaps with Ethernet's padding. Options and routing headers are passed over,
        as by a host that need not act on them.
        """
        if len(data) < 40 or data[0] >> 4 != 6:
            return
        _, length, protocol, hops, source, destination = IPV6_HEADER.unpack_from(data)
        if 40 + length > len(data):
            return
        data = data[: 40 + length]
        packet = Packet(data, source, destination, protocol, data[40:], hops, card)
        if destination[0] != 0xFF and destination not in self._machine.addresses:
            self._elsewhere(packet)
        elif self._strip(packet):
            self._machine.take(packet)

    def _strip(self, packet: Packet) -> bool:
        """Take the extension headers off; whether the packet is whole then."""
        while packet.protocol in (_HOP_BY_HOP, _ROUTING, _DESTINATION_OPTIONS, FRAGMENT):
            payload = packet.payload
            if len(payload) < 8:
                return False
            if packet.protocol != FRAGMENT:
                packet.protocol, packet.payload = payload[0], payload[8 + payload[1] * 8 :]
                continue
            packet.protocol, _, place, number = FRAGMENT_HEADER.unpack_from(payload)
            key = (packet.source, packet.destination, number)
            header = packet.data[:40]
            header, packet.payload = self._fragments.add(
                key, header, place & ~7, bool(place & 1), payload[8:]
            )
            if not header:
                return False
        return True
