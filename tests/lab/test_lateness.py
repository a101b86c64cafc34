"""A machine that is too busy says so instead of failing; where it was not the machine that was
late, the same miss is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lvslab.runs import rundir
from tests.lab.conftest import Outcome, run_lvslab

MISSED = """\
from lvslab.scenario import scenario
from tests.busy import busy_processors


@scenario(title="A miss", teaches="nothing", modes=["nat"])
def run(log, frozen=False, loops=0):
    with log.lab("nat", kernels=["uml"]) as lab:
        with log.trial(lab, variant="load", expects="nothing", rate=500.0) as trial:
            began = lab.now()
            if frozen:
                lab.guest("lvs").freeze()
            with busy_processors(loops):
                trial.steady(3.0)
            ended = lab.now()
            lab.guest("lvs").thaw()
        excuse = trial.excuse(1.0, began, ended)
        log.expect("in time", False, "late by a second in three", trial=trial, excuse=excuse)
"""

LOOPS = 3
"""Busy ones for each processor."""


def run(tmp_path: Path, *parameters: str) -> Outcome:
    own = tmp_path / "missed.py"
    own.write_text(MISSED)
    options = ("--no-report", "--json", "--runs", str(tmp_path / "runs"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return run_lvslab("run", str(own), *parameters, *options, timeout=180, env=environment)


def test_beside_busy_loops_a_miss_is_not_judged(tmp_path: Path) -> None:
    """The loops run while the trial does, and no longer: other tests wait for them."""
    done = run(tmp_path, "--loops", str(LOOPS))
    (result,) = done.data["results"]
    assert (done.code, result["verdict"]) == (4, "skip"), done.err
    assert result["reason"].startswith("not judged: the machine was late by "), result
    assert "probes/load-1.lateness.csv" in result["evidence"]
    (trial,) = rundir.load(Path(done.data["run"])).trials
    assert trial.verdict == "skip"


@pytest.mark.timed
def test_a_director_that_stands_still_is_no_busy_machine(tmp_path: Path) -> None:
    done = run(tmp_path, "--frozen", "yes")
    (result,) = done.data["results"]
    assert (done.code, result["verdict"], result["reason"]) == (1, "fail", "late by a second in three")
