"""A lab around users' own keepalived.conf: their addresses, on networks made for them, and their
text, in which the links have the lab's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface
from pathlib import Path

from lvslab.errors import UsageError
from lvslab.ipvs.service import Protocol, VirtualService
from lvslab.modes.base import Mode, ReplyPath, Role
from lvslab.plan.plan import LabPlan
from lvslab.plan.topology import MAX_DIRECTORS, LvsTopo
from lvslab.reading.keepalived import Keepalived, read_keepalived

_MODES = ("nat", "dr")
_PREFIX = 24
"""Of networks whose size no file says."""


class Configured:
    """What one or two keepalived.conf ask for, and the network around it.

    Attributes:
        texts, files: as they were read, and what they say.
        services: TCP and UDP services at the first one's address.
        topo: the network.
    """

    def __init__(self, names: Sequence[str], mode: Mode) -> None:
        """
        Raises:
            UsageError: a file cannot be read, or asks for what no such lab can have.
        """
        if len(names) > MAX_DIRECTORS:
            raise UsageError(
                f"{len(names)} configurations: a lab has one director or a pair; give it a file each"
            )
        if mode.name not in _MODES:
            raise UsageError(f"{names[0]}: labs around a file are for the modes {', '.join(_MODES)}")
        self.texts = [_text(name) for name in names]
        self.files = [read_keepalived(text, file=name) for text, name in zip(self.texts, names, strict=True)]
        self._name = names[0]
        self.services = tuple(self._services())
        self._vip = IPv4Address(self.services[0].address)
        self._servers = self._addresses()
        self._outside = self._network(self._vip)
        self._inside = self._network(self._servers[0])
        self._check(mode)
        self._used = {self._vip, *self._servers, *(address for address, _ in self._moving())}
        self.topo = self._topology(mode)

    # -- what the files say ------------------------------------------------------------------------

    def _services(self) -> Iterator[VirtualService]:
        every = [service for pool in self.files[0].pools for service in pool.services]
        known = [
            service
            for service in every
            if service.protocol in (Protocol.TCP, Protocol.UDP) and not service.ipv6 and service.real_servers
        ]
        first = next((service for service in known if service.protocol == Protocol.TCP), None)
        if first is None:
            raise UsageError(f"{self._name}: describes no virtual server of IPv4 and TCP with real servers")
        yield first
        yield from (service for service in known if service.address == first.address and service is not first)

    def _addresses(self) -> list[IPv4Address]:
        servers = [server for service in self.services for server in service.real_servers]
        return [IPv4Address(address) for address in dict.fromkeys(server.address for server in servers)]

    def _moving(self) -> Iterator[tuple[IPv4Address, int]]:
        """The addresses that move with VRRP, and their prefix lengths."""
        for file in self.files:
            for instance in file.instances:
                for address in instance.addresses:
                    if ip_address(address.ip).version == 4:
                        yield IPv4Address(address.ip), address.prefix

    def _network(self, address: IPv4Address) -> IPv4Network:
        """The network of an address, as wide as a moving address in it says."""
        for moving, prefix in self._moving():
            network = ip_interface(f"{moving}/{prefix}").network
            if prefix < 31 and isinstance(network, IPv4Network) and address in network:
                return network
        return IPv4Network(f"{address}/{_PREFIX}", strict=False)

    def _check(self, mode: Mode) -> None:
        far = next((server for server in self._servers if server not in self._inside), None)
        if far is not None:
            raise UsageError(f"{self._name}: real servers {self._servers[0]} and {far} are in two networks")
        together = self._inside.overlaps(self._outside)
        if mode.name == "dr" and not together:
            raise UsageError(
                f"{self._name}: direct routing reaches servers in the virtual address's network only, and"
                f" {self._servers[0]} is in {self._inside}; is it --mode nat?"
            )
        if mode.name == "nat" and together:
            raise UsageError(
                f"{self._name}: NAT needs its servers in a network of their own, and {self._servers[0]} is in"
                f" {self._outside}; is it --mode dr?"
            )

    # -- the network -------------------------------------------------------------------------------

    def _free(self, network: IPv4Network) -> str:
        """An address that nobody has, from the end of a network, with its prefix length."""
        for number in range(network.num_addresses - 2, 0, -1):
            address = network[number]
            if address not in self._used:
                self._used.add(address)
                return f"{address}/{network.prefixlen}"
        raise UsageError(f"{self._name}: network {network} has no free address")

    def _topology(self, mode: Mode) -> LvsTopo:
        outside, inside, apart = self._outside, self._inside, mode.name == "nat"
        count = len(self.files)
        directors = [self._free(outside) for _ in range(count)]
        inner = [self._free(inside) for _ in range(count)] if apart else []
        client, servers = self._free(outside), [f"{server}/{inside.prefixlen}" for server in self._servers]
        moving = next((str(address) for address, _ in self._moving() if apart and address in inside), None)
        gateway = moving or (inner[0].partition("/")[0] if apart else None)

        class ConfiguredTopo(LvsTopo):
            vip = str(self._vip)
            reply_path = ReplyPath.DIRECTOR if apart else ReplyPath.DIRECT

            def build(self) -> None:
                first = self.addSwitch("s1")
                second = self.addSwitch("s2") if apart else first
                for number, address in enumerate(directors):
                    name = self.add_node("lvs" if count == 1 else f"lvs{number + 1}", Role.DIRECTOR)
                    self.attach(name, first, address)
                    if apart:
                        self.attach(name, second, inner[number])
                self.attach(self.add_node("c1", Role.CLIENT), first, client)
                for number, address in enumerate(servers, start=1):
                    name = self.add_node(f"rs{number}", Role.REAL_SERVER, gateway=gateway)
                    self.attach(name, second, address)

        return ConfiguredTopo()

    # -- the plan ----------------------------------------------------------------------------------

    def settled(self, plan: LabPlan) -> LabPlan:
        """A plan on this network, whose directors run the files."""
        texts = {
            director.name: self._renamed(text, file, [card.name for card in director.interfaces])
            for director, text, file in zip(plan.directors, self.texts, self.files, strict=True)
        }
        return replace(plan, services=self.services, vrrp={}, tables=False, keepalived=texts)

    def _renamed(self, text: str, file: Keepalived, cards: Sequence[str]) -> str:
        """A text with the lab's names of links; a link that the lab does not have keeps its own."""
        names = dict(zip(self._links(file, len(cards)), cards, strict=False))
        if not names:
            return text
        words = "|".join(re.escape(name) for name in names)
        return re.sub(rf"(?<![\w.:-])(?:{words})(?![\w.:-])", lambda match: names[match[0]], text)

    def _links(self, file: Keepalived, count: int) -> list[str]:
        """The names of a director's links in a file: the outer one, then the inner one."""
        holders: Mapping[IPv4Network, list[str]] = {self._outside: [], self._inside: []}
        for instance in file.instances:
            for address in instance.addresses:
                own = ip_address(address.ip)
                for network, names in holders.items():
                    if own in network:
                        names.append(address.link)
        outer = holders[self._outside] or [instance.interface for instance in file.instances]
        links = outer[:1]
        if count > 1:
            others = [*holders[self._inside], *(name for name in file.interfaces if name not in links)]
            links += [name for name in others if name not in links][:1]
        return links


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name}: cannot be read: {error}") from None
