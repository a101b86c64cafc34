"""What was seen of a director and its network: data only, as the machines' own programs and files
tell it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection, Counters, Timeouts
from lvslab.ipvs.service import PacketForwarding, RealServer, VirtualService
from lvslab.modes.base import Role
from lvslab.reading.ipvs import SyncDaemon
from lvslab.reading.keepalived import Keepalived
from lvslab.reading.ldirectord import Ldirectord
from lvslab.reading.network import Address, Link, Neighbour, Route, RoutingRule, is_network
from lvslab.reading.sockets import Socket


class Part(StrEnum):
    """What there is to read of a machine; the value says how a person gets it."""

    TABLE = "ipvsadm -S -n"
    CONNECTIONS = "ipvsadm -L -n -c"
    STATS = "ipvsadm -L -n --stats"
    TIMEOUTS = "ipvsadm -L --timeout"
    DAEMONS = "ipvsadm -L --daemon"
    SYSCTLS = "sysctl -a"
    RELEASE = "uname -r"
    LINKS = "ip address"
    ROUTES = "ip route show table all; ip rule"
    NEIGHBOURS = "ip neigh"
    RULES = "iptables-save, or nft list ruleset"
    SOCKETS = "ss -ltun"


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

    @cached_property
    def _by_destination(self) -> Mapping[Endpoint, list[Connection]]:
        """A table of hundreds of servers may have tens of thousands of entries."""
        index: dict[Endpoint, list[Connection]] = {}
        for entry in self.connections:
            index.setdefault(entry.destination, []).append(entry)
        return index

    def entries_at(self, server: RealServer) -> Sequence[Connection]:
        """The entries and templates that lead to a real server's address and port."""
        return self._by_destination.get(server.endpoint, ())


@dataclass(frozen=True)
class Machine:
    """What was read of one machine.

    Attributes:
        role: what it is in the network.
        routing_rules: lines of ip-rule(8).
        sysctls: kernel parameter with dots → value; only those that the doctor looks at.
        rules: lines of iptables-save(8) and arptables-save, each with its table in front: "nat -A
            POSTROUTING …".
        programs: names of running programs.
        paths: (source address or "", destination) → how the kernel would send there, None: it has
            no route.
        logs: file → last lines.
        counts: numbers that the kernel keeps, by name: "nf_conntrack_count", …
        ipvs: None where the kernel has no virtual server.
        keepalived, ldirectord: configuration files that were given with it.
        unread: what could not be read, and why.
        lacks: what nobody has tried to read, of a machine that is known from files only.
    """

    name: str
    role: Role
    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    routing_rules: tuple[RoutingRule, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    sockets: tuple[Socket, ...] = ()
    rules: tuple[str, ...] = ()
    programs: frozenset[str] = frozenset()
    paths: Mapping[tuple[str, str], Route | None] = field(default_factory=dict)
    logs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    ipvs: Ipvs | None = None
    keepalived: Keepalived | None = None
    ldirectord: Ldirectord | None = None
    unread: tuple[str, ...] = ()
    lacks: frozenset[Part] = frozenset()

    def is_before(self, *release: int) -> bool | None:
        """Whether its kernel is older than a release, (5, 16); None: the release is not known."""
        match = re.match(r"(\d+)\.(\d+)", self.sysctls.get("kernel.osrelease", ""))
        return (int(match[1]), int(match[2])) < release if match else None

    @property
    def routed_marks(self) -> frozenset[int]:
        """Firewall marks that its routing asks for."""
        return frozenset(rule.mark for rule in self.routing_rules if rule.mark)

    @property
    def told(self) -> bool:
        """Whether anything at all is known of it."""
        files = self.keepalived or self.ldirectord
        return files is not None or self.lacks != frozenset(Part)

    def link(self, name: str) -> Link | None:
        """A link by name."""
        return next((each for each in self.links if each.name == name), None)

    @property
    def addresses(self) -> Iterator[tuple[Link, Address]]:
        """All its addresses with their links."""
        return ((link, address) for link in self.links for address in link.addresses)

    def has(self, ip: str) -> bool:
        """Whether an address is its own: of a link, or by a local route."""
        return any(address.ip == ip for _, address in self.addresses) or (bool(ip) and self.takes(ip))

    def takes(self, ip: str) -> bool:
        """Whether it accepts packets to an address, as its routing says."""
        path = self.paths.get(("", ip))
        if path is not None:
            return path.kind == "local"
        wanted = ipaddress.ip_address(ip)
        return any(
            route.kind == "local"
            and is_network(route.destination)
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
        # who answers a link-local client does not need a route
        return tuple(dict.fromkeys(each for each in found if not each.startswith("fe80:")))


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
