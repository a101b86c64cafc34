"""Counters equal what went through the wires, to the packet and byte.

Linux 6.1 adds up its per-CPU counters by a timer of 2 s (ip_vs_est.c, estimation_timer), so what
`--stats` shows is at most that old: the checks await the exact numbers for 5 s. More than was sent
can never go away again, so an excess fails as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scapy.layers.inet import ICMP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.entries import awaited, chosen, entries, tcp, tcp_reply, udp, udp_reply
from lvslab.conformance.packets import must
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import VERSIONS
from lvslab.conformance.verdict import CheckFailed
from lvslab.ipvs.listings import Counters, ServiceStats
from lvslab.ipvs.service import Protocol, VirtualService


@dataclass
class Count:
    """What a service or a real server should have counted: connections, packets and bytes (of the
    IP packets, without Ethernet).
    """

    conns: int = 0
    in_packets: int = 0
    out_packets: int = 0
    in_bytes: int = 0
    out_bytes: int = 0

    def came_in(self, packets: Iterable[Packet]) -> Count:
        """Packets from clients, as they came into the director, before it changed or
        wrapped them.
        """
        for packet in packets:
            self.in_packets += 1
            self.in_bytes += len(packet)
        return self

    def went_out(self, seen: Seen) -> Count:
        """Frames that came out to clients."""
        for frame in seen.outside:
            self.out_packets += 1
            self.out_bytes += len(frame.payload)
        return self


def _stats(bench: Bench, service: VirtualService) -> ServiceStats:
    return next(each for each in bench.ipvsadm.list_stats() if each.service == service.name)


def _plain(counters: Counters) -> Count:
    return Count(
        counters.conns, counters.in_packets, counters.out_packets, counters.in_bytes, counters.out_bytes
    )


def must_count(
    bench: Bench, service: VirtualService, expected: Count, servers: Sequence[Count], what: str
) -> None:
    """The counters of a service and of its real servers 1, 2, … must become exactly these.

    Raises:
        CheckFailed: they do not.
    """
    wanted = {service.name: expected} | {
        server.name: count for server, count in zip(service.real_servers, servers, strict=True)
    }
    seen: dict[str, Count] = {}

    def equal() -> bool:
        stats = _stats(bench, service)
        seen.update(
            {service.name: _plain(stats)} | {server.server: _plain(server) for server in stats.servers}
        )
        return seen == wanted

    if not awaited(equal):
        wrong = [name for name in wanted if seen.get(name) != wanted[name]]
        detail = [
            line
            for name in wrong
            for line in (f"{name}: expected: {wanted[name]}", f"{name}: seen:     {seen.get(name)}")
        ]
        raise CheckFailed(f"{what}: the counters of {wrong[0]} are wrong", detail)


@check(
    "counters:stats:{mode}",
    "--stats equals the wires to the packet and byte, for each service and each real server, in both IP"
    " versions: {what}",
    tags=("{mode}", "timer"),
    each=[
        {"mode": "nat", "what": "both directions"},
        {"mode": "dr", "what": "what comes in only"},
        {"mode": "tun", "what": "what comes in only, before it is wrapped"},
    ],
)
def stats(bench: Bench, mode: str, what: str) -> None:
    # Four services in one check, because each look at the kernel's counters costs up to 2 s.
    played = [_play(bench, mode, version, protocol) for version in VERSIONS for protocol in ("tcp", "udp")]
    for service, total, each in played:
        must_count(bench, service, total, each, what)


def _play(bench: Bench, mode: str, version: int, protocol: str) -> tuple[VirtualService, Count, list[Count]]:
    """A service with the connections of three clients over two real servers, and what they should
    have counted.
    """
    port = bench.port()
    service = bench.service(mode, protocol=Protocol(protocol), port=port, version=version, weights=(1, 1))
    total, by_server = Count(), [Count(), Count()]
    for number in range(3):
        client = bench.client(version)
        if protocol == "tcp":
            packets = [
                tcp(client, port),
                tcp(client, port, "A"),
                tcp(client, port, "PA", data=b"x" * (7 + 100 * number)),
            ]
        else:
            packets = [udp(client, port, data=b"x" * size) for size in (1, 100 + number, 1400)]
        server = chosen(bench, *packets)[0]
        counts = (total, by_server[server - 1])
        for count in counts:
            count.conns += 1
            count.came_in(packets)
        if mode != "nat":
            continue
        if protocol == "tcp":
            replies = [tcp_reply(server, client), tcp_reply(server, client, "PA", data=b"y" * 999)]
        else:
            replies = [udp_reply(server, client, data=b"y" * 1200)]
        seen = bench.from_server(server, *replies)
        must(len(seen.outside) == len(replies), "the replies did not come out")
        for count in counts:
            count.went_out(seen)
    return service, total, by_server


@check(
    "counters:icmp",
    "an ICMP error that belongs to a connection counts as its packet, in the direction in which it goes",
    tags=("icmp", "nat", "timer"),
)
def icmp(bench: Bench) -> None:
    net, port, client = NETS[4], bench.port(), bench.client()
    service = bench.service(protocol=Protocol.UDP, port=port, weights=(1,))
    request = udp(client, port)
    arrived = bench.from_client(request).one("inside", "the request")
    answer = bench.from_server(1, udp_reply(1, client))
    complaint = net.packet(client, net.vip) / ICMP(type=3, code=3) / answer.outside[0].payload
    must(len(bench.from_client(complaint).inside) == 1, "the client's ICMP error reaches the real server")
    refusal = net.packet(net.server(1), client) / ICMP(type=3, code=3) / arrived.payload
    back = bench.from_server(1, refusal)
    must(len(back.outside) == 1, "the real server's ICMP error reaches the client")
    count = Count(conns=1).came_in([request, complaint]).went_out(answer).went_out(back)
    must_count(bench, service, count, [count], "a datagram and an ICMP error in each direction")


@check(
    "counters:template",
    "in a persistent service only connections count; the template adds nothing",
    tags=("persistence", "timer"),
)
def template(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    service = bench.service(port=port, weights=(1,), persistence_timeout=300)
    packets = [tcp(client, port, sport=40000 + number) for number in range(3)]
    chosen(bench, *packets)
    must(len(entries(bench, client, templates=True)) == 1, "one template was expected")
    count = Count(conns=3).came_in(packets)
    must_count(bench, service, count, [count], "three connections of one client")


@check(
    "counters:fwmark",
    "a firewall-mark service counts all its ports and protocols together",
    tags=("fwmark", "timer"),
)
def fwmark(bench: Bench) -> None:
    mark, port, client = bench.mark(), bench.port(), bench.client()
    for protocol in ("tcp", "udp"):
        bench.rule(
            f"-t mangle -A PREROUTING -d {NETS[4].vip} -p {protocol} --dport {port} -j MARK --set-mark {mark}"
        )
    service = bench.service(protocol=Protocol.FWMARK, fwmark=mark, weights=(1,))
    packets = [tcp(client, port), udp(client, port), udp(client, port)]
    chosen(bench, *packets)
    count = Count(conns=2).came_in(packets)
    must_count(bench, service, count, [count], "a SYN and two datagrams")


@check(
    "counters:not-scheduled",
    "packets that IPVS refuses or drops count nowhere: without a real server, and for a real server that was"
    " removed",
    tags=("timer",),
)
def not_scheduled(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    service = bench.service(port=port, weights=(1, 0))
    packet = tcp(client, port)
    chosen(bench, packet)
    bench.ipvsadm.delete_server(service, service.real_servers[0])
    bench.from_client(tcp(client, port, "A")).nothing("a packet for the removed real server")
    must(
        len(bench.from_client(tcp(bench.client(), port)).outside) == 1,
        "no server of weight above 0: port unreachable",
    )
    # One that counts, so that the end of the kernel's adding up is seen.
    bench.ipvsadm.edit_server(
        service,
        type(service.real_servers[1])(NETS[4].server(2), SERVER_PORT, service.real_servers[1].forwarding, 1),
    )
    last = tcp(bench.client(), port)
    chosen(bench, last)
    left = type(service)(
        service.protocol, service.address, service.port, real_servers=service.real_servers[1:]
    )
    must_count(
        bench,
        left,
        Count(conns=2).came_in([packet, last]),
        [Count(conns=1).came_in([last])],
        "one connection before and one after",
    )


@check(
    "counters:zero",
    "-Z of one service sets its counters and its real servers' to zero and leaves other services alone;"
    " counting goes on from zero",
    tags=("timer",),
)
def zero(bench: Bench) -> None:
    ports = bench.port(), bench.port()
    first, second = (bench.service(port=port, weights=(1,)) for port in ports)
    packets = [tcp(bench.client(), port) for port in ports]
    chosen(bench, *packets)
    counts = [Count(conns=1).came_in([packet]) for packet in packets]
    # -Z takes what the timer has added up as the new zero (ip_vs_zero_stats): what it has not seen
    # yet would come back after it.
    must_count(bench, first, counts[0], [counts[0]], "before -Z")
    must_count(bench, second, counts[1], [counts[1]], "before -Z")
    bench.ipvsadm.zero(first)
    seen = _stats(bench, first)
    must(
        _plain(seen) == Count() and _plain(seen.servers[0]) == Count(),
        "after -Z all counters are 0",
        f"seen: {seen}",
    )
    must(_plain(_stats(bench, second)) == counts[1], "the other service keeps its counters")
    more = [tcp(bench.client(), ports[0]) for _ in range(2)]
    chosen(bench, *more)
    count = Count(conns=2).came_in(more)
    must_count(bench, first, count, [count], "two connections after -Z")
    bench.ipvsadm.zero()
    must(
        all(_plain(stats) == Count() for stats in bench.ipvsadm.list_stats()),
        "-Z without a service sets all to 0",
    )


@check(
    "counters:total",
    "the totals in /proc/net/ip_vs_stats are those of all services together",
    tags=("timer",),
)
def total(bench: Bench) -> None:
    ports = bench.port(), bench.port()
    services = [
        bench.service(port=ports[0], weights=(1,)),
        bench.service(protocol=Protocol.UDP, port=ports[1], weights=(1,)),
    ]

    def totals() -> list[int]:
        line = bench.run("cat /proc/net/ip_vs_stats").splitlines()[2]
        return [int(word, 16) for word in line.split()]

    # Earlier checks may have left packets that the timer has not added up yet: let it pass once
    # over a packet of our own.
    packets = [tcp(bench.client(), ports[0])]
    chosen(bench, *packets)
    count = Count(conns=1).came_in(packets)
    must_count(bench, services[0], count, [count], "the first packet")
    before, client = totals(), bench.client()
    packets = [tcp(client, ports[0]), udp(client, ports[1])]
    chosen(bench, *packets)
    seen = bench.from_server(1, udp_reply(1, client))
    wanted = Count(conns=2).came_in(packets).went_out(seen)
    expected = [wanted.conns, wanted.in_packets, wanted.out_packets, wanted.in_bytes, wanted.out_bytes]

    def grown() -> list[int]:
        return [now - then for now, then in zip(totals(), before, strict=True)]

    must(
        awaited(lambda: grown() == expected),
        "the totals did not grow as they should",
        f"expected: {expected}",
        f"seen:     {grown()}",
    )
