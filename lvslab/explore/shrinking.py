"""From a case that fails to the shortest one that still does, by delta debugging: leave out, then
make simpler, as long as the same failure remains.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

from lvslab.explore.schedule import Case, Injection

Shrinking = Generator[Case, bool, Case]
"""Yields cases to be tried, takes whether each still fails, and returns the shortest."""

_SHORTEST = 0.2
"""Seconds; a fault of less is over before anything has noticed it."""


def shrink(case: Case) -> Shrinking:
    """Shrink a case."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in (*_with_less(case), *_simpler(case)):
            if (yield candidate):
                case, smaller = candidate, True
                break
    return case


def _with_less(case: Case) -> Iterator[Case]:
    """Without half of the faults, then without one of them (Zeller and Hildebrandt 2002)."""
    schedule = case.schedule
    if len(schedule) > 3:
        half = len(schedule) // 2
        yield replace(case, schedule=schedule[:half])
        yield replace(case, schedule=schedule[half:])
    for place in range(len(schedule)):
        yield replace(case, schedule=schedule[:place] + schedule[place + 1 :])


def _simpler(case: Case) -> Iterator[Case]:
    """A plainer set-up, plainer faults."""
    if case.setup.persistence:
        yield replace(case, setup=replace(case.setup, persistence=0))
    for place, injection in enumerate(case.schedule):
        for plainer in _plainer(injection):
            yield replace(case, schedule=(*case.schedule[:place], plainer, *case.schedule[place + 1 :]))


def _plainer(injection: Injection) -> Iterator[Injection]:
    """Shorter, and at a round time."""
    duration = injection.duration
    if duration is not None and duration >= 2 * _SHORTEST:
        yield replace(injection, duration=round(duration / 2, 1))
    if injection.at != round(injection.at):
        yield replace(injection, at=float(round(injection.at)))
    if duration is not None and duration > 1 and duration != round(duration):
        yield replace(injection, duration=float(round(duration)))
