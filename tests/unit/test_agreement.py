"""What makes the runs of one scenario in both worlds disagree (`tests/lab/agreement.py`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.runs import rundir
from lvslab.runs.rundir import Run
from tests.lab.agreement import disagreements, span
from tests.unit import sample_failover
from tests.unit.sample_failover import Case


def outage_of(folder: Path, seconds: float) -> Run:
    """A run whose server is out of the table after so many seconds."""
    case = Case("keepalived", seconds, "refused", bound=5.0, formula="interval + timeout")
    return rundir.load(sample_failover.crash(folder / f"{seconds:g}", repeats=1, cases=[case]))


@pytest.fixture
def virtual(tmp_path: Path) -> list[Run]:
    return [outage_of(tmp_path / "virtual", seconds) for seconds in (0.60, 0.65, 0.70)]


def test_an_outage_within_the_distribution_agrees(tmp_path: Path, virtual: list[Run]) -> None:
    for seconds in (0.56, 0.65, 0.74):
        assert disagreements(outage_of(tmp_path, seconds), virtual) == []


@pytest.mark.parametrize("seconds", [0.3, 1.3])
def test_an_outage_beyond_it_does_not_unless_the_machine_was_as_late(
    seconds: float, tmp_path: Path, virtual: list[Run]
) -> None:
    real = outage_of(tmp_path, seconds)
    (told,) = disagreements(real, virtual)
    assert ": outage" in told and "0.540 to 0.740 s in virtual time, widened by 0.021 s" in told
    (trial,) = real.trials
    fault = next(mark.t for mark in trial.marks if mark.kind == "fault")
    (real.probes / f"{trial.name}.lateness.csv").write_text(f"t,who,late\n{fault + 0.1},lvs,0.6\n")
    assert disagreements(real, virtual) == []


def test_another_history_does_not_agree_and_one_that_a_late_machine_spoilt_says_nothing(
    virtual: list[Run],
) -> None:
    (trial,) = virtual[0].trials
    first = next(place for place, mark in enumerate(trial.marks) if mark.kind == "table")
    shifted = replace(trial, marks=trial.marks[:first] + trial.marks[first + 1 :])
    (told,) = disagreements(replace(virtual[0], trials=(shifted,)), virtual)
    assert told.startswith(f"{trial.name}: history")
    assert disagreements(replace(virtual[0], trials=(replace(shifted, verdict="skip"),)), virtual) == []


def test_another_verdict_and_another_trial_do_not_agree(virtual: list[Run]) -> None:
    (result,), (trial,) = virtual[0].results, virtual[0].trials
    failed = replace(virtual[0], results=(replace(result, verdict="fail"),))
    assert [sentence.partition(": ")[2][:4] for sentence in disagreements(failed, virtual)] == ["fail"] * 3
    open_ = replace(virtual[0], results=(replace(result, verdict="skip"),))
    assert disagreements(open_, virtual) == []
    other = replace(virtual[0], trials=(replace(trial, name="another"),))
    assert disagreements(other, virtual)[0].startswith("not the same trials: ")


def test_the_ends_of_a_distribution_lie_beyond_those_of_a_few_worlds() -> None:
    assert span([0.6, 0.8, 0.7]) == pytest.approx((0.5, 0.9))
    assert span([0.1, 0.5]) == pytest.approx((0.0, 0.9))
