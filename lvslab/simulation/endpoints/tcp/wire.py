"""A connection on the wire: sequence numbers, options and headers of its segments.

Inside, places in a stream are counted from its SYN and never wrap; here they become sequence
numbers and come back.
"""

from __future__ import annotations

from typing import Protocol

from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints.base import MILLISECOND
from lvslab.simulation.endpoints.tcp.receiving import Receiver
from lvslab.simulation.endpoints.tcp.segment import (
    ACK,
    HEADER,
    SYN,
    Segment,
    sack_option,
    stamp_option,
    syn_options,
)
from lvslab.simulation.endpoints.tcp.settings import TcpSettings

_MASK, _HALF, _WHOLE = 0xFFFFFFFF, 1 << 31, 1 << 32
_TCP = 6
_HEADER, _STAMPS = 20, 12
_LEAST_MSS = 536
"""Of one who does not say (RFC 9293, 3.7.1)."""


class Network(Protocol):
    """The host's TCP, as the wire side of its connections knows it."""

    @property
    def calendar(self) -> Calendar: ...
    @property
    def settings(self) -> TcpSettings: ...
    @property
    def clock_offset(self) -> int: ...

    def emit(self, source: bytes, destination: bytes, segment: bytes) -> None: ...

    def largest(self, peer: bytes) -> tuple[int, int]:
        """Octets of TCP header and data that a packet to a peer takes now, and at most."""
        ...


class Wire:
    """What both sides' SYNs have agreed on, and the segments that follow from it.

    Attributes:
        local, peer, local_port, peer_port: whose segments these are.
    """

    __slots__ = (
        "_echo",
        "_initial",
        "_network",
        "_pair",
        "_peer_mss",
        "_sack",
        "_scale",
        "_stamps",
        "_their_scale",
        "_theirs",
        "local",
        "local_port",
        "peer",
        "peer_port",
    )

    def __init__(self, network: Network, local: bytes, peer: bytes, ports: bytes, initial: int) -> None:
        """
        Args:
            ports: the peer's and ours, as they stand in the peer's segments.
            initial: our initial sequence number.
        """
        self._network, self.local, self.peer = network, local, peer
        self.peer_port, self.local_port = int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
        self._pair = (int.from_bytes(local + peer, "big") + _TCP) % 0xFFFF + self.local_port + self.peer_port
        settings = network.settings
        self._initial, self._theirs, self._peer_mss = initial, 0, _LEAST_MSS
        self._stamps, self._sack, self._echo = settings.timestamps, settings.sack, 0
        self._scale = self._their_scale = 0

    # -- out ---------------------------------------------------------------------------------------

    def send(self, flags: int, place: int, receiver: Receiver, data: bytes = b"") -> None:
        """Send a segment; what it acknowledges is the receiver's state."""
        acknowledgement, window = 0, receiver.window
        if flags & SYN:
            options = self._syn_options(bool(flags & ACK))
        else:
            options = stamp_option(self._now(), self._echo) if self._stamps else b""
            window >>= self._scale
            if receiver.has_gaps and self._sack:
                options += self._sack_option(receiver)
        if window > 0xFFFF:
            window = 0xFFFF
        if flags & ACK:
            acknowledgement = (self._theirs + receiver.next) & _MASK
        sequence = (self._initial + place) & _MASK
        offset = _HEADER + len(options) << 2
        body = options + data
        length, number = len(body), int.from_bytes(body, "big")
        if length & 1:
            number <<= 8
        number += self._pair + _HEADER + length + sequence + acknowledgement + window
        number += offset << 8 | flags
        header = HEADER.pack(
            self.local_port,
            self.peer_port,
            sequence,
            acknowledgement,
            offset,
            flags,
            window,
            -number % 0xFFFF,
            0,
        )
        self._network.emit(self.local, self.peer, header + body)

    def _syn_options(self, answering: bool) -> bytes:
        settings = self._network.settings
        mss = self._network.largest(self.peer)[1] - _HEADER
        stamp = (self._now(), self._echo) if self._stamps else None
        scale = settings.scale if not answering or self._scale else None
        return syn_options(mss, self._sack, stamp, scale)

    def _sack_option(self, receiver: Receiver) -> bytes:
        theirs = self._theirs
        blocks = receiver.ranges()[: 3 if self._stamps else 4]
        return sack_option([((theirs + start) & _MASK, (theirs + end) & _MASK) for start, end in blocks])

    def _now(self) -> int:
        """The clock of the timestamps, milliseconds as in Linux."""
        network = self._network
        return (network.calendar.now // MILLISECOND + network.clock_offset) & _MASK

    @property
    def room(self) -> int:
        """Octets of data that a segment to the peer may have now."""
        largest = self._network.largest(self.peer)[0] - _HEADER
        return min(largest, self._peer_mss) - (_STAMPS if self._stamps else 0)

    # -- in ----------------------------------------------------------------------------------------

    def learn(self, syn: Segment) -> None:
        """What the peer's SYN says."""
        settings = self._network.settings
        self._theirs = syn.sequence
        self._peer_mss = syn.mss or _LEAST_MSS
        self._stamps = settings.timestamps and syn.stamp is not None
        self._echo = syn.stamp[0] if syn.stamp else 0
        self._sack = settings.sack and syn.sack_permitted
        if settings.scale is not None and syn.scale is not None:
            self._scale, self._their_scale = settings.scale, syn.scale

    def is_outdated(self, segment: Segment, in_order: bool) -> bool:
        """Whether its timestamp is older than one that was seen (PAWS, RFC 7323, 5). That of a
        segment in order is echoed from now on.
        """
        if not self._stamps or segment.stamp is None:
            return False
        value = segment.stamp[0]
        if (value - self._echo) & _MASK >= _HALF:
            return True
        if in_order:
            self._echo = value
        return False

    def echoed(self, segment: Segment) -> int | None:
        """Nanoseconds since the segment was sent that this one echoes, None without timestamps."""
        if not self._stamps or segment.stamp is None:
            return None
        return max((self._now() - segment.stamp[1]) & _MASK, 1) * MILLISECOND

    def window(self, segment: Segment) -> int:
        """The peer's window; that of a SYN is not scaled."""
        return segment.window << self._their_scale

    def their_place(self, sequence: int, near: int) -> int:
        """The place of a sequence number in the peer's stream, which lies near another place."""
        distance = (sequence - self._theirs - near) & _MASK
        return near + (distance - _WHOLE if distance >= _HALF else distance)

    def our_place(self, sequence: int, near: int) -> int:
        """The place of a sequence number in our stream, which lies near another place."""
        distance = (sequence - self._initial - near) & _MASK
        return near + (distance - _WHOLE if distance >= _HALF else distance)

    def ranges(self, segment: Segment, near: int) -> list[tuple[int, int]]:
        """The places in our stream that a segment acknowledges selectively."""
        return [(self.our_place(start, near), self.our_place(end, near)) for start, end in segment.sacks]
