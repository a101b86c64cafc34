"""What the director says itself: echo replies, and errors of its own (nat_icmp_send)."""

from __future__ import annotations

from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest

from lvslab.conformance.addresses import NETS, ROUTER_MAC, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import SPORT, answer, is_error, quoted, routed
from lvslab.conformance.flows import Conversation, at_server, ip_layer
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION, VERSIONS
from lvslab.ipvs.service import Protocol


@check(
    "icmp:echo:ipv{version}",
    "an echo request to the VIP is answered by the director itself, whatever services there are; one to a"
    " real server is routed",
    tags=("ipv{version}",),
    each=EACH_VERSION,
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
    each=EACH_VERSION,
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
