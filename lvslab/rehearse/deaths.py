"""Which servers die when: pure planning. Services that have no server in common are tried side by
side; of one service one server at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.service import PacketForwarding, VirtualService
from lvslab.reading.configured import ConfiguredServer
from lvslab.rehearse.director import Director, Door, Manager, Marks, asked_beside, doors_of
from lvslab.rehearse.formula import Death, attempts, notice
from lvslab.rehearse.seats import Seat


@dataclass(frozen=True)
class Victim:
    """A server that is to die.

    Attributes:
        address: of its machine.
        names: what it calls itself, at every port where users meet it (`farm_program`).
        rows: (service, server) of every table that should show its death.
        doors: whose users it serves.
        promised: seconds until its death should show; None: no check can notice it.
        in_turn: whether it is checked by one process after or before all others.
        queue: seconds that its own attempts take of that process.
    """

    address: str
    names: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    doors: tuple[Door, ...]
    promised: float | None
    in_turn: bool = False
    queue: float = 0.0


@dataclass(frozen=True)
class Wish:
    """What a rehearsal is asked to try.

    Attributes:
        deaths: of single servers.
        all_dead: whether all servers of every service die, too.
        directors: whether directors die and hand over.
    """

    deaths: tuple[Death, ...] = tuple(Death)
    all_dead: bool = True
    directors: bool = True


def victims(directors: Sequence[Director], marks: Marks, death: Death) -> list[Victim]:
    """Every real server, by the machine where the whole machine dies, else by its program.

    Sorry servers are not among them: they do not serve while the others do.
    """
    found: dict[str, Victim] = {}
    beside = asked_beside(directors, marks)
    for director in directors:
        here: dict[str, Victim] = {}
        for pool in director.pools:
            for configured in pool.servers:
                victim = _victim(director, pool.services, _seen(configured, beside), marks, death)
                key = victim.address if death is Death.SILENT else victim.names[0] if victim.names else ""
                if key in here:
                    victim = replace(_joined(here[key], victim), queue=here[key].queue + victim.queue)
                if key:
                    here[key] = victim
        for key, victim in here.items():
            found[key] = _joined(found[key], victim) if key in found else victim
    return list(found.values())


def _seen(configured: ConfiguredServer, beside: Mapping[str, str]) -> ConfiguredServer:
    """A server with those of its checks that ask it, and no other machine."""
    own = configured.server.address
    checks = [
        check for check in configured.checks if own in (check.address or own, beside.get(check.address))
    ]
    return replace(configured, checks=tuple(checks))


def _victim(
    director: Director,
    services: Iterable[VirtualService],
    configured: ConfiguredServer,
    marks: Marks,
    death: Death,
) -> Victim:
    server = configured.server
    names: dict[str, None] = {}
    rows: list[tuple[str, str]] = []
    doors: list[Door] = []
    for service in services:
        row = next((real for real in service.real_servers if real.address == server.address), None)
        if row is None:
            continue
        rows.append((service.name, row.name))
        for door in doors_of(service, marks):
            doors.append(door)
            is_nat = server.forwarding is PacketForwarding.MASQ and server.port
            names[str(Endpoint(server.address, server.port if is_nat else door.port))] = None
    if server.port:
        names.setdefault(str(Endpoint(server.address, server.port)))
    deaf = director.manager is Manager.LDIRECTORD
    times = [attempts(check, death, deaf=deaf) or 0.0 for check in configured.checks]
    return Victim(
        server.address,
        tuple(names),
        tuple(rows),
        tuple(doors),
        notice(configured.checks, death, deaf=deaf),
        director.in_turn,
        sum(times) if director.in_turn else 0.0,
    )


def _joined(one: Victim, other: Victim) -> Victim:
    promised = [each.promised for each in (one, other)]
    return Victim(
        one.address,
        tuple(dict.fromkeys((*one.names, *other.names))),
        tuple(dict.fromkeys((*one.rows, *other.rows))),
        tuple(dict.fromkeys((*one.doors, *other.doors))),
        None if None in promised else max(each for each in promised if each is not None),
        one.in_turn or other.in_turn,
        max(one.queue, other.queue),
    )


def mortal(
    directors: Sequence[Director], seats: Mapping[str, Seat], marks: Marks, death: Death
) -> list[Victim]:
    """Servers that can die alone, in this way, for users to notice: a director's power is not one
    server's.
    """
    return [
        victim
        for victim in victims(directors, marks, death)
        if victim.doors and not (death is Death.SILENT and seats[victim.address].is_local)
    ]


def rounds(all_victims: Sequence[Victim]) -> list[tuple[Victim, ...]]:
    """Victims that can die at the same time, in as few rounds as a first fit finds: no two of a
    round serve the same door. Those that stay unnoticed for long die together, so that one wait is
    for all of them.
    """
    groups: list[tuple[list[Victim], set[Door]]] = []
    for victim in sorted(all_victims, key=lambda victim: -(victim.promised or 0.0)):
        free = next((group for group in groups if group[1].isdisjoint(victim.doors)), None)
        if free is None:
            groups.append(([victim], set(victim.doors)))
        else:
            free[0].append(victim)
            free[1].update(victim.doors)
    return [together(group) for group, _ in groups]


def together(group: Sequence[Victim]) -> tuple[Victim, ...]:
    """Victims that die at the same time: where one process checks them in turn, each waits for the
    attempts at all the others.
    """
    queue = sum(victim.queue for victim in group)
    return tuple(
        replace(victim, promised=victim.promised + queue - victim.queue)
        if victim.in_turn and victim.promised is not None
        else victim
        for victim in group
    )


def shown(victim: Victim, tables: Iterable[Mapping[tuple[str, str], int]]) -> bool:
    """Whether every table that has rows of a victim shows its death: weight 0, or no row at all."""
    return all(table.get(row, 0) == 0 for table in tables for row in victim.rows)
