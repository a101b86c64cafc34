"""Connections as `ipvsadm -L` counts them: active and inactive, templates, thresholds."""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.entries import awaited, chosen, listing, tcp, timeouts, udp
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.listings import parse_thresholds
from lvslab.ipvs.service import Protocol


@check(
    "counters:active:{mode}",
    "ActiveConn and InActConn of -L count the entries by state: SYN_RECV and ESTABLISHED are active, closing"
    " ones are not",
    tags=("{mode}", "tcp"),
    each=[{"mode": "nat"}, {"mode": "dr"}],
)
def active(bench: Bench, mode: str) -> None:
    # tcp_state_active_table in ip_vs_proto_tcp.c
    port, client = bench.port(), bench.client()
    service = bench.service(mode, port=port, weights=(1,))

    def must_show(expected: tuple[int, int], what: str) -> None:
        line = listing(bench, service.selector)[0]
        must(
            (line.active, line.inactive) == expected,
            f"{what}: {expected} expected",
            f"seen: {(line.active, line.inactive)}",
        )

    must_show((0, 0), "before")
    chosen(bench, *(tcp(client, port, sport=sport) for sport in (1, 2, 3)))
    must_show((3, 0), "three in SYN_RECV")
    bench.from_client(tcp(client, port, "A", sport=1), tcp(client, port, "A", sport=2))
    must_show((3, 0), "two of them in ESTABLISHED")
    bench.from_client(tcp(client, port, "FA", sport=1), tcp(client, port, "R", sport=2))
    must_show((1, 2), "one closing, one reset")


@check(
    "counters:active:udp",
    "a UDP entry counts as InActConn until it has gone",
    tags=("udp", "timer"),
    spoilt_by=0.5,
)
def active_udp(bench: Bench) -> None:
    # udp entries have the INACTIVE flag from the start (ip_vs_bind_dest counts them so)
    port, client = bench.port(), bench.client()
    timeouts(bench, udp_seconds=1)
    service = bench.service(protocol=Protocol.UDP, port=port, weights=(1,))

    def shown() -> tuple[int, int]:
        line = listing(bench, service.selector)[0]
        return line.active, line.inactive

    chosen(bench, udp(client, port))
    must(shown() == (0, 1), "after a datagram: 0 active, 1 inactive expected", f"seen: {shown()}")
    must(awaited(lambda: shown() == (0, 0)), "after its lifetime: 0, 0 expected", f"seen: {shown()}")


@check(
    "counters:persistent-conns",
    "-L --persistent-conn shows the templates of a real server as PersistConn",
    tags=("persistence",),
)
def persistent_conns(bench: Bench) -> None:
    port = bench.port()
    service = bench.service(port=port, weights=(1, 1), persistence_timeout=300)
    clients = [bench.client() for _ in range(3)]
    servers = chosen(
        bench, *(tcp(client, port) for client in clients), *(tcp(client, port, sport=1) for client in clients)
    )
    lines = bench.run(f"ipvsadm -L -n --persistent-conn {' '.join(service.selector)}").splitlines()
    rows = {
        line.split()[1]: tuple(map(int, line.split()[-3:])) for line in lines if line.startswith("  -> 1")
    }
    wanted = {
        server.name: (servers[:3].count(number), servers.count(number), 0)
        for number, server in enumerate(service.real_servers, start=1)
    }
    must(
        rows == wanted,
        "PersistConn, ActiveConn, InActConn are wrong",
        f"expected: {wanted}",
        f"seen:     {rows}",
    )


@check(
    "counters:thresholds",
    "-L --thresholds shows the thresholds as set and the connections against them; at the upper one the real"
    " server gets no more",
    tags=("thresholds",),
)
def thresholds(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    service = bench.service(
        port=port, weights=(1,), server_options={"upper_threshold": 3, "lower_threshold": 1}
    )
    chosen(bench, *(tcp(client, port, sport=sport) for sport in (1, 2, 3)))
    must(
        not bench.from_client(tcp(client, port, sport=4)).inside,
        "a fourth connection went to a real server with -x 3",
    )
    text = bench.run("ipvsadm -L -n --thresholds")
    seen = parse_thresholds(text)[service.name, service.real_servers[0].name]
    must(seen == (3, 1), "thresholds 3 and 1 expected", f"seen: {seen}")
    words = next(line for line in text.splitlines() if service.real_servers[0].name in line).split()
    must(words[-2:] == ["3", "0"], "ActiveConn 3, InActConn 0 expected", f"seen: {words}")
