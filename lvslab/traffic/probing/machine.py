"""The machine under the prober: its clock, a timer, and its priority."""

from __future__ import annotations

import ctypes
import os
import time

SECOND = 1_000_000_000
"""All times in here are integers in nanoseconds."""

now = time.monotonic_ns


class _TimerSpec(ctypes.Structure):
    """struct itimerspec on a 64-bit machine: interval and value, each in seconds and
    nanoseconds.
    """

    _fields_ = [
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    ]


class Timer:
    """A timerfd(2), which Python 3.11 does not wrap: epoll's own timeout is rounded up to whole
    milliseconds.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._settime, self._spec, self._at = libc.timerfd_settime, _TimerSpec(), 0
        self._arguments = (self.fd, 1, ctypes.byref(self._spec), None)  # 1: TFD_TIMER_ABSTIME

    def set(self, at: int) -> None:
        """Become readable at a time of CLOCK_MONOTONIC; a time in the past: at once."""
        if at != self._at:
            self._at = at
            self._spec.value_s, self._spec.value_ns = divmod(at, SECOND)
            self._settime(*self._arguments)

    def ready(self, mask: int) -> None:
        """It went off; the loop looks at the clock anyway. Setting it anew makes it unreadable, so
        it need not be read.
        """
        self._at = 0


def prefer_me() -> str:
    """Ask for prompt wake-ups; returns what was granted: "fifo" (real time), "nice" (higher
    priority) or "normal".
    """
    libc = ctypes.CDLL(None)
    libc.prctl(29, ctypes.c_ulong(1), 0, 0, 0)  # PR_SET_TIMERSLACK: 1 ns instead of 50 µs
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return "fifo"
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        return "nice"
    except OSError:
        return "normal"


def epoch_offset() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the quickest of some readings."""
    best, offset = SECOND, 0
    for _ in range(20):
        before, real, after = now(), time.time_ns(), now()
        if after - before < best:
            best, offset = after - before, real - (before + after) // 2
    return offset
