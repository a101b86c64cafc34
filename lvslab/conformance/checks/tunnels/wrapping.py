"""Every encapsulation, and what a real server must get in it, byte for byte.

Sources: ip_vs_tunnel_xmit, ip_vs_prepare_tunneled_skb, ipvs_gue_encap and ipvs_gre_encap in
net/netfilter/ipvs/ip_vs_xmit.c of Linux 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, PORT, server_mac
from lvslab.conformance.flows import ip_layer, one_hop, outer_class
from lvslab.conformance.packets import changed, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from lvslab.traffic.layers import Gue

GUE_PORT = 6080


@dataclass(frozen=True)
class Kind:
    """An encapsulation.

    Attributes:
        extra: bytes between the outer IP header and the inner one.
    """

    type: TunnelType
    checksum: TunnelChecksum
    extra: int


KINDS = {
    "ipip": Kind(TunnelType.IPIP, TunnelChecksum.NOCSUM, 0),
    "gre": Kind(TunnelType.GRE, TunnelChecksum.NOCSUM, 4),
    "gre-csum": Kind(TunnelType.GRE, TunnelChecksum.CSUM, 8),
    "gue": Kind(TunnelType.GUE, TunnelChecksum.NOCSUM, 12),
    "gue-csum": Kind(TunnelType.GUE, TunnelChecksum.CSUM, 12),
    "gue-remcsum": Kind(TunnelType.GUE, TunnelChecksum.REMCSUM, 12),
}
MIXES = [{"inner": inner, "outer": outer} for inner in (4, 6) for outer in (4, 6)]
EVERY = [{"kind": kind, **mix} for kind in KINDS for mix in MIXES]
HEADER = {4: 20, 6: 40}


def tunnel(
    bench: Bench, kind: str, inner: int, outer: int, port: int = GUE_PORT, protocol: Protocol = Protocol.UDP
) -> VirtualService:
    """A service of one IP version whose real server 1 is reached by a tunnel of a kind, with an
    address of a version of its own.
    """
    what = KINDS[kind]
    server = RealServer(
        NETS[outer].server(1),
        PORT,
        PacketForwarding.TUN,
        tun_type=what.type,
        tun_port=port if what.type is TunnelType.GUE else 0,
        tun_csum=what.checksum,
    )
    return bench.add(VirtualService(protocol, NETS[inner].vip, PORT, real_servers=(server,)))


def wrapped(
    bench: Bench,
    sent: Packet,
    kind: str,
    outer: int,
    seen: Packet,
    *,
    port: int = GUE_PORT,
    df: bool | None = None,
) -> Packet:
    """The frame that real server 1 must get for a client's packet.

    Args:
        seen: the frame that came: the identification of the outer IPv4 header and GUE's source port
            are the director's to choose.
        df: of the outer IPv4 header; as in the packet when left out.
    """
    what, net = KINDS[kind], NETS[outer]
    packet = changed(type(sent)(bytes(sent)), one_hop)
    inside_v4 = packet.version == 4
    hops, traffic_class = (packet.ttl, packet.tos) if inside_v4 else (packet.hlim, packet.tc)
    body: bytes | Packet = bytes(packet)
    number = 4 if inside_v4 else 41
    if what.type is TunnelType.GRE:
        number, body = (
            47,
            GRE(
                proto=0x0800 if inside_v4 else 0x86DD,
                chksum_present=int(what.checksum is TunnelChecksum.CSUM),
            )
            / body,
        )
    elif what.type is TunnelType.GUE:
        udp = UDP(sport=seen[UDP].sport, dport=port)
        if what.checksum is TunnelChecksum.NOCSUM:
            udp.chksum = 0
        number, body = 17, udp / Gue(proto_ctype=number) / body
    if outer == 4:
        inner_df = inside_v4 and bool(packet.flags & 2)
        flags = 2 if (inner_df if df is None else df) else 0
        fields = {
            "ttl": hops,
            "tos": outer_class(traffic_class),
            "flags": flags,
            "id": seen[IP].id,
            "proto": number,
        }
        header: Packet = IP(src=net.inner, dst=net.server(1), **fields)
    else:
        header = IPv6(src=net.inner, dst=net.server(1), hlim=hops, tc=outer_class(traffic_class), nh=number)
    return Ether(bytes(Ether(src=bench.inside.mac, dst=server_mac(1)) / header / body))


def through(
    bench: Bench,
    sent: Packet,
    kind: str,
    outer: int,
    what: str,
    *,
    port: int = GUE_PORT,
    df: bool | None = None,
) -> Packet:
    """Send a client's packet and judge what real server 1 gets, byte for byte; the frame."""
    seen = bench.from_client(sent).one("inside", what)
    must_have_outer(seen, kind, outer, what)
    must_equal(seen, wrapped(bench, sent, kind, outer, seen, port=port, df=df), what)
    return seen


def must_have_outer(frame: Packet, kind: str, outer: int, what: str) -> None:
    """The frame must have the outer headers of the kind at all.

    Raises:
        CheckFailed: it has others.
    """
    packet = frame.payload
    good = isinstance(packet, ip_layer(outer)) and (
        KINDS[kind].type is not TunnelType.GUE or isinstance(packet.payload, UDP)
    )
    if not good:
        raise CheckFailed(f"{what}: a tunnel packet {kind} over IPv{outer} was expected", [frame.summary()])
