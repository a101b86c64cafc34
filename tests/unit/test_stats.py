"""The statistics: exact on small examples, and silent (None) where the data cannot say."""

from __future__ import annotations

import math

import pytest

from lvslab.runs import stats


def test_median_ignores_what_is_missing_and_never_counts_it_as_zero() -> None:
    assert stats.median([3.0, None, 1.0, 2.0]) == 2.0
    assert stats.median([4.0, 1.0]) == 2.5
    assert stats.median([None, None]) is None
    assert stats.median([]) is None


def test_values_that_are_not_finite_count_as_missing() -> None:
    summary = stats.summarize([1.0, math.nan, math.inf])
    assert (summary.n, summary.missing, summary.median) == (1, 2, 1.0)


def test_percentile_interpolates_between_neighbours() -> None:
    values = [float(n) for n in range(101)]
    assert stats.percentile(values, 50) == 50
    assert stats.percentile(values, 99) == pytest.approx(99)
    assert stats.percentile([10.0, 20.0], 50) == 15.0


def test_percentile_says_nothing_when_there_are_too_few_values() -> None:
    assert stats.percentile(range(99), 99) is None
    assert stats.percentile(range(100), 99) is not None
    assert stats.percentile(range(99), 1) is None
    assert stats.percentile([1.0], 50) is None
    assert stats.percentile([], 50) is None


@pytest.mark.parametrize("percent", [0, 100, -1, 250])
def test_percentile_refuses_what_is_none(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        stats.percentile([1.0, 2.0], percent)


def test_interval_of_few_runs_is_their_range_and_says_what_it_is_worth() -> None:
    assert stats.interval([3.0, 1.0, 2.0]) == stats.Interval(1.0, 3.0, 0.75)
    five = stats.interval([5.0, 4.0, 3.0, 2.0, 1.0])
    assert five is not None and five.confidence == pytest.approx(0.9375)
    assert stats.interval([1.0]) is None


def test_interval_of_many_runs_leaves_the_extremes_out_and_keeps_its_confidence() -> None:
    ten = stats.interval([float(n) for n in range(10)])
    assert ten is not None and (ten.low, ten.high) == (1.0, 8.0)
    assert ten.confidence == pytest.approx(1 - 2 * 11 / 1024)
    hundred = stats.interval([float(n) for n in range(100)])
    assert hundred is not None and hundred.confidence >= 0.95 and (hundred.low, hundred.high) == (39.0, 60.0)


def test_spread_is_the_range_in_relation_to_the_median() -> None:
    assert stats.spread([9.0, 10.0, 11.0]) == pytest.approx(0.2)
    assert stats.spread([5.0, 5.0]) == 0
    assert stats.spread([5.0]) is None
    assert stats.spread([0.0, 0.0, 3.0]) is None


def test_summary_of_nothing_of_one_and_of_many() -> None:
    assert stats.summarize([None]) == stats.Summary(0, 1, None, None, None, None, None)
    one = stats.summarize([7.0])
    assert (one.median, one.spread, one.interval, one.unstable) == (7.0, None, None, False)
    many = stats.summarize([9.0, 10.0, None, 12.0])
    assert (many.n, many.missing, many.median, many.low, many.high) == (3, 1, 10.0, 9.0, 12.0)
    assert many.unstable


def test_shares_leave_missing_counts_out() -> None:
    assert stats.shares({"rs1": 30, "rs2": 10, "rs3": None}) == {"rs1": 0.75, "rs2": 0.25}
    assert stats.shares({"rs1": 0}) is None
    assert stats.shares({}) is None
