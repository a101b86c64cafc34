"""A director as its files describe it, and the doors at which users come in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.service import Protocol, RealServer, VirtualService
from lvslab.reading.configured import ConfiguredServer, Pool
from lvslab.reading.keepalived import Keepalived
from lvslab.reading.ldirectord import Ldirectord
from lvslab.reading.vrrp import SyncSettings, Vrrp


class Manager(StrEnum):
    """Who builds the table of a director."""

    KEEPALIVED = "keepalived"
    LDIRECTORD = "ldirectord"
    RULES = "ipvsadm"
    """`ipvsadm -R` once, and nobody afterwards."""


@dataclass(frozen=True)
class Door:
    """Where users come in: what packets are sent to.

    Attributes:
        protocol: never a firewall mark.
    """

    protocol: Protocol
    address: str
    port: int

    @property
    def name(self) -> str:
        return f"{self.protocol.label} {Endpoint(self.address, self.port)}"

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.address


_SOME_PORT = 80

Marks = Mapping[int, Sequence[Door]]
"""Firewall mark → the doors whose packets get it, as the rules say."""


def doors_of(service: VirtualService, marks: Marks) -> tuple[Door, ...]:
    """The doors of a service; a service of every port is tried at one."""
    if service.fwmark:
        return tuple(marks.get(service.fwmark, ()))
    return (Door(service.protocol, service.address, service.port or _SOME_PORT),)


@dataclass(frozen=True)
class Director:
    """What one director's files ask for.

    Attributes:
        files: path on the user's machine → text, of all that its daemon reads.
        main: the one that the daemon is started with.
        pools: virtual services with their servers.
        instances: VRRP.
        sync: connection synchronisation by the daemon, or None.
        interfaces: all names that the files mention.
        own: interface → the addresses, each "address/length", that the files say are this
            machine's.
        macs: interface → its MAC address, where the files say it.
        sysctls: that the files set.
        iptables: text for iptables-restore(8), "" without.
        scripts: paths of the programs that the daemon would run.
        notes: sentences about what was not understood.
        config_id: for conditional lines of keepalived.conf (keepalived(8), --config-id).
        in_turn: whether one process makes all checks, one after the other: ldirectord without
            fork=yes.
        is_whole: whether `own` is all that it has: a virtual address that is not there is nowhere.
        kernel: that the plan gives it, "" for the one that all have.
        read: its daemon's configuration file, as the doctor knows it; None: it has none.
    """

    name: str
    manager: Manager
    files: Mapping[str, str]
    main: str
    pools: tuple[Pool, ...]
    instances: tuple[Vrrp, ...] = ()
    sync: SyncSettings | None = None
    interfaces: tuple[str, ...] = ()
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    macs: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    iptables: str = ""
    scripts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    config_id: str = ""
    in_turn: bool = False
    is_whole: bool = False
    kernel: str = ""
    read: Keepalived | Ldirectord | None = None

    @property
    def services(self) -> Iterator[VirtualService]:
        """Every service, as it stands in the table when all servers are well."""
        for pool in self.pools:
            yield from pool.services

    @property
    def servers(self) -> Iterator[tuple[Pool, ConfiguredServer]]:
        """Each server of each pool, sorry servers too."""
        for pool in self.pools:
            yield from ((pool, server) for server in pool.servers)
            if pool.sorry:
                yield pool, ConfiguredServer(pool.sorry)

    @property
    def sources(self) -> Iterator[str]:
        """Its own addresses that its checks ask from."""
        for _, configured in self.servers:
            yield from (check.source for check in configured.checks if check.source)

    def doors(self, marks: Marks) -> Iterator[Door]:
        for service in self.services:
            yield from doors_of(service, marks)

    def moving(self) -> Iterator[tuple[Vrrp, str, str]]:
        """Each address that moves with VRRP: the instance, "address/length", the link."""
        for instance in self.instances:
            for address in instance.addresses:
                yield instance, f"{address.ip}/{address.prefix}", address.link or instance.interface


def is_loopback(server: RealServer) -> bool:
    """Whether a server is the director itself, by its loopback address."""
    return ipaddress.ip_address(server.address).is_loopback


def asked_beside(directors: Iterable[Director], marks: Marks) -> dict[str, str]:
    """Address at which checks ask, and which is no real server's → the real server whose other
    address it is; "" where checks of several ask there, so that it is a machine of its own.
    """
    taken = {configured.server.address for director in directors for _, configured in director.servers}
    for director in directors:
        taken |= {door.address for door in director.doors(marks)}
        taken |= {address.partition("/")[0] for _, address, _ in director.moving()}
    beside: dict[str, str] = {}
    for director in directors:
        for _, configured in director.servers:
            for check in configured.checks:
                address, own = check.address, configured.server.address
                if address and address not in taken and not ipaddress.ip_address(address).is_loopback:
                    beside[address] = own if beside.get(address, own) == own else ""
    return beside
