"""The plan of a rehearsal's lab: production's addresses in networks of its own, with every node's
set-up, in the words of `lvslab.plan`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lvslab.control.controls import NO_CONTROL, HealthSettings
from lvslab.ipvs.service import PacketForwarding, Protocol, VirtualService, required_modules
from lvslab.kernels.needs import NEEDS, Kernels, Need, modules_for
from lvslab.modes.base import Addresses, Color, Ip, Mode, ReplyPath, Role, Step, Sysctl
from lvslab.modes.dr import DirectRouting
from lvslab.plan.layout import Interface
from lvslab.plan.plan import LabPlan, NodePlan
from lvslab.plan.topology import LvsTopo
from lvslab.rehearse.cards import (
    BEHIND_ROUTER,
    address,
    card_of,
    default_route,
    families,
    links_of,
    server_steps,
    unwrapping_steps,
)
from lvslab.rehearse.director import Director, Door, Marks, doors_of
from lvslab.rehearse.network import OUTSIDE, Network, Port
from lvslab.rehearse.seats import BEHIND, BEHIND_SUBNETS, SERVERS, TUNNELS, Listener, Seat

USERS, ROUTER = "users", "router"


class AsConfigured(Mode):
    """Whatever the files say, server by server."""

    name = "rehearsal"
    title = "Rehearsal"
    summary = "each real server is reached as the user's own files say"
    color = Color("#555555", "#aaaaaa")
    topology = "rehearsal"
    needs: ClassVar[Mapping[Role, frozenset[Need]]] = {Role.DIRECTOR: frozenset({Need.IP_VS})}
    reply_paths = frozenset(ReplyPath)
    why_reply_path = "any way is possible"
    contract = DirectRouting.contract

    def director(self, addresses: Addresses, services: Sequence[VirtualService]) -> tuple[Step, ...]:
        return ()


@dataclass(frozen=True)
class Stage:
    """All that is decided about a rehearsal before anything starts.

    Attributes:
        directors: what their files ask for, in their order.
        marks: firewall mark → the doors whose packets get it.
        lab: the lab's plan.
    """

    directors: tuple[Director, ...]
    network: Network
    seats: Mapping[str, Seat]
    listeners: tuple[Listener, ...]
    marks: Mapping[int, tuple[Door, ...]]
    lab: LabPlan

    @property
    def guesses(self) -> tuple[str, ...]:
        return self.network.guesses

    def doors(self) -> Iterator[Door]:
        """Every door that users can ask, once, in the order of the files: they speak no SCTP."""
        seen = set()
        for director in self.directors:
            for door in director.doors(self.marks):
                if door not in seen and door.protocol is not Protocol.SCTP:
                    seen.add(door)
                    yield door

    def persistent_doors(self) -> set[Door]:
        """Where users who come again go to the server that they had (ipvsadm(8), -p)."""
        return {
            door
            for director in self.directors
            for service in director.services
            if service.persistence_timeout
            for door in doors_of(service, self.marks)
        }


def stage_of(
    directors: Sequence[Director],
    network: Network,
    seats: Mapping[str, Seat],
    listeners: Sequence[Listener],
    marks: Marks,
    kernels: Kernels,
    kernel: str | None = None,
) -> Stage:
    """Decide the lab.

    Args:
        kernel: of the directors to which the plan gives none.

    Raises:
        CannotError: no kernel here meets a node's needs.
    """
    builder = _Builder(directors, network, seats, marks, kernels, kernel or "uml")
    return Stage(
        tuple(directors),
        network,
        dict(seats),
        tuple(listeners),
        {mark: tuple(doors) for mark, doors in marks.items()},
        builder.plan(),
    )


class _Builder:
    def __init__(
        self,
        directors: Sequence[Director],
        network: Network,
        seats: Mapping[str, Seat],
        marks: Marks,
        kernels: Kernels,
        kernel: str,
    ) -> None:
        self._directors, self._network, self._seats, self._marks = directors, network, seats, marks
        self._kernels, self._kernel = kernels, kernel
        self._topo = LvsTopo()
        self._nodes: list[NodePlan] = []
        self._macs = 0
        self._tunnelled = [seat for seat in seats.values() if seat.tunnel]
        self._ipv6 = any(subnet.version == 6 for net in network.nets.values() for subnet in net.subnets)

    def plan(self) -> LabPlan:
        for net in (*self._network.nets, *([BEHIND] if self._tunnelled else [])):
            self._topo.addSwitch(net)
        self._users()
        for index, director in enumerate(self._directors):
            self._director(index, director)
        self._router()
        self._servers()
        self._unwrapping()
        first = self._directors[0]
        vips = [door.address for door in first.doors(self._marks)]
        port = self._network.ports[first.name][0]
        return LabPlan(
            name="rehearsal",
            mode=AsConfigured(),
            topology="rehearsal",
            topo=self._topo,
            nodes=tuple(self._nodes),
            networks={net.name: ", ".join(map(str, net.subnets)) for net in self._network.nets.values()},
            addresses=Addresses(
                vip=vips[0] if vips else "",
                dip=port.addresses[0].partition("/")[0],
                rips={address: address for address in self._seats},
                lips=(),
                outer=port.interface,
                inner=port.interface,
                inner_prefix=24,
            ),
            services=(),
            without=(),
            iptables={
                node.name: (
                    self._kernels.facts[node.kernel].iptables
                    if any(NEEDS[need].uses_iptables for need in node.needs)
                    else None
                )
                for node in self._nodes
                if node.needs
            },
            health=NO_CONTROL,
            health_settings=HealthSettings(),
            tables=False,
        )

    # -- nodes -------------------------------------------------------------------------------------

    def _node(
        self,
        name: str,
        role: Role,
        links: Sequence[tuple[str, str | None]],
        steps: Sequence[Step],
        needs: frozenset[Need] = frozenset(),
        modules: Sequence[str] = (),
        kernel: str | None = None,
        macs: Sequence[str | None] = (),
    ) -> None:
        """Add a node with links to switches, each (network, first address or None).

        Args:
            macs: of its links, None where any will do.
        """
        self._topo.addHost(name, role=role, needs=needs, ip=None)
        interfaces = []
        for number, (net, first) in enumerate(links):
            self._topo.addLink(net, name, params2={"ip": first} if first else {})
            self._macs += 1
            own = macs[number] if number < len(macs) else None
            mac = own or f"02:00:01:00:{self._macs >> 8:02x}:{self._macs & 255:02x}"
            interfaces.append(Interface(f"{name}-eth{number}", mac, net, first))
        chosen, why = self._kernels.choose(needs, kernel, f"{name} of the rehearsal")
        every = tuple(dict.fromkeys((*modules_for(needs), *modules)))
        self._nodes.append(
            NodePlan(name, role, needs, chosen, why, every, tuple(interfaces), None, tuple(steps), ())
        )

    def _users(self) -> None:
        device = f"{USERS}-eth0"
        gateways = [address.partition("/")[0] for address in self._network.routers[OUTSIDE]]
        steps = [
            *families(self._ipv6, [device]),
            Step(
                "addresses",
                "users",
                tuple(address(own, device) for own in (*self._network.clients, *self._network.newcomers)),
            ),
            Step(
                "routes",
                "the router",
                (Ip(f"link set {device} up"), *(default_route(gateway, device) for gateway in gateways)),
            ),
        ]
        self._node(USERS, Role.CLIENT, [(OUTSIDE, self._network.clients[0])], steps)

    def _router(self) -> None:
        feet = dict(self._network.routers)
        if self._tunnelled:
            feet[BEHIND] = tuple(
                f"{router}/{BEHIND_SUBNETS[version].prefixlen}"
                for version, router in BEHIND_ROUTER.items()
                if version == 4 or self._ipv6
            )
        links = [(net, addresses[0]) for net, addresses in feet.items()]
        actions: list[Ip] = []
        for number, addresses in enumerate(feet.values()):
            device = f"{ROUTER}-eth{number}"
            actions += [address(own, device) for own in addresses] + [Ip(f"link set {device} up")]
        forwarding = [Sysctl("net.ipv4.ip_forward", 1), Sysctl("net.ipv4.conf.all.send_redirects", 0)]
        if self._ipv6:
            forwarding.append(Sysctl("net.ipv6.conf.all.forwarding", 1))
        steps = [
            *families(self._ipv6, (f"{ROUTER}-eth{number}" for number in range(len(links)))),
            Step("addresses", "a foot in every network", tuple(actions)),
            Step("forwarding", "this node is a router", tuple(forwarding)),
        ]
        self._node(ROUTER, Role.ROUTER, links, steps)

    def _director(self, index: int, director: Director) -> None:
        ports = self._network.ports[director.name]
        links = [(port.net, port.addresses[0] if port.addresses else None) for port in ports]
        renames: list[Ip] = []
        for number, port in enumerate(ports):
            renames += [
                Ip(f"link set {director.name}-eth{number} down"),
                Ip(f"link set {director.name}-eth{number} name {port.interface}"),
            ]
        actions = [
            action
            for port in ports
            for action in (
                *(address(own, port.interface) for own in port.addresses),
                Ip(f"link set {port.interface} up"),
            )
        ]
        actions += self._still(index, director, ports)
        gateways = [self._network.router(ports[0].net, version) for version in (4, 6) if ports]
        ways = tuple(default_route(gateway) for gateway in gateways if gateway)
        steps = [
            Step("interfaces", "as the files name them", tuple(renames)),
            *families(self._ipv6, (port.interface for port in ports)),
            Step("addresses", "interfaces and their addresses", tuple(actions)),
            Step("routes", "the router", ways),
            Step(
                "forwarding",
                "a director forwards",
                (
                    Sysctl("net.ipv4.ip_forward", 1),
                    *((Sysctl("net.ipv6.conf.all.forwarding", 1),) if self._ipv6 else ()),
                ),
            ),
            *self._as_server(director),
        ]
        self._node(
            director.name,
            Role.DIRECTOR,
            links,
            steps,
            _needs(director),
            _modules(director),
            director.kernel or self._kernel,
            [director.macs.get(port.interface) for port in ports],
        )

    def _as_server(self, director: Director) -> list[Step]:
        """What a director needs that is a real server of direct routing, too: the virtual addresses
        on `lo`, whoever holds them, and silence about them.
        """
        vips = [
            vip
            for vip in self._virtual(PacketForwarding.DR)
            if any(seat.node == director.name and seat.net for seat in self._seats.values())
        ]
        if not vips:
            return []
        quiet = (Sysctl("net.ipv4.conf.all.arp_ignore", 1), Sysctl("net.ipv4.conf.all.arp_announce", 2))
        return [
            Step(
                "server",
                "it is a real server, too",
                (*quiet, *(address(vip, "lo") for vip in vips)),
            )
        ]

    def _still(self, index: int, director: Director, ports: Sequence[Port]) -> list[Ip]:
        """Virtual addresses that nothing moves and no file gives to an interface: on the first
        director.
        """
        held = {ipaddress.ip_interface(address).ip for port in ports for address in port.addresses}
        held |= {ipaddress.ip_interface(address).ip for _, address, _ in director.moving()}
        actions = [
            address(own, interface)
            for interface, addresses in director.own.items()
            for own in addresses
            if ipaddress.ip_interface(own).ip not in held
        ]
        held |= {ipaddress.ip_interface(own).ip for own_ones in director.own.values() for own in own_ones}
        if index or director.is_whole:
            return actions
        for door in director.doors(self._marks):
            vip = ipaddress.ip_address(door.address)
            if vip not in held:
                held.add(vip)
                net = self._network.net_of(door.address).name
                interface = next((port.interface for port in ports if port.net == net), ports[0].interface)
                actions.append(address(f"{vip}/{vip.max_prefixlen}", interface))
        return actions

    # -- servers -----------------------------------------------------------------------------------

    def _servers(self) -> None:
        """The node of all servers that are no director."""
        seats = [seat for seat in self._seats.values() if seat.node == SERVERS]
        if not seats:
            return
        cards = [card_of(seat, self._network, self._ipv6, self._gateway) for seat in seats]
        steps = server_steps(cards, self._virtual(PacketForwarding.DR, PacketForwarding.TUN), self._ipv6)
        self._node(SERVERS, Role.ROUTER, links_of(seats, cards, BEHIND), steps)

    def _unwrapping(self) -> None:
        """The guest of the servers that are reached by tunnels."""
        seats = self._tunnelled
        if not seats:
            return
        nets = list(dict.fromkeys(seat.net for seat in seats))
        steps = unwrapping_steps(seats, nets, self._network, self._ipv6)
        modules = (
            *("nf_conntrack", "iptable_nat", "iptable_raw", "xt_nat", "xt_tcpudp"),
            *(("sit", "ip6_tunnel") if self._ipv6 else ()),
        )
        needs = frozenset({Need.IPIP, Need.IPVS_SNAT})
        links = [(net, None) for net in (*nets, BEHIND)]
        self._node(TUNNELS, Role.ROUTER, links, steps, needs, modules)

    def _gateway(self, seat: Seat) -> str | None:
        """Where replies of a NAT server go: a moving address of the directors in its network, or a
        director's own.
        """
        net = self._network.nets[seat.net]
        version = ipaddress.ip_address(seat.address).version
        doors = {door.address for director in self._directors for door in director.doors(self._marks)}
        for director in self._directors:
            for _, moving, _ in director.moving():
                own = ipaddress.ip_interface(moving).ip
                if own.version == version and net.holds(own) and str(own) not in doors:
                    return str(own)
        for director in self._directors:
            fixed = self._network.director_address(director.name, seat.net, version)
            if fixed:
                return fixed
        return None

    def _doors(self, forwarding: PacketForwarding) -> list[Door]:
        """Doors of the services that have a server reached in this way."""
        return [
            door
            for director in self._directors
            for service in director.services
            if any(server.forwarding is forwarding for server in service.real_servers)
            for door in doors_of(service, self._marks)
        ]

    def _virtual(self, *forwardings: PacketForwarding) -> list[str]:
        """Their addresses, each "address/length"."""
        found = dict.fromkeys(door.address for forwarding in forwardings for door in self._doors(forwarding))
        return [f"{vip}/{128 if ':' in vip else 32}" for vip in found]


def _needs(director: Director) -> frozenset[Need]:
    needs = {Need.IP_VS}
    if director.iptables:
        needs.add(Need.IPVS_SNAT)
    return frozenset(needs)


def _modules(director: Director) -> tuple[str, ...]:
    schedulers = required_modules(director.services)
    ftp = ["ip_vs_ftp"] if any(service.port == 21 for service in director.services) else []
    marks = ["xt_mark", "iptable_mangle", "xt_mac", "xt_multiport", "xt_tcpudp"] if director.iptables else []
    return tuple(dict.fromkeys((*schedulers, *ftp, *marks)))
