"""Drills: what an exam does to the directors for a moment, to see how they behave, and
puts back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.ipvs.service import Protocol, RealServer, VirtualService
from lvslab.plan.services import HTTP_PORT
from lvslab.training.clients import Client

if TYPE_CHECKING:
    from lvslab.training.exam import Exam

_TAKEOVER_SECONDS = 4.0


def service_of(exam: Exam, port: int = HTTP_PORT) -> VirtualService:
    """The TCP service of a port in the director's table; the exam ends where there is none.

    Raises:
        Failed: there is none.
    """
    found = [each for each in exam.table() if each.protocol == Protocol.TCP and each.port == port]
    if not found:
        exam.must(
            "a virtual service", False, "", f"the director's table has no virtual service on TCP port {port}"
        )
    return found[0]


def entry_of(exam: Exam, service: VirtualService, server: str) -> RealServer | None:
    """A real server, by the node's name, as it stands in a service; None if it does not."""
    address = exam.plan.addresses.rips[server]
    return next((each for each in service.real_servers if each.address == address), None)


@contextmanager
def weights(exam: Exam, wanted: Mapping[str, int], port: int = HTTP_PORT) -> Iterator[None]:
    """Other weights for a while.

    Args:
        wanted: node name of a real server → weight.

    Raises:
        Failed: a server is not in the table.
    """
    exam.disturb()
    table = Ipvsadm(exam.node("director"))
    service = service_of(exam, port)
    entries = [(service, _must_have(exam, service, server)) for server in wanted]
    try:
        for (service, entry), weight in zip(entries, wanted.values(), strict=True):
            table.edit_server(service, replace(entry, weight=weight))
        yield
    finally:
        for service, entry in entries:
            table.edit_server(service, entry)


@contextmanager
def without(exam: Exam, server: str, port: int = HTTP_PORT) -> Iterator[None]:
    """A real server is deleted from the table for a while.

    Raises:
        Failed: it is not there.
    """
    exam.disturb()
    table = Ipvsadm(exam.node("director"))
    service = service_of(exam, port)
    entry = _must_have(exam, service, server)
    table.delete_server(service, entry)
    try:
        yield
    finally:
        table.add_server(service, entry)


@contextmanager
def present(exam: Exam, server: str, port: int = HTTP_PORT) -> Iterator[None]:
    """A real server is in the table for a while, also where it was not: then as the first one is,
    with its own address.
    """
    service = service_of(exam, port)
    if entry_of(exam, service, server):
        yield
        return
    if not service.real_servers:
        exam.must("real servers", False, "", f"the director's table has no real server for TCP port {port}")
    exam.disturb()
    entry = replace(service.real_servers[0], address=exam.plan.addresses.rips[server])
    table = Ipvsadm(exam.node("director"))
    table.add_server(service, entry)
    try:
        yield
    finally:
        table.delete_server(service, entry)


@contextmanager
def open_or_none(exam: Exam, **connection: object) -> Iterator[Client | None]:
    """A connection, as `lvslab.training.clients.Client` takes it, for a while; None if there is
    none to be had.
    """
    try:
        client = Client(exam, **connection)  # type: ignore[arg-type]
    except OSError:
        yield None
        return
    with client:
        yield client


@contextmanager
def taken_over(exam: Exam) -> Iterator[str]:
    """The master of a pair hands over to the other director, whose name this gives; in the end the
    master's keepalived runs again.

    Raises:
        Failed: the other one does not take over.
        LabError: there is no master, or its keepalived does not start again.
    """
    exam.disturb()
    lab = exam.lab
    master = lab.master
    other = next(each.name for each in exam.plan.directors if each.name != master)
    try:
        lab.stop_control(master)
        exam.must(
            "a takeover",
            exam.wait_until(lambda: lab.vrrp_state(other) == "MASTER", _TAKEOVER_SECONDS),
            f"{other} has taken over from {master}",
            f"{other} does not take over when keepalived on {master} ends",
        )
        yield other
    finally:
        # Its children may outlive it for a moment, and a new one would take them for a keepalived
        # that runs.
        exam.wait_until(lambda: exam.run(master, "pgrep -x keepalived").code != 0, _TAKEOVER_SECONDS)
        lab.start_control(master)
        back = "MASTER" if exam.plan.redundancy and exam.plan.redundancy.preempt else "BACKUP"
        exam.wait_until(lambda: lab.vrrp_state(master) == back, _TAKEOVER_SECONDS)


def must_drain(exam: Exam, server: str, port: int = HTTP_PORT) -> VirtualService:
    """A server must be in the table with weight 0; returns the service.

    Raises:
        Failed: it is not.
    """
    service = service_of(exam, port)
    entry = entry_of(exam, service, server)
    exam.must(
        f"{server} drains",
        entry is not None and entry.weight == 0,
        f"{server} is in the table with weight 0",
        f"{server} is not in the table with weight 0: what is open there now could not end in peace",
    )
    return service


def _must_have(exam: Exam, service: VirtualService, server: str) -> RealServer:
    found = entry_of(exam, service, server)
    if found is None:
        exam.must(f"{server} in the table", False, "", f"{server} is not in the director's table")
    assert found is not None
    return found
