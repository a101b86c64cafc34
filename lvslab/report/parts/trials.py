"""The trials on a page: their charts, what they expected, and one row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lvslab.report import figures, grid
from lvslab.report.failover import summary
from lvslab.report.failover.trials import Group, Observed
from lvslab.report.parts.links import Linker, picture
from lvslab.report.units import MISSING, count, quantity, seconds_text
from lvslab.runs.rundir import Run


def trials_part(run: Run, groups: Sequence[Group], studio: figures.Studio, link: Linker) -> dict[str, Any]:
    """What the page shows of the trials."""
    drawn = figures.failures(studio, groups)
    modes = {group.mode for group in groups}
    table = None
    if len(modes) > 1:
        cells = grid.of_run(run, groups)
        table = picture(studio.draw("matrix", grid.describe(cells), lambda: grid.draw(cells)), link.page)
    return {
        "summary": summary.summary(groups),
        "problems": summary.problems(groups),
        "expects": _expectations(groups),
        "timelines": [picture(each, link.page) for each in drawn.timelines],
        "comparison": picture(drawn.comparison, link.page),
        "charts": [picture(each, link.page) for each in drawn.charts],
        "matrix": table,
        "repeats": [
            (group.label, len(group.trials), picture(each, link.page)) for group, each in drawn.repeats
        ],
        "trials": [_trial(group, trial, link) for group in groups for trial in group.trials],
    }


def _expectations(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """What the trials expect as (whose, sentence): once without a name when all expect the same."""
    pairs = [
        (group.variant or group.label, trial.trial.expects)
        for group in groups
        for trial in group.trials
        if trial.trial.expects
    ]
    sentences = list(dict.fromkeys(sentence for _, sentence in pairs))
    if len(sentences) <= 1:
        return [("", sentence) for sentence in sentences]
    whose = {
        sentence: list(dict.fromkeys(label for label, each in pairs if each == sentence))
        for sentence in sentences
    }
    return [("; ".join(whose[sentence]), sentence) for sentence in sentences]


def _trial(group: Group, trial: Observed, link: Linker) -> dict[str, Any]:
    """A row of the table of trials."""
    name = trial.trial.name
    files = [(kind, link(f"probes/{name}.{kind}.csv")) for kind in ("attempts", "beats", "lateness")]
    survival = trial.survival
    bound = trial.trial.bound
    seen = trial.detection
    return {
        "name": name,
        "label": group.label,
        "mode": group.look.title,
        "repeat": trial.trial.repeat,
        "verdict": trial.trial.verdict,
        "outage": trial.length_text,
        "unknown": trial.unknown,
        "bad": trial.exceeded,
        "predicted": f"≤ {quantity(bound.seconds, 's')}" if bound else MISSING,
        "formula": bound.formula if bound else "",
        "detected": (
            MISSING if trial.fault is None else "never" if seen is None else seconds_text(seen, 0.001)
        ),
        "failed": (f"{count(trial.failed)} of {count(len(trial.attempts))}" if trial.attempts else MISSING),
        "outcomes": summary.outcomes_text(trial.outcomes),
        "survivors": f"{survival.survived} of {survival.total}" if survival else MISSING,
        "marks": [
            (f"{trial.since(mark.t):+.3f} s".replace("-", "−"), mark.kind, mark.node, mark.text)
            for mark in trial.trial.marks
        ],
        "since": "the start of the trial" if trial.fault is None else "the fault",
        "expects": trial.trial.expects,
        "files": [(kind, href) for kind, href in files if href],
    }
