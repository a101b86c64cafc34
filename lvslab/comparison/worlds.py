"""Worlds of virtual time set side by side: the same scenario in the same seeds, on two kernels.

Each world is exact: the same seed on the same kernel gives every frame again, so a kernel against
itself differs by nothing at all, and nothing is tested where all frames are equal. Two builds read
their clocks another number of times while they boot, so a seed's world on one is no twin of its
world on the other: what is compared are the distributions over the seeds, which hold the kernels'
differences and none of a machine. A difference counts where Mann–Whitney, corrected by Holm for the
number of comparisons, rejects that the distributions are the same, and the medians differ by the
floor at least.

How many seeds a change of 1 % needs follows from the spread: n = 2 (z(1 − α/2) + z(power))² σ² / δ²
on each side, for a shift by δ of values that spread by σ (the t test's number; Mann–Whitney needs
as many for a uniform distribution, 5 % more for a normal one: Lehmann, Nonparametrics, 1975,
section 2.4).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, median, pvariance

from lvslab.comparison.numbers import Limits
from lvslab.comparison.significance import holm, mann_whitney, more_often
from lvslab.errors import UsageError
from lvslab.runs.worlds import TRIALS

CHANGE, POWER = 0.01, 0.9
"""A change of a median, and how sure it is to be shown, for the number of seeds that it needs."""

_LEAST = 2
_METRICS = ("outage", "detection", "survived")
_WORSE_WHEN = {"outage": 1, "detection": 1, "survived": -1}


@dataclass(frozen=True)
class WorldTrial:
    """A trial of the world of a seed.

    Attributes:
        code: exit code of the world's run.
        sha256: of all its frames and their times.
        numbers: "outage" and "detection" in seconds, "survived" as a share; those that are known.
    """

    seed: int
    code: int
    sha256: str
    variant: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Difference:
    """A number over the seeds of both sides.

    Attributes:
        base, new: medians.
        change: (new − base) / base; infinite where the base is 0.
        p: adjusted; 1 where nothing was to be tested.
        needed: seeds on each side that a change of 1 % needs.
        verdict: "equal" (value by value), "no change shown", "worse" or "better".
    """

    variant: str
    metric: str
    seeds: tuple[int, int]
    base: float
    new: float
    change: float
    p: float
    needed: int
    verdict: str


@dataclass(frozen=True)
class Worlds:
    """What a comparison of worlds says.

    Attributes:
        equal: seeds whose frames are all the same on both sides; `common`: seeds of both.
        failing: p of the new side's failing more often; None where it does not.
        differences: of each variant and number.
    """

    equal: int
    common: int
    failing: float | None
    differences: tuple[Difference, ...]

    @property
    def regressions(self) -> tuple[Difference, ...]:
        return tuple(each for each in self.differences if each.verdict == "worse")

    @property
    def worse(self) -> bool:
        """Whether the new side is worse in anything."""
        return bool(self.regressions) or self.failing is not None


def read_worlds(folder: Path) -> list[WorldTrial]:
    """The trials that `lvslab run --time virtual --seeds` has left in a folder.

    Raises:
        UsageError: they cannot be read.
    """
    try:
        with (folder / TRIALS).open(newline="", encoding="utf-8") as stream:
            return [_trial(row) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{folder / TRIALS}: cannot be read: {error}") from None


def _trial(row: Mapping[str, str]) -> WorldTrial:
    numbers = {name: float(row[name]) for name in ("outage", "detection") if row[name]}
    if total := int(row["connections"]):
        numbers["survived"] = int(row["survived"]) / total
    return WorldTrial(int(row["seed"]), int(row["code"]), row["sha256"], row["variant"], numbers)


def compare_worlds(base: Sequence[WorldTrial], new: Sequence[WorldTrial], limits: Limits) -> Worlds:
    """Set two sides side by side.

    Args:
        limits: its level; its `bench_floor` is the smallest change that counts, as elsewhere in
            virtual time.
    """
    hashes = [{trial.seed: trial.sha256 for trial in side} for side in (base, new)]
    common = hashes[0].keys() & hashes[1].keys()
    equal = sum(hashes[0][seed] == hashes[1][seed] != "" for seed in common)
    wanted = [
        (variant, metric)
        for variant in dict.fromkeys(trial.variant for trial in base)
        for metric in _METRICS
        if _values(base, variant, metric) and _values(new, variant, metric)
    ]
    sides = [(_values(base, *key), _values(new, *key)) for key in wanted]
    adjusted = holm([1.0 if left == right else mann_whitney(left, right) for left, right in sides])
    return Worlds(
        equal,
        len(common),
        _failing(base, new, limits.level),
        tuple(
            _difference(key, left, right, p, limits)
            for key, (left, right), p in zip(wanted, sides, adjusted, strict=True)
        ),
    )


def _values(trials: Iterable[WorldTrial], variant: str, metric: str) -> list[float]:
    own = [trial for trial in trials if trial.variant == variant and metric in trial.numbers]
    return [trial.numbers[metric] for trial in sorted(own, key=lambda trial: trial.seed)]


def _failing(base: Sequence[WorldTrial], new: Sequence[WorldTrial], level: float) -> float | None:
    bad = [sum(trial.code != 0 for trial in side) for side in (base, new)]
    p = more_often(bad[0], len(base), bad[1], len(new))
    return p if bad[1] and p <= level else None


def _difference(
    key: tuple[str, str], base: Sequence[float], new: Sequence[float], p: float, limits: Limits
) -> Difference:
    variant, metric = key
    before, after = median(base), median(new)
    change = (after - before) / before if before else (math.inf if after else 0.0)
    if list(base) == list(new):
        verdict = "equal"
    elif p <= limits.level and abs(change) >= limits.bench_floor:
        verdict = "worse" if change * _WORSE_WHEN[metric] > 0 else "better"
    else:
        verdict = "no change shown"
    needed = seeds_needed(base, new, limits.level)
    return Difference(variant, metric, (len(base), len(new)), before, after, change, p, needed, verdict)


def seeds_needed(
    base: Sequence[float], new: Sequence[float], level: float, change: float = CHANGE, power: float = POWER
) -> int:
    """Seeds on each side that a change of the base's median needs to be shown, by the spread."""
    shift = change * median(base)
    variance = (pvariance(base) + pvariance(new)) / 2
    if not shift or not variance:
        return _LEAST
    normal = NormalDist()
    quantiles = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)
    return max(_LEAST, math.ceil(2 * quantiles**2 * variance / shift**2))


def in_words(found: Worlds) -> list[str]:
    """The comparison as lines for people."""
    lines = [f"{found.equal} of {found.common} seeds are the same in every frame on both sides"]
    for each in found.differences:
        unit = "" if each.metric == "survived" else " s"
        where = f"{each.variant}, " if each.variant else ""
        lines.append(
            f"{where}{each.metric}: {each.base:.6f}{unit} → {each.new:.6f}{unit} ({each.change:+.3%}),"
            f" {each.verdict}"
        )
        lines.append(
            f"  medians of {each.seeds[0]} and {each.seeds[1]} seeds, p {each.p:.3g}; a change of"
            f" {CHANGE:.0%} needs {each.needed} seeds on each side"
        )
    if found.failing is not None:
        lines.append(f"worlds fail more often than before (p {found.failing:.3g})")
    return lines
