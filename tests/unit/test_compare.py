"""Comparing runs: what is a regression, what is not, and what cannot be said; on run directories
written by the real writer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lvslab.cli.compare import write_files
from lvslab.comparison.compare import compare
from lvslab.comparison.findings import Status
from lvslab.errors import CannotError, LabError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.report import comparison as words
from lvslab.runs.records import Result, Verdict
from tests.unit.commands import lvslab
from tests.unit.compared import HOST, TOOLS, compared, lab, noisy, only, result, write_run


@pytest.mark.parametrize(
    ("before", "after", "status", "code"),
    [
        (["pass"], ["pass"], Status.SAME, ExitCode.OK),
        (["pass"], ["fail"], Status.NEWLY_FAILING, ExitCode.FAILED),
        (["fail"], ["pass"], Status.FIXED, ExitCode.OK),
        (["fail"], ["fail"], Status.STILL_FAILING, ExitCode.OK),
        (["pass"], ["skip"], Status.NEWLY_SKIPPED, ExitCode.CANNOT),
        (["fail"], ["skip"], Status.NEWLY_SKIPPED, ExitCode.CANNOT),
        (["skip"], ["skip"], Status.SKIPPED, ExitCode.CANNOT),
        (["skip"], ["fail"], Status.ADDED, ExitCode.CANNOT),
        (["pass"], [], Status.MISSING, ExitCode.CANNOT),
        ([], ["fail"], Status.ADDED, ExitCode.CANNOT),
        (["pass"] * 3, ["pass", "pass", "fail"], Status.NEWLY_FAILING, ExitCode.FAILED),
        (["fail", "pass", "pass"], ["pass", "fail", "pass"], Status.STILL_FAILING, ExitCode.OK),
        (["fail"] + ["pass"] * 9, ["fail"] * 10, Status.FAILING_MORE, ExitCode.FAILED),
    ],
)
def test_what_became_of_an_expectation(
    tmp_path: Path, before: list[Verdict], after: list[Verdict], status: Status, code: ExitCode
) -> None:
    def results(verdicts: Sequence[Verdict]) -> list[Result]:
        return [
            result(f"with sync, {number}: takes over", verdict)
            for number, verdict in enumerate(verdicts, start=1)
        ]

    found = compared(tmp_path, {"results": results(before)}, {"results": results(after)})
    assert (only(found, "with sync: takes over").status, found.code) == (status, code)


def test_a_single_check_of_a_mode_is_named(tmp_path: Path) -> None:
    base = result("nat", checks={"tcp": "pass", "arp": "pass"})
    new = result("nat", "fail", checks={"tcp": "pass", "arp": "fail"})
    found = compared(tmp_path, {"kind": "verify", "results": [base]}, {"kind": "verify", "results": [new]})
    (regression,) = found.regressions
    assert (regression.name, regression.reason) == ("nat: arp", "arp: fail")
    assert regression.evidence[0].endswith("captures/nat.pcapng") and "/new/" in regression.evidence[0]


def test_a_mode_that_is_skipped_as_a_whole_says_why_for_each_of_its_checks(tmp_path: Path) -> None:
    base = {"kind": "verify", "results": [result("nat", checks={"tcp": "pass", "arp": "pass"})]}
    new = {"kind": "verify", "results": [result("nat", "skip", "kernel lacks ip_vs")]}
    found = compared(tmp_path, base, new)
    assert [(each.name, each.reason) for each in found.of(Status.NEWLY_SKIPPED)] == [
        ("nat: tcp", "kernel lacks ip_vs"),
        ("nat: arp", "kernel lacks ip_vs"),
    ]


def test_a_new_run_that_broke_is_a_regression_and_one_that_broke_before_is_not(tmp_path: Path) -> None:
    died = LabError("lvs: the guest kernel died: kernel panic")
    found = compared(
        tmp_path, {"results": [result("a"), result("b")]}, {"results": [result("a")], "error": died}
    )
    (regression,) = found.regressions
    assert "kernel panic" in regression.reason and found.code == ExitCode.FAILED
    assert only(found, "b").reason == "not in the new run, which is broken"
    again = compared(
        tmp_path / "again",
        {"results": [result("a")], "error": died},
        {"results": [result("a")], "error": died},
    )
    assert again.code == ExitCode.OK and any("base run is broken" in note for note in again.notes)


def test_strict_counts_what_is_no_longer_checked(tmp_path: Path) -> None:
    base, new = (
        write_run(tmp_path, results=[result("a"), result("b", verdict)]) for verdict in ("pass", "skip")
    )
    assert compare(base, new).code == ExitCode.OK
    assert compare(base, new, strict=True).code == ExitCode.FAILED
    assert compare(new, base, strict=True).code == ExitCode.OK


GOOD: dict[str, Any] = {
    "results": [result("a")],
    "samples": {"throughput": [float(i) for i in range(100, 108)]},
}


@pytest.mark.parametrize(
    ("base", "new", "sentence"),
    [
        ({}, {"name": "other"}, "different scenarios: story and other"),
        ({}, {"kind": "verify"}, "different kinds of run: run and verify"),
        ({"parameters": {"rate": 5}}, {"parameters": {"rate": 7}}, "different parameters: rate: 5 -> 7"),
        ({}, {"labs": [lab(scheduler="wlc")]}, "lab 'nat': different networks or services"),
        (
            {},
            {"labs": [lab(server="uml")]},
            "lab 'nat': real server rs1 placed otherwise: host 6.18.0 and uml 6.18.0",
        ),
    ],
)
def test_what_is_no_comparison_is_named(
    tmp_path: Path, base: dict[str, Any], new: dict[str, Any], sentence: str
) -> None:
    found = compared(tmp_path, GOOD | base, GOOD | new)
    assert sentence in found.not_comparable and not found.findings and found.code == ExitCode.CANNOT


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ({"host": HOST | {"cpu_model": "Other CPU"}}, "different machines: processor: Some CPU -> Other CPU"),
        ({"host": HOST | {"cpus": 8}}, "number of processors: 2 -> 8"),
        ({"tools": TOOLS | {"wrk": "wrk 4.2.0"}}, "different tools: wrk: wrk 4.1.0 -> wrk 4.2.0"),
        ({"labs": [lab(others="6.19.0")]}, "clients ran different kernels: host 6.18.0 and host 6.19.0"),
        ({"labs": [lab(kind="qemu")]}, "directors on different machines: uml and qemu"),
    ],
)
def test_verdicts_are_compared_where_numbers_cannot_be(
    tmp_path: Path, new: dict[str, Any], sentence: str
) -> None:
    found = compared(tmp_path, GOOD, GOOD | new)
    assert any(sentence in each for each in found.not_comparable), found.not_comparable
    assert only(found, "a").status == Status.SAME
    assert only(found, "nat: throughput").status == Status.NOT_COMPARABLE


def test_kernel_and_sysctls_are_what_is_compared(tmp_path: Path) -> None:
    new = {"labs": [lab(kernel="7.2.0")], "parameters": {"net.ipv4.vs.drop_packet": "3", "repeat": 9}}
    found = compared(tmp_path, GOOD | {"parameters": {"repeat": 3}}, GOOD | new)
    assert found.code == ExitCode.OK and not found.not_comparable
    assert [(each.what, each.new) for each in found.under_test] == [
        ("kernel of the directors", "uml 7.2.0 (config 7.2.0000)"),
        ("net.ipv4.vs.drop_packet", "3"),
    ]
    same = compared(tmp_path / "same", GOOD, GOOD)
    assert not same.under_test and "nothing differs" in "\n".join(words.sides(same))


def test_folders_are_paired_by_scenario_and_parameters(tmp_path: Path) -> None:
    for side, verdict in (("base", "pass"), ("new", "fail")):
        write_run(tmp_path / side, name="cut", parameters={"mode": "nat"}, results=[result("a")])
        write_run(tmp_path / side, name="cut", parameters={"mode": "dr"}, results=[result("a", verdict)])
    write_run(tmp_path / "new", name="drain", results=[result("a")])
    found = compare(tmp_path / "base", tmp_path / "new")
    assert [each.title for each in found.regressions] == ["cut (dr): a"]
    assert found.not_comparable == ("drain: in the new place only",)


def test_runs_of_the_same_are_repetitions(tmp_path: Path) -> None:
    for side, factor in (("base", 1.0), ("new", 2.0)):
        for number in range(8):
            write_run(
                tmp_path / side, results=[result("a")], samples={"throughput": [factor * (100 + number)]}
            )
    found = compare(tmp_path / "new", tmp_path / "base")
    (regression,) = found.regressions
    assert regression.change is not None and (regression.change.base_n, regression.change.new_n) == (8, 8)


def test_a_folder_of_several_kernels_is_refused_and_an_empty_one_too(tmp_path: Path) -> None:
    for kernel in ("6.1.0", "7.2.0"):
        write_run(tmp_path / "mixed" / "deep", labs=[lab(kernel=kernel)])
    with pytest.raises(UsageError, match="holds 'story' of several kernels or settings"):
        compare(tmp_path / "mixed" / "deep", tmp_path / "mixed" / "deep")
    with pytest.raises(UsageError, match="name one of the folders in it: deep"):
        compare(tmp_path / "mixed", tmp_path / "mixed" / "deep")
    with pytest.raises(UsageError, match="no such run directory"):
        compare(tmp_path / "nowhere", tmp_path / "mixed" / "deep")


def test_the_command_says_it_in_every_format(tmp_path: Path) -> None:
    base = write_run(tmp_path / "base", results=[result("a"), result("b")], samples=noisy(1, 8))
    new = write_run(
        tmp_path / "new",
        labs=[lab(kernel="7.2.0")],
        results=[result("a", "fail", "no answer"), result("b", "skip", "cannot")],
        samples=noisy(2, 8, 2.0, "throughput"),
    )
    files = {kind: tmp_path / f"found.{kind}" for kind in ("junit", "tap", "markdown")}
    done = lvslab(
        "compare",
        str(base),
        str(new),
        "--json",
        *(word for kind, file in files.items() for word in (f"--{kind}", str(file))),
        place=tmp_path,
    )
    assert done.code == 1, done.err
    data = json.loads(done.out)
    verdicts = {each["name"]: each["verdict"] for each in data["results"]}
    assert (verdicts["a"], verdicts["b"], verdicts["nat: throughput"]) == ("fail", "skip", "fail")
    assert all(set(each) >= {"name", "verdict", "reason", "evidence"} for each in data["results"])
    suite = ElementTree.parse(files["junit"]).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("7", "2", "1")
    assert files["tap"].read_text().count("\nnot ok ") == 2
    mail = files["markdown"].read_text()
    assert all(
        len(line) <= 75 for line in mail.splitlines() if str(tmp_path) not in line
    )  # a path is not folded
    assert all(
        word in mail
        for word in (
            "uml 6.1.0",
            "uml 7.2.0",
            "a: newly failing; no answer",
            "nat: throughput: worse",
            "lvslab compare",
        )
    )
    whole = lvslab("compare", str(base), str(new), "--all", "--markdown", "-", place=tmp_path).out
    assert "### Every number" in whole and "base, median" in whole and "base, median" not in mail
    text = lvslab("compare", str(base), str(new), place=tmp_path).out
    assert "REGRESSION: 2 findings" in text and "no answer" in text
    assert lvslab("compare", str(base), str(base), place=tmp_path).code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare"], ["two runs", "--baseline"]),
        (["compare", "one"], ["two runs"]),
        (["compare", "/nonexistent", "/nonexistent"], ["/nonexistent"]),
        (["compare", "--baseline", "a", "b"], ["NEW alone"]),
        (["compare", "--release", "6.1", "a", "b"], ["--baseline"]),
        (["compare", "a", "b", "--floor", "much"], ["much"]),
        (["compare", "a", "b", "--level", "2"], ["2"]),
    ],
)
def test_wrong_input_is_exit_code_2(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    done = lvslab(*arguments, place=tmp_path)
    assert done.code == 2 and done.out == "" and done.err.count("\n") == 1
    assert all(word in done.err for word in words), done.err


def test_a_comparison_needs_nothing_but_the_run_directory() -> None:
    code = (
        "import sys, lvslab.comparison.compare, lvslab.comparison.baseline, lvslab.report.comparison\nedges ="
        " ('lvslab.lab', 'lvslab.lab', 'lvslab.traffic', 'lvslab.kernels', 'lvslab.plan', 'lvslab.cli',"
        " 'numpy', 'mininet')\nprint([name for name in sys.modules if name.startswith(edges)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_check_that_failed_once_is_to_be_confirmed_and_one_tried_often_is_not(tmp_path: Path) -> None:
    def suite(place: str, verdict: str, times: int) -> Path:
        for _ in range(times):
            run = write_run(
                tmp_path / place, kind="verify", name="verify-full", results=[result("ops:udp", verdict)]
            )
            record = json.loads((run / "run.json").read_text())
            (run / "run.json").write_text(json.dumps(record | {"command": ["lvslab", "verify", "--full"]}))
        return tmp_path / place

    once = compare(suite("a", "pass", 1), suite("b", "fail", 1))
    assert [line for line in words.advice(once) if "--only ops:udp" in line and "--repeat" in line]
    often = compare(suite("c", "pass", 3), suite("d", "fail", 3))
    assert often.code == ExitCode.FAILED and not words.advice(often)


def test_what_a_comparison_does_not_show_it_counts(tmp_path: Path) -> None:
    def suite(place: str, verdict: str, checks: int) -> Path:
        results = [result(f"ops:{number}", verdict) for number in range(checks)]
        run = write_run(tmp_path / place, kind="verify", name="verify-full", results=results)
        record = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(record | {"command": ["lvslab", "verify", "--full"]}))
        return run

    many = compare(suite("a", "pass", 11), suite("b", "fail", 11))
    assert words.evidence(many)[-1] == "evidence of 6 more findings: --json"
    assert "(these are 8 of 11; all: --json)" in " ".join(words.advice(many))
    few = compare(suite("c", "pass", 2), suite("d", "fail", 2))
    assert len(words.evidence(few)) == 2 and "these are" not in " ".join(words.advice(few))


def test_a_file_that_cannot_be_written_after_all_is_no_broken_lab(tmp_path: Path) -> None:
    found = compare(write_run(tmp_path / "base"), write_run(tmp_path / "new"))
    with pytest.raises(CannotError, match="cannot be written: Is a directory"):
        write_files(found, junit=tmp_path, tap=None, markdown=None)
