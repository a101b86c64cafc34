"""What came of sending and receiving, as the programs measured it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Sent:
    """A stream that was sent.

    Attributes:
        sent: packets that the kernel took; those that it refused for want of room were offered
            again.
        planned: packets that should have been sent; None: as many as there was time for.
        seconds: from the first packet to the end of the last one's interval.
        wanted_rate: packets a second that were asked for; None: as fast as possible.
        late: packets that went out more than a millisecond after their time. They were not left
            out: the average rate holds all the same.
        worst_late: seconds by which the latest one was late.
        errors: refused system calls by cause (the errno's name); ENOBUFS: no room in the device or
            its peer.
        workers: threads that sent.
    """

    sent: int
    planned: int | None
    seconds: float
    wanted_rate: float | None
    late: int
    worst_late: float
    workers: int
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Packets a second that were sent."""
        return self.sent / self.seconds if self.seconds else 0.0

    @property
    def rate_error(self) -> float | None:
        """By how much the rate was missed, as a share of what was asked for; None when no
        rate was.
        """
        return None if self.wanted_rate is None else self.rate / self.wanted_rate - 1


class Flow(NamedTuple):
    """A flow as its packets show it.

    Attributes:
        version: 4 or 6.
        protocol: IP protocol number.
        source_port, destination_port: of TCP, UDP and SCTP; for an ICMP echo its identifier and 0;
            else 0.
    """

    version: int
    protocol: int
    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(frozen=True)
class Flows:
    """Packets counted by flow; a mapping from `Flow` to a number, made of arrays.

    Attributes:
        records: one row of bytes for each flow (see `lvslab.traffic.engine.flows`), in no
            particular order.
        counts: packets of each.
    """

    records: numpy.ndarray[Any, Any]
    counts: numpy.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.counts)

    def items(self) -> Iterator[tuple[Flow, int]]:
        """Each flow with its number of packets."""
        for row, count in zip(self.records, self.counts, strict=True):
            data = row.tobytes()
            length = 4 if data[0] == 4 else 16
            source, destination = (
                str(ipaddress.ip_address(data[start : start + length])) for start in (8, 24)
            )
            ports = (int.from_bytes(data[start : start + 2], "big") for start in (2, 4))
            yield Flow(data[0], data[1], source, next(ports), destination, next(ports)), int(count)

    @cached_property
    def table(self) -> dict[Flow, int]:
        """All of them as a dictionary."""
        return dict(self.items())


@dataclass(frozen=True)
class Received:
    """What a receiver saw.

    Attributes:
        packets: that it took; total_bytes: their lengths together, link layer included.
        dropped: packets that came but found no room in the ring (PACKET_STATISTICS); they are in
            none of the other figures.
        other: packets of `packets` that are neither IPv4 nor IPv6; known only when flows were
            counted.
        first, last: when the first and the last packet came, seconds since the epoch by the
            kernel's stamp; None: none came.
        flows: packets by flow, if asked for; without those of `other`.
        samples: time and bytes of every n-th frame, if asked for.
    """

    packets: int
    total_bytes: int
    dropped: int
    other: int
    first: float | None
    last: float | None
    flows: Flows | None = None
    samples: tuple[tuple[float, bytes], ...] = ()

    @property
    def arrived(self) -> int:
        """Packets that came, taken or dropped."""
        return self.packets + self.dropped

    @property
    def seconds(self) -> float:
        """From the first packet to the last."""
        return 0.0 if self.first is None or self.last is None else self.last - self.first

    @property
    def rate(self) -> float:
        """Packets a second that arrived; 0 with fewer than two packets."""
        return (self.arrived - 1) / self.seconds if self.seconds else 0.0
