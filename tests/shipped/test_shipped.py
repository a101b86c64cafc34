"""Every shipped topology and scenario loads, and every topology can be planned for its mode."""

from __future__ import annotations

import pytest

from lvslab.kernels.needs import any_kernel
from lvslab.lab.mn import LabNode
from lvslab.modes import MODES
from lvslab.modes.base import Mode, Role
from lvslab.plan.files import load_module, shipped_files
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.scenario import description

TOPOLOGIES, SCENARIOS = shipped_files("topologies"), shipped_files("scenarios")


def test_there_is_a_topology_for_every_mode() -> None:
    assert {mode.topology for mode in MODES.values()} <= set(TOPOLOGIES)


@pytest.mark.parametrize("servers", [1, 4, 50])
@pytest.mark.parametrize("clients", [1, 3])
@pytest.mark.parametrize("mode", MODES.values(), ids=lambda mode: mode.name)
def test_every_topology_plans_for_its_mode(mode: Mode, clients: int, servers: int) -> None:
    plan = make_plan(LabSpec(mode, clients=clients, servers=servers), any_kernel())
    assert len(plan.of_role(Role.CLIENT)) == clients and len(plan.of_role(Role.REAL_SERVER)) == servers
    macs = [each.mac for node in plan.nodes for each in node.interfaces]
    assert len(macs) == len(set(macs))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_topology_explains_itself_and_works_with_mn(name: str) -> None:
    module = load_module(TOPOLOGIES[name])
    assert name in module.topos and module.hosts == {"lab": LabNode}
    for text in ("10.0.0.0/24", "lvs", "rs1", f"lvslab shell {name}", f"mn --custom topologies/{name}.py"):
        assert text in (module.__doc__ or "")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_loads_and_says_what_it_is(name: str) -> None:
    found = description.load(name, SCENARIOS)
    assert found.title and found.teaches and found.seconds > 0 and found.modes
    assert set(found.modes) <= set(map(str, MODES))
    assert description.parameters(found, {}) == found.parameters
