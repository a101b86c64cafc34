"""Errors from the servers' side about connections, translated with the packet that they quote.

Sources: ip_vs_out_icmp, ip_vs_nat_icmp and their IPv6 twins in net/netfilter/ipvs/ip_vs_core.c of
Linux 6.1.
"""

from __future__ import annotations

from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoRequest

from lvslab.conformance.addresses import NETS, PORT, ROUTER_MAC, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.checks.icmp.errors import (
    EACH_KIND,
    ROUTERS,
    at,
    damaged,
    error,
    requoted,
    send_error,
    without_pseudo_header,
)
from lvslab.conformance.datagrams import SPORT, answer, datagram, must_answer, must_forward, routed, transport
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import DIRECT_VERSIONS, EACH_VERSION, VERSIONS
from lvslab.ipvs.service import Protocol


@check(
    "icmp:from-server:checksum-ipv6",
    "of two IPv6 errors from the servers' side, one with a right checksum and one whose checksum lacks the"
    " pseudo-header, one alone passes, with a right checksum: the right one, and on kernels without the fix"
    " of July 2026 the wrong one",
    tags=("ipv6", "nat", "checksum"),
)
def checksum_of_icmpv6(bench: Bench) -> None:
    net = NETS[6]
    bench.service("nat", protocol=Protocol.UDP, version=6, weights=(1,))
    frame = must_forward(bench, datagram(bench, 6), "nat", "the request")
    client, quote = frame.payload.src, bytes(frame.payload)
    packet = error(net.server(1), client, "port-unreachable", quote)
    passed = [
        *bench.from_server(1, packet).outside,
        *bench.from_server(1, without_pseudo_header(packet)).outside,
    ]
    must(len(passed) == 1, f"of both errors {len(passed)} passed", *(frame.summary() for frame in passed))
    expected = at(
        bench, "outside", 0, net.vip, client, "port-unreachable", requoted(quote, dst=net.vip, dport=PORT)
    )
    must_equal(passed[0], expected, "the error that passed")


@check(
    "icmp:from-server:{kind}-ipv{version}",
    "an error from the servers' side about a connection of nat reaches the client from the VIP, quoting the"
    " packet that the client sent",
    tags=("ipv{version}", "nat"),
    each=EACH_KIND,
)
def from_server(bench: Bench, version: int, kind: str) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    frame = must_forward(bench, datagram(bench, version, bytes(range(100))), "nat", "the request")
    client = frame.payload.src
    source = net.server(1) if kind == "port-unreachable" else ROUTERS[version][1]
    quote = bytes(frame.payload)
    seen = send_error(bench, error(source, client, kind, quote)).one("outside", "the error")
    expected = at(bench, "outside", 0, net.vip, client, kind, requoted(quote, dst=net.vip, dport=PORT))
    must_equal(seen, expected, "the error at the client")


@check(
    "icmp:from-server:{protocol}-ipv{version}",
    "an error about a TCP or SCTP connection of nat is translated too, and the connection goes on",
    tags=("ipv{version}", "nat", "{protocol}"),
    each=[{"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "sctp")],
)
def from_server_protocol(bench: Bench, version: int, protocol: str) -> None:
    net, client = NETS[version], bench.client(version)
    bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    sent = net.packet(client, net.vip) / transport(protocol, SPORT, PORT)
    quote = bytes(must_forward(bench, sent, "nat", "the request").payload)
    seen = send_error(bench, error(ROUTERS[version][1], client, "too-big", quote)).one("outside", "the error")
    expected = at(bench, "outside", 0, net.vip, client, "too-big", requoted(quote, dst=net.vip, dport=PORT))
    must_equal(seen, expected, "the error at the client")
    must_answer(
        bench,
        net.packet(net.server(1), client) / answer(protocol, SERVER_PORT, SPORT),
        "the reply after the error",
    )


@check(
    "icmp:from-server:short-quote-ipv{version}",
    "an error that quotes no more than 8 bytes behind the IP header is translated as well; one with the ports"
    " cut off is not",
    tags=("ipv{version}", "nat", "boundary"),
    each=EACH_VERSION,
)
def short_quote(bench: Bench, version: int) -> None:
    net, header = NETS[version], 20 if version == 4 else 40
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    frame = must_forward(bench, datagram(bench, version), "nat", "the request")
    client, quote = frame.payload.src, bytes(frame.payload)[: header + 8]
    seen = send_error(bench, error(net.server(1), client, "port-unreachable", quote)).one(
        "outside", "the error"
    )
    expected = at(
        bench, "outside", 0, net.vip, client, "port-unreachable", requoted(quote, dst=net.vip, dport=PORT)
    )
    must_equal(seen, expected, "the error with a short quote")
    parts = (net.server(1), client, "port-unreachable", quote[: header + 2])
    seen = bench.from_server(1, error(*parts)).one("outside", "an error with half the ports")
    must_equal(seen, at(bench, "outside", 0, *parts), "an error with half the ports")


@check(
    "icmp:from-server:unrelated-ipv{version}",
    "an error about what is no connection is routed unchanged, as is an echo of a real server",
    tags=("ipv{version}", "nat", "boundary"),
    each=EACH_VERSION,
)
def unrelated(bench: Bench, version: int) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    frame = must_forward(bench, datagram(bench, version), "nat", "the request")
    client = frame.payload.src
    parts = (net.server(1), client, "port-unreachable", requoted(bytes(frame.payload), sport=SPORT + 1))
    seen = bench.from_server(1, error(*parts)).one("outside", "an error about another port")
    must_equal(seen, at(bench, "outside", 0, *parts), "an error about another port")
    echo = (
        net.packet(net.server(1), client)
        / (ICMP(type=8, id=7) if version == 4 else ICMPv6EchoRequest(id=7))
        / b"ping"
    )
    seen = bench.from_server(1, echo).one("outside", "a real server's echo request")
    must_equal(seen, routed(bench, echo, "outside", ROUTER_MAC), "a real server's echo request")


@check(
    "icmp:from-server:parameter-problem-ipv4",
    "in IPv4 only unreachable, source quench and time exceeded are translated: a parameter problem is routed"
    " with the server's address",
    tags=("ipv4", "nat", "boundary"),
)
def parameter_problem(bench: Bench) -> None:
    # "Work through seeing if this is for us" in ip_vs_out_icmp; the IPv6 twin takes every error,
    # see icmp:from-server:parameter-problem-ipv6.
    net = NETS[4]
    bench.service("nat", protocol=Protocol.UDP, weights=(1,))
    frame = must_forward(bench, datagram(bench, 4), "nat", "the request")
    packet = error(net.server(1), frame.payload.src, "parameter-problem", bytes(frame.payload))
    seen = bench.from_server(1, packet).one("outside", "a parameter problem")
    must_equal(seen, routed(bench, packet, "outside", ROUTER_MAC), "a parameter problem")


@check(
    "icmp:from-server:{mode}-ipv{version}",
    "in {mode} an error from the servers' side is routed unchanged: it quotes the VIP already",
    tags=("ipv{version}", "{mode}"),
    each=DIRECT_VERSIONS,
)
def from_server_not_nat(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    frame = must_forward(bench, datagram(bench, version), mode, "the request")
    inner = frame.payload if mode == "dr" else frame.payload.payload
    packet = error(ROUTERS[version][1], inner.src, "prohibited", bytes(inner))
    seen = bench.from_server(1, packet).one("outside", "an error about the request")
    must_equal(seen, routed(bench, packet, "outside", ROUTER_MAC), "an error about the request")


@check(
    "icmp:from-server:bad-checksum-ipv{version}",
    "an error from the servers' side about a connection of nat is dropped when its checksum is wrong;"
    " undamaged it passes",
    tags=("ipv{version}", "nat", "checksum"),
    each=EACH_VERSION,
)
def bad_checksum_of_server(bench: Bench, version: int) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    frame = must_forward(bench, datagram(bench, version), "nat", "the request")
    packet = error(net.server(1), frame.payload.src, "port-unreachable", bytes(frame.payload))
    bench.from_server(1, damaged(packet)).nothing("a damaged error")
    send_error(bench, packet).one("outside", "the error undamaged")
