"""What the stories share: how long load runs undisturbed, and the HTTP service in a table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from lvslab.faults import Fault
from lvslab.ipvs.service import VirtualService
from lvslab.lab.worlds import AnyLab, Table
from lvslab.plan.services import HTTP_PORT

SETTLE = 1.0
"""Seconds of undisturbed load before a fault and after the repair, to see both."""

Break = Callable[[AnyLab, str], AbstractContextManager[Fault]]


def http_service(lab: AnyLab) -> VirtualService:
    """The lab's HTTP service."""
    return next(each for each in lab.plan.services if each.port == HTTP_PORT)


def weight_of(table: Table, lab: AnyLab, server: str) -> int | None:
    """Weight of a server in the HTTP service of a director's table, None if it is not in it."""
    entry = next(
        each for each in http_service(lab).real_servers if each.address == lab.plan.addresses.rips[server]
    )
    return table.get(http_service(lab).name, {}).get(entry.name)
