"""The way to a destination: card, next hop, path MTU, and the header's sum worked out before."""

from __future__ import annotations

import struct

from lvslab.simulation.endpoints.base import HOPS, SECOND, Machine
from lvslab.simulation.endpoints.neighbours import Neighbours

IPV4_HEADER = struct.Struct("!BBHHHBBH4s4s")
IPV6_HEADER = struct.Struct("!IHBB16s16s")
FRAGMENT_HEADER = struct.Struct("!BBHI")
FRAGMENT = 44
"""Protocol number of IPv6's fragment header."""

DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
_FORGET_MTU = 600 * SECOND
"""As Linux's mtu_expires."""


class Path:
    """The way to one destination.

    Attributes:
        mtu: octets that an IP packet to it may have; `whole`: before any router objected.
    """

    least_mtu = 68
    header = 20

    def __init__(
        self, machine: Machine, neighbours: Neighbours, destination: bytes, hop: bytes, mtu: int
    ) -> None:
        """`hop`: the neighbour that gets the packets."""
        self.destination, self.hop, self.mtu = destination, hop, mtu
        self._machine, self._neighbours, self.whole = machine, neighbours, mtu

    def send(self, source: bytes, protocol: int, payload: bytes, hops: int = HOPS) -> None:
        """Send a packet, in fragments if it is too long."""
        raise NotImplementedError

    def relay(self, data: bytes) -> None:
        """Send on a packet whose hop limit is above 1."""
        raise NotImplementedError

    def confirm(self) -> None:
        """The next hop is there: an answer came that only its work can have brought."""
        self._neighbours.confirm(self.hop)

    def lower(self, mtu: int) -> None:
        """A router has said that packets longer than this do not pass."""
        if mtu < self.mtu:
            self.mtu = max(mtu, self.least_mtu)
            self._machine.calendar.after(_FORGET_MTU, self._forget, self.mtu)

    def _forget(self, mtu: int) -> None:
        if self.mtu == mtu:
            self.mtu = self.whole


class IPv4Path(Path):
    """The way to an IPv4 address."""

    def __init__(
        self, machine: Machine, neighbours: Neighbours, destination: bytes, hop: bytes, mtu: int
    ) -> None:
        super().__init__(machine, neighbours, destination, hop, mtu)
        self._base = 0x4500 + DONT_FRAGMENT + int.from_bytes(destination, "big")

    def send(self, source: bytes, protocol: int, payload: bytes, hops: int = HOPS) -> None:
        length = 20 + len(payload)
        if length > self.mtu:
            self._send_fragments(source, protocol, payload, hops)
            return
        number = self._machine.next_identification()
        total = self._base + length + number + (hops << 8) + protocol + int.from_bytes(source, "big")
        header = IPV4_HEADER.pack(
            0x45, 0, length, number, DONT_FRAGMENT, hops, protocol, -total % 0xFFFF, source, self.destination
        )
        self._neighbours.send(self.hop, header + payload)

    def relay(self, data: bytes) -> None:
        check = int.from_bytes(data[10:12], "big") + 0x100  # RFC 1624: one less of the first octet
        check = (check & 0xFFFF) + (check >> 16)
        header = data[:8] + bytes((data[8] - 1, data[9])) + check.to_bytes(2, "big") + data[12:]
        self._neighbours.send(self.hop, header)

    def _send_fragments(self, source: bytes, protocol: int, payload: bytes, hops: int) -> None:
        room = (self.mtu - 20) & ~7
        number = self._machine.next_identification()
        for offset in range(0, len(payload), room):
            part = payload[offset : offset + room]
            place = offset >> 3 | (MORE_FRAGMENTS if offset + room < len(payload) else 0)
            total = 0x4500 + 20 + len(part) + number + place + (hops << 8) + protocol
            total += int.from_bytes(source + self.destination, "big")
            header = IPV4_HEADER.pack(
                0x45,
                0,
                20 + len(part),
                number,
                place,
                hops,
                protocol,
                -total % 0xFFFF,
                source,
                self.destination,
            )
            self._neighbours.send(self.hop, header + part)


class IPv6Path(Path):
    """The way to an IPv6 address."""

    least_mtu = 1280
    header = 40

    def send(self, source: bytes, protocol: int, payload: bytes, hops: int = HOPS) -> None:
        if 40 + len(payload) > self.mtu:
            self._send_fragments(source, protocol, payload, hops)
            return
        header = IPV6_HEADER.pack(0x60000000, len(payload), protocol, hops, source, self.destination)
        self._neighbours.send(self.hop, header + payload)

    def relay(self, data: bytes) -> None:
        self._neighbours.send(self.hop, data[:7] + bytes((data[7] - 1,)) + data[8:])

    def _send_fragments(self, source: bytes, protocol: int, payload: bytes, hops: int) -> None:
        room = (self.mtu - 48) & ~7
        number = self._machine.next_identification()
        for offset in range(0, len(payload), room):
            part = payload[offset : offset + room]
            more = offset + room < len(payload)
            header = IPV6_HEADER.pack(0x60000000, 8 + len(part), FRAGMENT, hops, source, self.destination)
            header += FRAGMENT_HEADER.pack(protocol, 0, offset | more, number)
            self._neighbours.send(self.hop, header + part)
