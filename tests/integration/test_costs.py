"""Figures of bench from their run directory: when a change is one, and what the report says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.bench.measurements import MATRIX
from lvslab.comparison import metrics, numbers
from lvslab.comparison.findings import Status
from lvslab.report.costs import as_data, change_text, tables
from lvslab.report.page import write_report
from lvslab.runs import costs
from lvslab.runs.records import Result
from lvslab.runs.rundir import load
from lvslab.runs.writer import RunWriter

BY_NAME = {each.name: each for each in MATRIX}


def bench_run(
    root: Path, second: float = 1.01, jitter: float = 0.5, names: tuple[str, ...] = ("a", "b"), seeds: int = 3
) -> Path:
    """A run of two kernels, the second `second` times as dear in everything over routing."""
    chosen = [
        "baseline:drop:udp4",
        "baseline:routing:udp4",
        "mode:nat:udp4",
        "mode:dr:udp4",
        "connections:1000",
        "connections:10000",
        "servers:wlc:1",
        "servers:wlc:1000",
    ]
    with RunWriter(
        root, "bench", kind="bench", command=["lvslab", "bench"], clock=lambda: 1_760_000_000.0
    ) as run:
        for index, name in enumerate(names):
            for seed in range(1, seeds + 1):
                for place, measurement in enumerate(BY_NAME[each] for each in chosen):
                    for figure in measurement.figures:
                        over = 0.0 if measurement.handling.is_baseline else 1.0
                        value = (1000.0 + 300 * place) * (second if index and over else 1) + jitter * (
                            seed - 2
                        )
                        run.sample(
                            lab=name,
                            mode=str(measurement.handling),
                            metric=costs.METRIC,
                            unit=costs.UNIT,
                            repeat=seed,
                            value=value,
                            labels={
                                "kernel": name,
                                "measurement": figure,
                                "seed": str(seed),
                                "over": "x",
                                "total": f"{value + 7000:g}",
                            },
                        )
        run.add_result(Result("mode:nat:udp4:new", "pass", "arrived"))
    return run.path


def test_a_path_one_per_cent_slower_is_reported_and_what_did_not_change_is_not(tmp_path: Path) -> None:
    found = {each.base.name: each for each in costs.changes(costs.costs(load(bench_run(tmp_path))), "a", "b")}
    nat = found["mode:nat:udp4:established"]
    assert nat.real and nat.relative == pytest.approx(0.01) and change_text(nat) == "+1.00 %"
    assert not found["baseline:routing:udp4:established"].real
    assert change_text(found["baseline:routing:udp4:established"]) == "same"


def test_a_change_within_the_seeds_or_the_floor_or_of_one_seed_is_none(tmp_path: Path) -> None:
    for run in (
        bench_run(tmp_path, jitter=20.0),
        bench_run(tmp_path, second=1.0005, jitter=0.0),
        bench_run(tmp_path, seeds=1),
    ):
        assert not any(each.real for each in costs.changes(costs.costs(load(run)), "a", "b"))


def test_lvslab_compare_judges_two_runs_by_the_same_rule(tmp_path: Path) -> None:
    def series(factor: float) -> dict[str, metrics.Series]:
        kernels = (
            ("k", "other") if factor == 1 else ("other", "k")
        )  # only the second kernel of a sample run is the dearer one
        found, _ = metrics.all_series(load(bench_run(tmp_path, second=factor, names=kernels)))
        return {each.key.removesuffix(" (k)"): each for each in found if each.key.endswith("(k)")}

    together, alone = numbers.pairs(series(1.0), series(1.01), "k")
    found = {
        each.name.removesuffix(" (k)"): each.status for each in numbers.compare(together, numbers.Limits())
    }
    assert not alone and numbers.Limits().bench_floor == costs.FLOOR
    assert found["mode:nat:udp4:established"] is Status.WORSE and found[
        "baseline:routing:udp4:established"
    ] not in (
        Status.WORSE,
        Status.BETTER,
    )


def test_a_measurement_that_failed_has_no_figure_but_a_reason(tmp_path: Path) -> None:
    with RunWriter(tmp_path, "bench", kind="bench", command=[]) as run:
        for seed, value in ((1, 5.0), (2, None)):
            run.sample(
                lab="a",
                mode="nat",
                metric=costs.METRIC,
                unit=costs.UNIT,
                repeat=seed,
                value=value,
                labels={"kernel": "a", "measurement": "mode:nat:udp4:new"},
                error=None if value else "nothing arrived",
            )
    (row,) = tables(load(run.path))[0].rows
    assert row[1] == "no figure: nothing arrived"
    assert as_data(load(run.path))["figures"][0]["costs"][0]["instructions_per_packet"] is None


def test_the_report_is_made_from_the_run_directory_alone(tmp_path: Path) -> None:
    report = write_report(bench_run(tmp_path))
    assert [file.stem for file in report.figures] == ["modes", "connections", "servers", "change-b"]
    page = report.html.read_text()
    assert page.count("<svg") == 4 and "Instructions per packet" in page and "+1.00 %" in page
    again = write_report(report.html.parent, tmp_path / "again")
    assert again.html.read_text().split('<section id="files"')[0] == page.split('<section id="files"')[0]
