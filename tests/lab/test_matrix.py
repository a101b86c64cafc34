"""A matrix on real kernels: cells take turns, a cell that behaves otherwise is a regression, and
what was kept is a baseline.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab.conftest import run_lvslab

pytestmark = pytest.mark.usefixtures("quickest_guests")

CHOSEN = ("--only", "nat:reply:ipv4-tcp", "--only", "scheduler:rr:equal")


def test_a_setting_that_breaks_forwarding_is_named_and_its_baseline_says_the_same(tmp_path: Path) -> None:
    forward = ("--set", "net.ipv4.ip_forward=1", "--set", "net.ipv4.ip_forward=0")
    done = run_lvslab("verify", *CHOSEN, *forward, "--baseline", "keep", "--json", "--runs", str(tmp_path))
    assert done.code == 1, done.out + done.err
    (comparison,) = done.data["comparisons"]
    assert [each["what"] for each in comparison["under_test"]] == ["net.ipv4.ip_forward"]
    failed = [each["name"] for each in comparison["results"] if each["verdict"] == "fail"]
    assert failed == ["nat:reply:ipv4-tcp"], comparison["results"]
    whole, broken = (Path(each["run"]) for each in done.data["runs"])
    assert run_lvslab("compare", str(whole), str(broken)).code == 1
    assert run_lvslab("compare", str(broken), str(whole)).code == 0
    newest = run_lvslab("compare", "--baseline", str(whole), "--json", "--runs", str(tmp_path)).data
    assert newest["counts"] == {"fixed": 1, "same": 1}


def test_a_sysctl_that_no_kernel_has_is_refused_before_the_matrix_starts(tmp_path: Path) -> None:
    wrong = ("--set", "net.ipv4.vs.nosuch=1", "--set", "net.ipv4.vs.nosuch=2")
    done = run_lvslab("verify", "nat", *wrong, "--runs", str(tmp_path))
    assert done.code == 2 and "has no such sysctl" in done.err, done.out + done.err
    assert list(tmp_path.iterdir()) == []


QUICK = """\
from lvslab.scenario.performance import Performance
from lvslab.scenario import scenario


@scenario(title="Quick", teaches="nothing", modes=["nat"], seconds=3)
def run(log, repeat=1):
    for repetition in log.repetitions(repeat):
        with log.lab("nat") as lab:
            Performance(lab, log.run, repetition).latency(100)
    log.expect("measured", True, "so it was")
"""


def test_the_repetitions_of_a_scenario_are_interleaved_and_too_few_to_tell(tmp_path: Path) -> None:
    (tmp_path / "quick.py").write_text(QUICK)
    cells = ("--set", "net.ipv4.vs.conntrack=0", "--set", "net.ipv4.vs.conntrack=1", "--repeat", "2")
    done = run_lvslab(
        "run", str(tmp_path / "quick.py"), *cells, "--no-report", "--json", "--runs", str(tmp_path / "runs")
    )
    assert done.code == 0, done.out + done.err
    taken: list[tuple[float, str, int]] = []
    for each in done.data["runs"]:
        record = json.loads((Path(each["run"]) / "run.json").read_text())
        assert (record["status"], record["parameters"]["repeat"]) == ("complete", 2)
        samples = [
            json.loads(line) for line in (Path(each["run"]) / "samples.jsonl").read_text().splitlines()
        ]
        taken += [
            (sample["t"], each["cell"], sample["repeat"])
            for sample in samples
            if sample["metric"] == "latency"
        ]
    assert [(cell, repeat) for _, cell, repeat in sorted(taken)] == [
        ("conntrack=0", 1),
        ("conntrack=1", 1),
        ("conntrack=1", 2),
        ("conntrack=0", 2),
    ]
    (comparison,) = done.data["comparisons"]
    assert comparison["counts"]["same"] == 1 and comparison["repetitions_needed"] > 2
    numbers = [each for each in comparison["results"] if "change" in each]
    assert numbers and all(
        each["status"] == "too few repetitions" and each["verdict"] == "skip" for each in numbers
    )
