"""A scenario says in virtual time what it says in real time: the same verdicts, the same histories
of the tables, and the outage lies where those of a few worlds do (`agreement.py`, whose reverse
cases are in tests/unit/test_agreement.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.exitcodes import ExitCode
from lvslab.plan.files import shipped_files
from lvslab.runs import rundir
from lvslab.runs.rundir import Run
from lvslab.scenario import description
from tests.lab.agreement import disagreements
from tests.lab.conftest import run_lvslab
from tests.lab.shipped import SHORTER, run_shipped
from tests.lab.test_virtual_scenarios import in_virtual_time

pytestmark = pytest.mark.timed

HELD = ("director-power-cut", "server-killed")
"""Scenarios that are held against each other here; the others: `tests/slow/test_both_worlds.py`."""

WORLDS, RATE = 3, 100
"""Seeds of each scenario, and connections a second where a scenario lets that be chosen: a world's
cost hangs on it, no verdict does.
"""


def worlds(name: str, place: Path) -> list[Run]:
    """Runs of the first seeds in virtual time, with the parameters of the run in real time."""
    scenario = description.load(name, shipped_files("scenarios"))
    rate = ("--rate", str(RATE)) if "rate" in scenario.parameters else ()
    words = (*SHORTER.get(name, []), *rate, "--time", "virtual", "--seeds", str(WORLDS))
    done = run_lvslab("run", name, *words, "--no-report", "--json", "--runs", str(place), timeout=600)
    assert done.out, done.err
    runs = {trial["run"] for trial in done.data["trials"]}
    assert len(runs) == WORLDS, done.out
    return [rundir.load(Path(done.data["folder"]) / run) for run in sorted(runs)]


@pytest.mark.parametrize("name", HELD)
def test_both_worlds_agree(name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    hold(name, tmp_path, tmp_path_factory)


def hold(name: str, place: Path, factory: pytest.TempPathFactory) -> None:
    """Hold the worlds of a scenario against its run in real time."""
    in_virtual_time()
    virtual = worlds(name, place)
    real = run_shipped(name, factory)
    assert real.done.code in (ExitCode.OK, ExitCode.CANNOT), real.done.err
    assert disagreements(rundir.load(real.folder), virtual) == []
