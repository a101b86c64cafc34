"""The receiving end of the tunnels that IPVS sends through (`ipvsadm --tun-type`): IPIP, GRE and
GUE, around IPv4 and IPv6.
"""

from __future__ import annotations

import struct

from lvslab.simulation.endpoints.base import Card, Packet, Problem
from lvslab.simulation.endpoints.checksums import checksum
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.udp import Datagram

_IPV4, _IPV6, _GRE = 4, 41, 47
_CHECKSUM, _KEY, _SEQUENCE, _UNKNOWN = 0x8000, 0x2000, 0x1000, 0x4007
"""Of GRE's first two octets (RFC 2784, RFC 2890); routing and other versions are not known here."""

_INNER = {b"\x08\x00": 4, b"\x86\xdd": 6}
GUE_PORT = 6080
_CONTROL, _PRIVATE, _REMOTE_CHECKSUM = 0x20, 0x0001, 0x80000000


class Tunnels:
    """The tunnels of a host, which take every packet for it as Linux's do with `remote any`; what
    is inside is received as if it had come by itself.

    Attributes:
        received: packets that were taken out.
    """

    def __init__(self, host: Host, gue_port: int = GUE_PORT) -> None:
        """They are there at once; after a power cut `open` them again."""
        self._host, self._gue_port = host, gue_port
        self.received = 0
        for protocol in (_IPV4, _IPV6, _GRE):
            host.add_protocol(protocol, self)
        self.open()

    def open(self) -> None:
        """Take GUE's port.

        Raises:
            UsageError: it is in use.
        """
        self._host.udp.bind(self._gue_port, _Gue(self))

    def receive(self, packet: Packet) -> None:
        """An IPIP or GRE packet."""
        if packet.protocol == _GRE:
            self._receive_gre(packet)
        else:
            self.take(packet.protocol, packet.payload, packet.card)

    def problem(self, quoted: Packet, problem: Problem, mtu: int) -> None:
        """Nothing is sent through these tunnels from here."""

    def forget(self) -> None:
        """The machine is off."""

    def take(self, protocol: int, data: bytes, card: Card | None) -> None:
        """What was inside; dropped unless it is what the tunnel says."""
        if data and data[0] >> 4 == (4 if protocol == _IPV4 else 6):
            self.received += 1
            self._host.decapsulate(data, card)

    def _receive_gre(self, packet: Packet) -> None:
        data = packet.payload
        if len(data) < 4:
            return
        flags = int.from_bytes(data[:2], "big")
        version = _INNER.get(data[2:4])
        if flags & _UNKNOWN or version is None or (flags & _CHECKSUM and checksum(data)):
            return
        start = 4 + 4 * sum(bool(flags & part) for part in (_CHECKSUM, _KEY, _SEQUENCE))
        self.take(_IPV4 if version == 4 else _IPV6, data[start:], packet.card)


class _Gue:
    """The port of GUE (draft-ietf-intarea-gue; gue_udp_recv in net/ipv4/fou_core.c)."""

    def __init__(self, tunnels: Tunnels) -> None:
        self._tunnels = tunnels

    def failed(self, peer: bytes, peer_port: int, problem: Problem) -> None:
        """Nothing is sent from here."""

    def received(self, datagram: Datagram) -> None:
        data = datagram.data
        if len(data) < 4:
            return
        version = data[0] >> 6
        if version == 1:  # the IP packet itself
            self._tunnels.take(_IPV4 if data[0] >> 4 == 4 else _IPV6, data, None)
            return
        start = 4 + 4 * (data[0] & 0x1F)
        flags = int.from_bytes(data[2:4], "big")
        if version or data[0] & _CONTROL or flags & ~_PRIVATE or len(data) < start:
            return
        inner = data[start:]
        if flags & _PRIVATE:
            private = int.from_bytes(data[4:8], "big")
            if private & ~_REMOTE_CHECKSUM or (private and start < 12):
                return
            if private:
                inner = _with_remote_checksum(inner, *struct.unpack_from("!HH", data, 8))
        self._tunnels.take(data[1], inner, None)


def _with_remote_checksum(data: bytes, start: int, place: int) -> bytes:
    """The checksum that the sender left to us; in its place stands the sum of the pseudo-header."""
    if not start <= place <= len(data) - 2:
        return b""
    return data[:place] + checksum(data[start:]).to_bytes(2, "big") + data[place + 2 :]
