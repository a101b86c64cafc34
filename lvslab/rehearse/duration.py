"""How long a rehearsal will take, computed from its files before it starts: mostly the files' own
timers, which are waited for in real time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lvslab.rehearse.deaths import Wish, mortal, rounds, together, victims
from lvslab.rehearse.director import Director, Marks
from lvslab.rehearse.formula import Death, patience, takeover
from lvslab.rehearse.seats import Seat
from lvslab.rehearse.trials import AFTER_SECONDS, MARGIN_SECONDS, UNNOTICED_SECONDS
from lvslab.runs.words import plural

_START_SECONDS = 30.0
_USERS_SECONDS = 3.0
"""Until a lab serves; until users come, and are gone."""

_SERVER_SECONDS = 0.03
"""More for each real server, whose card is made."""


def durations(
    directors: Sequence[Director], seats: Mapping[str, Seat], marks: Marks, wish: Wish
) -> Iterator[tuple[str, float]]:
    """Each part of a rehearsal with the seconds that it will take, in its order."""
    back = patience(directors)
    yield "start", _START_SECONDS + _SERVER_SECONDS * len(seats) + 2 * back
    for death in wish.deaths:
        groups = rounds(mortal(directors, seats, marks, death))
        seconds = [
            max(
                (victim.promised if victim.promised is not None else UNNOTICED_SECONDS - AFTER_SECONDS)
                for victim in group
            )
            for group in groups
        ]
        if groups:
            yield (
                f"servers {death.value}, {plural(len(groups), 'round')}",
                sum(seconds) + len(groups) * (AFTER_SECONDS + back) + _USERS_SECONDS,
            )
    if wish.all_dead:
        everyone = [victim for victim in together(victims(directors, marks, Death.KILLED)) if victim.doors]
        longest = max((victim.promised or 0.0 for victim in everyone), default=0.0)
        if everyone:
            yield "all servers killed", longest + AFTER_SECONDS + back + _USERS_SECONDS
    instances = [instance for director in directors for instance in director.instances]
    if wish.directors and len(directors) > 1 and instances:
        waits = max(takeover(instance) for instance in instances) + MARGIN_SECONDS + 2 * AFTER_SECONDS
        yield "directors", 2 * (waits + back + _USERS_SECONDS) + _START_SECONDS


def reloading(directors: Sequence[Director], marks: Marks) -> float:
    """Seconds for the reloads of new files, and the fresh starts that they are compared with."""
    back = patience(directors)
    noticed = [victim.promised or 0.0 for victim in victims(directors, marks, Death.KILLED)]
    return _START_SECONDS + 3 * _USERS_SECONDS + 7 * back + max(noticed, default=0.0)


def sentence(parts: Sequence[tuple[str, float]]) -> str:
    """For people: the whole, and its parts."""
    said = "; ".join(f"{name}: {_said(seconds)}" for name, seconds in parts)
    return f"takes some {_said(sum(seconds for _, seconds in parts))} ({said})"


def _said(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
