"""IPv6 neighbour discovery (RFC 4861): solicitations and advertisements. Addresses are taken as
free of duplicates, and there are no router advertisements: routes are static here.
"""

from __future__ import annotations

import struct

from lvslab.simulation.endpoints.addresses import IPV6, group_mac, solicited_node
from lvslab.simulation.endpoints.base import Card, Machine, Packet, Problem
from lvslab.simulation.endpoints.checksums import transport_checksum
from lvslab.simulation.endpoints.icmp import ICMPV6
from lvslab.simulation.endpoints.neighbours import Neighbours
from lvslab.simulation.endpoints.path import IPV6_HEADER

_MESSAGE = struct.Struct("!BBHI16s")
_SOLICITATION, _ADVERTISEMENT = 135, 136
_SOURCE_MAC, _TARGET_MAC = 1, 2
_SOLICITED, _OVERRIDE = 0x40000000, 0x20000000
_HOPS = 255
"""What comes from farther away than the link has a lower one, and is not believed."""

ALL_NODES = b"\xff\x02" + bytes(13) + b"\x01"
_UNSPECIFIED = bytes(16)


class Discovery:
    """The neighbour discovery of one card."""

    def __init__(self, machine: Machine, card: Card) -> None:
        self._machine, self._card = machine, card
        self.neighbours = Neighbours(machine, card, IPV6, self._ask, self._give_up)

    def receive(self, packet: Packet) -> None:
        """A message of neighbour discovery, its checksum proven."""
        message = packet.payload
        if len(message) < _MESSAGE.size or packet.hops != _HOPS:
            return
        kind, _, _, flags, target = _MESSAGE.unpack_from(message)
        if kind == _SOLICITATION:
            self._answer(packet.source, target, _option(message, _SOURCE_MAC))
        elif kind == _ADVERTISEMENT:
            mac = _option(message, _TARGET_MAC)
            if mac:
                answer, override = bool(flags & _SOLICITED), bool(flags & _OVERRIDE)
                self.neighbours.hear(target, mac, answer=answer, override=override, create=False)

    def announce(self, address: bytes) -> None:
        """An unsolicited advertisement (RFC 4861, 7.2.6)."""
        self._send(address, ALL_NODES, group_mac(ALL_NODES), _ADVERTISEMENT, _OVERRIDE, address, _TARGET_MAC)

    def _answer(self, sender: bytes, target: bytes, mac: bytes) -> None:
        if not any(network.address == target for network in self._card.addresses):
            return
        if sender == _UNSPECIFIED:
            self.announce(target)
            return
        if mac:
            self.neighbours.hear(sender, mac, answer=False, override=True, create=True)
        mac = mac or self.neighbours.mac_of(sender) or b""
        if mac:
            flags = _SOLICITED | _OVERRIDE
            self._send(target, sender, mac, _ADVERTISEMENT, flags, target, _TARGET_MAC)

    def _ask(self, target: bytes, mac: bytes, packet: bytes) -> None:
        own = packet[8:24]
        if not any(network.address == own for network in self._card.addresses):
            own = self._machine.source_for(target, self._card) or own
        group = solicited_node(target)
        to, mac = (target, mac) if mac else (group, group_mac(group))
        self._send(own, to, mac, _SOLICITATION, 0, target, _SOURCE_MAC)

    def _send(
        self, source: bytes, to: bytes, mac: bytes, kind: int, flags: int, target: bytes, option: int
    ) -> None:
        own = self._card.mac
        tail = bytes((option, 1)) + own
        check = transport_checksum(source, to, ICMPV6, _MESSAGE.pack(kind, 0, 0, flags, target) + tail)
        message = _MESSAGE.pack(kind, 0, check, flags, target) + tail
        header = IPV6_HEADER.pack(0x60000000, len(message), ICMPV6, _HOPS, source, to)
        self._card.transmit(mac + own + IPV6 + header + message)

    def _give_up(self, data: bytes) -> None:
        quoted = Packet(data, data[8:24], data[24:40], data[6], data[40:], data[7], self._card)
        self._machine.problem(quoted, Problem.HOST_UNREACHABLE)


def _option(message: bytes, wanted: int) -> bytes:
    """The link-layer address in an option, empty without one."""
    place = _MESSAGE.size
    while place + 8 <= len(message) and message[place + 1]:
        if message[place] == wanted:
            return message[place + 2 : place + 8]
        place += message[place + 1] * 8
    return b""
