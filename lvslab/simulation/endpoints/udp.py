"""UDP (RFC 768)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

from lvslab.errors import UsageError
from lvslab.simulation.endpoints.base import Machine, Packet, Problem
from lvslab.simulation.endpoints.checksums import transport_checksum

UDP = 17
_HEADER = struct.Struct("!HHHH")
FIRST_PORT, LAST_PORT = 32768, 60999
"""The ports that Linux chooses itself (ip_local_port_range)."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram as its receiver sees it."""

    source: bytes
    source_port: int
    destination: bytes
    port: int
    data: bytes


class Receiver(Protocol):
    """Who has a port."""

    def received(self, datagram: Datagram) -> None: ...

    def failed(self, peer: bytes, peer_port: int, problem: Problem) -> None:
        """A datagram that was sent from the port to this peer has met a problem."""
        ...


class Udp:
    """The UDP of a host."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._receivers: dict[int, Receiver] = {}
        self._next = 0

    def bind(self, port: int, receiver: Receiver) -> None:
        """Give a port to a receiver, on all addresses.

        Raises:
            UsageError: it has one.
        """
        if port in self._receivers:
            raise UsageError(f"UDP port {port} is in use; close it first")
        self._receivers[port] = receiver

    def bind_any(self, receiver: Receiver) -> int:
        """Give a free port to a receiver; the answer is the port.

        Raises:
            UsageError: there is none.
        """
        if not self._next:
            self._next = self._machine.random.randint(FIRST_PORT, LAST_PORT)
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            self._next = self._next + 1 if self._next < LAST_PORT else FIRST_PORT
            if self._next not in self._receivers:
                self._receivers[self._next] = receiver
                return self._next
        raise UsageError(f"no free UDP port from {FIRST_PORT} to {LAST_PORT}: too many are open")

    def close(self, port: int) -> None:
        """Take a port from its receiver; datagrams to it are refused from now on."""
        self._receivers.pop(port, None)

    def send(self, source: bytes, port: int, peer: bytes, peer_port: int, data: bytes) -> None:
        """Send a datagram."""
        length = 8 + len(data)
        check = transport_checksum(source, peer, UDP, _HEADER.pack(port, peer_port, length, 0) + data)
        segment = _HEADER.pack(port, peer_port, length, check or 0xFFFF) + data
        self._machine.send(source, peer, UDP, segment)

    def receive(self, packet: Packet) -> None:
        """A datagram for this host; one with a wrong length or checksum is dropped."""
        segment = packet.payload
        if len(segment) < 8:
            return
        source_port, port, length, check = _HEADER.unpack_from(segment)
        if not 8 <= length <= len(segment):
            return
        segment = segment[:length]
        # none: IPv4 allows that, and IPv6 does for tunnels (RFC 6935)
        if check and transport_checksum(packet.source, packet.destination, UDP, segment):
            return
        receiver = self._receivers.get(port)
        if receiver is None:
            self._machine.refuse(packet, Problem.PORT_UNREACHABLE)
            return
        receiver.received(Datagram(packet.source, source_port, packet.destination, port, segment[8:]))

    def forget(self) -> None:
        """The machine is off: nobody has a port any more."""
        self._receivers.clear()

    def problem(self, quoted: Packet, problem: Problem, mtu: int) -> None:
        """One of our datagrams met a problem."""
        if len(quoted.payload) < 4 or problem is Problem.TOO_BIG:
            return
        port, peer_port = struct.unpack_from("!HH", quoted.payload)
        receiver = self._receivers.get(port)
        if receiver is not None:
            receiver.failed(quoted.destination, peer_port, problem)
