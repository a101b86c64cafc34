"""What a folder of runs says over time, for people: tables for a terminal, and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lvslab.comparison.history import History, News, Series, started
from lvslab.errors import CannotError
from lvslab.report.page import render
from lvslab.report.parts.links import report_of
from lvslab.report.style import THEME
from lvslab.report.text import Table
from lvslab.runs.words import plural

PAGE = "index.html"
_COLUMNS = 30
"""Runs of a series that the page shows, the newest; tables and counts are of all."""


@dataclass(frozen=True)
class Watched:
    """What was found.

    Attributes:
        since: where before ends and now begins.
        unread: why runs could not be read.
    """

    since: datetime
    series: tuple[Series, ...]
    news: tuple[News, ...]
    unread: tuple[str, ...]

    @property
    def wavering(self) -> list[tuple[Series, History]]:
        """Expectations that waver, those that failed most often first."""
        found = [(series, each) for series in self.series for each in series.histories if each.wavers]
        return sorted(found, key=lambda each: -len(each[1].failed) / len(each[1].judged))


def news_table(found: Watched) -> Table:
    """One row for each piece of news."""
    rows = [
        (str(each.status), each.series.title, each.history.name, each.series.kernel, each.reason)
        for each in found.news
    ]
    return Table(("News", "Run", "Expectation", "Kernel", "Why"), tuple(rows))


def wavering_table(found: Watched) -> Table:
    """One row for each expectation that wavers."""
    rows = [
        (
            f"{len(each.failed)} of {len(each.judged)}",
            series.title,
            each.name,
            series.kernel,
            f"{_last_failure(series, each)}: {each.failed[-1].reason}",
        )
        for series, each in found.wavering
    ]
    return Table(("Failed", "Run", "Expectation", "Kernel", "Last"), tuple(rows))


def headline(found: Watched) -> str:
    """All of it in a sentence."""
    histories = [each for series in found.series for each in series.histories]
    held = sum(not each.failed and bool(each.judged) for each in histories)
    worse = sum(each.regression for each in found.news)
    runs = sum(len(series.runs) for series in found.series)
    return (
        f"{plural(runs, 'run')} in {plural(len(found.series), 'series', 'series')}: "
        f"{plural(len(histories), 'expectation')}, {held} of them always held, "
        f"{worse} worse since {found.since:%Y-%m-%d %H:%M} UTC, {len(found.wavering)} wavering"
    )


def as_json(found: Watched) -> dict[str, Any]:
    """The same for programs."""
    return {
        "since": found.since.isoformat(),
        "news": [
            {
                "status": str(each.status),
                "regression": each.regression,
                "run": each.series.title,
                "kernel": each.series.kernel,
                "expectation": each.history.name,
                "reason": each.reason,
            }
            for each in found.news
        ],
        "wavering": [
            {
                "run": series.title,
                "kernel": series.kernel,
                "expectation": each.name,
                "failed": len(each.failed),
                "judged": len(each.judged),
                "turns": each.turns,
                "last_failure": _last_failure(series, each),
                "reason": each.failed[-1].reason,
            }
            for series, each in found.wavering
        ],
        "series": [
            {
                "run": series.title,
                "kernel": series.kernel,
                "runs": [str(run.path) for run in series.runs],
                "expectations": len(series.histories),
            }
            for series in found.series
        ],
        "unread": list(found.unread),
    }


def write_site(found: Watched, folder: Path) -> Path:
    """Write the page, linked to the runs' reports; no server is needed to read it.

    Raises:
        CannotError: it cannot be written.
    """
    html = folder / PAGE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page = render(
            "watch.html.j2",
            {
                "theme": THEME,
                "headline": headline(found),
                "since": f"{found.since:%Y-%m-%d %H:%M} UTC",
                "news": news_table(found),
                "wavering": wavering_table(found),
                "series": [_grid(series, folder) for series in found.series],
                "unread": found.unread,
                "tone": _TONES,
            },
        )
        html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CannotError(
            f"{error.filename or html}: the page cannot be written: {error.strerror or error}"
        ) from error
    return html


_TONES = {"newly failing": "fail", "failing more often": "fail", "fixed": "pass"}
_GLYPHS = {"pass": "✓", "fail": "✗", "skip": "○", "": "·"}


def _grid(series: Series, folder: Path) -> dict[str, Any]:
    """A series for the page: its newest runs, and the expectations that did not always hold."""
    runs = series.runs[: -_COLUMNS - 1 : -1]
    shown = [each for each in series.histories if set(each.verdicts) != {"pass"}]
    return {
        "title": series.title,
        "kernel": series.kernel,
        "left_out": len(series.runs) - len(runs),
        "held": len(series.histories) - len(shown),
        "runs": [
            {
                "day": f"{started(run):%m-%d}",
                "title": f"{run.path.name}, {started(run):%Y-%m-%d %H:%M:%S} UTC, lvslab {run.lvslab}",
                "href": report_of(run.path, folder)[0],
            }
            for run in runs
        ],
        "rows": [{"name": each.name, "cells": _cells(each, len(runs))} for each in shown],
    }


def _cells(history: History, columns: int) -> list[dict[str, str]]:
    return [
        {
            "verdict": verdict,
            "glyph": _GLYPHS[verdict],
            "title": next((one.reason for one in seen if one.verdict == verdict), "not in this run"),
        }
        for verdict, seen in list(zip(history.verdicts, history.seen, strict=True))[: -columns - 1 : -1]
    ]


def _last_failure(series: Series, history: History) -> str:
    """The day of the last run in which it failed."""
    failed: Sequence[int] = [at for at, verdict in enumerate(history.verdicts) if verdict == "fail"]
    return f"{started(series.runs[failed[-1]]):%Y-%m-%d}"
