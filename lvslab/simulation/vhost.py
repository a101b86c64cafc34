"""Virtio devices behind a socket: the back end's side of vhost-user, as the driver of User-Mode
Linux speaks it (arch/um/drivers/virtio_uml.c; QEMU's docs/interop/vhost-user.rst).

Notifications travel in band (VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS): a guest kicks with a
message and waits for its answer; it is interrupted with a message on the channel that it handed
over. Two rings a device: 0 to the guest, 1 from it.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from abc import ABC, abstractmethod
from enum import IntEnum
from pathlib import Path
from typing import ClassVar, Protocol

from lvslab.simulation.errors import ProtocolError
from lvslab.simulation.rings import Ring


class Request(IntEnum):
    """Messages of the driver's that say something here; others are acknowledged."""

    GET_FEATURES = 1
    SET_MEM_TABLE = 5
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_PROTOCOL_FEATURES = 15
    SET_VRING_ENABLE = 18
    SET_BACKEND_REQ_FD = 21
    GET_CONFIG = 24
    VRING_KICK = 35


_HEADER = struct.Struct("<III")  # request, flags, size
_STATE = struct.Struct("<II")  # index, number
_ADDRESSES = struct.Struct("<IIQQQQ")  # index, flags, descriptors, used, available, log
_REGION = struct.Struct("<QQQQ")  # guest's address, size, driver's address, offset in the file
_CONFIG = struct.Struct("<III")  # offset, size, flags
_U64 = struct.Struct("<Q")
_VERSION, _REPLY, _NEED_REPLY = 1, 4, 8
_PROTOCOL = sum(1 << bit for bit in (3, 5, 9, 14))  # REPLY_ACK, BACKEND_REQ, CONFIG, INBAND_NOTIFICATIONS
_MOST_DESCRIPTORS = 8

F_PROTOCOL_FEATURES = 1 << 30
F_VERSION_1 = 1 << 32

_VRING_CALL = 4
_CALL = struct.Struct("<IIIII")


def call(ring: int, reply: bool) -> bytes:
    """What interrupts a guest.

    Args:
        reply: whether it is to say when it knows.
    """
    return _CALL.pack(_VRING_CALL, _VERSION | (_NEED_REPLY if reply else 0), _STATE.size, ring, 0)


CALL_REPLY_BYTES = _HEADER.size + _U64.size

IN, OUT = 0, 1

GLANCE_SECONDS = 0.05
"""After which a reader looks whether the guest still lives, or whether something else has come."""


def read_patiently(connection: socket.socket) -> None:
    """Let reading raise BlockingIOError after a glance's time, and not wait for ever."""
    timeout = struct.pack("ll", *divmod(round(GLANCE_SECONDS * 1e6), 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)


class Owner(Protocol):
    """The guest that a device belongs to, as the device sees it.

    Attributes:
        name: for messages.
    """

    name: str

    def watch(self, device: Device, connected: socket.socket) -> None:
        """Its driver has connected: call `Device.hear` when it says something."""

    def catch_up(self) -> None:
        """The guest, who runs, has a message for its device: it is as late as the guest is."""

    def look_ahead(self) -> None:
        """What the guest has sent may have entered something that is due before it comes back."""

    def wants(self, device: Device) -> None:
        """Call `Device.hand_over` when the guest does not run: there is something for it."""

    def interrupt(self, channel: socket.socket, ring: int) -> None:
        """Interrupt the guest, which does not run, before its turn."""


class Device(ABC):
    """A device with two rings.

    Attributes:
        owner: the guest that has it now.
        number: its place among the guest's devices.
        connected: the guest's driver has it in use.
        kicks, calls: how often the guest told the device, and the device the guest.
        dropped: packets that found no room in the guest.
    """

    kind: ClassVar[int]
    """Virtio's number of this kind of device."""
    header: ClassVar[bytes] = b""
    """What stands before each packet."""
    features: ClassVar[int] = F_PROTOCOL_FEATURES | F_VERSION_1
    needs_kicks: ClassVar[bool] = False
    """Its driver waits for each buffer to come back, so it must always be let tell."""

    def __init__(self, config: bytes = b"") -> None:
        """
        Args:
            config: its configuration space.
        """
        self.number = 0
        self.owner: Owner | None = None
        self.kicks = self.calls = self.dropped = 0
        self._config = config
        self._path = Path()
        self._listener: socket.socket | None = None
        self._reset()

    def _reset(self) -> None:
        self.connected = False
        self._rings = (Ring(), Ring())
        self._memory: memoryview | None = None
        self._base = 0
        self._channel: socket.socket | None = None
        self._driver: socket.socket | None = None
        self._kicks_wanted = True
        self._returned = False
        self._waiting: list[bytes] = []

    # -- its guest comes and goes ------------------------------------------------------------------

    def open(self, path: Path, owner: Owner, number: int) -> socket.socket:
        """Wait for the driver of a guest that boots; returns what it will connect to.

        Args:
            path: of its socket.
            number: its place among the owner's devices.
        """
        self._path, self.owner, self.number = path, owner, number
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        return self._listener

    def accept(self) -> None:
        """Its driver connects."""
        assert self._listener is not None and self.owner is not None
        self._driver, _ = self._listener.accept()
        self.owner.watch(self, self._driver)

    def close(self) -> None:
        """The guest is gone: nothing goes in or out any more, until another one boots."""
        for held in (self._driver, self._channel, self._listener):
            if held is not None:
                held.close()
        self.owner = self._listener = None
        self._reset()

    # -- what passes -------------------------------------------------------------------------------

    @abstractmethod
    def taken(self, packet: bytes) -> None:
        """The guest has sent a packet."""

    def give(self, packet: bytes) -> None:
        """Send the guest a packet; it has it at this moment, with all others of this moment. A
        device that is not in use drops it.
        """
        if self.owner is None or not self.connected:
            self.dropped += 1
            return
        if not self._waiting:
            self.owner.wants(self)
        self._waiting.append(packet)

    def hand_over(self) -> None:
        """Put what waits into the guest's ring and tell it, once."""
        waiting, self._waiting = self._waiting, []
        owner, channel = self.owner, self._channel
        if owner is None or channel is None or not self.connected:
            return
        ring, header = self._rings[IN], self.header
        put = [ring.put(header + packet) for packet in waiting]
        self.dropped += put.count(False)
        if put and ring.wants_interrupts:
            self.calls += 1
            owner.interrupt(channel, IN)
        if self._returned:
            self._returned = False
            self.calls += 1
            owner.interrupt(channel, OUT)

    def collect(self) -> None:
        """Take what the guest has put in."""
        ring = self._rings[OUT]
        packets = ring.take()
        if not packets:
            return
        skip = len(self.header)
        if ring.wants_interrupts and not self._returned:
            self._returned = True
            if self.owner is not None:
                self.owner.wants(self)
        for packet in packets:
            self.taken(packet[skip:])

    def want_kicks(self, wanted: bool) -> None:
        """Whether the guest tells at once when it has put something in."""
        if wanted is not self._kicks_wanted and self.connected and not self.needs_kicks:
            self._kicks_wanted = wanted
            self._rings[OUT].want_kicks(wanted)

    # -- what the driver says ----------------------------------------------------------------------

    def hear(self) -> bool:
        """Take one message and answer it; returns whether there was one.

        Raises:
            ProtocolError: it is none that a kernel in virtual time says.
        """
        assert self._driver is not None and self.owner is not None
        head, descriptors, _, _ = socket.recv_fds(self._driver, _HEADER.size, _MOST_DESCRIPTORS)
        if len(head) < _HEADER.size:
            return False
        request, flags, size = _HEADER.unpack(head)
        payload = self._driver.recv(size, socket.MSG_WAITALL) if size else b""
        try:
            answer = self._answer(request, payload, descriptors)
        except (struct.error, ValueError, IndexError, OSError) as error:
            raise ProtocolError(
                f"{self.owner.name}: {self._path.name}: cannot be set up as its driver says (request"
                f" {request}): {error}"
            ) from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if answer is not None:
            self._driver.send(_HEADER.pack(request, _VERSION | _REPLY, len(answer)) + answer)
        elif flags & _NEED_REPLY:
            self._driver.send(_HEADER.pack(request, _VERSION | _REPLY, _U64.size) + _U64.pack(0))
        return True

    def _answer(self, request: int, payload: bytes, descriptors: list[int]) -> bytes | None:
        """What to reply to a message, or None where its reception is all."""
        match request:
            case Request.VRING_KICK:
                self._kick(payload[0])
            case Request.GET_FEATURES:
                return _U64.pack(self.features)
            case Request.GET_PROTOCOL_FEATURES:
                return _U64.pack(_PROTOCOL)
            case Request.GET_CONFIG:
                offset, length, flags = _CONFIG.unpack_from(payload)
                space = self._config.ljust(offset + length, b"\0")[offset : offset + length]
                return _CONFIG.pack(offset, length, flags) + space
            case Request.SET_MEM_TABLE:
                self._map(payload, descriptors)
            case Request.SET_BACKEND_REQ_FD:
                self._channel = socket.socket(fileno=os.dup(descriptors[0]))
                read_patiently(self._channel)
            case Request.SET_VRING_NUM:
                index, size = _STATE.unpack(payload)
                self._rings[index].size = size
            case Request.SET_VRING_BASE:
                index, start = _STATE.unpack(payload)
                self._rings[index].start_at(start)
            case Request.SET_VRING_ADDR:
                self._place(payload)
            case Request.SET_VRING_ENABLE:
                self._enable(bool(_STATE.unpack(payload)[1]))
        return None

    def _kick(self, ring: int) -> None:
        assert self.owner is not None
        self.kicks += 1
        self.owner.catch_up()
        if ring == OUT:
            self.collect()
            self.owner.look_ahead()

    def _map(self, payload: bytes, descriptors: list[int]) -> None:
        regions = _STATE.unpack_from(payload)[0]
        if regions != 1:
            raise ValueError(f"memory of {regions} regions; give the guest less memory")
        address, size, _, offset = _REGION.unpack_from(payload, _STATE.size)
        self._memory = memoryview(mmap.mmap(descriptors[0], offset + size))
        self._base = offset - address

    def _place(self, payload: bytes) -> None:
        index, _, descriptors, used, available, _ = _ADDRESSES.unpack(payload)
        if self._memory is None:
            raise ValueError("rings without memory")
        self._rings[index].place(self._memory, self._base, descriptors, available, used)

    def _enable(self, enabled: bool) -> None:
        self.connected = enabled
        if enabled:
            self._rings[IN].want_kicks(False)
            self._kicks_wanted = True
            self._rings[OUT].want_kicks(True)
