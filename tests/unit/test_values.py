"""Values that differ from student to student, in every lab's text, scripts, exam and plan."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from lvslab.kernels.needs import any_kernel
from lvslab.training.exercise import load, shipped
from lvslab.training.network import plan_exercise
from lvslab.training.values import Values, draw

WRITTEN = re.compile(r"(?<![\d.])10\.0\.\d")
MINE, YOURS = Values(37), Values(91, swapped=True)
BY_SWAPPING = {"drained-server", "deleted-server"}
ALIKE = {
    "no-forwarding",
    "dr-arp-flux",
    "dr-arp-false-cure",
    "tun-rp-filter",
    "tun-mtu",
    "slow-reconnect",
    "idle-cut",
    "sync-silent",
}
"""Labs that are mended by a setting, whatever the addresses are: one's commands would mend
another's.
"""


@pytest.mark.parametrize("name", shipped())
def test_nothing_of_a_lab_keeps_the_addresses_of_its_file(name: str) -> None:
    assert WRITTEN.search(load(name).file.read_text()), "precondition: it has some"
    lab = load(name, MINE)
    plan = plan_exercise(lab, any_kernel(), None, MINE)
    texts = (lab.page, lab.title, *lab.hints, *lab.prepare.values(), *lab.solution.values())
    assert not WRITTEN.search("\n".join((*texts, repr(replace(plan, topo=None)))))
    assert plan.addresses.vip.startswith("10.37.")


@pytest.mark.parametrize("name", sorted({*shipped()} - ALIKE))
def test_what_solves_one_students_lab_is_not_what_solves_anothers(name: str) -> None:
    one, other = load(name, MINE), load(name, YOURS)
    assert one.solution != other.solution or one.lab != other.lab


@pytest.mark.parametrize("name", sorted(ALIKE))
def test_labs_mended_by_a_setting_are_named_as_such(name: str) -> None:
    assert load(name, MINE).solution == load(name, YOURS).solution


def test_drawings_keep_their_columns() -> None:
    text = "rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   real servers"
    assert MINE.in_text(text) == "rs1 10.37.1.11:8080  rs2 10.37.1.12:8080  real servers"
    assert MINE.in_text("kernel 6.10.0.1, 110.0.0.1") == "kernel 6.10.0.1, 110.0.0.1"


def test_the_other_server_is_the_broken_one() -> None:
    swapped = load("wrong-gateway", Values(37, swapped=True))
    assert swapped.prepare == {"rs1": "ip route replace default via 10.37.1.254"}
    assert swapped.solution == {"rs1": "ip route replace default via 10.37.1.1"}
    assert load("wrong-gateway", Values(37)).solution == {"rs2": "ip route replace default via 10.37.1.1"}


def test_everybody_draws_another_network_and_a_newcomer_changes_nobodys() -> None:
    class_ = [f"student{number}" for number in range(120)]
    drawn = draw(b"secret", class_)
    assert len({each.network for each in drawn.values()}) == len(class_)
    assert {each.swapped for each in drawn.values()} == {True, False}
    assert {**draw(b"secret", [*class_, "late"]), "late": None} == {**drawn, "late": None}
    assert draw(b"another", class_) != drawn
