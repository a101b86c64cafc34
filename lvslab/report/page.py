"""The report of a run: one self-contained HTML page and its figures as PNG files, made from the run
directory alone.

What is missing is said, never drawn as an empty figure. The same run directory gives the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvslab.errors import CannotError
from lvslab.report import bench, figures, text, tier, tier_charts
from lvslab.report.failover import trials
from lvslab.report.glyphs import share_glyphs
from lvslab.report.looks import looks_of
from lvslab.report.parts.labs import alike_labs, lab_part
from lvslab.report.parts.links import Linker, picture
from lvslab.report.parts.run import shared
from lvslab.report.parts.trials import trials_part
from lvslab.report.series import Series, Subject, all_series, subjects
from lvslab.report.units import percent
from lvslab.runs.rundir import Run, load
from lvslab.runs.stats import UNSTABLE_SPREAD

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, slots=True)
class Report:
    """The files of a finished report."""

    html: Path
    figures: tuple[Path, ...]


def write_report(run_dir: Path, out: Path | None = None) -> Report:
    """Write report.html and figures/*.png for the run in `run_dir`: into that directory, or into
    the directory `out`.

    Raises UsageError when there is no readable run, CannotError when the files cannot be written.
    """
    run = load(run_dir)
    folder = Path(out) if out is not None else run.path
    html, pictures = folder / "report.html", folder / "figures"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        studio = figures.Studio(pictures, looks_of(run))
        if run.kind == "bench":
            own = bench.context(run, studio, lambda drawn: picture(drawn, folder))
            page = render("bench.html.j2", shared(run, Linker(run.path, folder), short=False) | own)
        else:
            page = render("report.html.j2", _context(run, studio, folder))
        html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CannotError(
            f"{error.filename or html}: the report cannot be written: {error.strerror or error}"
        ) from error
    return Report(html, tuple(studio.files))


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page from one of the templates, its figures' letters shared."""
    return share_glyphs(_templates().get_template(template).render(**context))


@cache
def _templates() -> Environment:
    """All templates, each compiled once a process."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["svg"] = lambda drawn: Markup(drawn.svg)
    return environment


def _context(run: Run, studio: figures.Studio, folder: Path) -> dict[str, Any]:
    """Everything the template shows, as plain values."""
    everyone, series = subjects(run), all_series(run)
    link = Linker(run.path, folder)
    shown = figures.measurements(studio, run, series, everyone)
    groups = trials.observe(run)
    labs = (
        [lab_part(run, lab, studio, link) for lab in run.labs]
        if not groups
        else alike_labs(run, studio, link)
    )
    return shared(run, link, short=bool(groups)) | {
        "failover": trials_part(run, groups, studio, link) if groups else None,
        "summary": _summary(series, everyone),
        "columns": everyone,
        "unstable": [
            f"{one.title} in {subject.label} ({percent(one.summary(subject.lab).spread)})"
            for one in series
            for subject in everyone
            if one.summary(subject.lab).unstable
        ],
        "unstable_spread": percent(UNSTABLE_SPREAD, 0),
        "tier": _tier(run, studio, folder),
        "charts": [picture(drawn, folder) for drawn in shown],
        "labs": labs,
    }


def _summary(series: tuple[Series, ...], everyone: tuple[Subject, ...]) -> list[dict[str, Any]]:
    return [{"series": one, "cells": [text.cell(one, subject) for subject in everyone]} for one in series]


def _tier(run: Run, studio: figures.Studio, folder: Path) -> dict[str, Any] | None:
    """The answer of a comparison of LVS with proxies and its figure."""
    if not tier.bases(run) or not tier.proxies(run) or not tier_charts.can_draw(run):
        return None
    drawn = studio.draw("ratios", tier_charts.describe(run), lambda: tier_charts.ratios(run))
    return {"text": tier.answer(run).text, "picture": picture(drawn, folder)}
