"""Frames out of a packet socket in batches, at a rate or as fast as possible; packet(7),
sendmmsg(2).
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20  # linux/if_packet.h
_PR_SET_TIMERSLACK = 29  # linux/prctl.h
# struct mmsghdr and struct iovec on a 64-bit machine, in words of 8 bytes
_HEADER_WORDS, _IOVEC_WORDS = 8, 2
_MSG_IOV, _MSG_IOVLEN = 2, 3  # words of struct mmsghdr
_BASE, _LENGTH = 0, 1  # words of struct iovec

BATCH = 256
"""Frames in one system call at most."""

PACE = 0.0005
"""Seconds of packets in one batch when a rate is held."""

LATE = 0.001
"""A packet later than this many seconds counts as late."""

GRACE = 0.1
"""Seconds after the end of its time that a paced sender has for what it is behind with."""

_HEAD_START = 0.01
_LONGEST_SLEEP = 0.05
_BUFFER = 1 << 22
_PATIENCE = 2.0  # seconds of nothing but refusals, after which a sender gives up
_TRANSIENT = (errno.ENOBUFS, errno.EAGAIN, errno.EINTR, errno.ENOMEM)

_libc = ctypes.CDLL(None, use_errno=True)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


def open_socket(interface: str) -> socket.socket:
    """A packet socket that sends out of an interface, past its queueing discipline where the kernel
    allows it, and receives nothing.
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((interface, 0))
    sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return sock


@dataclass
class Tally:
    """What one thread has sent; times are readings of CLOCK_MONOTONIC in seconds."""

    sent: int = 0
    late: int = 0
    worst_late: float = 0.0
    ended: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)


class Sender:
    """Sends slots of a buffer, one after the other and again from the beginning.

    The threads take batches in turn; batch k of a paced sender is due at k times its length divided
    by the rate, whatever was late before, so that the rate holds on the average as long as the
    machine keeps up at all.
    """

    def __init__(
        self,
        interface: str,
        buffer: NDArray[np.uint8],
        lengths: list[int],
        stride: int,
        count: int | None,
        rate: float | None,
        seconds: float,
        workers: int,
    ) -> None:
        """
        Args:
            buffer: slots of `stride` bytes, each beginning with a frame, whose lengths are
                `lengths` in turn.
            count: frames to send; None: until the time is over.
            rate: frames a second; None: as fast as possible.
            seconds: after which it ends.
            workers: threads.
        """
        # the buffer must live as long as its address is used
        self._buffer, self._stride = buffer, stride
        self._lengths = np.array(lengths, np.uint64)
        self._slots = buffer.size // stride
        self._count = count if count is not None else 1 << 62
        self._rate, self._seconds = rate, seconds
        self._batch = BATCH if rate is None else max(1, min(BATCH, round(rate * PACE)))
        self._batches = itertools.count()
        self._sockets = [open_socket(interface) for _ in range(workers)]
        self._tallies = [Tally() for _ in range(workers)]
        self._failure: OSError | None = None
        self.stopping = threading.Event()
        self.began = 0.0

    def run(self) -> Tally:
        """Send; returns when everything was sent, the time is over, or `stopping` was set.

        Raises:
            OSError: the kernel refuses for good.
        """
        _libc.prctl(
            _PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0
        )  # inherited by the threads: sleeps end on time
        self.began = time.monotonic() + _HEAD_START
        threads = [
            threading.Thread(target=self._work, args=pair)
            for pair in zip(self._sockets, self._tallies, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for sock in self._sockets:
            sock.close()
        if self._failure is not None:
            raise self._failure
        errors: Counter[str] = Counter()
        for tally in self._tallies:
            errors += tally.errors
        return Tally(
            sum(tally.sent for tally in self._tallies),
            sum(tally.late for tally in self._tallies),
            max(tally.worst_late for tally in self._tallies),
            max(tally.ended for tally in self._tallies),
            errors,
        )

    def _work(self, sock: socket.socket, tally: Tally) -> None:
        try:
            self._send_batches(sock, tally)
        except OSError as error:
            self._failure = error
            self.stopping.set()

    def _send_batches(self, sock: socket.socket, tally: Tally) -> None:
        iovecs = np.zeros((self._batch, _IOVEC_WORDS), np.uint64)
        headers = np.zeros((self._batch, _HEADER_WORDS), np.uint64)
        steps = np.arange(self._batch, dtype=np.uint64)
        headers[:, _MSG_IOV] = np.uint64(iovecs.ctypes.data) + steps * np.uint64(iovecs.strides[0])
        headers[:, _MSG_IOVLEN] = 1
        iovecs[:, _LENGTH] = self._lengths[0]
        origin, stride, slots = (
            np.uint64(self._buffer.ctypes.data),
            np.uint64(self._stride),
            np.uint64(self._slots),
        )
        deadline = self.began + self._seconds + (GRACE if self._rate else 0.0)
        self._wait(self.began)
        while not self.stopping.is_set():
            first = next(self._batches) * self._batch
            size = min(self._batch, self._count - first)
            if size <= 0:
                return
            if self._rate:
                due = self.began + first / self._rate
                if due >= self.began + self._seconds:
                    return
                self._wait(due)
            now = time.monotonic()
            if now >= deadline or self.stopping.is_set():
                return
            if self._rate and (behind := now - due) > 0:
                tally.worst_late = max(tally.worst_late, behind)
                tally.late += size if behind > LATE else 0
            which = (steps + np.uint64(first % self._slots)) % slots
            iovecs[:, _BASE] = origin + which * stride
            if len(self._lengths) > 1:
                iovecs[:, _LENGTH] = self._lengths[which % np.uint64(len(self._lengths))]
            self._send(sock, headers, size, tally)
            tally.ended = time.monotonic()

    def _send(self, sock: socket.socket, headers: NDArray[Any], size: int, tally: Tally) -> None:
        """Send a batch; frames that find no room are offered again."""
        done, refused = 0, 0.0
        while done < size and not self.stopping.is_set():
            sent = _sendmmsg(sock.fileno(), headers.ctypes.data + done * headers.strides[0], size - done, 0)
            if sent > 0:
                done, refused = done + sent, 0.0
                tally.sent += sent
                continue
            problem = ctypes.get_errno()
            tally.errors[errno.errorcode.get(problem, str(problem))] += 1
            refused = refused or time.monotonic()
            if problem not in _TRANSIENT or time.monotonic() - refused > _PATIENCE:
                raise OSError(problem, f"sendmmsg: {os.strerror(problem)}")
            if problem == errno.ENOBUFS:
                time.sleep(0)  # let others run, who make room

    def _wait(self, until: float) -> None:
        while (rest := until - time.monotonic()) > 0 and not self.stopping.is_set():
            time.sleep(min(rest, _LONGEST_SLEEP))
