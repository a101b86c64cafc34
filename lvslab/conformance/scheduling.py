"""A service on the director beside its model: both are changed together, and every connection must
go where the model says.

Each rig has a port (or firewall mark) of its own: the kernel keeps a removed real server for two
minutes with its connections and gives them back when a service with the same address, port and
protocol adds it again (ip_vs_trash_get_dest in ip_vs_ctl.c).
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Literal

from scapy.layers.inet import ICMP, TCP, UDP, IPerror, TCPerror, UDPerror
from scapy.layers.inet6 import ICMPv6DestUnreach, IPerror6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from lvslab.conformance.addresses import NETS, SERVER_PORT, SERVERS, Net, server_mac
from lvslab.conformance.director import print_file
from lvslab.conformance.models.schedulers import TwoRandomChoices
from lvslab.conformance.models.servers import Flow
from lvslab.conformance.models.service import Model
from lvslab.conformance.packets import must
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.conformance.ways import ways
from lvslab.ipvs.proc import endpoint
from lvslab.ipvs.service import (
    WEIGHT_MAX,
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
)
from lvslab.runs.words import plural

_BATCH = 64
_CLOSED_PORT, _CLOSED_PORT_6 = (3, 3), (1, 4)
"""Type and code of "port unreachable" in ICMP and in ICMPv6: what a client gets whose connection
nobody can take.
"""

CALLED = {4: "203.0.113.0/24", 6: "2001:db8:d::/64"}
"""Networks whose addresses a firewall-mark service takes over."""


@dataclass(frozen=True)
class Step:
    """One packet of a client: "open" a connection, "close" it by a FIN, or "go on" in it.

    A FIN, because it makes a half-open connection inactive (TIME_WAIT); a client's reset does not
    (ip_vs_proto_tcp.c).
    """

    what: str
    flow: Flow


@dataclass(frozen=True)
class Change:
    """A real server added to a service, edited in it, or removed from it.

    Attributes:
        number: of the server. weight, upper, lower: what it has then; nothing when it is removed.
    """

    what: Literal["add", "edit", "remove"]
    number: int
    weight: int = 1
    upper: int = 0
    lower: int = 0


_BY_MAC = {server_mac(number): number for number in range(1, SERVERS + 1)}
_OPTIONS = {"add": "-a", "edit": "-e", "remove": "-d"}


class Rig:
    """A service with real servers 1, 2, … behind NAT (behind tunnels where they are of the other IP
    version), and its model.

    Attributes:
        bench: where it is. net: of its IP version. servers_net: of its servers'. model: what the
            kernel must do.
        port: of the service. mark: the firewall mark of a service that takes many addresses over,
            else 0.
    """

    def __init__(
        self,
        bench: Bench,
        scheduler: Scheduler,
        weights: Sequence[int],
        *,
        protocol: Protocol = Protocol.TCP,
        version: int = 4,
        flags: Sequence[SchedulerFlag] = (),
        thresholds: Mapping[int, tuple[int, int]] | None = None,
        many_addresses: bool = False,
        servers: int = 0,
    ) -> None:
        """`thresholds`: upper and lower one of some servers by number; `many_addresses`: the
        service takes all of `CALLED`; `servers`: IP version of the real servers, the service's own
        when left out.
        """
        self.bench, self.net, self.protocol = bench, NETS[version], protocol
        self.servers_net = NETS[servers or version]
        self.port = bench.port()
        self.mark = self.port if many_addresses else 0
        self._ports = itertools.count(10001)
        counts_active = protocol is Protocol.TCP
        self.model = Model(scheduler, tuple(flags), counts_active, ways(bench.version), version)
        if self.mark:
            self._divert()
        limits = thresholds or {}
        start = [
            Change("add", number, weight, *limits.get(number, (0, 0)))
            for number, weight in enumerate(weights, start=1)
        ]
        for change in start:
            self._change_model(change)
        self.service = bench.add(
            VirtualService(
                Protocol.FWMARK if self.mark else protocol,
                "" if self.mark else self.net.vip,
                0 if self.mark else self.port,
                fwmark=self.mark,
                ipv6=bool(self.mark) and version == 6,
                scheduler=scheduler,
                scheduler_flags=tuple(flags),
                real_servers=tuple(map(self._server, start)),
            )
        )

    def _divert(self) -> None:
        """Mark the packets to many addresses and take them in."""
        called, six = CALLED[self.net.version], self.net.version == 6
        program = self.bench.iptables.replace("iptables", "ip6tables") if six else self.bench.iptables
        rule = f"PREROUTING -d {called} -j MARK --set-mark {self.mark}"
        route = f"local {called} dev lo"
        ip = "ip -6" if six else "ip"
        self.bench.apply(
            f"{program} -t mangle -A {rule} && {ip} route add {route}",
            f"{program} -t mangle -D {rule}; {ip} route del {route}",
        )

    # -- configuration -----------------------------------------------------------------------------

    def change(self, *changes: Change) -> None:
        """Change servers: in the table by one script, and in the model."""
        lines = ["set -e"]
        for change in changes:
            server = self._server(change)
            options = () if change.what == "remove" else server.options
            if change.weight > WEIGHT_MAX:  # which not every ipvsadm takes; a director's does
                options = tuple(str(change.weight) if each == str(WEIGHT_MAX) else each for each in options)
            words = ("ipvsadm", _OPTIONS[change.what], *self.service.selector, "-r", server.name, *options)
            lines.append(shlex.join(words))
        self.bench.run("\n".join(lines))
        for change in changes:
            self._change_model(change)

    def _server(self, change: Change) -> RealServer:
        address, weight = self.servers_net.server(change.number), min(change.weight, WEIGHT_MAX)
        way = PacketForwarding.TUN if self._tunnelled else PacketForwarding.MASQ
        return RealServer(address, self._server_port, way, weight, change.upper, change.lower)

    @property
    def _tunnelled(self) -> bool:
        return self.servers_net is not self.net

    @property
    def _server_port(self) -> int:
        return self.port * (not self.mark) if self._tunnelled else SERVER_PORT

    def _change_model(self, change: Change) -> None:
        number, weight, upper, lower = change.number, change.weight, change.upper, change.lower
        match change.what:
            case "add":
                address = self.servers_net.server(number)
                self.model.add(number, address, self._server_port, weight, upper=upper, lower=lower)
            case "edit":
                self.model.edit(number, weight=weight, upper=upper, lower=lower)
            case "remove":
                self.model.remove(number)

    def change_scheduler(self, scheduler: Scheduler, flags: Sequence[SchedulerFlag] = ()) -> None:
        """`ipvsadm -E` with another scheduler or other flags."""
        self.service = replace(self.service, scheduler=scheduler, scheduler_flags=tuple(flags))
        self.bench.run(shlex.join(("ipvsadm", "-E", *self.service.selector, *self.service.options)))
        self.model.edit_service(scheduler, flags)

    # -- traffic -----------------------------------------------------------------------------------

    def flows(self, count: int, *, client: str = "", destinations: Sequence[str] = ("",)) -> list[Flow]:
        """New connections: each from a client of its own, or all from one client; to the VIP, or to
        addresses in turn.
        """
        called = itertools.cycle(destinations)
        return [
            Flow(
                client or self.bench.client(self.net.version), next(self._ports), next(called) or self.net.vip
            )
            for _ in range(count)
        ]

    def packet(self, step: Step) -> Packet:
        """The client's packet of a step."""
        flow = step.flow
        ip = self.net.packet(flow.source, flow.destination)
        transport: Packet
        # joined in place: scapy's "/" copies both sides whole
        if self.protocol is Protocol.UDP:
            transport = UDP(sport=flow.port, dport=self.port)
            transport.add_payload(Raw(step.what.encode()))
        elif step.what == "open":
            transport = TCP(sport=flow.port, dport=self.port, seq=1000, flags="S")
        else:
            flags = "FA" if step.what == "close" else "A"
            transport = TCP(sport=flow.port, dport=self.port, seq=1001, flags=flags)
        ip.add_payload(transport)
        return ip

    def play(self, what: str, steps: Iterable[Step]) -> list[int | None]:
        """Send the packets of some steps in one go; each must come out at the server that the model
        names, or be refused.

        Args:
            what: the moment in words, for messages.

        Returns:
            The servers, None where the client was refused.

        Raises:
            CheckFailed: a packet went elsewhere, nowhere, or something else came out.
        """
        places: list[int | None] = []
        todo = list(steps)
        for start in range(0, len(todo), _BATCH):
            batch = todo[start : start + _BATCH]
            seen = self.bench.from_client(*(self.packet(step) for step in batch))
            if self._tunnelled:
                seen.inside = [_unwrapped(frame, self.servers_net) for frame in seen.inside]
            drawn = self._drawn(seen)
            expected = [self._expect(step, drawn) for step in batch]
            self._judge(what, batch, expected, seen)
            places += expected
        return places

    def open(self, what: str, flows: Iterable[Flow]) -> list[int | None]:
        """Open connections; see `play`."""
        return self.play(what, [Step("open", flow) for flow in flows])

    def go_on(self, what: str, flows: Iterable[Flow]) -> list[int | None]:
        """A further packet in every connection that was served; see `play`."""
        return self.play(what, [Step("go on", flow) for flow in flows if self.model.knows(flow)])

    def _drawn(self, seen: Seen) -> dict[tuple[str, int], int]:
        """Client's address and port → the server that its first frame came out at, where the model
        cannot know it: `twos` draws.
        """
        if not isinstance(self.model.algorithm, TwoRandomChoices):
            return {}
        return {_key(frame)[:2]: self._number(frame) for frame in reversed(seen.inside)}

    def _expect(self, step: Step, drawn: Mapping[tuple[str, int], int]) -> int | None:
        if isinstance(self.model.algorithm, TwoRandomChoices):
            self.model.algorithm.drawn = drawn.get((step.flow.source, step.flow.port))
        if step.what == "open":
            return self.model.connect(step.flow)
        return self.model.settle(step.flow) if step.what == "close" else self.model.serving(step.flow)

    def _judge(self, what: str, batch: Sequence[Step], expected: Sequence[int | None], seen: Seen) -> None:
        came: dict[tuple[str, int], list[tuple[str, str, Packet]]] = {}
        for frame in seen.inside:
            source, port, kind = _key(frame)
            came.setdefault((source, port), []).append((kind, str(self._number(frame)), frame))
        for frame in seen.outside:
            came.setdefault(_quoted(frame), []).append(("open", "refused", frame))
        wanted = ["refused" if number is None else str(number) for number in expected]
        places = []
        for step in batch:
            frames = came.get((step.flow.source, step.flow.port), [])
            places.append("+".join(place for kind, place, _ in frames if kind == step.what) or "lost")
        shown = [f"expected servers: {' '.join(wanted)}", f"seen:             {' '.join(places)}"]
        for number, (step, left, right) in enumerate(zip(batch, wanted, places, strict=True), start=1):
            if left == right:
                continue
            flow = step.flow
            frames = came.get((flow.source, flow.port), [])
            raise CheckFailed(
                f"{what}: packet {number} ({step.what}, {flow.source}:{flow.port}) must be {_words(left)},"
                f" was {_words(right)}",
                [
                    *shown,
                    f"sent:     {self.packet(step).summary()}",
                    f"expected: {self._summary(step, left)}",
                    *(f"seen:     {frame.summary()}" for _, _, frame in frames),
                ],
            )
        extra = len(seen.inside) + len(seen.outside) - len(batch)
        must(extra == 0, f"{what}: {plural(extra, 'frame')} more than packets came out", *shown)

    def _summary(self, step: Step, place: str) -> str:
        """What had to come out, in one line."""
        if place == "refused":
            return f"port unreachable to {step.flow.source}"
        packet = self.packet(step)
        if not self._tunnelled:
            packet.dst, packet.payload.dport = self.net.server(int(place)), SERVER_PORT
        return str(packet.summary())

    def _number(self, frame: Packet) -> int:
        """The server that a frame is for, 0 for none: its MAC address and, behind NAT, its IP
        address must agree.
        """
        number = _BY_MAC.get(frame.dst, 0)
        if not number:
            return 0
        address = self.net.vip if self._tunnelled else self.net.server(number)
        return number if frame.payload.dst == address else 0

    def counts(self) -> dict[int, tuple[int, int]]:
        """Active and inactive connections of every server as /proc/net/ip_vs shows them,
        by number.
        """
        return {number: (int(words[4]), int(words[5])) for number, words in self._lines()}

    def weights(self) -> dict[int, int]:
        """Weight of every server as /proc/net/ip_vs shows it, by number."""
        return {number: int(words[3]) for number, words in self._lines()}

    def _lines(self) -> list[tuple[int, list[str]]]:
        """The servers of /proc/net/ip_vs: number, and the words of its line."""
        numbers = {self.servers_net.server(number): number for number in range(1, SERVERS + 1)}
        lines = []
        for line in self.bench.run(print_file("/proc/net/ip_vs")).splitlines():
            words = line.split()
            if words[:1] != ["->"] or len(words) != 6 or words[1].startswith("Rem"):
                continue
            address = str(ip_address(endpoint(words[1])[0]))
            if address in numbers:
                lines.append((numbers[address], words))
        return lines

    def must_count(self, what: str) -> None:
        """The director's numbers of active and inactive connections must be the model's.

        Raises:
            CheckFailed: they are not.
        """
        wanted = {each.number: (each.active, each.inactive) for each in self.model.servers}
        seen = self.counts()
        must(
            seen == wanted,
            f"{what}: the counts of active and inactive connections are wrong",
            f"expected (server: active, inactive): {_counted(wanted)}",
            f"seen:                                {_counted(seen)}",
        )


def _counted(counts: Mapping[int, tuple[int, int]]) -> str:
    return "; ".join(
        f"{number}: {active}, {inactive}" for number, (active, inactive) in sorted(counts.items())
    )


def _words(place: str) -> str:
    return {"refused": "refused (port unreachable)", "lost": "lost"}.get(place, f"sent to server {place}")


def _key(frame: Packet) -> tuple[str, int, str]:
    """Source, port and kind of step of a client's packet inside."""
    ip = frame.payload
    if tcp := frame.getlayer(TCP):
        return ip.src, int(tcp.sport), "open" if tcp.flags.S else "close" if tcp.flags.F else "go on"
    if udp := frame.getlayer(UDP):
        words = udp.payload.load if isinstance(udp.payload, Raw) else bytes(udp.payload)
        return ip.src, int(udp.sport), words.decode(errors="replace")
    return getattr(ip, "src", ""), 0, frame.summary()


def _unwrapped(frame: Packet, net: Net) -> Packet:
    """The frame with the packet that a tunnel carries; it keeps its MAC address only if the
    tunnel's end is the server with that address.
    """
    outer = frame.payload
    number = _BY_MAC.get(frame.dst, 0)
    right = number > 0 and outer.version == net.version and outer.dst == net.server(number)
    return Ether(src=frame.src, dst=frame.dst if right else "00:00:00:00:00:00") / outer.payload.copy()


def _quoted(frame: Packet) -> tuple[str, int]:
    """The client's address and port that an ICMP port unreachable quotes."""
    for layer, error, kind in ((ICMP, IPerror, _CLOSED_PORT), (ICMPv6DestUnreach, IPerror6, _CLOSED_PORT_6)):
        if layer in frame and (frame[layer].type, frame[layer].code) == kind and error in frame:
            for transport in (TCPerror, UDPerror):
                if transport in frame and frame.payload.dst == frame[error].src:
                    return frame[error].src, int(frame[transport].sport)
    return "", 0
