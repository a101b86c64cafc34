"""The search: cases are drawn and tried, each in a world of its own, one a processor; what fails is
shrunk meanwhile, and written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lvslab.explore.records import Violation
from lvslab.explore.schedule import Case
from lvslab.explore.shrinking import Shrinking, shrink
from lvslab.explore.trying import Tried
from lvslab.explore.workers import Workers


@dataclass(frozen=True)
class Finding:
    """A failure, shrunk as far as time allowed.

    Attributes:
        drawn: the case in which it was first seen.
        shortest: the shortest that still shows it, as it was tried.
        violation: as it was in that one.
        after: seconds of the search after which it was first seen.
        tries: worlds of the search until then.
        shrunk: whether nothing shorter was left to try.
    """

    drawn: Case
    shortest: Tried
    violation: Violation
    after: float
    tries: int
    shrunk: bool


@dataclass(frozen=True)
class Limit:
    """When a search ends; whichever comes first. None: never.

    Attributes:
        seconds: of this machine.
        tries: worlds, those of shrinking included.
    """

    seconds: float | None = None
    tries: int | None = None


@dataclass
class _Hunt:
    """A failure that is being shrunk."""

    finding: Finding
    shrinking: Shrinking
    waiting: Case | None = None
    busy: bool = False


@dataclass
class Search:
    """The state of a search; nothing in it starts anything. `next_case` says what to try, `take`
    hears what came of it.

    Attributes:
        draw: a seed's case; None: there are no more.
        first: the first seed.
        hunts: by fingerprints.
        seen: fingerprint → in how many drawn worlds it was seen.
        tries, broken: worlds tried, and those of which nothing can be said.
    """

    draw: Callable[[int], Case | None]
    first: int
    clock: Callable[[], float] = time.monotonic
    hunts: dict[str, _Hunt] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    tries: int = 0
    broken: int = 0
    _drawn: int = 0
    _began: float = field(default=0.0)
    _hunted: dict[Case, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self.clock() - self._began

    def next_case(self) -> Case | None:
        """What to try next, something shorter of a finding first; None: nothing at the moment."""
        for fingerprint, hunt in self.hunts.items():
            if hunt.waiting is not None and not hunt.busy:
                hunt.busy = True
                self._hunted[hunt.waiting] = fingerprint
                return hunt.waiting
        case = self.draw(self.first + self._drawn)
        self._drawn += case is not None
        return case

    def take(self, tried: Tried) -> Iterator[Finding]:
        """A try has ended; yields findings that are new, and those that are as short as can be."""
        self.tries += 1
        self.broken += bool(tried.problem)
        hunted = self._hunted.pop(tried.case, None)
        if hunted is not None:
            yield from self._go_on(self.hunts[hunted], hunted, tried)
        for violation in tried.violations:
            fingerprint = violation.fingerprint
            if hunted is None:
                self.seen[fingerprint] = self.seen.get(fingerprint, 0) + 1
            if fingerprint not in self.hunts:
                finding = Finding(tried.case, tried, violation, self.seconds, self.tries, False)
                shrinking = shrink(tried.case)
                hunt = self.hunts[fingerprint] = _Hunt(finding, shrinking)
                yield finding
                yield from self._ask(hunt, None)

    def _go_on(self, hunt: _Hunt, fingerprint: str, tried: Tried) -> Iterator[Finding]:
        hunt.busy, hunt.waiting = False, None
        shown = tried.shows(fingerprint)
        if shown:
            violation = next(each for each in tried.violations if each.fingerprint == fingerprint)
            old = hunt.finding
            hunt.finding = Finding(old.drawn, tried, violation, old.after, old.tries, False)
        yield from self._ask(hunt, shown)

    def _ask(self, hunt: _Hunt, answer: bool | None) -> Iterator[Finding]:
        """Let a finding's shrinking say what it wants tried next."""
        try:
            hunt.waiting = next(hunt.shrinking) if answer is None else hunt.shrinking.send(answer)
        except StopIteration:
            old = hunt.finding
            hunt.finding = Finding(old.drawn, old.shortest, old.violation, old.after, old.tries, True)
            yield hunt.finding

    @property
    def findings(self) -> list[Finding]:
        """What was found, in the order in which it was."""
        return [hunt.finding for hunt in self.hunts.values()]


def drive(search: Search, workers: Workers, limit: Limit) -> Iterator[Finding | Tried]:
    """Search until the limit, or until there is nothing left to try; yields every try, and after it
    what it made known.
    """
    while not over(search, limit):
        while workers.free and not over(search, limit, workers.working):
            case = search.next_case()
            if case is None:
                break
            workers.start(case)
        if not workers.working:
            return
        left = None if limit.seconds is None else max(0.0, limit.seconds - search.seconds)
        for tried in workers.ended(left):
            yield tried
            yield from search.take(tried)


def over(search: Search, limit: Limit, under_way: int = 0) -> bool:
    """Whether a search has come to its limit, with the worlds that are under way."""
    return (limit.seconds is not None and search.seconds >= limit.seconds) or (
        limit.tries is not None and search.tries + under_way >= limit.tries
    )
