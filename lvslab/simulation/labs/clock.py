"""The clock of a lab in virtual time: a `lvslab.lab.clock.Clock` that moves its calendar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lvslab.lab.clock import Alongside, Steps
from lvslab.simulation.calendar import SECOND, Calendar

_Value = TypeVar("_Value")


class VirtualClock:
    """Time that passes when it is let pass, and at no other moment.

    Attributes:
        calendar: what it moves.
        began: the calendar's zero, in nanoseconds since the epoch.
    """

    def __init__(self, calendar: Calendar, began: int = 0) -> None:
        self.calendar, self.began = calendar, began

    def now(self) -> float:
        """Seconds since the epoch; those of one moment are the same."""
        return (self.began + self.calendar.now) / SECOND

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        end = self.calendar.now + round(seconds * SECOND)
        while self.calendar.now < end:
            self.calendar.run(end)

    def wait(self, condition: Callable[[], _Value], timeout: float, look: float) -> _Value:
        """See `Clock.wait`; whatever stops the calendar is a reason to look, too."""
        calendar = self.calendar
        end = calendar.now + round(timeout * SECOND)
        while not (value := condition()) and calendar.now < end:
            calendar.run(min(end, calendar.now + round(look * SECOND)))
        return value

    def alongside(self, name: str, steps: Steps) -> Alongside:
        """Steps that are events."""
        return _Events(self.calendar, steps)


class _Events(Alongside):
    """Steps that the calendar does."""

    def __init__(self, calendar: Calendar, steps: Steps) -> None:
        super().__init__(steps)
        self._calendar, self._going = calendar, False

    def start(self) -> None:
        self._going = True
        self._calendar.after(0, self._step)

    def _step(self) -> None:
        if not self._going:
            return
        try:
            seconds = next(self._steps, None)
        except Exception as problem:
            self._problem, self._going = problem, False
            return
        if seconds is not None:
            self._calendar.after(round(seconds * SECOND), self._step)

    def _halt(self) -> None:
        self._going = False
        try:
            self._steps.close()
        except Exception as problem:
            self._problem = self._problem or problem
