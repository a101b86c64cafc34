"""ICMP and the connections it speaks of: errors of both sides translated with the packet they
quote, and what the director says itself.

Sources: ip_vs_out_icmp, ip_vs_in_icmp, ip_vs_nat_icmp and their IPv6 twins in
net/netfilter/ipvs/ip_vs_core.c of Linux 6.1.
"""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
)
from scapy.utils import checksum

from lvslab.conformance.check import check
from lvslab.conformance.datagrams import (
    SPORT,
    answer,
    answer_to,
    answered,
    datagram,
    forwarded,
    is_error,
    quoted,
    routed,
    transport,
)
from lvslab.conformance.flows import Conversation, at_server, ip_layer
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import NETS, PORT, ROUTER_MAC, SERVER_PORT, Bench, Seen, server_mac
from lvslab.ipvs.service import Protocol

VERSIONS = (4, 6)
_KINDS = {
    4: {"port-unreachable": (3, 3), "prohibited": (3, 13), "too-big": (3, 4), "time-exceeded": (11, 0)},
    6: {
        "port-unreachable": (1, 4),
        "prohibited": (1, 1),
        "too-big": (2, 0),
        "time-exceeded": (3, 0),
        "parameter-problem": (4, 1),
    },
}
_EACH_KIND = [{"version": version, "kind": kind} for version in VERSIONS for kind in _KINDS[version]]
_NEXT_HOP_MTU = 1290
_ROUTERS = {4: ("203.0.113.1", "10.0.1.200"), 6: ("2001:db8:ffff::1", "2001:db8:1::200")}
"""A router on the clients' way, and one among the real servers."""


def error(source: str, destination: str, kind: str, quote: bytes, hops: int = 64) -> Any:
    """An ICMP error as an IP packet."""
    version = 6 if ":" in source else 4
    number, code = _KINDS[version].get(kind, (12, 0))
    header = NETS[version].packet(source, destination, **{"ttl" if version == 4 else "hlim": hops})
    if version == 4:
        packet = (
            header
            / ICMP(type=number, code=code, **({"nexthopmtu": _NEXT_HOP_MTU} if kind == "too-big" else {}))
            / quote
        )
    elif kind == "too-big":
        packet = header / ICMPv6PacketTooBig(mtu=_NEXT_HOP_MTU) / quote
    else:
        layer = {1: ICMPv6DestUnreach, 3: ICMPv6TimeExceeded, 4: ICMPv6ParamProblem}[number]
        packet = header / layer(code=code) / quote
    return type(header)(bytes(packet))


def requoted(quote: bytes, **fields: Any) -> bytes:
    """A quoted packet with other addresses and ports (src, dst, sport, dport); the checksum behind
    the ports stays as it was.

    The director leaves that checksum alone: nobody can check it in a quote that may be cut.
    """
    packet = ip_layer(quote[0] >> 4)(quote)
    for name in ("src", "dst"):
        if name in fields:
            setattr(packet, name, fields[name])
    if isinstance(packet, IP):
        del packet.chksum
        header = bytearray(bytes(packet)[:20])
        ports = 20
    else:
        header = bytearray(bytes(packet)[:40])
        ports = 40
    rest = bytearray(quote[ports:])
    for name, at in (("sport", 0), ("dport", 2)):
        if name in fields:
            rest[at : at + 2] = fields[name].to_bytes(2, "big")
    return bytes(header + rest)


def at(bench: Bench, side: str, number: int, source: str, destination: str, kind: str, quote: bytes) -> Any:
    """The frame with an ICMP error that the director passes on, one hop later: to the router
    outside, or to a real server inside.

    Built from its parts: a frame that is changed afterwards would get right checksums in the quoted
    packet too.
    """
    wire, mac = (bench.outside, ROUTER_MAC) if side == "outside" else (bench.inside, server_mac(number))
    return bench.framed(error(source, destination, kind, quote, hops=63), wire.mac, mac)


def without_pseudo_header(packet: Any) -> Any:
    """An ICMPv6 packet whose checksum is that of its bytes alone, as in IPv4: wrong after
    RFC 4443.
    """
    data = bytearray(bytes(packet))
    data[42:44] = b"\0\0"
    data[42:44] = checksum(bytes(data[40:])).to_bytes(2, "big")
    return type(packet)(bytes(data))


def send_error(bench: Bench, packet: Any, number: int = 1) -> Seen:
    """Send an error of the servers' side about a connection of nat.

    handle_response_icmp verifies the checksum of an ICMPv6 error without the pseudo-header and so
    drops every right one, unless the network card has verified it (net/netfilter/ipvs/ip_vs_core.c;
    "ipvs: fix the checksum validations", lvs-devel, July 2026, mends it). On such a kernel the
    error is sent once more with the checksum that it takes for right: that the translation is right
    can be seen even so. The check icmp:from-server:checksum-ipv6 is about the defect itself.
    """
    seen = bench.from_server(number, packet)
    if packet.version == 4 or seen.outside or seen.inside:
        return seen
    return bench.from_server(number, without_pseudo_header(packet))


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
    frame = forwarded(bench, datagram(bench, 6), "nat", "the request")
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
    each=_EACH_KIND,
)
def from_server(bench: Bench, version: int, kind: str) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    frame = forwarded(bench, datagram(bench, version, bytes(range(100))), "nat", "the request")
    client = frame.payload.src
    source = net.server(1) if kind == "port-unreachable" else _ROUTERS[version][1]
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
    quote = bytes(forwarded(bench, sent, "nat", "the request").payload)
    seen = send_error(bench, error(_ROUTERS[version][1], client, "too-big", quote)).one(
        "outside", "the error"
    )
    expected = at(bench, "outside", 0, net.vip, client, "too-big", requoted(quote, dst=net.vip, dport=PORT))
    must_equal(seen, expected, "the error at the client")
    answered(
        bench,
        net.packet(net.server(1), client) / answer(protocol, SERVER_PORT, SPORT),
        "the reply after the error",
    )


@check(
    "icmp:from-server:short-quote-ipv{version}",
    "an error that quotes no more than 8 bytes behind the IP header is translated as well; one with the ports"
    " cut off is not",
    tags=("ipv{version}", "nat", "boundary"),
    each=[{"version": version} for version in VERSIONS],
)
def short_quote(bench: Bench, version: int) -> None:
    net, header = NETS[version], 20 if version == 4 else 40
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    frame = forwarded(bench, datagram(bench, version), "nat", "the request")
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
    each=[{"version": version} for version in VERSIONS],
)
def unrelated(bench: Bench, version: int) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    frame = forwarded(bench, datagram(bench, version), "nat", "the request")
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
    frame = forwarded(bench, datagram(bench, 4), "nat", "the request")
    packet = error(net.server(1), frame.payload.src, "parameter-problem", bytes(frame.payload))
    seen = bench.from_server(1, packet).one("outside", "a parameter problem")
    must_equal(seen, routed(bench, packet, "outside", ROUTER_MAC), "a parameter problem")


@check(
    "icmp:from-server:{mode}-ipv{version}",
    "in {mode} an error from the servers' side is routed unchanged: it quotes the VIP already",
    tags=("ipv{version}", "{mode}"),
    each=[{"mode": mode, "version": version} for mode in ("dr", "tun") for version in VERSIONS],
)
def from_server_not_nat(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    frame = forwarded(bench, datagram(bench, version), mode, "the request")
    inner = frame.payload if mode == "dr" else frame.payload.payload
    packet = error(_ROUTERS[version][1], inner.src, "prohibited", bytes(inner))
    seen = bench.from_server(1, packet).one("outside", "an error about the request")
    must_equal(seen, routed(bench, packet, "outside", ROUTER_MAC), "an error about the request")


def _damaged(packet: Any) -> Any:
    """The packet with its last byte changed, so that the ICMP checksum is wrong."""
    data = bytes(packet)
    return type(packet)(data[:-1] + bytes([data[-1] ^ 0xFF]))


@check(
    "icmp:from-server:bad-checksum-ipv{version}",
    "an error from the servers' side about a connection of nat is dropped when its checksum is wrong;"
    " undamaged it passes",
    tags=("ipv{version}", "nat", "checksum"),
    each=[{"version": version} for version in VERSIONS],
)
def bad_checksum_of_server(bench: Bench, version: int) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    frame = forwarded(bench, datagram(bench, version), "nat", "the request")
    packet = error(net.server(1), frame.payload.src, "port-unreachable", bytes(frame.payload))
    bench.from_server(1, _damaged(packet)).nothing("a damaged error")
    send_error(bench, packet).one("outside", "the error undamaged")


@check(
    "icmp:from-client:bad-checksum-ipv{version}",
    "an error from the client's side with a wrong checksum is dropped in IPv4; in IPv6 nobody verifies it"
    " before the fix of July 2026, and it reaches the real server with a right one",
    tags=("ipv{version}", "nat", "checksum"),
    each=[{"version": version} for version in VERSIONS],
)
def bad_checksum_of_client(bench: Bench, version: int) -> None:
    # ip_vs_in_icmp_v6 had no verification; ip_vs_nat_icmp_v6 computes the checksum in full. See
    # send_error for the fix.
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    request = datagram(bench, version)
    forwarded(bench, request, "nat", "the request")
    back = answered(bench, answer_to(request), "the reply")
    packet = error(request.src, net.vip, "port-unreachable", bytes(back.payload))
    bench.from_client(packet).one("inside", "the error undamaged")
    damaged = _damaged(packet)
    seen = bench.from_client(damaged)
    if version == 4 or not (seen.inside or seen.outside):
        seen.nothing("a damaged error")
        return
    server, quote = net.server(1), bytes(damaged)[48:]
    expected = at(
        bench,
        "inside",
        1,
        request.src,
        server,
        "port-unreachable",
        requoted(quote, src=server, sport=SERVER_PORT),
    )
    must_equal(seen.one("inside", "a damaged error"), expected, "a damaged error")


@check(
    "icmp:from-client:{kind}-ipv{version}",
    "an error from the client's side about a reply of nat reaches the real server, quoting the packet that"
    " the server sent",
    tags=("ipv{version}", "nat"),
    each=_EACH_KIND,
)
def from_client(bench: Bench, version: int, kind: str) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1, 1))
    request = datagram(bench, version)
    number = 2 if bench.from_client(request).one("inside", "the request").payload.dst == net.server(2) else 1
    quote = bytes(answered(bench, answer_to(request, bytes(range(99)), number), "the reply", number).payload)
    source = request.src if kind == "port-unreachable" else _ROUTERS[version][0]
    seen = bench.from_client(error(source, net.vip, kind, quote)).one("inside", "the error")
    server = net.server(number)
    expected = at(
        bench, "inside", number, source, server, kind, requoted(quote, src=server, sport=SERVER_PORT)
    )
    must_equal(seen, expected, "the error at the real server")


@check(
    "icmp:from-client:{mode}-ipv{version}",
    "an error from the client's side about a reply in {mode} reaches the real server of the connection as any"
    " packet of the client does",
    tags=("ipv{version}", "{mode}"),
    each=[{"mode": mode, "version": version} for mode in ("dr", "tun") for version in VERSIONS],
)
def from_client_not_nat(bench: Bench, mode: str, version: int) -> None:
    net = NETS[version]
    bench.service(mode, version=version, weights=(1, 1))
    talk = Conversation(bench, mode, version).establish()
    quote = bytes(talk.from_server("PA", b"the reply that was too long"))
    packet = error(_ROUTERS[version][0], net.vip, "too-big", quote)
    seen = bench.from_client(packet).one("inside", "the error")
    must_equal(seen, at_server(bench, packet, mode, talk.server, seen=seen), "the error at the real server")


@check(
    "icmp:schedule-icmp:{mode}-ipv{version}",
    "an error to the VIP about no known connection stays with the director; with schedule_icmp=1 it is"
    " scheduled to a real server",
    tags=("ipv{version}", "{mode}", "sysctl"),
    each=[{"mode": mode, "version": version} for mode in ("nat", "dr", "tun") for version in VERSIONS],
)
def schedule_icmp(bench: Bench, mode: str, version: int) -> None:
    # For anycast: the error may come to a director that never saw the connection. IPVS makes a
    # connection of the quoted packet, turned round (ip_vs_try_to_schedule in ip_vs_in_icmp).
    net, router = NETS[version], _ROUTERS[version][0]
    bench.service(mode, version=version, weights=(1,))

    def quote() -> bytes:
        talk = Conversation(bench, "dr", version)
        return bytes(talk.from_server("PA", b"a reply that is not of this director"))

    bench.from_client(error(router, net.vip, "too-big", quote())).nothing(
        "an error about no connection with schedule_icmp=0"
    )
    bench.sysctl("net.ipv4.vs.schedule_icmp", 1)
    sent = quote()
    packet = error(router, net.vip, "too-big", sent)
    seen = bench.from_client(packet).one("inside", "an error about no connection with schedule_icmp=1")
    expected = at_server(bench, packet, mode, seen=seen)
    if mode == "nat":
        server = net.server(1)
        expected = at(
            bench, "inside", 1, router, server, "too-big", requoted(sent, src=server, sport=SERVER_PORT)
        )
    must_equal(seen, expected, "an error about no connection with schedule_icmp=1")


@check(
    "icmp:schedule-icmp:unserved-ipv{version}",
    "with schedule_icmp=1 an error about a port of the VIP that has no service still stays with the director",
    tags=("ipv{version}", "sysctl", "boundary"),
    each=[{"version": version} for version in VERSIONS],
)
def schedule_icmp_unserved(bench: Bench, version: int) -> None:
    net = NETS[version]
    bench.service("nat", version=version, weights=(1,))
    bench.sysctl("net.ipv4.vs.schedule_icmp", 1)
    for port in (PORT + 1, PORT):
        quote = bytes(
            Conversation(bench, "dr", version, port=port, server_port=port).from_server(
                "PA", b"of no connection"
            )
        )
        seen = bench.from_client(error(_ROUTERS[version][0], net.vip, "too-big", quote))
        if port == PORT:
            seen.one("inside", "an error about port 80")
        else:
            seen.nothing("an error about port 81")


@check(
    "icmp:echo:ipv{version}",
    "an echo request to the VIP is answered by the director itself, whatever services there are; one to a"
    " real server is routed",
    tags=("ipv{version}",),
    each=[{"version": version} for version in VERSIONS],
)
def echo(bench: Bench, version: int) -> None:
    net, client = NETS[version], bench.client(version)
    bench.service("nat", protocol=Protocol.UDP, version=version)
    bench.service("dr", version=version)
    asked = (ICMP(type=8, id=0x77, seq=3) if version == 4 else ICMPv6EchoRequest(id=0x77, seq=3)) / bytes(
        range(200)
    )
    seen = bench.from_client(net.packet(client, net.vip) / asked).one("outside", "the answer of the VIP")
    said = (ICMP(type=0, id=0x77, seq=3) if version == 4 else ICMPv6EchoReply(id=0x77, seq=3)) / bytes(
        range(200)
    )
    answer = seen.payload
    fields = (
        {"ttl": answer.ttl, "id": answer.id, "flags": answer.flags}
        if version == 4
        else {"hlim": answer.hlim, "fl": answer.fl}
    )
    expected = bench.framed(net.packet(net.vip, client, **fields) / said, bench.outside.mac, ROUTER_MAC)
    must_equal(seen, expected, "the answer of the VIP")
    packet = net.packet(client, net.server(1)) / asked
    seen = bench.from_client(packet).one("inside", "an echo request to a real server")
    must_equal(seen, at_server(bench, packet, "dr"), "an echo request to a real server")


@check(
    "icmp:nat-icmp-send:ipv{version}-{protocol}",
    "a server's packet from its service port without a connection is routed; with nat_icmp_send=1 the server"
    " gets port unreachable",
    tags=("ipv{version}", "nat", "sysctl", "{protocol}"),
    each=[{"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "udp")],
)
def nat_icmp_send(bench: Bench, version: int, protocol: str) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    packet = net.packet(net.server(1), bench.client(version)) / answer(protocol, SERVER_PORT, SPORT)
    seen = bench.from_server(1, packet).one("outside", "the packet with nat_icmp_send=0")
    must_equal(seen, routed(bench, packet, "outside", ROUTER_MAC), "the packet with nat_icmp_send=0")
    bench.sysctl("net.ipv4.vs.nat_icmp_send", 1)
    frame = bench.from_server(1, packet).one("inside", "the packet with nat_icmp_send=1")
    is_error(frame, version, *((3, 3) if version == 4 else (1, 4)), "the answer to the real server")
    must(frame.payload.dst == net.server(1), "the error does not go to the real server", frame.summary())
    quote = ip_layer(version)(quoted(frame))
    must(
        (quote.src, quote.dst) == (packet.src, packet.dst),
        "the error does not quote the packet",
        frame.summary(),
    )
    other = net.packet(net.server(1), bench.client(version)) / answer(protocol, SERVER_PORT + 1, SPORT)
    seen = bench.from_server(1, other).one("outside", "a packet from another port with nat_icmp_send=1")
    must_equal(
        seen, routed(bench, other, "outside", ROUTER_MAC), "a packet from another port with nat_icmp_send=1"
    )


@check(
    "icmp:nat-icmp-send:rst-ipv{version}",
    "with nat_icmp_send=1 a server's RST without a connection is routed all the same: nobody answers a RST",
    tags=("ipv{version}", "nat", "sysctl", "boundary"),
    each=[{"version": version} for version in VERSIONS],
)
def nat_icmp_send_rst(bench: Bench, version: int) -> None:
    bench.service("nat", version=version, weights=(1,))
    bench.sysctl("net.ipv4.vs.nat_icmp_send", 1)
    talk = Conversation(bench, "nat", version)
    talk.server = 1
    packet = talk.from_server("R")
    seen = bench.from_server(1, packet).one("outside", "the RST")
    must_equal(seen, routed(bench, packet, "outside", ROUTER_MAC), "the RST")
    bench.from_server(1, talk.from_server("A")).one("inside", "the answer to a segment without RST")
