"""Runs of one or a few trials, attempt by attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvslab.report.failover import trials
from lvslab.report.failover.trials import Group, Observed
from lvslab.runs.records import Bound, Mark, Trial
from lvslab.runs.rundir import load
from tests.unit import sample_failover, sample_lab

START = 1000.0
INTERVAL = 0.01


def lines_of(bad: dict[int, str], count: int = 400) -> str:
    """Attempts every 10 ms from START on; `bad`: number → how it failed. All begin 0.2 ms late."""
    rows = [sample_failover.HEADER]
    for number in range(count):
        planned = START + number * INTERVAL
        outcome = bad.get(number, "ok")
        server = "rs1" if outcome == "ok" else ""
        rows.append(
            f"{planned:.6f},{planned + 0.0002:.6f},,,{planned + 0.001:.6f},{20000 + number},{server},{outcome}"  # noqa: E501
        )
    return "\n".join([*rows, ""])


def trial_entry(repeat: int = 1, variant: str = "mon", mode: str = "nat", **more: Any) -> Trial:
    """A trial whose fault comes 1 s after its start, so that attempt 100 is the first after it."""
    trial = Trial(
        name=f"{variant}-{mode}-{repeat}",
        variant=variant,
        mode=mode,
        lab="nat",
        repeat=repeat,
        start=START,
        end=START + 4,
        interval=INTERVAL,
        timeout=0.5,
        marks=(
            Mark(START + 1, "fault", "rs1", "killed"),
            Mark(START + 1.25, "table", "lvs", "TCP 10.0.0.10:80: 10.0.1.11:80 removed"),
        ),
        bound=Bound(0.5, "interval + timeout"),
        expects="service comes back",
        verdict="pass",
    )
    return replace(trial, **more)


def run_of(root: Path, trials: Sequence[tuple[Trial, dict[int, str] | None]], name: str = "small") -> Path:
    """A run of the given trials; None for one whose file is not there."""
    with sample_failover.writer(root, name, f"Scenario {name}") as run:
        run.add_lab(sample_lab.lab("nat"))
        for entry, bad in trials:
            run.add_trial(entry)
            if bad is not None:
                sample_failover.file(run, entry.name, "attempts").write_text(lines_of(bad))
    return run.path


def failing(first: int, last: int, outcome: str = "refused", step: int = 1) -> dict[int, str]:
    return dict.fromkeys(range(first, last, step), outcome)


def group_of(path: Path) -> Group:
    (group,) = trials.observe(load(path))
    return group


def words_of(figure: Any) -> list[str]:
    return [artist.get_text() for axes in figure.axes for artist in axes.texts]


def observed_trial(tmp_path: Path, bad: dict[int, str], **more: Any) -> Observed:
    return group_of(run_of(tmp_path, [(trial_entry(**more), bad)])).trials[0]
