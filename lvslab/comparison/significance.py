"""Tests of whether repeated measurements differ: exact, by ranks, without an assumption about their
distribution.

Pure functions on numbers. A few repetitions of a network test are rounded (an outage is a multiple
of the probe interval) and so have ties, which tables and the usual exact distribution of the
Mann–Whitney statistic do not allow for: `mann_whitney` takes its exact distribution under
permutation of the values at hand, ties included.

Sources: Mann, Whitney 1947 (the test); Lehmann, Nonparametrics, 1975, section 1.4 (ties); Vargha,
Delaney 2000 (`dominance`); Holm 1979 (`holm`); Tarone 1990 (`family_size`: with few repetitions
some hypotheses can never be rejected and cost the others nothing).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_EXACT_UP_TO = 60
"""Values of both sides together; beyond it the normal approximation is closer than the third digit
of any level asked for.
"""

MAX_REPETITIONS = 1000


def mann_whitney(base: Sequence[float], new: Sequence[float]) -> float:
    """Two-sided p-value of the Mann–Whitney U test: how likely ranks as far apart as these are when
    nothing has changed.

    Raises:
        ValueError: a side is empty.
    """
    if not base or not new:
        raise ValueError("Mann–Whitney needs values on both sides")
    ranks = _doubled_ranks([*base, *new])
    total = len(ranks)
    if total > _EXACT_UP_TO:
        return _approximate(ranks, len(base))
    below, above = _tails(ranks, len(base))
    return min(1.0, 2 * min(below, above))


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Twice the rank of each value, equal ones sharing their middle rank: whole numbers also with
    ties.
    """
    order = sorted(values)
    first = {value: index for index, value in reversed(list(enumerate(order)))}
    last = {value: index for index, value in enumerate(order)}
    return [first[value] + last[value] + 2 for value in values]


def _tails(ranks: Sequence[int], chosen: int) -> tuple[float, float]:
    """Probabilities that `chosen` of the ranks, drawn at random, sum to at most, and to at least,
    what the first `chosen` sum to.
    """
    import numpy as np

    # how many choices of so many ranks have such a sum
    ways = np.zeros((chosen + 1, sum(ranks) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        for count in range(chosen, 0, -1):
            ways[count, rank:] += ways[count - 1, : ways.shape[1] - rank]
    found, every = sum(ranks[:chosen]), math.comb(len(ranks), chosen)
    return float(ways[chosen, : found + 1].sum() / every), float(ways[chosen, found:].sum() / every)


def _approximate(ranks: Sequence[int], chosen: int) -> float:
    """The normal approximation with correction for ties and continuity."""
    total, others = len(ranks), len(ranks) - chosen
    distance = abs(sum(ranks[:chosen]) / 2 - chosen * (total + 1) / 2)
    ties = sum(count**3 - count for count in (list(ranks).count(rank) for rank in set(ranks)))
    variance = chosen * others / 12 * ((total + 1) - ties / (total * (total - 1)))
    if variance <= 0:  # all values are the same
        return 1.0
    return min(1.0, math.erfc(max(0.0, distance - 0.5) / math.sqrt(2 * variance)))


def smallest_p(base: int, new: int) -> float:
    """The smallest two-sided p-value that so many values without ties can reach: every value of one
    side above every one of the other.
    """
    return min(1.0, 2 / math.comb(base + new, base)) if base and new else 1.0


def repetitions_needed(level: float, hypotheses: int = 1) -> int:
    """The smallest number of repetitions on each side that can reach a level with so many
    hypotheses (Holm's first step).

    Raises:
        ValueError: no reasonable number does.
    """
    for each in range(1, MAX_REPETITIONS):
        if smallest_p(each, each) <= level / max(1, hypotheses):
            return each
    raise ValueError(f"no number of repetitions reaches a level of {level}")


def family_size(smallest: Sequence[float], level: float) -> int:
    """How many of the hypotheses share the level: the least k such that at most k of them can reach
    level / k (Tarone).

    Args:
        smallest: the smallest p-value that each hypothesis can reach.
    """
    size = 1
    while sum(each <= level / size for each in smallest) > size:
        size += 1
    return size


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, in their order: rejecting those up to a level errs at
    all with at most that probability.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for step, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def dominance(base: Sequence[float], new: Sequence[float]) -> float:
    """Vargha and Delaney's A: how often a value of `new` is above one of `base`, ties counting
    half. 0.5: neither; 1: always.

    Raises:
        ValueError: a side is empty.
    """
    if not base or not new:
        raise ValueError("a dominance needs values on both sides")
    score = sum(
        1.0 if after > before else 0.5 if after == before else 0.0 for before in base for after in new
    )
    return score / (len(base) * len(new))


def more_often(base_hits: int, base_tries: int, new_hits: int, new_tries: int) -> float:
    """One-sided p-value of Fisher's exact test: how likely so many hits or more fall to the new
    tries when both have the same chance.
    """
    hits, tries = base_hits + new_hits, base_tries + new_tries
    at_least = range(new_hits, min(hits, new_tries) + 1)
    ways = sum(
        math.comb(new_tries, each) * math.comb(base_tries, hits - each)
        for each in at_least
        if hits - each <= base_tries
    )
    return ways / math.comb(tries, hits)
