"""Topologies: which modes work in them, and what is said of those that no lab can have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import UsageError
from lvslab.kernels.needs import any_kernel
from lvslab.modes import mode_named
from lvslab.modes.base import ReplyPath, Role
from lvslab.plan import topology
from lvslab.plan.files import shipped_files
from lvslab.plan.make import plan_on
from lvslab.plan.spec import LabSpec
from lvslab.plan.topology import LvsTopo
from tests.unit.builders import MODES, plan


def refused(build: Callable[[LvsTopo], None], mode: str = "nat", **attributes: Any) -> str:
    """What is said of a topology of the user's own."""
    topo = type("Own", (LvsTopo,), {"reply_path": ReplyPath.DIRECTOR, "build": build, **attributes})()
    with pytest.raises(UsageError) as caught:
        plan_on("own", topo, LabSpec.of(mode), any_kernel())
    return str(caught.value)


# -- modes and topologies --------------------------------------------------------------------------

FITS = {
    "nat": {"nat", "synproxy"},
    "synproxy": {"nat", "synproxy"},
    "dr": {"dr", "tun"},
    "tun": {"dr", "tun"},
    "fullnat": {"fullnat"},
}
REASONS = {
    "nat": "NAT needs every reply to pass the director",
    "synproxy": "SYNPROXY needs every reply to pass the director",
    "dr": "in DR the real servers themselves answer the client",
    "tun": "in TUN the real servers themselves answer the client",
    "fullnat": "FullNAT needs local addresses of the director",
}


@pytest.mark.parametrize("where", MODES)
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_works_in_a_topology_or_is_refused_with_the_reason(mode: str, where: str) -> None:
    if mode in FITS and where in FITS[mode]:
        assert plan(mode, topology=where).topology == where
        return
    with pytest.raises(UsageError) as caught:
        plan(mode, topology=where)
    message = str(caught.value)
    assert (
        message.startswith(f"mode '{mode}': ")
        and f"topology '{where}'" in message
        and REASONS[mode] in message
    )
    advised = message.partition("or one of the modes: ")[2].split(", ")
    assert f"use --topology {mode}" in message and advised == [each for each in MODES if where in FITS[each]]


@pytest.mark.parametrize("mode", ["nat", "NAT", "FullNAT"])
def test_modes_are_found_in_any_case(mode: str) -> None:
    assert mode_named(mode).name == mode.lower()


def test_an_unknown_mode_is_refused_with_the_choice() -> None:
    with pytest.raises(
        UsageError, match="mode 'natt': no such forwarding mode; choose from: nat, dr, tun, fullnat, synproxy"
    ):
        mode_named("natt")


# -- wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, 51, 1000, True, "2", 1.5])
@pytest.mark.parametrize("what", ["clients", "servers"])
def test_a_wrong_number_of_nodes_is_refused_by_name(what: str, count: object) -> None:
    with pytest.raises(UsageError, match=f"^{what}: {count!r} is not a number from 1 to 50"):
        plan(**{what: count})


def test_an_unknown_topology_is_refused_with_the_shipped_ones() -> None:
    with pytest.raises(
        UsageError,
        match=r"topology 'star': no such topology or file; shipped: .*\bdr, fullnat, nat, .*\btun\b",
    ):
        plan(topology="star")


def test_a_parameter_that_a_topology_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(
        UsageError, match="topology 'nat' has no parameter 'colour'; it has: clients, servers"
    ):
        topology.load("nat", shipped_files("topologies"), {"colour": 3})


def _two_arms(topo: LvsTopo) -> None:
    topo.addSwitch("s1")
    topo.addSwitch("s2")
    topo.add_clients(1, "s1")
    topo.add_real_servers(1, "s2", "10.0.1.0/24", gateway="10.0.1.1")


def _with_director(
    topo: LvsTopo, name: str = "lvs", outside: str = "10.0.0.1/24", inside: str = "10.0.1.1/24"
) -> None:
    topo.add_node(name, Role.DIRECTOR)
    topo.attach(name, "s1", outside)
    topo.attach(name, "s2", inside)


def test_a_topology_without_a_director_is_refused() -> None:
    assert refused(_two_arms) == "topology 'own': has no director; a lab needs at least one"


def test_a_topology_with_three_directors_is_refused_by_their_names() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)
        _with_director(topo, "lvs2", "10.0.0.2/24", "10.0.1.2/24")
        _with_director(topo, "lvs3", "10.0.0.3/24", "10.0.1.3/24")

    assert "has 3 directors (lvs, lvs2, lvs3)" in refused(build)


def test_a_topology_without_clients_or_servers_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        topo.addSwitch("s1")
        topo.addSwitch("s2")
        _with_director(topo)

    assert refused(build) == "topology 'own': has no client; a lab needs at least one"


def test_a_node_without_a_role_is_refused_by_name() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)
        topo.addHost("spare")

    assert refused(build) == "topology 'own': node 'spare' has no role; add it with add_node(name, Role.…)"


def test_hosts_that_are_linked_directly_are_refused_by_name() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)
        topo.addLink("c1", "lvs")

    message = refused(build)
    assert (
        "'c1'" in message
        and "'lvs'" in message
        and "are linked directly; put a switch between them" in message
    )


def test_a_node_that_hangs_in_the_air_is_refused_by_name() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)
        topo.add_node("gw", Role.ROUTER)

    assert refused(build) == "topology 'own': 'gw' is not linked to any switch; attach it"


@pytest.mark.parametrize("address", ["10.0.0.300/24", "10.0.0.1/33", "lvs/24", "10.0.0/24"])
def test_an_address_that_is_none_is_refused_with_its_node(address: str) -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo, outside=address)

    assert (
        refused(build)
        == f"topology 'own': 'lvs' has the address '{address}', which is none; write it as 10.0.0.1/24"
    )


@pytest.mark.parametrize(
    ("address", "other"), [("10.0.0.101/24", "c1"), ("10.0.0.10/24", "the virtual address")]
)
def test_an_address_given_twice_is_refused_with_both_owners(address: str, other: str) -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo, outside=address)

    message = refused(build)
    assert f"address {address[:-3]} belongs to " in message and "lvs" in message and other in message


def test_a_local_address_that_is_taken_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)

    message = refused(build, "fullnat", reply_path=ReplyPath.NONE, local_addresses=("10.0.1.11",))
    assert "address 10.0.1.11 belongs to rs1 and a local address" in message


def test_a_director_that_the_clients_cannot_reach_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        topo.add_node("lvs", Role.DIRECTOR)
        topo.attach("lvs", "s2", "10.0.1.1/24")

    assert "director 'lvs' has no interface in the clients' network; attach it there" in refused(build)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no topology; give it a dictionary `topos"),
        ("topos = {'mine': int}\n", "topology 'mine' is not a subclass of lvslab.plan.topology.LvsTopo"),
        ("topos = {\n", "line 1: '{' was never closed"),
        ("\n\nraise RuntimeError('no luck')\n", "line 3: RuntimeError: no luck"),
    ],
)
def test_a_file_that_is_no_topology_is_refused_with_file_and_cause(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        topology.load(str(path), {}, {})
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_a_topology_file_of_ones_own_is_planned_like_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(shipped_files("topologies")["nat"].read_text())
    made = plan(topology=str(path), servers=4)
    assert made.topology == "nat" and len(made.addresses.rips) == 4


# -- gaps ------------------------------------------------------------------------------------------


def test_a_node_outside_its_switchs_subnet_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo, inside="10.9.9.1/24")

    assert "10.0.1.11/24 on 's2', which is 10.9.9.0/24" in refused(build)


def test_a_node_without_an_address_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        topo.add_node("lvs", Role.DIRECTOR)
        topo.addLink("s1", "lvs")
        topo.addLink("s2", "lvs")

    assert "lvs" in refused(build)
