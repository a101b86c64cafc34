"""Hops: the two frames of a packet's way over one link, found in a capture of all links."""

from __future__ import annotations

from dataclasses import replace

from lvslab.verify.path import hops
from lvslab.verify.verification import ports
from tests.unit.builders import conversation, datagram


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
