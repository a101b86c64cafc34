"""Which kernel every node gets, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.errors import CannotError, UsageError
from lvslab.ipvs.service import Scheduler
from lvslab.kernels.kinds import HOST
from lvslab.kernels.needs import NEEDS, KernelFacts, Kernels, Need, modules_for
from lvslab.modes import mode_named
from lvslab.modes.base import Role
from lvslab.plan.make import union_of_needs
from lvslab.plan.plan import LabPlan
from tests.unit.builders import MODES, plan

UML = "uml"


def facts(kind: str, *met: Need, iptables: str | None = "iptables-legacy") -> KernelFacts:
    unmet = {need: f"no {need} here" for need in Need if need not in met}
    return KernelFacts(kind, f"6.1-{kind}", None, frozenset(met), unmet, iptables)


def kernels(*found: KernelFacts, **absent: str) -> Kernels:
    return Kernels({each.kind: each for each in found}, absent)


POOR_HOST = kernels(facts(HOST, Need.NETEM), facts(UML, *Need))


def placed(made: LabPlan) -> dict[str, str]:
    return {node.name: node.kernel for node in made.nodes}


def test_nodes_stay_on_the_host_when_it_has_what_they_need() -> None:
    made = plan(here=kernels(facts(HOST, Need.IP_VS), facts(UML, *Need)))
    assert set(placed(made).values()) == {HOST}
    assert made.director.why == "needs ip_vs" and made.node("c1").why == "needs nothing special"


def test_only_nodes_whose_needs_the_host_lacks_get_a_guest() -> None:
    made = plan(here=POOR_HOST)
    assert placed(made) == {"c1": HOST, "lvs": UML, "rs1": HOST, "rs2": HOST}
    assert made.director.why == "needs ip_vs; kernel 'host' (6.1-host) lacks ip_vs (no ip_vs here)"
    assert placed(plan("tun", POOR_HOST)) == {"c1": HOST, "lvs": UML, "gw": HOST, "rs1": UML, "rs2": UML}


def test_the_user_chooses_the_directors_kernel_and_nobody_elses() -> None:
    made = plan(kernels=[UML])
    assert placed(made) == {"c1": HOST, "lvs": UML, "rs1": HOST, "rs2": HOST}
    assert made.director.why == "chosen by name"


def test_a_chosen_kernel_that_lacks_something_is_refused_and_not_replaced() -> None:
    with pytest.raises(CannotError) as caught:
        plan("fullnat", POOR_HOST, kernels=[HOST])
    assert (
        str(caught.value)
        == "director of mode 'fullnat': no kernel for it here: kernel 'host' (6.1-host) lacks ip_vs (no ip_vs"
        " here); xt_ipvs (no xt_ipvs here); see: lvslab check"
    )


def test_without_any_fitting_kernel_every_kernels_lack_is_said() -> None:
    with pytest.raises(CannotError) as caught:
        plan(
            "tun",
            kernels(
                facts(HOST, Need.IP_VS), uml="linux.uml: not installed; run: apt-get install user-mode-linux"
            ),
        )
    message = str(caught.value)
    assert message.startswith("real server of mode 'tun'") and "lacks ipip (no ipip here)" in message
    assert "uml: linux.uml: not installed" in message and message.endswith("see: lvslab check")


def test_a_kernel_that_was_not_looked_at_is_said_to_be_so() -> None:
    with pytest.raises(CannotError, match="uml: not tried"):
        plan(here=kernels(facts(HOST)))


def test_an_emulated_kernel_is_taken_only_when_it_was_asked_for_or_tried() -> None:
    with pytest.raises(CannotError) as caught:
        plan(here=kernels(facts(HOST), facts(UML)))
    assert "qemu" not in str(caught.value)  # nobody asked for it
    tried = kernels(facts(HOST), facts(UML), facts("qemu", *Need))
    assert plan(here=tried).director.kernel == "qemu"
    assert plan(here=kernels(facts(HOST), facts(UML, *Need), facts("qemu", *Need))).director.kernel == "uml"
    with pytest.raises(CannotError, match="qemu: no tap driver"):
        plan(here=kernels(facts(HOST), facts(UML), qemu="no tap driver"), kernels=["qemu"])


def test_a_comparison_needs_in_every_role_what_any_of_its_modes_needs() -> None:
    union = union_of_needs([mode_named(mode) for mode in MODES])
    assert union == {
        Role.DIRECTOR: {Need.IP_VS, Need.IPVS_SNAT, Need.SYNPROXY},
        Role.REAL_SERVER: {Need.IPIP},
    }
    assert union_of_needs([]) == {}
    assert union_of_needs([mode_named("nat"), mode_named("dr")]) == {Role.DIRECTOR: {Need.IP_VS}}


def test_a_comparison_places_every_role_alike_in_all_its_modes() -> None:
    roles = [
        {
            node.role: node.kernel
            for node in plan(mode, POOR_HOST, alike=MODES).nodes
            if node.role != Role.ROUTER
        }
        for mode in MODES
    ]
    assert all(each == roles[0] for each in roles) and roles[0][Role.REAL_SERVER] == UML


@given(
    host=st.sets(st.sampled_from(Need)),
    uml=st.sets(st.sampled_from(Need)),
    needs=st.sets(st.sampled_from(Need)),
)
def test_a_kernel_is_the_cheapest_that_has_everything_or_none(
    host: set[Need], uml: set[Need], needs: set[Need]
) -> None:
    choice = kernels(facts(HOST, *host), facts(UML, *uml))
    if needs <= host or needs <= uml:
        assert choice.choose(frozenset(needs), None, "node")[0] == (HOST if needs <= host else UML)
    else:
        with pytest.raises(CannotError) as caught:
            choice.choose(frozenset(needs), None, "node")
        assert all(f"no {need} here" in str(caught.value) for need in (needs - host) | (needs - uml))


def test_the_modules_of_a_guest_are_those_of_its_needs_and_its_scheduler() -> None:
    director = plan("synproxy", POOR_HOST, scheduler=Scheduler.WLC).director
    assert set(modules_for(director.needs)) <= set(director.modules) and "ip_vs_wlc" in director.modules
    assert len(set(director.modules)) == len(director.modules)
    assert plan("tun", POOR_HOST).node("rs1").modules == NEEDS[Need.IPIP].modules
    assert plan("nat", POOR_HOST).node("rs1").modules == ()


def test_the_iptables_variant_is_the_directors_kernels_own() -> None:
    both = kernels(facts(HOST, *Need, iptables="iptables-nft"), facts(UML, *Need))
    assert plan("fullnat", both).iptables == {"lvs": "iptables-nft"}
    assert plan("fullnat", both, kernels=[UML]).iptables == {"lvs": "iptables-legacy"}
    assert plan("nat", both).iptables == {"lvs": None}


def test_directors_that_must_have_a_kernel_of_their_own_are_refused_the_machines() -> None:
    rich = kernels(facts(HOST, *Need), facts(UML, *Need))
    assert placed(plan(here=rich, own_kernel=True)) == {"c1": HOST, "lvs": UML, "rs1": HOST, "rs2": HOST}
    with pytest.raises(UsageError) as caught:
        plan(here=rich, own_kernel=True, kernels=[HOST])
    assert "'lvs' cannot run on kernel 'host'" in str(caught.value) and "--kernel uml" in str(caught.value)
