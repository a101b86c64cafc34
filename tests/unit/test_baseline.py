"""Baselines: what is kept is found again by what it did, and says what changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lvslab.cli.finished import settle
from lvslab.comparison.baseline import find, keep
from lvslab.comparison.compare import compare
from lvslab.errors import CannotError, LabError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs import rundir
from tests.unit.commands import lvslab
from tests.unit.compared import START, lab, result, write_run

RATES = [float(each) for each in range(100, 109)]


def test_a_kept_run_holds_all_that_a_comparison_reads(tmp_path: Path) -> None:
    run = write_run(tmp_path, results=[result("a")], samples={"throughput": RATES}, trials=[("mon", 1.0)] * 3)
    (run / "captures" / "nat.pcapng").write_bytes(b"large")
    place = keep(tmp_path, run)
    assert place.parent.name.startswith("6.1.0-") and place.parent.parent.name.startswith("story-")
    assert not (place / "captures").exists()
    shutil.rmtree(run)
    new = write_run(
        tmp_path,
        results=[result("a")],
        samples={"throughput": RATES},
        trials=[("mon", 1.0)] * 3,
        started=START + 100,
    )
    found = compare(find(tmp_path, new), new)
    assert not found.regressions and {each.name for each in found.findings} >= {
        "a",
        "nat: throughput",
        "mon: outage",
    }
    assert rundir.load(place).trials == rundir.load(new).trials


def test_the_newest_of_the_same_configuration_is_found_whatever_its_kernel(tmp_path: Path) -> None:
    kept = {}
    for number, kernel in enumerate(("6.1.0", "6.12.0", "7.2.0")):
        run = write_run(
            tmp_path, labs=[lab(kernel=kernel)], parameters={"rate": 5}, started=START + 100 * number
        )
        kept[kernel] = keep(tmp_path, run)
    other = write_run(tmp_path, parameters={"rate": 6}, started=START + 900)
    keep(tmp_path, other)
    new = write_run(
        tmp_path,
        labs=[lab(kernel="7.3.0")],
        parameters={"rate": 5, "net.ipv4.vs.drop_packet": "3"},
        started=START + 950,
    )
    assert find(tmp_path, new) == kept["7.2.0"]
    assert find(tmp_path, new, "6.12.0") == kept["6.12.0"]
    with pytest.raises(CannotError, match=r"on kernel 5\.10 in .*; kept: 6\.1\.0, 6\.12\.0, 7\.2\.0"):
        find(tmp_path, new, "5.10")


def test_a_part_of_the_suite_is_no_baseline_of_the_whole(tmp_path: Path) -> None:
    part = write_run(tmp_path, kind="verify", name="verify-full", parameters={"only": ["ops:*"]})
    keep(tmp_path, part)
    whole = write_run(tmp_path, kind="verify", name="verify-full")
    with pytest.raises(CannotError, match="no baseline of 'verify-full'"):
        find(tmp_path, whole)
    assert find(
        tmp_path, write_run(tmp_path, kind="verify", name="verify-full", parameters={"only": ["ops:*"]})
    )


def test_nothing_kept_says_how_to_keep(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="run the base with --baseline keep"):
        find(tmp_path, write_run(tmp_path))


def test_a_run_is_not_its_own_baseline_and_keeping_twice_keeps_one(tmp_path: Path) -> None:
    run = write_run(tmp_path, results=[result("a")])
    assert keep(tmp_path, run) == keep(tmp_path, run)
    assert len(list((tmp_path / "baselines").glob("*/*/*"))) == 1
    with pytest.raises(CannotError, match="no baseline of 'story'"):
        find(tmp_path, run)
    older = keep(tmp_path, write_run(tmp_path, started=START - 100))
    assert find(tmp_path, run) == older


@pytest.mark.parametrize(
    ("error", "status"), [(LabError("died"), "broken"), (KeyboardInterrupt(), "interrupted")]
)
def test_half_a_run_is_no_baseline(tmp_path: Path, error: BaseException, status: str) -> None:
    with pytest.raises(UsageError, match=f"is {status}, so it is no baseline"):
        keep(tmp_path, write_run(tmp_path, error=error))
    assert not (tmp_path / "baselines").exists()


def test_a_half_written_baseline_is_never_found(tmp_path: Path) -> None:
    run, new = write_run(tmp_path), write_run(tmp_path, started=START + 100)
    place = keep(tmp_path, run)
    place.rename(place.with_name(f".{place.name}.new"))
    with pytest.raises(CannotError, match="no baseline"):
        find(tmp_path, new)
    assert keep(tmp_path, run) == place and not place.with_name(f".{place.name}.new").exists()


def test_a_baseline_that_cannot_be_written_is_said_and_is_exit_code_4(tmp_path: Path) -> None:
    (tmp_path / "baselines").touch()
    run, half = write_run(tmp_path), write_run(tmp_path, error=LabError("died"), started=START + 100)
    with pytest.raises(CannotError, match="the baseline cannot be kept"):
        keep(tmp_path, run)
    comparisons = settle(tmp_path, (), "keep", tmp_path, [run, half])
    assert comparisons.code == ExitCode.CANNOT
    unwritten, broken = comparisons.kept
    assert unwritten.startswith("baseline: not kept: ") and "cannot be kept: " in unwritten
    assert "is broken, so it is no baseline" in broken
    assert comparisons.as_json() == {"baselines": [unwritten, broken]}
    assert settle(tmp_path, (), "keep", tmp_path, [half]).code == ExitCode.OK


def test_the_command_compares_with_the_baseline(tmp_path: Path) -> None:
    def options(kernel: str, verdict: str, started: float) -> dict[str, Any]:
        return {"labs": [lab(kernel=kernel)], "results": [result("a", verdict)], "started": started}

    new = write_run(tmp_path / "here", **options("7.2.0", "fail", START + 100))
    nothing = lvslab("compare", "--baseline", str(new), "--runs", str(tmp_path), place=tmp_path)
    assert nothing.code == 4 and "--baseline keep" in nothing.err and nothing.err.count("\n") == 1
    keep(tmp_path, write_run(tmp_path / "here", **options("6.1.0", "pass", START)))
    done = lvslab("compare", "--baseline", str(new), "--runs", str(tmp_path), "--json", place=tmp_path)
    assert done.code == 1, done.err
    data = json.loads(done.out)
    assert [each["new"] for each in data["under_test"]] == ["uml 7.2.0 (config 7.2.0000)"]
    assert [(each["name"], each["verdict"]) for each in data["results"]] == [("a", "fail")]
    assert (
        lvslab(
            "compare", "--baseline", str(new), "--runs", str(tmp_path), "--release", "5.4", place=tmp_path
        ).code
        == 4
    )
