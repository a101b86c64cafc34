"""Every TCP state against the kernel's tables, and secure_tcp."""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.checks.states.stories import play, service_of
from lvslab.conformance.checks.states.tables import (
    CLOSE_WAIT,
    ESTABLISHED,
    FIN_WAIT,
    OPEN,
    SECURE_OPEN,
    SYNACK,
    TABLES,
    by_state,
)
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench

_WORDS = {"S": "syn", "FA": "fin", "A": "ack", "R": "rst"}
_EVENTS = [
    {
        "table": table,
        "event": event,
        "who": "client" if event[0] == "c" else "server",
        "what": _WORDS[event[2:]],
        "version": 6 if table == "tun" else 4,
    }
    for table, (_, rows) in TABLES.items()
    for event in rows
]


@check(
    "states:tcp:{table}:{who}-{what}",
    "a {what} of the {who} takes a connection from every state into the one that the kernel's table for"
    " {table} names",
    tags=("tcp", "{table}"),
    each=_EVENTS,
)
def table_row(bench: Bench, table: str, event: str, who: str, what: str, version: int) -> None:
    ways, rows = TABLES[table]
    port, client = service_of(bench, table, version), bench.client(version)
    stories = [(*story, event) for story in ways.values()]
    found = play(bench, client, port, [*ways.values(), *stories])
    seen = [each.state if each else "no entry" for each in found]
    before, after = seen[: len(ways)], seen[len(ways) :]
    must(
        before == list(ways),
        "the connections are not in the states to start from",
        f"expected: {list(ways)}",
        f"seen: {before}",
    )
    expected = [by_state(rows[event])[state] for state in ways]
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
    for mode, wanted in (("nat", CLOSE_WAIT), ("dr", FIN_WAIT)):
        seen = play(bench, client, service_of(bench, mode), [story])[0]
        must(seen is not None and seen.state == wanted, f"{mode}: {wanted} expected", f"seen: {seen}")


@check(
    "states:tcp:secure-delays",
    "with secure_tcp a NAT connection is ESTABLISHED only when the server sends more than its SYN-ACK;"
    " without, at the client's ACK",
    tags=("tcp", "sysctl"),
)
def secure(bench: Bench) -> None:
    plain, client = service_of(bench, "nat"), bench.client()
    stories = [OPEN, (*OPEN, "c:A"), SECURE_OPEN]
    states = [each.state if each else "" for each in play(bench, client, plain, stories)]
    must(states == [ESTABLISHED] * 3, "without secure_tcp", f"seen: {states}")
    secure_port = service_of(bench, "nat-secure")
    states = [each.state if each else "" for each in play(bench, client, secure_port, stories)]
    must(
        states == [SYNACK, SYNACK, ESTABLISHED],
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
    port, client = service_of(bench, "nat"), bench.client()
    bench.sysctl("net.ipv4.vs.amemthresh", 1)
    bench.sysctl("net.ipv4.vs.secure_tcp", 1)
    value = bench.value("net.ipv4.vs.secure_tcp")
    must(value == "1", "secure_tcp must stay 1 with enough memory", f"seen: {value}")
    state = [each.state if each else "" for each in play(bench, client, port, [OPEN])]
    must(state == [ESTABLISHED], "enough memory: ESTABLISHED expected", f"seen: {state}")
    bench.sysctl("net.ipv4.vs.secure_tcp", 0)
    bench.sysctl("net.ipv4.vs.amemthresh", 1000000000)
    bench.sysctl("net.ipv4.vs.secure_tcp", 1)
    value = bench.value("net.ipv4.vs.secure_tcp")
    must(value == "2", "secure_tcp must go from 1 to 2 with too little memory", f"seen: {value}")
    state = [each.state if each else "" for each in play(bench, bench.client(), port, [OPEN])]
    must(state == [SYNACK], "too little memory: SYNACK expected", f"seen: {state}")
