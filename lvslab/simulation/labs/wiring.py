"""The network of a plan in a world: switches, links, simulated machines, and the cards of those
that have a kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvslab.errors import CannotError
from lvslab.ipvs.service import Protocol, VirtualService
from lvslab.modes.base import Ip, Role, Sysctl
from lvslab.plan.plan import LabPlan, NodePlan
from lvslab.plan.services import HTTP_PORT, HTTP_SERVER_PORT, UDP_PORT, UDP_SERVER_PORT
from lvslab.simulation.calendar import MICROSECOND, Calendar
from lvslab.simulation.cards import Card
from lvslab.simulation.endpoints import Host
from lvslab.simulation.endpoints.addresses import mac_address
from lvslab.simulation.endpoints.servers import HttpServer, UdpServer
from lvslab.simulation.endpoints.tunnels import Tunnels
from lvslab.simulation.network import Conditions, End, Link, Port, Record, Switch

CABLE = Conditions(delay=50 * MICROSECOND)
"""Of every link, unless a fault says otherwise: what two hops through a lab's bridge take."""


@dataclass(frozen=True)
class Cable:
    """A node's link to a switch; `link.forth` leads away from the node."""

    link: Link
    port: Port
    switch: Switch


class WebServer:
    """What answers on a real server: a `lvslab.lab.worlds.WebServer`."""

    title = "its web server"

    def __init__(self, host: Host, services: Sequence[VirtualService] = ()) -> None:
        """`services`: whose real servers' ports are answered besides the usual ones."""

        def ports(protocol: Protocol, *usual: int) -> tuple[int, ...]:
            own = [service for service in services if service.protocol == protocol]
            named = [server.port for service in own for server in service.real_servers]
            return tuple(dict.fromkeys((*usual, *named)))

        self._programs = (
            HttpServer(host, ports(Protocol.TCP, HTTP_PORT, HTTP_SERVER_PORT)),
            UdpServer(host, ports(Protocol.UDP, UDP_PORT, UDP_SERVER_PORT)),
        )

    @property
    def state(self) -> str | None:
        """In the words of proc(5)."""
        http = self._programs[0]
        return ("T" if http.frozen else "S") if http.alive else None

    def kill(self) -> None:
        for program in self._programs:
            program.kill()

    def start(self) -> None:
        for program in self._programs:
            program.start()

    def stop(self) -> None:
        for program in self._programs:
            program.freeze()

    def go_on(self) -> None:
        for program in self._programs:
            program.thaw()


class Wiring:
    """A plan's network.

    Attributes:
        hosts: the simulated machines.
        web_servers: of the real servers.
        cards: of the machines with a kernel, in their order.
        cables: by the names of the nodes' interfaces.
        switches: by the names of the networks.
        record: of the frames that crossed the nodes' cards.
    """

    def __init__(self, plan: LabPlan, calendar: Calendar, seed: int, *, keep: bool = False) -> None:
        """`keep`: the record keeps the frames.

        Raises:
            CannotError: a simulated machine cannot be set up as the plan asks.
        """
        self.hosts: dict[str, Host] = {}
        self.web_servers: dict[str, WebServer] = {}
        self._tunnels: dict[str, Tunnels] = {}
        self.cards: dict[str, tuple[Card, ...]] = {}
        self.cables: dict[str, Cable] = {}
        self.record = Record(calendar, keep=keep)
        self._calendar, self._seed = calendar, seed
        self._services = plan.services if plan.keepalived else ()
        self.switches: Mapping[str, Switch] = {name: Switch(calendar, name) for name in plan.networks}
        for node in plan.nodes:
            if node.is_guest:
                cards = tuple(Card(mac_address(interface.mac)) for interface in node.interfaces)
                self.cards[node.name] = cards
                self._plug(node, cards)
            else:
                self._add_host(node)

    def _plug(self, node: NodePlan, ends: tuple[End, ...]) -> None:
        for interface, end in zip(node.interfaces, ends, strict=True):
            switch = self.switches[interface.network]
            port, tap = switch.port(), self.record.tap(interface.name, end)
            link = Link(self._calendar, tap, port, CABLE, name=interface.name, seed=self._seed)
            self.cables[interface.name] = Cable(link, port, switch)

    def _add_host(self, node: NodePlan) -> None:
        host = Host(self._calendar, node.name, seed=self._seed, forwarding=node.role == Role.ROUTER)
        self.hosts[node.name] = host
        addresses = ([interface.address] if interface.address else [] for interface in node.interfaces)
        macs = (interface.mac for interface in node.interfaces)
        self._plug(node, tuple(host.plug(mac, *own) for mac, own in zip(macs, addresses, strict=True)))
        for step in (*node.network_steps, *node.mode_steps):
            if any(isinstance(action, Ip) and " dev tunl0" in action.arguments for action in step.actions):
                self._tunnels[node.name] = Tunnels(host)
            for action in step.actions:
                _apply(host, node.name, action)
        if node.role == Role.REAL_SERVER:
            server = self.web_servers[node.name] = WebServer(host, self._services)
            server.start()

    def power_on(self, name: str) -> None:
        """A simulated machine has power again, and its programs run."""
        self.hosts[name].power_on()
        if name in self._tunnels:
            self._tunnels[name].open()
        if name in self.web_servers:
            self.web_servers[name].start()


def _apply(host: Host, name: str, action: object) -> None:
    """Do to a simulated machine what a step of the plan does to a real one.

    Raises:
        CannotError: nothing simulated answers to it.
    """
    if isinstance(action, Sysctl):
        _set(host, action)
        return
    words = action.arguments if isinstance(action, Ip) else ""
    if route := re.fullmatch(r"route add (\S+) via (\S+)", words):
        host.route("0.0.0.0/0" if route[1] == "default" else route[1], route[2])
    elif added := re.fullmatch(r"address add (\S+) dev (lo|tunl0|gre0)", words):
        host.own(added[1].partition("/")[0])
    elif not re.fullmatch(r"(address add \S+ dev|link set) \S+( up)?", words):
        raise CannotError(
            f"{name}: a simulated machine knows no '{getattr(action, 'plain', lambda: action)()}'; run it in"
            " real time: --time real"
        )


def _set(host: Host, sysctl: Sysctl) -> None:
    if match := re.fullmatch(r"net\.ipv4\.conf\.\S+\.(arp_ignore|arp_announce)", sysctl.key):
        setattr(host, match[1], max(getattr(host, match[1]), int(sysctl.value)))
