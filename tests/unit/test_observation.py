"""What an outage was is one answer, in the words of a report and in the numbers of a comparison."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lvslab.comparison.metrics import Series, all_series
from lvslab.errors import LabError
from lvslab.report.failover import trials
from lvslab.runs.observation import observed
from lvslab.runs.records import Mark, Trial
from lvslab.runs.rundir import Run, load
from lvslab.scenario.trial import Trial as ScenarioTrial
from lvslab.traffic.prober import ProbeSpec
from tests.unit import sample_failover, sample_lab

START = 1000.0
INTERVAL = 0.01
FAULT = START + 1


def _run(root: Path, attempts: int, failed: range) -> Run:
    """A run of one trial whose fault comes 1 s after its start: attempts every 10 ms."""
    trial = Trial(
        name="plain-1",
        variant="plain",
        mode="nat",
        lab="nat",
        repeat=1,
        start=START,
        end=START + 4,
        interval=INTERVAL,
        timeout=0.5,
        marks=(Mark(FAULT, "fault", "rs1", "killed"),),
        expects="a short outage",
        verdict="pass",
    )
    lines = [sample_failover.HEADER]
    for number in range(attempts):
        planned = START + number * INTERVAL
        server, outcome = ("", "refused") if number in failed else ("rs1", "ok")
        times = f"{planned:.6f},{planned:.6f},,,{planned + 0.001:.6f}"
        lines.append(f"{times},{20000 + number},{server},{outcome}")
    with sample_failover.writer(root, "trials", "Trials") as run:
        run.add_lab(sample_lab.lab("nat"))
        run.add_trial(trial)
        (run.probes / "plain-1.attempts.csv").write_text("\n".join([*lines, ""]))
    return load(run.path)


def _outages(run: Run) -> tuple[list[Series], tuple[str, ...]]:
    series, problems = all_series(run)
    return [one for one in series if one.key.endswith("outage")], problems


def test_an_outage_is_the_same_in_a_report_and_in_a_comparison(tmp_path: Path) -> None:
    run = _run(tmp_path, 400, range(100, 150))
    seen = observed(run.probes, run.trials[0])
    (group,) = trials.observe(run)
    (outage,), problems = _outages(run)
    assert seen.outage_seconds is not None and 0.48 < seen.outage_seconds < 0.52
    assert group.lengths[0].seconds == seen.outage_seconds == outage.values[0] and not problems


def test_no_failure_after_the_fault_is_an_outage_of_no_length(tmp_path: Path) -> None:
    run = _run(tmp_path, 400, range(0))
    (outage,), problems = _outages(run)
    assert observed(run.probes, run.trials[0]).outage_seconds == 0.0 == outage.values[0]
    assert trials.observe(run)[0].lengths[0].seconds == 0.0 and not problems


def test_without_an_attempt_after_the_fault_the_outage_is_not_known_to_anybody(tmp_path: Path) -> None:
    run = _run(tmp_path, 100, range(0))
    assert run.trials[0].end is not None, "the trial is complete: only its attempts end too early"
    seen = observed(run.probes, run.trials[0])
    assert seen.outage_seconds is None and seen.unknown == "no attempt was made after the fault"
    assert trials.observe(run)[0].lengths == ()
    outages, problems = _outages(run)
    assert outages == []
    assert [
        text for text in problems if "its outage is not known: no attempt was made after the fault" in text
    ]


def _scenario_trial(run: Run, root: Path, rate: float | None = 1 / INTERVAL) -> ScenarioTrial:
    """The trial of a run as its scenario had it in hand when its block was left."""
    plan = SimpleNamespace(name="nat", mode=SimpleNamespace(name="nat"))
    writer = sample_failover.writer(root, "trials", "Trials")
    spec = ProbeSpec("10.0.0.10", 80, ("10.0.1.11",), rate=rate, connections=0 if rate else 1)
    trial = ScenarioTrial(
        SimpleNamespace(plan=plan, now=lambda: 0.0),
        SimpleNamespace(),
        writer,
        spec,
        variant="plain",
        repeat=1,
        expects="a short outage",
        bound=None,
    )
    writer.path = run.path
    trial._end = run.trials[0].end
    return trial


def test_a_scenario_sees_the_outage_that_its_report_shows(tmp_path: Path) -> None:
    run = _run(tmp_path, 400, range(100, 150))
    outage = _scenario_trial(run, tmp_path).outage(FAULT)
    assert outage is not None and outage.seconds == observed(run.probes, run.trials[0]).outage_seconds


def test_a_scenario_in_which_nothing_failed_has_no_outage(tmp_path: Path) -> None:
    assert _scenario_trial(_run(tmp_path, 400, range(0)), tmp_path).outage(FAULT) is None


@pytest.mark.parametrize(
    ("attempts", "rate", "why"),
    [(100, 1 / INTERVAL, "no attempt was made after the fault"), (400, None, "attempts were not made")],
)
def test_a_scenario_does_not_take_an_outage_that_is_not_known_for_none(
    tmp_path: Path, attempts: int, rate: float | None, why: str
) -> None:
    trial = _scenario_trial(_run(tmp_path, attempts, range(0)), tmp_path, rate)
    with pytest.raises(LabError, match=f"nat, plain: the outage is not known: {why}; give the trial a rate"):
        trial.outage(FAULT)
