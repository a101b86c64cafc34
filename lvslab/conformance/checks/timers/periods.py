"""What IPVS does at intervals: estimates rates, and throws entries away.

Facts: estimation_timer in ip_vs_est.c of Linux 6.1 arms itself anew for 2 s, which the timer wheel
rounds up; since 6.2 a kernel thread (ip_vs_estimation_kthread) keeps to 50 ticks in 2 s. Either way
rate += (seen / 2 s - rate) / 4. defense_work_handler in ip_vs_ctl.c queues itself anew for 1 s;
ip_vs_random_dropentry in ip_vs_conn.c then looks at 1/32 of the table.
"""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.checks.timers.ends import connection_of
from lvslab.conformance.entries import chosen, entries, tcp, udp
from lvslab.conformance.jiffies import goes_off
from lvslab.conformance.packets import must
from lvslab.conformance.virtual import HZ, VirtualBench
from lvslab.conformance.ways import patch_level
from lvslab.ipvs.service import Protocol

_PACKETS, _PACKET_BYTES = 64, 100
_HALF_OPEN, _WHOLE = 320, 16
_BURST = 64
"""Frames at once: a card has a ring of 256."""

_THREAD_SINCE = (6, 2)


@check(
    "timers:rates",
    "--rate is estimated every 2 s, to the jiffy: N connections, packets or bytes at once are N/8 a second,"
    " then three quarters of it each time",
    tags=("counters",),
)
def rates(bench: VirtualBench) -> None:
    port, client = bench.port(), bench.client()
    service = bench.service(protocol=Protocol.UDP, port=port, weights=(1,))

    def seen() -> tuple[int, int, int, int, int]:
        own = next(stats for stats in bench.ipvsadm.list_rates() if stats.service == service.name)
        return own.cps, own.in_pps, own.out_pps, own.in_bps, own.out_bps

    bench.go_to(bench.jiffy + 10 * HZ)
    must(seen() == (0, 0, 0, 0, 0), "without traffic all rates are 0", f"seen: {seen()}")
    first = bench.next_jiffy()
    sports = range(40000, 40000 + _PACKETS)
    chosen(bench, *(udp(client, port, sport=sport, data=bytes(_PACKET_BYTES - 28)) for sport in sports))
    step, eighth = 8, _PACKETS // 8
    while (rates := seen()) == (0, 0, 0, 0, 0) and bench.jiffy < first + 3 * HZ:
        bench.go_to(bench.jiffy + step)
    wanted = (eighth, eighth, 0, eighth * _PACKET_BYTES, 0)
    must(rates == wanted, f"rates {wanted} were expected at first", f"seen: {rates}")
    # The first estimate was in one of the last jiffies; the second is found jiffy by jiffy.
    last = bench.jiffy
    bench.go_to(_next(bench, last - step))
    while (again := seen()) == rates and bench.jiffy < last + 3 * HZ:
        bench.next_jiffy()
    bytes_now = wanted[3] * 3 // 4
    must(again[3] == bytes_now, f"{bytes_now} bytes a second were expected then", f"seen: {again}")
    for _ in range(3):
        estimated = _next(bench, bench.jiffy)
        bench.go_to(estimated - 1)
        must(seen() == again, f"the rates changed before jiffy {estimated}", f"seen: {seen()}")
        bench.go_to(estimated)
        again, bytes_now = seen(), bytes_now * 3 // 4
        must(
            abs(again[3] - bytes_now) <= 1,
            f"{bytes_now} bytes a second were expected in jiffy {estimated}",
            f"seen: {again}",
        )


def _next(bench: VirtualBench, estimated: int) -> int:
    """The jiffy of the estimate after this one."""
    if patch_level(bench.version)[0] >= _THREAD_SINCE:
        return estimated + 2 * HZ
    return goes_off(estimated, 2 * HZ)


@check(
    "timers:drop_entry",
    "with drop_entry=3 half-open connections are thrown away once a second, to the jiffy, and no established"
    " one in its first minute; with 0 all stay",
    tags=("sysctl",),
)
def drop_entry(bench: VirtualBench) -> None:
    port, half, whole = bench.port(), bench.client(), bench.client()
    bench.service(port=port, weights=(1,))
    bench.next_jiffy()
    for start in range(0, _HALF_OPEN, _BURST):
        chosen(bench, *(tcp(half, port, sport=10000 + start + number) for number in range(_BURST)))
    for flags in ("S", "A"):
        chosen(bench, *(tcp(whole, port, flags, sport=10000 + number) for number in range(_WHOLE)))

    def left() -> int:
        return len(entries(bench, half))

    bench.go_to(bench.jiffy + 5 * HZ)
    must(left() == _HALF_OPEN, "with drop_entry=0 all half-open connections were to stay")
    bench.sysctl("net.ipv4.vs.drop_entry", 3)
    before, step, began = left(), 8, bench.jiffy
    while (now := left()) == before and bench.jiffy < began + 10 * HZ:
        bench.go_to(bench.jiffy + step)
    must(now < before, "no half-open connection was thrown away within 10 s")
    # Delayed work is timed by the wheel: its jiffies are multiples of a bucket's width.
    dropped = bench.jiffy // step * step
    for _ in range(5):
        dropped = goes_off(dropped, HZ)
        before = now
        bench.go_to(dropped - 1)
        must((now := left()) == before, f"some went before jiffy {dropped}: {now} of {before} are left")
        bench.go_to(dropped)
        now = left()
        must(now < before, f"none went in jiffy {dropped}, {before} are left")
    must(len(entries(bench, whole)) == _WHOLE, "an established connection was thrown away")
    bench.sysctl("net.ipv4.vs.drop_entry", 0)
    bench.go_to(bench.jiffy + 5 * HZ)
    must(left() == now, "with drop_entry=0 again the others were to stay")


@check(
    "timers:ops",
    "an entry of a service with one-packet scheduling is gone in the jiffy of its datagram; without, it is"
    " there",
    tags=("udp",),
)
def one_packet(bench: VirtualBench) -> None:
    single, usual = bench.client(), bench.client()
    for client, one in ((single, True), (usual, False)):
        port = bench.port()
        bench.service(protocol=Protocol.UDP, port=port, weights=(1,), ops=one)
        bench.next_jiffy()
        chosen(bench, udp(client, port))
    listed = bench.ipvsadm.list_connections()
    must(not any(map(connection_of(single), listed)), "the entry of the one packet is still there")
    must(any(map(connection_of(usual), listed)), "the usual entry is not there")
