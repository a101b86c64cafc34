"""What a lab is to be, in a user's words: what they become, and which are refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from lvslab.control.controls import CONTROLS, HealthSettings
from lvslab.errors import UsageError
from lvslab.ipvs.service import Scheduler
from lvslab.kernels.needs import Need
from lvslab.modes import mode_named
from lvslab.plan.redundancy import Redundancy
from lvslab.plan.spec import LabSpec
from tests.unit.builders import plan

NAT = mode_named("nat")
SAID = {
    "topology": ("office.py", "office.py"),
    "clients": (2, 2),
    "servers": (3, 3),
    "directors": (2, 2),
    "scheduler": ("wlc", Scheduler.WLC),
    "weights": ([1, 0], (1, 0)),
    "persistence": (300, 300),
    "ops": (True, True),
    "spare": (["rs1"], ("rs1",)),
    "control": ("mon", CONTROLS["mon"]),
    "health_settings": (HealthSettings(retries=2), HealthSettings(retries=2)),
    "redundancy": (Redundancy(sync=False), Redundancy(sync=False)),
    "without": (["arp"], ("arp",)),
    "sysctls": ({"net.ipv4.vs.expire_nodest_conn": 1}, {"net.ipv4.vs.expire_nodest_conn": 1}),
    "more_needs": (["netem"], (Need.NETEM,)),
    "alike": (["dr", "NAT"], (mode_named("dr"), NAT)),
    "kernels": (["uml"], ("uml",)),
    "name": ("second", "second"),
    "own_kernel": (True, True),
    "breaks": (["rs2"], ("rs2",)),
    "keepalived": (["a.conf"], ("a.conf",)),
}
"""Every option: what a user's file may say, and what it means."""

WRONG = {
    "topology": 1,
    "scheduler": "fair",
    "weights": 3,
    "persistence": "300",
    "ops": "yes",
    "spare": "rs1",
    "control": "nagios",
    "health_settings": {"retries": 2},
    "redundancy": True,
    "without": "arp",
    "sysctls": ["net.ipv4.vs.expire_nodest_conn=1"],
    "more_needs": "netem",
    "alike": ["tcp"],
    "kernels": "uml",
    "name": 2,
    "own_kernel": "uml",
    "breaks": [1],
    "keepalived": "a.conf",
}


def test_the_examples_are_of_every_option() -> None:
    assert ["mode", *SAID] == [option.name for option in fields(LabSpec)]
    assert set(SAID) - set(WRONG) == {"clients", "servers", "directors"}  # the topology's to judge


@pytest.mark.parametrize("name", SAID)
def test_an_option_is_named_where_scenarios_are_described(name: str) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "scenarios.md"
    taken = page.read_text().partition("`log.lab` takes ")[2].partition("\n\n")[0]
    assert f"`{name}`" in taken


@pytest.mark.parametrize("name", SAID)
def test_an_option_is_read_as_it_is_meant(name: str) -> None:
    said, meant = SAID[name]
    spec = LabSpec.of("nat", **{name: said})
    assert spec == replace(LabSpec(NAT), **{name: meant}) != LabSpec(NAT)
    assert type(getattr(spec, name)) is type(meant)


@pytest.mark.parametrize("name", SAID)
def test_none_is_as_if_nothing_had_been_said(name: str) -> None:
    assert LabSpec.of(NAT, **{name: None}) == LabSpec(NAT)


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_an_option_cannot_have_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        LabSpec.of("nat", **{name: WRONG[name]})
    assert {"alike": "mode 'tcp'"}.get(name, name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", 3, "a lab with weights=3: give a list of whole numbers; docs/testing.md says"),
        ("more_needs", ["teleport"], "more_needs 'teleport': no such capability of a kernel; choose from: "),
        ("scheduler", "fair", "scheduler 'fair': no such scheduler; choose from: rr, wrr, "),
        ("sevrers", 3, "a lab has no option 'sevrers'; it has: topology, clients, servers, directors, "),
    ],
)
def test_what_is_refused_is_said_with_the_choice(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        LabSpec.of(NAT, **{name: value})
    assert str(caught.value).startswith(message)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UsageError, match="mode 'natt': no such forwarding mode"):
        LabSpec.of("natt")


def test_a_node_that_is_to_be_broken_must_be_there() -> None:
    assert plan(breaks=["rs2", "lvs"]).name == "nat"
    with pytest.raises(UsageError) as caught:
        plan(breaks=["rs2", "rs3"], name="own")
    assert str(caught.value) == "lab 'own': there is no node 'rs3' to break; nodes: c1, lvs, rs1, rs2"
