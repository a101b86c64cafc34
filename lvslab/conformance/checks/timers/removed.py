"""What becomes of the entries of a removed real server, and of the server itself.

Facts: ip_vs_expire_nodest_conn_flush in ip_vs_conn.c, which ip_vs_enqueue_expire_nodest_conns in
ip_vs.h delays by one jiffy; ip_vs_in_hook in ip_vs_core.c drops a packet of such a connection and
leaves its timer alone; ip_vs_dest_trash_expire in ip_vs_ctl.c looks every 60 s, and forgets a
removed server that nobody has used for 120 s.
"""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.checks.timers.ends import connection_of, look, must_go, must_last
from lvslab.conformance.checks.timers.states import TCP
from lvslab.conformance.entries import chosen, tcp, udp
from lvslab.conformance.jiffies import goes_off
from lvslab.conformance.packets import must
from lvslab.conformance.virtual import HZ, VirtualBench
from lvslab.ipvs.service import Protocol, VirtualService

_TRASH = 120
"""Seconds (IP_VS_DEST_TRASH_PERIOD)."""

_EMPTY = 1400
"""Seconds after which no entry of an earlier check keeps a removed server: 900 for the longest
lifetime of one, with its bucket 941, then three looks.
"""


@check(
    "timers:nodest:on",
    "with expire_nodest_conn=1 the entries of a removed real server go after a delay of one jiffy, which the"
    " timer wheel makes two",
    tags=("sysctl",),
)
def nodest_on(bench: VirtualBench) -> None:
    bench.sysctl("net.ipv4.vs.expire_nodest_conn", 1)
    client, _, service, server = _established(bench)
    must_last(bench, connection_of(client), "ESTABLISHED", TCP["ESTABLISHED"])
    jiffy = bench.next_jiffy()
    bench.ipvsadm.delete_server(service, service.real_servers[server - 1])
    must(look(bench, connection_of(client)) is not None, "the entry was gone in the jiffy of the removal")
    must_go(bench, connection_of(client), goes_off(jiffy, 1), "the entry of the removed server")


@check(
    "timers:nodest:off",
    "with expire_nodest_conn=0 the entries of a removed real server live on, to the jiffy; their packets are"
    " dropped and start nothing anew",
    tags=("sysctl",),
)
def nodest_off(bench: VirtualBench) -> None:
    client, port, service, server = _established(bench)
    end = must_last(bench, connection_of(client), "ESTABLISHED", TCP["ESTABLISHED"])
    bench.ipvsadm.delete_server(service, service.real_servers[server - 1])
    bench.go_to(bench.jiffy + 500 * HZ)
    bench.from_client(tcp(client, port, "A")).nothing("a segment of the orphaned connection")
    must_go(bench, connection_of(client), end, "the orphaned connection")


def _established(bench: VirtualBench) -> tuple[str, int, VirtualService, int]:
    """A client with a connection, whose timer is armed in this jiffy; its port, service, server."""
    port, client = bench.port(), bench.client()
    service = bench.service(port=port)
    bench.next_jiffy()
    server = chosen(bench, tcp(client, port), tcp(client, port, "A"))[0]
    return client, port, service, server


@check(
    "timers:trash",
    "a removed real server is remembered, with its counters, until the look of the trash timer that finds it"
    " unused for 120 s, to the jiffy",
)
def trash(bench: VirtualBench) -> None:
    bench.go_to(bench.jiffy + _EMPTY * HZ)
    services = [_counted(bench) for _ in range(2)]
    removed = bench.next_jiffy()
    for service in services:
        bench.ipvsadm.delete_server(service, service.real_servers[0])
    must(bench.jiffy == removed, "both servers were to be removed in one jiffy")
    # The first look finds them unused, the second too early, the third forgets them.
    unused = looked = goes_off(removed, _TRASH // 2 * HZ)
    while looked - unused < _TRASH * HZ:
        looked = goes_off(looked, _TRASH // 2 * HZ)
    for service, jiffy, count in zip(services, (looked - 1, looked), (1, 0), strict=True):
        bench.go_to(jiffy)
        bench.ipvsadm.add_server(service, service.real_servers[0])
        seen = _connections(bench, service)
        must(
            seen == count,
            f"added again in jiffy {jiffy}, {jiffy - removed} after its removal, the server has {seen}"
            f" connections, {count} expected",
        )


def _counted(bench: VirtualBench) -> VirtualService:
    """A service whose server has had one connection, of which no entry is left."""
    port = bench.port()
    service = bench.service(protocol=Protocol.UDP, port=port, weights=(1,), ops=True)
    chosen(bench, udp(bench.client(), port))
    bench.go_to(bench.jiffy + 5 * HZ)  # counters are gathered every two seconds (ip_vs_est.c)
    must(_connections(bench, service) == 1, "one connection was to be counted")
    return service


def _connections(bench: VirtualBench, service: VirtualService) -> int:
    stats = next(stats for stats in bench.ipvsadm.list_stats() if stats.service == service.name)
    return stats.servers[0].conns
