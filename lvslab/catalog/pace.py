"""How far a long work is, and the time that it will still take at the pace so far."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 20.0


class Pace:
    """Watches the share that is done; gives words every `step` of the whole, or every 20 s where
    the work is slow.
    """

    def __init__(self, step: float = 0.1, clock: Callable[[], float] = time.monotonic) -> None:
        """The work begins now."""
        self._step, self._clock = step, clock
        self._began = self._spoke = clock()
        self._told = 0.0

    def at(self, share: float) -> str | None:
        """What to say when this share is done, from 0 to 1; None where it is too early to say
        something new.

        What is not finished is never called whole: shares come from estimates.
        """
        share, now = min(share, 0.99), self._clock()
        if share <= self._told or (share < self._told + self._step and now < self._spoke + _SECONDS):
            return None
        self._told, self._spoke = share, now
        left = (now - self._began) / share * (1 - share)
        return f"{share * 100:.0f} %, {duration(left)} left"


def duration(seconds: float) -> str:
    """A rough length of time for people."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
