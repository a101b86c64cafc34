"""Charts, tables and numbers of a run: nothing overlaps, every repeat is shown, numbers are written
for people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lvslab.modes import MODES
from lvslab.report import charts, style, text, units
from lvslab.report.looks import looks_of
from lvslab.report.series import all_series, subjects
from lvslab.runs.rundir import load
from tests.integration.pages import overlaps
from tests.unit import sample_lab, sample_run


def test_the_tables_hold_verdicts_and_numbers_as_text(tmp_path: Path) -> None:
    run = load(sample_run.failed(tmp_path))
    table = text.verdict_table(run)
    assert table.headers == ("Name", "Verdict", "Reason")
    assert [row[:2] for row in table.rows] == [("nat", "FAIL"), ("dr", "PASS"), ("synproxy", "SKIP")]
    assert text.summary_table(run).rows == ()
    table = text.summary_table(load(sample_run.gaps(tmp_path)))
    assert all(len(row) == len(table.headers) for row in table.rows)
    assert {row[0]: row[2] for row in table.rows}["Throughput"] == units.MISSING


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (9.4123e9, "bit/s", "9.41 Gbit/s"),
        (9.9996e6, "bit/s", "10.0 Mbit/s"),
        (31_234, "1/s", "31.2 k/s"),
        (812, "1/s", "812/s"),
        (0.00041, "s", "410 µs"),
        (0.0123, "s", "12.3 ms"),
        (0, "s", "0 s"),
        (3, "segments", "3 segments"),
        (21600, "1", "21\u2009600"),
        (5.26e6, "B", "5.26 MB"),
        (None, "s", "–"),
        (-0.5, "s", "-500 ms"),
    ],
)
def test_numbers_are_written_for_people(value: float | None, unit: str, expected: str) -> None:
    assert units.quantity(value, unit) == expected


@pytest.mark.parametrize("make", [sample_run.complete, sample_run.gaps])
def test_nothing_in_a_chart_overlaps_and_amounts_begin_at_zero(tmp_path: Path, make: Any) -> None:
    run = load(make(tmp_path))
    labs = subjects(run)
    with style.styled():
        for series in all_series(run):
            figure = charts.metric(series, labs)
            assert overlaps(figure) == [], series.key
            assert figure.axes[1].get_xlim()[0] == 0
        assert overlaps(charts.latency(run, labs)) == []
        assert overlaps(charts.answers(run, labs)) == []
        if any(lab.counters for lab in run.labs):
            assert overlaps(charts.counters(run, labs)) == []


def test_every_repeat_is_a_point(tmp_path: Path) -> None:
    run = load(sample_run.complete(tmp_path))
    series = next(one for one in all_series(run) if one.key == "throughput")
    figure = charts.metric(series, subjects(run))
    points = [line for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in points] == [3] * 5
    assert [line.get_markerfacecolor() for line in points] == [
        MODES[mode].color.light for mode in sample_lab.MODES
    ]


def test_a_color_means_one_thing(tmp_path: Path) -> None:
    run = load(sample_run.complete(tmp_path, modes=("nat",), repeats=1))
    for theme in (1, 2):
        colors = [entry[theme] for entry in looks_of(run).theme().values()]
        assert len(set(colors)) == len(colors)
