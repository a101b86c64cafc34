"""The set-up of each node, step by step: what the network needs, and what the mode asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lvslab.errors import UsageError
from lvslab.ipvs.service import VirtualService
from lvslab.modes.base import Ip, Role, Step, Sysctl
from lvslab.plan.layout import Interface, Layout
from lvslab.plan.spec import LabSpec

GATEWAY = "gateway"
"""What a real server's default route is called among the steps that can be left out."""

_MOVING_STEPS = ("vip", "local-addresses")
"""Set-up steps that give a director the addresses of the service; in a pair VRRP does that."""


@dataclass(frozen=True)
class SetUp:
    """How one node is set up.

    Attributes:
        gateway: its default router, or None.
        network: steps that belong to the network: addresses, routes and parameters.
        mode: steps that the forwarding mode asks for, and the sysctls of the user.
    """

    gateway: str | None
    network: tuple[Step, ...]
    mode: tuple[Step, ...]


def set_up(
    spec: LabSpec, layout: Layout, services: Sequence[VirtualService], moving: bool
) -> dict[str, SetUp]:
    """Each node's set-up.

    Args:
        moving: the service's addresses are VRRP's, so no step gives them to a director.

    Raises:
        UsageError: a step that is to be left out does not exist.
    """
    director_steps = {
        director: tuple(
            step for step in spec.mode.director(seen, services) if not (moving and step.name in _MOVING_STEPS)
        )
        for director, seen in layout.seen_by.items()
    }
    server_steps = spec.mode.real_server(layout.addresses)
    _check_without(spec, (*(step for steps in director_steps.values() for step in steps), *server_steps))

    tuned = tuple(Sysctl(key, value) for key, value in spec.sysctls.items())
    own_sysctls = (Step("sysctls", "chosen for this experiment", tuned),) if tuned else ()
    by_node: dict[str, SetUp] = {}
    for node, role in layout.roles.items():
        gateway = layout.gateway(node)
        steps: tuple[Step, ...] = ()
        if role == Role.DIRECTOR:
            steps = (*_kept(director_steps[node], spec.without), *own_sysctls)
        elif role == Role.REAL_SERVER:
            steps = _kept(server_steps, spec.without)
            gateway = None if GATEWAY in spec.without else gateway
        network = _network_steps(layout.interfaces[node], gateway, layout.topo.nodeInfo(node))
        by_node[node] = SetUp(gateway, network, steps)
    return by_node


def in_namespace(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps for a node on the machine's own kernel: none sets what all namespaces share."""
    return tuple(
        replace(
            step,
            actions=tuple(
                action for action in step.actions if not (isinstance(action, Sysctl) and action.of_machine)
            ),
        )
        for step in steps
    )


def _kept(steps: Iterable[Step], without: Sequence[str]) -> tuple[Step, ...]:
    return tuple(step for step in steps if step.name not in without)


def _check_without(spec: LabSpec, steps: Iterable[Step]) -> None:
    known = [*dict.fromkeys(step.name for step in steps), GATEWAY]
    for name in spec.without:
        if name not in known:
            raise UsageError(
                f"mode '{spec.mode.name}' has no set-up step '{name}' to leave out; its steps:"
                f" {', '.join(known)}"
            )


def _network_steps(
    interfaces: Sequence[Interface], gateway: str | None, info: Mapping[str, Any]
) -> tuple[Step, ...]:
    """Addresses, routes and the network's own parameters.

    Args:
        info: the node's options, as Mininet keeps them.
    """
    addresses = tuple(
        action
        for interface in interfaces
        for action in (
            *((Ip(f"address add {interface.address} dev {interface.name}"),) if interface.address else ()),
            Ip(f"link set {interface.name} up"),
        )
    )
    steps = [Step("addresses", "interfaces and their addresses", addresses)]
    routes = [*info.get("routes", ()), *([f"default via {gateway}"] if gateway else [])]
    if routes:
        ways = tuple(Ip(f"route add {route}") for route in routes)
        steps.append(Step("routes", "where the other networks are", ways))
    sysctls = info.get("sysctls")
    if sysctls:
        parameters = tuple(Sysctl(key, value) for key, value in sysctls.items())
        steps.append(Step("forwarding", "this node is a router", parameters))
    return tuple(steps)
