"""Packets of real servers that only look like replies, and of clients that belong to no service:
nothing of them may be translated.

Source: handle_response in ip_vs_core.c of Linux 6.1: only connections of nat are translated, "SNAT
packet replies only for NATed connections" (4.13).
"""

from __future__ import annotations

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from lvslab.conformance.addresses import NETS, PORT, ROUTER_MAC, SERVER_PORT, server_mac
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import SPORT, answer, must_answer, must_forward, routed, transport
from lvslab.conformance.entries import entries
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import DIRECT_VERSIONS, PROTOCOLS, VERSIONS, VERSIONS_PROTOCOLS
from lvslab.ipvs.service import Protocol


@check(
    "{mode}:like-a-reply:ipv{version}-{protocol}",
    "in {mode} a packet of the real server's own address and service port to the client, routed through the"
    " director, keeps its source: only nat translates",
    tags=("forwarding", "ipv{version}", "{protocol}", "boundary"),
    each=[{**each, "protocol": protocol} for each in DIRECT_VERSIONS for protocol in PROTOCOLS],
)
def like_a_reply(bench: Bench, mode: str, version: int, protocol: str) -> None:
    net, client = NETS[version], bench.client(version)
    bench.service(mode, protocol=Protocol(protocol), version=version, weights=(1,))
    packet = net.packet(client, net.vip) / transport(protocol, SPORT, PORT)
    must_forward(bench, packet, mode, "the client's packet")
    must(
        len(entries(bench, client)) == 1, "the connection that the packet looks like a reply of is not there"
    )
    own = net.packet(net.server(1), client) / answer(protocol, PORT, SPORT)
    frame = bench.from_server(1, own).one("outside", "the server's own packet")
    must_equal(frame, routed(bench, own, "outside", ROUTER_MAC), "the server's own packet")


@check(
    "nat:not-a-reply:ipv{version}-{protocol}",
    "in nat a packet that differs from a reply in the server, its port, the client or its port is routed with"
    " its own source; the reply itself is translated",
    tags=("forwarding", "ipv{version}", "{protocol}", "boundary"),
    each=VERSIONS_PROTOCOLS,
)
def not_a_reply(bench: Bench, version: int, protocol: str) -> None:
    net, client = NETS[version], bench.client(version)
    service = bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1, 0))
    must(len(service.real_servers) == 2, "the service has no second server")
    packet = net.packet(client, net.vip) / transport(protocol, SPORT, PORT)
    must_forward(bench, packet, "nat", "the client's packet")
    others = {
        "another server": (2, client, SERVER_PORT, SPORT),
        "another port of the server": (1, client, SERVER_PORT + 1, SPORT),
        "another client": (1, bench.client(version), SERVER_PORT, SPORT),
        "another port of the client": (1, client, SERVER_PORT, SPORT + 1),
    }
    for what, (number, destination, sport, dport) in others.items():
        own = net.packet(net.server(number), destination) / answer(protocol, sport, dport)
        frame = bench.from_server(number, own).one("outside", what)
        must_equal(frame, routed(bench, own, "outside", ROUTER_MAC), what)
    reply = net.packet(net.server(1), client) / answer(protocol, SERVER_PORT, SPORT)
    must_answer(bench, reply, "the reply itself")


_IKE = 500
_NUMBERS = {"ah": 51, "esp": 50}


def _secured(version: int, source: str, destination: str, protocol: str, hops: int = 64) -> Packet:
    """A packet of ESP or AH with nothing inside that IPVS could read."""
    body = Raw(b"\0\0\x10\x01" + b"\0\0\0\x01" + b"\xa5" * 24)
    if version == 4:
        return IP(src=source, dst=destination, ttl=hops, proto=_NUMBERS[protocol]) / body
    if protocol == "ah":  # in IPv6 an extension header: next header, length in words less 2
        body = Raw(b"\x3b\x06" + bytes(body)[2:])
    return IPv6(src=source, dst=destination, hlim=hops, nh=_NUMBERS[protocol]) / body


@check(
    "nat:{protocol}:ipv{version}",
    "{protocol} follows the client's connection to UDP port 500: to the same real server; without one it is"
    " not"
    " balanced",
    tags=("forwarding", "ipv{version}", "{protocol}"),
    each=[{"protocol": "esp", "version": version} for version in VERSIONS]
    + [{"protocol": "ah", "version": 4}],
)
def secured(bench: Bench, protocol: str, version: int) -> None:
    # ah_esp_conn_fill_param_proto: ESP and AH are looked up as UDP from port 500 to port 500.
    net, client, other = NETS[version], bench.client(version), bench.client(version)
    bench.service("nat", protocol=Protocol.UDP, port=_IKE, version=version, weights=(1, 1))
    key = net.packet(client, net.vip) / transport("udp", _IKE, _IKE)
    number = int(bench.from_client(key).one("inside", "the key exchange").dst[-1])
    for who in (client, client):
        frame = bench.from_client(_secured(version, who, net.vip, protocol)).one("inside", protocol)
        must(frame.dst == server_mac(number), f"{protocol} went elsewhere than UDP 500", frame.summary())
        arrived = _secured(version, who, net.server(number), protocol, 63)
        must_equal(frame, bench.framed(arrived, bench.inside.mac, server_mac(number)), protocol)
    seen = bench.from_client(_secured(version, other, net.vip, protocol))
    must(not seen.inside, f"{protocol} of a client without a key exchange was balanced", *seen.summaries())
