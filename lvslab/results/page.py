"""The page of a sweep: a grid of its cells, any two axes against any metric, failures first. One
file that needs no server and no network.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lvslab.errors import CannotError
from lvslab.exitcodes import ExitCode
from lvslab.report.page import render
from lvslab.report.style import THEME
from lvslab.results.gather import Source, sources
from lvslab.runs.observation import observed
from lvslab.runs.rundir import Run
from lvslab.runs.stats import median, percentile
from lvslab.sweep.store import Store

PAGE = "sweep.html"
_DIGITS = 6
_VERDICTS = {ExitCode.OK: "pass", ExitCode.FAILED: "fail", ExitCode.CANNOT: "skip"}


def write_page(folder: Path) -> Path:
    """Write sweep.html into the folder of a sweep.

    Raises:
        UsageError: it is no sweep, or nothing of it is done.
        CannotError: the file cannot be written.
    """
    index = Store(folder).index()
    done = list(sources(folder))
    data: dict[str, Any] = {
        "axes": {name: list(values) for name, values in index.axes.items() if len(values) > 1},
        "cells": [_cell(source, folder) for source in done],
        "units": _units(done),
    }
    failures = [cell for cell in data["cells"] if cell["verdict"] not in ("pass", "skip")]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    page = render(
        "sweep.html.j2",
        {
            "theme": THEME,
            "title": index.title,
            "planned": len(index.cells),
            "done": len(done),
            "failures": failures,
            "fixed": {name: values[0] for name, values in index.axes.items() if len(values) == 1},
            "machines": sorted({source.done.machine for source in done if source.done}),
            "data": text,
        },
    )
    file = folder / PAGE
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CannotError(f"{file}: cannot be written: {error.strerror}") from error
    return file


def _cell(source: Source, folder: Path) -> dict[str, Any]:
    """A cell as the page needs it."""
    assert source.done is not None
    index = {column.meaning.split()[1]: str(value) for column, value in source.axes.items()}
    failed = [result for result in source.run.results if result.verdict == "fail"]
    place = Path(os.path.relpath(source.run.path.resolve(), folder.resolve())).as_posix()
    return {
        "axes": index,
        "repetition": source.repetition,
        "verdict": _VERDICTS.get(source.done.code, "broken"),
        "why": source.done.error or (f"{failed[0].name}: {failed[0].reason}" if failed else ""),
        "href": f"{quote(place)}/",
        "machine": source.done.machine,
        "metrics": {name: float(f"{value:.{_DIGITS}g}") for name, (value, _) in metrics(source.run).items()},
    }


def _units(done: Sequence[Source]) -> dict[str, str]:
    """Metric → its unit, by name."""
    units = {name: unit for source in done for name, (_, unit) in metrics(source.run).items()}
    return dict(sorted(units.items()))


def metrics(run: Run) -> Mapping[str, tuple[float, str]]:
    """Metric → its value in a run and the unit: medians; of distributions and trials, too. Where a
    run has several labs or variants, the name says which.
    """
    several = len({lab.name for lab in run.labs}) > 1
    numbers: dict[str, list[float]] = {}
    units: dict[str, str] = {}

    def note(name: str, values: Sequence[float | None], unit: str) -> None:
        known = [value for value in values if value is not None]
        if known:
            numbers.setdefault(name, []).extend(known)
            units[name] = unit

    for sample in run.samples:
        if "server" in sample.labels:  # as many series as there are servers
            continue
        words = [sample.lab] * several + [
            sample.metric,
            *(value for _, value in sorted(sample.labels.items())),
        ]
        name = " ".join(words)
        if sample.values is None:
            note(name, [sample.value], sample.unit)
        elif known := [value for value in sample.values if value is not None]:
            for percent in (50, 99):
                note(f"{name} p{percent}", [percentile(known, percent)], sample.unit)
    variants = len({trial.variant for trial in run.trials}) > 1
    for trial in run.trials:
        seen = observed(run.probes, trial)
        words = [trial.lab] * several + [trial.variant] * variants
        note(" ".join([*words, "outage"]), [seen.outage_seconds], "s")
        note(" ".join([*words, "detection"]), [seen.detection], "s")
        if seen.survival and seen.survival.total:
            share = seen.survival.survived / seen.survival.total
            note(" ".join([*words, "surviving connections"]), [share], "1")
    middle = {name: median(values) for name, values in numbers.items()}
    return {name: (value, units[name]) for name, value in middle.items() if value is not None}
