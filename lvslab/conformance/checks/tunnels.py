"""Tunnels to real servers: every encapsulation byte for byte, in every mix of IP versions, what
fits into them, and their errors.

Sources: ip_vs_tunnel_xmit, ip_vs_prepare_tunneled_skb, ipvs_gue_encap, ipvs_gre_encap and
ensure_mtu_is_adequate in net/netfilter/ipvs/ip_vs_xmit.c of Linux 6.1; ip_vs_in_icmp in
ip_vs_core.c for the errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether

from lvslab.conformance.check import check
from lvslab.conformance.checks.icmp.errors import error
from lvslab.conformance.datagrams import (
    SPORT,
    datagram,
    field,
    fragments,
    is_error,
    narrow,
    quoted,
    reassembled,
    too_big,
)
from lvslab.conformance.flows import ip_layer, one_hop, outer_class
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.testbed import NETS, PORT, V4, Bench, server_mac
from lvslab.conformance.verdict import CheckFailed, CheckSkipped
from lvslab.conformance.ways import ways
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType

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
_MIXES = [{"inner": inner, "outer": outer} for inner in (4, 6) for outer in (4, 6)]
_EVERY = [{"kind": kind, **mix} for kind in KINDS for mix in _MIXES]
_HEADER = {4: 20, 6: 40}


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
    bench: Bench, sent: Any, kind: str, outer: int, seen: Any, *, port: int = GUE_PORT, df: bool | None = None
) -> Any:
    """The frame that real server 1 must get for a client's packet.

    Args:
        seen: the frame that came: the identification of the outer IPv4 header and GUE's source port
            are the director's to choose.
        df: of the outer IPv4 header; as in the packet when left out.
    """
    from lvslab.traffic.layers import Gue

    what, net = KINDS[kind], NETS[outer]
    packet = changed(type(sent)(bytes(sent)), one_hop)
    inside_v4 = packet.version == 4
    hops, traffic_class = (packet.ttl, packet.tos) if inside_v4 else (packet.hlim, packet.tc)
    body: Any = bytes(packet)
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
        header = UDP(sport=seen[UDP].sport, dport=port)
        if what.checksum is TunnelChecksum.NOCSUM:
            header.chksum = 0
        number, body = 17, header / Gue(proto_ctype=number) / body
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
        header = IP(src=net.inner, dst=net.server(1), **fields)
    else:
        header = IPv6(src=net.inner, dst=net.server(1), hlim=hops, tc=outer_class(traffic_class), nh=number)
    return Ether(bytes(Ether(src=bench.inside.mac, dst=server_mac(1)) / header / body))


def through(
    bench: Bench, sent: Any, kind: str, outer: int, what: str, *, port: int = GUE_PORT, df: bool | None = None
) -> Any:
    """Send a client's packet and judge what real server 1 gets, byte for byte; the frame."""
    seen = bench.from_client(sent).one("inside", what)
    _has_outer(seen, kind, outer, what)
    must_equal(seen, wrapped(bench, sent, kind, outer, seen, port=port, df=df), what)
    return seen


def _has_outer(frame: Any, kind: str, outer: int, what: str) -> None:
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


# -- encapsulation ---------------------------------------------------------------------------------


@check(
    "tunnel:{kind}:{inner}in{outer}",
    "an IPv{inner} packet reaches the real server in {kind} over IPv{outer}, from the director's address"
    " there, every byte as it must be",
    tags=("tun", "ipv{inner}", "ipv{outer}"),
    each=_EVERY,
)
def encapsulation(bench: Bench, kind: str, inner: int, outer: int) -> None:
    # gue-remcsum too comes with its checksums complete: IPVS asks the far end to compute one only
    # where it was still to be computed (CHECKSUM_PARTIAL), which is so with packets of the director
    # itself; see tunnel:gue-remcsum:local-client.
    tunnel(bench, kind, inner, outer)
    client, name = bench.client(inner), "tos" if inner == 4 else "tc"
    through(bench, datagram(bench, inner, b"even", client=client), kind, outer, "a datagram of even length")
    through(bench, datagram(bench, inner, b"odd", client=client), kind, outer, "a datagram of odd length")
    for value in (0xB9, 0x03):
        sent = datagram(bench, inner, client=client, **field(name, value))
        through(bench, sent, kind, outer, f"a datagram with traffic class {value:#04x}")
    hops = field("ttl" if inner == 4 else "hlim", 9)
    through(bench, datagram(bench, inner, client=client, **hops), kind, outer, "a datagram with 9 hops left")


@check(
    "tunnel:gue:port-{port}",
    "GUE goes to the UDP port of the real server's --tun-port",
    tags=("tun", "gue", "boundary"),
    each=[{"port": 1}, {"port": 65535}],
)
def gue_port(bench: Bench, port: int) -> None:
    tunnel(bench, "gue", 4, 4, port)
    through(bench, datagram(bench, 4), "gue", 4, f"a datagram in GUE to port {port}", port=port)


@check(
    "tunnel:{kind}:source-port",
    "GUE's UDP source port is one for all packets of a connection, and others have others, so that networks"
    " can spread the load",
    tags=("tun", "gue"),
    each=[{"kind": "gue"}],
)
def gue_source_port(bench: Bench, kind: str) -> None:
    # udp_flow_src_port: a hash of the connection, in the range of local ports.
    tunnel(bench, kind, 4, 4)
    ports = set()
    for _ in range(8):
        client = bench.client()
        mine = {
            through(bench, datagram(bench, 4, client=client), kind, 4, "a datagram")[UDP].sport
            for _ in range(3)
        }
        must(len(mine) == 1, f"one connection had several source ports: {sorted(mine)}")
        ports |= mine
    must(len(ports) > 4, f"8 connections had {len(ports)} source ports only: {sorted(ports)}")


@check(
    "tunnel:edit",
    "a connection follows its real server's tunnel type when that is edited: IPIP, then GRE, then GUE",
    tags=("tun", "configuration"),
)
def edit(bench: Bench) -> None:
    service = tunnel(bench, "ipip", 4, 4)
    client = bench.client()
    through(bench, datagram(bench, 4, client=client), "ipip", 4, "a datagram in IPIP")
    for kind in ("gre-csum", "gue"):
        what = KINDS[kind]
        port = GUE_PORT if kind == "gue" else 0
        server = RealServer(
            V4.server(1),
            PORT,
            PacketForwarding.TUN,
            tun_type=what.type,
            tun_port=port,
            tun_csum=what.checksum,
        )
        bench.ipvsadm.edit_server(service, server)
        through(
            bench, datagram(bench, 4, client=client), kind, 4, f"a datagram of the same connection in {kind}"
        )


@check(
    "tunnel:{kind}:local-client",
    "a datagram of the director itself: with remcsum the far end is told to compute its checksum and would"
    " get the right one, with csum it is there",
    tags=("tun", "gue", "checksum"),
    each=[{"kind": "gue-remcsum"}, {"kind": "gue-csum"}],
)
def local_client(bench: Bench, kind: str) -> None:
    from lvslab.traffic.layers import Gue, remote_checksum

    tunnel(bench, kind, 4, 4)
    sent = bench.lab.director.run(
        f"command -v bash >/dev/null || exit 9; bash -c 'echo lvslab >/dev/udp/{V4.vip}/{PORT}'"
    )
    if sent.code == 9:
        raise CheckSkipped("the director has no bash, with which this check sends its datagram")
    sent.check(bench.lab.plan.director.name, "bash: a datagram to the VIP")
    frames = bench.from_client().inside
    must(
        len(frames) == 1,
        f"one frame was expected inside, {len(frames)} came",
        *(frame.summary() for frame in frames),
    )
    frame = frames[0]
    must(Gue in frame, "the frame is no GUE packet", frame.summary())
    gue = frame[Gue]
    packet = IP(bytes(gue.payload))
    right = packet.copy()
    del right[UDP].chksum
    right = IP(bytes(right))
    asked = remote_checksum(gue)
    if kind == "gue-csum":
        must(asked is None, "the far end is told to compute a checksum", frame.summary())
        must(packet[UDP].chksum == right[UDP].chksum, "the datagram's checksum is wrong", frame.summary())
        return
    must(asked is not None, "the far end is not told to compute the checksum", frame.summary())
    must(
        asked == right[UDP].chksum,
        f"the far end would compute {asked:#06x}, right is {right[UDP].chksum:#06x}",
        frame.summary(),
    )
    must(
        (gue.csum_start, gue.csum_offset) == (20, 26),
        f"start {gue.csum_start}, offset {gue.csum_offset} are not UDP's 20 and 26",
    )


# -- what fits -------------------------------------------------------------------------------------


@check(
    "tunnel:{kind}:mtu-{inner}in{outer}",
    "the longest packet that fits into {kind} over IPv{outer} passes; one more byte is answered with the MTU"
    " that the tunnel leaves",
    tags=("tun", "mtu", "boundary", "ipv{inner}", "ipv{outer}"),
    each=_EVERY,
)
def mtu(bench: Bench, kind: str, inner: int, outer: int) -> None:
    tunnel(bench, kind, inner, outer)
    most = 1500 - _HEADER[outer] - KINDS[kind].extra
    room, client = most - _HEADER[inner] - 8, bench.client(inner)
    flags = field("flags", "DF") if inner == 4 else {}
    through(
        bench,
        datagram(bench, inner, bytes(room), client=client, **flags),
        kind,
        outer,
        f"a packet of {most} bytes",
    )
    long = datagram(bench, inner, bytes(room + 1), client=client, **flags)
    frame = bench.from_client(long).one("outside", f"the answer to a packet of {most + 1} bytes")
    too_big(frame, long, most, f"the answer to a packet of {most + 1} bytes", hops=1)


@check(
    "tunnel:{kind}:no-df-4in{outer}",
    "an IPv4 packet of 1500 bytes without DF gets through {kind} over IPv{outer}: the tunnel packet is in two"
    " fragments",
    tags=("tun", "mtu", "fragments", "ipv{outer}"),
    each=[{"kind": kind, "outer": outer} for kind in ("ipip", "gre", "gue") for outer in (4, 6)],
)
def no_df(bench: Bench, kind: str, outer: int) -> None:
    tunnel(bench, kind, 4, outer)
    sent = datagram(bench, 4, bytes(at % 251 for at in range(1472)))
    whole_in_fragments(bench, sent, kind, outer, "a packet of 1500 bytes without DF")


def whole_in_fragments(bench: Bench, sent: Any, kind: str, outer: int, what: str) -> None:
    """Send a client's packet: real server 1 must get it in two fragments of the tunnel's packet,
    which has no DF.
    """
    seen = bench.from_client(sent)
    shown = [frame.summary() for frame in (*seen.outside, *seen.inside)]
    must(len(seen.inside) == 2 and not seen.outside, f"{what}: two frames were expected inside", *shown)
    joined = reassembled(seen.inside, what)
    _has_outer(joined, kind, outer, what)
    must_equal(joined, wrapped(bench, sent, kind, outer, joined, df=False), what)


@check(
    "tunnel:{kind}:pmtu-disc-0",
    "with pmtu_disc=0 the outer header has no DF though the packet has it, and a packet that is too long is"
    " sent in fragments",
    tags=("tun", "mtu", "sysctl"),
    each=[{"kind": kind} for kind in ("ipip", "gre", "gue")],
)
def pmtu_disc(bench: Bench, kind: str) -> None:
    tunnel(bench, kind, 4, 4)
    client = bench.client()
    short = datagram(bench, 4, client=client, flags="DF")
    long = datagram(bench, 4, bytes(1472), client=client, flags="DF")
    through(bench, short, kind, 4, "a packet with DF and pmtu_disc=1", df=True)
    most = 1480 - KINDS[kind].extra
    too_big(
        bench.from_client(long).one("outside", "the answer with pmtu_disc=1"),
        long,
        most,
        "the answer with pmtu_disc=1",
        hops=1,
    )
    bench.sysctl("net.ipv4.vs.pmtu_disc", 0)
    through(bench, short, kind, 4, "a packet with DF and pmtu_disc=0", df=False)
    whole_in_fragments(bench, long, kind, 4, "a packet of 1500 bytes with DF and pmtu_disc=0")


@check(
    "tunnel:narrow-path:{inner}in{outer}",
    "where the route to the real server has an MTU of 1400, the tunnel leaves that much less its own header",
    tags=("tun", "mtu", "boundary", "ipv{inner}", "ipv{outer}"),
    each=_MIXES,
)
def narrow_path(bench: Bench, inner: int, outer: int) -> None:
    narrow(bench, NETS[outer].server(1), "inside", 1400)
    tunnel(bench, "ipip", inner, outer)
    most = 1400 - _HEADER[outer]
    room, client = most - _HEADER[inner] - 8, bench.client(inner)
    flags = field("flags", "DF") if inner == 4 else {}
    through(
        bench,
        datagram(bench, inner, bytes(room), client=client, **flags),
        "ipip",
        outer,
        f"a packet of {most} bytes",
    )
    long = datagram(bench, inner, bytes(room + 1), client=client, **flags)
    frame = bench.from_client(long).one("outside", f"the answer to a packet of {most + 1} bytes")
    too_big(frame, long, most, f"the answer to a packet of {most + 1} bytes", hops=1)


@check(
    "tunnel:reassembly",
    "a datagram that comes in fragments is put together before it goes into the tunnel",
    tags=("tun", "fragments"),
)
def reassembly(bench: Bench) -> None:
    tunnel(bench, "gre-csum", 4, 4)
    whole = datagram(bench, 4, bytes(1000), id=0x3333)
    seen = bench.from_client(*fragments(whole, 512, 0x3333))
    must(bool(seen.inside) and not seen.outside, "nothing came inside for a fragmented datagram")
    joined = seen.inside[0] if len(seen.inside) == 1 else reassembled(seen.inside, "the fragments")
    must_equal(joined, wrapped(bench, whole, "gre-csum", 4, joined), "the datagram in the tunnel")


@check(
    "tunnel:error-without-df",
    "a router's fragmentation needed about a tunnel packet is not told to a client that did not set DF",
    tags=("tun", "icmp", "mtu", "boundary"),
)
def error_without_df(bench: Bench) -> None:
    tunnel(bench, "ipip", 4, 4)
    bench.apply("true", "ip route flush cache")
    inside = through(bench, datagram(bench, 4, bytes(1400)), "ipip", 4, "the request")
    bench.from_server(1, error("10.0.1.200", V4.inner, "too-big", bytes(inside.payload))).nothing(
        "an error about a packet without DF"
    )


# -- errors about tunnel packets -------------------------------------------------------------------


@check(
    "tunnel:{kind}:error-{what}",
    "an ICMP error of a router inside about a tunnel packet ({what}) is told to the client as one about its"
    " own packet",
    tags=("tun", "icmp"),
    each=[
        {"kind": kind, "what": what}
        for kind in ("ipip", "gre", "gue")
        for what in ("prohibited", "time-exceeded")
    ],
)
def error_about_tunnel(bench: Bench, kind: str, what: str) -> None:
    tunnel(bench, kind, 4, 4)
    sent = datagram(bench, 4, bytes(64), flags="DF")
    inside = through(bench, sent, kind, 4, "the request")
    seen = bench.from_server(1, error("10.0.1.200", V4.inner, what, bytes(inside.payload)))
    frame = seen.one("outside", "the error for the client")
    number = {"prohibited": (3, 13), "time-exceeded": (11, 0)}[what]
    found = (frame.payload.payload.type, frame.payload.payload.code)
    must(found == number, f"the client gets ICMP {found} for {number}", frame.summary())
    must(frame.payload.dst == sent.src, "the error does not go to the client", frame.summary())
    must(
        quoted(frame) == bytes(changed(sent, one_hop)),
        "the error does not quote the client's packet",
        frame.summary(),
    )


@check(
    "tunnel:{kind}:error-too-big",
    "a router's fragmentation needed about a tunnel packet is passed on to a client that set DF; its next"
    " packet is answered with the MTU that is left for it, and one of that length passes",
    tags=("tun", "icmp", "mtu"),
    each=[{"kind": kind} for kind in ("ipip", "gre", "gue")],
)
def path_mtu_learned(bench: Bench, kind: str) -> None:
    tunnel(bench, kind, 4, 4)
    bench.apply("true", "ip route flush cache")
    sent = datagram(bench, 4, bytes(1400), flags="DF")
    inside = through(bench, sent, kind, 4, "the request")
    # The routers here name 1290 as the MTU of their next hop.
    # What is passed on names that, or the old MTU, less the tunnel's headers as the kernel counts
    # them: ip_vs_in_icmp reads the route that the server has cached, which update_or_create_fnhe
    # (net/ipv4/route.c) has only marked as obsolete.
    left = 1290 - 20 - KINDS[kind].extra
    counted = 20 + (KINDS[kind].extra if ways(bench.version).error_counts_tunnel else 0)
    frame = bench.from_server(1, error("10.0.1.200", V4.inner, "too-big", bytes(inside.payload))).one(
        "outside", "the error"
    )
    is_error(frame, 4, 3, 4, "the error for the client")
    named = frame.payload.payload.nexthopmtu
    must(
        named in (1500 - counted, 1290 - counted),
        f"the error for the client names MTU {named}",
        frame.summary(),
    )
    must(frame.payload.dst == sent.src, "the error does not go to the client", frame.summary())
    again = bench.from_client(sent).one("outside", "the answer to the packet sent again")
    too_big(again, sent, left, "the answer to the packet sent again", hops=1)
    fitting = datagram(bench, 4, bytes(left - 28), client=sent.src, flags="DF")
    through(bench, fitting, kind, 4, f"a packet of {left} bytes")


@check(
    "tunnel:error-unrelated",
    "an ICMP error about a tunnel packet that quotes no known connection is told to nobody",
    tags=("tun", "icmp", "boundary"),
)
def error_unrelated(bench: Bench) -> None:
    tunnel(bench, "ipip", 4, 4)
    inside = through(bench, datagram(bench, 4, flags="DF"), "ipip", 4, "the request")
    other = inside.payload.copy()
    other[UDP].sport = SPORT + 1
    bench.from_server(1, error("10.0.1.200", V4.inner, "prohibited", bytes(IP(bytes(other))))).nothing(
        "an error about another port"
    )
