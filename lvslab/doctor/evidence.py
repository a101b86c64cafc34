"""What was seen of a director and its network: data only, as the machines' own programs and files
tell it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection, Counters, Timeouts
from lvslab.ipvs.service import PacketForwarding, RealServer, VirtualService
from lvslab.modes.base import Role


@dataclass(frozen=True)
class Address:
    """An address of a link, with its prefix length; `scope` as ip-address(8) names it."""

    ip: str
    prefix: int
    scope: str = "global"


@dataclass(frozen=True)
class Link:
    """A network interface.

    Attributes:
        kind: of a virtual link: "ipip", "gre", "veth", …; "" of a card.
        up: administratively up, and with a carrier.
        arp: whether it takes part in ARP.
    """

    name: str
    mac: str = ""
    mtu: int = 1500
    kind: str = ""
    up: bool = True
    arp: bool = True
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Route:
    """An entry of a routing table, or the kernel's answer to "how do I get there".

    Attributes:
        kind: "unicast", "local", "unreachable", "blackhole", …
        destination: "default", a network or an address.
        via: the next router, "" where the destination is on the link.
        advmss: largest TCP segment that is announced over it, in bytes; 0: as the link allows.
        mtu: of the path, where it was set or learned; 0: the link's.
    """

    kind: str
    destination: str
    link: str
    via: str = ""
    table: str = "main"
    advmss: int = 0
    mtu: int = 0


@dataclass(frozen=True)
class Neighbour:
    """An entry of the ARP cache; `state` is the word of ip-neighbour(8), "REACHABLE",
    "FAILED", …
    """

    ip: str
    mac: str
    link: str
    state: str


@dataclass(frozen=True)
class Socket:
    """A TCP or UDP socket.

    Attributes:
        protocol: "tcp" or "udp".
        state: "LISTEN", "ESTABLISHED", … of TCP, "" of UDP.
        remote: None unless it is connected.
        idle: seconds since something was last sent or received on an established connection (ss(8),
            --info), None: not known.
    """

    protocol: str
    local: Endpoint
    remote: Endpoint | None
    state: str
    idle: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits for clients."""
        return self.state == "LISTEN" or (self.protocol == "udp" and self.remote is None)


@dataclass(frozen=True)
class SyncDaemon:
    """One of the two sync daemons, `ipvsadm -L --daemon`; `role` is "master" or "backup"."""

    role: str
    link: str
    syncid: int


@dataclass(frozen=True)
class Ipvs:
    """The virtual server of a machine.

    Attributes:
        services: its table.
        stats: (service name, server name) → counters; server name "" is the whole service.
        connections: its connection table, templates included.
        timeouts: None where they could not be read.
        active: (service name, server name) → connections of all states that the kernel counts at
            the server.
        synced: how many connections came from the other director.
    """

    services: tuple[VirtualService, ...] = ()
    stats: Mapping[tuple[str, str], Counters] = field(default_factory=dict)
    connections: tuple[Connection, ...] = ()
    timeouts: Timeouts | None = None
    daemons: tuple[SyncDaemon, ...] = ()
    active: Mapping[tuple[str, str], int] = field(default_factory=dict)
    synced: int = 0


@dataclass(frozen=True)
class Machine:
    """What was read of one machine.

    Attributes:
        role: what it is in the network.
        routed_marks: firewall marks that a rule of ip-rule(8) asks for.
        sysctls: kernel parameter with dots → value; only those that the doctor looks at.
        rules: lines of iptables-save(8) and arptables-save, each with its table in front: "nat -A
            POSTROUTING …".
        programs: names of running programs.
        paths: (source address or "", destination) → how the kernel would send there, None: it has
            no route.
        logs: file → last lines.
        counts: numbers that the kernel keeps, by name: "nf_conntrack_count", …
        ipvs: None where the kernel has no virtual server.
        unread: what could not be read, and why.
    """

    name: str
    role: Role
    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    routed_marks: frozenset[int] = frozenset()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    sockets: tuple[Socket, ...] = ()
    rules: tuple[str, ...] = ()
    programs: frozenset[str] = frozenset()
    paths: Mapping[tuple[str, str], Route | None] = field(default_factory=dict)
    logs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    ipvs: Ipvs | None = None
    unread: tuple[str, ...] = ()

    def is_before(self, *release: int) -> bool | None:
        """Whether its kernel is older than a release, (5, 16); None: the release is not known."""
        match = re.match(r"(\d+)\.(\d+)", self.sysctls.get("kernel.osrelease", ""))
        return (int(match[1]), int(match[2])) < release if match else None

    def link(self, name: str) -> Link | None:
        """A link by name."""
        return next((each for each in self.links if each.name == name), None)

    @property
    def addresses(self) -> Iterator[tuple[Link, Address]]:
        """All its addresses with their links."""
        return ((link, address) for link in self.links for address in link.addresses)

    def has(self, ip: str) -> bool:
        """Whether an address is its own: of a link, or by a local route."""
        return any(address.ip == ip for _, address in self.addresses) or self.takes(ip)

    def takes(self, ip: str) -> bool:
        """Whether it accepts packets to an address, as its routing says."""
        path = self.paths.get(("", ip))
        if path is not None:
            return path.kind == "local"
        wanted = ipaddress.ip_address(ip)
        return any(
            route.kind == "local"
            and route.destination != "default"
            and wanted in ipaddress.ip_network(route.destination)
            for route in self.routes
            if (":" in route.destination) == (":" in ip)
        )

    def on_link(self, ip: str) -> Link | None:
        """The link in whose network an address lies."""
        wanted = ipaddress.ip_address(ip)
        for link, address in self.addresses:
            network = ipaddress.ip_network(f"{address.ip}/{address.prefix}", strict=False)
            if (
                network.version == wanted.version
                and wanted in network
                and network.num_addresses > 1
                and link.name != "lo"
            ):
                return link
        return None

    def sysctl(self, key: str, default: int = 0) -> int:
        """A kernel parameter as a number; `default` where it is not there."""
        text = self.sysctls.get(key, "").split()
        return int(text[0]) if text and text[0].lstrip("-").isdigit() else default

    def per_link(self, key: str, link: str) -> int:
        """A parameter of net.ipv4.conf whose larger value of "all" and of the link counts:
        rp_filter, arp_ignore, arp_announce (Documentation/networking/ip-sysctl.rst).
        """
        return max(self.sysctl(f"net.ipv4.conf.all.{key}"), self.sysctl(f"net.ipv4.conf.{link}.{key}"))


def alone(ip: str) -> str:
    """An address with the length of a prefix that holds nothing else, as `ip address add` takes
    it.
    """
    return f"{ip}/{ipaddress.ip_address(ip).max_prefixlen}"


@dataclass(frozen=True)
class Packet:
    """A packet that a capture saw.

    Attributes:
        machine, link: where it was seen.
        sent: True when the machine sent it.
        protocol: "TCP", "UDP", "ICMP", "ARP".
        flags: TCP flags, as letters: "SA".
        note: ICMP or ARP in words.
        mac: of the frame's sender.
        body: beginning of the TCP or UDP payload.
    """

    machine: str
    link: str
    sent: bool
    protocol: str
    source: str
    sport: int
    destination: str
    dport: int
    flags: str = ""
    note: str = ""
    mac: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen.

    Attributes:
        machines: those that could be read.
        packets: what a capture saw; None: none was taken.
    """

    machines: tuple[Machine, ...]
    packets: tuple[Packet, ...] | None = None

    @property
    def directors(self) -> tuple[Machine, ...]:
        return tuple(each for each in self.machines if each.role == Role.DIRECTOR)

    @property
    def servers(self) -> tuple[Machine, ...]:
        return tuple(each for each in self.machines if each.role == Role.REAL_SERVER)

    def owner(self, ip: str) -> Machine | None:
        """The real server or other machine that has an address; directors and routers
        count last. A loopback address is everybody's, so it tells nothing.
        """
        if ipaddress.ip_address(ip).is_loopback:
            return None
        order = sorted(self.machines, key=lambda each: each.role != Role.REAL_SERVER)
        return next((each for each in order if any(address.ip == ip for _, address in each.addresses)), None)

    def destinations(self) -> Iterator[Destination]:
        """Every real server of every director's table, with what is known of it."""
        for director in self.directors:
            if director.ipvs:
                for service in director.ipvs.services:
                    for server in service.real_servers:
                        yield Destination(director, service, server, self.owner(server.address))

    def clients(self) -> tuple[str, ...]:
        """Addresses of clients: those of the client machines, and those in the connection
        tables.
        """
        found = [
            address.ip
            for each in self.machines
            if each.role == Role.CLIENT
            for link, address in each.addresses
            if link.name != "lo"
        ]
        for director in self.directors:
            if director.ipvs:
                found += [each.client.address for each in director.ipvs.connections if not each.is_template]
        return tuple(dict.fromkeys(each for each in found if ":" not in each))


@dataclass(frozen=True)
class Destination:
    """A real server in a table.

    Attributes:
        machine: the server itself, where it could be read.
    """

    director: Machine
    service: VirtualService
    server: RealServer
    machine: Machine | None

    @property
    def masquerades(self) -> bool:
        return self.server.forwarding is PacketForwarding.MASQ

    @property
    def tunnels(self) -> bool:
        return self.server.forwarding is PacketForwarding.TUN
