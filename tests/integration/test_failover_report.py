"""The page of a run with trials: failover stands first, with figures, files and words."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from lvslab.report.failover import trials
from lvslab.report.page import write_report
from lvslab.runs.records import Mark
from lvslab.runs.rundir import load
from tests.integration.failover_runs import START, group_of, lines_of, run_of, trial_entry
from tests.integration.pages import Page
from tests.unit import sample_failover


@pytest.fixture(scope="module")
def crash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = sample_failover.crash(tmp_path_factory.mktemp("crash"), repeats=2)
    write_report(path)
    return path


@pytest.fixture(scope="module")
def gaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_failover.gaps(tmp_path_factory.mktemp("gaps"))


@pytest.mark.usefixtures("sketched")
def test_the_page_says_what_is_missing(gaps: Path) -> None:
    page = Page(write_report(gaps).html.read_text())
    assert "probes/no-file-nat-1.attempts.csv is not there." in page.text
    assert "≥ 7.50 s" in page.text and "outages had not ended when the probing did" in page.text
    assert any("no-file –" in label for label in page.labels if label.startswith("Outage of every repeat"))


def test_a_name_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.attempts.csv").write_text(lines_of({}))
    path = run_of(tmp_path / "runs", [(trial_entry(name="../../../secret"), None)])
    assert group_of(path).trials[0].attempts is None
    assert not [link for link in Page(write_report(path).html.read_text()).links if "secret" in link]


def test_failover_stands_right_after_the_verdicts_with_figures_and_files(crash: Path) -> None:
    html = (crash / "report.html").read_text()
    page = Page(html)
    sections = re.findall(r'<section id="(\w+)"', html)
    assert sections[:2] == ["verdicts", "failover"]
    for group in trials.observe(load(crash)):
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


@pytest.mark.usefixtures("sketched")
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
    entry = trial_entry(variant="<b>&$x_1$", mode="<u>", marks=marks, expects="<script>", name="<b>")
    page = Page(write_report(run_of(tmp_path, [(entry, None)])).html.read_text())
    assert page.tags["script"] == 0 and "<script>alert(1)</script>" in page.text
