"""What many runs say of each expectation, over time and for each kernel: what changed lately, and
what wavers.

Runs of one history did the same thing (`likeness.configuration`) with the same under test
(`likeness.under_test`: kernel of the directors, its configuration, sysctls), so a change within one
is not the kernel's. A new kernel begins a new history; `lvslab compare` sets two kernels side by
side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path

from lvslab.comparison import likeness
from lvslab.comparison.findings import REGRESSIONS, Status
from lvslab.comparison.verdicts import Outcome, judge, outcomes
from lvslab.errors import UsageError
from lvslab.runs.rundir import Run, load

COMPLETES = "the run completes"
"""An expectation of every run: a kernel that dies fails no check."""

_TWICE = 2
"""Changes of verdict that one fault makes, which comes and is mended."""


@dataclass(frozen=True)
class Series:
    """The runs of one thing on one kernel, oldest first.

    Attributes:
        title: what was run.
        kernel: of the directors, and the sysctls that were set.
    """

    title: str
    kernel: str
    runs: tuple[Run, ...]

    @cached_property
    def histories(self) -> tuple[History, ...]:
        """One for each expectation that any of the runs had, in the order of its first run."""
        by_run = [_outcomes(run) for run in self.runs]
        names = dict.fromkeys(name for each in by_run for name in each)
        return tuple(History(name, tuple(each.get(name, ()) for each in by_run)) for name in names)


@dataclass(frozen=True)
class History:
    """What became of one expectation.

    Attributes:
        seen: for each run of the series its outcomes, one a repetition; none where the run did not
            have it.
    """

    name: str
    seen: tuple[tuple[Outcome, ...], ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """For each run: "fail" if any repetition failed, "pass", "skip", or "" if it did not have
        it.
        """
        return tuple(_worst(each) for each in self.seen)

    @property
    def judged(self) -> tuple[Outcome, ...]:
        """All outcomes but the skipped ones, oldest first."""
        return tuple(one for each in self.seen for one in each if one.verdict != "skip")

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that failed, oldest first."""
        return tuple(one for one in self.judged if one.verdict == "fail")

    @property
    def turns(self) -> int:
        """How often it changed from pass to fail or back."""
        return sum(before.verdict != after.verdict for before, after in pairwise(self.judged))

    @property
    def wavers(self) -> bool:
        """Whether its changes are not those of one fault that came or was mended: there are more of
        them, or what lay between two was seen once only.
        """
        phases = [len(list(same)) for _, same in groupby(one.verdict for one in self.judged)]
        return self.turns > _TWICE or 1 in phases[1:-1]


@dataclass(frozen=True, slots=True)
class News:
    """Something that is not as it was before.

    Attributes:
        status: NEWLY_FAILING, FAILING_MORE, FIXED, ADDED, NEWLY_SKIPPED or MISSING.
        reason: in the words of a comparison.
    """

    series: Series
    history: History
    status: Status
    reason: str

    @property
    def regression(self) -> bool:
        """Whether somebody must look."""
        return self.status in REGRESSIONS


_Configuration = tuple[str, str, tuple[tuple[str, str], ...]]

_TOLD = (*REGRESSIONS, Status.FIXED, Status.NEWLY_SKIPPED, Status.ADDED, Status.MISSING)
"""In the order of urgency."""


def read(places: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs in folders, however deep, and sentences about those that cannot be read.

    Copies that are kept as baselines are left out.

    Raises:
        UsageError: a place is no folder, or there is not one run that can be read.
    """
    runs: list[Run] = []
    broken: list[str] = []
    places = tuple(places)
    for place in places:
        if not place.is_dir():
            raise UsageError(f"{place}: there is no such folder")
        for file in sorted(place.rglob("run.json")):
            inside = file.relative_to(place).parts
            if "baselines" in inside or any(part.startswith(".") for part in inside):
                continue
            try:
                runs.append(load(file.parent))
            except UsageError as error:
                broken.append(str(error))
    if not runs:
        looked = " or ".join(map(str, places))
        raise UsageError(
            broken[0] if broken else f"{looked}: no run in it; runs stand in folders of their own"
        )
    return runs, broken


def series_of(runs: Iterable[Run]) -> tuple[Series, ...]:
    """Runs that belong together, by title and kernel; runs that have not ended are left out, and
    those that were interrupted.
    """
    found: dict[tuple[_Configuration, str], list[Run]] = {}
    for run in runs:
        if run.status in ("complete", "broken"):
            found.setdefault((likeness.configuration(run), _kernel(run)), []).append(run)
    titles = _titles({configuration for configuration, _ in found})
    series = [
        Series(titles[configuration], kernel, tuple(sorted(same, key=started)))
        for (configuration, kernel), same in found.items()
    ]
    return tuple(sorted(series, key=lambda each: (each.title, each.kernel)))


def started(run: Run) -> datetime:
    """When a run began; long ago, where it does not say."""
    try:
        return datetime.fromisoformat(run.started).astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def news(series: Series, since: datetime, level: float) -> list[News]:
    """What the runs since then say otherwise than those before, the urgent first.

    Nothing where there are no runs on either side of that moment. An expectation that wavered
    before, and does so still, is no news unless it fails more often.

    Args:
        level: of the test whether something that failed sometimes fails more often.
    """
    split = sum(started(run) < since for run in series.runs)
    if not 0 < split < len(series.runs):
        return []
    found = []
    for history in series.histories:
        before, after = (
            [one for each in part for one in each] for part in (history.seen[:split], history.seen[split:])
        )
        status, reason = _judged(before, after, level)
        if status in _TOLD and not (status is Status.FIXED and history.wavers):
            found.append(News(series, history, status, reason))
    return sorted(found, key=lambda each: _TOLD.index(each.status))


def _judged(before: Sequence[Outcome], after: Sequence[Outcome], level: float) -> tuple[Status, str]:
    if not after:
        return Status.MISSING, "in no run since"
    if not before:
        return Status.ADDED, f"since then only; {_worst(after)} now"
    return judge(before, after, level)


def _outcomes(run: Run) -> dict[str, tuple[Outcome, ...]]:
    found = {name: tuple(each) for name, each in outcomes([run]).items()}
    if run.status == "broken":
        return {**found, COMPLETES: (Outcome("fail", f"the lab broke: {run.error}"),)}
    return {**found, COMPLETES: (Outcome("pass", ""),)}


def _worst(seen: Sequence[Outcome]) -> str:
    verdicts = {one.verdict for one in seen}
    return next((each for each in ("fail", "pass", "skip") if each in verdicts), "")


def _kernel(run: Run) -> str:
    kernel, *sysctls = likeness.under_test(run).items()
    return ", ".join([kernel[1], *(f"{name}={value}" for name, value in sysctls)])


def _titles(configurations: Iterable[_Configuration]) -> dict[_Configuration, str]:
    """The name of each, and of its parameters those that tell it from others of the name."""
    named: dict[tuple[str, str], list[_Configuration]] = {}
    for each in configurations:
        named.setdefault(each[:2], []).append(each)
    titles = {}
    for (kind, name), same in named.items():
        common = set.intersection(*(set(parameters) for _, _, parameters in same))
        for each in same:
            own = [f"{key}={value}" for key, value in each[2] if (key, value) not in common]
            titles[each] = " ".join([name or kind, *own])
    return titles
