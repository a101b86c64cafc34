"""Rates as `ipvsadm -L --rate` shows them, each from its own counter.

Facts: every 2 s rate += (seen / 2 s - rate) / 4, for connections, packets and bytes alike
(ip_vs_est.c; Linux 6.1 by a timer, since 6.2 by a thread). -Z sets the rates to 0
(ip_vs_zero_stats in ip_vs_ctl.c).
"""

from __future__ import annotations

from lvslab.conformance.addresses import NETS
from lvslab.conformance.check import check
from lvslab.conformance.entries import awaited, udp, udp_reply
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION
from lvslab.ipvs.service import Protocol

_CONNECTIONS, _IN_TIMES, _OUT_TIMES = 24, 3, 7
"""Connections, and how often each sends and is answered."""

_IN_BYTES, _OUT_BYTES = 60, 300
"""Of a packet, its IP header included."""

_UDP_HEADER = 8

Rates = tuple[int, int, int, int, int]


@check(
    "counters:rates:ipv{version}",
    "each of the five rates of a service and of its server is that of its own counter: with another number in"
    " each it is an eighth of what came in 2 s, or up to 7/16 less as time passes; -Z makes them 0",
    tags=("timer", "nat", "ipv{version}"),
    spoilt_by=0.5,
    each=EACH_VERSION,
)
def rates(bench: Bench, version: int) -> None:
    port, client = bench.port(), bench.client(version)
    service = bench.service(protocol=Protocol.UDP, port=port, version=version, weights=(1,))
    headers = len(NETS[version].packet(client, NETS[version].vip)) + _UDP_HEADER
    sports = range(40000, 40000 + _CONNECTIONS)
    asked = [udp(client, port, sport=sport, data=bytes(_IN_BYTES - headers)) for sport in sports]
    replies = [udp_reply(1, client, dport=sport, data=bytes(_OUT_BYTES - headers)) for sport in sports]

    def seen() -> tuple[Rates, Rates]:
        own = next(stats for stats in bench.ipvsadm.list_rates() if stats.service == service.name)
        service_s, server_s = (
            (rate.cps, rate.in_pps, rate.out_pps, rate.in_bps, rate.out_bps) for rate in (own, own.servers[0])
        )
        return service_s, server_s

    nothing = (0, 0, 0, 0, 0)
    must(seen() == (nothing, nothing), "without traffic all rates are 0", f"seen: {seen()}")
    for _ in range(_IN_TIMES):
        came = len(bench.from_client(*asked).inside)
        must(came == _CONNECTIONS, f"{came} of {_CONNECTIONS} packets reached the server")
    for _ in range(_OUT_TIMES):
        came = len(bench.from_server(1, *replies).outside)
        must(came == _CONNECTIONS, f"{came} of {_CONNECTIONS} replies reached the client")
    packets_in, packets_out = _IN_TIMES * _CONNECTIONS, _OUT_TIMES * _CONNECTIONS
    sent = (_CONNECTIONS, packets_in, packets_out, packets_in * _IN_BYTES, packets_out * _OUT_BYTES)
    # An estimate may part what was sent, and each one after it takes a quarter: N/8 at most, and
    # 9/16 of it two estimates later. The kernel rounds up. None of the five ranges meets another.
    ranges = [(number * 9 // 16 // 8, number // 8 + 1) for number in sent]
    shown = [seen()]

    def right() -> bool:
        shown.append(seen())
        return all(
            low <= rate <= high for own in shown[-1] for rate, (low, high) in zip(own, ranges, strict=True)
        )

    must(
        awaited(right),
        f"connections, packets in and out, bytes in and out a second: {ranges} were expected",
        *(f"seen: {each}" for each in shown),
    )
    bench.ipvsadm.zero(service)
    must(seen() == (nothing, nothing), "after -Z all rates are 0", f"seen: {seen()}")
