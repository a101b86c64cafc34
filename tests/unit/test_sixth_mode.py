"""What a forwarding mode costs: a sixth one is added to a copy of lvslab by the recipe of
CONTRIBUTING.md, in three files, and is then everywhere where the five are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

MODE = '''\
"""A sixth mode: LVS-NAT under another name, with local addresses that it says real servers see."""

from __future__ import annotations

from lvslab.modes.base import Color
from lvslab.modes.nat import Nat


class Sixth(Nat):
    name = "sixth"
    title = "SixTH"
    summary = "a mode that only a test knows"
    color = Color("#123456", "#fedcba")
    topology = "sixth"
    uses_local_addresses = True
'''

ASK = """\
import json
from pathlib import Path

from lvslab.kernels.needs import any_kernel
from lvslab.lab.provenance import lab_record
from lvslab.modes import ALL_MODES, IPVS_MODES, mode_records
from lvslab.plan.files import shipped_files
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.report.page import write_report
from lvslab.runs.writer import RunWriter
from lvslab.scenario.description import load
from lvslab.testing.settings import read_settings

kernels, scenarios = any_kernel(), shipped_files("scenarios")
plan = make_plan(LabSpec.of("sixth"), kernels)
writer = RunWriter(
    Path("runs"), "verify", kind="verify", command=["lvslab"], forwarding_modes=mode_records()
)
with writer as run:
    run.add_lab(lab_record(plan, kernels.facts))
print(json.dumps({
    "all": ALL_MODES,
    "ipvs": IPVS_MODES,
    "scenarios": {name: load(name, scenarios).modes for name in scenarios},
    "plugin": read_settings(
        kernels=[], modes=["all"], require=False, runs=Path("runs"), keep=False, timeout=60
    ).modes,
    "topology": plan.topology,
    "local": plan.local_addresses,
    "rules": [server.forwarding for service in plan.services for server in service.real_servers],
    "page": write_report(run.path).html.read_text(),
}))
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of lvslab, its compiled modules too, with the sixth mode in it."""
    root = tmp_path_factory.mktemp("house")
    for folder in ("lvslab", "topologies", "scenarios"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "lvslab/modes/sixth.py").write_text(MODE)
    registry = root / "lvslab/modes/__init__.py"
    text = registry.read_text()
    for old, new in (
        ("from lvslab.modes.tun ", "from lvslab.modes.sixth import Sixth\nfrom lvslab.modes.tun "),
        ("SynProxy())", "SynProxy(), Sixth())"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    registry.write_text(text)
    topology = (ROOT / "topologies/nat.py").read_text().replace('"nat"', '"sixth"')
    reply = "    reply_path = ReplyPath.DIRECTOR\n"
    assert topology.count(reply) == 1
    (root / "topologies/sixth.py").write_text(
        topology.replace(reply, reply + '    local_addresses = ("10.0.1.201",)\n')
    )
    return root


def python(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the copy in place of the lvslab that is installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def answers(house: Path) -> dict[str, Any]:
    """What the copy says of its modes."""
    done = python(house, "-c", ASK)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_is_in_every_list_of_modes(answers: dict[str, Any]) -> None:
    assert answers["all"] == ["nat", "dr", "tun", "fullnat", "synproxy", "sixth"] == answers["plugin"]
    assert answers["ipvs"] == ["nat", "dr", "tun", "sixth"]


def test_it_is_planned_on_its_topology(answers: dict[str, Any]) -> None:
    assert answers["topology"] == "sixth" and set(answers["rules"]) == {"Masq"}
    assert answers["local"] == ["10.0.1.201"]


def test_scenarios_take_it_where_they_take_its_like(answers: dict[str, Any]) -> None:
    takes = {name for name, modes in answers["scenarios"].items() if "sixth" in modes}
    nat_is_named = {"haproxy-tier", "l4-versus-l7", "syn-flood"}
    assert takes == {name for name, modes in answers["scenarios"].items() if "nat" in modes} - nat_is_named


def test_the_report_shows_its_title_and_its_colours(answers: dict[str, Any]) -> None:
    page = answers["page"]
    assert "--sixth: #123456;" in page and "--sixth: #fedcba;" in page
    assert "SixTH" in page and "var(--sixth)" in page
    assert "SIXTH" not in page


def test_the_commands_know_it(house: Path) -> None:
    listed = python(house, "-m", "lvslab", "list", "--json")
    assert json.loads(listed.stdout)["modes"][-1] == {
        "name": "sixth",
        "summary": "a mode that only a test knows",
        "topology": "sixth",
    }
    refused = python(house, "-m", "lvslab", "verify", "seventh")
    assert refused.returncode == 2
    assert "choose from: nat, dr, tun, fullnat, synproxy, sixth" in refused.stderr
