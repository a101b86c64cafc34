"""The plan of a lab: what will be started where, decided before anything starts and printable with
--dry-run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lvslab.control.health import NO_CONTROL, HealthControl, HealthSettings
from lvslab.control.keepalived import Vrrp
from lvslab.errors import UsageError
from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import (
    Scheduler,
    VirtualService,
    required_modules,
)
from lvslab.kernels.kinds import HOST
from lvslab.kernels.needs import NEEDS, Kernels, Need, modules_for
from lvslab.modes import MODES
from lvslab.modes.base import Addresses, Ip, Mode, Role, Step, Sysctl, plain_lines
from lvslab.plan import layout, topology
from lvslab.plan.files import shipped_files
from lvslab.plan.layout import Interface
from lvslab.plan.redundancy import Redundancy, vrrp_of
from lvslab.plan.services import standard_services
from lvslab.plan.topology import LvsTopo


@dataclass(frozen=True)
class NodePlan:
    """A node and the kernel that it gets.

    Attributes:
        needs: what it needs from its kernel.
        kernel, why: the choice and the reason; a name of `Kernels.facts`.
        modules: kernel modules to load when the kernel is a guest's.
        network_steps: addresses, routes and parameters that belong to the network.
        mode_steps: set-up that the forwarding mode asks for.
    """

    name: str
    role: Role
    needs: frozenset[Need]
    kernel: str
    why: str
    modules: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    gateway: str | None
    network_steps: tuple[Step, ...]
    mode_steps: tuple[Step, ...]

    @property
    def ip(self) -> str:
        """Its first address."""
        return self.interfaces[0].ip

    @property
    def is_guest(self) -> bool:
        """Whether it has a kernel of its own."""
        return self.kernel != HOST


@dataclass(frozen=True)
class LabPlan:
    """Everything about a lab before it starts.

    Attributes:
        name: of the lab, also of its files.
        topo: the Mininet topology that is built.
        networks: switch name → subnet.
        addresses: as the first director sees them.
        services: the virtual services that the directors' tables begin with.
        tables: False: the tables begin empty, and `services` is what somebody is to build.
        without: names of mode steps that are left out on purpose.
        iptables: director → program for its rules, or None where none are needed.
        health, health_settings: what watches the real servers, and how.
        redundancy: how the directors of a pair stand in for each other; None with one director.
        vrrp: the same for each director by name; empty with one.
    """

    name: str
    mode: Mode
    topology: str
    topo: LvsTopo
    nodes: tuple[NodePlan, ...]
    networks: Mapping[str, str]
    addresses: Addresses
    services: tuple[VirtualService, ...]
    without: tuple[str, ...]
    iptables: Mapping[str, str | None]
    health: HealthControl
    health_settings: HealthSettings
    redundancy: Redundancy | None = None
    vrrp: Mapping[str, Vrrp] = field(default_factory=dict)
    tables: bool = True

    def of_role(self, role: Role) -> tuple[NodePlan, ...]:
        return tuple(node for node in self.nodes if node.role == role)

    @property
    def director(self) -> NodePlan:
        """The only director, or the first of a pair: the one with the higher VRRP priority."""
        return self.directors[0]

    @property
    def directors(self) -> tuple[NodePlan, ...]:
        return self.of_role(Role.DIRECTOR)

    @property
    def local_addresses(self) -> tuple[str, ...]:
        """Addresses of the director that real servers see instead of the clients'; none in most
        modes.
        """
        return self.addresses.lips if self.mode.uses_local_addresses else ()

    def node(self, name: str) -> NodePlan:
        return next(node for node in self.nodes if node.name == name)

    def commands(self) -> list[str]:
        """The whole set-up as plain shell commands, node by node."""
        lines = []
        for node in self.nodes:
            lines.append(f"### {node.name} ({node.role})")
            lines += plain_lines((*node.network_steps, *node.mode_steps))
            if node.role == Role.DIRECTOR and self.tables:
                lines += [
                    "# virtual services",
                    *(f"ipvsadm {rule}" for rule in format_rules(self.services).splitlines()),
                ]
        return lines


def union_of_needs(modes: Iterable[Mode]) -> dict[Role, frozenset[Need]]:
    """What every role must have so that all modes of a comparison place it alike."""
    needs: dict[Role, frozenset[Need]] = {}
    for mode in modes:
        for role, wanted in mode.needs.items():
            needs[role] = needs.get(role, frozenset()) | wanted
    return needs


def make_plan(
    mode: Mode,
    topology: str,
    topo: LvsTopo,
    kernels: Kernels,
    *,
    name: str | None = None,
    director_kernels: Sequence[str] = (),
    needs: Mapping[Role, frozenset[Need]] | None = None,
    more_needs: Iterable[Need] = (),
    scheduler: Scheduler = Scheduler.RR,
    weights: Sequence[int] = (),
    persistence: int = 0,
    ops: bool = False,
    spare: Sequence[str] = (),
    without: Sequence[str] = (),
    sysctls: Mapping[str, str | int] | None = None,
    health: HealthControl = NO_CONTROL,
    health_settings: HealthSettings | None = None,
    redundancy: Redundancy | None = None,
) -> LabPlan:
    """Decide everything about a lab.

    Args:
        topology, topo: the topology's name and itself.
        director_kernels: override the choice for the directors, in their order; one is for all of
            them.
        needs: needs per role instead of the mode's own, for comparisons (`union_of_needs`).
        more_needs: what the directors need besides.
        weights: of the real servers, in their order; 1 where not given.
        persistence: seconds for which the HTTP service keeps a client at its real server; 0: not.
        ops: one-packet scheduling of the UDP service.
        spare: real servers that no service has, for example a sorry server.
        without: names of set-up steps to leave out, to see what they are for.
        sysctls: kernel parameters of the directors, set last.
        redundancy: of a pair; the default one where the topology has two directors.

    Raises:
        UsageError: the mode cannot work there, addresses clash, a node or step is missing.
        CannotError: no kernel here meets a node's needs.
    """
    refusal = mode.refuse(topology, topo.reply_path, bool(topo.local_addresses))
    if refusal:
        fitting = [
            other
            for other in MODES
            if MODES[other].refuse(topology, topo.reply_path, bool(topo.local_addresses)) is None
        ]
        raise UsageError(
            f"mode '{mode.name}': {refusal}; use --topology {mode.topology}, or one of the modes:"
            f" {', '.join(fitting)}"
        )
    roles = layout.roles(topo, topology)
    interfaces, networks = layout.interfaces(topo, roles, topology)
    directors = [node for node, role in roles.items() if role == Role.DIRECTOR]
    seen_by = {each: layout.addresses(topo, roles, interfaces, topology, each) for each in directors}
    addresses = seen_by[directors[0]]
    layout.check_clashes(topo, interfaces, topology)
    if len(weights) > len(addresses.rips):
        raise UsageError(
            f"weights: {len(weights)} given for {len(addresses.rips)} real servers; give one for each at most"
        )
    for each in spare:
        if each not in addresses.rips:
            raise UsageError(
                f"spare '{each}': there is no such real server; choose from: {', '.join(addresses.rips)}"
            )
    serving = replace(
        addresses, rips={name: rip for name, rip in addresses.rips.items() if name not in spare}
    )
    services = standard_services(mode, serving, scheduler, weights, persistence, ops)
    settings = health_settings or HealthSettings()
    refused = health.refuse(services, settings)
    if refused:
        raise UsageError(f"control '{health.name}': {refused}")
    if redundancy and len(directors) == 1:
        raise UsageError(
            f"topology '{topology}': has one director; VRRP and connection sync need a pair (directors=2)"
        )
    pair = (redundancy or Redundancy()) if len(directors) > 1 else None
    tuned = tuple(Sysctl(key, value) for key, value in (sysctls or {}).items())
    own_steps: dict[str, tuple[Step, ...]] = {
        each: mode.director(seen_by[each], services) for each in directors
    }
    steps = {Role.REAL_SERVER: mode.real_server(addresses)}
    known = [step.name for each in (*own_steps.values(), *steps.values()) for step in each]
    if pair:  # those are VRRP's
        known = [each for each in known if each not in _MOVING_STEPS]
    _check_without(mode, without, [*dict.fromkeys(known), "gateway"])
    wanted_needs = needs if needs is not None else mode.needs
    nodes, placed = [], dict[tuple[Role, str | None], tuple[str, str]]()
    for node, role in roles.items():
        need = wanted_needs.get(role, frozenset()) | (
            frozenset(more_needs) if role == Role.DIRECTOR else frozenset()
        )
        wanted = _nth(director_kernels, directors.index(node)) if role == Role.DIRECTOR else None
        if (role, wanted) not in placed:
            placed[role, wanted] = kernels.choose(need, wanted, f"{role} of mode '{mode.name}'")
        kernel, why = placed[role, wanted]
        modules = modules_for(need) + (required_modules(services) if role == Role.DIRECTOR else ())
        gateway = topo.nodeInfo(node).get("defaultRoute", "").removeprefix("via ") or None
        if role == Role.REAL_SERVER and "gateway" in without:
            gateway = None
        mode_steps = tuple(
            step for step in own_steps.get(node, steps.get(role, ())) if step.name not in without
        )
        if role == Role.DIRECTOR:
            mode_steps = _director_steps(mode_steps, moving=pair is not None, tuned=tuned)
        nodes.append(
            NodePlan(
                node,
                role,
                need,
                kernel,
                why,
                tuple(dict.fromkeys(modules)),
                interfaces[node],
                gateway,
                _network_steps(interfaces[node], gateway, topo.nodeInfo(node)),
                mode_steps,
            )
        )
    iptables = {
        node.name: (
            kernels.facts[node.kernel].iptables
            if any(NEEDS[need].uses_iptables for need in node.needs)
            else None
        )
        for node in nodes
        if node.role == Role.DIRECTOR
    }
    return LabPlan(
        name or mode.name,
        mode,
        topology,
        topo,
        tuple(nodes),
        networks,
        addresses,
        services,
        tuple(without),
        iptables,
        health,
        settings,
        pair,
        (
            {
                each: vrrp_of(pair, number, seen_by[each], topo.virtual_gateway)
                for number, each in enumerate(directors)
            }
            if pair
            else {}
        ),
    )


_MOVING_STEPS = ("vip", "local-addresses")
"""Set-up steps that give a director the addresses of the service; in a pair VRRP does that."""


def _director_steps(steps: tuple[Step, ...], moving: bool, tuned: tuple[Sysctl, ...]) -> tuple[Step, ...]:
    kept = tuple(step for step in steps if not (moving and step.name in _MOVING_STEPS))
    return (*kept, Step("sysctls", "chosen for this experiment", tuned)) if tuned else kept


def _nth(values: Sequence[str], index: int) -> str | None:
    return (values[index] if len(values) > index else values[0]) if values else None


def _check_without(mode: Mode, without: Sequence[str], known: Sequence[str]) -> None:
    for name in without:
        if name not in known:
            raise UsageError(
                f"mode '{mode.name}' has no set-up step '{name}' to leave out; its steps: {', '.join(known)}"
            )


def _network_steps(
    interfaces: Sequence[Interface], gateway: str | None, info: Mapping[str, object]
) -> tuple[Step, ...]:
    links = Step(
        "addresses",
        "interfaces and their addresses",
        tuple(
            action
            for each in interfaces
            for action in (
                *((Ip(f"address add {each.address} dev {each.name}"),) if each.address else ()),
                Ip(f"link set {each.name} up"),
            )
        ),
    )
    routes = [*info.get("routes", ()), *([f"default via {gateway}"] if gateway else [])]  # type: ignore[misc]
    steps = [links]
    if routes:
        steps.append(
            Step(
                "routes", "where the other networks are", tuple(Ip(f"route add {route}") for route in routes)
            )
        )
    sysctls = info.get("sysctls") or {}
    if sysctls:
        actions = tuple(Sysctl(key, value) for key, value in sysctls.items())  # type: ignore[attr-defined]
        steps.append(Step("forwarding", "this node is a router", actions))
    return tuple(steps)


def plan_lab(
    mode: Mode,
    kernels: Kernels,
    *,
    topology_name: str | None = None,
    clients: int = 1,
    servers: int = 2,
    directors: int = 1,
    alike: Sequence[Mode] = (),
    **options: Any,
) -> LabPlan:
    """The plan of a lab from what a user says.

    Args:
        topology_name: shipped topology or file; by default the one made for the mode.
        alike: modes that are compared with each other, so that all get the same kind of kernel for
            every role.
        options: further arguments of `lvslab.plan.plan.make_plan`.

    Raises:
        UsageError, CannotError: as make_plan.
    """
    size = {"clients": clients, "servers": servers, **({"directors": directors} if directors != 1 else {})}
    name, topo = topology.load(topology_name or mode.topology, shipped_files("topologies"), size)
    needs = union_of_needs(alike) if alike else None
    return make_plan(mode, name, topo, kernels, needs=needs, **options)
