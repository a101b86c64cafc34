"""The calendar of a simulated world: what happens when, one thing at a time.

Conservative discrete-event simulation, sequential: whatever is due first happens next, alone, and
nothing looks at a real clock. What is due at the same nanosecond has an order that is a function of
the world's inputs only: first events, which are functions of the world, in the order in which they
were entered; then participants, which are guests with a clock of their own, in the order of their
numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Protocol

from lvslab.simulation.errors import StalledError

MICROSECOND = 1_000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000

EPOCH = 1_700_000_000_000_000_000
"""The date at which every world begins, in nanoseconds: a date of the machine's would be chance."""

NEVER = (1 << 63) - 1
"""Later than anything that happens, in nanoseconds."""

LONGEST_TURN = 60 * SECOND
"""Nanoseconds that a participant may run without coming back, however little else is due."""

_MOST_IN_A_MOMENT = 1_000_000
"""Events and turns in one nanosecond after which the world is said to stand still."""


class Participant(Protocol):
    """Somebody with a clock of his own, who runs when it is his turn.

    Attributes:
        number: his place among participants of the same time; no two have the same.
        request: when he wants to run next, in nanoseconds; `NEVER` for not by himself.
    """

    number: int
    request: int

    def run(self, now: int, free_until: int) -> None:
        """Have a turn that begins at `now`; returns when he waits for the next one.

        He advances the calendar's clock himself, and comes back before `free_until`, at which time
        somebody else is due; before `Calendar.due`, too, which may be earlier once he has caused
        something.
        """


class Calendar:
    """Events, participants, and the clock that they share.

    Attributes:
        now: nanoseconds of virtual time.
        events: how many have happened.
        turns: how often a participant has run.
    """

    def __init__(self) -> None:
        self.now = 0
        self.events = self.turns = 0
        self._heap: list[tuple[int, int, Callable[..., object], tuple[object, ...]]] = []
        self._entered = 0
        self._cancelled: set[int] = set()
        self._participants: list[Participant] = []
        self._stopped = self._runs = False
        self._pause: tuple[int, Callable[[], object]] | None = None
        self._moment = -1
        self._in_moment = 0

    # -- entries -----------------------------------------------------------------------------------

    def at(self, time: int, function: Callable[..., object], *arguments: object) -> int:
        """Call a function at a time, in nanoseconds.

        Returns:
            The entry's number, for `cancel`.

        Raises:
            ValueError: that time is past.
        """
        if time < self.now:
            raise ValueError(f"entry for {time} ns, which is past: it is {self.now} ns")
        self._entered += 1
        heappush(self._heap, (time, self._entered, function, arguments))
        return self._entered

    def after(self, delay: int, function: Callable[..., object], *arguments: object) -> int:
        """Call a function in so many nanoseconds (see `at`)."""
        if delay < 0:
            raise ValueError(f"entry for {-delay} ns ago")
        self._entered += 1
        heappush(self._heap, (self.now + delay, self._entered, function, arguments))
        return self._entered

    def cancel(self, entry: int) -> None:
        """Take out an entry that has not happened yet."""
        self._cancelled.add(entry)

    @property
    def due(self) -> int:
        """When the earliest event is due; what participants ask for is not seen."""
        return self._heap[0][0] if self._heap else NEVER

    # -- participants ------------------------------------------------------------------------------

    def join(self, participant: Participant) -> None:
        """Give a participant his turns from now on.

        Raises:
            ValueError: there is one of this number.
        """
        if any(other.number == participant.number for other in self._participants):
            raise ValueError(f"two participants of number {participant.number}")
        self._participants = sorted([*self._participants, participant], key=lambda each: each.number)

    def leave(self, participant: Participant) -> None:
        """Give him none any more."""
        self._participants = [other for other in self._participants if other is not participant]

    # -- the loop ----------------------------------------------------------------------------------

    def run(self, until: int) -> None:
        """Let time pass, until a time in nanoseconds has passed with all that is due then, or until
        `stop`.

        Raises:
            StalledError: it does not pass.
            GuestError: a participant cannot go on; his turn is over, the others' order is not lost.
        """
        if self._runs:
            raise RuntimeError("time already passes: an event cannot let it pass in the midst of itself")
        if self._pause is not None and self._pause[0] <= until:
            time, function = self._pause
            self._pass(time)
            if self._stopped:
                return
            self._pause = None
            function()
        self._pass(until)

    def pause_at(self, time: int, function: Callable[[], object]) -> None:
        """When all that is due at a time, in nanoseconds, has happened, call a function before
        anything else does, outside of all events and turns: it may let time pass itself.

        Raises:
            ValueError: that time is past.
        """
        if time < self.now:
            raise ValueError(f"a pause at {time} ns, which is past: it is {self.now} ns")
        self._pause = time, function

    def _pass(self, until: int) -> None:
        self._runs = True
        try:
            self._run(until)
        finally:
            self._runs = False

    def _run(self, until: int) -> None:
        heap = self._heap
        self._stopped = False
        while not self._stopped:
            event = heap[0][0] if heap else NEVER
            if event == self.now:
                self._happen(event)
                continue
            first, request, others = self._first()
            if event <= request:
                if event > until:
                    break
                self._happen(event)
            elif first is None or request > until:
                break
            else:
                self.now = request
                self.turns += 1
                self._count(1)
                first.run(request, min(others, event, request + LONGEST_TURN, until + 1))
        if not self._stopped and until > self.now:
            self.now = until

    def stop(self) -> None:
        """End `run` after the present event or turn; the next `run` goes on from here."""
        self._stopped = True

    def _first(self) -> tuple[Participant | None, int, int]:
        """Who of the participants is due first, when, and when the first of the others is."""
        first: Participant | None = None
        request = others = NEVER
        for participant in self._participants:
            asked = participant.request
            if asked < request:
                first, request, others = participant, asked, request
            elif asked < others:
                others = asked
        return first, max(request, self.now), others

    def _happen(self, time: int) -> None:
        """All events of one time, those included that they enter for it."""
        heap, cancelled = self._heap, self._cancelled
        self.now = time
        before = self.events
        while heap and heap[0][0] == time and not self._stopped:
            _, entry, function, arguments = heappop(heap)
            if cancelled and entry in cancelled:
                cancelled.remove(entry)
                continue
            self.events += 1
            function(*arguments)
            if self.events - before > _MOST_IN_A_MOMENT:
                break
        self._count(self.events - before)
        if not heap:
            cancelled.clear()

    def _count(self, number: int) -> None:
        """See that time passes.

        Raises:
            StalledError: it does not.
        """
        if self._moment != self.now:
            self._moment, self._in_moment = self.now, 0
        self._in_moment += number
        if self._in_moment > _MOST_IN_A_MOMENT:
            raise StalledError(
                f"virtual time stands still at {self.now} ns: {self._in_moment} events and turns; look for"
                " a loop without delay in the world, or for programs that wake each other"
            )
