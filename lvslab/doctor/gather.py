"""Reads machines: those of a running lab, or the one that this program runs on. Reading only, in
two scripts for each machine.
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lvslab.doctor import script
from lvslab.doctor.evidence import Evidence, Packet
from lvslab.doctor.parse import parse_machine, parse_paths
from lvslab.errors import CannotError, LabError
from lvslab.host.completed import Completed
from lvslab.modes.base import Role

if TYPE_CHECKING:
    from lvslab.lab.lab import Lab

_SECONDS = 20.0
_MOST_CLIENTS = 20
"""So many clients are asked about at most: a busy director has hundreds of thousands, and the first
few tell the same.
"""


class Reader(Protocol):
    """A machine that can run a script."""

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script to its end."""


Reading = tuple[str, Role, Reader]


def of_lab(
    lab: Lab, names: Collection[str] | None = None, packets: tuple[Packet, ...] | None = None
) -> Evidence:
    """What can be seen in a running lab.

    Args:
        names: nodes that may be read; by default all. A node that has no power is passed over.
        packets: what was seen of its traffic (`lvslab.doctor.watch.LabWatch`).

    Raises:
        LabError: a node does not answer.
    """
    nodes = [
        node for node in lab.plan.nodes if (names is None or node.name in names) and lab.is_on(node.name)
    ]
    return read([(node.name, node.role, lab.node(node.name)) for node in nodes], packets)


def of_here(capture: float = 0.0) -> Evidence:
    """What can be seen of the machine that this program runs on, as a director.

    Raises:
        CannotError: its kernel has no virtual server, or nothing of it can be read.
    """
    name = socket.gethostname().partition(".")[0]
    # a machine that was never given one says "(none)"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        name = "here"
    require_ipvs()
    packets = None
    if capture:
        from lvslab.doctor.watch import watch_here

        packets = watch_here(name, capture)
    return read([(name, Role.DIRECTOR, _Here())], packets)


def require_ipvs(table: Path = Path("/proc/net/ip_vs")) -> None:
    """Refuse to look at a machine without a virtual server.

    Raises:
        CannotError: its kernel has none, or this user may not see it.
    """
    try:
        table.read_bytes()
    except OSError as error:
        raise CannotError(
            f"{socket.gethostname()}: its kernel has no IP virtual server ({table}: {error.strerror}); "
            "run this on the director, or load the module there: modprobe ip_vs"
        ) from error


class _Here:
    """This machine."""

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        """As `Reader.run`."""
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", script],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"this machine: was not read within {timeout:g} s; is it overloaded?") from None
        return Completed(done.returncode, done.stdout, done.stderr)


def read(readings: Sequence[Reading], packets: tuple[Packet, ...] | None = None) -> Evidence:
    """Read machines side by side, then ask each of them about its ways to the others.

    Raises:
        LabError: one does not answer.
    """

    def everywhere(script_of: Callable[[str, Role], str]) -> dict[str, str]:
        def one(reading: Reading) -> str:
            name, role, reader = reading
            text = script_of(name, role)
            return (
                reader.run(text, timeout=_SECONDS).check(name, "the doctor's reading script") if text else ""
            )

        with ThreadPoolExecutor(max_workers=max(len(readings), 1), thread_name_prefix="doctor") as pool:
            return dict(zip([name for name, _, _ in readings], pool.map(one, readings), strict=True))

    texts = everywhere(lambda name, role: script.reading(role == Role.DIRECTOR))
    first = Evidence(tuple(parse_machine(name, role, texts[name]) for name, role, _ in readings), packets)
    asked = questions(first)
    answers = everywhere(lambda name, role: script.asking(asked[name]) if asked[name] else "")
    return with_paths(first, asked, answers)


def with_paths(
    evidence: Evidence, asked: Mapping[str, Sequence[tuple[str, str]]], answers: Mapping[str, str]
) -> Evidence:
    """The evidence with the answers of the machines' routing."""
    machines = [
        replace(each, paths=parse_paths(asked[each.name], answers[each.name])) for each in evidence.machines
    ]
    return replace(evidence, machines=tuple(machines))


def questions(evidence: Evidence) -> dict[str, list[tuple[str, str]]]:
    """What to ask each machine's routing, (source or "", destination).

    Directors: the way to every virtual address and real server. Real servers: to every virtual
    address, and back to clients from the address that they answer with, which is the virtual one
    where they have it. Clients: to every virtual address.
    """
    vips = _unique(
        service.address
        for director in evidence.directors
        if director.ipvs
        for service in director.ipvs.services
        if service.address
    )
    rips = _unique(each.server.address for each in evidence.destinations())
    clients = evidence.clients()[:_MOST_CLIENTS]
    asked: dict[str, list[tuple[str, str]]] = {}
    for machine in evidence.machines:
        own = [("", vip) for vip in vips]
        if machine.role == Role.DIRECTOR:
            own += [("", rip) for rip in rips]
        elif machine.role == Role.REAL_SERVER:
            sources = [
                address.ip for _, address in machine.addresses if address.ip in rips or address.ip in vips
            ]
            own += [
                (source, client)
                for source in _unique(sources)
                for client in clients
                if (":" in client) == (":" in source) and not machine.has(client)
            ]
        asked[machine.name] = own
    return asked


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
