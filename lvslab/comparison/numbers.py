"""Numbers of two runs set side by side: which changes are real, and where there are too few
repetitions to say.

Numbers in the machine's own time: a change is real when the Mann–Whitney test, corrected by Holm
for the number of series, rejects that nothing changed at the level asked, and the medians differ by
the floor at least. Where so few repetitions cannot reach the level even when every new value is
above every base one, nothing is said but how many are needed.

Numbers in virtual time (`lvslab bench`) hardly vary; what they vary by from seed to seed is known.
A change is real when the medians over the seeds differ by the floor at least and the ranges of the
two do not overlap. One seed shows no spread: two are the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lvslab.comparison.findings import Change, Finding, Status
from lvslab.comparison.metrics import Series
from lvslab.comparison.significance import (
    dominance,
    family_size,
    holm,
    mann_whitney,
    more_often,
    repetitions_needed,
    smallest_p,
)
from lvslab.runs.stats import median

_MIN_SEEDS = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """How sure a comparison wants to be.

    Attributes:
        level: probability of any false alarm in the whole comparison.
        floor: relative change of medians below which no change of machine-timed numbers counts.
        bench_floor: the same in virtual time.
    """

    level: float = 0.01
    floor: float = 0.05
    bench_floor: float = 0.001


@dataclass(frozen=True, slots=True)
class Pair:
    """The same series of both sides."""

    subject: str
    base: Series
    new: Series

    @property
    def smallest_p(self) -> float:
        return smallest_p(len(self.base.values), len(self.new.values))


def pairs(
    base: Mapping[str, Series], new: Mapping[str, Series], subject: str
) -> tuple[list[Pair], list[Finding]]:
    """The series that both sides have, and findings for the others and for measurements that
    failed.
    """
    both, found = [], []
    for key in dict.fromkeys([*base, *new]):
        if key not in new:
            found.append(
                Finding(subject, key, Status.MISSING, "not measured in the new run", base[key].evidence)
            )
        elif key not in base:
            found.append(
                Finding(subject, key, Status.ADDED, "not measured in the base run", new[key].evidence)
            )
        elif not new[key].values and base[key].values:
            reason = (
                f"every measurement failed: {new[key].failed[0]}"
                if new[key].failed
                else "no value in the new run"
            )
            status = (
                Status.NEWLY_FAILING if new[key].failed and not base[key].failed else Status.NOT_COMPARABLE
            )
            found.append(Finding(subject, key, status, reason, new[key].evidence))
        elif not base[key].values:
            found.append(
                Finding(subject, key, Status.NOT_COMPARABLE, "no value in the base run", new[key].evidence)
            )
        else:
            both.append(Pair(subject, base[key], new[key]))
    return both, found


def compare(together: Sequence[Pair], limits: Limits) -> list[Finding]:
    """A finding for each pair, judged as one family."""
    machine = [pair for pair in together if not pair.base.virtual]
    found = {id(pair): _virtual(pair, limits.bench_floor) for pair in together if pair.base.virtual}
    for family in (
        [pair for pair in machine if pair.base.worse],
        [pair for pair in machine if not pair.base.worse],
    ):
        found |= _judged(
            family, limits
        )  # a change that nobody can call worse raises no alarm: those are a family of their own
    return [found[id(pair)] for pair in together]


def _judged(family: Sequence[Pair], limits: Limits) -> dict[int, Finding]:
    size = family_size([pair.smallest_p for pair in family], limits.level)
    able = [pair for pair in family if pair.smallest_p <= limits.level / size]
    p_values = [mann_whitney(pair.base.values, pair.new.values) for pair in able]
    needed = repetitions_needed(limits.level, len(family))
    found = {
        id(pair): _tested(pair, replace(_change(pair), p=p, adjusted=adjusted), limits)
        for pair, p, adjusted in zip(able, p_values, holm(p_values), strict=True)
    }
    for pair in family:
        if id(pair) not in found:
            found[id(pair)] = _too_few(pair, needed)
    return found


def _tested(pair: Pair, change: Change, limits: Limits) -> Finding:
    failing = more_often(len(pair.base.failed), pair.base.tries, len(pair.new.failed), pair.new.tries)
    if pair.new.failed and failing <= limits.level:
        reason = f"{len(pair.new.failed)} of {pair.new.tries} measurements failed: {pair.new.failed[0]}"
        return _finding(pair, Status.FAILING_MORE, reason, change)
    adjusted = 1.0 if change.adjusted is None else change.adjusted
    if adjusted <= limits.level and _beyond(change, limits.floor, pair):
        return _finding(
            pair,
            _direction(pair, change),
            f"{_figures(change)}, p {adjusted:.2g} after Holm's correction",
            change,
        )
    return _finding(pair, Status.UNCHANGED, f"{_figures(change)}: {_none_found(limits.floor)}", change)


def _too_few(pair: Pair, needed: int) -> Finding:
    change = replace(_change(pair), needed=needed)
    failed = f"; {len(pair.new.failed)} measurements failed: {pair.new.failed[0]}" if pair.new.failed else ""
    return _finding(pair, Status.TOO_FEW, f"{needed} repetitions on each side are needed{failed}", change)


def _virtual(pair: Pair, floor: float) -> Finding:
    seeds = [seed for seed in pair.base.seeds if seed in pair.new.seeds]
    base, new = [pair.base.seeds[seed] for seed in seeds], [pair.new.seeds[seed] for seed in seeds]
    if len(seeds) < _MIN_SEEDS:
        change = replace(_change(pair), needed=_MIN_SEEDS)
        reason = f"{len(seeds)} seeds in common; {_MIN_SEEDS} are needed to see the spread"
        return _finding(pair, Status.TOO_FEW, reason, change)
    change = _change(
        Pair(pair.subject, replace(pair.base, values=tuple(base)), replace(pair.new, values=tuple(new)))
    )
    apart = min(new) > max(base) or max(new) < min(base)
    if apart and _beyond(change, floor, pair):
        return _finding(
            pair,
            _direction(pair, change),
            f"{_figures(change)}; the ranges of the seeds do not overlap",
            change,
        )
    return _finding(pair, Status.UNCHANGED, f"{_figures(change)}: {_none_found(floor)}", change)


def _change(pair: Pair) -> Change:
    base, new = median(pair.base.values) or 0.0, median(pair.new.values) or 0.0
    relative = (new - base) / abs(base) if base else (0.0 if new == base else None)
    a = dominance(pair.base.values, pair.new.values)
    sizes = len(pair.base.values), len(pair.new.values)
    return Change(pair.base.unit, base, new, *sizes, relative, a, virtual=pair.base.virtual)


def _beyond(change: Change, floor: float, pair: Pair) -> bool:
    """Whether the medians differ by the floor, and by more than the measurement can resolve; from 0
    every change is beyond.
    """
    if abs(change.new - change.base) <= max(pair.base.resolution, pair.new.resolution):
        return False
    return change.relative is None or abs(change.relative) >= floor


def _direction(pair: Pair, change: Change) -> Status:
    if not pair.base.worse:
        return Status.CHANGED
    return Status.WORSE if (change.new > change.base) == (pair.base.worse == "more") else Status.BETTER


def _figures(change: Change) -> str:
    return f"A {change.dominance:.2f}, n {change.base_n}+{change.new_n}"


def _none_found(floor: float) -> str:
    return f"no change of {100 * floor:g} % or more is told from chance"


def _finding(pair: Pair, status: Status, reason: str, change: Change) -> Finding:
    return Finding(pair.subject, pair.base.key, status, reason, pair.new.evidence, change)
