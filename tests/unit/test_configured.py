"""Labs around users' own keepalived.conf: their addresses, their services, the lab's links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import UsageError
from lvslab.explore.labs import promise_of
from lvslab.kernels.needs import any_kernel
from lvslab.modes.base import Role
from lvslab.plan.make import make_plan
from lvslab.plan.plan import LabPlan
from lvslab.plan.spec import LabSpec
from tests.unit.explore import configs


def planned(*files: str, mode: str = "nat", **options: Any) -> LabPlan:
    spec = LabSpec.of(mode, keepalived=files, control="keepalived", kernels=["uml"], **options)
    return make_plan(spec, any_kernel("uml"))


def pair(folder: Path, **second: Any) -> LabPlan:
    return planned(*configs.write_pair(folder, configs.text(), configs.text(100, **second)))


def test_a_pair_has_the_addresses_and_services_of_its_files(tmp_path: Path) -> None:
    plan = pair(tmp_path)
    assert plan.networks == {"s1": "192.0.2.0/24", "s2": "198.51.100.0/24"}
    assert plan.addresses.vip == "192.0.2.10"
    assert dict(plan.addresses.rips) == {"rs1": "198.51.100.21", "rs2": "198.51.100.22"}
    assert [service.name for service in plan.services] == ["TCP 192.0.2.10:8000"]
    assert [node.name for node in plan.directors] == ["lvs1", "lvs2"] and not plan.vrrp
    server = plan.of_role(Role.REAL_SERVER)[0]
    assert server.gateway == "198.51.100.1"
    addresses = [card.ip for node in plan.nodes for card in node.interfaces]
    assert len(addresses) == len(set(addresses)) and "192.0.2.10" not in addresses


def test_links_get_the_labs_names_and_nothing_else_changes(tmp_path: Path) -> None:
    text = pair(tmp_path).keepalived["lvs2"]
    wanted = configs.text(100).replace("ens18", "lvs2-eth0").replace("ens19", "lvs2-eth1")
    assert text == wanted != configs.text(100)


def test_a_link_that_is_not_there_keeps_its_name(tmp_path: Path) -> None:
    assert "lvs_sync_daemon ens20 outside" in pair(tmp_path, sync="ens20").keepalived["lvs2"]


def test_a_file_promises_what_its_numbers_say(tmp_path: Path) -> None:
    promise = promise_of(pair(tmp_path))
    assert promise.synced
    # 1 s until the next check, two of 1 s with 1 s between them; 3 × 1 s and the longer skew
    assert promise.whole == pytest.approx(4 + 3 + (256 - 100) / 256 + 0.5)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("global_defs {\n}\n", "nat", "no virtual server"),
        (configs.text(), "dr", "is it --mode nat"),
        (configs.text(), "fullnat", "for the modes nat, dr"),
        (configs.text().replace("198.51.100.", "192.0.2."), "nat", "is it --mode dr"),
        (configs.text().replace("198.51.100.22", "203.0.113.22"), "nat", "two networks"),
    ],
)
def test_what_no_lab_can_have_is_refused(tmp_path: Path, text: str, mode: str, said: str) -> None:
    file = tmp_path / "a.conf"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        planned(str(file), mode=mode)


def test_three_files_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    files = configs.write_pair(tmp_path, configs.text(), configs.text())
    with pytest.raises(UsageError, match="a pair"):
        planned(*files, files[0])
    with pytest.raises(UsageError, match="cannot be read"):
        planned(str(tmp_path / "none.conf"))
