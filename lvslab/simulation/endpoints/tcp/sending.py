"""The sending half of a connection: windows, retransmission (RFC 6298), congestion (RFC 5681) and
loss recovery, by selective acknowledgements (RFC 6675) or without (RFC 6582).

Places in the stream are counted from our own SYN, which has 0, and never wrap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints.tcp.roundtrip import RoundTrip
from lvslab.simulation.endpoints.tcp.segment import ACK, FIN, PSH, SYN
from lvslab.simulation.endpoints.tcp.settings import TcpSettings
from lvslab.simulation.endpoints.timer import Timer

_DUPLICATES = 3
"""Acknowledgements, or segments beyond it that came, after which a segment is lost."""

_FIRST_WINDOW = 10
"""Segments (RFC 6928)."""


class Sent:
    """A segment on its way.

    Attributes:
        start, end: its places; a SYN or FIN has one of its own.
        time: when it was sent last.
        again: whether it was sent more than once.
        arrived: the other side has it, though not all before it.
        lost: it must be sent again.
    """

    __slots__ = ("again", "arrived", "end", "flags", "lost", "start", "time")

    def __init__(self, start: int, end: int, flags: int, time: int) -> None:
        self.start, self.end, self.flags, self.time = start, end, flags, time
        self.again = self.arrived = self.lost = False


class Line(Protocol):
    """The connection, as its sending half knows it."""

    def transmit(self, flags: int, place: int, data: bytes = b"") -> None:
        """Send a segment."""
        ...

    def elapsed(self) -> int | None:
        """Nanoseconds since that was sent which the present acknowledgement echoes, None without
        timestamps.
        """
        ...

    def persevere(self, tries: int) -> bool:
        """Something was sent so often again without an answer; False: the connection is given
        up.
        """
        ...


class _Closed:
    """The line of a connection that is no more."""

    def transmit(self, flags: int, place: int, data: bytes = b"") -> None:
        """Nothing is sent."""

    def elapsed(self) -> int | None:
        """Nothing is measured."""

    def persevere(self, tries: int) -> bool:
        """It is given up."""
        return False


_CLOSED = _Closed()


class Sender:
    """What one side sends.

    Attributes:
        first: the oldest place that is not acknowledged; `next`: the first that was never sent.
        window: octets that the other side takes beyond `first`.
        mss: octets of data in a segment.
        closing: whether a FIN follows the data.
        congestion: the congestion window, octets; `threshold`: where it begins to grow slowly.
    """

    __slots__ = (
        "_base",
        "_calendar",
        "_data",
        "_duplicates",
        "_flight",
        "_line",
        "_recover",
        "_repairing",
        "_timed_out",
        "_timer",
        "_tries",
        "closing",
        "congestion",
        "first",
        "mss",
        "next",
        "roundtrip",
        "threshold",
        "window",
    )

    def __init__(self, line: Line, calendar: Calendar, settings: TcpSettings) -> None:
        self._line, self._calendar = line, calendar
        self.first = self.next = 0
        self.window, self.mss, self.closing = 0, 536, False
        self.roundtrip = RoundTrip(settings)
        self.congestion, self.threshold = 0, 1 << 30
        self._timer = Timer(calendar, self._time_out)
        self._data, self._base = bytearray(), 1
        self._flight: deque[Sent] = deque()
        self._duplicates = self._tries = self._recover = 0
        self._repairing = self._timed_out = False

    @property
    def finished(self) -> bool:
        """Whether our FIN is acknowledged."""
        return self.closing and self.first == self._base + len(self._data) + 1

    @property
    def waiting(self) -> bool:
        """Whether anything is on its way."""
        return bool(self._flight)

    def begin(self, mss: int, window: int) -> None:
        """What the other side's SYN says; its window is not scaled."""
        self.mss, self.window, self.congestion = mss, window, _FIRST_WINDOW * mss

    def limit(self, mss: int) -> None:
        """How long segments may be, from now on; longer ones on their way are cut and sent
        again.
        """
        self.mss = mss
        if any(sent.end - sent.start > mss + 1 for sent in self._flight):
            self._cut()

    def synchronize(self, flags: int) -> None:
        """Send a SYN, perhaps with ACK."""
        self._send(0, 1, flags, b"")

    def write(self, data: bytes) -> None:
        """Data to be sent as soon as it may be (see `push`)."""
        self._data += data

    def close(self) -> None:
        """A FIN is to follow the data."""
        self.closing = True

    def stop(self) -> None:
        """Send nothing any more, and let go of the connection."""
        self._timer.retire()
        self._line = _CLOSED
        self._flight.clear()
        self._data.clear()

    # -- sending -----------------------------------------------------------------------------------

    def push(self) -> bool:
        """Send what may be sent now; whether anything was."""
        pushed = self._repair() if self._repairing else False
        end = self._base + len(self._data)
        while True:
            place, left = self.next, end - self.next
            if left <= 0:
                if self.closing and place == end:
                    self._send(place, place + 1, FIN | ACK, b"")
                    pushed = True
                return pushed
            size = min(self.mss, left, self.first + self.window - place)
            if size <= 0:
                self._watch_window()
                return pushed
            flying = self._flying()
            if flying and (flying + size > self.congestion or size < min(self.mss, left)):
                return pushed
            flags, fin = ACK, self.closing and size == left
            if size == left:
                flags |= PSH | (FIN if fin else 0)
            start = place - self._base
            self._send(place, place + size + fin, flags, bytes(self._data[start : start + size]))
            pushed = True

    def _send(self, place: int, end: int, flags: int, data: bytes) -> None:
        self._flight.append(Sent(place, end, flags, self._calendar.now))
        self.next = end
        if not self._timer.running or len(self._flight) == 1:
            self._timer.set(self.roundtrip.timeout)
        self._line.transmit(flags, place, data)

    def _send_again(self, sent: Sent) -> None:
        sent.time, sent.again, sent.lost = self._calendar.now, True, False
        data = b""
        if not sent.flags & SYN:
            size = sent.end - sent.start - (sent.flags & FIN)
            start = sent.start - self._base
            data = bytes(self._data[start : start + size])
        self._line.transmit(sent.flags, sent.start, data)

    def _flying(self) -> int:
        """Octets that are taken to be on their way (`pipe` of RFC 6675)."""
        if not self._repairing:
            return self.next - self.first
        flying = sum(sent.end - sent.start for sent in self._flight if not (sent.arrived or sent.lost))
        if not self._timed_out and not any(sent.arrived for sent in self._flight):
            flying -= self._duplicates * self.mss  # each stands for a segment that has arrived
        return flying

    def _watch_window(self) -> None:
        """The window is closed: ask from time to time whether it has opened (RFC 9293, 3.8.6.1)."""
        if not self._flight and not self._timer.running:
            self._timer.set(self.roundtrip.timeout)

    # -- acknowledgements --------------------------------------------------------------------------

    def acknowledge(self, place: int, window: int, ranges: Sequence[tuple[int, int]], *, bare: bool) -> bool:
        """The other side has all before `place`; whether any of it is new.

        Args:
            window: octets that it takes beyond that.
            ranges: what it has besides.
            bare: the segment has no data, so it can be a duplicate.
        """
        opened = window > self.window
        repeated = bare and place == self.first and window == self.window and bool(self._flight)
        self.window = window
        for start, end in ranges:
            for sent in self._flight:
                if start <= sent.start and sent.end <= end:
                    sent.arrived, sent.lost = True, False
        if place > self.first:
            self._advance(place)
            return True
        if repeated or ranges:
            self._duplicates += repeated
            if not self._repairing:
                self._look_for_loss()
            elif not self._timed_out:
                self._mark_passed()
        elif opened and not self._flight:
            self._timer.cancel()
            self._tries = 0
        return False

    def _advance(self, place: int) -> None:
        flight, measured = self._flight, None
        while flight and flight[0].end <= place:
            sent = flight.popleft()
            measured = None if sent.again or sent.arrived else self._calendar.now - sent.time
        if flight and flight[0].start < place:
            flight[0].start = place
        if measured is not None:
            self.roundtrip.measure(measured)
        elif (elapsed := self._line.elapsed()) is not None:
            self.roundtrip.measure(elapsed)
        elif not self.first:
            self.roundtrip.fall_back()
        octets = place - self.first
        self.first = place
        gone = min(place - self._base, len(self._data))
        if gone > 0:
            del self._data[:gone]
            self._base += gone
        self._tries = self._duplicates = 0
        if self._repairing and place >= self._recover:
            self._repairing = False
            if not self._timed_out:
                self.congestion = self.threshold
            self._timed_out = False
        elif self._repairing and flight and not flight[0].arrived and not flight[0].again:
            flight[0].lost = True  # a partial acknowledgement: the next hole (RFC 6582, 3.2)
        if not self._repairing or self._timed_out:
            self._grow(octets)
        if flight:
            self._timer.set(self.roundtrip.timeout)
        else:
            self._timer.cancel()

    def _grow(self, octets: int) -> None:
        """RFC 5681, 3.1."""
        if self.congestion < self.threshold:
            self.congestion += min(octets, self.mss)
        else:
            self.congestion += max(self.mss * self.mss // self.congestion, 1)

    # -- loss --------------------------------------------------------------------------------------

    def _look_for_loss(self) -> None:
        arrived = sum(sent.arrived for sent in self._flight)
        if max(self._duplicates, arrived) < _DUPLICATES or not self._flight:
            return
        self.threshold = max((self.next - self.first) // 2, 2 * self.mss)
        self.congestion = self.threshold
        self._repairing, self._timed_out, self._recover = True, False, self.next
        self._flight[0].lost = not self._flight[0].arrived
        self._mark_passed()

    def _mark_passed(self) -> None:
        """Lost is what enough others have passed."""
        passed = 0
        for sent in reversed(self._flight):
            passed += sent.arrived
            if passed >= _DUPLICATES and not sent.arrived and not sent.again:
                sent.lost = True

    def _repair(self) -> bool:
        """Send again what is lost, as far as the congestion window lets us."""
        pushed = False
        flying = self._flying()
        for sent in self._flight:
            size = sent.end - sent.start
            if sent.lost and (flying <= 0 or flying + size <= self.congestion):
                self._send_again(sent)
                flying += size
                pushed = True
        return pushed

    def _time_out(self) -> None:
        """RFC 6298, 5.4 to 5.6."""
        self._tries += 1
        if not self._flight:
            if self._base + len(self._data) > self.next:
                self._line.transmit(ACK, self.first - 1)
                self.roundtrip.back_off()
                self._timer.set(self.roundtrip.timeout)
            return
        if not self._line.persevere(self._tries):
            return
        if self._tries == 1:
            self.threshold = max((self.next - self.first) // 2, 2 * self.mss)
        self.congestion, self._duplicates = self.mss, 0
        self._repairing = self._timed_out = True
        self._recover = self.next
        for sent in self._flight:
            sent.arrived, sent.lost = False, True  # RFC 2018, 8: it may have changed its mind
        self.roundtrip.back_off()
        self._timer.set(self.roundtrip.timeout)
        self._send_again(self._flight[0])

    def _cut(self) -> None:
        """Segments on their way are longer than a path takes: cut them, and send all again."""
        pieces: list[Sent] = []
        for sent in self._flight:
            fin = sent.flags & FIN
            end = sent.end - fin
            places = range(sent.start, end, self.mss) if end > sent.start else [sent.start]
            for place in places:
                last = place + self.mss >= end
                piece = Sent(
                    place,
                    sent.end if last else place + self.mss,
                    sent.flags if last else sent.flags & ~(FIN | PSH),
                    sent.time,
                )
                piece.again = piece.lost = True
                pieces.append(piece)
        self._flight = deque(pieces)
        self._repairing, self._timed_out, self._recover = True, True, self.next
