"""What a comparison finds: one finding for every result and every series of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lvslab.runs.records import Verdict


class Status(StrEnum):
    """What became of something from the base to the new run."""

    NEWLY_FAILING = "newly failing"
    FAILING_MORE = "failing more often"
    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    """A number changed, and nobody says which direction is worse."""
    FIXED = "fixed"
    STILL_FAILING = "still failing"
    NEWLY_SKIPPED = "newly skipped"
    MISSING = "missing"
    """In the base run only."""
    ADDED = "added"
    """In the new run only, or skipped in the base run."""
    TOO_FEW = "too few repetitions"
    NOT_COMPARABLE = "not comparable"
    SKIPPED = "skipped in both"
    SAME = "same"
    UNCHANGED = "no change shown"
    """A number whose change, if there is one, is not told from chance or below the floor."""


REGRESSIONS = (Status.NEWLY_FAILING, Status.FAILING_MORE, Status.WORSE)
LOST = (Status.NEWLY_SKIPPED, Status.MISSING)
"""What was checked and is not any more: a regression only for those who say so."""
_COMPARED = (
    *REGRESSIONS,
    Status.BETTER,
    Status.CHANGED,
    Status.FIXED,
    Status.STILL_FAILING,
    Status.SAME,
    Status.UNCHANGED,
)
_PASS = (Status.SAME, Status.UNCHANGED, Status.FIXED, Status.BETTER, Status.CHANGED)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a series of numbers.

    Attributes:
        unit: of the medians.
        base, new: medians.
        base_n, new_n: repetitions (or seeds, in virtual time).
        relative: (new - base) / base; None when the base is 0.
        dominance: Vargha and Delaney's A: how often a new value is above a base one.
        p: of the Mann–Whitney test; None in virtual time, where the rule is another
            (`lvslab.comparison.numbers`).
        adjusted: the same after Holm's correction; None where the test could not reach the level.
        needed: repetitions (seeds) on each side that can reach the level; None where there are
            enough.
        virtual: measured in virtual time.
    """

    unit: str
    base: float
    new: float
    base_n: int
    new_n: int
    relative: float | None
    dominance: float
    p: float | None = None
    adjusted: float | None = None
    needed: int | None = None
    virtual: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        subject: the pair of runs that it is about; "" when there is only one pair.
        name: of the result or the series.
        reason: one line.
        evidence: files.
        change: of numbers.
        tries: of a verdict: how often it was tried in the new run.
    """

    subject: str
    name: str
    status: Status
    reason: str
    evidence: tuple[str, ...] = ()
    change: Change | None = None
    tries: int = 0

    @property
    def title(self) -> str:
        """The name with its subject."""
        return f"{self.subject}: {self.name}" if self.subject else self.name

    @property
    def compared(self) -> bool:
        """Whether both sides could be set side by side."""
        return self.status in _COMPARED

    def verdict(self, strict: bool = False) -> Verdict:
        """The status as the verdict of a gate: fail for a regression, skip for what could not be
        judged or failed already before.

        Args:
            strict: what is no longer checked (`LOST`) is a regression too.
        """
        if self.status in REGRESSIONS or (strict and self.status in LOST):
            return "fail"
        return "pass" if self.status in _PASS else "skip"
