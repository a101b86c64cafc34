"""What the layers of an endpoint know of each other."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Protocol

from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints.addresses import Network

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
HOPS = 64
"""Time to live of what an endpoint sends, as Linux has it."""


class Problem(Enum):
    """Why a packet did not arrive, whichever ICMP said so."""

    NETWORK_UNREACHABLE = "network unreachable"
    HOST_UNREACHABLE = "host unreachable"
    PROTOCOL_UNREACHABLE = "protocol unreachable"
    PORT_UNREACHABLE = "port unreachable"
    PROHIBITED = "administratively prohibited"
    TOO_BIG = "packet too big"
    HOPS_EXCEEDED = "hop limit exceeded"


class Card(Protocol):
    """A network interface, as the layers above it know it.

    Attributes:
        mac: its own address.
        transmit: takes frames.
        addresses: its own IP addresses with their prefix lengths.
    """

    @property
    def mac(self) -> bytes: ...
    @property
    def addresses(self) -> Sequence[Network]: ...

    transmit: Callable[[bytes], None]

    def expect(self, key: bytes) -> None:
        """Frames to a group concern this card when they ask for or come from `key`, an IPv4
        address, or go to `key`, a group's MAC address. Said again when what the card knows of an
        address has changed.
        """
        ...


class Packet:
    """An IP packet for this machine.

    Attributes:
        data: all of it, for an ICMP error to quote.
        card: by which it came.
    """

    __slots__ = ("card", "data", "destination", "hops", "payload", "protocol", "source")

    def __init__(
        self,
        data: bytes,
        source: bytes,
        destination: bytes,
        protocol: int,
        payload: bytes,
        hops: int,
        card: Card | None,
    ) -> None:
        self.data, self.source, self.destination = data, source, destination
        self.protocol, self.payload, self.hops, self.card = protocol, payload, hops, card


class Transport(Protocol):
    """A protocol above IP."""

    def receive(self, packet: Packet) -> None: ...

    def problem(self, quoted: Packet, problem: Problem, mtu: int) -> None:
        """A packet that this machine sent has met a problem. `mtu`: 0 unless it was too big."""
        ...

    def forget(self) -> None:
        """The machine is off: nothing of what the protocol knew is left."""
        ...


class Machine(Protocol):
    """A host, as its own layers know it.

    Attributes:
        addresses: address → the card that has it, None: the loopback.
        arp_ignore, arp_announce: as Linux's sysctls of that name, see `arp`.
    """

    @property
    def calendar(self) -> Calendar: ...
    @property
    def random(self) -> random.Random: ...
    @property
    def addresses(self) -> Mapping[bytes, Card | None]: ...

    arp_ignore: int
    arp_announce: int

    def next_identification(self) -> int:
        """For the next IPv4 packet or fragmented IPv6 packet."""
        ...

    def take(self, packet: Packet) -> None:
        """Give a packet to the protocol above."""
        ...

    def send(self, source: bytes, destination: bytes, protocol: int, payload: bytes) -> None:
        """Send a packet; nothing is raised when there is no way: that is a problem of the packet's
        protocol.
        """
        ...

    def problem(self, quoted: Packet, problem: Problem, mtu: int = 0) -> None:
        """Tell the protocol whose packet met a problem."""
        ...

    def refuse(self, packet: Packet, problem: Problem, mtu: int = 0) -> None:
        """Send an ICMP error about a packet."""
        ...

    def source_for(self, destination: bytes, card: Card | None = None) -> bytes | None:
        """The address with which to speak to another; `card`: one of this card."""
        ...
