"""All figures of a run: which there are, what they are called, and their bytes as SVG (for the
page) and PNG (for elsewhere).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lvslab.report import charts, ladder, network, style
from lvslab.report.failover import outages, survivors, timeline, variants
from lvslab.report.failover.trials import Group, Observed
from lvslab.report.looks import Looks
from lvslab.report.series import Series, Subject
from lvslab.runs.records import Flow, Lab
from lvslab.runs.rundir import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FLOWS = 3
"""So many flows of a lab get a ladder, those that failed first; the rest stays in
captures/<lab>.ladder.txt.
"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished figure: `svg` for the page, `png` its file, `description` for who cannot
    see it.
    """

    name: str
    description: str
    svg: str
    png: Path


class Studio:
    """Draws figures into a folder and remembers the files, each name once; `looks` are those of the
    runs that it draws.
    """

    def __init__(self, folder: Path, looks: Looks) -> None:
        self._folder, self.looks = folder, looks
        self.files: list[Path] = []

    def draw(self, name: str, description: str, make: Callable[[], Figure]) -> Drawn:
        """Draw one figure; `name` becomes the file's name and the beginning of the SVG's ids."""
        base = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
        name, counter = base, 1
        while (file := self._folder / f"{name}.png") in self.files:
            counter += 1
            name = f"{base}-{counter}"
        figure = make()
        svg = style.drawn(figure, file)
        self.files.append(file)
        return Drawn(name, description, style.inline_svg(svg, name, description, self.looks.theme()), file)


def measurements(
    studio: Studio, run: Run, series: Sequence[Series], subjects: Sequence[Subject]
) -> list[Drawn]:
    """A chart for every series, the latency's distribution, who answered, the director's counters:
    those there are data for.
    """
    drawn = []
    for one in series:
        if one.largest is not None:
            numbers = ", ".join(f"{subject.label} {charts.median_text(one, subject)}" for subject in subjects)
            text = f"{one.title}, median of the repeats: {numbers}"
            drawn.append(studio.draw(one.key, text, partial(charts.metric, one, subjects)))
    if any(value is not None for sample in run.of("latency") for value in sample.values or ()):
        text = "Distribution of the request latencies of each mode, p50 and p99 marked"
        drawn.append(studio.draw("latency", text, partial(charts.latency, run, subjects)))
    if any(sample.value is not None for sample in run.of("answers")):
        text = "Share of the requests that each real server answered"
        drawn.append(studio.draw("answers", text, partial(charts.answers, run, subjects)))
    if any(lab.counters for lab in run.labs) and (
        run.samples or not run.trials
    ):  # of trials, each lab's section shows them
        text = "Connections, packets and bytes that IPVS counted in each lab"
        drawn.append(studio.draw("counters", text, partial(charts.counters, run, subjects)))
    return drawn


@dataclass(frozen=True, slots=True)
class Failures:
    """The figures of a run's trials; `repeats` is one timeline a group that has several, all its
    repeats one below the other.
    """

    timelines: tuple[Drawn, ...]
    charts: tuple[Drawn, ...]
    comparison: Drawn
    repeats: tuple[tuple[Group, Drawn], ...]


def failures(studio: Studio, groups: Sequence[Group]) -> Failures:
    """All figures of a run's trials but the matrix, at least one group.

    Named timeline (timeline-MODE when the run has several modes), outage, comparison, survivors and
    repeats-VARIANT-MODE.
    """
    modes = list(dict.fromkeys(group.mode for group in groups))
    timelines = []
    for mode in modes:
        chosen = [group for group in groups if group.mode == mode]
        name, title = "timeline", "Attempts around the fault"
        if len(modes) > 1:
            name, title = f"timeline {mode}", f"{title}: {chosen[0].look.title}"
        panels = [
            timeline.Panel(group.typical(), group.variant or group.label, _which(group)) for group in chosen
        ]
        numbers = ", ".join(f"{panel.title} {panel.trial.length_text}" for panel in panels)
        text = f"{title}. Outage of the repeats shown: {numbers}"
        timelines.append(studio.draw(name, text, partial(timeline.draw, title, _SUBTITLE, panels)))
    numbers = ", ".join(f"{group.label} {group.median_text}" for group in groups)
    connections = any(group.survivals for group in groups)
    make = partial(outages.outages, groups, wide=not connections)
    shown = [studio.draw("outage", f"Outage of every repeat; medians: {numbers}", make)]
    if connections:
        numbers = ", ".join(f"{group.label} {group.survivors_text}" for group in groups if group.survivals)
        text = f"Long-lived connections that survived, by their age at the fault: {numbers}"
        shown.append(studio.draw("survivors", text, partial(survivors.survivors, groups)))
    numbers = "; ".join(
        f"{group.label}: outage {group.median_text}, failed {group.failed_text}" for group in groups
    )
    compared = studio.draw(
        "comparison", f"The variants compared. {numbers}", partial(variants.comparison, groups)
    )
    repeats = []
    for group in groups:
        if len(group.trials) > 1:
            panels = [
                timeline.Panel(trial, f"Repeat {trial.trial.repeat}", _told(trial)) for trial in group.trials
            ]
            numbers = ", ".join(trial.length_text for trial in group.trials)
            text = f"All repeats of {group.label} around their faults; outages: {numbers}"
            make = partial(timeline.draw, f"All repeats: {group.label}", _SUBTITLE, panels)
            repeats.append((group, studio.draw(f"repeats {group.variant} {group.mode}", text, make)))
    return Failures(tuple(timelines), tuple(shown), compared, tuple(repeats))


_SUBTITLE = (
    "every attempt by its planned time: failures grow from below, what worked stands above them; a hole is"
    " time without attempts"
)


def _which(group: Group) -> str:
    """Which repeat of a group is shown, and why that one."""
    trial = group.typical()
    told = _told(trial)
    if len(group.trials) > 1:
        even = len(group.lengths) % 2 == 0
        median = "the last one below the median outage" if even else "the one with the median outage"
        of = median if trial.length is not None else "the first that has attempts"
        told = f"repeat {trial.trial.repeat} of {len(group.trials)}, {of}" + (f"; {told}" if told else "")
    return told


def _told(trial: Observed) -> str:
    """What a reader of a timeline must know of it."""
    parts = ["no fault was recorded: time counts from the start of the trial" if trial.fault is None else ""]
    parts += ["cut short" if trial.trial.end is None else ""]
    return "; ".join(filter(None, parts))


def network_of(studio: Studio, run: Run, lab: Lab) -> Drawn | None:
    """The network of a lab with the way of its first flow; None when the run does not say what
    nodes there were.
    """
    if not lab.nodes:
        return None
    flow = next((flow for flow in flows(run, lab) if flow.steps), None)
    nodes = ", ".join(f"{node.name} ({node.role})" for node in lab.nodes)
    make = partial(network.draw, lab, studio.looks.of(lab.mode), flow)
    return studio.draw(f"network {lab.name}", f"Network of the lab {lab.name}: {nodes}", make)


def ladders_of(studio: Studio, run: Run, lab: Lab) -> list[Drawn]:
    """The ladders of a lab's flows, at most MAX_FLOWS, those that failed first."""
    path = run.paths.get(lab.name)
    if path is None:
        return []
    drawn = []
    for flow in sorted((flow for flow in path.flows if flow.steps), key=lambda flow: flow.verdict != "fail")[
        :MAX_FLOWS
    ]:
        outcome = flow.reason or flow.verdict
        text = (
            f"Packet ladder of {flow.title or flow.name} in {lab.name}: {len(flow.steps)} packets, {outcome}"
        )
        make = partial(ladder.draw, lab, studio.looks.of(lab.mode), path.columns, flow)
        drawn.append(studio.draw(f"ladder {lab.name} {flow.name}", text, make))
    return drawn


def flows(run: Run, lab: Lab) -> tuple[Flow, ...]:
    """The recorded test flows of a lab."""
    path = run.paths.get(lab.name)
    return path.flows if path else ()
