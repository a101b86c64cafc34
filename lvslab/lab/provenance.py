"""Where a result comes from: the machine, its tools, and what every node of a lab ran."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvslab.ipvs.rules import format_rules
from lvslab.kernels.needs import KernelFacts

if TYPE_CHECKING:
    from lvslab.lab.lab import Lab
    from lvslab.plan.plan import LabPlan


def lab_entry(
    plan: LabPlan,
    facts: Mapping[str, KernelFacts],
    lab: Lab | None = None,
    counters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A lab as run.json keeps it (docs/run-directory.md)."""
    return {
        "name": plan.name,
        "mode": plan.mode.name,
        "topology": plan.topology,
        "nodes": [
            {
                "name": node.name,
                "role": str(node.role),
                "needs": sorted(node.needs),
                "kernel": {
                    "kind": str(facts[node.kernel].kind),
                    "name": node.kernel,
                    "release": facts[node.kernel].release,
                    "config_sha256": facts[node.kernel].config_sha256,
                    "why": node.why,
                },
                "interfaces": [
                    {
                        "name": each.name,
                        "mac": each.mac,
                        "network": each.network,
                        "addresses": [each.address] if each.address else [],
                    }
                    for each in node.interfaces
                ],
                "extra_addresses": [*_extra_addresses(node.mode_steps), *_moving_addresses(plan, node.name)],
                "gateway": node.gateway,
            }
            for node in plan.nodes
        ],
        "networks": [{"name": name, "subnet": subnet} for name, subnet in plan.networks.items()],
        "service_rules": format_rules(plan.services).splitlines(),
        "without": list(plan.without),
        "counters": counters or [],
        "start_seconds": lab.start_seconds if lab else None,
        "stop_seconds": lab.stop_seconds if lab else None,
    }


def _extra_addresses(steps: Any) -> list[str]:
    """Addresses that the mode's set-up adds, for example "10.0.0.10/32 on lo"."""
    found = []
    for step in steps:
        for action in step.actions:
            added = re.fullmatch(r"address add (\S+) dev (\S+)", getattr(action, "arguments", ""))
            if added:
                found.append(f"{added[1]} on {added[2]}")
    return found


def _moving_addresses(plan: LabPlan, node: str) -> list[str]:
    """Addresses that VRRP may give a director of a pair."""
    vrrp = plan.vrrp.get(node)
    if vrrp is None:
        return []
    return [f"{address} on {each.interface} (VRRP)" for each in vrrp.instances for address in each.addresses]


def counters(lab: Lab) -> list[dict[str, Any]]:
    """The director's counters by service and server, as run.json keeps them."""
    names = {address: name for name, address in lab.plan.addresses.rips.items()}
    fields = ("conns", "in_packets", "out_packets", "in_bytes", "out_bytes")
    return [
        {
            "service": service.service,
            **{field: getattr(service, field) for field in fields},
            "servers": [
                {
                    "server": server.server,
                    "name": names.get(server.server.rpartition(":")[0].strip("[]"), server.server),
                    **{field: getattr(server, field) for field in fields},
                }
                for server in service.servers
            ],
        }
        for service in lab.ipvsadm.list_stats()
    ]
