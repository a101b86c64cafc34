"""What a report says of trials in words: its numbers are those of the probes, and what is missing
is said, never zero.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.report import text, units
from lvslab.report.failover import summary, timeline, trials, window
from lvslab.report.failover.trials import Length
from lvslab.report.page import write_report
from lvslab.runs.rundir import load
from tests.integration.failover_runs import failing, group_of, run_of, trial_entry, words_of
from tests.unit import sample_failover, sample_run


def test_the_table_for_the_terminal_holds_what_the_probes_hold(tmp_path: Path) -> None:
    runs = [(trial_entry(n), failing(100, 100 + length)) for n, length in ((1, 20), (2, 30), (3, 60))]
    table = text.failover_table(load(run_of(tmp_path, runs)))
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


@pytest.mark.usefixtures("sketched")
def test_a_run_without_trials_has_an_empty_table_and_no_section(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    assert text.failover_table(load(path)).rows == ()
    assert "failover" not in write_report(path).html.read_text().partition("</style>")[2].lower()


def test_every_other_attempt_failing_is_one_outage(tmp_path: Path) -> None:
    trial = group_of(run_of(tmp_path, [(trial_entry(), failing(100, 150, step=2))])).trials[0]
    assert trial.length == Length(pytest.approx(0.49), True)
    assert trial.stretch and (trial.stretch.failed, trial.stretch.attempts) == (25, 49)


def test_an_outage_that_did_not_end_is_a_lower_bound_everywhere(tmp_path: Path) -> None:
    group = group_of(
        run_of(
            tmp_path,
            [
                (trial_entry(1), failing(100, 130)),
                (trial_entry(2), failing(100, 400)),
                (trial_entry(3), failing(100, 400)),
            ],
        )
    )
    assert (group.median_text, group.range_text) == ("≥ 3.00 s", "300 ms to ≥ 3.00 s")
    assert group.trials[1].exceeded
    assert any("lower bound" in sentence for sentence in summary.summary([group]))


def test_failures_after_the_service_was_whole_again_are_told_and_shown(tmp_path: Path) -> None:
    group = group_of(run_of(tmp_path, [(trial_entry(), {**failing(100, 110), **failing(250, 290)})]))
    trial = group.trials[0]
    assert (trial.length_text, [stretch.failed for stretch in trial.later]) == ("100 ms", [40])
    assert any("In 1 trial 40 attempts failed later" in sentence for sentence in summary.summary([group]))
    assert window.choose_window([trial]).high > 1.9
    words = words_of(timeline.draw("t", "s", [timeline.Panel(trial, "x")]))
    assert "later 40 more failed" in words and "400 ms" in words


def test_a_trial_without_a_fault_in_which_nothing_failed_had_no_outage(tmp_path: Path) -> None:
    assert group_of(run_of(tmp_path / "calm", [(trial_entry(marks=()), {})])).median_text == "none"
    assert group_of(run_of(tmp_path / "not", [(trial_entry(marks=()), {5: "timeout"})])).median is None


def test_files_for_which_the_prober_had_nothing_to_do_are_no_problem(tmp_path: Path) -> None:
    path = run_of(tmp_path, [(trial_entry(), {})])
    (path / "probes" / "mon-nat-1.beats.csv").write_text(sample_failover.BEATS + "\n")
    assert summary.problems([group_of(path)]) == []


def test_a_median_below_an_endless_outage_is_exact(tmp_path: Path) -> None:
    group = group_of(
        run_of(
            tmp_path,
            [
                (trial_entry(1), failing(100, 130)),
                (trial_entry(2), failing(100, 120)),
                (trial_entry(3), failing(100, 400)),
            ],
        )
    )
    assert group.median_text == "300 ms"


def test_the_typical_repeat_is_the_one_with_the_median_outage(tmp_path: Path) -> None:
    group = group_of(
        run_of(tmp_path, [(trial_entry(n), failing(100, 100 + x)) for n, x in ((1, 50), (2, 10), (3, 20))])
    )
    assert group.typical().trial.repeat == 3


def test_failures_before_the_fault_and_in_the_client_are_told(tmp_path: Path) -> None:
    bad = {10: "timeout", 11: "local", **failing(100, 110)}
    sentences = " ".join(summary.summary([group_of(run_of(tmp_path, [(trial_entry(), bad)]))]))
    assert (
        "2 attempts failed before the fault" in sentences
        and "1 attempt failed in the client itself" in sentences
    )


def test_the_summary_states_resolution_start_errors_and_repeats(tmp_path: Path) -> None:
    group = group_of(run_of(tmp_path, [(trial_entry(n), failing(100, 110)) for n in (1, 2)]))
    sentences = " ".join(summary.summary([group]))
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
    assert units.seconds_text(seconds, interval) == expected


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
    assert units.share(part, whole) == expected


def test_survivors_are_counted_per_repeat(tmp_path: Path) -> None:
    groups = trials.observe(load(sample_failover.failover(tmp_path, repeats=2)))
    kept = {group.variant: group.survivors_text for group in groups}
    assert kept["with sync"] == "78 of 78"
    lost = sum(len(survival.lost) for survival in groups[1].survivals)
    assert kept["without sync"] == f"{78 - lost} of 78" and lost > 40


def test_what_is_missing_is_none_with_a_reason_and_never_zero(tmp_path: Path) -> None:
    gaps = sample_failover.gaps(tmp_path)
    groups = {group.variant: group for group in trials.observe(load(gaps))}
    assert (
        groups["no-file"].median is None
        and groups["no-file"].trials[0].unknown == "the attempts are not there"
    )
    assert groups["no-fault"].median is None and groups["no-fault"].detection_text == "–"
    assert groups["whole"].median == Length(0.0) and groups["whole"].median_text == "none"
    assert groups["never"].median_text == "≥ 7.50 s" and groups["never"].detection_text == "never"
    told = summary.problems(list(groups.values()))
    assert "no-file-nat-1: probes/no-file-nat-1.attempts.csv is not there." in told
    assert any(
        line.startswith("cut-nat-1: probes/cut-nat-1.attempts.csv") and "cut off" in line for line in told
    )
    assert any(line.startswith("no-end-nat-1: it has no end") for line in told)
    assert "no-fault-nat-1: its outage is not known: no fault was recorded." in told


def test_a_trial_cut_short_before_anything_failed_is_not_called_whole(tmp_path: Path) -> None:
    group = group_of(run_of(tmp_path, [(trial_entry(end=None), {})]))
    assert group.median is None and "cut short before any attempt failed" in group.trials[0].unknown
    assert "No attempt failed." not in summary.summary([group])


def test_no_failure_at_all_is_said(tmp_path: Path) -> None:
    path = run_of(tmp_path, [(trial_entry(), {})])
    assert "No attempt failed." in summary.summary([group_of(path)])
    assert text.failover_table(load(path)).rows[0][3] == "none"
    words = words_of(timeline.draw("t", "s", [timeline.Panel(group_of(path).trials[0], "mon")]))
    assert "no attempt failed" in words and "no outage" in words


def test_a_broken_line_costs_the_trial_not_the_report(tmp_path: Path) -> None:
    path = run_of(tmp_path, [(trial_entry(1), failing(100, 120)), (trial_entry(2), {})])
    file = path / "probes" / "mon-nat-2.attempts.csv"
    file.write_text(file.read_text().replace(",ok", ",great", 1))
    group = group_of(path)
    assert group.median_text == "200 ms" and len(group.lengths) == 1
    assert any(
        "mon-nat-2.attempts.csv cannot be used" in line and "great" in line
        for line in summary.problems([group])
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
    group = group_of(run.path)
    assert group.attempts == 0 and group.failed_text == "–" and group.survivals[0].lost
    words = words_of(timeline.draw("t", "s", [timeline.Panel(group.trials[0], "x")]))
    assert "heartbeats" in words and "outage not known: attempts were not made" in words
    assert write_report(run.path).html.exists()
