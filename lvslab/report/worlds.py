"""The page of many worlds of one scenario: the distribution that one repetition hides, and the
command that lets the worst of them happen again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lvslab.errors import CannotError
from lvslab.report import figures, world_charts
from lvslab.report.looks import looks_of
from lvslab.report.page import Report, render
from lvslab.report.parts.links import picture
from lvslab.runs import rundir
from lvslab.runs.stats import median
from lvslab.runs.worlds import CONNECTIONS, TRIALS, SeedTrial, by_variant, worst

_MOST_ROWS = 50
"""Of the table of worlds on the page, the longest outages first; all of them are in its file."""


def write_worlds(folder: Path, trials: Sequence[SeedTrial], title: str, replay: str) -> Report:
    """Write report.html and figures/*.png into the folder of all worlds.

    Args:
        title: of the scenario.
        replay: the command that lets the worst world happen again.

    Raises:
        CannotError: the files cannot be written.
    """
    chosen = worst(trials)
    html = folder / "report.html"
    try:
        (folder / "figures").mkdir(exist_ok=True)
        run = rundir.load(folder / chosen.run)
        looks = looks_of(run)
        studio = figures.Studio(folder / "figures", looks)
        color = looks.of(run.modes[0]).light if run.modes else "#5f6b79"
        variants = by_variant([trial for trial in trials if trial.variant])
        context = {
            "theme": looks.theme(),
            "title": title,
            "modes": ", ".join(looks.of(mode).title for mode in run.modes),
            "seeds": sorted({trial.seed for trial in trials}),
            "failed": sorted({trial.seed for trial in trials if trial.code}),
            "replay": replay,
            "worst": chosen,
            "charts": [picture(drawn, folder) for drawn in _draw(studio, variants, color, chosen.seed)],
            "variants": [_row(name, own) for name, own in variants.items()],
            "rows": _worlds(trials, folder),
            "left": max(0, len(trials) - _MOST_ROWS),
            "tables": [name for name in (TRIALS, CONNECTIONS) if (folder / name).is_file()],
        }
        html.write_text(render("worlds.html.j2", context), encoding="utf-8")
    except OSError as error:
        raise CannotError(
            f"{error.filename or html}: the report cannot be written: {error.strerror or error}"
        ) from error
    return Report(html, tuple(studio.files))


def _draw(
    studio: figures.Studio, variants: Mapping[str, Sequence[SeedTrial]], color: str, chosen: int
) -> list[figures.Drawn]:
    """The charts that there is something for."""
    drawn = []
    if outages := world_charts.known(variants):
        text = f"Outages of {len(outages)} trials, {min(outages):.3f} to {max(outages):.3f} s"
        drawn.append(studio.draw("outages", text, partial(world_charts.outages, variants, color, chosen)))
    if world_charts.has_phases(variants):
        text = "Outage of each world against the time from the last advertisement to the fault"
        drawn.append(studio.draw("phases", text, partial(world_charts.phases, variants, color, chosen)))
    if any(trial.connections for own in variants.values() for trial in own):
        numbers = (f"{name} {_survivors(own)}" for name, own in variants.items())
        text = f"Lasting connections that survived, by their age at the fault: {', '.join(numbers)}"
        drawn.append(studio.draw("ages", text, partial(world_charts.ages, variants, color)))
    return drawn


def _survivors(trials: Sequence[SeedTrial]) -> str:
    standing = sum(len(trial.connections) for trial in trials)
    return f"{sum(trial.survived for trial in trials)} of {standing}" if standing else "–"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f} s"


def _row(name: str, trials: Sequence[SeedTrial]) -> tuple[str, ...]:
    """A variant: worlds, shortest, median and longest outage, survivors."""
    outages = [trial.outage for trial in trials if trial.outage is not None]
    middle = [min(outages), median(outages), max(outages)] if outages else [None] * 3
    return (name, str(len(trials)), *map(_seconds, middle), _survivors(trials))


def _worlds(trials: Sequence[SeedTrial], folder: Path) -> list[dict[str, Any]]:
    """The trials to look at first, each with a link to its run."""
    ordered = sorted(trials, key=lambda trial: (trial.code == 0, -(trial.outage or 0.0), trial.seed))
    return [
        {
            "seed": trial.seed,
            "code": trial.code,
            "href": quote(Path(os.path.relpath(folder / trial.run, folder)).as_posix()) + "/",
            "cells": (
                trial.variant or "–",
                _seconds(trial.outage),
                _seconds(trial.phase),
                f"{trial.survived} of {len(trial.connections)}" if trial.connections else "–",
                trial.sha256[:16],
            ),
            "error": trial.error,
        }
        for trial in ordered[:_MOST_ROWS]
    ]
