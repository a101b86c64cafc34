"""A director whose kernel is a model: what `Rig` needs of a bench, without a kernel. Its model may
have a fault (a mutant), and then the checks of the schedulers have to fail.
"""

from __future__ import annotations

import itertools
import random
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, ROUTER_MAC, SERVERS, server_mac
from lvslab.conformance.models.schedulers import Algorithm, TwoRandomChoices
from lvslab.conformance.models.servers import Flow, Server
from lvslab.conformance.models.service import Model
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.ways import ways
from lvslab.ipvs.service import Protocol, Scheduler, SchedulerFlag, VirtualService

_MAC = "02:00:00:00:00:01"
_RELEASE = "6.1.176"

Make = Callable[[Scheduler, Sequence[SchedulerFlag]], Algorithm]


@dataclass(frozen=True)
class Mutant:
    """A fault of the model's kernel.

    Attributes:
        make: makes the algorithms, instead of the right one. server: class of the servers.
    """

    make: Make | None = None
    server: type[Server] = Server


class _MutantModel(Model):
    """A service of a faulty kernel."""

    mutant = Mutant()

    def _spoil(self) -> None:
        if self.mutant.make:
            self.algorithm = self.mutant.make(self.scheduler, self.flags)
            self.algorithm.changed(self.servers)

    def add(self, *arguments: Any, **options: Any) -> None:
        super().add(*arguments, **options)
        self.servers[0].__class__ = self.mutant.server
        self.algorithm.changed(self.servers)

    def edit_service(self, scheduler: Scheduler, flags: Sequence[SchedulerFlag] = ()) -> None:
        another = scheduler is not self.scheduler
        super().edit_service(scheduler, flags)
        if another:
            self._spoil()


class ModelDirector:
    """Stands in for a `Bench`; see `bench`."""

    version = _RELEASE
    iptables = "iptables"

    def __init__(self, mutant: Mutant | None = None) -> None:
        self._mutant = mutant or Mutant()
        self._services: dict[tuple[str, ...], tuple[VirtualService, _MutantModel]] = {}
        self._ports, self._clients = itertools.count(2000, 2), itertools.count(1)
        self._random = random.Random(5)

    @property
    def bench(self) -> Bench:
        """As the checks' type has it."""
        return cast(Bench, self)

    def port(self) -> int:
        return next(self._ports)

    def client(self, version: int = 4) -> str:
        return NETS[version].client(next(self._clients))

    def apply(self, script: str, undo: str) -> None:
        """Marks and routes: packets to many addresses are told by their destination here."""

    def sysctl(self, key: str, value: str | int) -> None:
        raise NotImplementedError(key)

    def add(self, service: VirtualService) -> VirtualService:
        counts_active = service.protocol is not Protocol.UDP
        version = 6 if service.is_ipv6 else 4
        model = _MutantModel(
            service.scheduler, service.scheduler_flags, counts_active, ways(_RELEASE), version
        )
        model.mutant = self._mutant
        model._spoil()
        self._services[service.selector] = (service, model)
        for server in service.real_servers:
            self._put(model, server.address, server.port, ("-w", str(server.weight), *server.options))
        return service

    @staticmethod
    def _put(model: Model, address: str, port: int, options: Sequence[str], edit: bool = False) -> None:
        said = {name: int(value) for name, value in itertools.pairwise(options) if name in ("-w", "-x", "-y")}
        number = _number(address)
        values = {"weight": said.get("-w", 1), "upper": said.get("-x", 0), "lower": said.get("-y", 0)}
        if edit:
            model.edit(number, **values)
        else:
            model.add(number, address, port, **values)

    def run(self, script: str) -> str:
        """ipvsadm's commands about servers and schedulers, and a look at the table."""
        if "ip_vs" in script and "ipvsadm" not in script:
            return "\n".join(line for _, model in self._services.values() for line in _listed(model.servers))
        for line in script.splitlines():
            words = shlex.split(line)
            if words[:1] == ["ipvsadm"]:
                self._command(words[1:])
        return ""

    def _command(self, words: list[str]) -> None:
        selector = next(each for each in self._services if tuple(words[1 : 1 + len(each)]) == each)
        _, model = self._services[selector]
        rest = words[1 + len(selector) :]
        if words[0] == "-E":
            said = dict(itertools.pairwise(rest))
            flags = said.get("-b", "")
            names = [SchedulerFlag(each) for each in flags.split(",") if each]
            model.edit_service(Scheduler(said["-s"]), names)
            return
        address, port = rest[1].rsplit(":", 1)
        address = address.strip("[]")
        if words[0] == "-d":
            model.remove(_number(address))
        else:
            self._put(model, address, int(port), rest[2:], words[0] == "-e")

    def from_client(self, *packets: Packet) -> Seen:
        seen = Seen()
        for sent in packets:
            packet = sent.copy()
            transport = packet.payload
            service, model = next(
                pair
                for pair in self._services.values()
                if pair[0].port == transport.dport or pair[0].protocol is Protocol.FWMARK
            )
            number = self._serve(model, packet, Flow(packet.src, transport.sport, packet.dst))
            if number is None:
                unreachable = ICMPv6DestUnreach(code=4) if packet.version == 6 else ICMP(type=3, code=3)
                header = type(sent)(src=packet.dst, dst=packet.src)
                seen.outside.append(Ether(bytes(_framed(ROUTER_MAC, header / unreachable / packet))))
            else:
                seen.inside.append(self._forwarded(service, packet, number))
        return seen

    def _serve(self, model: Model, packet: Packet, flow: Flow) -> int | None:
        word = packet[UDP].payload.load.decode() if UDP in packet else str(packet[TCP].flags)
        if word in ("open", "S"):
            if isinstance(model.algorithm, TwoRandomChoices):
                model.algorithm.drawn = self._draw(model.servers)
            return model.connect(flow)
        return model.settle(flow) if word in ("close", "FA") else model.serving(flow)

    def _draw(self, servers: Sequence[Server]) -> int | None:
        """As twos draws: two by weight, and the less loaded for its weight."""
        usable = [each for each in servers if each.usable]
        if not usable:
            return None
        one, two = self._random.choices(usable, [each.weight for each in usable], k=2)
        return (two if one.overhead * two.weight > two.overhead * one.weight else one).number

    @staticmethod
    def _forwarded(service: VirtualService, packet: Packet, number: int) -> Packet:
        own = 6 if ":" in service.real_servers[0].address else 4
        if own != packet.version:
            outer: Packet = (IPv6 if own == 6 else IP)(dst=NETS[own].server(number))
            outer.add_payload(packet)
            return _framed(server_mac(number), outer)
        packet.dst, packet.payload.dport = NETS[packet.version].server(number), 8080
        return _framed(server_mac(number), packet)


def _framed(mac: str, packet: Packet) -> Packet:
    frame = Ether(src=_MAC, dst=mac)
    frame.add_payload(packet)  # scapy's "/" would copy all of it
    return frame


def _number(address: str) -> int:
    return next(
        number for net in NETS.values() for number in range(1, SERVERS + 1) if net.server(number) == address
    )


def _listed(servers: Sequence[Server]) -> list[str]:
    """Lines of /proc/net/ip_vs."""
    lines = []
    for each in servers:
        if ":" in each.address:
            name = f"[{each.address}]:{each.port:04X}"
        else:
            name = f"{int.from_bytes(bytes(map(int, each.address.split('.'))), 'big'):08X}:{each.port:04X}"
        lines.append(f"  -> {name}      Masq    {each.weight}      {each.active}          {each.inactive}")
    return lines
