"""Comparing runs: what is a regression, what is not, and what cannot be said; on run directories
written by the real writer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from lvslab.cli.compare import write_files
from lvslab.comparison import numbers
from lvslab.comparison.compare import Comparison, compare
from lvslab.comparison.findings import Finding, Status
from lvslab.comparison.metrics import Series
from lvslab.comparison.numbers import Limits
from lvslab.errors import CannotError, LabError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.report import comparison as words
from lvslab.runs.records import Result, Verdict
from tests.unit.compared import HOST, START, TOOLS, lab, result, write_bench, write_run


def compared(tmp_path: Path, base: Mapping[str, Any], new: Mapping[str, Any], **limits: float) -> Comparison:
    """Two runs compared, written from the arguments of `write_run`."""
    return compare(write_run(tmp_path / "base", **base), write_run(tmp_path / "new", **new), Limits(**limits))


def only(found: Comparison, name: str) -> Finding:
    (finding,) = [each for each in found.findings if each.name == name]
    return finding


# -- verdicts --------------------------------------------------------------------------------------


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


# -- numbers ---------------------------------------------------------------------------------------

RATES = {
    "requests_per_second": 9000.0,
    "connections_per_second": 3100.0,
    "throughput": 8.9e9,
    "director_cpu": 0.00011,
    "retransmits": 240.0,
}


def noisy(seed: int, repeat: int, factor: float = 1.0, slow: str = "") -> dict[str, list[float | None]]:
    """Samples as a shared machine gives them: 4 % of noise, a hiccup of 20 % now and then; `slow`
    is divided by `factor`.
    """
    noise = np.random.default_rng(seed)
    samples: dict[str, list[float | None]] = {}
    for metric, middle in RATES.items():
        values = middle * noise.normal(1.0, 0.04, repeat) * np.where(noise.random(repeat) < 0.1, 0.8, 1.0)
        samples[metric] = [float(value / (factor if metric == slow else 1.0)) for value in values]
    return samples


def test_twenty_comparisons_of_the_same_raise_no_alarm(tmp_path: Path) -> None:
    for seed in range(20):
        base, new = {"samples": noisy(2 * seed, 8)}, {"samples": noisy(2 * seed + 1, 8)}
        found = compared(tmp_path / str(seed), base, new)
        assert found.code == ExitCode.OK, words.headline(found)
        assert found.counts[Status.UNCHANGED] == len(RATES)


def test_false_alarms_stay_below_the_level_whatever_the_repetitions() -> None:
    def judged(seed: int) -> list[Status]:
        base, new = noisy(1000 + seed, 6 + seed % 5), noisy(5000 + seed, 6 + seed % 7)
        pairs = [
            numbers.Pair(
                "", *(Series(metric, "", "more", tuple(filter(None, side[metric]))) for side in (base, new))
            )
            for metric in RATES
        ]
        return [finding.status for finding in numbers.compare(pairs, Limits(level=0.05, floor=0.0))]

    alarms = sum(Status.WORSE in judged(seed) for seed in range(200))
    # 0.025 x 200 = 5 are expected at most; more than 14 come once in 5,000 times
    assert alarms <= 14


def test_a_slowdown_is_found_and_an_improvement_is_none(tmp_path: Path) -> None:
    slow = compared(tmp_path, {"samples": noisy(1, 8)}, {"samples": noisy(2, 8, 2.0, "requests_per_second")})
    (regression,) = slow.regressions
    assert (regression.name, regression.status) == ("nat: requests per second", Status.WORSE)
    assert regression.change is not None and regression.change.relative == pytest.approx(-0.5, abs=0.05)
    assert slow.code == ExitCode.FAILED
    fast = compared(
        tmp_path / "fast", {"samples": noisy(1, 8, 2.0, "requests_per_second")}, {"samples": noisy(2, 8)}
    )
    assert only(fast, "nat: requests per second").status == Status.BETTER and fast.code == ExitCode.OK


def test_the_worse_direction_is_that_of_the_metric(tmp_path: Path) -> None:
    up, down = [100.0 + i for i in range(8)], [200.0 + i for i in range(8)]
    for metric, status in (
        ("throughput", Status.BETTER),
        ("director_cpu", Status.WORSE),
        ("brightness", Status.CHANGED),
    ):
        found = compared(tmp_path / metric, {"samples": {metric: up}}, {"samples": {metric: down}})
        assert [each.status for each in found.findings] == [status]
        assert found.code == (ExitCode.FAILED if status == Status.WORSE else ExitCode.OK)


def test_too_few_repetitions_say_how_many_more_and_never_that_nothing_changed(tmp_path: Path) -> None:
    found = compared(tmp_path, {"samples": noisy(1, 3)}, {"samples": noisy(2, 3, 2.0, "requests_per_second")})
    assert {each.status for each in found.findings} == {Status.TOO_FEW}
    assert (
        found.repetitions_needed == 7 and found.code == ExitCode.CANNOT
    )  # 2 / C(14, 7) <= 0.01 / 5 < 2 / C(12, 6)
    assert any("--repeat 7" in line for line in words.advice(found))
    enough = compared(
        tmp_path / "enough", {"samples": noisy(1, 7)}, {"samples": noisy(2, 7, 2.0, "requests_per_second")}
    )
    assert enough.repetitions_needed is None and enough.code == ExitCode.FAILED


def test_a_change_below_the_floor_counts_for_nothing(tmp_path: Path) -> None:
    base, new = (
        {"samples": {"throughput": [100 + i / 100 for i in range(9)]}},
        {"samples": {"throughput": [97 + i / 100 for i in range(9)]}},
    )
    assert compared(tmp_path, base, new, floor=0.05).code == ExitCode.OK
    assert compared(tmp_path / "fine", base, new, floor=0.02).code == ExitCode.FAILED


def test_requests_inside_a_repetition_are_one_value(tmp_path: Path) -> None:
    noise = np.random.default_rng(3)
    places = []
    for side in ("base", "new"):
        place = write_run(tmp_path / side)
        lines = []
        for repeat in range(1, 4):
            middle = noise.normal(0.002, 0.0003)  # each repetition has its own minute
            values = [float(each) for each in noise.normal(middle, 1e-5, 1000)]
            lines.append(
                {
                    "t": START,
                    "lab": "nat",
                    "mode": "nat",
                    "metric": "latency",
                    "unit": "s",
                    "repeat": repeat,
                    "values": values,
                }
            )
        (place / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        places.append(place)
    found = compare(*places)
    assert [(each.name, each.status) for each in found.findings] == [
        ("nat: latency, p50", Status.TOO_FEW),
        ("nat: latency, p99", Status.TOO_FEW),
    ]
    assert all(each.change and each.change.base_n == 3 for each in found.findings)


def test_measurements_that_all_fail_now_are_a_regression(tmp_path: Path) -> None:
    found = compared(
        tmp_path, {"samples": {"throughput": [1.0, 2.0]}}, {"samples": {"throughput": [None, None]}}
    )
    (regression,) = found.regressions
    assert regression.status == Status.NEWLY_FAILING and "3 of 9 requests failed" in regression.reason
    back = compared(
        tmp_path / "back", {"samples": {"throughput": [None, None]}}, {"samples": {"throughput": [1.0, 2.0]}}
    )
    assert back.code == ExitCode.CANNOT


def test_outages_of_trials_are_compared_and_the_probe_interval_is_their_resolution(tmp_path: Path) -> None:
    base = {"trials": [("mon", 1.0 + i / 100) for i in range(8)]}
    longer = compared(tmp_path, base, {"trials": [("mon", 2.0 + i / 100) for i in range(8)]})
    assert {each.name for each in longer.regressions} == {
        "mon: outage",
        "mon: detection",
        "mon: failed attempts",
    }
    change = only(longer, "mon: outage").change
    assert (
        change is not None
        and change.base == pytest.approx(1.035, abs=0.011)
        and change.new == pytest.approx(2.035, abs=0.011)
    )
    short = {"trials": [("mon", 0.02)] * 8}
    hardly = compared(tmp_path / "hardly", short, {"trials": [("mon", 0.03)] * 8})
    assert only(hardly, "mon: outage").status == Status.UNCHANGED


# -- virtual time ----------------------------------------------------------------------------------


def test_in_virtual_time_one_per_cent_is_a_change_and_the_seeds_spread_is_none(tmp_path: Path) -> None:
    base = write_bench(tmp_path / "a", {"nat": [2860.0, 2861.0, 2859.5], "dr": [2560.0, 2590.0, 2540.0]})
    same = write_bench(tmp_path / "b", {"nat": [2860.5, 2861.2, 2859.4], "dr": [2570.0, 2595.0, 2551.0]})
    slow = write_bench(
        tmp_path / "c", {"nat": [2889.0, 2890.0, 2888.0], "dr": [2570.0, 2595.0, 2551.0]}, "7.2.0"
    )
    assert compare(base, same).code == ExitCode.OK
    found = compare(base, slow)
    (regression,) = found.regressions
    assert regression.name == "nat" and regression.change is not None
    assert regression.change.relative == pytest.approx(0.0101, abs=1e-4)
    assert [str(each) for each in found.under_test] == [
        "kernel of the directors: qemu 6.1.0 (config 6.1.0000) -> qemu 7.2.0 (config 7.2.0000)"
    ]
    assert compare(slow, base).code == ExitCode.OK  # faster
    assert compare(base, slow, Limits(bench_floor=0.02)).code == ExitCode.OK


def test_one_seed_shows_no_spread_and_another_qemu_no_cost(tmp_path: Path) -> None:
    base, one = (
        write_bench(tmp_path / "a", {"nat": [2860.0, 2861.0]}),
        write_bench(tmp_path / "b", {"nat": [2889.0]}),
    )
    assert [each.status for each in compare(base, one).findings] == [Status.TOO_FEW]
    other = write_bench(tmp_path / "c", {"nat": [2889.0, 2890.0]}, qemu="QEMU 9.0")
    found = compare(base, other)
    assert found.code == ExitCode.CANNOT
    assert any("different tools: qemu: QEMU 7.2 -> QEMU 9.0" in each for each in found.not_comparable)


# -- what can be compared --------------------------------------------------------------------------

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


# -- folders ---------------------------------------------------------------------------------------


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


# -- the command -----------------------------------------------------------------------------------


def lvslab(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lvslab", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


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
        base,
        new,
        "--json",
        *(word for kind, file in files.items() for word in (f"--{kind}", file)),
    )
    assert done.returncode == 1, done.stderr
    data = json.loads(done.stdout)
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
    text = lvslab("compare", base, new).stdout
    assert "REGRESSION: 2 findings" in text and "no answer" in text
    assert lvslab("compare", base, base).returncode == 0


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
def test_wrong_input_is_exit_code_2(arguments: list[str], words: list[str]) -> None:
    done = lvslab(*arguments)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr


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


def test_a_file_that_cannot_be_written_after_all_is_no_broken_lab(tmp_path: Path) -> None:
    found = compare(write_run(tmp_path / "base"), write_run(tmp_path / "new"))
    with pytest.raises(CannotError, match="cannot be written: Is a directory"):
        write_files(found, junit=tmp_path, tap=None, markdown=None)
