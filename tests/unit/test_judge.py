"""The judge: conversations that keep their mode's contract pass, no change of any packet goes
unseen, and a client without an answer is explained.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lvslab.verify.flows import Flow
from lvslab.verify.frames import Outer
from lvslab.verify.judge import arp_trespasses, judge, mark_unanswered
from lvslab.verify.verification import setting
from tests.unit import builders
from tests.unit.builders import CIP, CPORT, MODES, NOT_PROXIED, Conversation, conversation, datagram, ping

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
