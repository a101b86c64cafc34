"""Tests on ranks: exact with and without ties, corrected for their number, and honest about what
few values can say.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.comparison.significance import (
    dominance,
    family_size,
    holm,
    mann_whitney,
    more_often,
    repetitions_needed,
    smallest_p,
)

ROUNDED = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=5)
"""Values with many ties, as outages in multiples of a probe interval are."""


def by_enumeration(base: Sequence[float], new: Sequence[float]) -> float:
    """The two-sided p-value, by going through every way to deal the values out."""
    pool = [*base, *new]

    def u(chosen: Sequence[int]) -> float:
        ours, theirs = [pool[i] for i in chosen], [pool[i] for i in range(len(pool)) if i not in chosen]
        return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in ours for b in theirs)

    every = [u(chosen) for chosen in combinations(range(len(pool)), len(base))]
    seen = u(range(len(base)))
    return min(
        1.0, 2 * min(sum(each <= seen for each in every), sum(each >= seen for each in every)) / len(every)
    )


@given(ROUNDED, ROUNDED)
def test_p_is_that_of_every_permutation(base: list[float], new: list[float]) -> None:
    assert mann_whitney(base, new) == pytest.approx(by_enumeration(base, new))


@given(ROUNDED, ROUNDED)
def test_the_sides_may_be_exchanged(base: list[float], new: list[float]) -> None:
    assert mann_whitney(base, new) == pytest.approx(mann_whitney(new, base))
    assert dominance(base, new) == pytest.approx(1 - dominance(new, base))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (4, 7), (10, 10), (25, 30)])
def test_full_separation_reaches_the_smallest_p(n: int, m: int) -> None:
    base, new = [float(i) for i in range(n)], [100.0 + i for i in range(m)]
    assert mann_whitney(base, new) == pytest.approx(min(1.0, 2 / comb(n + m, n)))
    assert smallest_p(n, m) == pytest.approx(mann_whitney(base, new))
    assert dominance(base, new) == 1 and dominance(new, base) == 0


def test_equal_values_say_nothing() -> None:
    assert mann_whitney([3.0] * 8, [3.0] * 9) == pytest.approx(1.0)
    assert mann_whitney([3.0] * 80, [3.0] * 90) == 1.0
    assert dominance([3.0] * 8, [3.0] * 9) == 0.5


def test_the_approximation_goes_on_where_the_exact_distribution_ends() -> None:
    noise = random.Random(7)
    base, new = [noise.gauss(100, 5) for _ in range(31)], [noise.gauss(103, 5) for _ in range(29)]
    exact = mann_whitney(base, new)
    approximate = mann_whitney([*base, 101.0], new)
    assert 0.3 < approximate / exact < 3


def test_without_values_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="both sides"):
        mann_whitney([], [1.0])
    with pytest.raises(ValueError, match="both sides"):
        dominance([1.0], [])
    assert smallest_p(0, 5) == 1


@pytest.mark.parametrize(
    ("level", "hypotheses", "needed"), [(0.05, 1, 4), (0.01, 1, 5), (0.01, 10, 7), (0.01, 45, 8)]
)
def test_so_many_repetitions_are_needed(level: float, hypotheses: int, needed: int) -> None:
    assert repetitions_needed(level, hypotheses) == needed
    assert smallest_p(needed, needed) <= level / hypotheses < smallest_p(needed - 1, needed - 1)


def test_holm_weighs_the_smallest_by_all_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_hypotheses_that_can_never_be_rejected_cost_the_others_nothing() -> None:
    assert family_size([0.0001] * 3 + [0.1] * 40, 0.01) == 3
    assert family_size([0.1] * 40, 0.01) == 1
    assert family_size([0.0001] * 40, 0.01) == 40


def test_failing_more_often_is_fishers_exact_test() -> None:
    assert more_often(1, 5, 5, 5) == pytest.approx(5 / comb(10, 6))
    assert more_often(0, 5, 5, 5) == pytest.approx(1 / comb(10, 5))
    assert more_often(3, 5, 3, 5) > 0.5 and more_often(5, 5, 0, 5) == pytest.approx(1.0)
