"""Figures of bench do not hang on what else the machine does."""

from __future__ import annotations

from pathlib import Path

from lvslab.bench import kernel
from tests.busy import busy_processors
from tests.lab.test_bench import figures, measured_twice


def test_a_busy_machine_measures_what_a_quiet_one_does(tmp_path: Path) -> None:
    name = kernel.find(None).name
    quiet = figures(measured_twice(name, tmp_path / "quiet"))
    with busy_processors():
        busy = figures(measured_twice(name, tmp_path / "busy"))
    totals = {figure: {cost["total"] for cost in costs.values()} for figure, costs in quiet.items()}
    assert totals and all(len(each) == 1 for each in totals.values())
    assert totals == {figure: {cost["total"] for cost in costs.values()} for figure, costs in busy.items()}
