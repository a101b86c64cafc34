"""The judge finds a single deviation from a mode's contract, at the packet that deviates and with
the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from lvslab.verify.frames import Outer
from tests.unit import builders
from tests.unit.builders import CIP, MODES, NOT_PROXIED, TWO_ARMS, Conversation, conversation

Deviation = Callable[[Conversation], None]


def _change(name: str, **fields: object) -> Deviation:
    return lambda talk: talk.change(name, **fields)


def _all(*deviations: Deviation) -> Deviation:
    def do(talk: Conversation) -> None:
        for each in deviations:
            each(talk)

    return do


def _to(name: str, receiver: str | None) -> Deviation:
    return lambda talk: talk.redirect(name, receiver)


def _cut(name: str) -> Deviation:
    return lambda talk: talk.cut(name)


def _moved(names: tuple[str, ...], address: str) -> Deviation:
    """From here on the director hands the connection to another real server."""

    def do(talk: Conversation) -> None:
        for name in names:
            talk.redirect(name, "rs2")
            if str(talk.plan.mode.name) != "dr":
                talk.change(name, dst=address)

    return do


def _reply_over_director(talk: Conversation) -> None:
    """DR: the real server's gateway is the director, which passes the answer on."""
    answer = talk.hops["answer.0"]
    talk.redirect("answer.0", "lvs")
    talk.add("answer", "lvs", "c1", replace(answer.packet, ttl=63))
    talk.hops["answer.1"] = replace(talk.hops["answer.1"], t=answer.t + 100)


def _shortcut(talk: Conversation) -> None:
    """The client's SYN goes to the real server, which answers ARP for the virtual address."""
    talk.redirect("syn.0", "rs1")
    talk.cut("syn.1")


def _early_syn(talk: Conversation) -> None:
    talk.hops["inner-syn.0"] = replace(talk.hops["inner-syn.0"], t=talk.hops["cookie.0"].t + 10)


def _forwarded_syn(talk: Conversation) -> None:
    """The proxy does not work: the client's own SYN goes through."""
    talk.end_after("syn.0")
    packet = replace(talk.hops["syn.0"].packet, dst="10.0.1.11", dport=8080, ttl=63)
    talk.add("syn", "lvs", "rs1", packet)


def _director_resets(talk: Conversation) -> None:
    talk.end_after("ack.1")
    talk.add("reset", "lvs", "c1", builders.back("R", seq=1))


def _director_asks(talk: Conversation) -> None:
    talk.end_after("syn.0")
    talk.add("strange", "lvs", "rs1", builders.tcp("S", dst="10.0.1.11", dport=8080, seq=4711))


WRONG_OUTER = Outer("10.0.0.99", "10.0.2.11", 4, 64)
NEVER_LEFT = "arrived at lvs and never left it; expected next: director to real server"

DEVIATIONS: list[tuple[str, str, Deviation, str]] = [
    # wrong addresses on the way in
    (
        "nat",
        "syn.1",
        _change("syn.1", src="10.0.1.1"),
        "source is 10.0.1.1:40001, expected CIP 10.0.0.201:40001",
    ),
    (
        "nat",
        "get.1",
        _change("get.1", dst="10.0.0.10"),
        "destination is 10.0.0.10:8080, expected RIP one of 10.0.1.11, 10.0.1.12",
    ),
    ("nat", "get.1", _change("get.1", dport=80), "destination is 10.0.1.11:80, expected RIP .*, port 8080"),
    ("dr", "get.1", _change("get.1", src="10.0.0.1"), "source is 10.0.0.1:40001, expected CIP"),
    (
        "dr",
        "get.1",
        _change("get.1", dst="10.0.0.11"),
        "destination is 10.0.0.11:80, expected VIP 10.0.0.10:80",
    ),
    ("dr", "get.1", _change("get.1", dport=8080), "destination is 10.0.0.10:8080, expected VIP 10.0.0.10:80"),
    ("tun", "get.1", _change("get.1", dst="10.0.2.11"), "destination is 10.0.2.11:80, expected VIP"),
    (
        "fullnat",
        "get.1",
        _change("get.1", src=CIP),
        "source is 10.0.0.201:1025, expected LIP one of 10.0.1.201, 10.0.1.202",
    ),
    ("fullnat", "get.1", _change("get.1", dst="10.0.1.99"), "destination is 10.0.1.99:8080, expected RIP"),
    ("synproxy", "get.1", _change("get.1", src="10.0.1.1"), "source is 10.0.1.1:40001, expected CIP"),
    (
        "synproxy",
        "inner-syn.0",
        _change("inner-syn.0", dst="10.0.1.99"),
        "destination is 10.0.1.99:8080, expected RIP",
    ),
    # wrong addresses on the way back
    (
        "nat",
        "answer.1",
        _change("answer.1", src="10.0.1.11", sport=8080),
        "source is 10.0.1.11:8080, expected VIP 10.0.0.10:80",
    ),
    (
        "nat",
        "answer.1",
        _change("answer.1", sport=8080),
        "source is 10.0.0.10:8080, expected VIP 10.0.0.10:80",
    ),
    (
        "fullnat",
        "answer.1",
        _change("answer.1", dst="10.0.1.201"),
        "destination is 10.0.1.201:40001, expected CIP 10.0.0.201:40001",
    ),
    (
        "fullnat",
        "answer.1",
        _change("answer.1", dport=1025),
        "destination is 10.0.0.201:1025, expected CIP 10.0.0.201:40001",
    ),
    ("tun", "answer.1", _change("answer.1", src="10.0.2.11"), "source is 10.0.2.11:80, expected VIP"),
    # tunnels
    ("tun", "get.1", _change("get.1", outer=None), "not tunnelled; expected protocol 4 from DIP to RIP"),
    (
        "tun",
        "get.1",
        _change("get.1", outer=WRONG_OUTER),
        r"outer header is 10.0.0.99 > 10.0.2.11 protocol 4, expected 10.0.0.1 > RIP",
    ),
    (
        "tun",
        "get.2",
        _change("get.2", outer=replace(WRONG_OUTER, src="10.0.0.1", dst="10.0.0.10")),
        "outer header is 10.0.0.1 > 10.0.0.10",
    ),
    (
        "tun",
        "get.1",
        _change("get.1", outer=Outer("10.0.0.1", "10.0.2.11", 47, 64)),
        "protocol 47, expected 10.0.0.1 > RIP protocol 4",
    ),
    (
        "tun",
        "answer.0",
        _change("answer.0", outer=Outer("10.0.2.11", CIP, 4, 64)),
        "tunnelled .10.0.2.11 > 10.0.0.201.; expected no",
    ),
    *[
        (
            mode,
            "get.1",
            _change("get.1", outer=Outer("10.0.0.1", "10.0.1.11", 4, 64)),
            "tunnelled .* expected no outer header",
        )
        for mode in MODES
        if mode != "tun"
    ],
    # TTL, options, checksums
    *[
        (mode, "get.1", _change("get.1", ttl=64), r"TTL is 64, expected 63 \(lvs takes 1 off\)")
        for mode in NOT_PROXIED
    ],
    *[(mode, "get.1", _change("get.1", ttl=62), "TTL is 62, expected 63") for mode in NOT_PROXIED],
    ("nat", "answer.1", _change("answer.1", ttl=64), "TTL is 64, expected 63"),
    (
        "tun",
        "get.2",
        _change("get.2", outer=Outer("10.0.0.1", "10.0.2.11", 4, 64)),
        r"TTL is 64, expected 63 \(gw takes 1 off\)",
    ),
    ("tun", "answer.1", _change("answer.1", ttl=64), r"TTL is 64, expected 63 \(gw takes 1 off\)"),
    *[
        (mode, "syn.1", _change("syn.1", options=b"\x02\x04\x05\xb4"), "TCP options changed")
        for mode in NOT_PROXIED
    ],
    *[
        (mode, "answer.1", _change("answer.1", options=b""), "TCP options changed")
        for mode in ("nat", "fullnat", "tun")
    ],
    *[
        (mode, name, _change(name, checksums=False), "a checksum is wrong")
        for mode in MODES
        for name in ("get.0", "get.1", "answer.0")
    ],
    # who hands it to whom
    ("dr", "syn.0", _shortcut, "handed to rs1 .real server, MAC .*; expected: to director"),
    ("dr", "answer.0", _reply_over_director, "handed to lvs .director, .*; expected: to client"),
    ("dr", "get.1", _to("get.1", "c2"), "handed to c2 .client, .*; expected: to real server"),
    ("tun", "answer.1", _to("answer.1", "lvs"), "handed to lvs .director, .*; expected: to client"),
    (
        "nat",
        "answer.0",
        _all(_to("answer.0", "rs2"), _cut("answer.1")),
        "handed to rs2 .real server, .*; expected: to director",
    ),
    (
        "nat",
        "answer.1",
        _all(_to("answer.1", None)),
        "went to MAC 02:ff:ff:ff:ff:ff, which nobody .*; expected: to client",
    ),
    *[
        (
            mode,
            "get.0",
            _all(_to("get.0", None), _cut("get.1")),
            "went to MAC 02:ff:ff:ff:ff:ff, which nobody .*; expected: to director",
        )
        for mode in MODES
    ],
    *[
        (
            mode,
            "get.1",
            _all(_to("get.1", None), _cut("get.2")),
            "went to MAC 02:ff:ff:ff:ff:ff, which nobody .*; expected: to real server",
        )
        for mode in MODES
    ],
    *[
        (
            mode,
            "answer.0",
            _all(_to("answer.0", None), _cut("answer.1")),
            "went to MAC 02:ff:ff:ff:ff:ff, which nobody",
        )
        for mode in MODES
    ],
    # swallowed
    *[(mode, "get.0", _cut("get.1"), NEVER_LEFT) for mode in MODES],
    *[
        (
            mode,
            "answer.0",
            _cut("answer.1"),
            "arrived at lvs and never left it; expected next: director to client",
        )
        for mode in TWO_ARMS
    ],
    (
        "tun",
        "get.1",
        _cut("get.2"),
        "arrived at gw and never left it; expected next: director to real server",
    ),
    (
        "tun",
        "answer.0",
        _cut("answer.1"),
        "arrived at gw and never left it; expected next: real server to client",
    ),
    # one connection, one server
    *[
        (mode, "get.1", _moved(("get.1",), "10.0.1.12"), "went to rs2, but this connection belongs to rs1")
        for mode in (*TWO_ARMS, "dr")
    ],
    (
        "tun",
        "get.1",
        _change("get.1", outer=Outer("10.0.0.1", "10.0.2.12", 4, 64)),
        "went to rs2, but this connection belongs to rs1",
    ),
    # FullNAT
    (
        "fullnat",
        "get.1",
        _change("get.1", src="10.0.1.202"),
        "source is 10.0.1.202:1025, expected LIP 10.0.1.201:1025",
    ),
    (
        "fullnat",
        "get.1",
        _change("get.1", sport=1026),
        "source is 10.0.1.201:1026, expected LIP 10.0.1.201:1025",
    ),
    # SYN proxy
    (
        "synproxy",
        "inner-syn.0",
        _early_syn,
        "a SYN reached for a real server before the client's ACK proved the cookie",
    ),
    (
        "synproxy",
        "syn.1",
        _forwarded_syn,
        "a SYN reached for a real server before the client's ACK proved the cookie",
    ),
    (
        "synproxy",
        "answer.1",
        _change("answer.1", seq=4711),
        "sequence numbers shifted by 4290, but by 4000 before",
    ),
    (
        "synproxy",
        "fin.1",
        _change("fin.1", ack=1),
        "sequence numbers shifted by .*, but by 4000 before in the same connection",
    ),
    # packets of the director's own
    (
        "nat",
        "reset.0",
        _director_resets,
        "the director made this packet itself; in this mode it only forwards",
    ),
    ("dr", "reset.0", _director_resets, "the director made this packet itself"),
    ("nat", "syn.0", _director_asks, NEVER_LEFT),
]


@pytest.mark.parametrize(
    ("mode", "name", "deviate", "why"),
    DEVIATIONS,
    ids=[f"{number}-{each[0]}-{each[1]}" for number, each in enumerate(DEVIATIONS)],
)
def test_a_deviation_is_found_at_its_packet(mode: str, name: str, deviate: Deviation, why: str) -> None:
    talk = conversation(mode)
    deviate(talk)
    found = talk.wrong()
    assert found is not None, "not found"
    assert found[0] == name and re.search(why, found[1]), found
