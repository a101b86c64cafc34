"""Instructions per packet as a run of `lvslab bench` keeps them: by kernel and figure, with the
seeds; and changes between two kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lvslab.runs.rundir import Run
from lvslab.runs.stats import median

METRIC, UNIT = "instructions_per_packet", "instructions"

FLOOR = 0.001
"""A smaller relative change is none: so far apart the seeds of one kernel may lie."""


@dataclass(frozen=True, slots=True)
class Cost:
    """One figure of one kernel: instructions per packet over its baseline, by seed.

    Attributes:
        over: the baseline that was taken off, or "nothing".
        totals: the same with the baseline, by seed.
        error: why there is no figure; "" when there is one.
    """

    kernel: str
    name: str
    over: str
    seeds: Mapping[int, float]
    totals: Mapping[int, float] = field(default_factory=dict)
    error: str = ""

    @property
    def median(self) -> float | None:
        """The figure: the median over the seeds; None where a seed's measurement failed."""
        return None if self.error else median(self.seeds.values())

    @property
    def total(self) -> float | None:
        """The whole cost of a packet, generator and links with it: median over the seeds."""
        return None if self.error else median(self.totals.values())

    @property
    def spread(self) -> float | None:
        """How far the seeds lie apart, in relation to the whole cost of a packet (a difference's
        own size says little of its error).
        """
        if self.error or len(self.seeds) < 2 or not self.total:
            return None
        return (max(self.seeds.values()) - min(self.seeds.values())) / self.total


@dataclass(frozen=True, slots=True)
class Change:
    """From one kernel to another, in relation to the first.

    Attributes:
        relative: 0.01 is one per cent more.
        real: beyond the floor, and the seeds of the one lie all above or all below those of the
            other; one seed alone shows no spread, two are the least.
    """

    base: Cost
    new: Cost
    relative: float
    real: bool

    @property
    def difference(self) -> float:
        """In instructions."""
        return (self.new.median or 0.0) - (self.base.median or 0.0)


def kernels(run: Run) -> tuple[str, ...]:
    """The kernels of a run, in order."""
    return tuple(
        dict.fromkeys(
            [lab.name for lab in run.labs]
            + [sample.labels.get("kernel", sample.lab) for sample in run.of(METRIC)]
        )
    )


def costs(run: Run) -> dict[str, dict[str, Cost]]:
    """Figure → kernel → cost, figures in the order in which they were measured."""
    found: dict[str, dict[str, Cost]] = {}
    for sample in run.of(METRIC):
        kernel, name = sample.labels.get("kernel", sample.lab), sample.labels.get("measurement", "")
        known = found.setdefault(name, {}).get(kernel) or Cost(
            kernel, name, sample.labels.get("over", "nothing"), {}
        )
        seeds, totals, seed = dict(known.seeds), dict(known.totals), sample.repeat or len(known.seeds) + 1
        if sample.value is not None:
            seeds[seed] = sample.value
            totals[seed] = float(sample.labels.get("total") or sample.value)
        error = known.error or (sample.error or "" if sample.value is None else "")
        found[name][kernel] = Cost(kernel, name, known.over, seeds, totals, error)
    return found


def change(base: Cost | None, new: Cost | None, floor: float = FLOOR) -> Change | None:
    """The change from one kernel's cost to another's; None where one of them is missing."""
    if base is None or new is None or base.median is None or new.median is None or not base.median:
        return None
    relative = (new.median - base.median) / abs(base.median)
    several = min(len(base.seeds), len(new.seeds)) > 1
    apart = min(new.seeds.values()) > max(base.seeds.values()) or max(new.seeds.values()) < min(
        base.seeds.values()
    )
    return Change(base, new, relative, apart and several and abs(relative) >= floor)


def changes(table: Mapping[str, Mapping[str, Cost]], base: str, new: str) -> Sequence[Change]:
    """The changes of all figures that both kernels have."""
    found = (change(row.get(base), row.get(new)) for row in table.values())
    return [each for each in found if each is not None]
