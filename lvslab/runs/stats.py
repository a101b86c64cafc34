"""Statistics on repeated measurements: pure functions on numbers, no assumption about their
distribution.

A few runs of a network test are not normally distributed (one hiccup makes a long tail), so
everything here rests on ranks: the median for the middle, order statistics for its interval, and
the full range of the runs for the spread.

- **median**: the middle run.
- **interval**: two of the runs between which the true median lies with a known probability (see
  `interval`).
- **spread**: (largest - smallest) / median, the width of all runs in relation to the median: 0.04
  reads "all within 4 %".

A measurement that is missing is None: it is counted as missing and never becomes 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

UNSTABLE_SPREAD = 0.10
"""A spread above this calls for more runs before two medians are compared."""


@dataclass(frozen=True, slots=True)
class Interval:
    """`low` and `high` are two of the measured values; the true median lies between them with
    probability `confidence` (0..1).
    """

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Repeated measurements of one quantity in the quantity's own unit; `spread` is relative (1 =
    100 %).

    With no value at all everything but the counts is None; with a single one there is a median but
    neither interval nor spread.
    """

    n: int
    missing: int
    median: float | None
    low: float | None
    high: float | None
    interval: Interval | None
    spread: float | None

    @property
    def unstable(self) -> bool:
        """Whether the runs differ so much that a comparison of medians needs more of them."""
        return self.spread is not None and self.spread > UNSTABLE_SPREAD


def present(values: Iterable[float | None]) -> list[float]:
    """The values that exist and are finite, in ascending order."""
    return sorted(value for value in values if value is not None and math.isfinite(value))


def median(values: Iterable[float | None]) -> float | None:
    """The middle of the values that exist (the mean of the two middle ones when their number is
    even); None without any.
    """
    ordered = present(values)
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percentile(values: Iterable[float | None], percent: float) -> float | None:
    """The value below which `percent` of all lie, interpolated linearly between neighbours.

    None when the values cannot say: p99 needs at least 100 of them, p50 two, in general 1 / (1 -
    percent/100) or, for the low side, 1 / (percent/100).
    """
    if not 0 < percent < 100:
        raise ValueError(f"a percentile lies between 0 and 100, not at {percent}")
    ordered = present(values)
    tail = min(percent, 100 - percent) / 100
    if len(ordered) * tail < 1 - 1e-9:
        return None
    position = (len(ordered) - 1) * percent / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def interval(values: Iterable[float | None], confidence: float = 0.95) -> Interval | None:
    """The narrowest pair of order statistics, as far from either end, that holds the true median
    with `confidence`.

    Below six values no pair reaches 95 %; then it is the full range, and `Interval.confidence` says
    how much that is worth (three runs: 75 %, five: 94 %). None with fewer than two values.
    """
    ordered = present(values)
    n = len(ordered)
    if n < 2:
        return None
    skipped, reached = 0, _confidence(n, 0)
    while 2 * (skipped + 1) < n - 1 and _confidence(n, skipped + 1) >= confidence:
        skipped += 1
        reached = _confidence(n, skipped)
    return Interval(ordered[skipped], ordered[n - 1 - skipped], reached)


def _confidence(n: int, skipped: int) -> float:
    """Probability that the true median lies inside n ordered values after `skipped` were left out
    at each end (binomial).
    """
    outside = sum(math.comb(n, k) for k in range(skipped + 1))
    return float(1 - 2 * outside / 2**n)


def spread(values: Iterable[float | None]) -> float | None:
    """(largest - smallest) / median; None with fewer than two values or a median of 0, where a
    relation says nothing.
    """
    ordered = present(values)
    middle = median(ordered)
    if len(ordered) < 2 or not middle:
        return None
    return (ordered[-1] - ordered[0]) / abs(middle)


def summarize(values: Iterable[float | None]) -> Summary:
    """The summary of repeated measurements of one quantity."""
    everything = list(values)
    ordered = present(everything)
    return Summary(
        n=len(ordered),
        missing=len(everything) - len(ordered),
        median=median(ordered),
        low=ordered[0] if ordered else None,
        high=ordered[-1] if ordered else None,
        interval=interval(ordered),
        spread=spread(ordered),
    )


def shares(counts: Mapping[str, float | None]) -> dict[str, float] | None:
    """What part of the whole (0..1) each name has; a missing count is left out, and None when
    nothing was counted.
    """
    known = {name: count for name, count in counts.items() if count is not None}
    total = sum(known.values())
    return {name: count / total for name, count in known.items()} if total > 0 else None
