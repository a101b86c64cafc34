"""One-packet scheduling, `ipvsadm --ops`: every datagram by itself. Facts from ipvsadm(8) and
ip_vs_core.c, ip_vs_conn.c.
"""

from __future__ import annotations

from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, ROUTER_MAC, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.entries import (
    awaited,
    chosen,
    entries,
    must_choose,
    tcp,
    udp,
    udp_reply,
)
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION, MODES_VERSIONS
from lvslab.ipvs.service import Protocol


@check(
    "ops:each-datagram:{mode}:ipv{version}",
    "with --ops every datagram of one client port is scheduled anew and leaves no entry; without, all follow"
    " the first",
    tags=("{mode}", "ipv{version}", "udp"),
    each=MODES_VERSIONS,
)
def each_datagram(bench: Bench, mode: str, version: int) -> None:
    port, plain, client = bench.port(), bench.port(), bench.client(version)
    bench.service(mode, protocol=Protocol.UDP, port=port, version=version, ops=True)
    bench.service(mode, protocol=Protocol.UDP, port=plain, version=version)
    servers = chosen(bench, *[udp(client, port)] * 4)
    must_choose(servers, [servers[0], 3 - servers[0]] * 2, "four datagrams with --ops")
    servers = chosen(bench, *[udp(client, plain)] * 4)
    must_choose(servers, servers[:1] * 4, "four datagrams without --ops")
    found = [each.virtual.port for each in entries(bench, client)]
    must(found == [plain], f"only the service without --ops has an entry, ports seen: {found}")


@check(
    "ops:reply:ipv{version}",
    "with --ops in NAT the reply finds no connection: it goes to the client with the real server's own"
    " address; without, with the VIP",
    tags=("nat", "ipv{version}", "udp"),
    each=EACH_VERSION,
)
def reply(bench: Bench, version: int) -> None:
    net, port, plain = NETS[version], bench.port(), bench.port()
    bench.service(protocol=Protocol.UDP, port=port, version=version, weights=(1,), ops=True)
    bench.service(protocol=Protocol.UDP, port=plain, version=version, weights=(1,))
    for asked, translated in ((port, False), (plain, True)):
        client = bench.client(version)
        chosen(bench, udp(client, asked))
        sent = bench.framed(udp_reply(1, client), "02:00:00:01:00:01", bench.inside.mac)

        def expected(frame: Packet, asked: int = asked, translated: bool = translated) -> None:
            frame.src, frame.dst = bench.outside.mac, ROUTER_MAC
            if version == 4:
                frame.payload.ttl -= 1
            else:
                frame.payload.hlim -= 1
            if translated:
                frame.payload.src = net.vip
                frame.payload.payload.sport = asked

        what = f"the reply {'without' if translated else 'with'} --ops"
        must_equal(bench.from_server(1, sent.payload).one("outside", what), changed(sent, expected), what)


@check(
    "ops:persistent",
    "--ops in a persistent service: each datagram asks the template, so a client keeps its real server",
    tags=("udp",),
)
def persistent(bench: Bench) -> None:
    port, one, other = bench.port(), bench.client(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, ops=True, persistence_timeout=300)
    servers = chosen(bench, *[udp(one, port)] * 3, udp(other, port))
    must_choose(
        servers, [servers[0]] * 3 + [3 - servers[0]], "three datagrams of one client and one of another"
    )
    must(not entries(bench, one), "there is a connection entry")
    must(len(entries(bench, one, templates=True)) == 1, "there is no template of the client")


@check(
    "ops:fwmark",
    "--ops in a firewall-mark service is for its UDP packets; its TCP connections stay together",
    tags=("fwmark",),
)
def fwmark(bench: Bench) -> None:
    mark, port, client = bench.mark(), bench.port(), bench.client()
    bench.rule(f"-t mangle -A PREROUTING -d {NETS[4].vip} -p udp --dport {port} -j MARK --set-mark {mark}")
    bench.rule(f"-t mangle -A PREROUTING -d {NETS[4].vip} -p tcp --dport {port} -j MARK --set-mark {mark}")
    bench.service(protocol=Protocol.FWMARK, fwmark=mark, ops=True)
    servers = chosen(bench, *[udp(client, port)] * 3)
    must_choose(servers, [servers[0], 3 - servers[0], servers[0]], "three datagrams")
    servers = chosen(bench, tcp(client, port), tcp(client, port, "A"), tcp(client, port, "A"))
    must_choose(servers, servers[:1] * 3, "three segments of one TCP connection")
    found = [each.protocol for each in entries(bench, client)]
    must(found == ["TCP"], f"only the TCP connection has an entry, seen: {found}")


@check(
    "ops:counters",
    "with --ops every datagram counts as a connection, and replies do not count",
    tags=("counters", "timer"),
)
def counters(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    service = bench.service(protocol=Protocol.UDP, port=port, ops=True, weights=(1,))
    chosen(bench, *[udp(client, port)] * 5)
    bench.from_server(1, udp_reply(1, client, sport=SERVER_PORT))

    def seen() -> tuple[int, int, int]:
        stats = next(each for each in bench.ipvsadm.list_stats() if each.service == service.name)
        return stats.conns, stats.in_packets, stats.out_packets

    must(
        awaited(lambda: seen() == (5, 5, 0)),
        "5 connections, 5 packets in, 0 out were expected",
        f"seen: {seen()}",
    )
