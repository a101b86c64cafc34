"""How long entries live: by state, by --set, and what happens at their end.

Facts: `tcp_timeouts` of ip_vs_proto_tcp.c, ip_vs_proto_udp.c in Linux 6.1.
"""

from __future__ import annotations

import time

from lvslab.conformance.check import check
from lvslab.conformance.checks.states.stories import lives, play, service_of
from lvslab.conformance.checks.states.tables import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT,
    SYN_RECV,
    SYN_SENT,
    TABLES,
    TIME_WAIT,
)
from lvslab.conformance.entries import (
    chosen,
    entry,
    timeouts,
    udp,
)
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol

_LIFETIMES = {
    SYN_RECV: 60,
    ESTABLISHED: 900,
    SYN_SENT: 120,
    FIN_WAIT: 120,
    TIME_WAIT: 120,
    CLOSE: 10,
    CLOSE_WAIT: 60,
}


@check(
    "states:expires:{mode}",
    "every TCP state gives a connection entry of {mode} its own lifetime",
    tags=("tcp", "{mode}"),
    each=[{"mode": "nat"}, {"mode": "dr"}],
)
def lifetimes(bench: Bench, mode: str) -> None:
    since = time.monotonic()
    ways = TABLES[mode][0]
    found = play(bench, bench.client(), service_of(bench, mode), list(ways.values()))
    wrong = [
        f"{state}: {_LIFETIMES[state]} s expected, {connection and connection.expires} seen"
        for state, connection in zip(ways, found, strict=True)
        if not lives(connection, _LIFETIMES[state], since)
    ]
    must(not wrong, "lifetimes: " + "; ".join(wrong), *wrong)


@check(
    "states:expires:secure", "with secure_tcp the additional state SYNACK lives 120 s", tags=("tcp", "sysctl")
)
def secure_lifetime(bench: Bench) -> None:
    since = time.monotonic()
    found = play(bench, bench.client(), service_of(bench, "nat-secure"), [("c:S", "s:SA")])[0]
    must(lives(found, 120, since), "120 s expected", f"seen: {found}")


@check("states:set:tcp", "--set TCP is the lifetime of ESTABLISHED alone", tags=("set",))
def set_tcp(bench: Bench) -> None:
    since = time.monotonic()
    timeouts(bench, tcp_seconds=700)
    ways = TABLES["nat"][0]
    found = dict(
        zip(ways, play(bench, bench.client(), service_of(bench, "nat"), list(ways.values())), strict=True)
    )
    must(lives(found[ESTABLISHED], 700, since), "ESTABLISHED: 700 s expected", f"seen: {found[ESTABLISHED]}")
    others = [
        state for state in ways if state != ESTABLISHED and not lives(found[state], _LIFETIMES[state], since)
    ]
    must(not others, f"other states have another lifetime than before: {', '.join(others)}")


@check(
    "states:set:tcpfin",
    "--set TCPFIN is the lifetime of FIN_WAIT alone, not of TIME_WAIT or CLOSE_WAIT",
    tags=("set",),
)
def set_fin(bench: Bench) -> None:
    since = time.monotonic()
    # ip_vs_set_timeout: tcp_fin_timeout goes to IP_VS_TCP_S_FIN_WAIT.
    timeouts(bench, tcpfin=50)
    ways = TABLES["nat"][0]
    found = dict(
        zip(ways, play(bench, bench.client(), service_of(bench, "nat"), list(ways.values())), strict=True)
    )
    must(lives(found[FIN_WAIT], 50, since), "FIN_WAIT: 50 s expected", f"seen: {found[FIN_WAIT]}")
    others = [
        state for state in ways if state != FIN_WAIT and not lives(found[state], _LIFETIMES[state], since)
    ]
    must(not others, f"other states have another lifetime than before: {', '.join(others)}")


@check(
    "states:set:udp",
    "--set UDP is the lifetime of UDP entries; an entry made before gets it with its next packet",
    tags=("set", "udp"),
)
def set_udp(bench: Bench) -> None:
    since = time.monotonic()
    port, client = bench.port(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, weights=(1,))
    chosen(bench, udp(client, port))
    timeouts(bench, udp_seconds=40)
    must(
        lives(entry(bench, client, "an entry from before --set"), 300, since),
        "the entry from before --set keeps its 300 s",
    )
    since = time.monotonic()
    chosen(bench, udp(client, port))
    must(
        lives(entry(bench, client, "after the next packet"), 40, since),
        "the entry has 40 s after its next packet",
    )


@check("states:set:zero", "--set 0 leaves a lifetime as it was", tags=("set",))
def set_zero(bench: Bench) -> None:
    timeouts(bench, 700, 50, 40)
    bench.run("ipvsadm --set 0 0 0")
    seen = bench.ipvsadm.timeouts()
    must((seen.tcp, seen.tcpfin, seen.udp) == (700, 50, 40), "700, 50, 40 expected", f"seen: {seen}")
    bench.run("ipvsadm --set 0 51 0")
    seen = bench.ipvsadm.timeouts()
    must((seen.tcp, seen.tcpfin, seen.udp) == (700, 51, 40), "700, 51, 40 expected", f"seen: {seen}")
