"""ARP (RFC 826) as Linux does it (net/ipv4/arp.c), with the two settings on which a DR server
depends (ip-sysctl.rst):

arp_ignore    0: answers for every address of the machine; 1: only for those of the card that was
              asked; 2: and only to one who is in the same subnet; 8: never.
arp_announce  0: asks with whatever source the packet has that waits; 1: only if the target is in
              that address's subnet; 2: always with the card's own address.
"""

from __future__ import annotations

import struct

from lvslab.simulation.endpoints.addresses import ARP, BROADCAST, IPV4
from lvslab.simulation.endpoints.base import Card, Machine, Packet, Problem
from lvslab.simulation.endpoints.neighbours import Neighbours

_BODY = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET, _REQUEST, _REPLY = 1, 1, 2
_NOBODY = bytes(4)


class Arp:
    """The ARP of one card."""

    def __init__(self, machine: Machine, card: Card) -> None:
        self._machine, self._card = machine, card
        self.neighbours = Neighbours(machine, card, IPV4, self._ask, self._give_up)

    def receive(self, frame: bytes) -> None:
        """A frame of ARP. What is not for Ethernet and IPv4 is dropped."""
        if len(frame) < 14 + _BODY.size:
            return
        hardware, protocol, _, _, operation, mac, sender, target_mac, target = _BODY.unpack_from(frame, 14)
        if hardware != _ETHERNET or protocol != 0x0800:
            return
        if operation == _REQUEST and self._answers(target, sender):
            self._send(mac, _REPLY, target, mac, sender)
            if sender != _NOBODY:
                self.neighbours.hear(sender, mac, answer=False, override=False, create=True)
            return
        if sender == _NOBODY:
            return
        reply = operation == _REPLY
        gratuitous = sender == target and (not reply or target_mac == mac)
        to_us = reply and frame[:6] == self._card.mac
        self.neighbours.hear(sender, mac, answer=to_us, override=gratuitous, create=False)

    def announce(self, address: bytes) -> None:
        """Gratuitous ARP, as a request (RFC 5227, 3)."""
        self._send(BROADCAST, _REQUEST, address, bytes(6), address)

    def _answers(self, target: bytes, sender: bytes) -> bool:
        machine = self._machine
        if target not in machine.addresses:
            return False
        if machine.arp_ignore == 0:
            return True
        own = [network for network in self._card.addresses if network.address == target]
        if machine.arp_ignore == 1:
            return bool(own)
        return machine.arp_ignore == 2 and any(sender in network for network in own)

    def _ask(self, target: bytes, mac: bytes, packet: bytes) -> None:
        source = self._source(target, packet[12:16])
        self._send(mac or BROADCAST, _REQUEST, source, bytes(6), target)

    def _source(self, target: bytes, packet_source: bytes) -> bytes:
        machine, own = self._machine, self._card.addresses
        if packet_source in machine.addresses:
            if machine.arp_announce == 0:
                return packet_source
            if machine.arp_announce == 1 and any(
                target in network for network in own if network.address == packet_source
            ):
                return packet_source
        return machine.source_for(target, self._card) or packet_source

    def _send(self, to: bytes, operation: int, sender: bytes, target_mac: bytes, target: bytes) -> None:
        mac = self._card.mac
        body = _BODY.pack(_ETHERNET, 0x0800, 6, 4, operation, mac, sender, target_mac, target)
        self._card.transmit(to + mac + ARP + body)

    def _give_up(self, data: bytes) -> None:
        start = (data[0] & 15) * 4
        quoted = Packet(data, data[12:16], data[16:20], data[9], data[start:], data[8], self._card)
        self._machine.problem(quoted, Problem.HOST_UNREACHABLE)
