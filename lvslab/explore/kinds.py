"""The kinds of faults: whom they can strike, what is drawn of them, and how they are done and
undone in a world.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from lvslab.errors import LabError, UsageError
from lvslab.explore.schedule import Case, Injection, Parameter
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.ipvs.service import RealServer, VirtualService
from lvslab.lab.impairment import Impairment
from lvslab.modes.base import Role
from lvslab.plan.plan import LabPlan
from lvslab.simulation.labs.lab import VirtualLab

Deed = Callable[[VirtualLab, Injection], object]
"""Does something to a lab; a LabError says why it cannot be done."""


class Cover(StrEnum):
    """What a set-up has against a fault."""

    NOTHING = "nothing"
    """Users notice it for as long as it lasts."""
    PARTNER = "partner"
    """The other director of a pair."""
    SERVERS = "servers"
    """The other real servers, when the dead one was noticed."""
    NEEDLESS = "needless"
    """Users must notice nothing of it."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: its word in schedules.
        roles: of nodes that it can strike.
        begin, end: do and undo it; `end` is None for what is done at once and undone by nobody.
        cover: what the set-up has against it.
        draw: its parameters.
        drains: a server gets no new connections while it lasts.
    """

    name: str
    roles: tuple[Role, ...]
    begin: Deed
    end: Deed | None
    cover: Cover
    draw: Callable[[random.Random, LabPlan], Mapping[str, Parameter]] = lambda chance, plan: {}
    drains: bool = False


def check(case: Case, plan: LabPlan) -> None:
    """
    Raises:
        UsageError: a fault of an unknown kind, of a node that it cannot strike, a duration that
            it cannot have, or two of one node at the same time.
    """
    for number, injection in enumerate(case.schedule):
        kind = KINDS.get(injection.kind)
        if kind is None:
            raise UsageError(f"fault '{injection.kind}': no such kind; choose from: {', '.join(KINDS)}")
        fitting = targets(kind, plan)
        if injection.target not in fitting:
            raise UsageError(
                f"{injection.kind} of '{injection.target}': choose from: {', '.join(fitting) or 'nobody'}"
            )
        if (kind.end is None) != (injection.duration == 0):
            wanted = (
                "is done at once: duration 0" if kind.end is None else "lasts: a duration above 0, or none"
            )
            raise UsageError(f"'{injection.words}': {injection.kind} {wanted}")
        for other in case.schedule[:number]:
            if clash(injection, other):
                raise UsageError(f"'{injection.words}' overlaps '{other.words}'; put one behind the other")


def targets(kind: Kind, plan: LabPlan) -> tuple[str, ...]:
    """The nodes of a lab that a kind can strike."""
    return tuple(node.name for node in plan.nodes if node.role in kind.roles)


def clash(one: Injection, other: Injection) -> bool:
    """Whether two faults overlap and have to do with the same thing, so that undoing one would undo
    the other.
    """
    same = one.target == other.target or (one.kind == other.kind == "partition")
    return same and one.at <= other.end and other.at <= one.end


def _interfaces(lab: VirtualLab, injection: Injection) -> list[str]:
    """The target's links, or the one to a network."""
    wanted = injection.parameters.get("network", "")
    own = lab.plan.node(injection.target).interfaces
    return [interface.name for interface in own if wanted in ("", interface.network)]


def _require_power(lab: VirtualLab, injection: Injection) -> None:
    if not lab.is_on(injection.target):
        raise LabError(f"{injection.target}: is off")


# -- nodes -----------------------------------------------------------------------------------------


def _power_off(lab: VirtualLab, injection: Injection) -> None:
    _require_power(lab, injection)
    lab.power_off(injection.target)


def _power_on(lab: VirtualLab, injection: Injection) -> None:
    lab.power_on(injection.target)


def _panic(lab: VirtualLab, injection: Injection) -> None:
    _require_power(lab, injection)
    lab.panic(injection.target)


# -- programs --------------------------------------------------------------------------------------


def _kill_server(lab: VirtualLab, injection: Injection) -> None:
    lab.web_server(injection.target).kill()


def _start_server(lab: VirtualLab, injection: Injection) -> None:
    lab.wiring.web_servers[injection.target].start()


def _hang_server(lab: VirtualLab, injection: Injection) -> None:
    lab.web_server(injection.target).stop()


def _thaw_server(lab: VirtualLab, injection: Injection) -> None:
    lab.web_server(injection.target).go_on()


def _stop_control(lab: VirtualLab, injection: Injection) -> None:
    _require_power(lab, injection)
    lab.stop_control(injection.target)


def _start_control(lab: VirtualLab, injection: Injection) -> None:
    _require_power(lab, injection)
    lab.start_control(injection.target)


def _kill_control(lab: VirtualLab, injection: Injection) -> None:
    """What the out-of-memory killer does: nothing is tidied up, addresses and table stay."""
    _command(lab, injection, "pkill -KILL -x keepalived")


def _restart_control(lab: VirtualLab, injection: Injection) -> None:
    lab.stop_control(injection.target)
    _start_control(lab, injection)


def _reload(lab: VirtualLab, injection: Injection) -> None:
    _command(lab, injection, "kill -HUP $(pgrep -o -x keepalived)")


def _step_clock(lab: VirtualLab, injection: Injection) -> None:
    """By so many seconds; time goes on from there."""
    step = int(injection.parameters["seconds"])
    _command(lab, injection, f"date -s @$(($(date +%s) + {step}))")


def _command(lab: VirtualLab, injection: Injection, script: str) -> None:
    _require_power(lab, injection)
    lab.node(injection.target).run(script).check(injection.target, script)


# -- links -----------------------------------------------------------------------------------------


def _unplug(lab: VirtualLab, injection: Injection) -> None:
    _require_power(lab, injection)
    lab.links.unplug(injection.target, _interfaces(lab, injection))


def _plug(lab: VirtualLab, injection: Injection) -> None:
    _require_power(lab, injection)
    lab.links.plug(injection.target, _interfaces(lab, injection))


def _ports(lab: VirtualLab, injection: Injection) -> Mapping[str, list[str]]:
    own = lab.plan.node(injection.target).interfaces
    names = _interfaces(lab, injection)
    return {interface.network: [interface.name] for interface in own if interface.name in names}


def _cut_off(lab: VirtualLab, injection: Injection) -> None:
    lab.links.cut_off(_ports(lab, injection))


def _rejoin(lab: VirtualLab, injection: Injection) -> None:
    lab.links.rejoin(_ports(lab, injection))


def _impairment(injection: Injection) -> Impairment:
    return Impairment(**{name: float(value) for name, value in injection.parameters.items()})


def _impair(lab: VirtualLab, injection: Injection) -> None:
    lab.links.impair(injection.target, _interfaces(lab, injection), _impairment(injection))


def _repair(lab: VirtualLab, injection: Injection) -> None:
    lab.links.repair(injection.target, _interfaces(lab, injection), _impairment(injection))


# -- operators' commands ---------------------------------------------------------------------------


_Edit = Callable[[Ipvsadm, VirtualService, RealServer], None]


def _edit(lab: VirtualLab, injection: Injection, edit: _Edit) -> None:
    """In every service of every director that is on; what is refused there is left as it is, as an
    operator would.
    """
    address = lab.plan.addresses.rips[injection.target]
    problems, done = [], 0
    for director in lab.plan.directors:
        if not lab.is_on(director.name):
            continue
        for service in lab.plan.services:
            for server in service.real_servers:
                if server.address == address:
                    try:
                        edit(lab.table(director.name), service, server)
                        done += 1
                    except LabError as problem:
                        problems.append(str(problem))
    if not done:
        raise LabError(problems[0] if problems else "no director is on")


def _drain(lab: VirtualLab, injection: Injection) -> None:
    _edit(
        lab, injection, lambda table, service, server: table.edit_server(service, replace(server, weight=0))
    )


def _fill(lab: VirtualLab, injection: Injection) -> None:
    _edit(lab, injection, Ipvsadm.edit_server)


def _remove(lab: VirtualLab, injection: Injection) -> None:
    _edit(lab, injection, Ipvsadm.delete_server)


def _add(lab: VirtualLab, injection: Injection) -> None:
    _edit(lab, injection, Ipvsadm.add_server)


def _clear(lab: VirtualLab, injection: Injection) -> None:
    _require_power(lab, injection)
    lab.table(injection.target).clear()


# -- what is drawn of them -------------------------------------------------------------------------


def _any_network(chance: random.Random, plan: LabPlan) -> Mapping[str, Parameter]:
    """All networks of a node, or one of them."""
    network = chance.choice(["", *plan.networks])
    return {"network": network} if network and len(plan.networks) > 1 else {}


def _bad_link(chance: random.Random, plan: LabPlan) -> Mapping[str, Parameter]:
    if chance.random() < 0.5:
        return {"loss": chance.choice([0.05, 0.2, 0.5])}
    return {"delay": chance.choice([0.01, 0.1, 0.4])}


def _clock_step(chance: random.Random, plan: LabPlan) -> Mapping[str, Parameter]:
    return {"seconds": chance.choice([-3600, -2, 2, 3600])}


_DIRECTOR, _SERVER = (Role.DIRECTOR,), (Role.REAL_SERVER,)
_NODES = (*_DIRECTOR, *_SERVER)

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("director-power-cut", _DIRECTOR, _power_off, _power_on, Cover.PARTNER),
        Kind("director-panic", _DIRECTOR, _panic, _power_on, Cover.PARTNER),
        Kind("server-power-cut", _SERVER, _power_off, _power_on, Cover.SERVERS),
        Kind("server-killed", _SERVER, _kill_server, _start_server, Cover.SERVERS),
        Kind("server-hung", _SERVER, _hang_server, _thaw_server, Cover.NOTHING),
        Kind("keepalived-stopped", _DIRECTOR, _stop_control, _start_control, Cover.PARTNER),
        Kind("keepalived-killed", _DIRECTOR, _kill_control, _restart_control, Cover.NOTHING),
        Kind("keepalived-reloaded", _DIRECTOR, _reload, None, Cover.NEEDLESS),
        Kind("link-down", _NODES, _unplug, _plug, Cover.NOTHING, _any_network),
        Kind("partition", _NODES, _cut_off, _rejoin, Cover.NOTHING, _any_network),
        Kind("link-impaired", _NODES, _impair, _repair, Cover.NOTHING, _bad_link),
        Kind("weight-zero", _SERVER, _drain, _fill, Cover.SERVERS, drains=True),
        Kind("server-removed", _SERVER, _remove, _add, Cover.SERVERS, drains=True),
        Kind("table-cleared", _DIRECTOR, _clear, _restart_control, Cover.NOTHING),
        Kind("clock-stepped", _DIRECTOR, _step_clock, None, Cover.NEEDLESS, _clock_step),
    )
}
"""All of them, by their names."""
