"""What the directors of a running lab have in their IPVS tables, as data for a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvslab.ipvs.rules import sift_rules
from lvslab.ipvs.service import Protocol, VirtualService
from lvslab.modes.base import Role
from lvslab.plan.plan import LabPlan

if TYPE_CHECKING:
    from lvslab.lab.lab import Lab


def tables(lab: Lab, plan: LabPlan) -> list[dict[str, Any]]:
    """The services of all directors that are on, each with its real servers.

    Raises:
        GuestError: a director is gone.
    """
    return [
        _told(director.name, service)
        for director in plan.of_role(Role.DIRECTOR)
        if lab.is_on(director.name)
        for service in sift_rules(lab.node(director.name).run("ipvsadm -S -n").out)[0]
    ]


def _told(director: str, service: VirtualService) -> dict[str, Any]:
    marked = service.protocol is Protocol.FWMARK
    where = f"{service.fwmark}" if marked else f"{service.address}:{service.port}"
    return {
        "director": director,
        "service": f"{service.protocol.label} {where} {service.scheduler}",
        "servers": [
            {"address": server.address, "port": server.port, "weight": server.weight}
            for server in service.real_servers
        ],
    }
