"""The plan of a lab: what will be started where, decided before anything starts and printable with --dry-run."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lvslab.errors import CannotError, UsageError
from lvslab.kernels.needs import NEEDS, KernelFacts, KernelKind, Need, modules_for
from lvslab.modes import MODES
from lvslab.modes.base import Addresses, Ip, Mode, Role, Step, Sysctl, plain_lines
from lvslab.service import (
    ForwardingMode,
    Protocol,
    RealServer,
    Scheduler,
    VirtualService,
    format_rules,
    required_modules,
)
from lvslab.topology import LvsTopo

HTTP_PORT, HTTP_SERVER_PORT = 80, 8080
UDP_PORT, UDP_SERVER_PORT = 5300, 5301
THROUGHPUT_PORT = 5201
"""iperf3's own port; it opens two connections, which must reach the same real server, so this service is persistent."""

_THROUGHPUT_PERSISTENCE = 300


@dataclass(frozen=True)
class Interface:
    """One network interface of a node: its name, MAC address, network (the switch's name) and address with prefix length."""

    name: str
    mac: str
    network: str
    address: str | None

    @property
    def ip(self) -> str:
        """The address without prefix length."""
        return (self.address or "").partition("/")[0]


@dataclass(frozen=True)
class NodePlan:
    """A node and the kernel that it gets.

    Attributes:
        needs: what it needs from its kernel.
        kernel, why: the choice and the reason.
        modules: kernel modules to load when the kernel is a guest's.
        network_steps: addresses, routes and parameters that belong to the network.
        mode_steps: set-up that the forwarding mode asks for.
    """

    name: str
    role: Role
    needs: frozenset[Need]
    kernel: KernelKind
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


@dataclass(frozen=True)
class LabPlan:
    """Everything about a lab before it starts.

    Attributes:
        name: of the lab, also of its files.
        topo: the Mininet topology that is built.
        networks: switch name → subnet.
        without: names of mode steps that are left out on purpose.
        iptables: program for the director's rules, or None where none are needed.
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
    iptables: str | None

    def of_role(self, role: Role) -> tuple[NodePlan, ...]:
        return tuple(node for node in self.nodes if node.role == role)

    @property
    def director(self) -> NodePlan:
        return self.of_role(Role.DIRECTOR)[0]

    def node(self, name: str) -> NodePlan:
        return next(node for node in self.nodes if node.name == name)

    def commands(self) -> list[str]:
        """The whole set-up as plain shell commands, node by node."""
        lines = []
        for node in self.nodes:
            lines.append(f"### {node.name} ({node.role})")
            lines += plain_lines((*node.network_steps, *node.mode_steps))
            if node.role == Role.DIRECTOR:
                lines += ["# virtual services", *(f"ipvsadm {rule}" for rule in format_rules(self.services).splitlines())]
        return lines


@dataclass(frozen=True)
class Kernels:
    """The kernels there are to choose from: facts of those that were tried, reasons for those that cannot be had."""

    facts: Mapping[KernelKind, KernelFacts]
    absent: Mapping[KernelKind, str]

    def choose(self, needs: frozenset[Need], wanted: KernelKind | None, who: str) -> tuple[KernelKind, str]:
        """The cheapest kernel that meets the needs, and why.

        Args:
            wanted: the user's choice, which is taken or refused.

        Raises:
            CannotError: none does; says what each lacks.
        """
        lacking = []
        for kind in [wanted] if wanted else list(KernelKind):
            facts = self.facts.get(kind)
            if facts is None:
                lacking.append(f"{kind}: {self.absent.get(kind, 'not tried')}")
                continue
            unmet = sorted(need for need in needs if need not in facts.met)
            if not unmet:
                if wanted:
                    return kind, "chosen with --kernel"
                return kind, "needs " + ", ".join(sorted(needs)) + (
                    f", which {'; '.join(lacking)}" if lacking else ""
                ) if needs else ("needs nothing special")
            reasons = "; ".join(f"{need} ({facts.unmet.get(need, 'not tried')})" for need in unmet)
            lacking.append(f"kernel '{kind}' ({facts.release}) lacks {reasons}")
        raise CannotError(f"{who}: no kernel for it here: {'; '.join(lacking)}; see: lvslab check")


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
    director_kernel: KernelKind | None = None,
    needs: Mapping[Role, frozenset[Need]] | None = None,
    scheduler: Scheduler = Scheduler.RR,
    weights: Sequence[int] = (),
    without: Sequence[str] = (),
) -> LabPlan:
    """Decide everything about a lab.

    Args:
        topology, topo: the topology's name and itself.
        director_kernel: overrides the choice for the director.
        needs: needs per role instead of the mode's own, for comparisons (`union_of_needs`).
        weights: of the real servers, in their order; 1 where not given.
        without: names of set-up steps to leave out, to see what they are for.

    Raises:
        UsageError: the mode cannot work there, addresses clash, a node or step is missing.
        CannotError: no kernel here meets a node's needs.
    """
    refusal = mode.refuse(topology, topo.reply_path, bool(topo.local_addresses))
    if refusal:
        fitting = [other for other in MODES if MODES[other].refuse(topology, topo.reply_path, bool(topo.local_addresses)) is None]
        raise UsageError(
            f"mode '{mode.name}': {refusal}; use --topology {mode.topology}, or one of the modes: {', '.join(fitting)}"
        )
    roles = _roles(topo, topology)
    interfaces, networks = _interfaces(topo, roles, topology)
    addresses = _addresses(topo, roles, interfaces, topology)
    _check_clashes(topo, interfaces, topology)
    if len(weights) > len(addresses.rips):
        raise UsageError(f"weights: {len(weights)} given for {len(addresses.rips)} real servers; give one for each at most")
    services = standard_services(mode, addresses, scheduler, weights)
    steps = {
        Role.DIRECTOR: mode.director(addresses, services),
        Role.REAL_SERVER: mode.real_server(addresses),
    }
    known = [step.name for each in steps.values() for step in each]
    _check_without(mode, without, [*known, "gateway"])
    wanted_needs = needs if needs is not None else mode.needs
    nodes, placed = [], dict[Role, tuple[KernelKind, str]]()
    for node, role in roles.items():
        need = wanted_needs.get(role, frozenset())
        if role not in placed:
            placed[role] = kernels.choose(
                need, director_kernel if role == Role.DIRECTOR else None, f"{role} of mode '{mode.name}'"
            )
        kernel, why = placed[role]
        modules = modules_for(need) + (required_modules(services) if role == Role.DIRECTOR else ())
        gateway = topo.nodeInfo(node).get("defaultRoute", "").removeprefix("via ") or None
        if role == Role.REAL_SERVER and "gateway" in without:
            gateway = None
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
                tuple(step for step in steps.get(role, ()) if step.name not in without),
            )
        )
    director = next(node for node in nodes if node.role == Role.DIRECTOR)
    iptables = kernels.facts[director.kernel].iptables if any(NEEDS[need].uses_iptables for need in director.needs) else None
    return LabPlan(
        name or str(mode.name), mode, topology, topo, tuple(nodes), networks, addresses, services, tuple(without), iptables
    )


def standard_services(
    mode: Mode, addresses: Addresses, scheduler: Scheduler, weights: Sequence[int] = ()
) -> tuple[VirtualService, ...]:
    """The virtual services of a lab: HTTP, a UDP echo where the mode carries UDP, and iperf3."""
    forwarding = ForwardingMode(mode.name).packet_forwarding

    def service(protocol: Protocol, port: int, server_port: int, **options: object) -> VirtualService:
        real_servers = tuple(
            RealServer(rip, server_port if mode.maps_ports else port, forwarding, weights[index] if index < len(weights) else 1)
            for index, rip in enumerate(addresses.rips.values())
        )
        return VirtualService(protocol, addresses.vip, port, scheduler=scheduler, real_servers=real_servers, **options)  # type: ignore[arg-type]

    services = [service(Protocol.TCP, HTTP_PORT, HTTP_SERVER_PORT)]
    if mode.carries_udp:
        services.append(service(Protocol.UDP, UDP_PORT, UDP_SERVER_PORT))
    services.append(service(Protocol.TCP, THROUGHPUT_PORT, THROUGHPUT_PORT, persistence_timeout=_THROUGHPUT_PERSISTENCE))
    return tuple(services)


# -- reading the topology ------------------------------------------------------------------------------------------------------------


def _roles(topo: LvsTopo, topology: str) -> dict[str, Role]:
    order = [Role.CLIENT, Role.DIRECTOR, Role.ROUTER, Role.REAL_SERVER]
    roles = {}
    for node in topo.hosts():
        role = topo.nodeInfo(node).get("role")
        if not isinstance(role, Role):
            raise UsageError(f"topology '{topology}': node '{node}' has no role; add it with add_node(name, Role.…)")
        roles[node] = role
    for role, least in ((Role.CLIENT, 1), (Role.DIRECTOR, 1), (Role.REAL_SERVER, 1)):
        if sum(each == role for each in roles.values()) < least:
            raise UsageError(f"topology '{topology}': has no {role}; a lab needs at least one")
    directors = [node for node, role in roles.items() if role == Role.DIRECTOR]
    if len(directors) > 1:
        raise UsageError(
            f"topology '{topology}': has {len(directors)} directors ({', '.join(directors)}); this version builds one"
        )
    return dict(sorted(roles.items(), key=lambda item: order.index(item[1])))


def _interfaces(
    topo: LvsTopo, roles: Mapping[str, Role], topology: str
) -> tuple[dict[str, tuple[Interface, ...]], dict[str, str]]:
    found: dict[str, dict[int, Interface]] = {node: {} for node in roles}
    networks: dict[str, str] = {}
    numbers = {node: number for number, node in enumerate(roles, start=1)}
    for _, _, info in topo.links(sort=True, withInfo=True):
        for here, there in ((1, 2), (2, 1)):
            node, other = info[f"node{here}"], info[f"node{there}"]
            if node not in found:
                continue
            if other in found:
                raise UsageError(f"topology '{topology}': '{node}' and '{other}' are linked directly; put a switch between them")
            port, address = info[f"port{here}"], (info.get(f"params{here}") or {}).get("ip")
            try:
                subnet = str(ipaddress.ip_interface(address).network) if address else None
            except ValueError:
                raise UsageError(
                    f"topology '{topology}': '{node}' has the address '{address}', which is none; write it as 10.0.0.1/24"
                ) from None
            if subnet is None:
                raise UsageError(
                    f"topology '{topology}': '{node}' has no address on '{other}'; link it with attach(node, switch, address)"
                )
            if networks.setdefault(other, subnet) != subnet:
                raise UsageError(
                    f"topology '{topology}': '{node}' has {address} on '{other}', which is {networks[other]}; use one subnet"
                )
            mac = f"02:00:00:00:{numbers[node]:02x}:{port:02x}"
            found[node][port] = Interface(f"{node}-eth{port}", mac, other, address)
    for node, ports in found.items():
        if not ports:
            raise UsageError(f"topology '{topology}': '{node}' is not linked to any switch; attach it")
    return {node: tuple(ports[port] for port in sorted(ports)) for node, ports in found.items()}, networks


def _addresses(
    topo: LvsTopo, roles: Mapping[str, Role], interfaces: Mapping[str, tuple[Interface, ...]], topology: str
) -> Addresses:
    director = next(node for node, role in roles.items() if role == Role.DIRECTOR)
    client_networks = {each.network for node, role in roles.items() if role == Role.CLIENT for each in interfaces[node]}
    server_networks = {each.network for node, role in roles.items() if role == Role.REAL_SERVER for each in interfaces[node]}
    outer = next((each for each in interfaces[director] if each.network in client_networks), None)
    if outer is None:
        raise UsageError(
            f"topology '{topology}': director '{director}' has no interface in the clients' network; attach it there"
        )
    inner = next((each for each in interfaces[director] if each.network in server_networks), outer)
    return Addresses(
        vip=topo.vip,
        dip=outer.ip,
        rips={node: interfaces[node][0].ip for node, role in roles.items() if role == Role.REAL_SERVER},
        lips=topo.local_addresses,
        outer=outer.name,
        inner=inner.name,
        inner_prefix=ipaddress.ip_interface(inner.address or "0.0.0.0/24").network.prefixlen,
    )


def _check_clashes(topo: LvsTopo, interfaces: Mapping[str, tuple[Interface, ...]], topology: str) -> None:
    owners = [(each.ip, node) for node, own in interfaces.items() for each in own if each.address]
    owners += [(topo.vip, "the virtual address"), *((lip, "a local address") for lip in topo.local_addresses)]
    address, count = Counter(address for address, _ in owners).most_common(1)[0]
    if count > 1:
        who = " and ".join(owner for each, owner in owners if each == address)
        raise UsageError(f"topology '{topology}': address {address} belongs to {who}; give each its own")


def _check_without(mode: Mode, without: Sequence[str], known: Sequence[str]) -> None:
    for name in without:
        if name not in known:
            raise UsageError(f"mode '{mode.name}' has no set-up step '{name}' to leave out; its steps: {', '.join(known)}")


def _network_steps(interfaces: Sequence[Interface], gateway: str | None, info: Mapping[str, object]) -> tuple[Step, ...]:
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
        steps.append(Step("routes", "where the other networks are", tuple(Ip(f"route add {route}") for route in routes)))
    sysctls = info.get("sysctls") or {}
    if sysctls:
        actions = tuple(Sysctl(key, value) for key, value in sysctls.items())  # type: ignore[attr-defined]
        steps.append(Step("forwarding", "this node is a router", actions))
    return tuple(steps)


def any_kernel() -> Kernels:
    """Kernels that can do everything: for checking the user's input before looking at the machine."""
    facts = {kind: KernelFacts(kind, "", None, frozenset(Need), {}, "iptables-legacy") for kind in KernelKind}
    return Kernels(facts, {})
