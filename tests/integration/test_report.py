"""The page of a run: it stands alone, says what is missing, and shows what failed."""

from __future__ import annotations

import ast
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import lvslab.report
from lvslab.errors import CannotError, UsageError
from lvslab.modes import MODES
from lvslab.report import charts, text, units
from lvslab.report.page import Report, write_report
from lvslab.report.series import all_series
from lvslab.runs.records import Result
from lvslab.runs.rundir import load
from tests.integration.pages import Page, page_of
from tests.unit import sample_lab, sample_run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """That of a complete run of two modes, drawn once for all tests here."""
    return write_report(sample_run.complete(tmp_path_factory.mktemp("complete"), modes=["nat", "tun"]))


@pytest.fixture(scope="module")
def complete(report: Report) -> Path:
    return report.html.parent


@pytest.mark.usefixtures("sketched")
def test_the_page_of_a_complete_run_shows_every_mode_and_number(tmp_path: Path) -> None:
    complete = sample_run.complete(tmp_path)
    page = page_of(complete)
    for mode in MODES.values():
        assert mode.title in page.text
    for series in all_series(load(complete)):
        assert series.title in page.text
    assert page.text.count("✓ PASS") >= 5 and "✗ FAIL" not in page.text
    assert sample_run.NOT_COMPARABLE in page.text
    assert "6.1.174-1-um" in page.text and "the host's kernel lacks ip_vs" in page.text
    assert "lvslab run compare-modes --repeat 3" in page.text
    assert "tcpdump" in page.text and "not installed" in page.text
    assert "numbers vary by more than 10 %" in page.text


def test_the_page_needs_nothing_from_anywhere_else(complete: Path) -> None:
    html = (complete / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not re.search(r"https?://|@import|<script|<link|<img", html)
    assert not [target for target in re.findall(r"url\(([^)]*)\)", html) if not target.startswith("#")]
    for link in page.links:
        assert link.startswith("#") or (complete / link).exists(), link


def test_ids_are_unique_and_every_reference_has_its_target(complete: Path) -> None:
    html = (complete / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []
    targets = {link[1:] for link in page.links if link.startswith("#")} | set(
        re.findall(r"url\(#([^)]*)\)", html)
    )
    assert targets <= set(page.ids)


def test_every_figure_is_inline_described_and_a_file(report: Report) -> None:
    page = Page(report.html.read_text(encoding="utf-8"))
    assert page.tags["svg"] == len(report.figures) == len(page.labels) == len(set(page.labels))
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in report.figures)
    assert {"throughput.png", "latency.png", "counters.png", "network-nat.png", "ladder-nat-http.png"} <= {
        f.name for f in report.figures
    }


def test_the_same_run_gives_the_same_bytes(report: Report, tmp_path: Path) -> None:
    run = shutil.copytree(report.html.parent, tmp_path / "run")
    first, second = report, write_report(run)
    assert second.html != first.html and first.html.read_text() == second.html.read_text()
    assert [f.read_bytes() for f in first.figures] == [f.read_bytes() for f in second.figures]


def test_figures_follow_the_page_into_the_dark(complete: Path) -> None:
    html = (complete / "report.html").read_text(encoding="utf-8")
    svg = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "var(--ink)" in svg and "var(--nat)" in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#000000"}


@pytest.mark.usefixtures("sketched")
def test_a_failed_mode_shows_its_wrong_packet(tmp_path: Path) -> None:
    path = sample_run.failed(tmp_path)
    page = page_of(path)
    assert "1 passed, 1 failed, 1 skipped" in page.text
    assert "packet 4 on c1-eth0: lvs -> c1, SYN-ACK seq=917331201 ack=2840172614" in page.text
    assert "demanded src 10.0.0.10:80 dst <client> & nothing else" in page.text
    assert "✗ FAIL" in page.text and "○ SKIP" in page.text
    assert "no kernel here has SYNPROXY" in page.text
    assert "verify proves packet paths and measures nothing" in page.text
    assert "captures/nat.contract.txt" in page.links


@pytest.mark.usefixtures("sketched")
def test_missing_measurements_are_said_and_not_drawn_as_nothing(tmp_path: Path) -> None:
    page = page_of(sample_run.gaps(tmp_path))
    assert "Connection refused" in page.text
    assert "60 requests are too few for p99" in page.text
    assert "captures/dr.path.json is not there or cannot be read" in page.text
    assert "The director's counters were not recorded." in page.text
    assert any("DR no number (wrk: unable to connect" in label for label in page.labels)


@pytest.mark.usefixtures("sketched")
def test_an_interrupted_run_says_what_it_is(tmp_path: Path) -> None:
    page = page_of(sample_run.interrupted(tmp_path))
    assert (
        "This run is not complete (interrupted)" in page.text and "the last sample was cut off" in page.text
    )
    assert "not measured" in page.text


def test_an_empty_run_is_a_page_that_says_so(tmp_path: Path) -> None:
    report = write_report(sample_run.empty(tmp_path))
    page = Page(report.html.read_text(encoding="utf-8"))
    for sentence in (
        "This run holds no verdict",
        "This run holds no measurements",
        "No lab was started",
        "no space for the guests",
    ):
        assert sentence in page.text
    assert report.figures == () and page.tags["svg"] == 0


@pytest.mark.usefixtures("sketched")
def test_a_run_that_was_killed_is_not_called_passed(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    file = path / "run.json"
    file.write_text(file.read_text().replace('"status": "complete"', '"status": "running"'))
    assert "STILL RUNNING, OR KILLED" in page_of(path).text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        run.add_lab(replace(sample_lab.lab("nat"), name="<b>&$x_1$"))
        run.add_result(Result("<script>alert(1)</script>", "fail", "a < b $\\frac$", ("../../etc/passwd",)))
        run.sample(lab="<b>&$x_1$", mode="nat", metric="<i>", unit="$", repeat=0, value=3.0)
    report = write_report(run.path)
    page = Page(report.html.read_text(encoding="utf-8"))
    assert page.tags["script"] == 0 and "<script>alert(1)</script>" in page.text
    assert not [link for link in page.links if "passwd" in link]


@pytest.mark.usefixtures("sketched")
def test_the_report_may_stand_elsewhere_and_links_back(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path / "runs", modes=["nat"])
    report = write_report(path, tmp_path / "reports" / "one")
    assert report.html == tmp_path / "reports" / "one" / "report.html" and not (path / "report.html").exists()
    links = [link for link in Page(report.html.read_text()).links if not link.startswith("#")]
    assert links and all((report.html.parent / link).exists() for link in links)


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run\.json"):
        write_report(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CannotError, match="the report cannot be written"):
        write_report(sample_run.empty(tmp_path), tmp_path / "file")


@pytest.mark.usefixtures("sketched")
def test_two_labs_of_one_mode_are_told_apart(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        for name, value in (("nat-6.1", 1e9), ("nat-7.2", 2e9)):
            run.add_lab(replace(sample_lab.lab("nat"), name=name))
            run.sample(lab=name, mode="nat", metric="throughput", unit="bit/s", repeat=0, value=value)
    table = text.summary_table(load(run.path))
    assert table.headers == ("Metric", "NAT · nat-6.1", "NAT · nat-7.2")
    assert table.rows == (("Throughput", "1.00 Gbit/s (n 1)", "2.00 Gbit/s (n 1)"),)
    assert "NAT · nat-7.2" in page_of(run.path).text


@pytest.mark.usefixtures("sketched")
def test_a_mode_and_a_metric_of_a_later_version_are_shown_all_the_same(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        run.add_lab(replace(sample_lab.lab("nat"), name="gue", mode="gue"))
        run.sample(lab="gue", mode="gue", metric="failover_gap", unit="s", repeat=0, value=0.84)
    page = page_of(run.path)
    assert "Failover gap" in page.text and "840 ms" in page.text and "gue" in page.text


def test_reports_draw_without_a_screen_or_global_state() -> None:
    """pyplot keeps figures until somebody closes them, and may want a display."""
    for file in Path(next(iter(lvslab.report.__path__))).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if "pyplot" in name], file


def test_figure_and_table_have_one_latency() -> None:
    """The median of the repeats' percentiles: pooled, a slow repeat would count for more."""
    repeats = [[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [30.0, 40.0, 50.0]]
    assert charts.typical(repeats, 50) == 3.0
    assert charts.typical([[], []], 50) is None


def test_a_share_of_a_processor_is_shown_in_per_cent() -> None:
    assert [units.quantity(value, "share") for value in (0.0461, 1.5, 0.0)] == ["4.61 %", "150 %", "0 %"]
