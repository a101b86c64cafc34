"""A student's desk: her labs, started, judged and ended. All of it lies in files and in the labs'
own processes, so a server that was killed and started again finds it as it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvslab.errors import LvslabError
from lvslab.training import ledger, session
from lvslab.training.course import Course, Member
from lvslab.training.exercise import Exercise, load
from lvslab.training.session import Order, Session
from lvslab.training.values import Values

_QUIET_SECONDS = 1.0
"""Without a key for so long, what was typed is judged."""

_LATER_SECONDS = (1.0, 6.0, 20.0)
"""After the last key: what daemons do takes its time."""

_REST = 3.0
"""Rest between two looks, in lengths of a look, so that judging takes a quarter of one processor at
most.
"""


@dataclass
class Bench:
    """One lab of a student's, as the server knows it while it runs.

    Attributes:
        exercise: with her own values.
        points: what the last look saw, and points of earlier looks that it did not come to.
        passed, held_back, told: of that look; why there was none.
        touched: when a key was pressed last.
        looks: how often it was looked at.
    """

    exercise: Exercise
    points: list[dict[str, Any]] = field(default_factory=list)
    passed: bool = False
    held_back: bool = False
    touched: float = 0.0
    looks: int = 0
    due: list[float] = field(default_factory=list)
    rest_until: float = 0.0
    used: float = field(default_factory=time.monotonic)
    starting: threading.Lock = field(default_factory=threading.Lock)
    told: str = ""

    def touch(self) -> None:
        """A key was pressed that may change something: look soon, and again later."""
        self.touched = self.used = time.monotonic()
        self.due = [self.touched + seconds for seconds in _LATER_SECONDS]

    def is_due(self) -> bool:
        """Whether it is time to look."""
        now = time.monotonic()
        return (
            bool(self.due)
            and self.due[0] <= now
            and now >= max(self.rest_until, self.touched + _QUIET_SECONDS)
        )

    def looked(self, seconds: float) -> None:
        """A look is over."""
        self.looks += 1
        now = time.monotonic()
        self.due = [at for at in self.due if at > now]
        self.rest_until = now + _REST * seconds

    def take(self, held: Mapping[str, Any]) -> None:
        """Take over what an exam said; points that it did not reach stay in the list, open."""
        reached = {point["name"] for point in held["points"]}
        open_ = [{**point, "verdict": "open"} for point in self.points if point["name"] not in reached]
        self.points = [*held["points"], *open_]
        self.passed, self.held_back = held["passed"], held["held_back"]


class Desk:
    """One student's."""

    def __init__(self, course: Course, member: Member, values: Values, place: Path, key: bytes) -> None:
        """`place` is her folder, whose records are signed with `key`.

        `hand_since`: when she raised her hand.
        """
        self.course, self.member, self.values, self.place = course, member, values, place
        ledger.keep_key(place, key)
        self._benches: dict[str, Bench] = {}
        self._lock = threading.Lock()
        self.hand_since: float | None = None

    def bench(self, lab: str) -> Bench:
        """A lab of the course, running or not."""
        with self._lock:
            if lab not in self._benches:
                self._benches[lab] = Bench(load(lab, self.values))
            return self._benches[lab]

    def due(self) -> list[str]:
        """Labs at which it is time to look."""
        with self._lock:
            return [lab for lab, bench in self._benches.items() if bench.is_due()]

    def running(self) -> dict[str, Session]:
        """Lab → session, of all that run; asks the machine."""
        return {running.lab: running for running in session.sessions(self.place)}

    def session(self, lab: str) -> Session | None:
        """A lab's session, if it runs."""
        found = Session(self.bench(lab).exercise.name, lab, self.place / self.bench(lab).exercise.name)
        return found if (found.directory / "session.json").exists() and found.runs else None

    def start(self, lab: str, tell: Callable[[str], None] = lambda text: None) -> Session:
        """A lab's session; it is started where it does not run, once only.

        Raises:
            LvslabError: it does not come up.
        """
        bench = self.bench(lab)
        with bench.starting:
            found = self.session(lab)
            if found is None:
                found = session.start(Order(lab, None, self.values), bench.exercise.name, tell, self.place)
            bench.used = time.monotonic()
        return found

    def ask(self, lab: str, verb: str, **facts: Any) -> Any:
        """Ask a running lab's keeper.

        Raises:
            LvslabError: it does not run, or what it says went wrong.
        """
        return self.start(lab).ask({"do": verb, **facts})

    def check(self, lab: str) -> dict[str, Any]:
        """Hold the whole exam.

        Raises:
            LvslabError: it could not be held.
        """
        held: dict[str, Any] = self.ask(lab, "check")
        self.bench(lab).take(held)
        return held

    def glance(self, lab: str) -> None:
        """Look, without disturbing the network, how far a running lab is."""
        bench, found = self.bench(lab), self.session(lab)
        if found is None:
            bench.looked(0)
            return
        began = time.monotonic()
        try:
            bench.take(found.ask({"do": "glance"}))
            bench.told = ""
        except LvslabError as error:
            bench.told = str(error)
        bench.looked(time.monotonic() - began)

    def reset(self, lab: str) -> None:
        """Bring a lab back to its beginning.

        Raises:
            LvslabError: it does not come up again.
        """
        self.ask(lab, "reset")
        bench = self.bench(lab)
        bench.points, bench.passed, bench.held_back = [], False, False
        bench.touch()

    def stop(self, lab: str) -> None:
        """End a lab; its records stay."""
        found = self.session(lab)
        if found is not None:
            with suppress(LvslabError):
                session.stop(found)

    def idle(self) -> list[str]:
        """Labs that run and have not been used for longer than the course allows."""
        limit = time.monotonic() - 60.0 * self.course.limits.idle_minutes
        return [lab for lab in self.running() if lab in self.course.labs and self.bench(lab).used < limit]

    def make_room(self, lab: str, ahead: str | None) -> None:
        """End the labs, the one unused for longest first, that are more than the course allows
        beside one that is to be opened and one that is started ahead.
        """
        others = [name for name in self.running() if name not in (lab, ahead)]
        others.sort(key=lambda name: self.bench(name).used)
        wanted = 1 + (ahead is not None)
        for name in others[: max(0, len(others) + wanted - max(self.course.limits.labs, wanted))]:
            self.stop(name)

    def next(self, lab: str) -> str | None:
        """The lab that comes after one in the course."""
        labs = self.course.labs
        place = labs.index(lab) + 1
        return labs[place] if place < len(labs) else None

    def passed(self) -> set[str]:
        """Names of the exercises that she has passed."""
        return session.passed(self.place)

    @property
    def current(self) -> str | None:
        """The lab that she opened last, if she has opened one."""
        with suppress(FileNotFoundError):
            name = (self.place / ".current").read_text()
            return next((lab for lab in self.course.labs if self.bench(lab).exercise.name == name), None)
        return None

    def turn_to(self, lab: str) -> None:
        """Note that she has opened a lab."""
        (self.place / ".current").write_text(self.bench(lab).exercise.name)

    def to_open(self) -> str:
        """The lab that she opened last; at the beginning the first one of the course that she has
        not passed, the last one when all are.
        """
        if current := self.current:
            return current
        passed = self.passed()
        open_ = [lab for lab in self.course.labs if self.bench(lab).exercise.name not in passed]
        return (open_ or list(self.course.labs[-1:]))[0]
