"""What fits into a tunnel, and what the director says of the rest.

Sources: ensure_mtu_is_adequate in net/netfilter/ipvs/ip_vs_xmit.c of Linux 6.1.
"""

from __future__ import annotations

from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, V4
from lvslab.conformance.check import check
from lvslab.conformance.checks.icmp.errors import error
from lvslab.conformance.checks.tunnels.wrapping import (
    EVERY,
    HEADER,
    KINDS,
    MIXES,
    must_have_outer,
    through,
    tunnel,
    wrapped,
)
from lvslab.conformance.datagrams import datagram, field, fragments, narrow, reassembled, too_big
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench


@check(
    "tunnel:{kind}:mtu-{inner}in{outer}",
    "the longest packet that fits into {kind} over IPv{outer} passes; one more byte is answered with the MTU"
    " that the tunnel leaves",
    tags=("tun", "mtu", "boundary", "ipv{inner}", "ipv{outer}"),
    each=EVERY,
)
def mtu(bench: Bench, kind: str, inner: int, outer: int) -> None:
    tunnel(bench, kind, inner, outer)
    most = 1500 - HEADER[outer] - KINDS[kind].extra
    room, client = most - HEADER[inner] - 8, bench.client(inner)
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


def whole_in_fragments(bench: Bench, sent: Packet, kind: str, outer: int, what: str) -> None:
    """Send a client's packet: real server 1 must get it in two fragments of the tunnel's packet,
    which has no DF.
    """
    seen = bench.from_client(sent)
    shown = [frame.summary() for frame in (*seen.outside, *seen.inside)]
    must(len(seen.inside) == 2 and not seen.outside, f"{what}: two frames were expected inside", *shown)
    joined = reassembled(seen.inside, what)
    must_have_outer(joined, kind, outer, what)
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
    each=MIXES,
)
def narrow_path(bench: Bench, inner: int, outer: int) -> None:
    narrow(bench, NETS[outer].server(1), "inside", 1400)
    tunnel(bench, "ipip", inner, outer)
    most = 1400 - HEADER[outer]
    room, client = most - HEADER[inner] - 8, bench.client(inner)
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
