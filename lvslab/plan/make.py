"""From what a lab is to be to its plan. All that can be wrong with it is found here, before
anything starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lvslab.control.keepalived import Vrrp
from lvslab.errors import UsageError
from lvslab.ipvs.service import VirtualService, required_modules
from lvslab.kernels.kinds import CHEAPEST, HOST
from lvslab.kernels.needs import NEEDS, Kernels, Need, modules_for
from lvslab.modes import MODES
from lvslab.modes.base import Addresses, Mode, Role
from lvslab.plan import topology
from lvslab.plan.configured import Configured
from lvslab.plan.files import shipped_files
from lvslab.plan.layout import Layout, lay_out
from lvslab.plan.plan import LabPlan, NodePlan
from lvslab.plan.redundancy import Redundancy, vrrp_of
from lvslab.plan.services import standard_services
from lvslab.plan.spec import LabSpec
from lvslab.plan.steps import SetUp, in_namespace, set_up
from lvslab.plan.topology import LvsTopo


def make_plan(spec: LabSpec, kernels: Kernels) -> LabPlan:
    """Decide everything about a lab.

    Args:
        kernels: those of this machine; `any_kernel` to check a description without it.

    Raises:
        UsageError: the mode cannot work there, addresses clash, a node or step is missing, or a
            director that must have a kernel of its own is to run on the machine's.
        CannotError: no kernel here meets a node's needs.
    """
    if spec.keepalived:
        own = Configured(spec.keepalived, spec.mode)
        return own.settled(plan_on("configured", own.topo, spec, kernels))
    size = {"clients": spec.clients, "servers": spec.servers}
    if spec.directors != 1:  # a user's own topology may know of one only
        size["directors"] = spec.directors
    name, topo = topology.load(spec.topology or spec.mode.topology, shipped_files("topologies"), size)
    return plan_on(name, topo, spec, kernels)


def plan_on(
    name: str,
    topo: LvsTopo,
    spec: LabSpec,
    kernels: Kernels,
    needs: Mapping[Role, frozenset[Need]] | None = None,
) -> LabPlan:
    """The plan of a lab on a topology that has been built already: the topology and the numbers of
    nodes that `spec` names do not count.

    Args:
        name: the topology's.
        needs: what each role needs from its kernel, instead of what the modes say.

    Raises:
        UsageError, CannotError: as `make_plan`.
    """
    _check_mode(spec.mode, name, topo)
    layout = lay_out(name, topo)
    services = _services(spec, layout.addresses)
    pair = _pair(spec, layout)
    steps = set_up(spec, layout, services, moving=pair is not None)
    vrrp = _vrrp(pair, layout)
    _check_breaks(spec, layout)
    needs = union_of_needs(spec.alike or (spec.mode,)) if needs is None else needs
    nodes = _nodes(spec, layout, services, steps, kernels, needs)
    return LabPlan(
        name=_name(spec),
        mode=spec.mode,
        topology=name,
        topo=topo,
        nodes=nodes,
        networks=layout.networks,
        addresses=layout.addresses,
        services=services,
        without=spec.without,
        iptables=_iptables(nodes, kernels),
        health=spec.control,
        health_settings=spec.health_settings,
        redundancy=pair,
        vrrp=vrrp,
    )


def union_of_needs(modes: Iterable[Mode]) -> dict[Role, frozenset[Need]]:
    """What every role must have so that all modes of a comparison place it alike."""
    union: dict[Role, frozenset[Need]] = {}
    for mode in modes:
        for role, needs in mode.needs.items():
            union[role] = union.get(role, frozenset()) | needs
    return union


def _name(spec: LabSpec) -> str:
    return spec.name or spec.mode.name


# -- who is where ----------------------------------------------------------------------------------


def _check_mode(mode: Mode, name: str, topo: LvsTopo) -> None:
    """Refuse a mode that cannot work in a topology, and name those that can."""

    def refusal(other: Mode) -> str | None:
        return other.refuse(name, topo.reply_path, bool(topo.local_addresses))

    reason = refusal(mode)
    if reason:
        fitting = [other for other in MODES if refusal(MODES[other]) is None]
        raise UsageError(
            f"mode '{mode.name}': {reason}; use --topology {mode.topology}, or one of the modes:"
            f" {', '.join(fitting)}"
        )


def _check_breaks(spec: LabSpec, layout: Layout) -> None:
    for node in spec.breaks:
        if node not in layout.roles:
            raise UsageError(
                f"lab '{_name(spec)}': there is no node '{node}' to break; nodes: {', '.join(layout.roles)}"
            )


# -- what is served --------------------------------------------------------------------------------


def _services(spec: LabSpec, addresses: Addresses) -> tuple[VirtualService, ...]:
    """The virtual services, whose servers are all but the spare ones."""
    names = list(addresses.rips)
    if len(spec.weights) > len(names):
        raise UsageError(
            f"weights: {len(spec.weights)} given for {len(names)} real servers; give one for each at most"
        )
    for server in spec.spare:
        if server not in names:
            raise UsageError(
                f"spare '{server}': there is no such real server; choose from: {', '.join(names)}"
            )
    serving = {name: rip for name, rip in addresses.rips.items() if name not in spec.spare}
    services = standard_services(
        spec.mode,
        replace(addresses, rips=serving),
        spec.scheduler,
        spec.weights,
        spec.persistence,
        spec.ops,
    )
    refusal = spec.control.refuse(services, spec.health_settings)
    if refusal:
        raise UsageError(f"control '{spec.control.name}': {refusal}")
    return services


# -- who stands in for whom ------------------------------------------------------------------------


def _pair(spec: LabSpec, layout: Layout) -> Redundancy | None:
    """How the directors of a pair stand in for each other; None with a single director."""
    if len(layout.directors) > 1:
        return spec.redundancy or Redundancy()
    if spec.redundancy:
        raise UsageError(
            f"topology '{layout.topology}': has one director; VRRP and connection sync need a pair"
            " (directors=2)"
        )
    return None


def _vrrp(pair: Redundancy | None, layout: Layout) -> dict[str, Vrrp]:
    """VRRP of each director of a pair."""
    if pair is None:
        return {}
    gateway = layout.topo.virtual_gateway
    return {
        director: vrrp_of(pair, number, seen, gateway)
        for number, (director, seen) in enumerate(layout.seen_by.items())
    }


# -- on which kernel -------------------------------------------------------------------------------


def _nodes(
    spec: LabSpec,
    layout: Layout,
    services: Sequence[VirtualService],
    steps: Mapping[str, SetUp],
    kernels: Kernels,
    needs: Mapping[Role, frozenset[Need]],
) -> tuple[NodePlan, ...]:
    """Every node with the kernel that it gets."""
    nodes = []
    for name, role in layout.roles.items():
        needed, wanted = needs.get(role, frozenset()), None
        modules: tuple[str, ...] = ()
        if role == Role.DIRECTOR:
            needed |= frozenset(spec.more_needs)
            wanted = _nth(spec.kernels, layout.directors.index(name)) or _own(spec)
            if wanted == HOST and spec.own_kernel:
                raise UsageError(
                    f"lab '{_name(spec)}': '{name}' cannot run on kernel '{HOST}', as it will be cut off or"
                    " stopped, or its processor time counted apart; give it a kernel of its own:"
                    f" --kernel {CHEAPEST.kind}"
                )
            modules = required_modules(services)
        kernel, why = kernels.choose(needed, wanted, f"{role} of mode '{spec.mode.name}'")
        nodes.append(
            NodePlan(
                name=name,
                role=role,
                needs=needed,
                kernel=kernel,
                why=why,
                modules=tuple(dict.fromkeys((*modules_for(needed), *modules))),
                interfaces=layout.interfaces[name],
                gateway=steps[name].gateway,
                network_steps=steps[name].network,
                mode_steps=in_namespace(steps[name].mode) if kernel == HOST else steps[name].mode,
            )
        )
    return tuple(nodes)


def _own(spec: LabSpec) -> str | None:
    """The kernel of a director that must have its own, where nobody names one."""
    return CHEAPEST.kind if spec.own_kernel else None


def _nth(names: Sequence[str], index: int) -> str | None:
    """The name for a director; where there are fewer names than directors, the first is for all."""
    return (names[index] if len(names) > index else names[0]) if names else None


def _iptables(nodes: Iterable[NodePlan], kernels: Kernels) -> dict[str, str | None]:
    """Director → the variant of iptables for its rules, or None where it needs none."""
    return {
        node.name: (
            kernels.facts[node.kernel].iptables
            if any(NEEDS[need].uses_iptables for need in node.needs)
            else None
        )
        for node in nodes
        if node.role == Role.DIRECTOR
    }
