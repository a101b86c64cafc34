"""Capture on every link of a lab at once, stamped by the one kernel that carries all of them."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from lvslab.errors import CannotError, LabError
from lvslab.runs.pcapng import CHECKSUM_PENDING, INBOUND, OUTBOUND, PcapngWriter

_ETH_P_ALL = 3
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA = 263, 6, 8
_PACKET_OUTGOING = 4
_TP_STATUS_CSUMNOTREADY = 1 << 3  # linux/if_packet.h
_BUFFER = 8 << 20
_MAX_FRAME = 1 << 17
_STAMPS_SECONDS, _LOOK_SECONDS = 30.0, 0.002


class Capture:
    """A capture of a set of links, as a context manager; the file is complete when the block is
    left.

    Links are tapped at the switch's end, in the namespace of the calling thread; a frame that comes
    out of the switch towards a node is recorded as received by the node's interface, one that goes
    in as sent by it.

    Attributes:
        frames: how many were captured so far.
        lost: how many the kernel could not deliver, known after the block.
    """

    def __init__(self, path: Path, taps: Mapping[str, str]) -> None:
        """`taps`: switch-side interface → name of the node's interface at the other end."""
        self._path, self._taps = path, dict(taps)
        self.frames = self.lost = 0
        self._last = time.monotonic()
        self._sockets: list[socket.socket] = []
        self._wake_read, self._wake_write = -1, -1
        self._error: OSError | None = None

    def __enter__(self) -> Capture:
        with ExitStack() as stack:
            for interface in self._taps:
                self._sockets.append(stack.enter_context(_tap(interface)))
            _await_stamps()
            self._writer = stack.enter_context(PcapngWriter(self._path, list(self._taps.values())))
            self._wake_read, self._wake_write = os.pipe()
            stack.callback(os.close, self._wake_read)
            stack.callback(os.close, self._wake_write)
            self._thread = threading.Thread(target=self._collect, name="capture", daemon=True)
            self._thread.start()
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            os.write(self._wake_write, b"x")
            self._thread.join()
            for sock in self._sockets:
                self.lost += struct.unpack("II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
        if self._error and error is None:
            raise LabError(
                f"{self._path}: {self._error.strerror}; the capture is incomplete: make room and run again"
            ) from self._error

    def wait_quiet(self, at_work: Callable[[], bool], quiet: float = 0.05, timeout: float = 5.0) -> None:
        """Wait until no frame has come for `quiet` seconds and no guest is at work, at most
        `timeout` seconds: on a busy machine one waits longer for a processor than that, and has a
        packet to pass on.

        Args:
            at_work: whether a guest has something to do.
        """
        deadline = time.monotonic() + timeout
        while (now := time.monotonic()) < deadline:
            rest = self._last + quiet - now
            if rest <= 0 and not at_work():
                return
            time.sleep(max(rest, _LOOK_SECONDS))

    def _collect(self) -> None:
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        numbers = {}
        for number, sock in enumerate(self._sockets):
            poller.register(sock, select.POLLIN)
            numbers[sock.fileno()] = number
        ending = False
        while not ending:
            ready = [descriptor for descriptor, _ in poller.poll()]
            ending = self._wake_read in ready
            # At the end every socket is emptied, so that nothing that was on the wire before is
            # missing.
            batch: list[tuple[int, int, bytes, int, str]] = []
            for number in range(len(self._sockets)) if ending else [numbers[each] for each in ready]:
                self._drain(number, batch)
            batch.sort(key=lambda frame: frame[1])
            try:
                for frame in batch:
                    self._writer.write(*frame)
            except OSError as error:
                self._error = self._error or error
            if batch:
                self.frames += len(batch)
                self._last = time.monotonic()

    def _drain(self, number: int, batch: list[tuple[int, int, bytes, int, str]]) -> None:
        sock = self._sockets[number]
        while True:
            try:
                data, ancillary, _, address = sock.recvmsg(_MAX_FRAME, 128)
            except BlockingIOError:
                return
            except OSError:  # the interface has gone with its node
                return
            stamp, pending = _stamp(ancillary), False
            for level, kind, value in ancillary:
                if level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                    pending = bool(struct.unpack_from("I", value)[0] & _TP_STATUS_CSUMNOTREADY)
            direction = INBOUND if address[2] == _PACKET_OUTGOING else OUTBOUND
            batch.append((number, stamp, data, direction, CHECKSUM_PENDING if pending else ""))


def _stamp(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """Nanoseconds since the epoch: the kernel's time stamp of a message, else now."""
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", value)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


def _await_stamps() -> None:
    """Wait until the kernel stamps frames as they pass, which a socket has asked it to.

    It begins so in a work of its own (`net_enable_timestamp`, net/core/dev.c), on a busy machine
    tenths of a second later. Until then a frame bears the time at which it is read, and those of
    several links stand in the wrong order. Where the loopback interface carries nothing, this
    cannot be seen, and is not waited for.

    Raises:
        LabError: it has not begun in time.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.settimeout(1.0)
        deadline = time.monotonic() + _STAMPS_SECONDS
        try:
            sock.bind(("127.0.0.1", 0))
            sock.connect(sock.getsockname())
            while not stamps_on_arrival(sock, sock):
                if time.monotonic() > deadline:
                    raise LabError(
                        f"capture: the kernel stamps no frames within {_STAMPS_SECONDS:g} s; run again"
                    )
                time.sleep(_LOOK_SECONDS)
        except OSError:
            return


def stamps_on_arrival(sender: socket.socket, receiver: socket.socket) -> bool:
    """Whether a message bears the time at which it came, and not the one at which it is read."""
    sender.send(b"?")
    sent = time.time_ns()
    return _stamp(receiver.recvmsg(1, 128)[1]) <= sent


def _tap(interface: str) -> socket.socket:
    """A socket that hears all frames of an interface."""
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise CannotError(
            f"capture on {interface}: no permission for packet sockets; run inside the lab's sandbox"
        ) from error
    # beyond the limit as root, else up to it
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            break
        except PermissionError:
            continue
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    sock.bind((interface, _ETH_P_ALL))
    sock.setblocking(False)
    return sock
