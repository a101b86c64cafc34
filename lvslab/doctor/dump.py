"""Evidence from texts that people give: what the printed script has read, or what they have pasted
of one machine or several. Pure functions: nobody is asked anything.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.doctor.gather import questions
from lvslab.doctor.parse import machine_of
from lvslab.modes.base import Role
from lvslab.reading.network import Route
from lvslab.reading.routing import route_to
from lvslab.reading.sections import Kind, Section, split

_SHOWS: dict[Part, frozenset[Kind]] = {
    Part.TABLE: frozenset({Kind.TABLE, Kind.LISTING}),
    Part.CONNECTIONS: frozenset({Kind.CONNECTIONS}),
    Part.STATS: frozenset({Kind.STATS}),
    Part.TIMEOUTS: frozenset({Kind.TIMEOUTS}),
    Part.DAEMONS: frozenset({Kind.DAEMONS}),
    Part.LINKS: frozenset({Kind.LINKS, Kind.IP_JSON}),
    Part.ROUTES: frozenset({Kind.ROUTES, Kind.IP_JSON}),
    Part.NEIGHBOURS: frozenset({Kind.NEIGHBOURS, Kind.IP_JSON}),
    Part.RULES: frozenset({Kind.IPTABLES, Kind.NFT_IPTABLES, Kind.RULESET}),
    Part.SOCKETS: frozenset({Kind.SOCKETS}),
}
"""Part → the kinds of sections that show it; what files of /proc show is asked of the machine."""

_ONCE = (
    Kind.TABLE,
    Kind.LISTING,
    Kind.STATS,
    Kind.CONNECTIONS,
    Kind.LINKS,
    Kind.IPTABLES,
    Kind.RELEASE,
    Kind.KEEPALIVED,
    Kind.LDIRECTORD,
)
"""Kinds that one machine has once: where they come from several files, these are several
machines.
"""


@dataclass(frozen=True)
class Given:
    """A text that somebody gave.

    Attributes:
        file: where it comes from.
        machine: what its machine was said to be called, which counts unless it comes from several
            by itself; "": its content may tell.
    """

    file: str
    text: str
    machine: str = ""


def of_texts(texts: Sequence[Given]) -> Evidence:
    """All that the texts tell, with the roles of machines worked out from their tables and
    addresses, and their ways from their routes.
    """
    parts = _by_machine(texts)
    machines = [_machine(name, sections) for name, sections in parts.items()]
    evidence = Evidence(tuple(_with_role(each, machines) for each in machines))
    asked = questions(evidence)
    return replace(
        evidence, machines=tuple(_with_paths(each, asked[each.name]) for each in evidence.machines)
    )


# -- whose text it is ------------------------------------------------------------------------------


def _by_machine(texts: Sequence[Given]) -> dict[str, list[Section]]:
    """The sections of each machine, by its name. A file that names no machine belongs to the one
    machine that there is, or is one by itself where others show the same.
    """
    parts: dict[str, list[Section]] = {}
    nameless: list[tuple[str, list[Section]]] = []
    for given in texts:
        own: list[Section] = []
        sections = _sections(given.text)
        several = len({section.machine for section in sections} - {""}) > 1
        for section in sections:
            name = section.machine if several or not given.machine else given.machine
            (parts.setdefault(name, []) if name else own).append(section)
        if own:
            nameless.append((given.file, own))
    shown = Counter(kind for _, own in nameless for kind in {section.kind for section in own})
    if any(shown[kind] > 1 for kind in _ONCE):
        for file, own in nameless:
            parts.setdefault(_name(PurePath(file).stem), []).extend(own)
    else:
        for file, own in nameless:
            name = next(iter(parts)) if parts else _name(PurePath(file).name.partition(".")[0])
            parts.setdefault(name, []).extend(own)
    return parts


def _name(text: str) -> str:
    """A name as a prompt could show it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "machine"


def _sections(text: str) -> list[Section]:
    """The sections of a text that are understood as something; a recording of lvslab's own
    (tests/lab/record_doctor.py) is taken apart into its machines.
    """
    sections = _of_recording(text) or split(text)
    return [section for section in sections if not _is_talk(section)]


def _of_recording(text: str) -> list[Section]:
    if not re.match(r'\s*\[\s*\{\s*"name"', text):
        return []
    try:
        machines = json.loads(text)
        return [
            replace(section, machine=_name(each["name"]))
            for each in machines
            for section in split(each["outputs"][0])
        ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return []


def _is_talk(section: Section) -> bool:
    """Whether a part is nothing but comments."""
    return section.kind is Kind.UNKNOWN and all(
        line.lstrip().startswith(("#", "!", ";")) for line in section.text.splitlines() if line.strip()
    )


# -- what they are ---------------------------------------------------------------------------------


def _machine(name: str, sections: Iterable[Section]) -> Machine:
    sections = list(sections)
    machine = machine_of(name, Role.ROUTER, sections)
    kinds = {section.kind for section in sections}
    files = "\n".join(section.text for section in sections if section.kind is Kind.FILES)
    shown = {part for part, shows in _SHOWS.items() if shows & kinds}
    shown |= {
        part
        for part, sign in (
            (Part.TABLE, "/proc/net/ip_vs:"),
            (Part.SOCKETS, "/proc/net/tcp:"),
        )
        if sign in files
    }
    if any(not key.startswith("kernel.") for key in machine.sysctls):
        shown.add(Part.SYSCTLS)
    if machine.is_before(1) is not None:
        shown.add(Part.RELEASE)
    odd = [section for section in sections if section.kind is Kind.UNKNOWN]
    return replace(
        machine,
        lacks=frozenset(set(Part) - shown),
        unread=(*machine.unread, *(line for section in odd for line in _odd(section))),
    )


def _odd(section: Section) -> list[str]:
    lines = [line.strip() for line in section.text.splitlines() if line.strip()]
    more = f" and {len(lines) - 1} more lines" if len(lines) > 1 else ""
    return [f"not understood, from line {section.line} on: '{lines[0]}'{more}"] if lines else []


def _with_role(machine: Machine, machines: Sequence[Machine]) -> Machine:
    """A machine with its role: who has a table, or a file for one, is a director; whose address
    stands in a table is a real server.
    """
    tables = [each.ipvs for each in machines if each.ipvs]
    rips = {server.address for ipvs in tables for service in ipvs.services for server in service.real_servers}
    clients = {entry.client.address for ipvs in tables for entry in ipvs.connections}
    own = {address.ip for link, address in machine.addresses if link.name != "lo"}
    if (machine.ipvs and _balances(machine)) or machine.keepalived or machine.ldirectord:
        role = Role.DIRECTOR
    elif own & rips:
        role = Role.REAL_SERVER
    elif own & clients:
        role = Role.CLIENT
    else:
        role = Role.DIRECTOR if machine.ipvs else Role.ROUTER
    return replace(machine, role=role)


def _balances(machine: Machine) -> bool:
    assert machine.ipvs is not None
    return bool(machine.ipvs.services or machine.ipvs.connections)


def _with_paths(machine: Machine, asked: Sequence[tuple[str, str]]) -> Machine:
    """A machine with its ways, if its routes are known. Addresses of links are its own, also where
    the local table was not given.
    """
    if Part.ROUTES in machine.lacks:
        return machine
    paths = {}
    for source, destination in asked:
        way = route_to(machine.routes, machine.routing_rules, source, destination)
        own = next((link for link, address in machine.addresses if address.ip == destination), None)
        if own and (way is None or way.kind != "local"):
            way = Route("local", destination, own.name, table="local")
        paths[source, destination] = way
    return replace(machine, paths=paths)
