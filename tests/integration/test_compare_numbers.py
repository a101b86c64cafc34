"""Comparing numbers: which change is real, on the machine's own time and in virtual time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lvslab.comparison import numbers
from lvslab.comparison.compare import compare
from lvslab.comparison.findings import Status
from lvslab.comparison.metrics import Series
from lvslab.comparison.numbers import Limits
from lvslab.exitcodes import ExitCode
from lvslab.report import comparison as words
from tests.unit.compared import RATES, START, compared, noisy, only, write_bench, write_run


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
