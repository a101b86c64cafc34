"""Timers that are set again far more often than they run out."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.simulation.calendar import Calendar


def _nothing() -> None:
    """What a timer does that is not needed any more."""


class Timer:
    """A timer; of one that is moved to later its old entry stays in the calendar, and moves it on
    when it comes.
    """

    __slots__ = ("_calendar", "_due", "_entry", "_function")

    def __init__(self, calendar: Calendar, function: Callable[[], None]) -> None:
        self._calendar, self._function = calendar, function
        self._due = -1
        self._entry = -1  # the time of the earliest entry in the calendar

    @property
    def running(self) -> bool:
        return self._due >= 0

    def set(self, delay: int) -> None:
        """Run out after so many nanoseconds from now, and not before."""
        self._due = due = self._calendar.now + delay
        if not 0 <= self._entry <= due:
            self._entry = due
            self._calendar.at(due, self._ring, due)

    def cancel(self) -> None:
        """Do not run out."""
        self._due = -1

    def retire(self) -> None:
        """Never run out again, and let go of whom it would tell: an entry that is left in the
        calendar keeps nobody alive.
        """
        self._due, self._function = -1, _nothing

    def _ring(self, entry: int) -> None:
        if entry != self._entry:
            return
        self._entry = -1
        if self._due < 0:
            return
        if self._due > self._calendar.now:
            self._entry = self._due
            self._calendar.at(self._due, self._ring, self._due)
            return
        self._due = -1
        self._function()
