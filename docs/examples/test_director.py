"""Regression tests of a director, as a user writes them: docs/testing.md explains them. Run: pytest
docs/examples/test_director.py
"""

import pytest

from lvslab import faults
from lvslab.testing.lab import LabUnderTest


@pytest.mark.lvs(servers=3)
def test_round_robin(lvs_lab: LabUnderTest) -> None:
    answers = lvs_lab.get(6)
    assert set(answers[:3]) == {"rs1", "rs2", "rs3"}
    assert answers[3:] == answers[:3]


@pytest.mark.lvs(mode="dr")
def test_packets_reach_the_server_unchanged(lvs_lab: LabUnderTest) -> None:
    with lvs_lab.capture() as packets:
        server = lvs_lab.get()[0]
    arrived = [frame.ip for frame in packets.at(server, sent=False) if frame.ip]
    assert {packet.dst for packet in arrived} == {lvs_lab.vip}


@pytest.mark.lvs(modes=["nat", "tun"])
def test_packet_contract(lvs_lab: LabUnderTest) -> None:
    lvs_lab.verify()


def test_drained_server_gets_nothing_new(lvs_lab: LabUnderTest) -> None:
    with faults.weight_zero(lvs_lab, "rs1"):
        assert lvs_lab.weights() == {"rs1": 0, "rs2": 1}
        assert set(lvs_lab.get(4)) == {"rs2"}


@pytest.mark.lvs(control="keepalived")
def test_dead_server_is_taken_out(lvs_lab: LabUnderTest) -> None:
    with lvs_lab.trial(rate=200) as trial, faults.server_killed(lvs_lab, "rs1") as fault:
        assert trial.until_whole()
    outage = trial.outage(fault.t)
    assert outage is None or outage.seconds < 5
