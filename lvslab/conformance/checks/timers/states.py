"""The lifetime of every state that packets can lead to.

Facts: `tcp_timeouts` of ip_vs_proto_tcp.c, `udp_timeouts` of ip_vs_proto_udp.c, `sctp_timeouts` of
ip_vs_proto_sctp.c, the same in Linux 6.1, 6.12 and 7.2. secure_tcp takes other states
(`tcp_states_dos`) with the same lifetimes (tcp_timeout_change). LAST_ACK and LISTEN, to which no
packet leads, are in synced.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvslab.conformance.check import check
from lvslab.conformance.checks.states.sctp import client_chunk, server_chunk
from lvslab.conformance.checks.states.stories import service_of, tell
from lvslab.conformance.checks.states.tables import (
    CLOSE,
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT,
    SYN_RECV,
    SYN_SENT,
    SYNACK,
    TABLES,
    TIME_WAIT,
)
from lvslab.conformance.checks.timers.ends import connection_of, must_live
from lvslab.conformance.entries import udp, udp_reply
from lvslab.conformance.virtual import VirtualBench
from lvslab.ipvs.service import Protocol

TCP: Mapping[str, int] = {
    ESTABLISHED: 900,
    SYN_SENT: 120,
    SYN_RECV: 60,
    FIN_WAIT: 120,
    TIME_WAIT: 120,
    CLOSE: 10,
    CLOSE_WAIT: 60,
    SYNACK: 120,
}
"""Seconds."""

UDP_SECONDS = 300

_OPEN = ("c:INIT", "s:INIT-ACK", "c:COOKIE-ECHO", "s:COOKIE-ACK")
_SCTP: Mapping[str, Mapping[str, tuple[int, Sequence[str]]]] = {
    "nat": {
        "INIT1": (4, ("c:INIT",)),
        "INIT": (61, ("c:INIT", "c:INIT")),
        "C-SENT": (61, _OPEN[:2]),
        "C-REPLIED": (61, _OPEN[:3]),
        "C-WAIT": (61, ("c:INIT", "s:INIT")),
        "COOKIE": (61, ("c:INIT", "s:INIT", "c:INIT-ACK")),
        "C-ECHOED": (61, ("c:INIT", "s:COOKIE-ECHO")),
        "ESTABLISHED": (900, _OPEN),
        "S-SENT": (61, (*_OPEN, "s:SHUTDOWN")),
        "S-RECEIVED": (61, (*_OPEN, "c:SHUTDOWN")),
        "S-ACK-SENT": (61, (*_OPEN, "c:SHUTDOWN", "s:SHUTDOWN-ACK")),
        "REJECTED": (4, ("c:INIT", "s:ABORT")),
        "CLOSED": (61, (*_OPEN, "c:ABORT")),
    },
    "dr": {
        "INIT1": (4, ("c:INIT",)),
        "INIT": (61, ("c:INIT", "c:INIT")),
        "C-ECHOED": (61, ("c:INIT", "c:INIT-ACK")),
        "ESTABLISHED": (900, ("c:INIT", "c:COOKIE-ECHO")),
        "S-RECEIVED": (61, ("c:INIT", "c:COOKIE-ECHO", "c:SHUTDOWN")),
        "CLOSED": (61, ("c:INIT", "c:COOKIE-ECHO", "c:ABORT")),
    },
}
"""Mode → state, as ipvsadm names it → its seconds and how to get there: the largest retransmission
timeout of RFC 9260, 60 s, and one more; 3 + 1 s where nobody has answered yet.
"""


@check(
    "timers:tcp:{table}:{state}",
    "an entry of {table} in {state} lives {seconds} s after its last packet, to the jiffy",
    tags=("tcp", "{table}"),
    each=[
        {"table": table, "state": state, "seconds": TCP[state]}
        for table, (ways, _) in TABLES.items()
        for state in ways
    ],
)
def tcp_state(bench: VirtualBench, table: str, state: str, seconds: int) -> None:
    version = 6 if table == "tun" else 4
    port, client = service_of(bench, table, version), bench.client(version)
    bench.next_jiffy()
    tell(bench, client, port, [TABLES[table][0][state]])
    must_live(bench, connection_of(client), state, seconds)


@check(
    "timers:udp:{mode}:{after}",
    "a UDP entry of {mode} lives 300 s after its last datagram, to the jiffy: the {after}",
    tags=("udp", "{mode}"),
    each=[
        {"mode": "nat", "after": "request"},
        {"mode": "nat", "after": "reply"},
        {"mode": "dr", "after": "request"},
    ],
)
def udp_state(bench: VirtualBench, mode: str, after: str) -> None:
    port, client = bench.port(), bench.client()
    bench.service(mode, protocol=Protocol.UDP, port=port, weights=(1,))
    bench.next_jiffy()
    bench.from_client(udp(client, port)).one("inside", "the request")
    if after == "reply":
        bench.go_to(bench.jiffy + 12345)
        bench.from_server(1, udp_reply(1, client)).one("outside", "the reply")
    must_live(bench, connection_of(client), "UDP", UDP_SECONDS)


@check(
    "timers:sctp:{mode}:{state}",
    "an SCTP entry of {mode} in {state} lives {seconds} s after its last chunk, to the jiffy",
    tags=("sctp", "{mode}"),
    each=[
        {"mode": mode, "state": state, "seconds": seconds, "chunks": chunks}
        for mode, states in _SCTP.items()
        for state, (seconds, chunks) in states.items()
    ],
)
def sctp_state(bench: VirtualBench, mode: str, state: str, seconds: int, chunks: Sequence[str]) -> None:
    port, client = bench.port(), bench.client()
    bench.service(mode, protocol=Protocol.SCTP, port=port, weights=(1,))
    bench.next_jiffy()
    for side, kind in (chunk.split(":") for chunk in chunks):
        if side == "c":
            bench.from_client(client_chunk(client, port, kind)).one("inside", f"the client's {kind}")
        else:
            bench.from_server(1, server_chunk(client, kind)).one("outside", f"the server's {kind}")
    must_live(bench, connection_of(client), state, seconds)
