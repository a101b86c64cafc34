"""What operators do to the director's table: drain a server, remove it, flush everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from lvslab.errors import UsageError
from lvslab.faults.base import Fault, broken, planned_node
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.ipvs.service import RealServer, VirtualService
from lvslab.lab.worlds import AnyLab
from lvslab.modes.base import Role
from lvslab.plan.services import HTTP_PORT


@contextmanager
def weight_zero(lab: AnyLab, server: str, port: int = HTTP_PORT, protocol: str = "TCP") -> Iterator[Fault]:
    """An operator drains a server: weight 0 in a service, in every director."""

    def drain(table: Ipvsadm, service: VirtualService, entry: RealServer) -> None:
        table.edit_server(service, replace(entry, weight=0))

    def drained(entry: RealServer | None) -> bool:
        return entry is not None and entry.weight == 0

    with _edited(
        lab, server, (protocol, port), f"{server}: weight 0", drain, Ipvsadm.edit_server, drained
    ) as fault:
        yield fault


@contextmanager
def server_removed(lab: AnyLab, server: str, port: int = HTTP_PORT, protocol: str = "TCP") -> Iterator[Fault]:
    """An operator removes a server from a service, in every director."""

    def absent(entry: RealServer | None) -> bool:
        return entry is None

    text = f"{server}: removed"
    with _edited(
        lab, server, (protocol, port), text, Ipvsadm.delete_server, Ipvsadm.add_server, absent
    ) as fault:
        yield fault


@contextmanager
def table_flushed(lab: AnyLab, director: str | None = None) -> Iterator[Fault]:
    """An operator flushes the whole table (`ipvsadm -C`)."""
    name = director or lab.plan.director.name
    planned_node(lab, name, Role.DIRECTOR)
    table = lab.table(name)
    before = table.save()

    def mend() -> str:
        table.restore(before)
        return f"{name}: table restored"

    empty = lambda: None if table.save() else "the table is empty"  # noqa: E731
    with broken(lab, name, f"{name}: table flushed", table.clear, empty, mend) as fault:
        yield fault


_Edit = Callable[[Ipvsadm, VirtualService, RealServer], None]


@contextmanager
def _edited(
    lab: AnyLab,
    server: str,
    where: tuple[str, int],
    text: str,
    edit: _Edit,
    undo: _Edit,
    gone: Callable[[RealServer | None], bool],
) -> Iterator[Fault]:
    planned = planned_node(lab, server, Role.REAL_SERVER)
    tables = [lab.table(each.name) for each in lab.plan.directors]
    service, entry = _entry(lab.plan.services, planned.ip, *where)

    seen = "in the director's table" if len(tables) == 1 else f"in the tables of {len(tables)} directors"

    def found() -> list[RealServer | None]:
        saved = [next((each for each in table.save() if each.name == service.name), None) for table in tables]
        return [
            next((each for each in one.real_servers if each.name == entry.name), None) if one else None
            for one in saved
        ]

    def done() -> str | None:
        return seen if all(gone(each) for each in found()) else None

    def edit_all() -> None:
        for table in tables:
            edit(table, service, entry)

    def mend() -> str:
        for table in tables:
            undo(table, service, entry)
        return f"{server}: back in the table as before"

    with broken(lab, server, text, edit_all, done, mend) as fault:
        yield fault


def _entry(
    services: Sequence[VirtualService], address: str, protocol: str, port: int
) -> tuple[VirtualService, RealServer]:
    for service in services:
        if service.port == port and str(service.protocol).upper() == protocol.upper():
            for entry in service.real_servers:
                if entry.address == address:
                    return service, entry
    names = ", ".join(service.name for service in services)
    raise UsageError(
        f"fault: no {protocol} service on port {port} has the real server {address}; services: {names}"
    )
