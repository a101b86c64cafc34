"""The judge: conversations that keep their mode's contract pass, and a single deviation is found at
the packet that deviates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import builders
import pytest
from builders import CIP, CPORT, MODES, TWO_ARMS, Conversation, conversation, datagram, ping
from hypothesis import assume, given
from hypothesis import strategies as st

from lvslab.verify.frames import Outer
from lvslab.verify.judge import Flow, arp_trespasses, judge, mark_unanswered
from lvslab.verify.path import hops
from lvslab.verify.verification import ports, setting

NOT_PROXIED = tuple(mode for mode in MODES if mode != "synproxy")


# -- what must pass --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_conversation_that_keeps_the_contract_passes_packet_by_packet(mode: str) -> None:
    talk = conversation(mode)
    flow = talk.judged()
    assert [(each.hop.t, each.verdict) for each in flow.hops] == [(hop.t, "ok") for hop in talk.hops.values()]
    assert (flow.server, flow.client, flow.service) == ("rs1", (CIP, CPORT), ("10.0.0.10", 80))


@pytest.mark.parametrize("mode", NOT_PROXIED)
def test_a_datagram_that_keeps_the_contract_passes(mode: str) -> None:
    talk = datagram(mode)
    assert builders.packets(talk.judged()) == {"ok": len(talk.hops)} and talk.judged().server == "rs1"


@pytest.mark.parametrize("mode", MODES)
def test_the_director_answers_a_ping_itself(mode: str) -> None:
    flow = ping(mode).judged()
    assert builders.packets(flow) == {"ok": 2} and flow.server is None


@pytest.mark.parametrize("mode", MODES)
def test_flows_in_one_capture_are_told_apart(mode: str) -> None:
    second = conversation(mode, server="rs2", isn=77)
    for name, hop in second.hops.items():
        for end in ("sport", "dport"):
            if getattr(hop.packet, end) in (CPORT, 1025):
                second.change(name, **{end: 50000})
    flows = builders.joined(conversation(mode), second).flows()
    assert [(flow.client[1], flow.server, flow.wrong) for flow in flows] == [
        (CPORT, "rs1", None),
        (50000, "rs2", None),
    ]


@given(mode=st.sampled_from(MODES), isn=st.sampled_from([0, 1, 2**32 - 40]))
def test_sequence_numbers_may_begin_anywhere(mode: str, isn: int) -> None:
    assert conversation(mode, isn=isn).wrong() is None


def test_a_retransmission_is_a_journey_of_its_own() -> None:
    talk = conversation("nat")
    again = builders.Conversation(talk.plan)
    for name, hop in talk.hops.items():
        again.hops[name] = hop
        if name in ("syn.0", "syn.1"):
            again.hops[f"again.{name[-1]}"] = replace(
                hop, t=hop.t + (500_000 if name == "syn.0" else 600_000)
            )
    assert builders.packets(again.judged()) == {"ok": len(talk.hops) + 2}


@pytest.mark.parametrize(
    ("mode", "name", "rewritten"),
    [
        ("nat", "get.1", ("dst", "dport")),
        ("nat", "answer.1", ("src", "sport")),
        ("dr", "get.1", ()),
        ("tun", "get.1", ("outer",)),
        ("tun", "get.2", ()),
        ("fullnat", "get.1", ("src", "dst", "sport", "dport")),
        ("fullnat", "answer.1", ("src", "dst", "sport", "dport")),
        ("synproxy", "get.1", ("dst", "dport", "ack")),
        ("synproxy", "answer.1", ("src", "sport", "seq")),
    ],
)
def test_what_a_hop_rewrote_is_named(mode: str, name: str, rewritten: tuple[str, ...]) -> None:
    talk = conversation(mode)
    judged = next(each for each in talk.judged().hops if each.hop.t == talk.hops[name].t)
    assert judged.rewritten == rewritten


# -- what must be found ----------------------------------------------------------------------------

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


def test_a_reply_that_goes_round_the_director_in_nat_is_found() -> None:
    talk = conversation("nat")
    talk.end_after("answer.0")
    talk.hops["answer.0"] = replace(
        talk.hops["answer.0"], receiver="c1"
    )  # no shipped network lets it, so there are no frames for it
    (flow,) = judge(talk.hops.values(), setting(talk.plan))
    assert flow.wrong and flow.wrong.hop.packet.payload == builders.ANSWER
    assert "handed to c1 (client, MAC" in flow.wrong.why and "expected: to director" in flow.wrong.why


_FORWARDED = {mode: [name for name in conversation(mode).hops if name.endswith(".1")] for mode in NOT_PROXIED}
_FIELDS = {
    "src": "192.0.2.7",
    "dst": "192.0.2.7",
    "sport": 7,
    "dport": 7,
    "ttl": 33,
    "seq": 123456,
    "ack": 123456,
    "flags": "RA",
    "payload": b"other",
    "options": b"\x01",
    "checksums": False,
    "outer": Outer("192.0.2.7", "192.0.2.8", 4, 64),
}


@given(data=st.data(), mode=st.sampled_from(NOT_PROXIED), field=st.sampled_from(sorted(_FIELDS)))
def test_no_field_of_a_forwarded_packet_can_be_changed_unseen(
    data: st.DataObject, mode: str, field: str
) -> None:
    name = data.draw(st.sampled_from(_FORWARDED[mode]))
    assume(
        (mode, name, field) != ("fullnat", "syn.1", "sport")
    )  # the first packet may choose any port of the local address
    talk = conversation(mode)
    talk.change(name, **{field: _FIELDS[field]})
    found = talk.wrong()
    # Where the packet is no longer the same one, it is the packet before that got lost.
    assert found is not None and found[0] in (name, name[:-1] + "0"), (mode, name, field, found)


@given(
    mode=st.sampled_from(NOT_PROXIED),
    field=st.sampled_from(["src", "dst", "sport", "dport", "ttl", "payload", "checksums", "outer"]),
    name=st.sampled_from(["ask.1", "say.1"]),
)
def test_no_field_of_a_forwarded_datagram_can_be_changed_unseen(mode: str, field: str, name: str) -> None:
    talk = datagram(mode)
    assume(name in talk.hops and (mode, name, field) != ("fullnat", "ask.1", "sport"))
    talk.change(name, **{field: _FIELDS[field]})
    found = talk.wrong()
    assert found is not None and found[0] in (name, name[:-1] + "0"), (mode, name, field, found)


@given(data=st.data(), mode=st.sampled_from(NOT_PROXIED))
def test_a_packet_lost_anywhere_between_the_ends_is_found_where_it_was_last_seen(
    data: st.DataObject, mode: str
) -> None:
    talk = conversation(mode)
    name = data.draw(st.sampled_from([each for each in talk.hops if not each.endswith(".0")]))
    talk.cut(name)
    packet, _, number = name.rpartition(".")
    found = talk.wrong()
    assert found is not None and found[0] == f"{packet}.{int(number) - 1}" and "never left" in found[1]


# -- no answer -------------------------------------------------------------------------------------


def _unanswered(talk: Conversation) -> Flow:
    flow = talk.judged()
    mark_unanswered(flow, setting(talk.plan))
    return flow


def test_a_server_that_never_answers_is_marked_at_the_packet_that_reached_it() -> None:
    talk = conversation("nat")
    talk.end_after("syn.1")
    flow = _unanswered(talk)
    assert flow.wrong is flow.hops[1]
    assert (
        "nothing followed that would have answered the client; expected next: real server to director: RIP"
        " > CIP" in flow.hops[1].why
    )


def test_a_conversation_that_breaks_off_is_marked_at_its_last_packet() -> None:
    talk = conversation("dr")
    talk.end_after("get.1")
    flow = _unanswered(talk)
    assert flow.wrong is flow.hops[-1] and "nothing followed" in flow.hops[-1].why


def test_a_packet_that_nobody_took_explains_the_missing_answer_itself() -> None:
    talk = conversation("dr")
    talk.end_after("syn.1")
    talk.redirect("syn.1", None)
    flow = _unanswered(talk)
    assert [each.verdict for each in flow.hops] == ["ok", "wrong"] and "went to MAC" in flow.hops[1].why


def test_an_answer_from_the_wrong_address_leaves_the_client_unanswered() -> None:
    talk = conversation("dr")
    talk.end_after("syn-ack.0")
    talk.change("syn-ack.0", src="10.0.0.11")
    assert talk.judged().hops[-1].verdict == "wrong"
    assert _unanswered(talk).wrong is not None


def test_nothing_is_marked_in_a_flow_without_packets() -> None:
    flow = Flow("TCP", (CIP, CPORT), ("10.0.0.10", 80))
    mark_unanswered(flow, setting(builders.lab("nat")))
    assert flow.wrong is None


# -- ARP -------------------------------------------------------------------------------------------


def test_only_frames_in_which_another_claims_the_virtual_address_trespass() -> None:
    mine, other = "02:00:00:00:02:00", "02:00:00:00:05:00"
    frames = [
        builders.arp("lvs-eth0", mine, "10.0.0.10"),
        builders.arp("rs1-eth0", other, "10.0.0.11"),
        builders.arp("rs1-eth0", other, "10.0.0.10"),
        builders.arp("c1-eth0", other, "10.0.0.10", sent=False),  # the same frame where it arrives
        # a gratuitous request claims it too
        builders.arp("rs2-eth0", other, "10.0.0.10", "who-has"),
        *conversation("nat").frames(),
    ]
    assert arp_trespasses(frames, "10.0.0.10", [mine]) == [frames[2], frames[4]]


# -- hops ------------------------------------------------------------------------------------------


def test_each_hop_knows_its_two_frames_and_flooded_copies_are_passed_over() -> None:
    talk = conversation("nat")
    frames = talk.frames()
    found = hops(frames, ports(talk.plan))
    assert [(hop.t, hop.sender, hop.receiver) for hop in found] == [
        (hop.t, hop.sender, hop.receiver) for hop in talk.hops.values()
    ]
    for hop in found:
        sent, received = (frames[number - 1] for number in hop.frames)
        assert (
            sent.sent and not received.sent and sent.raw == received.raw and received.eth_dst == hop.eth_dst
        )


def test_equal_frames_are_paired_in_their_order() -> None:
    talk = datagram("nat")
    one = replace(talk.frames()[0], raw=b"same")
    arrived = replace(one, interface="lvs-eth0", sent=False)
    frames = [
        replace(each, number=number, t=number)
        for number, each in enumerate((one, one, arrived, arrived), start=1)
    ]
    assert [hop.frames for hop in hops(frames, ports(talk.plan))] == [(1, 3), (2, 4)]


def test_a_frame_that_arrives_in_another_network_is_not_the_same_frame() -> None:
    talk = datagram("nat")
    sent = talk.frames()[0]
    elsewhere = replace(sent, interface="lvs-eth1", sent=False, eth_dst="02:00:00:00:03:01")
    (hop,) = hops([sent, elsewhere], ports(talk.plan))
    assert hop.receiver is None


# -- gaps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["dr", "tun"])
def test_a_straight_reply_from_the_wrong_source_is_found(mode: str) -> None:
    talk = conversation(mode)
    talk.change("got.0", src=talk.plan.addresses.rips["rs1"])
    talk.cut("got.1")
    assert talk.wrong() is not None


@pytest.mark.parametrize("mode", ["nat", "fullnat"])
def test_a_packet_for_one_server_in_a_frame_to_another_is_found_at_once(mode: str) -> None:
    talk = conversation(mode)
    talk.redirect("syn.1", "rs2")
    assert (talk.wrong() or ("",))[0] == "syn.1"


@pytest.mark.parametrize(("mode", "name"), [("nat", "answer.1"), ("dr", "answer.0"), ("tun", "answer.1")])
def test_an_answer_handed_to_another_client_is_found(mode: str, name: str) -> None:
    talk = conversation(mode)
    talk.redirect(name, "c2")
    assert talk.wrong() is not None


def test_a_router_that_changes_the_packet_inside_the_tunnel_is_found() -> None:
    talk = conversation("tun")
    talk.change("get.2", ttl=11)
    assert talk.wrong() is not None


@pytest.mark.parametrize("name", ["cookie.0", "inner-syn.0", "inner-ack.0", "window.0"])
def test_a_wrong_checksum_in_a_packet_of_the_proxys_own_is_found(name: str) -> None:
    talk = conversation("synproxy")
    talk.change(name, checksums=False)
    assert talk.wrong() is not None


@pytest.mark.parametrize(
    ("name", "field"),
    [("cookie.0", "dst"), ("cookie.0", "dport"), ("inner-syn.0", "src"), ("thanks.1", "sport")],
)
def test_a_packet_of_the_proxy_to_or_from_the_wrong_address_is_found(name: str, field: str) -> None:
    talk = conversation("synproxy")
    talk.change(name, **{field: "10.0.0.99" if field in ("src", "dst") else 7})
    assert talk.wrong() is not None


@pytest.mark.xfail(strict=True, reason="any bare ACK whose TTL is not one less counts as made by the proxy")
def test_a_proxy_that_does_not_take_the_ttl_off_a_bare_ack_is_found() -> None:
    talk = conversation("synproxy")
    talk.change("thanks.1", ttl=64)
    assert talk.wrong() is not None


@pytest.mark.xfail(
    strict=True,
    reason="such a packet matches no journey, so the reason says that it 'never left' the director",
)
def test_a_director_that_rewrites_the_clients_port_in_nat_is_told_so() -> None:
    talk = conversation("nat")
    talk.change("get.1", sport=7)
    found = talk.wrong()
    assert found is not None and found[0] == "get.1" and "source" in found[1]
