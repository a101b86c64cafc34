"""When a guest that has the word counts as lost: the one place of a world where real time and
processor time are looked at. They end a world; nothing in it changes by them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from lvslab.simulation.errors import GuestHangsError, GuestSpinsError

BUSY_SECONDS = 20.0
"""Of processor time within one turn: a guest that takes them computes without end. Booting takes
less than one.
"""

SILENT_SECONDS = 60.0
"""Of real time without any processor time: a guest that is not let run by a busy machine gets some
of each second.
"""

_NOTHING = 0.02
"""Seconds of processor time that count as none: two of the clock's ticks."""


class Patience(Protocol):
    """Watches over a guest that does not answer."""

    def begin(self) -> None:
        """The guest has the word."""

    def check(self, now: int) -> None:
        """It still has.

        Raises:
            GuestError: it will not give it back.
        """


class ProcessPatience:
    """Watches over the processes of a guest."""

    def __init__(
        self,
        name: str,
        processor_seconds: Callable[[], float],
        busy: float = BUSY_SECONDS,
        silent: float = SILENT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            name: of the guest, for messages.
            processor_seconds: that its processes have used so far.
        """
        self._name, self._used, self._clock = name, processor_seconds, clock
        self._busy, self._silent = busy, silent
        self._began: float | None = None
        self._last = self._moved = 0.0

    def begin(self) -> None:
        """See `Patience.begin`."""
        self._began = None

    def check(self, now: int) -> None:
        """See `Patience.check`."""
        used, clock = self._used(), self._clock()
        if self._began is None:
            self._began = self._last = used
            self._moved = clock
        if used - self._began >= self._busy:
            raise GuestSpinsError(
                f"{self._name}: has computed for {used - self._began:.0f} s of processor time within one"
                f" moment, at {now} ns: a program in it waits in a loop without a system call, or for a"
                " clock that only moves when it sleeps"
            )
        if used - self._last > _NOTHING:
            self._last, self._moved = used, clock
        if clock - self._moved >= self._silent:
            raise GuestHangsError(
                f"{self._name}: neither computes nor answers, for {clock - self._moved:.0f} s, at {now} ns;"
                " its process may be stopped, or waits for something of the machine's"
            )
