"""The failover report: its numbers are those of the probes, what is missing is said, and no label
covers another.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_failover
import sample_lab
import sample_run
from sample_failover import CRASH, FAULT, Case
from test_report import Page, _overlaps

from lvslab.errors import CannotError, UsageError
from lvslab.report import failover, failover_charts, figures, grid, style, text, timeline
from lvslab.report.failover import Group, Length, Observed
from lvslab.report.matrix import write_matrix
from lvslab.report.page import write_report
from lvslab.runs.records import Bound, Mark, Trial
from lvslab.runs.rundir import load

START = 1000.0
INTERVAL = 0.01


def _lines(bad: dict[int, str], count: int = 400) -> str:
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


def _trial(repeat: int = 1, variant: str = "mon", mode: str = "nat", **more: Any) -> Trial:
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


def _run(root: Path, trials: Sequence[tuple[Trial, dict[int, str] | None]], name: str = "small") -> Path:
    """A run of the given trials; None for one whose file is not there."""
    with sample_failover.writer(root, name, f"Scenario {name}") as run:
        run.add_lab(sample_lab.lab("nat"))
        for entry, bad in trials:
            run.add_trial(entry)
            if bad is not None:
                sample_failover.file(run, entry.name, "attempts").write_text(_lines(bad))
    return run.path


def _failing(first: int, last: int, outcome: str = "refused", step: int = 1) -> dict[int, str]:
    return dict.fromkeys(range(first, last, step), outcome)


def _group(path: Path) -> Group:
    (group,) = failover.observe(load(path))
    return group


@pytest.fixture(scope="module")
def crash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = sample_failover.crash(tmp_path_factory.mktemp("crash"), repeats=3)
    write_report(path)
    return path


# --- numbers --------------------------------------------------------------------------------------


def test_the_table_for_the_terminal_holds_what_the_probes_hold(tmp_path: Path) -> None:
    trials = [(_trial(n), _failing(100, 100 + length)) for n, length in ((1, 20), (2, 30), (3, 60))]
    table = text.failover_table(load(_run(tmp_path, trials)))
    assert table.headers == text.FAILOVER_HEADERS
    assert table.rows == (
        (
            "mon",
            "NAT",
            "3",
            "300 ms",
            "200 ms to 600 ms",
            "≤ 500 ms",
            "250 ms",
            "110 of 1\u2009200 (9.2 %)",
            "–",
        ),
    )


def test_a_run_without_trials_has_an_empty_table_and_no_section(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    assert text.failover_table(load(path)).rows == ()
    assert "failover" not in write_report(path).html.read_text().partition("</style>")[2].lower()


def test_every_other_attempt_failing_is_one_outage(tmp_path: Path) -> None:
    trial = _group(_run(tmp_path, [(_trial(), _failing(100, 150, step=2))])).trials[0]
    assert trial.length == Length(pytest.approx(0.49), True)  # type: ignore[arg-type]
    assert trial.stretch and (trial.stretch.failed, trial.stretch.attempts) == (25, 49)


def test_an_outage_that_did_not_end_is_a_lower_bound_everywhere(tmp_path: Path) -> None:
    group = _group(
        _run(
            tmp_path,
            [
                (_trial(1), _failing(100, 130)),
                (_trial(2), _failing(100, 400)),
                (_trial(3), _failing(100, 400)),
            ],
        )
    )
    assert (group.median_text, group.range_text) == ("≥ 3.00 s", "300 ms to ≥ 3.00 s")
    assert group.trials[1].exceeded
    assert any("lower bound" in sentence for sentence in failover.summary([group]))


def test_failures_after_the_service_was_whole_again_are_told_and_shown(tmp_path: Path) -> None:
    group = _group(_run(tmp_path, [(_trial(), {**_failing(100, 110), **_failing(250, 290)})]))
    trial = group.trials[0]
    assert (trial.length_text, [stretch.failed for stretch in trial.later]) == ("100 ms", [40])
    assert any("In 1 trial 40 attempts failed later" in sentence for sentence in failover.summary([group]))
    assert timeline.choose_window([trial]).high > 1.9
    words = _words(timeline.draw("t", "s", [timeline.Panel(trial, "x")]))
    assert "later 40 more failed" in words and "400 ms" in words


def test_a_trial_without_a_fault_in_which_nothing_failed_had_no_outage(tmp_path: Path) -> None:
    assert _group(_run(tmp_path / "calm", [(_trial(marks=()), {})])).median_text == "none"
    assert _group(_run(tmp_path / "not", [(_trial(marks=()), {5: "timeout"})])).median is None


def test_files_for_which_the_prober_had_nothing_to_do_are_no_problem(tmp_path: Path) -> None:
    path = _run(tmp_path, [(_trial(), {})])
    (path / "probes" / "mon-nat-1.beats.csv").write_text(sample_failover.BEATS + "\n")
    assert failover.problems([_group(path)]) == []


def test_a_median_below_an_endless_outage_is_exact(tmp_path: Path) -> None:
    group = _group(
        _run(
            tmp_path,
            [
                (_trial(1), _failing(100, 130)),
                (_trial(2), _failing(100, 120)),
                (_trial(3), _failing(100, 400)),
            ],
        )
    )
    assert group.median_text == "300 ms"


def test_the_typical_repeat_is_the_one_with_the_median_outage(tmp_path: Path) -> None:
    group = _group(
        _run(tmp_path, [(_trial(n), _failing(100, 100 + x)) for n, x in ((1, 50), (2, 10), (3, 20))])
    )
    assert group.typical().trial.repeat == 3


def test_failures_before_the_fault_and_in_the_client_are_told(tmp_path: Path) -> None:
    bad = {10: "timeout", 11: "local", **_failing(100, 110)}
    sentences = " ".join(failover.summary([_group(_run(tmp_path, [(_trial(), bad)]))]))
    assert (
        "2 attempts failed before the fault" in sentences
        and "1 attempt failed in the client itself" in sentences
    )


def test_the_summary_states_resolution_start_errors_and_repeats(tmp_path: Path) -> None:
    group = _group(_run(tmp_path, [(_trial(n), _failing(100, 110)) for n in (1, 2)]))
    sentences = " ".join(failover.summary([group]))
    assert (
        "1 variant, 2 repeats." in sentences
        and "every 10 ms" in sentences
        and "that interval is the resolution" in sentences
    )
    assert "99 of 100 attempts began within 200 µs" in sentences
    assert group.start_error == pytest.approx(0.0002, rel=1e-2)


@pytest.mark.parametrize(
    ("seconds", "interval", "expected"),
    [
        (0.02, 0.01, "20 ms"),
        (1.524, 0.01, "1.52 s"),
        (0.0246, 0.0005, "24.6 ms"),
        (20.3, 0.1, "20.3 s"),
        (1234.5, 1, "1\u2009234 s"),
        (0.5, None, "500 ms"),
    ],
)
def test_a_time_is_written_no_finer_than_it_was_measured(
    seconds: float, interval: float | None, expected: str
) -> None:
    assert failover.seconds_text(seconds, interval) == expected


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 10, "0 %"),
        (1, 100_000, "< 0.1 %"),
        (99_999, 100_000, "> 99.9 %"),
        (10, 10, "100.0 %"),
        (0, 0, "–"),
    ],
)
def test_a_share_hides_no_failure(part: int, whole: int, expected: str) -> None:
    assert failover.share(part, whole) == expected


def test_survivors_are_counted_per_repeat(tmp_path: Path) -> None:
    groups = failover.observe(load(sample_failover.failover(tmp_path, repeats=2)))
    kept = {group.variant: group.survivors_text for group in groups}
    assert kept["with sync"] == "78 of 78"
    lost = sum(len(survival.lost) for survival in groups[1].survivals)
    assert kept["without sync"] == f"{78 - lost} of 78" and lost > 40


# --- what is missing ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_failover.gaps(tmp_path_factory.mktemp("gaps"))


def test_what_is_missing_is_none_with_a_reason_and_never_zero(gaps: Path) -> None:
    groups = {group.variant: group for group in failover.observe(load(gaps))}
    assert (
        groups["no-file"].median is None
        and groups["no-file"].trials[0].unknown == "the attempts are not there"
    )
    assert groups["no-fault"].median is None and groups["no-fault"].detection_text == "–"
    assert groups["whole"].median == Length(0.0) and groups["whole"].median_text == "none"
    assert groups["never"].median_text == "≥ 7.50 s" and groups["never"].detection_text == "never"
    told = failover.problems(list(groups.values()))
    assert "no-file-nat-1: probes/no-file-nat-1.attempts.csv is not there." in told
    assert any(
        line.startswith("cut-nat-1: probes/cut-nat-1.attempts.csv") and "cut off" in line for line in told
    )
    assert any(line.startswith("no-end-nat-1: it has no end") for line in told)
    assert "no-fault-nat-1: its outage is not known: no fault was recorded." in told


def test_the_page_says_what_is_missing(gaps: Path) -> None:
    page = Page(write_report(gaps).html.read_text())
    assert "probes/no-file-nat-1.attempts.csv is not there." in page.text
    assert "≥ 7.50 s" in page.text and "outages had not ended when the probing did" in page.text
    assert any("no-file –" in label for label in page.labels if label.startswith("Outage of every repeat"))


def test_a_trial_cut_short_before_anything_failed_is_not_called_whole(tmp_path: Path) -> None:
    group = _group(_run(tmp_path, [(_trial(end=None), {})]))
    assert group.median is None and "cut short before any attempt failed" in group.trials[0].unknown
    assert "No attempt failed." not in failover.summary([group])


def test_no_failure_at_all_is_said(tmp_path: Path) -> None:
    path = _run(tmp_path, [(_trial(), {})])
    assert "No attempt failed." in failover.summary([_group(path)])
    assert text.failover_table(load(path)).rows[0][3] == "none"
    words = _words(timeline.draw("t", "s", [timeline.Panel(_group(path).trials[0], "mon")]))
    assert "no attempt failed" in words and "no outage" in words


def test_a_broken_line_costs_the_trial_not_the_report(tmp_path: Path) -> None:
    path = _run(tmp_path, [(_trial(1), _failing(100, 120)), (_trial(2), {})])
    file = path / "probes" / "mon-nat-2.attempts.csv"
    file.write_text(file.read_text().replace(",ok", ",great", 1))
    group = _group(path)
    assert group.median_text == "200 ms" and len(group.lengths) == 1
    assert any(
        "mon-nat-2.attempts.csv cannot be used" in line and "great" in line
        for line in failover.problems([group])
    )
    assert text.failover_table(load(path)).rows[0][2] == "2 (1 not known)"
    write_report(path)


def test_a_trial_with_heartbeats_only_is_shown(tmp_path: Path) -> None:
    with sample_failover.writer(tmp_path, "beats") as run:
        sample_failover.add(
            run,
            sample_failover.FAILOVER[1],
            repeats=1,
            heartbeat=0.1,
            change=lambda t: replace(t, interval=None),
        )
        sample_failover.file(run, "without-sync-nat-1", "attempts").unlink()
    group = _group(run.path)
    assert group.attempts == 0 and group.failed_text == "–" and group.survivals[0].lost
    words = _words(timeline.draw("t", "s", [timeline.Panel(group.trials[0], "x")]))
    assert "heartbeats" in words and "outage not known: attempts were not made" in words
    assert write_report(run.path).html.exists()


def test_a_name_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.attempts.csv").write_text(_lines({}))
    path = _run(tmp_path / "runs", [(_trial(name="../../../secret"), None)])
    assert _group(path).trials[0].attempts is None
    assert not [link for link in Page(write_report(path).html.read_text()).links if "secret" in link]


# --- timeline -------------------------------------------------------------------------------------


def _words(figure: Any) -> list[str]:
    return [artist.get_text() for axes in figure.axes for artist in axes.texts]


def _observed(tmp_path: Path, bad: dict[int, str], **more: Any) -> Observed:
    return _group(_run(tmp_path, [(_trial(**more), bad)])).trials[0]


def test_a_bin_holds_equal_numbers_and_nothing_from_both_sides_of_the_fault(tmp_path: Path) -> None:
    trial = _observed(tmp_path, _failing(100, 150))
    width, found = timeline.bins(trial, timeline.Window(-0.9, 2.9))
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
    trial = _group(run.path).trials[0]
    assert trial.length is not None
    window = timeline.choose_window([trial])
    assert window.low < 0 and trial.length.seconds < window.high
    assert window.high - window.low < 3 * length + 3
    assert trial.length.seconds / (window.high - window.low) > (0.05 if length < 0.1 else 0.3)


def test_a_crowd_of_marks_stays_legible_and_loses_the_least_important_first(tmp_path: Path) -> None:
    marks = [Mark(START + 1, "fault", "rs1", "everything is killed at once")]
    for number in range(25):
        kind = ("note", "control", "table")[number % 3]
        sentence = f"something long happened, number {number}"
        marks.append(Mark(START + 1.05 + 0.013 * number, kind, "lvs", sentence))
    marks.append(Mark(START + 1.5, "repair", "rs1", "and all is started again"))
    trial = _observed(tmp_path, _failing(100, 140), marks=tuple(marks))
    placed, left_out = timeline.labels(trial, timeline.choose_window([trial]))
    assert {label.kind for label in placed} >= {"fault", "repair"} and max(label.lane for label in placed) < 8
    assert left_out and {mark.kind for mark in left_out} <= {"note", "control", "table"}
    assert sum(mark.kind == "note" for mark in left_out) == 9
    with style.styled():
        figure = timeline.draw("t", "s", [timeline.Panel(trial, "crowd")])
        assert _overlaps(figure) == []
    assert any(word.startswith("not shown: ") for word in _words(figure))


def test_marks_name_the_server_and_leave_the_service_out(tmp_path: Path) -> None:
    trial = _observed(tmp_path, {})
    assert [trial.label(mark) for mark in trial.trial.marks] == ["fault: killed", "rs1 removed"]


def test_every_panel_says_which_repeat_it_shows(crash: Path) -> None:
    groups = failover.observe(load(crash))
    for group in groups:
        assert (
            figures._which(group)
            == f"repeat {group.typical().trial.repeat} of 3, the one with the median outage"
        )


# --- figures --------------------------------------------------------------------------------------


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
    groups = failover.observe(load(SAMPLES[name](tmp_path)))
    with style.styled():
        panels = [timeline.Panel(group.typical(), group.label, figures._which(group)) for group in groups]
        assert _overlaps(timeline.draw("title", "subtitle", panels)) == []
        for wide in (False, True):
            assert _overlaps(failover_charts.outages(groups, wide)) == []
        assert _overlaps(failover_charts.comparison(groups)) == []
        if any(group.survivals for group in groups):
            assert _overlaps(failover_charts.survivors(groups)) == []
        assert _overlaps(grid.draw(grid.of_run(load(next(tmp_path.iterdir())), groups))) == []


def test_every_repeat_and_every_connection_is_a_point(tmp_path: Path) -> None:
    groups = failover.observe(load(sample_failover.failover(tmp_path, repeats=3)))
    (axes,) = failover_charts.outages(groups).axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(points) == sum(len(group.lengths) for group in groups) == 6
    (axes,) = failover_charts.survivors(groups).axes
    drawn = Counter(
        str(line.get_marker())
        for line in axes.lines
        for _ in line.get_xdata()
        if line.get_marker() in ("o", "x")
    )  # type: ignore[union-attr]
    kept = sum(survival.survived for group in groups for survival in group.survivals)
    total = sum(survival.total for group in groups for survival in group.survivals)
    legend_lost = len(
        {end for group in groups for survival in group.survivals for _, _, end in survival.lost}
    )
    assert drawn["o"] == kept + 1 and drawn["x"] == total - kept + legend_lost


def test_the_comparison_shows_the_numbers_of_the_table(crash: Path) -> None:
    groups = failover.observe(load(crash))
    words = _words(failover_charts.comparison(groups))
    for group in groups:
        assert {group.label, group.median_text, group.bound_text, group.detection_text} <= set(words)
        assert failover.outcomes_text(group.outcomes) in words


# --- page -----------------------------------------------------------------------------------------


def test_failover_stands_right_after_the_verdicts_with_figures_and_files(crash: Path) -> None:
    html = (crash / "report.html").read_text()
    page = Page(html)
    sections = re.findall(r'<section id="(\w+)"', html)
    assert sections[:2] == ["verdicts", "failover"]
    for group in failover.observe(load(crash)):
        for trial in group.trials:
            assert f"probes/{trial.trial.name}.attempts.csv" in page.links and trial.length_text in page.text
    assert page.tags["svg"] == len(page.labels) == len(set(page.labels))
    names = {file.name for file in (crash / "figures").iterdir()}
    assert {"timeline.png", "outage.png", "comparison.png", "repeats-mon-nat.png"} <= names
    assert "matrix.png" not in names and "survivors.png" not in names
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    assert not re.search(r"https?://|@import|<script|<link|<img", html)
    for link in page.links:
        assert link.startswith("#") or (crash / link).exists(), link


def test_the_figures_follow_the_page_into_the_dark(crash: Path) -> None:
    html = (crash / "report.html").read_text()
    svg = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "var(--outcome-refused)" in svg and "var(--outcome-ok)" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000"}


def test_labs_with_equal_networks_are_drawn_once(crash: Path, tmp_path: Path) -> None:
    page = Page((crash / "report.html").read_text())
    networks = [label for label in page.labels if label.startswith("Network")]
    assert len(networks) == 1 and "NAT · 4 labs with this network" in page.text
    assert all(lab.name in page.text for lab in load(crash).labs)
    path = sample_failover.crash(tmp_path, repeats=1, modes=("nat", "dr"))
    page = Page(write_report(path).html.read_text())
    assert len([label for label in page.labels if label.startswith("Network")]) == 2
    assert (path / "figures" / "matrix.png").exists() and (path / "figures" / "timeline-dr.png").exists()


def test_the_same_trials_give_the_same_bytes(tmp_path: Path) -> None:
    path = sample_failover.failover(tmp_path, repeats=1)
    first, second = (write_report(path, tmp_path / "same" / name) for name in ("a", "b"))
    assert first.html.read_text() == second.html.read_text()
    assert [f.read_bytes() for f in first.figures] == [f.read_bytes() for f in second.figures]


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    marks = (Mark(START + 1, "fault", "<i>", "<script>alert(1)</script> $\\frac$"),)
    entry = _trial(variant="<b>&$x_1$", mode="<u>", marks=marks, expects="<script>", name="<b>")
    page = Page(write_report(_run(tmp_path, [(entry, None)])).html.read_text())
    assert page.tags["script"] == 0 and "<script>alert(1)</script>" in page.text


# --- matrix ---------------------------------------------------------------------------------------


def test_the_cells_of_the_matrix_are_verdict_and_median(tmp_path: Path) -> None:
    trials: list[tuple[Trial, dict[int, str] | None]] = []
    for repeat, length in ((1, 20), (2, 30), (3, 40)):
        trials.append((_trial(repeat, "mon"), _failing(100, 100 + length)))
        trials.append((_trial(repeat, "none", verdict="fail" if repeat == 2 else "pass"), _failing(100, 400)))
        trials.append((_trial(repeat, "mon", "tun", verdict=None), {}))
    trials.append((_trial(1, "none", "tun", verdict=None), None))
    found = grid.of_run(load(_run(tmp_path, trials)))
    assert found.modes == ("nat", "tun")
    cells = {
        (row.variant, mode): (cell.verdict, cell.text)
        for row in found.rows
        for mode, cell in row.cells.items()
    }
    assert cells == {
        ("mon", "nat"): ("pass", "300 ms"),
        ("none", "nat"): ("fail", "≥ 3.00 s"),
        ("mon", "tun"): ("", "no outage"),
        ("none", "tun"): ("", "not known"),
    }
    assert found.rows[1].cells["nat"].note == "1 of 3 repeats failed"


def test_a_cell_tells_of_later_failures_and_of_trials_without_attempts(tmp_path: Path) -> None:
    trials: list[tuple[Trial, dict[int, str] | None]] = [
        (_trial(), {**_failing(100, 110), **_failing(250, 290)}),
        (_trial(variant="idle", interval=None, verdict="fail"), None),
    ]
    first, second = grid.of_run(load(_run(tmp_path, trials))).rows
    assert (first.cells["nat"].text, first.cells["nat"].note) == ("100 ms", "40 failed later")
    assert second.cells["nat"] == grid.Cell("fail", "failed", "no attempts were planned")


def test_a_run_without_trials_has_its_verdicts_in_the_matrix(tmp_path: Path) -> None:
    found = grid.of_run(load(sample_run.failed(tmp_path)))
    assert {mode: cell.verdict for mode, cell in found.rows[0].cells.items()} == {
        "nat": "fail",
        "dr": "pass",
        "synproxy": "skip",
    }


def test_the_overview_of_several_runs_links_to_their_reports(tmp_path: Path) -> None:
    first = _run(tmp_path / "runs", [(_trial(1), _failing(100, 120))], "one")
    second = _run(tmp_path / "runs", [(_trial(1, mode="dr"), _failing(100, 140))], "two")
    for path in (first, second):
        document = json.loads((path / "run.json").read_text())
        document["scenario"]["title"] = "One & the same"
        (path / "run.json").write_text(json.dumps(document))
    write_report(first)
    report = write_matrix([first, second, tmp_path / "nothing"], tmp_path / "all")
    assert report.html == tmp_path / "all" / "overview.html" and [file.name for file in report.figures] == [
        "matrix.png"
    ]
    page = Page(report.html.read_text())
    links = [link for link in page.links if not link.startswith("#")]
    assert f"../runs/{first.name}/report.html" in links and f"../runs/{second.name}/" in links
    assert all((report.html.parent / link).exists() for link in links)
    assert "there is no such run directory" in page.text and "200 ms" in page.text and "400 ms" in page.text
    (label,) = page.labels
    assert "One & the same" in label and label.count("One & the same") == 1, (
        "runs of one scenario share a row"
    )
    assert "NAT pass 200 ms, DR pass 400 ms" in label
    again = write_matrix([first, second, tmp_path / "nothing"], tmp_path / "all")
    assert page.text == Page(again.html.read_text()).text


def test_an_overview_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such run directory"):
        write_matrix([tmp_path / "nothing"], tmp_path / "out")
    with pytest.raises(UsageError, match="at least one"):
        write_matrix([], tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(CannotError, match="the overview cannot be written"):
        write_matrix([_run(tmp_path, [(_trial(), {})])], tmp_path / "file")
