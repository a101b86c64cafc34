"""Servers and directors die in a running rehearsal, and what the users of each door notice is
written down.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lvslab.errors import LabError
from lvslab.rehearse.deaths import Victim, mortal, rounds, shown, together, victims
from lvslab.rehearse.director import Door, doors_of
from lvslab.rehearse.farm import State
from lvslab.rehearse.formula import Death, takeover
from lvslab.rehearse.judging import named, notice_of, of_group, proof_of
from lvslab.rehearse.rehearsal import READY_SECONDS, Rehearsal
from lvslab.rehearse.users import ATTEMPT_SECONDS, Users
from lvslab.runs.rehearsal import Notice
from lvslab.runs.words import plural

BEFORE_SECONDS, AFTER_SECONDS = 1.5, 3.0
"""Of users who come before a fault, and after the tables show it."""

MARGIN_SECONDS = 6.0
"""On top of what a file promises, and since a table has changed last, before a fault counts as
unnoticed.
"""

_MOST_TIMES = 3
"""So many times as long as that a table may keep changing."""

UNNOTICED_SECONDS = 10.0
"""So long a fault that no check can notice is looked at."""

_WRITTEN_SECONDS = ATTEMPT_SECONDS + 0.5
"""After so long an attempt is on record."""


def kill_servers(rehearsal: Rehearsal, death: Death) -> None:
    """Every real server, as many at a time as meet no common user; the users stay from the first to
    the last.
    """
    stage = rehearsal.stage
    groups = rounds(mortal(stage.directors, stage.seats, stage.marks, death))
    if not groups:
        return
    with rehearsal.load(death.value) as users:
        rehearsal.let_pass(BEFORE_SECONDS, users)
        for number, group in enumerate(groups, start=1):
            rehearsal.tell("fault", f"{of_group(group, death)} {death.value}")
            _trial(
                rehearsal,
                users,
                f"{death.value}-{number}",
                group,
                death,
                lambda victim: f"{named(victim, death)} {death.value}",
            )


def kill_all(rehearsal: Rehearsal) -> None:
    """All servers of all services at once: sorry servers and quorums."""
    group = together(victims(rehearsal.stage.directors, rehearsal.stage.marks, Death.KILLED))
    if not any(victim.doors for victim in group):
        return
    rehearsal.tell("fault", f"all {plural(len(group), 'real server')} killed")
    with rehearsal.load("all-killed") as users:
        rehearsal.let_pass(BEFORE_SECONDS, users)
        _trial(rehearsal, users, "all-killed", group, Death.KILLED, lambda _: "all its servers killed", "all")


def _put(rehearsal: Rehearsal, group: Sequence[Victim], death: Death, dead: bool) -> None:
    if death is Death.SILENT:
        rehearsal.lab.power([victim.address for victim in group], on=not dead)
    else:
        state: State = "up" if not dead else "hung" if death is Death.HUNG else "killed"
        rehearsal.lab.put(state, [name for victim in group for name in victim.names])


def _trial(
    rehearsal: Rehearsal,
    users: Users,
    name: str,
    group: Sequence[Victim],
    death: Death,
    fault_of: Callable[[Victim], str],
    kind: str = "",
) -> None:
    """Break, wait until the tables show it, mend, wait until all is whole; and write down what the
    users of each door noticed.
    """
    left: dict[Victim, float] = {}
    began = time.time()
    _put(rehearsal, group, death, dead=True)
    noticeable = [victim for victim in group if victim.promised is not None]

    promised = max(victim.promised or 0.0 for victim in group)
    seen, changed = rehearsal.weights(), began

    def decided() -> bool:
        """Whether all is shown, or tables stand still for longer than the file allows."""
        nonlocal seen, changed
        users.check()
        tables, now = rehearsal.weights(), time.time()
        if tables != seen:
            seen, changed = tables, now
        for victim in noticeable:
            if victim not in left and shown(victim, tables):
                left[victim] = now - began
        return len(left) == len(noticeable) or now > max(began + promised, changed) + MARGIN_SECONDS

    rehearsal.lab.until(decided, _MOST_TIMES * (promised + MARGIN_SECONDS))
    unnoticed = began + UNNOTICED_SECONDS - time.time() if len(noticeable) < len(group) else 0.0
    rehearsal.let_pass(max(AFTER_SECONDS, unnoticed), users)
    ended = time.time()
    newcomers = _newcomers(rehearsal, name) if kind else {}
    _put(rehearsal, group, death, dead=False)
    still = rehearsal.wait_whole()
    rehearsal.leftovers += [f"after {name}: {said}" for said in still if said not in rehearsal.leftovers]
    rehearsal.let_pass(max(0.0, ended + _WRITTEN_SECONDS - time.time()), users)
    dead = {victim.address for victim in group}
    of_door: dict[Door, list[Victim]] = {}
    for victim in group:
        for door in victim.doors:
            of_door.setdefault(door, []).append(victim)
    for door, (attempts, _) in users.records().items():
        if door not in of_door:
            continue
        dying = of_door[door]
        promises = [victim.promised for victim in dying]
        all_left = all(victim in left for victim in dying)
        _keep(
            rehearsal,
            notice_of(
                fault_of(dying[0]),
                door,
                attempts,
                began,
                ended,
                users.interval,
                max(left[victim] for victim in dying) if all_left else None,
                None if None in promises else max(each for each in promises if each is not None),
                alone=_alone(rehearsal, door, dead),
                kind=kind or death.value,
                newcomers=newcomers.get(door, ""),
            ),
        )


def _newcomers(rehearsal: Rehearsal, name: str) -> dict[Door, str]:
    """What becomes of users who come to persistent services for the first time now: those who were
    there before may be bound to a dead server.
    """
    doors = rehearsal.stage.persistent_doors() & set(rehearsal.stage.doors())
    if not doors:
        return {}
    with rehearsal.load(f"{name}-newcomers", newcomers_at=doors) as users:
        rehearsal.let_pass(AFTER_SECONDS, users)
    return {door: proof_of(door, attempts).reason for door, (attempts, _) in users.records().items()}


def _keep(rehearsal: Rehearsal, notice: Notice) -> None:
    """Write a notice down; it is told at once, so that it is on record whatever comes next."""
    rehearsal.notices.append(notice)
    rehearsal.tell("verdict", f"{notice.fault}: {notice.door}: {notice.sentence}")


def _alone(rehearsal: Rehearsal, door: Door, dead: set[str]) -> bool:
    """Whether nobody is left to serve a door when some servers are dead, not even a sorry
    server.
    """
    return not any(
        pool.sorry or any(configured.server.address not in dead for configured in pool.servers)
        for director in rehearsal.stage.directors
        for pool in director.pools
        for service in pool.services
        if door in doors_of(service, rehearsal.stage.marks)
    )


# -- directors -------------------------------------------------------------------------------------


def _holder(rehearsal: Rehearsal) -> str | None:
    """The director that holds the first virtual address, or None."""
    door = next(rehearsal.stage.doors(), None)
    for director in rehearsal.stage.directors:
        if door and rehearsal.lab.lab.is_on(director.name):
            said = rehearsal.lab.node(director.name).run(f"ip -o address show to {door.address}").out
            if said.strip():
                return director.name
    return None


def lose_directors(rehearsal: Rehearsal) -> None:
    """The director that serves loses power, and hands over, where there is another."""
    directors = rehearsal.stage.directors
    doors = any(rehearsal.stage.doors())
    if not doors or len(directors) < 2 or not any(director.instances for director in directors):
        return
    lab = rehearsal.lab
    for fault in ("loses power", "hands over"):
        lab.until(lambda: _holder(rehearsal) is not None, READY_SECONDS)
        master = _holder(rehearsal)
        if master is None:
            raise LabError("no director holds the virtual address; see the directors' logs")
        director = next(each for each in directors if each.name == master)
        others = [each for each in directors if each.name != master]
        promised = max((takeover(instance) for other in others for instance in other.instances), default=None)
        rehearsal.tell("fault", f"{master} {fault}")
        with rehearsal.load(fault.replace(" ", "-")) as users:
            rehearsal.let_pass(AFTER_SECONDS, users)
            began = time.time()
            if fault == "loses power":
                lab.lab.power_off(master)
            else:
                lab.stop(master)
            rehearsal.let_pass((promised or 0.0) + MARGIN_SECONDS + AFTER_SECONDS, users)
            ended = time.time()
        for door, (attempts, _) in users.records().items():
            _keep(
                rehearsal,
                notice_of(
                    f"{master} {fault}",
                    door,
                    attempts,
                    began,
                    ended,
                    users.interval,
                    None,
                    promised,
                    kind=fault,
                ),
            )
        if fault == "loses power":
            lab.come_back(director)
        else:
            lab.start(director)
        rehearsal.wait_whole()
