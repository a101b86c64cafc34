"""Made-up labs, packets and captures: whole conversations as each forwarding mode should carry
them, hop by hop, to be bent by tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from lvslab.kernels.needs import Kernels, any_kernel
from lvslab.plan.make import make_plan
from lvslab.plan.plan import LabPlan
from lvslab.plan.spec import LabSpec
from lvslab.verify.flows import Flow
from lvslab.verify.frames import ArpMessage, Frame, IpPacket, Outer
from lvslab.verify.judge import judge
from lvslab.verify.path import Hop, hops
from lvslab.verify.verification import ports, setting

VIP, CIP, CPORT = "10.0.0.10", "10.0.0.201", 40001
CLIENT_ISN, SERVER_ISN, COOKIE = 1000, 9000, 5000
GET, ANSWER = b"GET / HTTP/1.0\r\n\r\n", b"rs1 10.0.0.201 40001\n"
TWO_ARMS = ("nat", "fullnat", "synproxy")
MODES = ("nat", "dr", "tun", "fullnat", "synproxy")
NOT_PROXIED = tuple(mode for mode in MODES if mode != "synproxy")


@cache
def lab(mode: str, clients: int = 2, servers: int = 2) -> LabPlan:
    """The plan of the mode's own lab, on kernels that can do everything."""
    return plan(mode, clients=clients, servers=servers)


def plan(mode: str = "nat", here: Kernels | None = None, **options: Any) -> LabPlan:
    """The plan of a lab from a user's words.

    Args:
        here: the kernels to choose from; by default some that can do everything.
    """
    return make_plan(LabSpec.of(mode, **options), here or any_kernel())


def tcp(flags: str, **fields: Any) -> IpPacket:
    """A TCP segment from the client to the service."""
    given = {
        "src": CIP,
        "dst": VIP,
        "protocol": "TCP",
        "ttl": 64,
        "sport": CPORT,
        "dport": 80,
        "flags": flags,
        "seq": 0,
        "ack": 0,
        "options": b"\x01\x01\x08\x0a" + bytes(8),
        "payload": b"",
        "note": "",
        "checksums": True,
        "outer": None,
    }
    return IpPacket(**{**given, **fields})


def udp(**fields: Any) -> IpPacket:
    """A datagram from the client to the service."""
    return tcp("", **{"protocol": "UDP", "dport": 5300, "options": b"", "payload": b"hello", **fields})


def echo(note: str = "echo-request", **fields: Any) -> IpPacket:
    """An ICMP echo message."""
    return tcp(
        "", **{"protocol": "ICMP", "dport": CPORT, "options": b"", "payload": b"ping", "note": note, **fields}
    )


@dataclass
class Conversation:
    """Hops by name, in order: "get.0" is the first hop of the client's request, "get.1" the next.

    Tests change, take away or add hops, and ask `judged` what the judge says.
    """

    plan: LabPlan
    hops: dict[str, Hop] = field(default_factory=dict)
    server: str = "rs1"

    def add(
        self, name: str, sender: str, receiver: str | None, packet: IpPacket, eth_dst: str | None = None
    ) -> None:
        """One hop from a node to the next, on the network that they share."""
        out = self._port(sender, receiver)
        mac = eth_dst or (self._port(receiver, sender).mac if receiver else "02:ff:ff:ff:ff:ff")
        number = sum(name == each.rpartition(".")[0] for each in self.hops)
        t = 1_000_000 * (len(self.hops) + 1)
        self.hops[f"{name}.{number}"] = Hop(t, sender, receiver, out.name, (), out.mac, mac, packet)

    def _port(self, node: str, other: str | None) -> Any:
        networks = {each.network for each in self.plan.node(other).interfaces} if other else set()
        own = self.plan.node(node).interfaces
        return next((each for each in own if each.network in networks), own[0])

    def change(self, name: str, **fields: Any) -> None:
        """Change fields of the packet in one hop."""
        self.hops[name] = replace(self.hops[name], packet=replace(self.hops[name].packet, **fields))

    def redirect(self, name: str, receiver: str | None, mac: str = "02:ff:ff:ff:ff:ff") -> None:
        """Send one hop's frame to another node, or to a MAC address that nobody has; what followed
        on the way does not happen.
        """
        hop = self.hops[name]
        if receiver is not None:
            mac = self._port(receiver, hop.sender).mac
        self.hops[name] = replace(hop, receiver=receiver, eth_dst=mac)

    def cut(self, name: str) -> None:
        """Take away a hop and the rest of that packet's way."""
        packet, _, number = name.rpartition(".")
        self.hops = {
            each: hop
            for each, hop in self.hops.items()
            if each.rpartition(".")[0] != packet or int(each.rpartition(".")[2]) < int(number)
        }

    def end_after(self, name: str) -> None:
        """Nothing happens after a hop."""
        names = list(self.hops)
        self.hops = {each: self.hops[each] for each in names[: names.index(name) + 1]}

    def frames(self) -> list[Frame]:
        """The capture: each frame leaves its sender and floods to all nodes of the network, as a
        fresh switch would let it.
        """
        network = {each.name: each.network for node in self.plan.nodes for each in node.interfaces}
        found: list[Frame] = []
        for hop in sorted(self.hops.values(), key=lambda each: each.t):
            raw = repr((hop.t, hop.eth_src, hop.eth_dst, hop.packet)).encode()

            def frame(interface: str, sent: bool, later: int, hop: Hop = hop, raw: bytes = raw) -> Frame:
                return Frame(
                    len(found) + 1,
                    hop.t + later,
                    interface,
                    sent,
                    hop.eth_src,
                    hop.eth_dst,
                    hop.packet,
                    None,
                    raw,
                )

            found.append(frame(hop.link, True, 0))
            found.extend(
                frame(name, False, 10)
                for name, where in network.items()
                if where == network[hop.link] and name != hop.link
            )
        return found

    def flows(self) -> list[Flow]:
        """What the judge says of the capture."""
        return judge(hops(self.frames(), ports(self.plan)), setting(self.plan))

    def judged(self) -> Flow:
        """The one flow of the capture."""
        (flow,) = self.flows()
        return flow

    def wrong(self) -> tuple[str, str] | None:
        """Name of the first wrong hop of the first flow that has one, and why."""
        found = [flow.wrong for flow in self.flows() if flow.wrong]
        if not found:
            return None
        first = min(found, key=lambda each: each.hop.t)
        return next(name for name, hop in self.hops.items() if hop.t == first.hop.t), first.why


class _Carrier:
    """Carries packets over the lab as its mode should."""

    def __init__(self, talk: Conversation, server_port: int, service_port: int = 80) -> None:
        self.talk, self.mode = talk, str(talk.plan.mode.name)
        self.rip, self.rport, self.vport = talk.plan.addresses.rips[talk.server], server_port, service_port
        self.client = (CIP, CPORT) if self.mode != "fullnat" else ("10.0.1.201", 1025)
        self.shift = SERVER_ISN - COOKIE if self.mode == "synproxy" else 0

    def request(self, name: str, packet: IpPacket) -> None:
        talk = self.talk
        talk.add(name, "c1", "lvs", packet)
        inside = replace(packet, ttl=packet.ttl - 1)
        if self.mode in TWO_ARMS:
            inside = replace(
                inside,
                src=self.client[0],
                sport=self.client[1],
                dst=self.rip,
                dport=self.rport,
                ack=packet.ack + self.shift if "A" in packet.flags else 0,
            )
        if self.mode == "tun":
            outer = Outer("10.0.0.1", self.rip, 4, 64)
            talk.add(name, "lvs", "gw", replace(inside, outer=outer))
            talk.add(name, "gw", talk.server, replace(inside, outer=replace(outer, ttl=63)))
        else:
            talk.add(name, "lvs", talk.server, inside)

    def reply(self, name: str, packet: IpPacket) -> None:
        """`packet`: as the client must see it, with the TTL that the real server gives it."""
        talk = self.talk
        if self.mode in TWO_ARMS:
            first = replace(
                packet,
                src=self.rip,
                sport=self.rport,
                dst=self.client[0],
                dport=self.client[1],
                seq=packet.seq + self.shift,
            )
            talk.add(name, talk.server, "lvs", first)
            talk.add(name, "lvs", "c1", replace(packet, ttl=packet.ttl - 1))
        elif self.mode == "tun":
            talk.add(name, talk.server, "gw", packet)
            talk.add(name, "gw", "c1", replace(packet, ttl=packet.ttl - 1))
        else:
            talk.add(name, talk.server, "c1", packet)


def back(flags: str, **fields: Any) -> IpPacket:
    """A TCP segment from the service to the client."""
    return tcp(flags, src=VIP, dst=CIP, sport=80, dport=CPORT, **fields)


def conversation(mode: str, server: str = "rs1", isn: int = CLIENT_ISN) -> Conversation:
    """A TCP conversation that keeps the mode's contract: syn, syn-ack, ack, get, got, answer,
    thanks, bye, fin, last.
    """
    talk = Conversation(lab(mode), server=server)
    way = _Carrier(talk, 8080 if mode in TWO_ARMS else 80)
    if mode == "synproxy":
        rip, theirs = way.rip, COOKIE + 1
        inside = {"src": CIP, "sport": CPORT, "dst": rip, "dport": 8080}
        talk.add("syn", "c1", "lvs", tcp("S", seq=isn))
        talk.add("cookie", "lvs", "c1", back("SA", seq=COOKIE, ack=isn + 1))
        talk.add("ack", "c1", "lvs", tcp("A", seq=isn + 1, ack=theirs))
        talk.add("inner-syn", "lvs", server, tcp("S", seq=isn, **inside))
        talk.add(
            "inner-syn-ack",
            server,
            "lvs",
            tcp("SA", src=rip, sport=8080, dst=CIP, dport=CPORT, seq=SERVER_ISN, ack=isn + 1),
        )
        talk.add("inner-ack", "lvs", server, tcp("A", seq=isn + 1, ack=SERVER_ISN + 1, **inside))
        talk.add("window", "lvs", "c1", back("A", seq=theirs, ack=isn + 1))
    else:
        theirs = SERVER_ISN + 1
        way.request("syn", tcp("S", seq=isn))
        way.reply("syn-ack", back("SA", seq=SERVER_ISN, ack=isn + 1))
        way.request("ack", tcp("A", seq=isn + 1, ack=theirs))
    mine, end = isn + 1 + len(GET), theirs + len(ANSWER)
    way.request("get", tcp("PA", seq=isn + 1, ack=theirs, payload=GET))
    way.reply("got", back("A", seq=theirs, ack=mine))
    way.reply("answer", back("PA", seq=theirs, ack=mine, payload=ANSWER))
    way.request("thanks", tcp("A", seq=mine, ack=end))
    way.reply("bye", back("FA", seq=end, ack=mine))
    way.request("fin", tcp("FA", seq=mine, ack=end + 1))
    way.reply("last", back("A", seq=end + 1, ack=mine + 1))
    return talk


def datagram(mode: str) -> Conversation:
    """A UDP datagram and its answer: ask, say."""
    talk = Conversation(lab(mode))
    way = _Carrier(talk, 5301 if mode in TWO_ARMS else 5300)
    way.request("ask", udp())
    way.reply("say", udp(src=VIP, dst=CIP, sport=5300, dport=CPORT, payload=b"rs1"))
    return talk


def ping(mode: str) -> Conversation:
    """An echo to the virtual address, which the director answers itself: ping, pong."""
    talk = Conversation(lab(mode))
    talk.add("ping", "c1", "lvs", echo())
    talk.add("pong", "lvs", "c1", echo("echo-reply", src=VIP, dst=CIP))
    return talk


def arp(
    interface: str, sender_mac: str, sender_ip: str, operation: str = "is-at", sent: bool = True
) -> Frame:
    """An ARP message at a node's interface."""
    message = ArpMessage(operation, sender_mac, sender_ip, CIP)
    return Frame(1, 0, interface, sent, sender_mac, "ff:ff:ff:ff:ff:ff", None, message, b"arp")


def joined(*talks: Conversation) -> Conversation:
    """Several conversations of one lab in one capture, one after the other."""
    together = Conversation(talks[0].plan)
    for number, talk in enumerate(talks):
        for name, hop in talk.hops.items():
            together.hops[f"{number}:{name}"] = replace(hop, t=hop.t + 1_000_000_000 * number)
    return together


def packets(flow: Flow | Iterable[Flow]) -> Mapping[str, int]:
    """How many hops have which verdict."""
    found: dict[str, int] = {}
    for each in [flow] if isinstance(flow, Flow) else flow:
        for judged in each.hops:
            found[judged.verdict] = found.get(judged.verdict, 0) + 1
    return found
