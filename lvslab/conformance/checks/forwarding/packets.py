"""Requests, replies and whole conversations in every mode, byte for byte.

What is expected is what net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_core.c and ip_vs_proto_*.c of Linux
6.1 say; where a rule has its place there, the check names the function.
"""

from __future__ import annotations

from lvslab.conformance.addresses import NETS, PORT, ROUTER_MAC, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import SPORT, answer, must_answer, must_forward, routed, transport
from lvslab.conformance.flows import Conversation
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import (
    DIRECT_VERSIONS,
    EACH_VERSION,
    MODES_VERSIONS,
    MODES_VERSIONS_PROTOCOLS,
    VERSIONS_PROTOCOLS,
)
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService


@check(
    "{mode}:request:ipv{version}-{protocol}",
    "a client's packet reaches the real server as {mode} has it, every byte as it must be",
    tags=("forwarding", "ipv{version}", "{protocol}"),
    each=MODES_VERSIONS_PROTOCOLS,
)
def request(bench: Bench, mode: str, version: int, protocol: str) -> None:
    net = NETS[version]
    bench.service(mode, protocol=Protocol(protocol), version=version, weights=(1,))
    must_forward(
        bench,
        net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT),
        mode,
        "the request at the server",
    )


@check(
    "nat:reply:ipv{version}-{protocol}",
    "a real server's reply from its port 8080 comes to the client from the VIP, port 80; from another port it"
    " is routed unchanged",
    tags=("forwarding", "ipv{version}", "{protocol}"),
    each=VERSIONS_PROTOCOLS,
)
def reply(bench: Bench, version: int, protocol: str) -> None:
    net, client = NETS[version], bench.client(version)
    bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    must_forward(
        bench,
        net.packet(client, net.vip) / transport(protocol, SPORT, PORT),
        "nat",
        "the request at the server",
    )
    must_answer(
        bench,
        net.packet(net.server(1), client) / answer(protocol, SERVER_PORT, SPORT),
        "the reply at the client",
    )
    other = net.packet(net.server(1), client) / answer(protocol, SERVER_PORT + 1, SPORT)
    seen = bench.from_server(1, other).one("outside", "a packet from the server's next port")
    must_equal(seen, routed(bench, other, "outside", ROUTER_MAC), "a packet from the server's next port")


@check(
    "{mode}:reply-past-director:ipv{version}",
    "a reply of a real server that comes to the director by mistake is dropped as a martian in IPv4 and"
    " merely routed in IPv6",
    tags=("forwarding", "ipv{version}", "boundary"),
    each=DIRECT_VERSIONS,
)
def reply_past_director(bench: Bench, mode: str, version: int) -> None:
    # The reply's source is the VIP, an address of the director's own: fib_validate_source
    # (net/ipv4/fib_frontend.c) refuses that whatever rp_filter says; IPv6 has no such test.
    bench.service(mode, version=version, weights=(1,))
    talk = Conversation(bench, mode, version)
    talk.syn()
    packet = talk.from_server("SA")
    seen = bench.from_server(1, packet)
    if version == 4:
        seen.nothing("a reply with the VIP as its source")
    else:
        frame = seen.one("outside", "a reply with the VIP as its source")
        must_equal(frame, routed(bench, packet, "outside", ROUTER_MAC), "a reply with the VIP as its source")


@check(
    "{mode}:tcp-conversation:ipv{version}",
    "handshake, data and both FINs of a TCP connection pass, every segment as it must be, all to one real"
    " server",
    tags=("forwarding", "ipv{version}", "tcp"),
    each=MODES_VERSIONS,
)
def conversation(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version)
    talk = Conversation(bench, mode, version).establish()
    talk.request()
    talk.reply()
    talk.ack()
    talk.close()
    reset = Conversation(bench, mode, version).establish()
    must(reset.server != talk.server, "the second connection was not given to the other real server")
    reset.rst("server")
    reset.rst()


@check(
    "nat:ports:ipv{version}",
    "two services on two ports of the VIP lead to one real server's two ports, and each reply comes back from"
    " its own port",
    tags=("forwarding", "ipv{version}"),
    each=EACH_VERSION,
)
def ports(bench: Bench, version: int) -> None:
    net, client = NETS[version], bench.client(version)
    for port, server_port in ((81, 8081), (65535, 1)):
        server = RealServer(net.server(1), server_port, PacketForwarding.MASQ)
        bench.add(VirtualService(Protocol.TCP, net.vip, port, real_servers=(server,)))
    for port, server_port in ((81, 8081), (65535, 1)):
        talk = Conversation(
            bench, "nat", version, client=client, port=port, server_port=server_port
        ).establish()
        talk.reply()


@check(
    "{mode}:source-port:ipv{version}",
    "the client's port is kept, the lowest and the highest too, and two clients with one port do not mix",
    tags=("forwarding", "ipv{version}"),
    each=MODES_VERSIONS,
)
def source_port(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version)
    talks = [Conversation(bench, mode, version, sport) for sport in (1, 65535, 65535)]
    for talk in talks:
        talk.establish()
    for talk in talks:
        talk.request(f"I am {talk.client}".encode())
        talk.reply(f"You are {talk.client}".encode())
