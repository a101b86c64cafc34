"""The verdicts and the numbers of a run as tables of plain text: data for whoever prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvslab.report.failover.trials import Group, observe
from lvslab.report.series import Series, Subject, all_series, subjects
from lvslab.report.units import MISSING, percent, scale
from lvslab.runs.rundir import Run
from lvslab.runs.stats import Summary


@dataclass(frozen=True, slots=True)
class Table:
    """Headers and rows of the same length, all plain text."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of the summary: `median` with its unit, `detail` (spread and n), or `missing`, why
    there is none.
    """

    median: str
    detail: str
    missing: str
    unstable: bool

    @property
    def text(self) -> str:
        """The cell in one line."""
        return f"{self.median} ({self.detail})" if self.detail else self.median


def headline(run: Run) -> str:
    """The verdicts in half a sentence: "4 passed, 1 failed"."""
    counts = [
        (sum(result.verdict == verdict for result in run.results), word)
        for verdict, word in (("pass", "passed"), ("fail", "failed"), ("skip", "skipped"))
    ]
    return ", ".join(f"{count} {word}" for count, word in counts if count) or "no verdict"


def verdict_table(run: Run) -> Table:
    """One row a result: name, PASS, FAIL or SKIP, and the reason."""
    rows = tuple((result.name, result.verdict.upper(), result.reason) for result in run.results)
    return Table(("Name", "Verdict", "Reason"), rows)


def summary_table(run: Run) -> Table:
    """One row a metric, one column a lab: the median of the repeats, their spread and
    their number.
    """
    labs = subjects(run)
    rows = tuple(
        (series.title, *(cell(series, subject).text for subject in labs)) for series in all_series(run)
    )
    return Table(("Metric", *(subject.label for subject in labs)), rows)


FAILOVER_HEADERS = (
    "Variant",
    "Mode",
    "Repeats",
    "Outage, median",
    "Range",
    "Predicted",
    "Detected after",
    "Failed attempts",
    "Survivors",
)


def failover_table(run: Run) -> Table:
    """One row a variant and mode: the outages of its repeats, their prediction and detection, the
    attempts and connections lost.

    Without a row for a run that has no trials.
    """
    return Table(FAILOVER_HEADERS, failover_rows(observe(run)))


def failover_rows(groups: Sequence[Group]) -> tuple[tuple[str, ...], ...]:
    """The rows of `failover_table` for trials that are read already."""
    return tuple(
        (
            group.variant or MISSING,
            group.look.title,
            _repeats(group),
            group.median_text,
            group.range_text or MISSING,
            group.bound_text,
            group.detection_text,
            group.failed_text,
            group.survivors_text,
        )
        for group in groups
    )


def _repeats(group: Group) -> str:
    """How many repeats there are, and of how many the outage is not known."""
    unknown = len(group.trials) - len(group.lengths)
    return f"{len(group.trials)} ({unknown} not known)" if unknown else str(len(group.trials))


def cell(series: Series, subject: Subject) -> Cell:
    """What the summary says of one metric in one lab."""
    summary = series.summary(subject.lab)
    if summary.median is None:
        return Cell(MISSING, "", series.missing(subject.lab), False)
    return Cell(
        scale(series.unit, series.largest).text(summary.median), _detail(summary), "", summary.unstable
    )


def _detail(summary: Summary) -> str:
    parts = [f"spread {percent(summary.spread)}" if summary.spread is not None else "", f"n {summary.n}"]
    parts.append(f"{summary.missing} failed" if summary.missing else "")
    return ", ".join(filter(None, parts))
