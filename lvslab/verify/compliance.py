"""Whether a packet keeps its leg of the contract: addresses, tunnel, arrival, and what forwarding
may change. What is wrong is marked on its hop.
"""

from __future__ import annotations

from lvslab.modes.base import Role
from lvslab.modes.contract import Address, Leg, Party
from lvslab.verify.flows import Flow, JudgedHop, Setting, fail
from lvslab.verify.frames import IpPacket

_IPIP = 4


def check_addresses(setting: Setting, flow: Flow, leg: Leg, judged: JudgedHop) -> bool:
    """Source, destination and tunnel as the leg has them, and one real server for each flow; the
    first packet to a real server says which.

    Returns:
        Whether source and destination are right.
    """
    packet = judged.hop.packet
    for which, address, value in (
        ("source", leg.source, (packet.src, packet.sport)),
        ("destination", leg.destination, (packet.dst, packet.dport)),
    ):
        expected = _expected(setting, flow, address, value)
        if expected is not None:
            fail(judged, f"{which} is {value[0]}:{value[1]}, expected {address} {expected}")
            return False
    if leg.receiver == Party.REAL_SERVER:
        server = judged.hop.receiver if setting.party(judged.hop.receiver) == Party.REAL_SERVER else None
        server = server or setting.server_of(packet.outer.dst if packet.outer else packet.dst)
        if server and flow.server and server != flow.server:
            fail(judged, f"went to {server}, but this connection belongs to {flow.server}")
        flow.server = flow.server or server
    _check_tunnel(setting, leg, judged)
    return True


def _check_tunnel(setting: Setting, leg: Leg, judged: JudgedHop) -> None:
    outer = judged.hop.packet.outer
    if leg.tunnelled:
        if outer is None:
            fail(judged, "not tunnelled; expected protocol 4 from DIP to RIP around it")
        elif outer.src != setting.dip or outer.dst not in setting.rips.values() or outer.protocol != _IPIP:
            wanted = f"{setting.dip} > RIP protocol {_IPIP}"
            fail(
                judged,
                f"outer header is {outer.src} > {outer.dst} protocol {outer.protocol}, expected {wanted}",
            )
    elif outer is not None:
        fail(judged, f"tunnelled ({outer.src} > {outer.dst}); expected no outer header")


def _expected(setting: Setting, flow: Flow, address: Address, value: tuple[str, int]) -> str | None:
    """What should have been there, or None when `value` is right."""
    if flow.protocol == "ICMP":
        wanted_address = {Address.CIP: flow.client[0], Address.VIP: flow.service[0]}.get(address)
        return None if wanted_address in (None, value[0]) else str(wanted_address)
    if address == Address.RIP:
        port = setting.ports.get(flow.service[1], flow.service[1])
        good = value[0] in setting.rips.values() and value[1] == port
        return None if good else f"one of {', '.join(setting.rips.values())}, port {port}"
    if address == Address.LIP:
        if value[0] not in setting.lips:
            return f"one of {', '.join(setting.lips)}"
        flow.local = flow.local or value
        return None if value == flow.local else f"{flow.local[0]}:{flow.local[1]}"
    wanted = flow.client if address == Address.CIP else flow.service
    return None if value == wanted else f"{wanted[0]}:{wanted[1]}"


def check_arrival(setting: Setting, flow: Flow, leg: Leg, judged: JudgedHop) -> None:
    """The frame reached a node of the leg's receiving party, and the one that it is meant for."""
    receiver = judged.hop.receiver
    if receiver is None:
        fail(
            judged,
            f"went to MAC {judged.hop.eth_dst}, which nobody on this network has; expected: to"
            f" {leg.receiver}",
        )
        return
    party = setting.party(receiver)
    if party is not None and party != leg.receiver:
        fail(
            judged,
            f"handed to {receiver} ({party}, MAC {judged.hop.eth_dst}); expected: to {leg.receiver}",
        )
    elif party == Party.CLIENT and flow.origin not in (None, receiver):
        fail(judged, f"handed to {receiver}, but {flow.origin} asked")
    elif party == Party.REAL_SERVER:
        packet = judged.hop.packet
        meant = setting.server_of(packet.outer.dst if packet.outer else packet.dst)
        if meant not in (None, receiver):
            fail(judged, f"addressed to {meant}, but handed to {receiver} (MAC {judged.hop.eth_dst})")


def check_forwarding(
    setting: Setting, flow: Flow, before: IpPacket, judged: JudgedHop, *, is_reply: bool
) -> None:
    """What a node did to a packet that it passed on: TTL, TCP options, and the shift of a SYN
    proxy's sequence numbers, which is the same for a whole connection.

    Args:
        before: as the node received it.
    """
    after = judged.hop.packet
    forwarder = setting.roles[judged.hop.sender]
    step = setting.ttl_step if forwarder == Role.DIRECTOR else 1
    # A router sees only the outer header of a tunnelled packet.
    counted = [
        packet.outer if forwarder == Role.ROUTER and packet.outer else packet for packet in (before, after)
    ]
    if counted[1].ttl != counted[0].ttl - step:
        fail(
            judged,
            f"TTL is {counted[1].ttl}, expected {counted[0].ttl - step} ({judged.hop.sender} takes {step}"
            " off)",
        )
    if before.outer and after.outer and after.ttl != before.ttl:
        fail(judged, f"the packet inside the tunnel changed: TTL {before.ttl} became {after.ttl}")
    if not setting.contract.proxied:
        if after.options != before.options:
            fail(judged, "TCP options changed on the way; this mode keeps them")
        return
    if forwarder == Role.DIRECTOR and after.protocol == "TCP" and "A" in after.flags:
        number = (before.seq - after.seq) if is_reply else (after.ack - before.ack)
        shift = number % (1 << 32)
        flow.shift = shift if flow.shift is None else flow.shift
        if shift != flow.shift:
            fail(
                judged,
                f"sequence numbers shifted by {shift}, but by {flow.shift} before in the same connection",
            )
