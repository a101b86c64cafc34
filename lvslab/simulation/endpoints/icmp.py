"""ICMP (RFC 792, 1191) and ICMPv6 (RFC 4443): echo, and errors both ways."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lvslab.simulation.endpoints.base import SECOND, Machine, Packet, Problem
from lvslab.simulation.endpoints.checksums import checksum, transport_checksum
from lvslab.simulation.endpoints.path import IPV4_HEADER, IPV6_HEADER

ICMP, ICMPV6 = 1, 58
_HEADER = struct.Struct("!BBHI")
_INTERVAL, _BURST = SECOND, 6
"""Errors to one destination: one a second, six at once (icmp_ratelimit; net/ipv4/inetpeer.c)."""


@dataclass(frozen=True)
class _Words:
    """The numbers of one of the two versions."""

    protocol: int
    request: int
    reply: int
    problems: Mapping[Problem, tuple[int, int]]
    unreachable: int
    header: int
    quote: int

    def problem_of(self, kind: int, code: int) -> Problem | None:
        """None: no error that says anything about a way."""
        exact = next((problem for problem, numbers in self.problems.items() if numbers == (kind, code)), None)
        if exact is None and kind == self.unreachable:
            return Problem.HOST_UNREACHABLE
        return exact


_V4 = _Words(
    ICMP,
    8,
    0,
    {
        Problem.NETWORK_UNREACHABLE: (3, 0),
        Problem.HOST_UNREACHABLE: (3, 1),
        Problem.PROTOCOL_UNREACHABLE: (3, 2),
        Problem.PORT_UNREACHABLE: (3, 3),
        Problem.TOO_BIG: (3, 4),
        Problem.PROHIBITED: (3, 13),
        Problem.HOPS_EXCEEDED: (11, 0),
    },
    unreachable=3,
    header=20,
    quote=548,  # RFC 1812, 4.3.2.3: the error has at most 576 octets
)
_V6 = _Words(
    ICMPV6,
    128,
    129,
    {
        Problem.NETWORK_UNREACHABLE: (1, 0),
        Problem.PROHIBITED: (1, 1),
        Problem.HOST_UNREACHABLE: (1, 3),
        Problem.PORT_UNREACHABLE: (1, 4),
        Problem.PROTOCOL_UNREACHABLE: (4, 1),
        Problem.TOO_BIG: (2, 0),
        Problem.HOPS_EXCEEDED: (3, 0),
    },
    unreachable=1,
    header=40,
    quote=1232,  # RFC 4443, 2.4: at most 1280
)
_DISCOVERY = range(133, 138)


class Icmp:
    """ICMP of one version in a host.

    Attributes:
        replies: are told of echo replies: identifier → function of source, sequence and data.
    """

    def __init__(
        self, machine: Machine, version: int, discover: Callable[[Packet], None] | None = None
    ) -> None:
        """`discover`: gets the messages of neighbour discovery."""
        self._machine, self._words, self._discover = machine, _V4 if version == 4 else _V6, discover
        self.replies: dict[int, Callable[[bytes, int, bytes], None]] = {}
        self._tokens: dict[bytes, tuple[int, int]] = {}

    def ping(self, source: bytes, destination: bytes, number: int, sequence: int, data: bytes) -> None:
        """Send an echo request."""
        self._send(source, destination, self._words.request, 0, number << 16 | sequence, data)

    def receive(self, packet: Packet) -> None:
        """A message for this host; one with a wrong checksum is dropped."""
        message, words = packet.payload, self._words
        if len(message) < 8 or self._check(packet.source, packet.destination, message):
            return
        kind, code, _, rest = _HEADER.unpack_from(message)
        if kind == words.request:
            source = packet.destination if packet.destination in self._machine.addresses else None
            source = source or self._machine.source_for(packet.source)
            if source is not None:
                self._send(source, packet.source, words.reply, 0, rest, message[8:])
        elif kind == words.reply:
            hear = self.replies.get(rest >> 16)
            if hear is not None:
                hear(packet.source, rest & 0xFFFF, message[8:])
        elif words is _V6 and kind in _DISCOVERY and self._discover is not None:
            self._discover(packet)
        else:
            self._hear_problem(kind, code, rest, packet)

    def problem(self, quoted: Packet, problem: Problem, mtu: int) -> None:
        """An echo request did not arrive; whoever waits for the reply sees that it is missing."""

    def forget(self) -> None:
        """The machine is off."""
        self.replies.clear()
        self._tokens.clear()

    def refuse(self, packet: Packet, problem: Problem, mtu: int = 0) -> None:
        """Send an error about a packet, unless it is itself one, or errors to its sender have been
        too many of late.
        """
        words = self._words
        kind, code = words.problems[problem]
        if packet.protocol == words.protocol and self._is_error(packet.payload[:1]):
            return
        source = packet.destination if packet.destination in self._machine.addresses else None
        source = source or self._machine.source_for(packet.source)
        if source is not None and (problem is Problem.TOO_BIG or self._may(packet.source)):
            self._send(source, packet.source, kind, code, mtu, packet.data[: words.quote])

    def _is_error(self, kind: bytes) -> bool:
        number = kind[0] if kind else 0
        return number < 128 if self._words is _V6 else number in (3, 4, 5, 11, 12)

    def _may(self, destination: bytes) -> bool:
        """A bucket of tokens, full at first."""
        now = self._machine.calendar.now
        full = _BURST * _INTERVAL
        tokens, last = self._tokens.get(destination, (full, now))
        tokens = min(full, tokens + now - last)
        may = tokens >= _INTERVAL
        self._tokens[destination] = (tokens - _INTERVAL if may else tokens, now)
        return may

    def _hear_problem(self, kind: int, code: int, rest: int, packet: Packet) -> None:
        problem, inner = self._words.problem_of(kind, code), packet.payload[8:]
        if problem is None or len(inner) < self._words.header:
            return
        if self._words is _V4:
            start = (inner[0] & 15) * 4
            hops, protocol, _, source, destination = IPV4_HEADER.unpack_from(inner)[5:]
            mtu = rest & 0xFFFF
        else:
            start = 40
            _, _, protocol, hops, source, destination = IPV6_HEADER.unpack_from(inner)
            mtu = rest
        if source in self._machine.addresses:
            quoted = Packet(inner, source, destination, protocol, inner[start:], hops, packet.card)
            self._machine.problem(quoted, problem, mtu if problem is Problem.TOO_BIG else 0)

    def _check(self, source: bytes, destination: bytes, message: bytes) -> int:
        if self._words is _V4:
            return checksum(message)
        return transport_checksum(source, destination, ICMPV6, message)

    def _send(self, source: bytes, destination: bytes, kind: int, code: int, rest: int, data: bytes) -> None:
        check = self._check(source, destination, _HEADER.pack(kind, code, 0, rest) + data)
        message = _HEADER.pack(kind, code, check, rest) + data
        self._machine.send(source, destination, self._words.protocol, message)
