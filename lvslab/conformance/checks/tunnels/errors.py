"""Errors about tunnel packets, from the way to the real server.

Sources: ip_vs_in_icmp in net/netfilter/ipvs/ip_vs_core.c of Linux 6.1.
"""

from __future__ import annotations

from scapy.layers.inet import IP, UDP

from lvslab.conformance.addresses import V4
from lvslab.conformance.check import check
from lvslab.conformance.checks.icmp.errors import error
from lvslab.conformance.checks.tunnels.wrapping import KINDS, through, tunnel
from lvslab.conformance.datagrams import SPORT, datagram, is_error, quoted, too_big
from lvslab.conformance.flows import one_hop
from lvslab.conformance.packets import changed, must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.ways import ways


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
