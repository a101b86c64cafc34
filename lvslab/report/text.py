"""The verdicts and the numbers of a run as tables of plain text: data for whoever prints them."""

from __future__ import annotations

from dataclasses import dataclass

from lvslab.measure.rundir import Run
from lvslab.measure.stats import Summary
from lvslab.report.series import Series, Subject, all_series, subjects
from lvslab.report.units import MISSING, percent, scale


@dataclass(frozen=True, slots=True)
class Table:
    """Headers and rows of the same length, all plain text."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of the summary: `median` with its unit, `detail` (spread and n), or `missing`, why there is none."""

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
    """One row a metric, one column a lab: the median of the repeats, their spread and their number."""
    labs = subjects(run)
    rows = tuple((series.title, *(cell(series, subject).text for subject in labs)) for series in all_series(run))
    return Table(("Metric", *(subject.label for subject in labs)), rows)


def cell(series: Series, subject: Subject) -> Cell:
    """What the summary says of one metric in one lab."""
    summary = series.summary(subject.lab)
    if summary.median is None:
        return Cell(MISSING, "", series.missing(subject.lab), False)
    return Cell(scale(series.unit, series.largest).text(summary.median), _detail(summary), "", summary.unstable)


def _detail(summary: Summary) -> str:
    parts = [f"spread {percent(summary.spread)}" if summary.spread is not None else "", f"n {summary.n}"]
    parts.append(f"{summary.missing} failed" if summary.missing else "")
    return ", ".join(filter(None, parts))
