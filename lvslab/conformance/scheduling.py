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
from scapy.packet import Packet

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


_OPTIONS = {"add": "-a", "edit": "-e", "remove": "-d"}


class Rig:
    """A service with real servers 1, 2, … behind NAT, and its model.

    Attributes:
        bench: where it is. net: of its IP version. model: what the kernel must do.
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
    ) -> None:
        """`thresholds`: upper and lower one of some servers by number; `many_addresses`: the
        service takes all of `CALLED`.
        """
        self.bench, self.net, self.protocol = bench, NETS[version], protocol
        self.port = bench.port()
        self.mark = self.port if many_addresses else 0
        self._ports = itertools.count(10001)
        self.model = Model(scheduler, tuple(flags), protocol is Protocol.TCP, ways(bench.version))
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
            words = ("ipvsadm", _OPTIONS[change.what], *self.service.selector, "-r", server.name, *options)
            lines.append(shlex.join(words))
        self.bench.run("\n".join(lines))
        for change in changes:
            self._change_model(change)

    def _server(self, change: Change) -> RealServer:
        address = self.net.server(change.number)
        masq = PacketForwarding.MASQ
        return RealServer(address, SERVER_PORT, masq, change.weight, change.upper, change.lower)

    def _change_model(self, change: Change) -> None:
        number, weight, upper, lower = change.number, change.weight, change.upper, change.lower
        match change.what:
            case "add":
                address = self.net.server(number)
                self.model.add(number, address, SERVER_PORT, weight, upper=upper, lower=lower)
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
        if self.protocol is Protocol.UDP:
            return ip / UDP(sport=flow.port, dport=self.port) / step.what.encode()
        if step.what == "open":
            return ip / TCP(sport=flow.port, dport=self.port, seq=1000, flags="S")
        return ip / TCP(
            sport=flow.port, dport=self.port, seq=1001, flags="FA" if step.what == "close" else "A"
        )

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
            expected = [self._expect(step, seen) for step in batch]
            self._judge(what, batch, expected, seen)
            places += expected
        return places

    def open(self, what: str, flows: Iterable[Flow]) -> list[int | None]:
        """Open connections; see `play`."""
        return self.play(what, [Step("open", flow) for flow in flows])

    def go_on(self, what: str, flows: Iterable[Flow]) -> list[int | None]:
        """A further packet in every connection that was served; see `play`."""
        return self.play(what, [Step("go on", flow) for flow in flows if self.model.knows(flow)])

    def _expect(self, step: Step, seen: Seen) -> int | None:
        if isinstance(self.model.algorithm, TwoRandomChoices):
            drawn = [
                _number(frame, self.net)
                for frame in seen.inside
                if _key(frame)[:2] == (step.flow.source, step.flow.port)
            ]
            self.model.algorithm.drawn = drawn[0] if drawn else None
        if step.what == "open":
            return self.model.connect(step.flow)
        return self.model.settle(step.flow) if step.what == "close" else self.model.serving(step.flow)

    def _judge(self, what: str, batch: Sequence[Step], expected: Sequence[int | None], seen: Seen) -> None:
        came: dict[tuple[str, int], list[tuple[str, str, Packet]]] = {}
        for frame in seen.inside:
            source, port, kind = _key(frame)
            came.setdefault((source, port), []).append((kind, str(_number(frame, self.net)), frame))
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
        packet.dst, packet.payload.dport = self.net.server(int(place)), SERVER_PORT
        return str(packet.summary())

    def counts(self) -> dict[int, tuple[int, int]]:
        """Active and inactive connections of every server as /proc/net/ip_vs shows them,
        by number.
        """
        numbers = {self.net.server(number): number for number in range(1, SERVERS + 1)}
        counts = {}
        for line in self.bench.run(print_file("/proc/net/ip_vs")).splitlines():
            words = line.split()
            if words[:1] != ["->"] or len(words) != 6 or words[1].startswith("Rem"):
                continue
            address = str(ip_address(endpoint(words[1])[0]))
            if address in numbers:
                counts[numbers[address]] = (int(words[4]), int(words[5]))
        return counts

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
    if TCP in frame:
        flags = frame[TCP].flags
        return ip.src, int(frame[TCP].sport), "open" if flags.S else "close" if flags.F else "go on"
    if UDP in frame:
        return ip.src, int(frame[UDP].sport), bytes(frame[UDP].payload).decode(errors="replace")
    return getattr(ip, "src", ""), 0, frame.summary()


def _number(frame: Packet, net: Net) -> int:
    """The server that a frame is for: its MAC address and, behind NAT, its IP address must
    agree.
    """
    for number in range(1, SERVERS + 1):
        if frame.dst == server_mac(number) and frame.payload.dst == net.server(number):
            return number
    return 0


def _quoted(frame: Packet) -> tuple[str, int]:
    """The client's address and port that an ICMP port unreachable quotes."""
    for layer, error, kind in ((ICMP, IPerror, _CLOSED_PORT), (ICMPv6DestUnreach, IPerror6, _CLOSED_PORT_6)):
        if layer in frame and (frame[layer].type, frame[layer].code) == kind and error in frame:
            for transport in (TCPerror, UDPerror):
                if transport in frame and frame.payload.dst == frame[error].src:
                    return frame[error].src, int(frame[transport].sport)
    return "", 0
