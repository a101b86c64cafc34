"""Errors from the client's side about connections, translated with the packet that they quote.

Sources: ip_vs_in_icmp, ip_vs_nat_icmp and their IPv6 twins in net/netfilter/ipvs/ip_vs_core.c of
Linux 6.1.
"""

from __future__ import annotations

from lvslab.conformance.addresses import NETS, PORT, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.checks.icmp.errors import EACH_KIND, ROUTERS, at, damaged, error, requoted
from lvslab.conformance.datagrams import answer_to, datagram, must_answer, must_forward
from lvslab.conformance.flows import Conversation, at_server
from lvslab.conformance.packets import must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import DIRECT_VERSIONS, EACH_VERSION, MODES_VERSIONS
from lvslab.ipvs.service import Protocol


@check(
    "icmp:from-client:bad-checksum-ipv{version}",
    "an error from the client's side with a wrong checksum is dropped in IPv4; in IPv6 nobody verifies it"
    " before the fix of July 2026, and it reaches the real server with a right one",
    tags=("ipv{version}", "nat", "checksum"),
    each=EACH_VERSION,
)
def bad_checksum_of_client(bench: Bench, version: int) -> None:
    # ip_vs_in_icmp_v6 had no verification; ip_vs_nat_icmp_v6 computes the checksum in full. See
    # send_error for the fix.
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    request = datagram(bench, version)
    must_forward(bench, request, "nat", "the request")
    back = must_answer(bench, answer_to(request), "the reply")
    packet = error(request.src, net.vip, "port-unreachable", bytes(back.payload))
    bench.from_client(packet).one("inside", "the error undamaged")
    wrong = damaged(packet)
    seen = bench.from_client(wrong)
    if version == 4 or not (seen.inside or seen.outside):
        seen.nothing("a damaged error")
        return
    server, quote = net.server(1), bytes(wrong)[48:]
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
    each=EACH_KIND,
)
def from_client(bench: Bench, version: int, kind: str) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1, 1))
    request = datagram(bench, version)
    number = 2 if bench.from_client(request).one("inside", "the request").payload.dst == net.server(2) else 1
    quote = bytes(
        must_answer(bench, answer_to(request, bytes(range(99)), number), "the reply", number).payload
    )
    source = request.src if kind == "port-unreachable" else ROUTERS[version][0]
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
    each=DIRECT_VERSIONS,
)
def from_client_not_nat(bench: Bench, mode: str, version: int) -> None:
    net = NETS[version]
    bench.service(mode, version=version, weights=(1, 1))
    talk = Conversation(bench, mode, version).establish()
    quote = bytes(talk.from_server("PA", b"the reply that was too long"))
    packet = error(ROUTERS[version][0], net.vip, "too-big", quote)
    seen = bench.from_client(packet).one("inside", "the error")
    must_equal(seen, at_server(bench, packet, mode, talk.server, seen=seen), "the error at the real server")


@check(
    "icmp:schedule-icmp:{mode}-ipv{version}",
    "an error to the VIP about no known connection stays with the director; with schedule_icmp=1 it is"
    " scheduled to a real server",
    tags=("ipv{version}", "{mode}", "sysctl"),
    each=MODES_VERSIONS,
)
def schedule_icmp(bench: Bench, mode: str, version: int) -> None:
    # For anycast: the error may come to a director that never saw the connection. IPVS makes a
    # connection of the quoted packet, turned round (ip_vs_try_to_schedule in ip_vs_in_icmp).
    net, router = NETS[version], ROUTERS[version][0]
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
    each=EACH_VERSION,
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
        seen = bench.from_client(error(ROUTERS[version][0], net.vip, "too-big", quote))
        if port == PORT:
            seen.one("inside", "an error about port 80")
        else:
            seen.nothing("an error about port 81")
