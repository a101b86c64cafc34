"""Every SCTP state and chunk against the kernel's tables, bundled chunks, and which associations
count as active.

Facts: `sctp_states`, `sctp_timeouts` and set_sctp_state of ip_vs_proto_sctp.c, is_new_conn_expected
of ip_vs_core.c in Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scapy.layers import sctp
from scapy.layers.sctp import SCTP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.entries import entries, listing
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol

Story = Sequence[str]
"""What happens in one association: "c:INIT" is a chunk of the client, "s:COOKIE-ACK+ABORT" two of
the server in one packet.
"""

_STATES = {
    "I1": "INIT1",
    "IN": "INIT",
    "CS": "C-SENT",
    "CR": "C-REPLIED",
    "CW": "C-WAIT",
    "CO": "COOKIE",
    "CE": "C-ECHOED",
    "ES": "ESTABLISHED",
    "SS": "S-SENT",
    "SR": "S-RECEIVED",
    "SA": "S-ACK-SENT",
    "RJ": "REJECTED",
    "CL": "CLOSED",
}
_SHORT = ("I1", "RJ")
_SHORT_WAYS = (("c:INIT",), ("c:INIT", "s:ABORT"))
_LATE = 2.0
"""INIT1 and REJECTED live 4 s, so a machine that is late by these seconds spoils a check."""

_OPEN = ("c:INIT", "s:COOKIE-ACK")
_NAT_WAYS: Mapping[str, Story] = {
    "I1": ("c:INIT",),
    "IN": ("c:INIT", "c:INIT"),
    "CS": ("c:INIT", "s:INIT-ACK"),
    "CR": ("c:INIT", "s:INIT-ACK", "c:COOKIE-ECHO"),
    "CW": ("c:INIT", "s:INIT"),
    "CO": ("c:INIT", "s:INIT", "c:INIT-ACK"),
    "CE": ("c:INIT", "s:COOKIE-ECHO"),
    "ES": _OPEN,
    "SS": (*_OPEN, "s:SHUTDOWN"),
    "SR": (*_OPEN, "c:SHUTDOWN"),
    "SA": (*_OPEN, "c:SHUTDOWN", "s:SHUTDOWN-ACK"),
    "RJ": ("c:INIT", "s:ABORT"),
    "CL": ("c:INIT", "c:ABORT"),
}
_ONE_WAY: Mapping[str, Story] = {
    "I1": ("c:INIT",),
    "IN": ("c:INIT", "c:INIT"),
    "CE": ("c:INIT", "c:INIT-ACK"),
    "ES": ("c:INIT", "c:COOKIE-ECHO"),
    "SR": ("c:INIT", "c:COOKIE-ECHO", "c:SHUTDOWN"),
    "CL": ("c:INIT", "c:ABORT"),
}

# An INIT to a CLOSED association begins a new one (conn_reuse_mode), so it is INIT1 again.
#                                  in: I1 IN CS CR CW CO CE ES SS SR SA RJ CL
_NAT: Mapping[str, str] = {
    "c:DATA": "I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "c:INIT": "IN IN CS CR CW CO CE ES SS SR SA IN I1",
    "c:INIT-ACK": "CW CW CS CR CO CO CE ES SS SR SA RJ CL",
    "c:COOKIE-ECHO": "IN IN CR CR CW CO CE ES SS SR SA RJ CL",
    "c:COOKIE-ACK": "I1 IN CS CR CW CO ES ES SS SR SA RJ CL",
    "c:SHUTDOWN": "I1 IN CS CR CW CO CE SR SS SR SA RJ CL",
    "c:SHUTDOWN-ACK": "IN IN CS CR CW CO CE ES CL SR CL RJ CL",
    "c:SHUTDOWN-COMPLETE": "CL CL CS CR CW CO CE ES SS SR CL RJ CL",
    "c:ERROR": "I1 IN CS CR CW CO CL ES SS SR SA RJ CL",
    "c:ABORT": "CL CL CL CL RJ CL CL CL CL CL CL CL CL",
    "s:DATA": "I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "s:INIT": "CW CW CW CW CW CW CW ES CW CW CW CW CW",
    "s:INIT-ACK": "CS CS CS CR CW CO CE ES SS SR SA RJ CL",
    "s:COOKIE-ECHO": "CE CE CE CE CE CE CE ES SS SR SA RJ CL",
    "s:COOKIE-ACK": "ES ES ES ES ES ES ES ES SS SR SA RJ CL",
    "s:SHUTDOWN": "SS SS SS SS SS SS SS SS SS SR SA RJ CL",
    "s:SHUTDOWN-ACK": "SA SA SA SA CW CO CE ES SA SA SA RJ CL",
    "s:SHUTDOWN-COMPLETE": "I1 IN CS CR CW CO CE ES SS SR SA RJ CL",
    "s:ERROR": "CL CL CL CL CW CO CE ES SS SR SA RJ CL",
    "s:ABORT": "RJ CL CL CL CL CL CL CL CL CL CL CL CL",
}
#                in: I1 IN CE ES SR CL
_ONE: Mapping[str, str] = {
    "c:DATA": "I1 IN CE ES SR CL",
    "c:INIT": "IN IN CE ES SR I1",
    "c:INIT-ACK": "CE CE CE ES SR CL",
    "c:COOKIE-ECHO": "ES ES CE ES SR CL",
    "c:COOKIE-ACK": "I1 IN ES ES SR CL",
    "c:SHUTDOWN": "I1 IN CE SR SR CL",
    "c:SHUTDOWN-ACK": "IN IN CE CL SR CL",
    "c:SHUTDOWN-COMPLETE": "CL CL CE ES CL CL",
    "c:ERROR": "I1 IN CE ES SR CL",
    "c:ABORT": "CL CL CL CL CL CL",
}
_TABLES = {"nat": (_NAT_WAYS, _NAT), "dr": (_ONE_WAY, _ONE), "tun": (_ONE_WAY, _ONE)}
_VERSIONS = {"nat": 4, "dr": 4, "tun": 6}


def _chunk(kind: str) -> Packet:
    """One chunk; a cookie has a length that is no multiple of 4, so that what follows is behind
    padding.
    """
    made = {
        "DATA": sctp.SCTPChunkData(data=b"lvs!"),
        "SACK": sctp.SCTPChunkSACK(),
        "INIT": sctp.SCTPChunkInit(init_tag=1),
        "INIT-ACK": sctp.SCTPChunkInitAck(init_tag=2),
        "COOKIE-ECHO": sctp.SCTPChunkCookieEcho(cookie=b"cookie" * 3),
        "COOKIE-ACK": sctp.SCTPChunkCookieAck(),
        "SHUTDOWN": sctp.SCTPChunkShutdown(),
        "SHUTDOWN-ACK": sctp.SCTPChunkShutdownAck(),
        "SHUTDOWN-COMPLETE": sctp.SCTPChunkShutdownComplete(),
        "ERROR": sctp.SCTPChunkError(),
        "ABORT": sctp.SCTPChunkAbort(),
    }
    return made[kind]


def _packet(bench: Bench, event: str, version: int, client: str, sport: int, port: int) -> Packet:
    net = NETS[version]
    if event[0] == "c":
        packet = net.packet(client, net.vip) / SCTP(sport=sport, dport=port, tag=2)
    else:
        packet = net.packet(net.server(1), client) / SCTP(sport=SERVER_PORT, dport=sport, tag=1)
    for kind in event[2:].split("+"):
        packet = packet / _chunk(kind)
    return packet


def _play(bench: Bench, version: int, port: int, stories: Sequence[Story]) -> list[str]:
    """Play associations side by side; the states that they are in afterwards, "gone" without an
    entry.
    """
    client = bench.client(version)
    for step in range(max(map(len, stories))):
        events = [(40000 + n, story[step]) for n, story in enumerate(stories) if step < len(story)]
        for side in ("c", "s"):
            packets = [
                _packet(bench, event, version, client, sport, port)
                for sport, event in events
                if event[0] == side
            ]
            if packets and side == "c":
                bench.from_client(*packets)
            elif packets:
                bench.from_server(1, *packets)
    by_port = {each.client.port: each.state for each in entries(bench, client, port=port)}
    return [by_port.get(40000 + number, "gone") for number in range(len(stories))]


@check(
    "states:sctp:{mode}:{who}-{chunk}",
    "{chunk} of the {who} takes an association of {mode} from every state into the one that the kernel's"
    " table names;"
    " ESTABLISHED ones alone are active",
    tags=("sctp", "{mode}"),
    spoilt_by=_LATE,
    each=[
        {"mode": mode, "event": event, "who": "client" if event[0] == "c" else "server", "chunk": event[2:]}
        for mode, (_, rows) in _TABLES.items()
        for event in rows
    ],
)
def table_row(bench: Bench, mode: str, event: str, who: str, chunk: str) -> None:
    ways, rows = _TABLES[mode]
    version, port = _VERSIONS[mode], bench.port()
    service = bench.service(mode, protocol=Protocol.SCTP, port=port, version=version, weights=(1,))
    rows_of = dict(zip(ways, rows[event].split(), strict=True))
    # By what is played, in which state it ends, and its name. Those that end in a short-lived state
    # are played by themselves, so that they are looked at soon.
    stories = [
        each
        for way, story in ways.items()
        for each in (
            ((*story, event), rows_of[way], f"{_STATES[way]} and {chunk}"),
            (story, way, f"{_STATES[way]} to start from"),
        )
    ]
    wrong = []
    for short in (False, True):
        group = [each for each in stories if (each[1] in _SHORT or each[0][:-1] in _SHORT_WAYS) == short]
        seen = _play(bench, version, port, [story for story, _, _ in group])
        wrong += [
            f"{name}: {_STATES[right]} expected, {is_now} seen"
            for (_, right, name), is_now in zip(group, seen, strict=True)
            if _STATES[right] != is_now
        ]
    must(not wrong, wrong[0] if wrong else "", *wrong)
    active = listing(bench, service.selector)[0].active
    wanted = sum(end == "ES" for _, end, _ in stories)
    must(active == wanted, f"{active} active, {wanted} are ESTABLISHED")


_BUNDLES = {
    "nat": {
        "cookie-and-abort": ((*_NAT_WAYS["CS"], "c:COOKIE-ECHO+ABORT"), "CLOSED"),
        "cookie-and-data": ((*_NAT_WAYS["CS"], "c:COOKIE-ECHO+DATA"), "C-REPLIED"),
        "server-ack-and-abort": ((*_NAT_WAYS["CR"], "s:COOKIE-ACK+ABORT"), "CLOSED"),
        "server-ack-and-data": ((*_NAT_WAYS["CR"], "s:COOKIE-ACK+DATA"), "ESTABLISHED"),
        "client-ack-and-abort": ((*_NAT_WAYS["CE"], "c:COOKIE-ACK+ABORT"), "CLOSED"),
        "client-ack-and-sack": ((*_NAT_WAYS["CE"], "c:COOKIE-ACK+SACK"), "ESTABLISHED"),
        "sack-and-data": ((*_NAT_WAYS["ES"], "c:SACK+DATA"), "ESTABLISHED"),
        "data-and-shutdown": ((*_NAT_WAYS["ES"], "c:DATA+SHUTDOWN"), "ESTABLISHED"),
        "shutdown-and-data": ((*_NAT_WAYS["ES"], "c:SHUTDOWN+DATA"), "S-RECEIVED"),
    },
    "dr": {
        "cookie-and-abort": ((*_ONE_WAY["I1"], "c:COOKIE-ECHO+ABORT"), "CLOSED"),
        "cookie-and-data": ((*_ONE_WAY["I1"], "c:COOKIE-ECHO+DATA"), "ESTABLISHED"),
        "ack-and-abort": ((*_ONE_WAY["CE"], "c:COOKIE-ACK+ABORT"), "CLOSED"),
        "ack-and-data": ((*_ONE_WAY["CE"], "c:COOKIE-ACK+DATA"), "ESTABLISHED"),
    },
}


@check(
    "states:sctp:{mode}:bundled:{bundle}",
    "of chunks bundled in one packet the first one decides the state, unless an ABORT is behind a cookie or"
    " its"
    " acknowledgement: {bundle} makes {state}",
    tags=("sctp", "{mode}"),
    spoilt_by=_LATE,
    each=[
        {"mode": mode, "bundle": bundle, "story": story, "state": state}
        for mode, bundles in _BUNDLES.items()
        for bundle, (story, state) in bundles.items()
    ],
)
def bundled(bench: Bench, mode: str, bundle: str, story: Story, state: str) -> None:
    port = bench.port()
    service = bench.service(mode, protocol=Protocol.SCTP, port=port, weights=(1,))
    seen = _play(bench, 4, port, [story])
    must(seen == [state], f"{state} expected, {seen[0]} seen")
    line = listing(bench, service.selector)[0]
    wanted = (1, 0) if state == "ESTABLISHED" else (0, 1)
    must((line.active, line.inactive) == wanted, f"active and inactive {wanted} expected", str(line))
