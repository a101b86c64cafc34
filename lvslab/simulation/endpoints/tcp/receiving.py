"""The receiving half of a connection: what came is put in order, and a window kept open.

Places in the stream are counted from the other side's SYN, which has 0, and never wrap.
"""

from __future__ import annotations

_BLOCKS = 4
"""Ranges that fit into an acknowledgement."""


class Receiver:
    """What one side has received.

    Attributes:
        next: the place that is waited for.
        edge: as far as the other side may send; it never moves back (RFC 9293, 3.8.6).
        reading: whether the application takes what comes; else it is kept.
        unread: what is kept.
        end: place of the other side's FIN, None as long as it has not come.
    """

    __slots__ = ("_buffer", "_early", "_latest", "edge", "end", "next", "reading", "unread")

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self.next, self.edge = 1, 1 + buffer
        self.reading, self.unread = True, bytearray()
        self.end: int | None = None
        self._early: list[tuple[int, bytes]] = []
        self._latest = 0

    @property
    def window(self) -> int:
        """Octets that the other side may send, which moves the edge."""
        self.edge = max(self.edge, self.next + self._buffer - len(self.unread))
        return self.edge - self.next

    @property
    def finished(self) -> bool:
        """Whether everything up to the other side's FIN is here."""
        return self.end is not None and self.next > self.end

    @property
    def has_gaps(self) -> bool:
        return bool(self._early)

    def take(self, place: int, data: bytes, fin: bool) -> bytes:
        """A segment's data; the answer is what is in order now and was not before."""
        if place == self.next and not self._early and place + len(data) <= self.edge:
            self.next += len(data)  # as nearly always
            if fin or self.end == self.next:
                self.end = self.next
                self.next += 1
            return data
        if fin and self.end is None and place + len(data) <= self.edge:
            self.end = place + len(data)
        if place + len(data) > self.edge:
            data = data[: max(self.edge - place, 0)]
        if place > self.next:
            if data:
                self._keep(place, data)
            return b""
        fresh = data[self.next - place :]
        if self._early:
            fresh = self._join(fresh)
        self.next += len(fresh)
        if self.end is not None and self.next == self.end:
            self.next += 1
        return fresh

    def ranges(self) -> list[tuple[int, int]]:
        """What has come too early, the range that grew last first (RFC 2018, 4)."""
        found: list[tuple[int, int]] = []
        for place, data in self._early:
            end = place + len(data)
            if found and place <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], end))
            else:
                found.append((place, end))
        found.sort(key=lambda block: not block[0] <= self._latest < block[1])
        return found[:_BLOCKS]

    def _keep(self, place: int, data: bytes) -> None:
        self._latest = place
        for index, (other, part) in enumerate(self._early):
            if other == place and len(part) >= len(data):
                return
            if other > place:
                self._early.insert(index, (place, data))
                return
        self._early.append((place, data))

    def _join(self, fresh: bytes) -> bytes:
        """Data in order, and what it reaches of that which came early."""
        joined = bytearray(fresh)
        while self._early and self._early[0][0] <= self.next + len(joined):
            place, data = self._early.pop(0)
            joined += data[self.next + len(joined) - place :]
        return bytes(joined)
