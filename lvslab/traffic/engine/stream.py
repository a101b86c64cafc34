"""What to send, as data: a template, what varies from flow to flow, how many packets and
how fast.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lvslab.errors import UsageError

MAX_FLOWS = 1 << 20
MAX_SECONDS = 600.0
"""A stream without bounds of its own ends after these seconds."""

MAX_BYTES = 1 << 30
"""Of all packets of all flows together; they are held in memory."""

_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")

Number = int | str
"""A field's value: a number, or an IPv4, IPv6 or MAC address as text."""


def number_of(value: Number) -> int:
    """The number that a value stands for in network byte order.

    Raises:
        UsageError: it is no address.
    """
    if isinstance(value, int):
        return value
    if _MAC.fullmatch(value):
        return int(value.replace(":", ""), 16)
    try:
        return int(ipaddress.ip_address(value))
    except ValueError:
        raise UsageError(f"stream: '{value}' is no IPv4, IPv6 or MAC address") from None


@dataclass(frozen=True)
class Span:
    """Values counted through from `first` to `last`, both included, and again from the beginning.

    Attributes:
        first: the first value, or a whole network: Span("198.18.0.0/15") has all its addresses.
        last: the last; None: `first` is a network or the only value.
        every: so many flows have the same value before the next one comes. To combine two fields,
            let the second have `every` of the first one's length: addresses of a /24 with ports:
            {"IP.src": Span("10.0.0.0/24"), "TCP.sport": Span(1024, 65535, every=256)}.
        step: between a value and the next.
    """

    first: Number
    last: Number | None = None
    every: int = 1
    step: int = 1

    def __post_init__(self) -> None:
        low, high = self.bounds
        if high < low or low < 0:
            raise UsageError(f"stream: {self.first} to {self.last} is no range")
        if self.every < 1 or self.step < 1:
            raise UsageError("stream: `every` and `step` are at least 1")

    @property
    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest value."""
        if isinstance(self.first, str) and "/" in self.first:
            try:
                network = ipaddress.ip_network(self.first)
            except ValueError as error:
                raise UsageError(f"stream: {error}") from None
            return int(network[0]), int(network[-1])
        low = number_of(self.first)
        return low, low if self.last is None else number_of(self.last)


@dataclass(frozen=True)
class Draw:
    """Values drawn at random, evenly, between `first` and `last`, both included; the same ones in
    every run with the same seed.

    Attributes:
        first: the lowest value, or a network as in `Span`.
        last: the highest; None: that of the network, or the highest that the field holds.
        seed: of the random generator. Two fields of one stream draw differently with the same seed.
    """

    first: Number = 0
    last: Number | None = None
    seed: int = 0

    def bounds(self, width: int) -> tuple[int, int]:
        """The lowest and the highest value in a field of `width` bytes."""
        if self.last is None and not (isinstance(self.first, str) and "/" in self.first):
            return number_of(self.first), (1 << 8 * width) - 1
        return Span(self.first, self.last).bounds


@dataclass(frozen=True)
class Values:
    """Values of a list, one after the other, and again from the beginning.

    Attributes:
        values: at least one.
        every: so many flows have the same value before the next one comes.
    """

    values: Sequence[Number]
    every: int = 1

    def __post_init__(self) -> None:
        if not self.values or self.every < 1:
            raise UsageError("stream: Values needs at least one value and `every` of at least 1")


Variation = Span | Draw | Values


@dataclass(frozen=True)
class Stream:
    """Packets to send.

    Attributes:
        template: a scapy frame with its link layer, or the frames of one conversation in order.
        vary: field → its values, flow by flow. A field is "LAYER.FIELD" with scapy's names
            ("Ether.src", "IP.src", "IP.id", "TCP.sport", "TCP.seq", "UDP.dport", "ICMP.id",
            "IPv6.dst", "ICMPv6EchoRequest.id"), "IP:2.src" for the second such layer of a packet,
            or "payload[4:8]" for bytes of what follows the last known layer. In a conversation the
            value is that of the first frame which has the field; later frames keep their distance
            from it, as sequence numbers do, and frames of the other direction have it in the
            opposite field (src and dst, sport and dport, seq and ack). Checksums follow; one that
            the template has wrong on purpose stays wrong by as much, and a UDP checksum of 0 over
            IPv4 (none) stays 0.
        flows: how many.
        count: packets to send; after the last flow's the first one's come again. None: every packet
            once, or, with `seconds`, as many as there is time for.
        rate: packets a second, sent at even times in batches of at most half a millisecond. None:
            as fast as possible.
        seconds: at most this long.
        workers: threads that send. None: one for a rate that one holds and for conversations, else
            one for each processor. Several may put packets into another order, a batch before the
            one that precedes it.
    """

    template: Any
    vary: Mapping[str, Variation] = field(default_factory=dict)
    flows: int = 1
    count: int | None = None
    rate: float | None = None
    seconds: float | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise UsageError(f"stream: {problem}")

    @property
    def templates(self) -> list[Any]:
        """The frames of one flow, in order."""
        return list(self.template) if isinstance(self.template, (list, tuple)) else [self.template]

    @property
    def planned(self) -> int | None:
        """Packets that it shall send; None: as many as there is time for."""
        if self.count is not None:
            return self.count
        if self.seconds is None:
            return self.flows * len(self.templates)
        return None if self.rate is None else max(1, round(self.rate * self.seconds))

    def _problem(self) -> str | None:
        seconds = MAX_SECONDS if self.seconds is None else self.seconds
        checks = [
            (not self.templates, "no template"),
            (not 1 <= self.flows <= MAX_FLOWS, f"{self.flows} flows; 1 to {MAX_FLOWS:,} are possible"),
            (self.count is not None and self.count < 1, f"count {self.count}: at least 1"),
            (
                self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0),
                f"rate {self.rate} is not above 0",
            ),
            (
                not 0 < seconds <= MAX_SECONDS,
                f"{seconds:g} s; above 0 and at most {MAX_SECONDS:g} s are possible",
            ),
            (
                self.workers is not None and not 1 <= self.workers <= 64,
                f"{self.workers} workers; 1 to 64 are possible",
            ),
        ]
        return next((text for failed, text in checks if failed), None)
