"""Waking a User-Mode Linux guest that sleeps although something has come for it.

The idle loop of such a kernel enters `os_idle_sleep` (arch/um/os-Linux/time.c) with its interrupts
softly off: the handler of a SIGIO that comes now only notes the signal in `signals_pending`
(arch/um/os-Linux/signal.c), and `sigsuspend` then sleeps until another one comes. Nobody looks at
the note before, so a frame or a line that came in that instant waits for the guest's next timer. A
tick bounds the wait to some milliseconds; without one it was up to half a second, once in some
seventy requests.

From outside the case is plain to see: something can be read from a socket of the guest, and its
process sleeps. A second SIGIO wakes it. One too many does no harm: its handler asks which sockets
are ready, and finds none.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

PATIENCE = 0.001
"""Seconds that a guest gets to take what has come for it; far more than one that is awake needs."""

_LONGEST_PAUSE = 0.1
"""Seconds between two looks at a guest that does not take what is there."""


class Waker:
    """Watches sockets of one guest until it is closed. Costs nothing while nothing comes.

    Attributes:
        calls: how often it called the guest.
        unheard: how many of the calls found the guest in the sleep that it had been called out of
            before.
    """

    def __init__(self, name: str, pid: int, wake: Callable[[], object]) -> None:
        """`pid`: the guest's kernel; `wake` sends it SIGIO."""
        self._wake, self.calls, self.unheard = wake, 0, 0
        self._state = os.open(Path(f"/proc/{pid}/status"), os.O_RDONLY | os.O_CLOEXEC)
        self._arrivals = select.epoll()
        self._unread = select.poll()
        self._end, self._ends = os.pipe()
        self._arrivals.register(self._end, select.EPOLLIN)
        self._sockets: dict[int, int] = {}
        self._lock = threading.Lock()
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"waker-{name}", daemon=True)
        self._thread.start()

    def watch(self, sockets: Iterable[tuple[int, int]]) -> None:
        """Take further sockets.

        Args:
            sockets: each its number on the machine, and a descriptor, which is the waker's from
                now on.
        """
        with self._lock:
            for inode, descriptor in sockets:
                if self._over or inode in self._sockets:
                    os.close(descriptor)
                    continue
                self._sockets[inode] = descriptor
                # once for what comes, not as long as it lies there: the guest may be busy for long
                self._arrivals.register(descriptor, select.EPOLLIN | select.EPOLLET)

    def close(self) -> None:
        """Stop watching, and let the sockets go; again: nothing happens."""
        with self._lock:
            over, self._over = self._over, True
        if over:
            self._thread.join()
            return
        os.write(self._ends, b"!")
        self._thread.join()
        self._arrivals.close()
        for descriptor in (self._state, self._end, self._ends, *self._sockets.values()):
            os.close(descriptor)

    def _run(self) -> None:
        waiting: set[int] = set()
        called_out_of: int | None = None
        pause = PATIENCE
        while True:
            arrived = {descriptor for descriptor, _ in self._arrivals.poll(pause if waiting else None)}
            if self._end in arrived:
                return
            if arrived:
                waiting |= arrived
                pause = PATIENCE
                time.sleep(PATIENCE)
            waiting = {descriptor for descriptor in waiting if self._can_be_read(descriptor)}
            if waiting and (sleep := self._sleep()) is not None:
                self._wake()
                self.calls += 1
                self.unheard += sleep == called_out_of
                called_out_of = sleep
            if not arrived:
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _can_be_read(self, descriptor: int) -> bool:
        self._unread.register(descriptor, select.POLLIN)
        ready = self._unread.poll(0)
        self._unread.unregister(descriptor)
        return any(events & select.POLLIN for _, events in ready)

    def _sleep(self) -> int | None:
        """Which of its sleeps the guest's kernel is in, or None where it runs, stands still or has
        ended: "S" and the voluntary context switches in proc_pid_status(5).

        What lies in a socket tells less: on a busy machine it may be another frame already.
        """
        try:
            status = os.pread(self._state, 4096, 0)
        except OSError:  # it has ended
            return None
        fields = dict(line.split(b":\t", 1) for line in status.splitlines() if b":\t" in line)
        if not fields[b"State"].startswith(b"S"):
            return None
        return int(fields[b"voluntary_ctxt_switches"])
