"""Connection states and lifetimes, as `ipvsadm -Lnc` shows them against the packets sent.

Facts: the state tables and lifetimes of ip_vs_proto_tcp.c (`tcp_states`, `tcp_states_dos`,
`tcp_timeouts`), ip_vs_proto_sctp.c and ip_vs_proto_udp.c in Linux 6.1. The TCP tables know two
directions for NAT and a third kind, "input only", for DR and TUN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scapy.layers import sctp
from scapy.layers.sctp import SCTP

from lvslab.conformance.check import check
from lvslab.conformance.entries import (
    awaited,
    chosen,
    entries,
    entry,
    must_reset,
    tcp,
    tcp_reply,
    timeouts,
    udp,
    udp_reply,
)
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import NETS, SERVER_PORT, Bench
from lvslab.ipvs.ipvsadm import Connection
from lvslab.ipvs.service import Protocol

Story = Sequence[str]
"""What happens in one connection: "c:S" is a SYN of the client, "s:SA" the server's answer."""

_SYN_RECV, _ESTABLISHED, _SYN_SENT = "SYN_RECV", "ESTABLISHED", "SYN_SENT"
_FIN_WAIT, _TIME_WAIT, _CLOSE, _CLOSE_WAIT, _SYNACK = "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "SYNACK"

_OPEN = ("c:S", "s:SA", "c:A")
_NAT_WAYS: Mapping[str, Story] = {
    _SYN_RECV: ("c:S",),
    _ESTABLISHED: _OPEN,
    _FIN_WAIT: (*_OPEN, "s:FA"),
    _SYN_SENT: (*_OPEN, "s:FA", "s:S"),
    _CLOSE_WAIT: (*_OPEN, "c:FA"),
    _TIME_WAIT: (*_OPEN, "c:FA", "s:FA"),
    _CLOSE: (*_OPEN, "c:R"),
}
"""How to get into every state that NAT can reach (LAST_ACK and LISTEN lead only into
themselves).
"""
_SECURE_OPEN = (*_OPEN, "s:A")
_NAT_SECURE_WAYS: Mapping[str, Story] = {
    _SYN_RECV: ("c:S",),
    _SYNACK: ("c:S", "s:SA"),
    _ESTABLISHED: _SECURE_OPEN,
    _FIN_WAIT: (*_SECURE_OPEN, "s:FA"),
    _SYN_SENT: (*_SECURE_OPEN, "s:FA", "s:S"),
    _CLOSE_WAIT: (*_SECURE_OPEN, "c:FA"),
    _TIME_WAIT: (*_SECURE_OPEN, "c:FA", "s:FA"),
    _CLOSE: (*_SECURE_OPEN, "c:R"),
}
_ONE_WAY: Mapping[str, Story] = {
    _SYN_RECV: ("c:S",),
    _ESTABLISHED: ("c:S", "c:A"),
    _FIN_WAIT: ("c:S", "c:A", "c:FA"),
    _TIME_WAIT: ("c:S", "c:FA"),
    _CLOSE: ("c:S", "c:A", "c:R"),
}
_ONE_WAY_SECURE: Mapping[str, Story] = {
    _SYNACK: ("c:S",),
    _ESTABLISHED: ("c:S", "c:A"),
    _FIN_WAIT: ("c:S", "c:A", "c:FA"),
    _TIME_WAIT: ("c:S", "c:FA"),
    _CLOSE: ("c:S", "c:A", "c:R"),
}


def _row(text: str) -> dict[str, str]:
    """One row of the kernel's table, for the states SYN_RECV, ESTABLISHED, SYN_SENT, FIN_WAIT,
    TIME_WAIT, CLOSE, CLOSE_WAIT, SYNACK.
    """
    names = {
        "SR": _SYN_RECV,
        "ES": _ESTABLISHED,
        "SS": _SYN_SENT,
        "FW": _FIN_WAIT,
        "TW": _TIME_WAIT,
        "CL": _CLOSE,
        "CW": _CLOSE_WAIT,
        "SA": _SYNACK,
    }
    return dict(zip(names.values(), (names[word] for word in text.split()), strict=True))


#                          in: SR ES SS FW TW CL CW SA
_NAT: Mapping[str, str] = {
    "c:S": "SR ES ES SR SR SR SR SR",
    "c:FA": "TW CW SS TW TW CL CW TW",
    "c:A": "ES ES SS FW TW CL CW ES",
    "c:R": "SR CL CL CL CL CL CL SR",
    "s:S": "SR ES SS SS SS SS SS SR",
    "s:FA": "TW FW SS FW TW CL TW TW",
    "s:A": "ES ES SS FW TW CL CW ES",
    "s:R": "CL CL SS CL TW CL CL CL",
}
_NAT_SECURE: Mapping[str, str] = {
    "c:S": "SR ES ES SR SR SR SR SA",
    "c:FA": "TW CW SS TW TW CL CW SA",
    "c:A": "SR ES SS FW TW CL CW SA",
    "c:R": "SR CL CL CL CL CL CL CL",
    "s:S": "SA ES SS SS SS SS SS SA",
    "s:FA": "TW FW SS FW TW CL TW TW",
    "s:A": "ES ES SS FW TW CL CW ES",
    "s:R": "CL CL SS CL TW CL CL CL",
}
_ONE: Mapping[str, str] = {
    "c:S": "SR ES ES SR SR SR SR SR",
    "c:FA": "TW FW SS FW TW CL CW TW",
    "c:A": "ES ES SS FW TW CL CW ES",
    "c:R": "SR CL CL CL CL CL CL CL",
}
_ONE_SECURE: Mapping[str, str] = {
    "c:S": "SR ES ES SA SA SA SA SA",
    "c:FA": "TW FW SS FW TW CL CW TW",
    "c:A": "ES ES SS FW TW CL CW ES",
    "c:R": "SR CL CL CL CL CL CL CL",
}
_TABLES: Mapping[str, tuple[Mapping[str, Story], Mapping[str, str]]] = {
    "nat": (_NAT_WAYS, _NAT),
    "nat-secure": (_NAT_SECURE_WAYS, _NAT_SECURE),
    "dr": (_ONE_WAY, _ONE),
    "dr-secure": (_ONE_WAY_SECURE, _ONE_SECURE),
    "tun": (_ONE_WAY, _ONE),
}
_WORDS = {"S": "syn", "FA": "fin", "A": "ack", "R": "rst"}
_EVENTS = [
    {
        "table": table,
        "event": event,
        "who": "client" if event[0] == "c" else "server",
        "what": _WORDS[event[2:]],
        "version": 6 if table == "tun" else 4,
    }
    for table, (_, rows) in _TABLES.items()
    for event in rows
]


def _play(
    bench: Bench, client: str, port: int, stories: Sequence[Story], server_port: int = SERVER_PORT
) -> list[Connection | None]:
    """Play connections side by side, each from a port of its own; their entries afterwards.

    Step by step: first what the clients do, then what the server does, so that few exchanges carry
    many connections.
    """
    for step in range(max(map(len, stories))):
        events = [(40000 + number, story[step]) for number, story in enumerate(stories) if step < len(story)]
        ours = [
            tcp(client, port, event[2:], sport=sport, ack=0 if event == "c:S" else 5001)
            for sport, event in events
            if event[0] == "c"
        ]
        theirs = [
            tcp_reply(1, client, event[2:], sport=server_port, dport=sport)
            for sport, event in events
            if event[0] == "s"
        ]
        if ours:
            bench.from_client(*ours)
        if theirs:
            bench.from_server(1, *theirs)
    found = {each.client.port: each for each in entries(bench, client, port=port)}
    return [found.get(40000 + number) for number in range(len(stories))]


def _service(bench: Bench, table: str, version: int = 4) -> int:
    port = bench.port()
    if table.endswith("-secure"):
        bench.sysctl("net.ipv4.vs.secure_tcp", 3)
    bench.service(table.partition("-")[0], port=port, version=version, weights=(1,))
    return port


@check(
    "states:tcp:{table}:{who}-{what}",
    "a {what} of the {who} takes a connection from every state into the one that the kernel's table for"
    " {table} names",
    tags=("tcp", "{table}"),
    each=_EVENTS,
)
def table_row(bench: Bench, table: str, event: str, who: str, what: str, version: int) -> None:
    ways, rows = _TABLES[table]
    port, client = _service(bench, table, version), bench.client(version)
    stories = [(*story, event) for story in ways.values()]
    found = _play(bench, client, port, [*ways.values(), *stories])
    seen = [each.state if each else "no entry" for each in found]
    before, after = seen[: len(ways)], seen[len(ways) :]
    must(
        before == list(ways),
        "the connections are not in the states to start from",
        f"expected: {list(ways)}",
        f"seen: {before}",
    )
    expected = [_row(rows[event])[state] for state in ways]
    wrong = [
        f"{state} and a {what} of the {who}: {right} expected, {is_now} seen"
        for state, right, is_now in zip(ways, expected, after, strict=True)
        if right != is_now
    ]
    must(not wrong, wrong[0] if wrong else "", *wrong)


@check(
    "states:tcp:same-packets",
    "the same packets of the client mean different states: after SYN, ACK, FIN it is CLOSE_WAIT in NAT, where"
    " the server's side is seen, and FIN_WAIT in DR, where it is not",
    tags=("tcp", "nat", "dr"),
)
def same_packets(bench: Bench) -> None:
    client, story = bench.client(), ("c:S", "c:A", "c:FA")
    for mode, wanted in (("nat", _CLOSE_WAIT), ("dr", _FIN_WAIT)):
        seen = _play(bench, client, _service(bench, mode), [story])[0]
        must(seen is not None and seen.state == wanted, f"{mode}: {wanted} expected", f"seen: {seen}")


@check(
    "states:tcp:secure-delays",
    "with secure_tcp a NAT connection is ESTABLISHED only when the server sends more than its SYN-ACK;"
    " without, at the client's ACK",
    tags=("tcp", "sysctl"),
)
def secure(bench: Bench) -> None:
    plain, client = _service(bench, "nat"), bench.client()
    stories = [_OPEN, (*_OPEN, "c:A"), _SECURE_OPEN]
    states = [each.state if each else "" for each in _play(bench, client, plain, stories)]
    must(states == [_ESTABLISHED] * 3, "without secure_tcp", f"seen: {states}")
    secure_port = _service(bench, "nat-secure")
    states = [each.state if each else "" for each in _play(bench, client, secure_port, stories)]
    must(
        states == [_SYNACK, _SYNACK, _ESTABLISHED],
        "with secure_tcp: SYNACK, SYNACK, ESTABLISHED expected",
        f"seen: {states}",
    )


@check(
    "states:tcp:secure-auto",
    "secure_tcp=1 changes nothing while memory suffices; with too little of it (amemthresh) it protects and"
    " shows itself as 2",
    tags=("tcp", "sysctl"),
)
def secure_auto(bench: Bench) -> None:
    # update_defense_level: available pages below amemthresh; writing the sysctl calls it at once
    # (proc_do_defense_mode).
    port, client = _service(bench, "nat"), bench.client()
    bench.sysctl("net.ipv4.vs.amemthresh", 1)
    bench.sysctl("net.ipv4.vs.secure_tcp", 1)
    value = bench.run("cat /proc/sys/net/ipv4/vs/secure_tcp").strip()
    must(value == "1", "secure_tcp must stay 1 with enough memory", f"seen: {value}")
    state = [each.state if each else "" for each in _play(bench, client, port, [_OPEN])]
    must(state == [_ESTABLISHED], "enough memory: ESTABLISHED expected", f"seen: {state}")
    bench.run("echo 0 >/proc/sys/net/ipv4/vs/secure_tcp; echo 1000000000 >/proc/sys/net/ipv4/vs/amemthresh")
    bench.run("echo 1 >/proc/sys/net/ipv4/vs/secure_tcp")
    value = bench.run("cat /proc/sys/net/ipv4/vs/secure_tcp").strip()
    must(value == "2", "secure_tcp must go from 1 to 2 with too little memory", f"seen: {value}")
    state = [each.state if each else "" for each in _play(bench, bench.client(), port, [_OPEN])]
    must(state == [_SYNACK], "too little memory: SYNACK expected", f"seen: {state}")


_LIFETIMES = {
    _SYN_RECV: 60,
    _ESTABLISHED: 900,
    _SYN_SENT: 120,
    _FIN_WAIT: 120,
    _TIME_WAIT: 120,
    _CLOSE: 10,
    _CLOSE_WAIT: 60,
}


def _lives(connection: Connection | None, seconds: int) -> bool:
    """Whether an entry has just got this lifetime: what is shown is rounded down, and a moment has
    passed.
    """
    return connection is not None and seconds - 2 <= connection.expires <= seconds


@check(
    "states:expires:{mode}",
    "every TCP state gives a connection entry of {mode} its own lifetime",
    tags=("tcp", "{mode}"),
    each=[{"mode": "nat"}, {"mode": "dr"}],
)
def lifetimes(bench: Bench, mode: str) -> None:
    ways = _TABLES[mode][0]
    found = _play(bench, bench.client(), _service(bench, mode), list(ways.values()))
    wrong = [
        f"{state}: {_LIFETIMES[state]} s expected, {connection and connection.expires} seen"
        for state, connection in zip(ways, found, strict=True)
        if not _lives(connection, _LIFETIMES[state])
    ]
    must(not wrong, "lifetimes: " + "; ".join(wrong), *wrong)


@check(
    "states:expires:secure", "with secure_tcp the additional state SYNACK lives 120 s", tags=("tcp", "sysctl")
)
def secure_lifetime(bench: Bench) -> None:
    found = _play(bench, bench.client(), _service(bench, "nat-secure"), [("c:S", "s:SA")])[0]
    must(_lives(found, 120), "120 s expected", f"seen: {found}")


@check("states:expires:restart", "every packet in either direction starts the lifetime anew", tags=("timer",))
def restart(bench: Bench) -> None:
    timeouts(bench, udp_seconds=3)
    port, client = bench.port(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, weights=(1,))
    for side in ("client", "server"):
        chosen(bench, udp(client, port))
        must(
            awaited(lambda: entry(bench, client, "while it lives").expires <= 1, 4),
            "the lifetime of 3 s does not run down",
        )
        if side == "client":
            bench.from_client(udp(client, port))
        else:
            bench.from_server(1, udp_reply(1, client))
        must(
            entry(bench, client, f"after a packet of the {side}").expires >= 2,
            "the lifetime did not start anew",
        )


@check("states:set:tcp", "--set TCP is the lifetime of ESTABLISHED alone", tags=("set",))
def set_tcp(bench: Bench) -> None:
    timeouts(bench, tcp_seconds=700)
    ways = _TABLES["nat"][0]
    found = dict(
        zip(ways, _play(bench, bench.client(), _service(bench, "nat"), list(ways.values())), strict=True)
    )
    must(_lives(found[_ESTABLISHED], 700), "ESTABLISHED: 700 s expected", f"seen: {found[_ESTABLISHED]}")
    others = [
        state for state in ways if state != _ESTABLISHED and not _lives(found[state], _LIFETIMES[state])
    ]
    must(not others, f"other states have another lifetime than before: {', '.join(others)}")


@check(
    "states:set:tcpfin",
    "--set TCPFIN is the lifetime of FIN_WAIT alone, not of TIME_WAIT or CLOSE_WAIT",
    tags=("set",),
)
def set_fin(bench: Bench) -> None:
    # ip_vs_set_timeout: tcp_fin_timeout goes to IP_VS_TCP_S_FIN_WAIT.
    timeouts(bench, tcpfin=50)
    ways = _TABLES["nat"][0]
    found = dict(
        zip(ways, _play(bench, bench.client(), _service(bench, "nat"), list(ways.values())), strict=True)
    )
    must(_lives(found[_FIN_WAIT], 50), "FIN_WAIT: 50 s expected", f"seen: {found[_FIN_WAIT]}")
    others = [state for state in ways if state != _FIN_WAIT and not _lives(found[state], _LIFETIMES[state])]
    must(not others, f"other states have another lifetime than before: {', '.join(others)}")


@check(
    "states:set:udp",
    "--set UDP is the lifetime of UDP entries; an entry made before gets it with its next packet",
    tags=("set", "udp"),
)
def set_udp(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, weights=(1,))
    chosen(bench, udp(client, port))
    timeouts(bench, udp_seconds=40)
    must(
        _lives(entry(bench, client, "an entry from before --set"), 300),
        "the entry from before --set keeps its 300 s",
    )
    chosen(bench, udp(client, port))
    must(
        _lives(entry(bench, client, "after the next packet"), 40), "the entry has 40 s after its next packet"
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


@check(
    "states:expired:tcp",
    "when the lifetime of an idle ESTABLISHED connection has passed its entry is gone, nobody is told, and"
    " its next packet gets a RST",
    tags=("timer", "tcp"),
)
def expired(bench: Bench) -> None:
    timeouts(bench, tcp_seconds=1)
    port, client = _service(bench, "nat"), bench.client()
    first = _play(bench, client, port, [_OPEN])[0]
    must(first is not None and first.state == _ESTABLISHED, "ESTABLISHED expected at first", f"seen: {first}")
    must(awaited(lambda: not entries(bench, client), 4), "the entry has not gone within 4 s")
    bench.from_client().nothing("the end of the entry")
    must_reset(
        bench.from_client(tcp(client, port, "A", ack=5001)), "a segment of the connection that is forgotten"
    )
    chosen(bench, tcp(client, port), what="a new SYN of the same client port")


@check(
    "states:udp:{mode}",
    "a UDP entry has the state UDP, after the first datagram and after the reply, and lives 300 s",
    tags=("udp", "{mode}"),
    each=[{"mode": "nat"}, {"mode": "dr"}],
)
def udp_state(bench: Bench, mode: str) -> None:
    port, client = bench.port(), bench.client()
    bench.service(mode, protocol=Protocol.UDP, port=port, weights=(1,))
    chosen(bench, udp(client, port))
    found = entry(bench, client, "after the first datagram")
    must(found.state == "UDP" and _lives(found, 300), "state UDP and 300 s expected", f"seen: {found}")
    if mode == "nat":
        bench.from_server(1, udp_reply(1, client))
        found = entry(bench, client, "after the reply")
        must(found.state == "UDP" and _lives(found, 300), "state UDP and 300 s expected", f"seen: {found}")


@check(
    "states:entry:{mode}:ipv{version}",
    "an entry names the client, the virtual and the real server's address and port as the packets have them",
    tags=("{mode}", "ipv{version}"),
    each=[{"mode": mode, "version": version} for mode in ("nat", "dr", "tun") for version in (4, 6)],
)
def entry_fields(bench: Bench, mode: str, version: int) -> None:
    net, port, client = NETS[version], bench.port(), bench.client(version)
    bench.service(mode, port=port, version=version, weights=(0, 0, 1))
    chosen(bench, tcp(client, port, sport=12345))
    found = entry(bench, client, "after the SYN")
    seen = [(each.address, each.port) for each in (found.client, found.virtual, found.destination)]
    wanted = [(client, 12345), (net.vip, port), (net.server(3), SERVER_PORT if mode == "nat" else port)]
    must(
        found.protocol == "TCP" and seen == wanted,
        "the entry is not as expected",
        f"expected: TCP {wanted}",
        f"seen:     {found}",
    )


# -- SCTP ------------------------------------------------------------------------------------------

_SCTP_NAT: Sequence[tuple[str, str, str]] = (
    ("c", "INIT", "INIT1"),
    ("s", "INIT-ACK", "C-SENT"),
    ("c", "COOKIE-ECHO", "C-REPLIED"),
    ("s", "COOKIE-ACK", "ESTABLISHED"),
    ("c", "DATA", "ESTABLISHED"),
    ("c", "SHUTDOWN", "S-RECEIVED"),
    ("s", "SHUTDOWN-ACK", "S-ACK-SENT"),
    ("c", "SHUTDOWN-COMPLETE", "CLOSED"),
)
_SCTP_REFUSED: Sequence[tuple[str, str, str]] = (("c", "INIT", "INIT1"), ("s", "ABORT", "REJECTED"))
_SCTP_ABORTED: Sequence[tuple[str, str, str]] = (*_SCTP_NAT[:4], ("s", "ABORT", "CLOSED"))
_SCTP_ONE_WAY: Sequence[tuple[str, str, str]] = (
    ("c", "INIT", "INIT1"),
    ("c", "COOKIE-ECHO", "ESTABLISHED"),
    ("c", "SHUTDOWN", "S-RECEIVED"),
)


def _sctp(kind: str) -> Any:
    chunks = {
        "INIT": sctp.SCTPChunkInit(init_tag=1),
        "INIT-ACK": sctp.SCTPChunkInitAck(init_tag=2),
        "COOKIE-ECHO": sctp.SCTPChunkCookieEcho(cookie=b"lvs!"),
        "COOKIE-ACK": sctp.SCTPChunkCookieAck(),
        "DATA": sctp.SCTPChunkData(data=b"lvs!"),
        "SHUTDOWN": sctp.SCTPChunkShutdown(),
        "SHUTDOWN-ACK": sctp.SCTPChunkShutdownAck(),
        "SHUTDOWN-COMPLETE": sctp.SCTPChunkShutdownComplete(),
        "ABORT": sctp.SCTPChunkAbort(),
    }
    return chunks[kind]


@check(
    "states:sctp:{mode}:{story}",
    "an SCTP association of {mode} goes through the states that its chunks mean",
    tags=("sctp", "{mode}"),
    each=[
        {"mode": "nat", "story": "whole", "steps": _SCTP_NAT},
        {"mode": "nat", "story": "refused", "steps": _SCTP_REFUSED},
        {"mode": "nat", "story": "aborted", "steps": _SCTP_ABORTED},
        {"mode": "dr", "story": "whole", "steps": _SCTP_ONE_WAY},
    ],
)
def sctp_states(bench: Bench, mode: str, story: str, steps: Sequence[tuple[str, str, str]]) -> None:
    net, port, client = NETS[4], bench.port(), bench.client()
    bench.service(mode, protocol=Protocol.SCTP, port=port, weights=(1,))
    seen = []
    for side, kind, _ in steps:
        if side == "c":
            packet = net.packet(client, net.vip) / SCTP(sport=40000, dport=port, tag=2) / _sctp(kind)
            bench.from_client(packet).one("inside", f"the client's {kind}")
        else:
            packet = (
                net.packet(net.server(1), client) / SCTP(sport=SERVER_PORT, dport=40000, tag=1) / _sctp(kind)
            )
            bench.from_server(1, packet).one("outside", f"the server's {kind}")
        seen.append(entry(bench, client, f"after {kind}").state)
    wrong = [
        f"after {kind} of the {'client' if side == 'c' else 'server'}: {wanted} expected, {state} seen"
        for (side, kind, wanted), state in zip(steps, seen, strict=True)
        if state != wanted
    ]
    must(not wrong, wrong[0] if wrong else "", *wrong)
