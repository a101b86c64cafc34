"""Where a result comes from: the machine, its tools, and what every node of a lab ran."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from lvslab.ipvs.rules import format_rules
from lvslab.kernels.needs import KernelFacts
from lvslab.runs import records

if TYPE_CHECKING:
    from lvslab.lab.worlds import AnyLab
    from lvslab.plan.plan import LabPlan, NodePlan


def lab_record(
    plan: LabPlan,
    facts: Mapping[str, KernelFacts],
    lab: AnyLab | None = None,
    counters: Sequence[records.ServiceCounters] = (),
) -> records.Lab:
    """A lab as run.json keeps it."""
    return records.Lab(
        name=plan.name,
        mode=plan.mode.name,
        topology=plan.topology,
        local_addresses=plan.local_addresses,
        nodes=tuple(_node_record(plan, node, facts[node.kernel]) for node in plan.nodes),
        networks=tuple(records.Network(name, subnet) for name, subnet in plan.networks.items()),
        service_rules=tuple(format_rules(plan.services).splitlines()),
        without=tuple(plan.without),
        counters=tuple(counters),
        start_seconds=lab.start_seconds if lab else None,
        stop_seconds=lab.stop_seconds if lab else None,
    )


def _node_record(plan: LabPlan, node: NodePlan, facts: KernelFacts) -> records.Node:
    return records.Node(
        node.name,
        str(node.role),
        needs=tuple(sorted(node.needs)),
        kernel=records.Kernel(
            kind=str(facts.kind),
            name=node.kernel,
            release=facts.release,
            config_sha256=facts.config_sha256,
            why=node.why,
        ),
        interfaces=tuple(
            records.Interface(port.name, port.mac, port.network, (port.address,) if port.address else ())
            for port in node.interfaces
        ),
        extra_addresses=(*_extra_addresses(node.mode_steps), *_moving_addresses(plan, node.name)),
        gateway=node.gateway,
    )


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


def counters(lab: AnyLab) -> tuple[records.ServiceCounters, ...]:
    """The director's counters by service and server."""
    names = {address: name for name, address in lab.plan.addresses.rips.items()}

    def counted(entry: object) -> dict[str, int]:
        return {item.name: getattr(entry, item.name) for item in fields(records.Counters)}

    return tuple(
        records.ServiceCounters(
            service=service.service,
            servers=tuple(
                records.ServerCounters(
                    server=server.server,
                    name=names.get(server.server.rpartition(":")[0].strip("[]"), server.server),
                    **counted(server),
                )
                for server in service.servers
            ),
            **counted(service),
        )
        for service in lab.ipvsadm.list_stats()
    )
