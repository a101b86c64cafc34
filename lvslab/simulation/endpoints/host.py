"""Hosts: cards, addresses, routes, and the protocols above IP."""

from __future__ import annotations

import random

from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints.addresses import Network, address, link_local, mac_address, text_of
from lvslab.simulation.endpoints.base import Card, Packet, Problem, Transport
from lvslab.simulation.endpoints.icmp import ICMP, ICMPV6, Icmp
from lvslab.simulation.endpoints.interface import Interface
from lvslab.simulation.endpoints.ip import IPv4, IPv6
from lvslab.simulation.endpoints.path import IPv4Path, IPv6Path, Path
from lvslab.simulation.endpoints.tcp import TCP, Tcp, TcpSettings
from lvslab.simulation.endpoints.udp import UDP, Udp


class Host:
    """A machine at the edge of the network, or a router between two.

    Attributes:
        addresses: address → the card that has it, None: the loopback.
        forwarding: whether packets for others are sent on.
        arp_ignore, arp_announce: as Linux's sysctls of that name, see `arp`.
        up: with its power off it neither hears nor says anything.
        boots: how often it was powered on.
    """

    def __init__(
        self,
        calendar: Calendar,
        name: str,
        *,
        seed: int = 0,
        forwarding: bool = False,
        arp_ignore: int = 0,
        arp_announce: int = 0,
        tcp: TcpSettings | None = None,
    ) -> None:
        """
        Args:
            seed: two hosts of one name and seed choose the same numbers and ports.
            tcp: settings of its TCP, None: Linux's.
        """
        self.calendar, self.name, self.forwarding = calendar, name, forwarding
        self.random = random.Random(f"{seed} {name}")
        self.arp_ignore, self.arp_announce = arp_ignore, arp_announce
        self.up, self.boots = True, 1
        self.interfaces: list[Interface] = []
        self.addresses: dict[bytes, Card | None] = {}
        self._routes: list[tuple[Network, bytes]] = []
        self._paths: dict[bytes, Path] = {}
        self._sources: dict[bytes, bytes | None] = {}
        self._identification = self.random.getrandbits(16)
        self._ipv4, self._ipv6 = IPv4(self, self._relay), IPv6(self, self._relay)
        self.icmp, self.icmpv6 = Icmp(self, 4), Icmp(self, 6, self._discover)
        self.udp = Udp(self)
        self.tcp = Tcp(self, self.path, tcp)
        self._protocols: dict[int, Transport] = {
            ICMP: self.icmp,
            ICMPV6: self.icmpv6,
            UDP: self.udp,
            TCP: self.tcp,
        }

    # -- what it is made of ------------------------------------------------------------------------

    def plug(self, mac: str, *addresses: str, mtu: int = 1500) -> Interface:
        """A further card with these addresses ("10.0.0.1/24"), to be plugged into a link or a rack.
        It has an IPv6 link-local address besides.
        """
        card = Interface(self, mac_address(mac), mtu, self._ipv4.receive, self._ipv6.receive)
        self.interfaces.append(card)
        for text in addresses:
            self.assign(card, text)
        self.assign(card, f"{text_of(link_local(card.mac))}/64")
        return card

    def assign(self, card: Interface, text: str) -> None:
        """Give a card a further address."""
        network = Network.parse(text)
        card.addresses.append(network)
        self.addresses[network.address] = card
        self._forget_ways()
        for each in self.interfaces:
            each.expect(network.address)

    def own(self, text: str) -> None:
        """Give the loopback an address, as DR and TUN servers have the virtual one."""
        octets = address(text)
        self.addresses[octets] = None
        self._forget_ways()
        for card in self.interfaces:
            if len(octets) == 4:
                card.expect(octets)

    def disown(self, text: str) -> None:
        """Take an address away, from whichever card or the loopback has it."""
        octets = address(text)
        self.addresses.pop(octets, None)
        for card in self.interfaces:
            card.addresses[:] = [network for network in card.addresses if network.address != octets]
        self._forget_ways()

    def route(self, network: str, via: str) -> None:
        """A route; "0.0.0.0/0" and "::/0" are the default. The most exact one counts, and of two
        alike the later.

        Raises:
            UsageError: one of the words is no address.
        """
        self._routes.insert(0, (Network.parse(network), address(via)))
        self._routes.sort(key=lambda route: -route[0].length)
        self._forget_ways()

    def add_protocol(self, number: int, transport: Transport) -> None:
        """A further protocol above IP."""
        self._protocols[number] = transport

    def power_off(self) -> None:
        """Without a word, and nothing of what it knew is left."""
        self.up = False
        for card in self.interfaces:
            card.up = False
            card.forget()
        for transport in self._protocols.values():
            transport.forget()
        self._forget_ways()

    def power_on(self) -> None:
        """It is there again, as a machine that has just booted."""
        self.up, self.boots = True, self.boots + 1
        for card in self.interfaces:
            card.up = True

    def _forget_ways(self) -> None:
        """Addresses or routes have changed."""
        self._paths.clear()
        self._sources.clear()

    # -- sending -----------------------------------------------------------------------------------

    def path(self, destination: bytes) -> Path | None:
        """The way to a destination, None without one."""
        path = self._paths.get(destination)
        if path is None:
            path = self._find(destination)
            if path is not None:
                self._paths[destination] = path
        return path

    def source_for(self, destination: bytes, card: Card | None = None) -> bytes | None:
        """The address with which to speak to another: of the card that leads there, best one of the
        same subnet. `card`: one of this card.
        """
        if card is not None:
            return self._source(destination, card)
        if destination not in self._sources:
            leading = self._leading(destination)
            self._sources[destination] = self._source(destination, leading[0]) if leading else None
        return self._sources[destination]

    def _source(self, destination: bytes, card: Card) -> bytes | None:
        own = [network for network in card.addresses if len(network.address) == len(destination)]
        near = [network for network in own if destination in network]
        best = near or own
        return best[0].address if best else None

    def send(self, source: bytes, destination: bytes, protocol: int, payload: bytes) -> None:
        """Send a packet; without a way its protocol meets a problem a moment later."""
        if not self.up:
            return
        path = self._paths.get(destination) or self.path(destination)
        if path is not None:
            path.send(source, protocol, payload)
            return
        packet = Packet(b"", source, destination, protocol, payload, 0, None)
        if destination in self.addresses:
            self.calendar.after(0, self.take, packet)
        else:
            self.calendar.after(0, self.problem, packet, Problem.NETWORK_UNREACHABLE)

    def next_identification(self) -> int:
        """For the next IPv4 packet or fragmented IPv6 packet."""
        self._identification = number = (self._identification + 1) & 0xFFFF
        return number

    def _leading(self, destination: bytes) -> tuple[Interface, bytes] | None:
        """The card that leads to a destination, and the next hop."""
        near = self._near(destination)
        if near is not None:
            return near, destination
        for network, hop in self._routes:
            if destination in network:
                card = self._near(hop)
                if card is not None:
                    return card, hop
        return None

    def _near(self, destination: bytes) -> Interface | None:
        """The card in whose subnet an address is, the most exact one."""
        best: tuple[int, Interface] | None = None
        for card in self.interfaces:
            for network in card.addresses:
                if destination in network and (best is None or network.length > best[0]):
                    best = network.length, card
        return best[1] if best else None

    def _find(self, destination: bytes) -> Path | None:
        if destination in self.addresses:
            return None
        found = self._leading(destination)
        if found is None:
            return None
        card, hop = found
        if len(destination) == 4:
            return IPv4Path(self, card.arp.neighbours, destination, hop, card.mtu)
        return IPv6Path(self, card.discovery.neighbours, destination, hop, card.mtu)

    # -- receiving ---------------------------------------------------------------------------------

    def take(self, packet: Packet) -> None:
        """Give a packet to the protocol above."""
        transport = self._protocols.get(packet.protocol)
        if transport is not None:
            transport.receive(packet)
        elif packet.destination in self.addresses:
            self.refuse(packet, Problem.PROTOCOL_UNREACHABLE)

    def decapsulate(self, data: bytes, card: Card | None) -> None:
        """An IP packet that was inside another one has arrived."""
        if data[:1]:
            (self._ipv4 if data[0] >> 4 == 4 else self._ipv6).receive(card, data)

    def problem(self, quoted: Packet, problem: Problem, mtu: int = 0) -> None:
        """Tell the protocol whose packet met a problem."""
        if problem is Problem.TOO_BIG:
            path = self.path(quoted.destination)
            if path is not None:
                path.lower(mtu)
        transport = self._protocols.get(quoted.protocol)
        if transport is not None and self.up:
            transport.problem(quoted, problem, mtu)

    def refuse(self, packet: Packet, problem: Problem, mtu: int = 0) -> None:
        """Send an ICMP error about a packet."""
        (self.icmp if len(packet.source) == 4 else self.icmpv6).refuse(packet, problem, mtu)

    def _discover(self, packet: Packet) -> None:
        for card in self.interfaces:
            if card is packet.card:
                card.discovery.receive(packet)

    def _relay(self, packet: Packet) -> None:
        """A packet for another machine: sent on by a router, dropped by others (RFC 1122, 3.3.4.2;
        a group's packet by both).
        """
        first = packet.destination[0]
        group = first == 0xFF or (len(packet.destination) == 4 and first >= 224)
        if not self.forwarding or group:
            return
        path = self.path(packet.destination)
        if packet.hops <= 1:
            self.refuse(packet, Problem.HOPS_EXCEEDED)
        elif path is None:
            self.refuse(packet, Problem.NETWORK_UNREACHABLE)
        elif len(packet.data) > path.mtu:
            self.refuse(packet, Problem.TOO_BIG, path.mtu)
        else:
            path.relay(packet.data)

    def __repr__(self) -> str:
        return f"<host {self.name}>"
