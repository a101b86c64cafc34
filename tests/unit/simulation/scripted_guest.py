"""The other side of everything: a script in place of a kernel, in a thread of its own.

It speaks the time-travel protocol and drives virtio devices as arch/um/kernel/time.c and
arch/um/drivers/virtio_uml.c do, as far as the calendar can see.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

from lvslab.simulation.calendar import NEVER
from lvslab.simulation.timetravel import MESSAGE, Operation

_HEADER = struct.Struct("<III")
_CALL_BYTES = 20
_MEMORY_BYTES = 1 << 16
_SIZE = 8
_GUEST_ADDRESS = 0x6000_0000  # of the memory's beginning
_OFFSET = 4096  # in the file
_BUFFER = 2048


class Queue:
    """The driver's side of one ring."""

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self._memory = memory
        self.descriptors, self.available, self.used = start, start + 0x100, start + 0x180
        self.buffers = start + 0x200
        self.added = self.seen = 0
        self.chained = False

    def fill(self, packet: bytes | None = None) -> None:
        """Put in a buffer: a packet, or room for one."""
        head = self.added % _SIZE
        where = self.buffers + 1024 * head
        if packet is not None and self.chained:  # header and frame in parts of their own
            spare = (head + 1) % _SIZE
            self._describe(head, where, 12, flags=1, following=spare)
            self._describe(spare, where + 12, len(packet) - 12)
        else:
            self._describe(head, where, len(packet) if packet is not None else 1024)
        if packet is not None:
            self._memory[where : where + len(packet)] = packet
        struct.pack_into("<H", self._memory, self.available + 4 + 2 * head, head)
        self.added += 1
        struct.pack_into("<H", self._memory, self.available + 2, self.added & 0xFFFF)

    def _describe(self, index: int, where: int, length: int, flags: int = 0, following: int = 0) -> None:
        address = where - _OFFSET + _GUEST_ADDRESS
        struct.pack_into(
            "<QIHH", self._memory, self.descriptors + 16 * index, address, length, flags, following
        )

    def done(self) -> list[bytes]:
        """What came back since the last time."""
        packets = []
        (end,) = struct.unpack_from("<H", self._memory, self.used + 2)
        while self.seen != end:
            head, length = struct.unpack_from("<II", self._memory, self.used + 4 + 8 * (self.seen % _SIZE))
            where = self.buffers + 1024 * head
            packets.append(bytes(self._memory[where : where + length]))
            self.seen = (self.seen + 1) & 0xFFFF
        return packets

    @property
    def kicks_wanted(self) -> bool:
        return not self._memory[self.used] & 1

    def want_interrupts(self, wanted: bool) -> None:
        self._memory[self.available] = 0 if wanted else 1


class Driver:
    """A device's driver in the scripted guest."""

    def __init__(self, guest: ScriptedGuest, path: Path) -> None:
        self._guest = guest
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(str(path))
        self.here, there = socket.socketpair()
        file = os.memfd_create("memory")
        os.ftruncate(file, _OFFSET + _MEMORY_BYTES)
        self.memory = mmap.mmap(file, _OFFSET + _MEMORY_BYTES)
        self.incoming, self.outgoing = Queue(self.memory, _OFFSET), Queue(self.memory, _OFFSET + 0x4000)
        self.features = struct.unpack("<Q", self.ask(1))[0]
        self.config = self.ask(24, struct.pack("<III", 0, 6, 0) + bytes(6))[12:]
        region = struct.pack("<QQQQ", _GUEST_ADDRESS, _MEMORY_BYTES, 0, _OFFSET)
        self.tell(5, struct.pack("<II", 1, 0) + region, [file])
        self.tell(21, b"", [there.fileno()])
        for index, queue in ((0, self.incoming), (1, self.outgoing)):
            self.tell(8, struct.pack("<II", index, _SIZE))
            self.tell(10, struct.pack("<II", index, 0))
            tables = [
                place - _OFFSET + _GUEST_ADDRESS for place in (queue.descriptors, queue.used, queue.available)
            ]
            self.tell(9, struct.pack("<IIQQQQ", index, 0, *tables, 0))
        for _ in range(_SIZE):
            self.incoming.fill()
        self.outgoing.want_interrupts(False)  # as virtio_net.napi_tx=0 does
        for index in (0, 1):
            self.tell(18, struct.pack("<II", index, 1))
        there.close()
        os.close(file)

    def ask(self, request: int, payload: bytes = b"") -> bytes:
        self.socket.send(_HEADER.pack(request, 1, len(payload)) + payload)
        return self._answer()

    def tell(self, request: int, payload: bytes, descriptors: list[int] | None = None) -> None:
        message = _HEADER.pack(request, 1 | 8, len(payload)) + payload
        socket.send_fds(self.socket, [message], descriptors or [])
        assert self._answer() == bytes(8)

    def _answer(self) -> bytes:
        """While waiting for it, messages of the calendar's are looked at after the answer only
        (__time_travel_wait_readable): an answer that overtakes a limit wins.
        """
        head = self.socket.recv(_HEADER.size, socket.MSG_WAITALL)
        if not head:
            raise EOFError
        _, flags, size = _HEADER.unpack(head)
        assert flags == 1 | 4
        return self.socket.recv(size, socket.MSG_WAITALL)

    def send(self, packet: bytes) -> None:
        """Put a packet in; kick where that is wanted."""
        self.outgoing.fill(packet)
        if self.outgoing.kicks_wanted:
            self._guest.propagate()
            self.socket.send(_HEADER.pack(35, 1 | 8, 8) + struct.pack("<II", 1, 0))
            self._guest.listen_until(self.socket)
            assert self._answer() == bytes(8)


class ScriptedGuest:
    """A kernel that a function plays; it waits by `sleep`, and gets interrupts then.

    Attributes:
        time: its clock.
        log: what the calendar said to it, in order.
        shares: it uses the shared page.
        interrupted: called for each interrupt, with the driver.
    """

    def __init__(
        self, calendar: socket.socket, *, shares: bool, script: Callable[[ScriptedGuest], object]
    ) -> None:
        self.socket, self.shares, self.script = calendar, shares, script
        self.time, self.free_until = 0, 0
        self.log: list[tuple[Operation, int]] = []
        self.drivers: list[Driver] = []
        self.interrupted: Callable[[Driver], object] = lambda driver: driver.incoming.done()
        self.problem: BaseException | None = None
        self._called: list[Driver] = []
        self._sequence = 0
        self._page: mmap.mmap | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.problem:
            raise self.problem

    def _run(self) -> None:
        try:
            self._start()
            self.script(self)
        except (ConnectionError, EOFError):
            pass  # the world has ended
        except BaseException as error:
            self.problem = error
        finally:
            self.socket.close()
            for driver in self.drivers:
                driver.socket.close()
                driver.here.close()

    # -- time --------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._sequence += 1
        self.socket.send(MESSAGE.pack(Operation.START, self._sequence, 1))
        data, descriptors, _, _ = socket.recv_fds(self.socket, MESSAGE.size, 4)
        operation, sequence, number = MESSAGE.unpack(data)
        assert (operation, sequence) == (Operation.ACK, self._sequence)
        if self.shares:
            self._page = mmap.mmap(descriptors[0], os.fstat(descriptors[0]).st_size)
            self._client = 4096 + 128 * number
            self._page[self._client] = 1
        for descriptor in descriptors:
            os.close(descriptor)

    def ask(self, operation: Operation, time: int = NEVER) -> int:
        """Say something and take its answer; RUN in between would be lost."""
        self._sequence += 1
        self.socket.send(MESSAGE.pack(operation, self._sequence, time))
        while True:
            answered, sequence, value = self._read()
            if answered == Operation.ACK:
                assert sequence == self._sequence
                return value
            assert answered != Operation.RUN, "RUN in the midst of questions"
            self._obey(answered, sequence, value)

    def _read(self) -> tuple[Operation, int, int]:
        data = self.socket.recv(MESSAGE.size, socket.MSG_WAITALL)
        if not data:
            raise EOFError
        operation, sequence, time = MESSAGE.unpack(data)
        self.log.append((Operation(operation), time))
        return Operation(operation), sequence, time

    def _obey(self, operation: Operation, sequence: int, time: int) -> None:
        if operation == Operation.ACK:
            return  # to a question that was not asked
        if operation == Operation.FREE_UNTIL:
            self.free_until = time
        elif operation == Operation.RUN and not self.shares:
            self._move(time)
        if not (self.shares and operation == Operation.RUN):
            self.socket.send(MESSAGE.pack(Operation.ACK, sequence, 0))

    def _move(self, time: int) -> None:
        assert time >= self.time, f"time goes backwards {self.time} -> {time}"
        self.time = time

    def request(self, time: int) -> None:
        """When it wants to run."""
        if self._page is None:
            self.ask(Operation.REQUEST, time)
            return
        struct.pack_into("<IQ", self._page, self._client + 4, 1, time)
        if time < struct.unpack_from("<Q", self._page, 8)[0]:
            struct.pack_into("<Q", self._page, 8, time)

    @property
    def limit(self) -> int:
        """How far it may run without asking."""
        if self._page is None:
            return self.free_until
        limit: int = struct.unpack_from("<Q", self._page, 8)[0]
        return limit

    def sleep(self, until: int) -> None:
        """Let time pass: by itself as far as it may, else by waiting. An interrupt ends it."""
        if until < self.limit:
            self._move(until)
            if self._page:
                struct.pack_into("<Q", self._page, 16, until)
            return
        self.request(until)
        self.wait()

    def wait(self) -> None:
        """Wait for RUN, taking interrupts. Where it may run no longer than this moment, the first
        turn only takes it out of its idle loop: it comes back, and waits again.
        """
        self._wait_for_run()
        if self._called and self.limit <= self.time:
            self.request(self.time)
            self._wait_for_run()
        called, self._called = self._called, []
        for driver in called:
            self.interrupted(driver)

    def _wait_for_run(self) -> None:
        if self._page is None:
            self.ask(Operation.WAIT)
        else:
            self.socket.send(MESSAGE.pack(Operation.WAIT, 0, 0))
        while True:
            driver = self._next_interrupt()
            if driver is None:
                operation, sequence, time = self._read()
                self._obey(operation, sequence, time)
                if operation == Operation.RUN:
                    break
            else:
                self._take(driver)
        if self._page is not None:
            struct.pack_into("<I", self._page, self._client + 4, 0)
            self._move(struct.unpack_from("<Q", self._page, 16)[0])

    def _next_interrupt(self) -> Driver | None:
        """The driver that is called, before messages of the calendar's; waits for either."""
        ready = select.select([self.socket, *(driver.here for driver in self.drivers)], [], [])[0]
        return next((driver for driver in self.drivers if driver.here in ready), None)

    def _take(self, driver: Driver) -> None:
        data = driver.here.recv(_CALL_BYTES, socket.MSG_WAITALL)
        if not data:
            raise EOFError
        request, flags, size, _, _ = struct.unpack("<IIIII", data)
        assert (request, flags & ~8, size) == (4, 1, 8)
        if self._page is None:
            self._move(self.ask(Operation.GET))
            self.ask(Operation.REQUEST, self.time)
        else:
            self._move(struct.unpack_from("<Q", self._page, 16)[0])
            self.request(self.time)
        if flags & 8:
            driver.here.send(_HEADER.pack(request, 1 | 4, 8) + bytes(8))
        self._called.append(driver)

    def propagate(self) -> None:
        """Tell others how late it is, before they are told anything else."""
        if self._page is None:
            self.ask(Operation.UPDATE, self.time)

    def listen_until(self, other: socket.socket) -> None:
        """Obey the calendar until the other has something: that is looked at first."""
        while other not in select.select([self.socket, other], [], [])[0]:
            self._obey(*self._read())
