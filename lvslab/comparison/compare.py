"""Two runs, or two folders of runs, compared: verdicts, numbers, and whether that is a regression.

Everything comes from the run directories alone. The rules stand where they are applied: `likeness`
says what can be compared, `verdicts` and `numbers` judge. All numbers of one comparison are one
family: the level is the probability of any false alarm in all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.comparison import likeness, metrics, numbers, verdicts
from lvslab.comparison.findings import Finding, Status
from lvslab.comparison.likeness import Difference
from lvslab.comparison.metrics import Series
from lvslab.comparison.numbers import Limits
from lvslab.comparison.pairing import Pairing, pair
from lvslab.exitcodes import ExitCode
from lvslab.runs.rundir import Run


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        base, new: the places compared.
        base_kernels, new_kernels: of the directors.
        base_command, command: of the base and of the new run, to repeat them.
        under_test: how the two differ on purpose.
        not_comparable: why some or all of it could not be compared.
        notes: what a reader should know.
        findings: one for each result and series.
        strict: what is no longer checked counts as a regression.
    """

    base: Path
    new: Path
    base_kernels: tuple[str, ...]
    new_kernels: tuple[str, ...]
    base_command: tuple[str, ...]
    command: tuple[str, ...]
    limits: Limits
    under_test: tuple[Difference, ...]
    not_comparable: tuple[str, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    strict: bool = False

    @property
    def regressions(self) -> tuple[Finding, ...]:
        """The findings that make the comparison fail."""
        return tuple(each for each in self.findings if each.verdict(self.strict) == "fail")

    def of(self, *statuses: Status) -> tuple[Finding, ...]:
        """The findings of some statuses, in their order."""
        return tuple(each for each in self.findings if each.status in statuses)

    @property
    def counts(self) -> Counter[Status]:
        """How many findings there are of each status."""
        return Counter(each.status for each in self.findings)

    @property
    def repetitions_needed(self) -> int | None:
        """Repetitions on each side that make every number comparable; None where there are
        enough.
        """
        return self._needed(virtual=False)

    @property
    def seeds_needed(self) -> int | None:
        """The same of seeds, for numbers in virtual time."""
        return self._needed(virtual=True)

    def _needed(self, virtual: bool) -> int | None:
        changes = [each.change for each in self.findings if each.change and each.change.virtual == virtual]
        return max((each.needed for each in changes if each.needed), default=None)

    @property
    def code(self) -> ExitCode:
        """FAILED on a regression, CANNOT when nothing could be compared, else OK."""
        if self.regressions:
            return ExitCode.FAILED
        return ExitCode.OK if any(each.compared for each in self.findings) else ExitCode.CANNOT


def compare(base: Path, new: Path, limits: Limits | None = None, strict: bool = False) -> Comparison:
    """Compare what two places hold: run directories, or folders of several.

    Raises:
        UsageError: a place holds no run that can be read, or runs that cannot be told apart.
    """
    return compare_pairing(base, new, pair(base, new), limits or Limits(), strict)


def compare_pairing(
    base: Path, new: Path, pairing: Pairing, limits: Limits, strict: bool = False
) -> Comparison:
    """Compare runs that are paired already."""
    under_test: list[Difference] = []
    not_comparable = [f"{title}: in the base only" for title in pairing.only_base]
    not_comparable += [f"{title}: in the new place only" for title in pairing.only_new]
    notes: list[str] = []
    found: list[Finding] = []
    together: list[numbers.Pair] = []
    for each in pairing.pairs:
        alike = likeness.likeness(each.base[0], each.new[0])
        prefix = f"{each.subject}: " if each.subject else ""
        under_test += alike.under_test
        not_comparable += [prefix + sentence for sentence in alike.forbids]
        notes += [prefix + sentence for sentence in alike.notes]
        notes += [prefix + sentence for run in (each.base[0], each.new[0]) for sentence in run.not_comparable]
        notes += [str(warning) for run in (*each.base, *each.new) for warning in run.warnings]
        if alike.forbids:
            continue
        found += verdicts.compare(each.base, each.new, each.subject, limits.level)
        found += verdicts.broke(each.base, each.new, each.subject)
        series = _series(each.base, notes), _series(each.new, notes)
        both, others = numbers.pairs(*series, each.subject)
        if alike.forbids_numbers:
            reason = "; ".join(alike.forbids_numbers)
            if both or others:
                not_comparable += [f"{prefix}numbers: {sentence}" for sentence in alike.forbids_numbers]
            found += [Finding(one.subject, one.base.key, Status.NOT_COMPARABLE, reason) for one in both]
            continue
        found += others
        together += both
    found += numbers.compare(together, limits)
    base_runs = [run for each in pairing.pairs for run in each.base]
    new_runs = [run for each in pairing.pairs for run in each.new]
    return Comparison(
        base=base,
        new=new,
        base_kernels=_kernels(base_runs),
        new_kernels=_kernels(new_runs),
        base_command=base_runs[0].command if base_runs else (),
        command=new_runs[0].command if new_runs else (),
        limits=limits,
        under_test=tuple(dict.fromkeys(under_test)),
        not_comparable=tuple(dict.fromkeys(not_comparable)),
        notes=tuple(dict.fromkeys(notes)),
        findings=tuple(found),
        strict=strict,
    )


def _series(runs: Sequence[Run], notes: list[str]) -> dict[str, Series]:
    """The series of several runs of the same thing, as one run with more repetitions."""
    grouped: dict[str, list[Series]] = {}
    for run in runs:
        found, problems = metrics.all_series(run)
        notes += problems
        for each in found:
            grouped.setdefault(each.key, []).append(each)
    return {key: metrics.pooled(several) for key, several in grouped.items()}


def _kernels(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kernel for run in runs for kernel in likeness.director_kernels(run)))
