"""The overview of several runs: one page with the matrix of scenarios and modes, and links to the
report of each run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvslab.errors import CannotError, UsageError
from lvslab.report import figures, grid, text
from lvslab.report.failover import summary, trials
from lvslab.report.failover.trials import Group
from lvslab.report.page import Report, render
from lvslab.report.parts.links import report_of
from lvslab.report.parts.run import outcome, started
from lvslab.runs.rundir import Run, load


def write_overview(run_dirs: Sequence[Path], out: Path) -> Report:
    """Write overview.html and figures/matrix.png into the directory `out`: all runs at a glance,
    each linked to its report.

    A run that cannot be read is listed with the cause. Runs of the same scenario share its rows,
    unless they ran in the same mode.

    Raises:
        UsageError: none of the runs can be read.
        CannotError: the files cannot be written.
    """
    runs: list[Run] = []
    broken: list[str] = []
    for directory in run_dirs:
        try:
            runs.append(load(directory))
        except UsageError as error:
            broken.append(str(error))
    if not runs:
        raise UsageError(broken[0] if broken else "a matrix needs at least one run directory")
    labels = grid.labels(runs)
    found = [(run, label, trials.observe(run)) for run, label in zip(runs, labels, strict=True)]
    table = grid.joined([grid.of_run(run, groups, label) for run, label, groups in found])
    html = out / "overview.html"
    try:
        (out / "figures").mkdir(parents=True, exist_ok=True)
        studio = figures.Studio(out / "figures", table.looks)
        picture = studio.draw("matrix", grid.describe(table), lambda: grid.draw(table))
        page = render(
            "overview.html.j2",
            {
                "theme": table.looks.theme(),
                "matrix": {"drawn": picture, "png": "figures/matrix.png", "name": "matrix"},
                "runs": [_run_entry(run, label, groups, out) for run, label, groups in found],
                "broken": broken,
                "headers": text.FAILOVER_HEADERS,
            },
        )
        html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CannotError(
            f"{error.filename or html}: the overview cannot be written: {error.strerror or error}"
        ) from error
    return Report(html, tuple(studio.files))


def _run_entry(run: Run, label: str, groups: Sequence[Group], out: Path) -> dict[str, Any]:
    href, has_report = report_of(run.path, out)
    return {
        "title": " · ".join(filter(None, (grid.scenario_title(run), label))),
        "name": os.path.relpath(run.path.resolve(), out.resolve().parent),
        "href": href,
        "has_report": has_report,
        "outcome": outcome(run),
        "headline": text.headline(run),
        "started": started(run),
        "rows": text.failover_rows(groups),
        "problems": summary.problems(groups),
    }
