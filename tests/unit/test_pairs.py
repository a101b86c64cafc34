"""Plans of a pair of directors: who has which address, what moves between them, what is refused,
and the files that keepalived gets.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pytest

from lvslab.control.controls import Check, HealthSettings
from lvslab.control.keepalived import CONFIGURATION, keepalived_files
from lvslab.errors import UsageError
from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import Protocol
from lvslab.kernels.needs import any_kernel
from lvslab.modes.base import Role
from lvslab.plan.make import make_plan
from lvslab.plan.plan import LabPlan
from lvslab.plan.redundancy import Redundancy
from lvslab.plan.spec import LabSpec
from tests.unit.builders import MODES, TWO_ARMS

VIP, GATEWAY, LIPS = "10.0.0.10/32", "10.0.1.254/24", ("10.0.1.201/24", "10.0.1.202/24")


def pair(mode: str = "nat", **options: Any) -> LabPlan:
    return make_plan(LabSpec.of(mode, directors=2, **options), any_kernel("debian/trixie"))


def single(mode: str = "nat", **options: Any) -> LabPlan:
    return make_plan(LabSpec.of(mode, **options), any_kernel())


def refused(make: Any, mode: str = "nat", **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        make(mode, **options)
    return str(caught.value)


def keepalived_of(made: LabPlan, director: str) -> list[str]:
    """Lines of a director's keepalived.conf."""
    text = keepalived_files(PurePath("/run/keepalived"), vrrp=made.vrrp[director])[CONFIGURATION].text
    return [line.strip() for line in text.splitlines()]


# -- names and addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_both_directors_stand_in_the_same_networks_with_their_own_addresses(mode: str) -> None:
    made = pair(mode)
    assert [each.name for each in made.directors] == ["lvs1", "lvs2"] and made.director.name == "lvs1"
    first, second = made.directors
    addresses = [[each.address for each in director.interfaces] for director in (first, second)]
    assert addresses == (
        [["10.0.0.1/24", "10.0.1.1/24"], ["10.0.0.2/24", "10.0.1.2/24"]]
        if mode in TWO_ARMS
        else [["10.0.0.1/24"], ["10.0.0.2/24"]]
    )
    assert [each.network for each in first.interfaces] == [each.network for each in second.interfaces]
    assert (first.needs, first.modules) == (second.needs, second.modules)


@pytest.mark.parametrize("mode", MODES)
def test_what_vrrp_moves_is_in_no_directors_own_set_up(mode: str) -> None:
    made, alone = pair(mode), single(mode)
    for director in made.directors:
        names = [step.name for step in director.mode_steps]
        assert not {"vip", "local-addresses"} & set(names)
        assert names == [
            each.name for each in alone.director.mode_steps if each.name not in ("vip", "local-addresses")
        ]
    lines = [line for line in made.commands() if line.startswith("ip address add")]
    moving = {
        each.partition("/")[0]
        for vrrp in made.vrrp.values()
        for one in vrrp.instances
        for each in one.addresses
    }
    servers = {server.ip for server in made.of_role(Role.REAL_SERVER)}
    assert moving and not servers & moving
    on_directors = [line for line in lines if " dev lvs" in line]
    assert len(on_directors) == (4 if mode in TWO_ARMS else 2)
    assert not any(line.split()[3].partition("/")[0] in moving for line in on_directors)


@pytest.mark.parametrize("mode", MODES)
def test_both_have_the_same_vrrp_but_for_their_priority_and_interfaces(mode: str) -> None:
    made = pair(mode)
    first, second = made.vrrp["lvs1"], made.vrrp["lvs2"]
    assert (first.priority, second.priority) == (150, 100)
    inner = {"nat": (GATEWAY,), "synproxy": (GATEWAY,), "fullnat": LIPS, "dr": (), "tun": ()}[mode]
    for vrrp, name in ((first, "lvs1"), (second, "lvs2")):
        assert (vrrp.outer_addresses, vrrp.inner_addresses) == ((VIP,), inner)
        assert vrrp.outer == f"{name}-eth0" and vrrp.inner == (
            f"{name}-eth1" if mode in TWO_ARMS else vrrp.outer
        )
        assert [each.addresses for each in vrrp.instances] == ([(VIP,), inner] if inner else [(VIP,)])
    assert first.router_ids == second.router_ids and first.advert == second.advert == 0.2


@pytest.mark.parametrize(
    ("mode", "gateway"), [("nat", "10.0.1.254"), ("synproxy", "10.0.1.254"), ("tun", "10.0.2.254")]
)
def test_the_real_servers_gateway_is_an_address_that_stays_or_moves_along(mode: str, gateway: str) -> None:
    made = pair(mode)
    assert {server.gateway for server in made.of_role(Role.REAL_SERVER)} == {gateway}
    assert (f"{gateway}/24" in made.vrrp["lvs2"].inner_addresses) == (mode in TWO_ARMS)


@pytest.mark.parametrize("mode", MODES)
def test_both_tables_begin_alike_with_every_real_server(mode: str) -> None:
    made = pair(mode, servers=3)
    assert made.services == single(mode, servers=3).services
    rules = [line for line in made.commands() if line.startswith("ipvsadm ")]
    assert rules[: len(rules) // 2] == rules[len(rules) // 2 :] != []


def test_one_director_has_no_vrrp() -> None:
    made = single()
    assert made.redundancy is None and made.vrrp == {} and [each.name for each in made.directors] == ["lvs"]


# -- settings --------------------------------------------------------------------------------------


def test_the_takeover_bound_follows_from_advert_and_priority() -> None:
    vrrp = pair(redundancy=Redundancy(advert=1.0)).vrrp
    assert [vrrp[name].bound[0] for name in ("lvs1", "lvs2")] == [3 + 106 / 256, 3 + 156 / 256]
    assert vrrp["lvs2"].bound[1] == "3 × advert 1 s + skew (256 − 100) / 256 × advert"


@pytest.mark.parametrize("mode", MODES)
def test_sysctls_are_the_last_step_of_both_directors_and_of_nobody_else(mode: str) -> None:
    made = pair(mode, sysctls={"net.ipv4.vs.sloppy_tcp": 1})
    for node in made.nodes:
        steps = [step for step in node.mode_steps if step.name == "sysctls"]
        assert bool(steps) == (node.role == Role.DIRECTOR)
    assert all(director.mode_steps[-1].name == "sysctls" for director in made.directors)
    assert made.commands().count("sysctl -w net.ipv4.vs.sloppy_tcp=1") == 2


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (["host", "uml"], ["host", "uml"]),
        (["debian/trixie", "uml"], ["debian/trixie", "uml"]),
        (["uml"], ["uml", "uml"]),
        ([], ["host", "host"]),
    ],
)
def test_kernels_are_given_to_the_directors_in_their_order(wanted: list[str], got: list[str]) -> None:
    made = pair(kernels=wanted)
    assert [each.kernel for each in made.directors] == got
    assert {node.kernel for node in made.nodes if node.role != Role.DIRECTOR} == {"host"}


@pytest.mark.parametrize("mode", MODES)
def test_spare_servers_are_there_but_in_no_service(mode: str) -> None:
    made = pair(mode, servers=3, spare=("rs2",))
    spare = made.addresses.rips["rs2"]
    assert {server.address for service in made.services for server in service.real_servers} == (
        set(made.addresses.rips.values()) - {spare}
    )
    assert made.node("rs2").mode_steps == made.node("rs1").mode_steps


def test_persistence_and_one_packet_scheduling_stand_in_the_rules() -> None:
    plain, special = format_rules(pair().services), format_rules(pair(persistence=77, ops=True).services)
    assert "-p 77" in special and "-p 77" not in plain
    assert (
        "-o"
        in next(line for line in special.splitlines() if " -u " in line and line.startswith("-A")).split()
    )
    assert "-o" not in plain.split()
    http, udp, throughput = pair(persistence=77, ops=True).services
    assert (http.persistence_timeout, udp.ops, throughput.persistence_timeout) == (77, True, 300)
    assert (http.ops, throughput.ops, udp.persistence_timeout) == (
        False,
        False,
        0,
    ) and udp.protocol == Protocol.UDP


# -- refusals --------------------------------------------------------------------------------------


def test_redundancy_without_a_pair_is_refused() -> None:
    assert (
        refused(single, redundancy=Redundancy())
        == "topology 'nat': has one director; VRRP and connection sync need a pair (directors=2)"
    )


@pytest.mark.parametrize("advert", [0.001, 0.0, 41.0, 0.015, -1.0])
def test_an_advert_that_vrrp_does_not_have_is_refused(advert: float) -> None:
    assert f"VRRP: advert {advert:g} s" in refused(pair, redundancy=Redundancy(advert=advert))


def test_a_refresh_of_gratuitous_arp_that_keepalived_does_not_have_is_refused() -> None:
    assert "garp_refresh -1 s is outside 0..3600" in refused(pair, redundancy=Redundancy(garp_refresh=-1))


@pytest.mark.parametrize("directors", [0, 3, -2])
def test_other_numbers_of_directors_are_refused(directors: int) -> None:
    message = refused(single, directors=directors)
    assert f"{directors}" in message and "1 nor 2" in message


def test_an_unknown_spare_server_is_refused_with_those_there_are() -> None:
    assert refused(pair, spare=("rs9",)) == "spare 'rs9': there is no such real server; choose from: rs1, rs2"


@pytest.mark.parametrize(
    ("control", "mode", "settings", "message"),
    [
        (
            "none",
            "nat",
            HealthSettings(sorry_server="10.0.1.13:8080"),
            "there is nobody who could use the sorry server",
        ),
        (
            "mon",
            "nat",
            HealthSettings(sorry_server="10.0.1.13:8080"),
            "mon has no sorry server; choose ldirectord or keepalived",
        ),
        ("mon", "nat", HealthSettings(interval=0.5), "whole seconds, and interval is 0.5 s"),
        ("mon", "nat", HealthSettings(quorum=2), "mon has no quorum"),
        ("ldirectord", "dr", HealthSettings(timeout=1.5), "whole seconds, and timeout is 1.5 s"),
        (
            "keepalived",
            "nat",
            HealthSettings(check=Check.MISC, timeout=0.5),
            "misc_timeout counts in whole seconds",
        ),
        ("keepalived", "dr", HealthSettings(sorry_server="10.0.0.13:8080"), "sorry server: "),
        ("keepalived", "tun", HealthSettings(ports=(81,)), "no TCP service with a real server on port 81"),
    ],
)
def test_health_settings_that_a_control_cannot_do_are_refused(
    control: str, mode: str, settings: HealthSettings, message: str
) -> None:
    said = refused(pair, mode, control=control, health_settings=settings)
    assert said.startswith(f"control '{control}': ") and message in said


# -- keepalived.conf -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sync", [True, False], ids=["sync", "no sync"])
def test_both_run_the_sync_daemon_towards_the_real_servers_if_asked_to(mode: str, sync: bool) -> None:
    made = pair(mode, redundancy=Redundancy(sync=sync))
    for director in ("lvs1", "lvs2"):
        found = [line for line in keepalived_of(made, director) if "lvs_sync_daemon" in line]
        inner = f"{director}-eth{int(mode in TWO_ARMS)}"
        assert found == ([f"lvs_sync_daemon {inner} outer id 1"] if sync else [])


@pytest.mark.parametrize("mode", MODES)
def test_the_files_differ_where_the_directors_do_and_nowhere_else(mode: str) -> None:
    made = pair(mode)
    first, second = (keepalived_of(made, director) for director in ("lvs1", "lvs2"))
    assert [
        line.replace("lvs1-", "lvs2-").replace("priority 150", "priority 100") for line in first
    ] == second
    assert first != second and "priority 150" in first and "advert_int 0.2" in first and VIP in first


@pytest.mark.parametrize(
    "redundancy",
    [Redundancy(), Redundancy(preempt=True), Redundancy(garp_refresh=5), Redundancy(advert=0.05)],
    ids=str,
)
def test_the_settings_of_a_pair_stand_in_both_files(redundancy: Redundancy) -> None:
    made = pair(redundancy=redundancy)
    for director in ("lvs1", "lvs2"):
        lines = keepalived_of(made, director)
        assert lines.count(f"advert_int {redundancy.advert:g}") == 2
        assert lines.count("nopreempt") == (0 if redundancy.preempt else 2)
        assert lines.count("state BACKUP") == 2, "nobody starts as master, so that a restart does not preempt"
        refresh = [line for line in lines if line.startswith("vrrp_garp_master_refresh")]
        assert refresh == (
            [f"vrrp_garp_master_refresh {redundancy.garp_refresh}"] if redundancy.garp_refresh else []
        )
