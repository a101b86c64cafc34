"""The charts of trials: what they show, that every repeat is in them, and that nothing overlaps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lvslab.report import figures, grid, style
from lvslab.report.failover import outages, summary, survivors, timeline, trials, variants, window
from lvslab.runs.records import Mark
from lvslab.runs.rundir import load
from tests.integration.failover_runs import START, failing, group_of, observed_trial, words_of
from tests.integration.pages import overlaps
from tests.unit import sample_failover
from tests.unit.sample_failover import CRASH, FAULT, Case


def test_a_bin_holds_equal_numbers_and_nothing_from_both_sides_of_the_fault(tmp_path: Path) -> None:
    trial = observed_trial(tmp_path, failing(100, 150))
    width, found = window.bins(trial, window.Window(-0.9, 2.9))
    assert width == pytest.approx(0.02)
    assert {sum(outcomes.values()) for _, outcomes in found} == {2}
    assert all(
        set(outcomes) == {"refused" if -1e-6 < start < 0.5 - 1e-6 else "ok"} for start, outcomes in found
    )
    assert sum((outcomes for _, outcomes in found), Counter())["refused"] == 50


@pytest.mark.parametrize("length", [0.02, 0.5, 20.0])
def test_the_window_shows_the_whole_outage_and_not_much_more(tmp_path: Path, length: float) -> None:
    case = Case("x", length, share=1.0)
    with sample_failover.writer(tmp_path, "x") as run:
        sample_failover.add(run, case, repeats=1, repair=FAULT + 60, end=FAULT + 65)
    trial = group_of(run.path).trials[0]
    assert trial.length is not None
    chosen = window.choose_window([trial])
    assert chosen.low < 0 and trial.length.seconds < chosen.high
    assert chosen.high - chosen.low < 3 * length + 3
    assert trial.length.seconds / (chosen.high - chosen.low) > (0.05 if length < 0.1 else 0.3)


def test_a_crowd_of_marks_stays_legible_and_loses_the_least_important_first(tmp_path: Path) -> None:
    marks = [Mark(START + 1, "fault", "rs1", "everything is killed at once")]
    for number in range(25):
        kind = ("note", "control", "table")[number % 3]
        sentence = f"something long happened, number {number}"
        marks.append(Mark(START + 1.05 + 0.013 * number, kind, "lvs", sentence))
    marks.append(Mark(START + 1.5, "repair", "rs1", "and all is started again"))
    trial = observed_trial(tmp_path, failing(100, 140), marks=tuple(marks))
    placed, left_out = window.labels(trial, window.choose_window([trial]))
    assert {label.kind for label in placed} >= {"fault", "repair"} and max(label.lane for label in placed) < 8
    assert left_out and {mark.kind for mark in left_out} <= {"note", "control", "table"}
    assert sum(mark.kind == "note" for mark in left_out) == 9
    with style.styled():
        figure = timeline.draw("t", "s", [timeline.Panel(trial, "crowd")])
        assert overlaps(figure) == []
    assert any(word.startswith("not shown: ") for word in words_of(figure))


def test_marks_name_the_server_and_leave_the_service_out(tmp_path: Path) -> None:
    trial = observed_trial(tmp_path, {})
    assert [trial.label(mark) for mark in trial.trial.marks] == ["fault: killed", "rs1 removed"]


def test_every_panel_says_which_repeat_it_shows(tmp_path: Path) -> None:
    groups = trials.observe(load(sample_failover.crash(tmp_path, repeats=3)))
    for group in groups:
        assert (
            figures._which(group)
            == f"repeat {group.typical().trial.repeat} of 3, the one with the median outage"
        )


def _eight(root: Path) -> Path:
    with sample_failover.writer(root, "eight") as run:
        for index, length in enumerate((0.02, 0.05, 0.3, 1.2, 4, 9, 15, 20)):
            case = Case(
                f"a variant with a name, {index}",
                length,
                "timeout",
                1.0,
                bound=1.2 * length,
                formula="3 × advert + skew " * 3,
            )
            sample_failover.add(
                run, case, repeats=3, repair=24, end=27, interval=0.02, heartbeat=0.5 if index < 2 else None
            )
    return run.path


SAMPLES = {
    "crash": lambda root: sample_failover.crash(root, repeats=3),
    "failover": sample_failover.failover,
    "gaps": sample_failover.gaps,
    "short": lambda root: sample_failover.crash(root, cases=CRASH[1:2], scale=0.02, repeats=1),
    "long": lambda root: sample_failover.crash(root, scale=4, repeats=2),
    "modes": lambda root: sample_failover.crash(root, repeats=1, modes=("nat", "fullnat")),
    "eight": _eight,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_in_a_figure_overlaps(tmp_path: Path, name: str) -> None:
    groups = trials.observe(load(SAMPLES[name](tmp_path)))
    with style.styled():
        panels = [timeline.Panel(group.typical(), group.label, figures._which(group)) for group in groups]
        assert overlaps(timeline.draw("title", "subtitle", panels)) == []
        for wide in (False, True):
            assert overlaps(outages.outages(groups, wide)) == []
        assert overlaps(variants.comparison(groups)) == []
        if any(group.survivals for group in groups):
            assert overlaps(survivors.survivors(groups)) == []
        assert overlaps(grid.draw(grid.of_run(load(next(tmp_path.iterdir())), groups))) == []


def test_every_repeat_and_every_connection_is_a_point(tmp_path: Path) -> None:
    groups = trials.observe(load(sample_failover.failover(tmp_path, repeats=3)))
    (axes,) = outages.outages(groups).axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(points) == sum(len(group.lengths) for group in groups) == 6
    (axes,) = survivors.survivors(groups).axes
    drawn = Counter(
        str(line.get_marker())
        for line in axes.lines
        for _ in np.asarray(line.get_xdata())
        if line.get_marker() in ("o", "x")
    )
    kept = sum(survival.survived for group in groups for survival in group.survivals)
    total = sum(survival.total for group in groups for survival in group.survivals)
    legend_lost = len(
        {end for group in groups for survival in group.survivals for _, _, end in survival.lost}
    )
    assert drawn["o"] == kept + 1 and drawn["x"] == total - kept + legend_lost


def test_the_comparison_shows_the_numbers_of_the_table(tmp_path: Path) -> None:
    groups = trials.observe(load(sample_failover.crash(tmp_path, repeats=3)))
    words = words_of(variants.comparison(groups))
    for group in groups:
        assert {group.label, group.median_text, group.bound_text, group.detection_text} <= set(words)
        assert summary.outcomes_text(group.outcomes) in words
