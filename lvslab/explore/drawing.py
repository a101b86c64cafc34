"""Cases drawn by seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from lvslab.explore.kinds import KINDS, Cover, Kind, clash
from lvslab.explore.playing import LOAD_SECONDS
from lvslab.explore.schedule import Case, Injection, Setup
from lvslab.modes.base import Role
from lvslab.plan.plan import LabPlan

WARM_SECONDS = 4.0
"""Of load before the first fault."""

_MORE = (0, 1, 1, 2, 2, 3)
"""Faults besides the first."""

_DURATIONS = ((0.3, 2.0), (2.0, 8.0), (8.0, 16.0))
_FOR_GOOD = 0.25
"""Share of faults that stay, of those that the set-up stands in for: behind any other that stays
there is nothing to judge.
"""

_TRIES = 20


MODES = ("nat", "dr")
"""Drawn from, where nobody names one: with replies that pass the director, and without."""

_PERSISTENCE = 120
"""Seconds: longer than a try."""


def setups_of(modes: Sequence[str], directors: str | None, config: Sequence[str] = ()) -> tuple[Setup, ...]:
    """The set-ups to choose from: pairs four times as often as single directors, two of three
    without persistence; or one around files, in the first mode.

    Args:
        directors: "1", "2" or None for both.
        config: files, a keepalived.conf for each director.
    """
    if config:
        return (Setup(modes[0] if modes else MODES[0], len(config), config=tuple(config)),)
    return tuple(
        Setup(mode, count, persistence=persistence)
        for mode in (modes or MODES)
        for count in ((2, 2, 2, 2, 1) if directors is None else (int(directors),))
        for persistence in (0, 0, _PERSISTENCE)
    )


def draw(seed: int, setups: Sequence[Setup], plans: Mapping[Setup, LabPlan]) -> Case:
    """The case of a seed. The first fault drawn goes round in all kinds and roles, so that so many
    seeds one after the other have each of them; the others are chance.

    Args:
        setups: those to choose from.
        plans: their labs.
    """
    chance = random.Random(f"{seed} explore")
    setup = chance.choice(setups)
    plan = plans[setup]
    strokes = [(kind, role) for kind in KINDS.values() for role in kind.roles]
    schedule: list[Injection] = []
    wanted = [strokes[seed % len(strokes)], *chance.choices(strokes, k=chance.choice(_MORE))]
    for kind, role in wanted:
        for _ in range(_TRIES):
            injection = _injection(chance, plan, kind, role)
            if not any(clash(injection, other) for other in schedule):
                schedule.append(injection)
                break
    return Case(seed, setup, tuple(sorted(schedule, key=lambda injection: injection.at)))


def _injection(chance: random.Random, plan: LabPlan, kind: Kind, role: Role) -> Injection:
    """A fault of a node of a role. The first director of a pair is struck twice as often as the
    other one, as users depend on it.
    """
    nodes = [node.name for node in plan.of_role(role)]
    target = chance.choice([nodes[0], *nodes] if role == Role.DIRECTOR else nodes)
    at = round(chance.uniform(WARM_SECONDS, LOAD_SECONDS * 2 / 3), 2)
    return Injection(at, kind.name, target, _duration(chance, kind, at), kind.draw(chance, plan))


def _duration(chance: random.Random, kind: Kind, at: float) -> float | None:
    """Until it is put back, within the time of load."""
    if kind.end is None:
        return 0.0
    if kind.cover is not Cover.NOTHING and chance.random() < _FOR_GOOD:
        return None
    return round(min(chance.uniform(*chance.choice(_DURATIONS)), LOAD_SECONDS - at), 2)
