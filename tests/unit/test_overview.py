"""The overview of several runs: the matrix of their verdicts and outages, and its page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lvslab.errors import CannotError, UsageError
from lvslab.report import grid
from lvslab.report.overview import write_overview
from lvslab.report.page import write_report
from lvslab.runs.records import Trial
from lvslab.runs.rundir import load
from tests.integration.failover_runs import failing, run_of, trial_entry
from tests.integration.pages import Page
from tests.unit import sample_run


def test_the_cells_of_the_matrix_are_verdict_and_median(tmp_path: Path) -> None:
    trials: list[tuple[Trial, dict[int, str] | None]] = []
    for repeat, length in ((1, 20), (2, 30), (3, 40)):
        trials.append((trial_entry(repeat, "mon"), failing(100, 100 + length)))
        trials.append(
            (trial_entry(repeat, "none", verdict="fail" if repeat == 2 else "pass"), failing(100, 400))
        )
        trials.append((trial_entry(repeat, "mon", "tun", verdict=None), {}))
    trials.append((trial_entry(1, "none", "tun", verdict=None), None))
    found = grid.of_run(load(run_of(tmp_path, trials)))
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
        (trial_entry(), {**failing(100, 110), **failing(250, 290)}),
        (trial_entry(variant="idle", interval=None, verdict="fail"), None),
    ]
    first, second = grid.of_run(load(run_of(tmp_path, trials))).rows
    assert (first.cells["nat"].text, first.cells["nat"].note) == ("100 ms", "40 failed later")
    assert second.cells["nat"] == grid.Cell("fail", "failed", "no attempts were planned")


def test_a_run_without_trials_has_its_verdicts_in_the_matrix(tmp_path: Path) -> None:
    found = grid.of_run(load(sample_run.failed(tmp_path)))
    assert {mode: cell.verdict for mode, cell in found.rows[0].cells.items()} == {
        "nat": "fail",
        "dr": "pass",
        "synproxy": "skip",
    }


@pytest.mark.usefixtures("sketched")
def test_the_overview_of_several_runs_links_to_their_reports(tmp_path: Path) -> None:
    first = run_of(tmp_path / "runs", [(trial_entry(1), failing(100, 120))], "one")
    second = run_of(tmp_path / "runs", [(trial_entry(1, mode="dr"), failing(100, 140))], "two")
    for path in (first, second):
        document = json.loads((path / "run.json").read_text())
        document["scenario"]["title"] = "One & the same"
        (path / "run.json").write_text(json.dumps(document))
    write_report(first)
    report = write_overview([first, second, tmp_path / "nothing"], tmp_path / "all")
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
    again = write_overview([first, second, tmp_path / "nothing"], tmp_path / "all")
    assert page.text == Page(again.html.read_text()).text


def test_the_cells_of_a_kernel_matrix_have_rows_of_their_own_and_names(tmp_path: Path) -> None:
    """Two kernels, one mode: neither hides the other."""
    paths = []
    for folder, kernel, length in (("a", "uml", 20), ("b", "debian/trixie", 40)):
        path = run_of(tmp_path / folder, [(trial_entry(1), failing(100, 100 + length))], "same")
        document = json.loads((path / "run.json").read_text())
        for node in document["labs"][0]["nodes"]:
            if node["role"] == "director":
                node["kernel"] |= {"name": kernel, "release": f"6.{length}"}
        document["parameters"]["net.ipv4.vs.drop_entry"] = length
        (path / "run.json").write_text(json.dumps(document))
        paths.append(path)
    runs = [load(path) for path in paths]
    assert grid.labels(runs) == ["uml (6.20), drop_entry=20", "debian/trixie (6.40), drop_entry=40"]
    assert grid.labels(runs[:1]) == [""]
    twice = [load(run_of(tmp_path / folder, [(trial_entry(1), {})], "same")) for folder in ("c", "d")]
    assert grid.labels(twice) == ["run 1", "run 2"]
    page = Page(write_overview(paths, tmp_path / "all").html.read_text())
    (label,) = page.labels
    assert "uml (6.20)" in label and "200 ms" in label
    assert "debian/trixie (6.40)" in label and "400 ms" in label


def test_an_overview_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such run directory"):
        write_overview([tmp_path / "nothing"], tmp_path / "out")
    with pytest.raises(UsageError, match="at least one"):
        write_overview([], tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(CannotError, match="the overview cannot be written"):
        write_overview([run_of(tmp_path, [(trial_entry(), {})])], tmp_path / "file")
