"""The network that a director's files imply: subnets, who is in which, and by which interface.

What the files do not say is guessed, and each guess is a sentence.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lvslab.errors import UsageError
from lvslab.ipvs.service import PacketForwarding
from lvslab.rehearse.director import Director, Marks, asked_beside

Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

OUTSIDE = "net0"
"""Name of the network where the users are."""

USERS = 16
"""Users a family, each with an address of its own: persistence and hashes tell them apart."""

GUESSED_LENGTH = {4: 24, 6: 64}
"""Prefix length of a network of which only addresses are known."""

CLIENT_SUBNETS = (ipaddress.ip_network("198.51.100.0/24"), ipaddress.ip_network("2001:db8:c::/64"))
"""Where the users are, behind a router (RFC 5737, RFC 3849)."""

_SPARE = {4: "100.64.{}.0/24", 6: "fd00:5a:0:{}::/64"}
"""For a network of which the files know one family only, while users come by both."""

_OTHER_CLIENT_SUBNETS = (ipaddress.ip_network("203.0.113.0/24"), ipaddress.ip_network("2001:db8:d::/64"))


@dataclass
class Net:
    """One network: a switch with its subnets.

    Attributes:
        name: of the switch.
        subnets: at most one a family.
    """

    name: str
    subnets: list[Subnet] = field(default_factory=list)

    def holds(self, address: Address) -> bool:
        return any(address in subnet for subnet in self.subnets)

    def of_family(self, version: int) -> Subnet | None:
        return next((subnet for subnet in self.subnets if subnet.version == version), None)


@dataclass(frozen=True)
class Port:
    """A director's interface.

    Attributes:
        interface: its name in the files.
        net: the network's name.
        addresses: the director's own, each "address/length".
    """

    interface: str
    net: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """All networks of a rehearsal.

    Attributes:
        nets: by name, the clients' network first.
        ports: director → its interfaces.
        routers: network name → the router's addresses in it, each "address/length".
        clients: addresses of the users, each "address/length".
        newcomers: of users who come when a fault is there already, as persistence binds the others.
        guesses: what was not in the files.
    """

    nets: Mapping[str, Net]
    ports: Mapping[str, tuple[Port, ...]]
    routers: Mapping[str, tuple[str, ...]]
    clients: tuple[str, ...]
    guesses: tuple[str, ...]
    newcomers: tuple[str, ...] = ()

    def net_of(self, address: str) -> Net:
        return _net_of(self.nets.values(), ipaddress.ip_address(address))

    def router(self, net: str, version: int) -> str | None:
        """The router's address in a network, without its length."""
        return next(
            (
                str(interface.ip)
                for interface in map(ipaddress.ip_interface, self.routers[net])
                if interface.version == version
            ),
            None,
        )

    def director_address(self, director: str, net: str, version: int) -> str | None:
        """A director's own address in a network, without its length; None where it has none."""
        return next(
            (
                str(own.ip)
                for port in self.ports[director]
                if port.net == net
                for own in map(ipaddress.ip_interface, port.addresses)
                if own.version == version
            ),
            None,
        )


def network_of(directors: Sequence[Director], marks: Marks) -> Network:
    """The network that the files of some directors imply.

    Raises:
        UsageError: the files contradict each other.
    """
    return _Builder(directors, marks).build()


class _Builder:
    def __init__(self, directors: Sequence[Director], marks: Marks) -> None:
        self._directors, self._marks = directors, marks
        self._guesses: list[str] = []
        self._nets: list[Net] = []
        self._interface_nets: dict[str, Net] = {}
        self._used = {address for director in directors for address in _addresses(director, marks)}

    def build(self) -> Network:
        for director in self._directors:
            self._known(director)
        for director in self._directors:
            self._doors(director)
        self._servers()
        for director in self._directors:
            self._sources(director)
            self._named(director)
        families = sorted({4, *(address.version for address in self._used)})
        clients = Net(OUTSIDE, [self._free_subnet(version) for version in families])
        for number, net in enumerate(self._nets, start=1):
            for version in families:
                if net.of_family(version) is None:  # replies need a way, whatever family they have
                    net.subnets.append(ipaddress.ip_network(_SPARE[version].format(number)))
        nets = {net.name: net for net in (clients, *self._nets)}
        routers = {
            net.name: tuple(self._host(subnet, from_top=True) for subnet in net.subnets)
            for net in nets.values()
        }
        ports = {director.name: self._ports(director) for director in self._directors}
        people, newcomers = (
            tuple(self._host(subnet) for subnet in clients.subnets for _ in range(USERS)) for _ in range(2)
        )
        self._guesses.append(
            f"users are in {' and '.join(map(str, clients.subnets))}, behind a router with a foot in every"
            " network"
        )
        return Network(nets, ports, routers, people, tuple(dict.fromkeys(self._guesses)), newcomers)

    # -- networks ----------------------------------------------------------------------------------

    def _known(self, director: Director) -> None:
        """Networks of which the files give address, prefix length and interface."""
        for interface, addresses in director.own.items():
            for address in addresses:
                own = ipaddress.ip_interface(address)
                if own.network.prefixlen < own.max_prefixlen and not own.ip.is_loopback:
                    self._join(interface, own.network)
        for _, address, link in director.moving():
            own = ipaddress.ip_interface(address)
            if own.network.prefixlen < own.max_prefixlen and link != "lo":
                self._join(link, own.network)

    def _doors(self, director: Director) -> None:
        """Networks of the virtual addresses whose prefix length nobody says."""
        for instance, address, link in director.moving():
            self._place(ipaddress.ip_interface(address).ip, link, f"an address of {instance.name}")
        first = self._first_interface(director)
        for door in director.doors(self._marks):
            self._place(ipaddress.ip_address(door.address), first, "virtual address")

    def _named(self, director: Director) -> None:
        """Interfaces of which the files give the name only."""
        for interface in director.interfaces:
            if interface in self._interface_nets or interface in ("lo", ""):
                continue
            taken = {net.name for net in self._interface_nets.values()}
            spare = next((net for net in self._nets if net.name not in taken), None)
            if spare is None:
                spare = self._new(self._spare_subnet())
                self._guesses.append(f"{interface} has a network of its own, {spare.subnets[0]}")
            self._interface_nets[interface] = spare

    def _servers(self) -> None:
        """Networks of the real servers, and how the directors reach them."""
        for director in self._directors:
            for _, configured in director.servers:
                server = configured.server
                address = ipaddress.ip_address(server.address)
                if address.is_loopback:
                    continue
                net = self._net(address)
                if net is None:
                    net = self._new(self._guessed(address))
                    self._guesses.append(f"real server {address} is in {net.subnets[-1]}")
                direct = server.forwarding != PacketForwarding.TUN
                if direct and all(net is not joined for joined in self._interface_nets.values()):
                    interface = self._spare_interface(director)
                    self._interface_nets[interface] = net
                    self._guesses.append(
                        f"the director reaches {net.subnets[0]} by its interface {interface}, as"
                        f" {server.forwarding.value} needs a network in common"
                    )

        for text in asked_beside(self._directors, self._marks):
            address = ipaddress.ip_address(text)
            if self._net(address) is None:
                net = self._new(self._guessed(address))
                self._guesses.append(f"{address}, at which a check asks, is in {net.subnets[-1]}")

    def _sources(self, director: Director) -> None:
        """Interfaces that hold the addresses from which its checks ask."""
        for text in director.sources:
            net = self._net(ipaddress.ip_address(text))
            interface = self._spare_interface(director)
            if net is None:
                self._place(ipaddress.ip_address(text), interface, "an address from which checks ask")
            elif all(net is not joined for joined in self._interface_nets.values()):
                self._interface_nets[interface] = net
                self._guesses.append(f"{director.name} has {text}, from which checks ask, on {interface}")

    def _place(self, address: Address, interface: str, what: str) -> None:
        if self._net(address) is not None or address.is_loopback:
            return
        subnet = self._guessed(address)
        self._guesses.append(f"{what}, {address}, is in {subnet} on {interface}")
        self._join(interface, subnet)

    def _join(self, interface: str, subnet: Subnet) -> None:
        """A subnet on an interface: of the network that it has already, where there is room."""
        known = next((net for net in self._nets if subnet in net.subnets), None)
        net = self._interface_nets.get(interface)
        if known is not None:
            self._interface_nets.setdefault(interface, known)
            return
        if net is None:
            net = self._interface_nets[interface] = self._new(subnet)
        else:
            net.subnets.append(subnet)

    def _new(self, subnet: Subnet) -> Net:
        net = Net(f"net{len(self._nets) + 1}", [subnet])
        self._nets.append(net)
        return net

    def _net(self, address: Address) -> Net | None:
        return next((net for net in self._nets if net.holds(address)), None)

    @staticmethod
    def _guessed(address: Address) -> Subnet:
        return ipaddress.ip_interface(f"{address}/{GUESSED_LENGTH[address.version]}").network

    def _spare_subnet(self) -> Subnet:
        """For an interface of which the files give nothing but the name."""
        private = ipaddress.ip_network("172.31.0.0/16").subnets(new_prefix=24)
        held = [subnet for net in self._nets for subnet in net.subnets if subnet.version == 4]
        return next(subnet for subnet in private if not any(subnet.overlaps(other) for other in held))

    def _free_subnet(self, version: int) -> Subnet:
        for subnet in (*CLIENT_SUBNETS, *_OTHER_CLIENT_SUBNETS):
            clash = any(
                net.overlaps(subnet) for held in self._nets for net in held.subnets if net.version == version
            )
            if subnet.version == version and not clash:
                return subnet
        raise UsageError(
            "the files use all the networks for examples (RFC 5737); give the users' in the plan"
        )

    # -- interfaces and hosts ----------------------------------------------------------------------

    @staticmethod
    def _first_interface(director: Director) -> str:
        return next((name for name in (*director.own, *director.interfaces) if name != "lo"), "eth0")

    def _spare_interface(self, director: Director) -> str:
        named = [name for name in (*director.own, *director.interfaces) if name != "lo"]
        numbered = [f"eth{number}" for number in range(100)]
        return next(name for name in (*named, *numbered) if name not in self._interface_nets)

    def _ports(self, director: Director) -> tuple[Port, ...]:
        ports = []
        for interface, net in self._interface_nets.items():
            own = [
                address
                for address in director.own.get(interface, ())
                if ipaddress.ip_interface(address).network.prefixlen
                < ipaddress.ip_interface(address).max_prefixlen
            ]
            held = {ipaddress.ip_interface(address).ip for address in own}
            held |= {ipaddress.ip_interface(moving).ip for _, moving, _ in director.moving()}
            for text in dict.fromkeys(director.sources):
                source = ipaddress.ip_address(text)
                own += [
                    f"{source}/{subnet.prefixlen}"
                    for subnet in net.subnets
                    if source in subnet and source not in held
                ]
            for subnet in net.subnets:
                if not any(ipaddress.ip_interface(address).ip in subnet for address in own):
                    chosen = self._host(subnet)
                    own.append(chosen)
                    self._guesses.append(f"{director.name} has {chosen} on {interface}")
            ports.append(Port(interface, net.name, tuple(own)))
        return tuple(ports)

    def _host(self, subnet: Subnet, from_top: bool = False) -> str:
        """A free address of a subnet, "address/length"; the router's from the top."""
        last = subnet.num_addresses - (2 if subnet.version == 4 else 1)
        numbers: Iterable[int] = range(last, 0, -1) if from_top else range(2, last)
        for number in numbers:
            address = subnet[number]
            if address not in self._used:
                self._used.add(address)
                return f"{address}/{subnet.prefixlen}"
        raise UsageError(f"network {subnet}: has no free address for the rehearsal's own machines")


def _net_of(nets: Iterable[Net], address: Address) -> Net:
    return next(net for net in nets if net.holds(address))


def _addresses(director: Director, marks: Marks) -> Iterator[Address]:
    """Every address that the files name."""
    for door in director.doors(marks):
        yield ipaddress.ip_address(door.address)
    for _, configured in director.servers:
        yield ipaddress.ip_address(configured.server.address)
    for text in (*director.sources, *asked_beside([director], marks)):
        yield ipaddress.ip_address(text)
    for _, moving, _ in director.moving():
        yield ipaddress.ip_interface(moving).ip
    for addresses in director.own.values():
        for address in addresses:
            yield ipaddress.ip_interface(address).ip
