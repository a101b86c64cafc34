"""Rates as `ipvsadm -L --rate` shows them."""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.checks.counters.traffic import SECONDS
from lvslab.conformance.entries import awaited, chosen, udp
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol


@check(
    "counters:rates",
    "--rate starts at 0, rises with traffic to at most an eighth of what came in 2 s at once, keeps the"
    " ratios, and falls again",
    tags=("timer",),
)
def rates(bench: Bench) -> None:
    # Every 2 s: rate += (seen / 2 s - rate) / 4 (ip_vs_est.c). N at once are N/8 then, and three
    # quarters of it 2 s later.
    port, number = bench.port(), 80
    service = bench.service(protocol=Protocol.UDP, port=port, weights=(1,))

    def now() -> tuple[int, int, int, int, int]:
        own = next(stats for stats in bench.ipvsadm.list_rates() if stats.service == service.name)
        return own.cps, own.in_pps, own.out_pps, own.in_bps, own.out_bps

    must(now() == (0, 0, 0, 0, 0), "without traffic all rates are 0", f"seen: {now()}")
    client = bench.client()
    packets = [
        udp(client, port, sport=40000 + offset, data=b"x" * 72) for offset in range(number)
    ]  # 100 bytes each
    chosen(bench, *packets)
    must(awaited(lambda: now()[0] > 0, SECONDS), "the rate of connections stays 0")
    high = now()
    cps, in_pps, out_pps, in_bps, out_bps = high
    must(0 < cps <= number // 8 + 1, f"connections a second: 1 to {number // 8 + 1} expected", f"seen: {cps}")
    must(in_pps == cps, "as many packets a second as connections", f"seen: {high}")
    must(abs(in_bps - 100 * cps) <= 100, "100 bytes a packet", f"seen: {high}")
    must(out_pps == out_bps == 0, "nothing went out", f"seen: {high}")
    must(
        awaited(lambda: now()[3] < in_bps * 0.8, SECONDS),
        "the rate of bytes does not fall",
        f"seen: {now()}",
    )
