"""One TCP connection: the states of RFC 9293, with the answers to doubtful segments of RFC 5961."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from lvslab.simulation.endpoints.base import Problem
from lvslab.simulation.endpoints.tcp.receiving import Receiver
from lvslab.simulation.endpoints.tcp.segment import ACK, FIN, RST, SYN, Segment
from lvslab.simulation.endpoints.tcp.sending import Sender
from lvslab.simulation.endpoints.tcp.wire import Network, Wire
from lvslab.simulation.endpoints.timer import Timer


class State(Enum):
    """RFC 9293, 3.3.2."""

    SYN_SENT = "SYN-SENT"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT_1 = "FIN-WAIT-1"
    FIN_WAIT_2 = "FIN-WAIT-2"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST-ACK"
    TIME_WAIT = "TIME-WAIT"
    CLOSED = "CLOSED"


_AFTER_CLOSE = {State.ESTABLISHED: State.FIN_WAIT_1, State.CLOSE_WAIT: State.LAST_ACK}
_AFTER_OUR_FIN = {
    State.FIN_WAIT_1: State.FIN_WAIT_2,
    State.CLOSING: State.TIME_WAIT,
    State.LAST_ACK: State.CLOSED,
}
_AFTER_THEIR_FIN = {
    State.ESTABLISHED: State.CLOSE_WAIT,
    State.FIN_WAIT_1: State.CLOSING,
    State.FIN_WAIT_2: State.TIME_WAIT,
}


_NOT_SYNCHRONIZED = (State.CLOSED, State.SYN_SENT, State.SYN_RECEIVED)


class Failure(Enum):
    """How a connection ended before its time, in the words of the prober's records."""

    REFUSED = "refused"
    RESET = "reset"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


class Application(Protocol):
    """Who uses a connection. Nothing is said after `failed`, or after the application's own
    `close` or `abort`.
    """

    def connected(self, connection: Connection) -> None: ...
    def received(self, connection: Connection, data: bytes) -> None: ...

    def ended(self, connection: Connection) -> None:
        """The other side has closed its direction."""
        ...

    def failed(self, connection: Connection, failure: Failure) -> None: ...


class _Nobody:
    """The application of a connection that its own has left."""

    def connected(self, connection: Connection) -> None: ...
    def received(self, connection: Connection, data: bytes) -> None: ...
    def ended(self, connection: Connection) -> None: ...
    def failed(self, connection: Connection, failure: Failure) -> None: ...


_NOBODY = _Nobody()


class Stack(Network, Protocol):
    """The host's TCP, as its connections know it."""

    def confirm(self, peer: bytes) -> None:
        """A peer has answered."""
        ...

    def drop(self, connection: Connection) -> None:
        """A connection is no more."""
        ...


class Connection:
    """A connection, from its first SYN to the end of TIME-WAIT.

    Attributes:
        key: by which segments find it.
        application: whom it tells.
        state: of RFC 9293.
        wire: its addresses, ports and numbers.
        sender, receiver: its two directions.
    """

    __slots__ = (
        "_busy",
        "_closed_here",
        "_linger",
        "_must_acknowledge",
        "_segment",
        "_stack",
        "application",
        "key",
        "receiver",
        "sender",
        "state",
        "wire",
    )

    def __init__(self, stack: Stack, key: bytes, wire: Wire, application: Application) -> None:
        """Then `open` or `answer` it."""
        self._stack, self.key, self.wire, self.application = stack, key, wire, application
        self._busy = self._must_acknowledge = self._closed_here = False
        self._segment: Segment | None = None  # the one that is being taken
        self.state = State.CLOSED
        self.sender = Sender(self, stack.calendar, stack.settings)
        self.receiver = Receiver(stack.settings.buffer)
        self._linger: Timer | None = None

    # -- for the application -----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send data; nothing happens when the connection is closed."""
        if self.state in (State.SYN_SENT, State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSE_WAIT):
            self.sender.write(data)
            self._flush()

    def close(self) -> None:
        """Send nothing after what was said, and take nothing any more. What was received and not
        read makes it a reset (RFC 2525, 2.17).
        """
        if self.receiver.unread and self.state is not State.CLOSED:
            self.abort()
            return
        self._leave()
        if self.state is State.SYN_SENT:
            self._finish()
        else:
            self.shut_down()
            if self.state is State.FIN_WAIT_2:
                self._wait(self._stack.settings.fin_timeout)

    def shut_down(self) -> None:
        """Send nothing after what was said; go on listening."""
        if self.state in _AFTER_CLOSE or self.state is State.SYN_RECEIVED:
            self.sender.close()
            self.state = _AFTER_CLOSE.get(self.state, self.state)
            self._flush()

    def abort(self) -> None:
        """End it with a RST."""
        self._leave()
        if self.state not in (State.CLOSED, State.SYN_SENT, State.TIME_WAIT):
            self.transmit(RST | ACK, self.sender.next)
        self._finish()

    def pause(self) -> None:
        """Read nothing from now on: the window closes when the buffer is full."""
        self.receiver.reading = False

    def resume(self) -> None:
        """Read again, at first what has come meanwhile."""
        receiver = self.receiver
        if receiver.reading:
            return
        receiver.reading = True
        data, receiver.unread = bytes(receiver.unread), bytearray()
        if self.state is not State.CLOSED:
            self._must_acknowledge = bool(data)
            self._tell(data)
        self._flush()

    # -- opening -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Send a SYN."""
        self.state = State.SYN_SENT
        self.sender.synchronize(SYN)

    def answer(self, segment: Segment) -> None:
        """A SYN has come: answer it."""
        self._learn(segment)
        self.state = State.SYN_RECEIVED
        self.sender.synchronize(SYN | ACK)

    def _learn(self, syn: Segment) -> None:
        self.wire.learn(syn)
        self.sender.begin(self.wire.room, syn.window)

    # -- for the sending half ----------------------------------------------------------------------

    def transmit(self, flags: int, place: int, data: bytes = b"") -> None:
        """Send a segment."""
        if flags & ACK:
            self._must_acknowledge = False
        self.wire.send(flags, place, self.receiver, data)

    def elapsed(self) -> int | None:
        """Nanoseconds since that was sent which the present segment echoes."""
        return self.wire.echoed(self._segment) if self._segment else None

    def persevere(self, tries: int) -> bool:
        """Whether to send again."""
        settings = self._stack.settings
        limits = {State.SYN_SENT: settings.syn_retries, State.SYN_RECEIVED: settings.synack_retries}
        usual = settings.orphan_retries if self._closed_here else settings.retries
        if tries <= limits.get(self.state, usual):
            return True
        self._fail(Failure.TIMEOUT)
        return False

    def _flush(self) -> None:
        """Send what is to be sent, at least an acknowledgement that is due."""
        if self._busy or self.state in _NOT_SYNCHRONIZED:
            return
        self.sender.push()
        if self._must_acknowledge:
            self._acknowledge()

    def _acknowledge(self) -> None:
        self.transmit(ACK, self.sender.next)

    # -- segments ----------------------------------------------------------------------------------

    def receive(self, segment: Segment) -> None:
        """A segment has come (RFC 9293, 3.10.7)."""
        self._busy, self._segment = True, segment
        if self.state is State.SYN_SENT:
            self._receive_in_syn_sent(segment)
        elif self._accept(segment):
            self._take(segment)
        self._busy, self._segment = False, None
        self._flush()

    def _receive_in_syn_sent(self, segment: Segment) -> None:
        flags, wire = segment.flags, self.wire
        if flags & ACK and wire.our_place(segment.acknowledgement, 1) != 1:
            if not flags & RST:
                self._reset_at(segment.acknowledgement)
            return
        if flags & RST:
            if flags & ACK:
                self._fail(Failure.REFUSED)
            return
        if not flags & SYN:
            return
        self._learn(segment)
        if not flags & ACK:  # both open at once
            self.state = State.SYN_RECEIVED
            self.transmit(SYN | ACK, 0)
            return
        self.state = State.ESTABLISHED
        self.sender.acknowledge(1, segment.window, (), bare=False)
        self._must_acknowledge = True
        self._stack.confirm(wire.peer)
        self.application.connected(self)

    def _accept(self, segment: Segment) -> bool:
        """Whether a segment has a place in the window and may say what it says."""
        receiver, flags, wire = self.receiver, segment.flags, self.wire
        place = wire.their_place(segment.sequence, receiver.next)
        if not flags & (RST | SYN) and wire.is_outdated(segment, place <= receiver.next):
            self._acknowledge()
            return False
        outside = place + segment.length < receiver.next or place > max(receiver.edge, receiver.next)
        if flags & RST:
            if place == receiver.next:
                self._fail(Failure.RESET)
            elif not outside:
                self._acknowledge()  # to one that only guesses (RFC 5961, 3.2)
            return False
        if outside or flags & SYN:
            if self.state is State.SYN_RECEIVED and flags & SYN:
                self.transmit(SYN | ACK, 0)
            else:
                self._acknowledge()
            return False
        return bool(flags & ACK)

    def _take(self, segment: Segment) -> None:
        """An acceptable segment with an acknowledgement."""
        sender = self.sender
        place = self.wire.our_place(segment.acknowledgement, sender.first)
        if self.state is State.SYN_RECEIVED and not 1 <= place <= sender.next:
            self._reset_at(segment.acknowledgement)
            return
        if place > sender.next:
            self._acknowledge()
            return
        if place >= sender.first:
            self._take_acknowledgement(segment, place)
        if segment.length and self.state is not State.CLOSED:
            self._take_data(segment)

    def _take_acknowledgement(self, segment: Segment, place: int) -> None:
        sender, wire = self.sender, self.wire
        ranges = wire.ranges(segment, sender.first) if segment.sacks else ()
        if sender.acknowledge(place, wire.window(segment), ranges, bare=not segment.length):
            self._stack.confirm(wire.peer)
        if self.state is State.SYN_RECEIVED:
            self.state = State.FIN_WAIT_1 if sender.closing else State.ESTABLISHED
            if not self._closed_here:
                self.application.connected(self)
        elif self.state in _AFTER_OUR_FIN and sender.finished:
            if self.state is State.LAST_ACK:
                self._finish()
                return
            self.state = _AFTER_OUR_FIN[self.state]
            if self.state is State.TIME_WAIT:
                self._wait(self._stack.settings.time_wait)
            elif self._closed_here:
                self._wait(self._stack.settings.fin_timeout)

    def _take_data(self, segment: Segment) -> None:
        receiver = self.receiver
        self._must_acknowledge = True
        if self.state is State.TIME_WAIT:  # their FIN again
            self._wait(self._stack.settings.time_wait)
        if self.state not in _AFTER_THEIR_FIN:
            return
        place = self.wire.their_place(segment.sequence, receiver.next)
        if self._closed_here and place + len(segment.data) > receiver.next:
            # nobody is there to read it (RFC 1122, 4.2.2.13)
            self.transmit(RST, self.sender.next)
            self._finish()
            return
        fresh = receiver.take(place, segment.data, bool(segment.flags & FIN))
        if receiver.finished:
            self.state = _AFTER_THEIR_FIN[self.state]
            if self.state is State.TIME_WAIT:
                self._wait(self._stack.settings.time_wait)
        if receiver.reading:
            self._tell(fresh)
        else:
            receiver.unread += fresh

    def _tell(self, fresh: bytes) -> None:
        """Tell the application what came."""
        if fresh and not self._closed_here:
            self.application.received(self, fresh)
        if self.receiver.finished and not self._closed_here:
            self.application.ended(self)

    def is_after(self, sequence: int) -> bool:
        """Whether a sequence number is beyond all that was received."""
        near = self.receiver.next
        return self.wire.their_place(sequence, near) >= near

    # -- the end -----------------------------------------------------------------------------------

    def problem(self, problem: Problem, sequence: int) -> None:
        """An ICMP error says that the segment with this sequence number did not arrive. Only a
        connection that is being opened ends by it; others go on trying (RFC 1122, 4.2.3.9).
        """
        sender = self.sender
        if not sender.first <= self.wire.our_place(sequence, sender.first) <= sender.next:
            return
        if problem is Problem.TOO_BIG:
            sender.limit(self.wire.room)
            self._flush()
        elif self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            closed = (Problem.PORT_UNREACHABLE, Problem.PROTOCOL_UNREACHABLE)
            self._fail(Failure.REFUSED if problem in closed else Failure.UNREACHABLE)

    def forget(self) -> None:
        """The machine is off."""
        self._leave()
        self._finish()

    def _leave(self) -> None:
        """The application is gone."""
        self._closed_here, self.application = True, _NOBODY

    def _reset_at(self, sequence: int) -> None:
        self.transmit(RST, self.wire.our_place(sequence, 0))

    def _wait(self, time: int) -> None:
        """Nothing more is to come: be gone in a while."""
        if self._linger is None:
            self._linger = Timer(self._stack.calendar, self._finish)
        self._linger.set(time)

    def _fail(self, failure: Failure) -> None:
        # one that was not yet established is unknown to its application
        unknown = self.state in (State.TIME_WAIT, State.SYN_RECEIVED)
        application = _NOBODY if unknown else self.application
        self._leave()
        self._finish()
        application.failed(self, failure)

    def _finish(self) -> None:
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._must_acknowledge = False
            self.sender.stop()
            if self._linger is not None:
                self._linger.retire()
                self._linger = None
            self._stack.drop(self)
