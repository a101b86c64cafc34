"""The judge: every packet of the test flows against a mode's contract. Pure; works on hops alone.

A flow is what a client starts: protocol, its address and port, the service's port. Each packet of a
flow makes a journey: from the client over the director to a real server (request), back (reply), or
it is made by the director itself, which only a SYN proxy may do and who answers a ping.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvslab.modes.base import Role
from lvslab.modes.contract import Leg, Party
from lvslab.runs.records import StepVerdict
from lvslab.verify.compliance import check_addresses, check_arrival, check_forwarding
from lvslab.verify.flows import Flow, JudgedHop, Setting, fail
from lvslab.verify.frames import Frame, IpPacket
from lvslab.verify.path import Hop


@dataclass
class _Journey:
    flow: Flow
    kind: str
    legs: Sequence[Leg]
    leg: int
    hops: list[JudgedHop]


def judge(hops: Iterable[Hop], setting: Setting) -> list[Flow]:
    """Judge all flows that clients started towards the virtual address, and all packets that belong
    to them.
    """
    return _Judge(setting).run(hops)


def arp_trespasses(frames: Iterable[Frame], vip: str, director_macs: Iterable[str]) -> list[Frame]:
    """Frames in which somebody other than the director claims the virtual address by ARP (a reply
    or an announcement).
    """
    mine = set(director_macs)
    return [
        frame
        for frame in frames
        if frame.sent
        and frame.arp is not None
        and frame.arp.sender_ip == vip
        and frame.arp.sender_mac not in mine
    ]


def mark_unanswered(flow: Flow, setting: Setting) -> None:
    """Mark where a flow got stuck whose client got no proper answer, unless a wrong hop already
    explains it.

    That is the first packet that reached a real server when no real server ever answered, otherwise
    the last packet of all.
    """
    if flow.wrong or not flow.hops:
        return
    arrived = [
        each
        for each in flow.hops
        if each.hop.receiver and setting.roles[each.hop.receiver] == Role.REAL_SERVER
    ]
    answered = any(setting.roles[each.hop.sender] == Role.REAL_SERVER for each in flow.hops)
    stuck = arrived[0] if arrived and not answered else flow.hops[-1]
    stuck.verdict = "wrong"
    stuck.why = (
        f"nothing followed that would have answered the client; expected next: {setting.contract.reply[0]}"
    )


class _Judge:
    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._contract = setting.contract
        self._flows: dict[tuple[str, str, int, int], Flow] = {}
        self._by_server_tuple: dict[tuple[str, str, int, str, int], Flow] = {}
        self._open: list[_Journey] = []
        self._journeys: list[_Journey] = []

    def run(self, hops: Iterable[Hop]) -> list[Flow]:
        for hop in hops:
            role = self._setting.roles[hop.sender]
            if role == Role.CLIENT:
                self._from_client(hop)
            elif role == Role.REAL_SERVER:
                self._from_server(hop)
            elif not self._forwarded(hop) and role == Role.DIRECTOR:
                self._from_director(hop)
        for journey in self._open:
            self._must_be_over(journey)
        for flow in self._flows.values():
            flow.hops.sort(key=lambda each: each.hop.t)
        return list(self._flows.values())

    # -- journeys begin ----------------------------------------------------------------------------

    def _from_client(self, hop: Hop) -> None:
        packet = hop.packet
        if packet.dst != self._setting.vip:
            return
        key = (packet.protocol, packet.src, packet.sport, packet.dport)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = Flow(
                packet.protocol, (packet.src, packet.sport), (packet.dst, packet.dport)
            )
            self._by_server_tuple[(packet.protocol, packet.dst, packet.dport, packet.src, packet.sport)] = (
                flow
            )
        flow.origin = flow.origin or hop.sender
        if packet.protocol == "TCP" and "A" in packet.flags and "S" not in packet.flags:
            flow.proved = True
        # A ping to the virtual address is the director's own business: it answers by itself.
        legs = self._contract.request[:1] if packet.protocol == "ICMP" else self._contract.request
        self._begin(flow, "request", legs, hop)

    def _from_server(self, hop: Hop) -> None:
        packet = hop.packet
        flow = self._by_server_tuple.get(
            (packet.protocol, packet.src, packet.sport, packet.dst, packet.dport)
        )
        if flow is None:
            flow = next((each for each in self._flows.values() if each.client[0] == packet.dst), None)
            if flow is not None:
                verdict: StepVerdict = "unjudged" if packet.protocol == "ICMP" else "wrong"
                flow.hops.append(
                    JudgedHop(hop, (), verdict, "belongs to no connection that the director forwarded")
                )
            return
        self._begin(flow, "reply", self._contract.reply, hop)

    def _from_director(self, hop: Hop) -> None:
        """A packet that the director did not merely pass on."""
        packet = hop.packet
        to_client = packet.src == self._setting.vip
        client = (packet.dst, packet.dport) if to_client else (packet.src, packet.sport)
        flow = next(
            (
                each
                for each in self._flows.values()
                if each.protocol == packet.protocol
                and each.client == client
                and (not to_client or each.service[1] == packet.sport or packet.protocol == "ICMP")
            ),
            None,
        )
        judged = JudgedHop(hop)
        if flow is None:
            if self._contract.proxied and packet.protocol == "TCP" and self._flows:
                fail(judged, "the proxy sent it, but it belongs to no client's connection")
                # beside the latest one, where it was seen
                list(self._flows.values())[-1].hops.append(judged)
            return
        flow.hops.append(judged)
        if packet.checksums is False:
            fail(judged, "a checksum is wrong")
        if packet.protocol == "ICMP" and to_client:
            return
        if not self._contract.proxied:
            judged.verdict, judged.why = (
                "wrong",
                "the director made this packet itself; in this mode it only forwards",
            )
            return
        leg = self._contract.reply[-1] if to_client else self._contract.request[-1]
        self._check_leg(flow, leg, judged)
        if not to_client and "S" in packet.flags and not flow.proved:
            judged.verdict, judged.why = (
                "wrong",
                "a SYN reached for a real server before the client's ACK proved the cookie",
            )

    def _begin(self, flow: Flow, kind: str, legs: Sequence[Leg], hop: Hop) -> None:
        judged = JudgedHop(hop)
        flow.hops.append(judged)
        journey = _Journey(flow, kind, legs, 0, [judged])
        self._check(journey, judged)
        self._open.append(journey)

    # -- journeys go on ----------------------------------------------------------------------------

    def _forwarded(self, hop: Hop) -> bool:
        """Whether the hop continues a packet that its sender received; judges it if so."""
        for index, journey in enumerate(self._open):
            last = journey.hops[-1].hop
            if last.receiver != hop.sender or not self._same_packet(journey, last.packet, hop.packet):
                continue
            by_director = self._setting.roles[hop.sender] == Role.DIRECTOR
            if by_director and (
                journey.leg + 1 >= len(journey.legs) or self._is_proxys_own(last.packet, hop.packet)
            ):
                continue
            judged = JudgedHop(hop, _rewritten(last.packet, hop.packet))
            journey.flow.hops.append(judged)
            if by_director:
                journey.leg += 1
            journey.hops.append(judged)
            self._check(journey, judged)
            check_forwarding(
                self._setting, journey.flow, last.packet, judged, is_reply=journey.kind == "reply"
            )
            if (
                journey.leg == len(journey.legs) - 1
                and self._setting.party(hop.receiver) == journey.legs[-1].receiver
            ):
                del self._open[index]
            return True
        return False

    def _is_proxys_own(self, before: IpPacket, after: IpPacket) -> bool:
        """Whether a SYN proxy made a packet itself that looks like one it received: its SYN, and
        ACKs with a TTL of its own.
        """
        return self._contract.proxied and (
            "S" in after.flags or after.ttl != before.ttl - self._setting.ttl_step
        )

    def _same_packet(self, journey: _Journey, before: IpPacket, after: IpPacket) -> bool:
        if (
            before.protocol != after.protocol
            or before.payload != after.payload
            or before.flags != after.flags
        ):
            return False
        if before.protocol == "UDP":
            return journey.flow.client[1] in (after.sport, after.dport) or bool(self._setting.lips)
        if not self._contract.proxied:
            return (before.seq, before.ack) == (after.seq, after.ack) and self._fits_flow(journey, after)
        same = before.seq == after.seq if journey.kind == "request" else before.ack == after.ack
        return same and self._fits_flow(journey, after)

    def _fits_flow(self, journey: _Journey, packet: IpPacket) -> bool:
        """Whether the client's port is there where only FullNAT may change it."""
        port = packet.sport if journey.kind == "request" else packet.dport
        return port == journey.flow.client[1] or bool(self._setting.lips)

    # -- checks ------------------------------------------------------------------------------------

    def _check(self, journey: _Journey, judged: JudgedHop) -> None:
        leg = journey.legs[journey.leg]
        sender = self._setting.party(judged.hop.sender)
        if sender is not None and sender != leg.sender:
            fail(judged, f"sent by {judged.hop.sender}; expected {leg}")
            return
        self._check_leg(journey.flow, leg, judged)
        if judged.hop.packet.checksums is False:
            fail(judged, "a checksum is wrong")
        if (
            self._contract.proxied
            and journey.kind == "request"
            and leg.receiver == Party.REAL_SERVER
            and "S" in judged.hop.packet.flags
            and not journey.flow.proved
        ):
            fail(judged, "a SYN reached for a real server before the client's ACK proved the cookie")

    def _check_leg(self, flow: Flow, leg: Leg, judged: JudgedHop) -> None:
        """Check a packet's addresses and where it arrived; one on its way to a real server says by
        which addresses the replies will be known.
        """
        packet = judged.hop.packet
        if check_addresses(self._setting, flow, leg, judged) and leg.receiver == Party.REAL_SERVER:
            self._by_server_tuple.setdefault(
                (packet.protocol, packet.dst, packet.dport, packet.src, packet.sport), flow
            )
        check_arrival(self._setting, flow, leg, judged)

    def _must_be_over(self, journey: _Journey) -> None:
        """An open journey ended where it is; wrong unless the contract lets it end there."""
        judged = journey.hops[-1]
        receiver = self._setting.party(judged.hop.receiver)
        if judged.verdict == "wrong" or receiver == journey.legs[-1].receiver:
            return
        packet = judged.hop.packet
        if (
            self._contract.proxied
            and receiver == Party.DIRECTOR
            and not packet.payload
            and "F" not in packet.flags
        ):
            return  # the two handshakes end at the proxy
        if judged.hop.receiver is not None:
            at = judged.hop.receiver
            following = (
                journey.legs[min(journey.leg + 1, len(journey.legs) - 1)]
                if receiver
                else journey.legs[journey.leg]
            )
            fail(judged, f"arrived at {at} and never left it; expected next: {following}")


def _rewritten(before: IpPacket, after: IpPacket) -> tuple[str, ...]:
    fields = tuple(
        name
        for name in ("src", "dst", "sport", "dport", "seq", "ack")
        if getattr(before, name) != getattr(after, name)
    )
    outer = (before.outer is None) != (after.outer is None)
    return (*fields, "outer") if outer else fields
