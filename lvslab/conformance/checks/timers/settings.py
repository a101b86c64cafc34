"""What starts a lifetime anew, and what changes it: packets, and `ipvsadm --set`.

Facts: __ip_vs_conn_put_timer in ip_vs_conn.c arms the timer after each packet, with the lifetime of
the state that the packet led to; ip_vs_set_timeout in ip_vs_ctl.c writes ESTABLISHED, FIN_WAIT and
UDP into the tables, and touches no entry.
"""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.checks.states.stories import service_of, tell
from lvslab.conformance.checks.states.tables import ESTABLISHED, FIN_WAIT, OPEN, TABLES, TIME_WAIT
from lvslab.conformance.checks.timers.ends import connection_of, must_go, must_last, must_live
from lvslab.conformance.checks.timers.states import TCP, UDP_SECONDS
from lvslab.conformance.entries import chosen, must_reset, tcp, timeouts, udp, udp_reply
from lvslab.conformance.jiffies import goes_off
from lvslab.conformance.virtual import HZ, VirtualBench
from lvslab.ipvs.service import Protocol


@check(
    "timers:restart:{side}",
    "a datagram of the {side} in the last jiffy of an entry's lifetime starts it anew, whole",
    tags=("udp",),
    each=[{"side": "client"}, {"side": "server"}],
)
def restart(bench: VirtualBench, side: str) -> None:
    port, client = bench.port(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, weights=(1,))
    bench.next_jiffy()
    chosen(bench, udp(client, port))
    bench.go_to(must_last(bench, connection_of(client), "UDP", UDP_SECONDS) - 1)
    if side == "client":
        bench.from_client(udp(client, port)).one("inside", "the second request")
    else:
        bench.from_server(1, udp_reply(1, client)).one("outside", "the reply")
    must_live(bench, connection_of(client), "UDP", UDP_SECONDS)


@check(
    "timers:expired",
    "when an idle ESTABLISHED connection has gone nobody is told; its next packet gets a RST, and a SYN of"
    " the same client port makes a new entry",
    tags=("tcp",),
)
def expired(bench: VirtualBench) -> None:
    port, client = service_of(bench, "nat"), bench.client()
    bench.next_jiffy()
    tell(bench, client, port, [OPEN])
    must_live(bench, connection_of(client), ESTABLISHED, TCP[ESTABLISHED])
    bench.from_client().nothing("the end of the entry")
    must_reset(
        bench.from_client(tcp(client, port, "A", ack=5001)), "a segment of the connection that is forgotten"
    )
    chosen(bench, tcp(client, port), what="a new SYN of the same client port")


@check(
    "timers:set:tcp:{seconds}",
    "--set TCP {seconds} is the lifetime of ESTABLISHED, to the jiffy, and of no other state",
    tags=("set", "tcp"),
    each=[{"seconds": 1}, {"seconds": 77}, {"seconds": 3600}],
)
def set_tcp(bench: VirtualBench, seconds: int) -> None:
    timeouts(bench, tcp_seconds=seconds)
    _must_have(bench, ESTABLISHED, seconds)
    _must_have(bench, TIME_WAIT, TCP[TIME_WAIT])


@check(
    "timers:set:tcpfin:{seconds}",
    "--set TCPFIN {seconds} is the lifetime of FIN_WAIT, to the jiffy, and of no other state",
    tags=("set", "tcp"),
    each=[{"seconds": 1}, {"seconds": 50}],
)
def set_fin(bench: VirtualBench, seconds: int) -> None:
    timeouts(bench, tcpfin=seconds)
    _must_have(bench, FIN_WAIT, seconds)
    _must_have(bench, TIME_WAIT, TCP[TIME_WAIT])


def _must_have(bench: VirtualBench, state: str, seconds: int) -> None:
    port, client = service_of(bench, "nat"), bench.client()
    bench.next_jiffy()
    tell(bench, client, port, [TABLES["nat"][0][state]])
    must_live(bench, connection_of(client), state, seconds)


@check(
    "timers:set:udp",
    "--set UDP is the lifetime of UDP entries, to the jiffy; one from before keeps its own until its next"
    " datagram",
    tags=("set", "udp"),
)
def set_udp(bench: VirtualBench) -> None:
    port, older, renewed = bench.port(), bench.client(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, weights=(1,))
    armed = bench.next_jiffy()
    chosen(bench, udp(older, port), udp(renewed, port))
    timeouts(bench, udp_seconds=40)
    must_last(bench, connection_of(older), "UDP", UDP_SECONDS, armed=armed)
    bench.next_jiffy()
    chosen(bench, udp(renewed, port))
    must_live(bench, connection_of(renewed), "UDP", 40)
    must_go(bench, connection_of(older), goes_off(armed, UDP_SECONDS * HZ), "an entry from before --set")
