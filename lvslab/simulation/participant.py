"""A guest as a participant of the calendar.

A guest is let run with RUN, preceded by the time until which it needs not ask. While it runs,
nothing happens here but that it is answered. Two ways of running:

- *closed*, after an interrupt: its answer to packets takes no time, so its clock may not move, and
  its cards do not tell that something was sent; their rings are looked at when it waits. A packet
  that is forwarded costs one interrupt and one turn.
- *open*, otherwise: programs run, and each packet that is sent may limit how far the guest runs.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from lvslab.errors import GuestError
from lvslab.simulation.calendar import EPOCH, NEVER, Calendar
from lvslab.simulation.errors import GuestGoneError, ProtocolError
from lvslab.simulation.patience import Patience
from lvslab.simulation.sharedtime import SharedTime
from lvslab.simulation.timetravel import MESSAGE, Operation
from lvslab.simulation.vhost import CALL_REPLY_BYTES, GLANCE_SECONDS, Device, call, read_patiently

_READ_BYTES = 64 * MESSAGE.size

_LONGEST_DELAY = 2_000_000
"""Nanoseconds: a guest that waits for less may be in the midst of something with interrupts off,
for which mdelay() waits in steps of a millisecond (linux/delay.h). Whether it asks to run because
of an interrupt is not known before it does.
"""

_ACK, _REQUEST, _WAIT, _GET = Operation.ACK, Operation.REQUEST, Operation.WAIT, Operation.GET


class GuestParticipant:
    """One guest's side of the calendar; what a `vhost.Owner` is.

    What is to be said is gathered until the guest must hear it, and what it says is read in one go:
    each exchange costs two changes of process.

    Attributes:
        number, request: as of every participant.
        name: for messages.
        devices: in the order of their numbers.
        shared: whether the guest uses the shared page.
        runs: turns so far.
        behind: nanoseconds by which the guest's clock is behind the calendar's: it has stood still.
    """

    def __init__(
        self,
        calendar: Calendar,
        number: int,
        name: str,
        devices: Mapping[Path, Device],
        patience: Patience,
        lost: Callable[[str], GuestError] = GuestGoneError,
    ) -> None:
        """Make it, before its guest is started.

        Args:
            devices: in order, by the path of each one's socket.
            patience: watches over the guest.
            lost: makes the error for a guest that is gone, of a sentence about it.
        """
        self.number, self.name, self.request = number, name, NEVER
        self.devices = tuple(devices.values())
        self.shared = False
        self.runs = self.behind = 0
        self._calendar, self._patience, self._lost = calendar, patience, lost
        self._page = SharedTime()
        self._began = 0
        self._socket: socket.socket | None = None
        self._out = bytearray()
        self._sequence = self._unacknowledged = self._questions = 0
        self._heard = self._foretold = 0
        self._turns = 1  # that RUN is sent for
        self._waits, self._closed, self._complete = True, False, False
        self._free_until = self._asked = NEVER
        self._wanting: set[int] = set()
        self._calls: list[tuple[socket.socket, int]] = []
        self._replies: dict[int, select.poll] = {}
        self._left: set[int] = set()
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], object]] = {}
        for place, (path, device) in enumerate(devices.items()):
            listener = device.open(path, self, place).fileno()
            self._watch(listener, partial(self._connect, device, listener))

    # -- its beginning and its end -----------------------------------------------------------------

    def boot(self, connection: socket.socket) -> None:
        """Take its connection and let it boot, at the present moment, until it waits for the first
        time; it is the calendar's participant from then on.

        Raises:
            GuestError: it does not get there.
        """
        self._socket = connection
        read_patiently(connection)
        self._watch(connection.fileno(), self._hear)
        self._began = self._free_until = self._calendar.now
        self._page.let_run(self._began, self._began)
        self._waits = False
        self._patience.begin()
        self._serve()
        self._calendar.join(self)

    def close(self) -> None:
        """It has no turn any more, and its devices are dead; its process is the caller's to end."""
        self._calendar.leave(self)
        for device in self.devices:
            device.close()
        if self._socket is not None:
            self._socket.close()
        self._epoll.close()
        self._page.close()

    def stand_still(self, nanoseconds: int) -> None:
        """Take so long from its clock, during which it had no turn. It cannot be told that it is
        late: a kernel that has asked for a time must get that one (time_travel_update_time in
        arch/um/kernel/time.c).
        """
        self.behind += nanoseconds
        if self._asked != NEVER:
            self._asked += nanoseconds
        self.request = self._calendar.now if self._wanting else self._asked

    # -- a turn ------------------------------------------------------------------------------------

    def run(self, now: int, free_until: int) -> None:
        """See `Participant.run`."""
        self.runs += 1
        self._patience.begin()
        closed = bool(self._wanting) and self._hand_over() and self._can_close()
        if self._asked > now:
            # It has not asked for this moment: interrupts are off in its card, or in the guest,
            # which takes them when it has done what it is waiting in. RUN before its time is a BUG
            # (time_travel_update_time, time_travel_deliver_event in arch/um/kernel/time.c).
            self.request = self._asked
            return
        self._free_until = now if self._turns > 1 else now + 1 if closed else free_until
        if self._closed is not closed:
            self._closed = closed
            for device in self.devices:
                device.want_kicks(not closed)
        self._waits = False
        if self.shared:
            if self._turns == 1:
                self._page.let_run(now - self.behind, self._free_until - self.behind)
            self._sequence += 1
            run = MESSAGE.pack(Operation.RUN, self._sequence, now - self._began - self.behind)
            self._out += run * self._turns
        else:
            self._say(Operation.FREE_UNTIL, self._free_until)
            self._say(Operation.RUN, now)
        self._serve()
        if closed:
            for device in self.devices:
                device.collect()
        if self._wanting:
            self.request = self._calendar.now

    def _can_close(self) -> bool:
        """Whether all of its devices are in use; they stay so until its end."""
        if not self._complete:
            self._complete = all(device.connected for device in self.devices)
        return self._complete

    def _hand_over(self) -> bool:
        """Give it what came, by card; returns whether that interrupts it."""
        wanting, self._wanting = sorted(self._wanting), set()
        for place in wanting:
            self.devices[place].hand_over()
        calls, self._calls = self._calls, []
        if not calls:
            return False
        foretell = self._asked - self._calendar.now > _LONGEST_DELAY
        if self.shared and foretell and self._can_close():
            self._interrupt_unasked(calls)
        elif self.shared:
            for channel, ring in calls:
                self._interrupt_sharing(channel, ring)
        else:
            for channel, ring in calls[:-1] if foretell else calls:
                self._interrupt(channel, ring)
            if foretell:
                self._interrupt_foretelling(*calls[-1])
        return True

    def _serve(self) -> None:
        """Answer it until it waits; of its devices the line speaks in closed turns, too."""
        handlers, poll = self._handlers, self._epoll.poll
        self._flush()
        while not self._waits:
            ready = poll(GLANCE_SECONDS)
            if not ready:
                self._patience.check(self._calendar.now)
            for descriptor, _ in ready:
                handlers[descriptor]()
            if self._out:
                self._flush()

    # -- what its devices ask for (vhost.Owner) ----------------------------------------------------

    def watch(self, device: Device, connected: socket.socket) -> None:
        """See `Owner.watch`."""
        self._watch(connected.fileno(), partial(self._converse, device, connected.fileno()))

    def wants(self, device: Device) -> None:
        """See `Owner.wants`: its turn is now, after the events of this moment."""
        self._wanting.add(device.number)
        if self._waits:
            self.request = self._calendar.now

    def catch_up(self) -> None:
        """See `Owner.catch_up`. Kernels with the shared page leave their time there."""
        if self.shared:
            self._advance(self._page.now)

    def look_ahead(self) -> None:
        """See `Owner.look_ahead`. A guest without the page must have acknowledged the new limit
        before its kick is answered, or it sees that answer first.
        """
        if self._waits:
            return
        limit = self._calendar.now if self._wanting else self._calendar.due
        if limit >= self._free_until:
            return
        self._free_until = limit
        if self.shared:
            self._page.limit(limit - self.behind)
            return
        self._say(Operation.FREE_UNTIL, limit)
        while self._unacknowledged:
            self._hear()

    def interrupt(self, channel: socket.socket, ring: int) -> None:
        """See `Owner.interrupt`."""
        self._calls.append((channel, ring))

    # -- interrupts --------------------------------------------------------------------------------

    def _interrupt_sharing(self, channel: socket.socket, ring: int) -> None:
        """A guest with the page takes the time from there, and leaves its wish to run."""
        self._page.hold(self._calendar.now - self.behind, NEVER)
        channel.send(call(ring, reply=True))
        self._take_reply(channel)
        self._note_request()

    def _interrupt_unasked(self, calls: Sequence[tuple[socket.socket, int]]) -> None:
        """The same for a guest in its idle loop, with nobody waiting for what it says: it wishes to
        run now, which limits it (time_travel_ext_update_request in arch/um/kernel/time.c). So its
        first turn takes it out of the idle loop only, and it waits for another, to take them. Both
        are sent behind the calls (see `_interrupt_foretelling`). The page is written before: the
        machine may let the guest go on in the midst of this.
        """
        now = self._calendar.now
        self._page.let_run(now - self.behind, now - self.behind)
        for channel, ring in calls:
            channel.send(call(ring, reply=False))
        self._asked, self._turns = now, 2

    def _interrupt(self, channel: socket.socket, ring: int) -> None:
        """A guest without the page asks for the time, and perhaps to run now: not when it has asked
        for this moment already, and then only its reply to the call tells that it is done. It must
        be: RUN in the midst of its questions would be lost.
        """
        self._flush()
        descriptor = channel.fileno()
        if descriptor in self._left:
            self._take_reply(channel)
        questions = self._questions
        channel.send(call(ring, reply=True))
        while self._questions == questions:
            self._hear()
        self._flush()
        self._left.add(descriptor)
        if self._speaks_before_reply(channel):
            self._hear()
            self._flush()

    def _interrupt_foretelling(self, channel: socket.socket, ring: int) -> None:
        """The last interrupt before a turn, with the answers to both questions, whose numbers are
        known, right behind it, and RUN behind those: one change of process instead of three.

        The signal of the call reaches the guest before it can read what was sent after it, the
        answer to WAIT excepted, behind which it looks for signals (unblock_signals_hard). An answer
        to a question that it does not ask is passed over while it waits (time_travel_ext_wait in
        arch/um/kernel/time.c).
        """
        channel.send(call(ring, reply=False))
        self._asked = self._calendar.now
        self._foretold = self._heard + 2
        self._out += MESSAGE.pack(_ACK, self._heard + 1, self._calendar.now - self.behind)
        self._out += MESSAGE.pack(_ACK, self._heard + 2, 0)

    def _speaks_before_reply(self, channel: socket.socket) -> bool:
        """Wait for a message of the guest's or its reply on a channel; whether a message came."""
        assert self._socket is not None
        descriptor = channel.fileno()
        if descriptor not in self._replies:
            self._replies[descriptor] = poll = select.poll()
            for each in (self._socket, channel):
                poll.register(each, select.POLLIN)
        while not (ready := self._replies[descriptor].poll(1000 * GLANCE_SECONDS)):
            self._patience.check(self._calendar.now)
        return any(each != descriptor for each, _ in ready)

    def _take_reply(self, channel: socket.socket) -> None:
        while True:
            try:
                reply = channel.recv(CALL_REPLY_BYTES, socket.MSG_WAITALL)
            except BlockingIOError:
                self._patience.check(self._calendar.now)
                continue
            if not reply:
                raise self._lost(f"{self.name}: its kernel ended at {self._calendar.now} ns")
            return

    # -- messages ----------------------------------------------------------------------------------

    def _hear(self) -> bool:
        """Read what the guest says; what must be said to it before is said. Returns whether it said
        something.

        Raises:
            GuestError: it is gone.
        """
        assert self._socket is not None
        self._flush()
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            self._patience.check(self._calendar.now)
            return False
        except ConnectionError:
            data = b""
        if not data:
            raise self._lost(f"{self.name}: its kernel ended at {self._calendar.now} ns")
        while rest := len(data) % MESSAGE.size:
            data += self._socket.recv(MESSAGE.size - rest, socket.MSG_WAITALL)
        for operation, sequence, time in MESSAGE.iter_unpack(data):
            if operation == _ACK:
                self._unacknowledged -= 1
                self._foretold = 0
                continue
            self._heard = sequence
            if sequence <= self._foretold and operation in (_GET, _REQUEST):
                self._answer(operation, time)
            elif operation == _WAIT and self._wait():
                continue
            elif operation == Operation.START:
                self._greet(sequence)
            else:
                self._out += MESSAGE.pack(_ACK, sequence, self._answer(operation, time))
        return True

    def _wait(self) -> bool:
        """The guest waits; returns whether it does so by the page, which takes no answer."""
        self._waits, self._turns = self._turns == 1, 1
        self.shared = self._page.used
        if self.shared:
            self._note_request()
        return self.shared

    def _greet(self, sequence: int) -> None:
        """The answer to START hands over the page; kernels before 6.11 do not take it."""
        assert self._socket is not None
        answer = MESSAGE.pack(_ACK, sequence, self._page.number)
        socket.send_fds(self._socket, [answer], self._page.descriptors)

    def _answer(self, operation: int, time: int) -> int:
        if operation == _REQUEST:
            self.request = self._asked = time + self.behind
        elif operation == _GET:
            self._questions += 1
            return self._calendar.now - self.behind
        elif operation == Operation.UPDATE:
            self._advance(time)
        elif operation == Operation.GET_TOD:
            return EPOCH + self._calendar.now
        elif operation != _WAIT:
            raise ProtocolError(f"{self.name}: unknown message {operation} of a kernel in virtual time")
        return 0

    def _advance(self, time: int) -> None:
        """The guest, who runs, is as late as this by its clock."""
        now, time = self._calendar.now, time + self.behind
        if time < now or now < time >= self._free_until:
            raise ProtocolError(
                f"{self.name}: goes from {now} ns to {time} ns; it may run until {self._free_until} ns"
            )
        self._calendar.now = time

    def _note_request(self) -> None:
        request = self._page.request
        if request is not None:
            self.request = self._asked = request + self.behind

    def _say(self, operation: Operation, time: int) -> None:
        """A time of the calendar's, to be acknowledged."""
        self._sequence += 1
        self._unacknowledged += 1
        self._out += MESSAGE.pack(operation, self._sequence, time - self.behind)

    def _flush(self) -> None:
        if self._out and self._socket is not None:
            try:
                self._socket.send(self._out)
            except ConnectionError:
                raise self._lost(f"{self.name}: its kernel ended at {self._calendar.now} ns") from None
            self._out.clear()

    # -- descriptors -------------------------------------------------------------------------------

    def _watch(self, descriptor: int, handler: Callable[[], object]) -> None:
        """Call `handler` when this descriptor can be read while the guest runs openly."""
        self._handlers[descriptor] = handler
        self._epoll.register(descriptor, select.EPOLLIN)

    def _unwatch(self, descriptor: int) -> None:
        del self._handlers[descriptor]
        self._epoll.unregister(descriptor)

    def _connect(self, device: Device, listener: int) -> None:
        self._unwatch(listener)
        device.accept()

    def _converse(self, device: Device, descriptor: int) -> None:
        if not device.hear():
            self._unwatch(descriptor)
