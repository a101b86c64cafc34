"""All figures of a run: which there are, what they are called, and their bytes as SVG (for the page) and PNG (for elsewhere)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lvslab.measure.records import Flow, Lab
from lvslab.measure.rundir import Run
from lvslab.report import charts, ladder, network, style
from lvslab.report.series import Series, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_FLOWS = 3
"""So many flows of a lab get a ladder, those that failed first; the rest stays in captures/<lab>.ladder.txt."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A finished figure: `svg` for the page, `png` its file, `description` for who cannot see it."""

    name: str
    description: str
    svg: str
    png: Path


class Studio:
    """Draws figures into a folder and remembers the files, each name once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: list[Path] = []

    def draw(self, name: str, description: str, make: Callable[[], Figure]) -> Drawn:
        """Draw one figure; `name` becomes the file's name and the beginning of the SVG's ids."""
        base = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
        name, counter = base, 1
        while (file := self._folder / f"{name}.png") in self.files:
            counter += 1
            name = f"{base}-{counter}"
        figure = make()
        style.save_png(figure, file)
        self.files.append(file)
        return Drawn(name, description, style.inline_svg(figure, name, description), file)


def measurements(studio: Studio, run: Run, series: Sequence[Series], subjects: Sequence[Subject]) -> list[Drawn]:
    """A chart for every series, the latency's distribution, who answered, the director's counters: those there are data for."""
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
    if any(lab.counters for lab in run.labs):
        text = "Connections, packets and bytes that IPVS counted in each lab"
        drawn.append(studio.draw("counters", text, partial(charts.counters, run, subjects)))
    return drawn


def network_of(studio: Studio, run: Run, lab: Lab) -> Drawn | None:
    """The network of a lab with the way of its first flow; None when the run does not say what nodes there were."""
    if not lab.nodes:
        return None
    flow = next((flow for flow in flows(run, lab) if flow.steps), None)
    nodes = ", ".join(f"{node.name} ({node.role})" for node in lab.nodes)
    return studio.draw(f"network {lab.name}", f"Network of the lab {lab.name}: {nodes}", partial(network.draw, lab, flow))


def ladders_of(studio: Studio, run: Run, lab: Lab) -> list[Drawn]:
    """The ladders of a lab's flows, at most MAX_FLOWS, those that failed first."""
    path = run.paths.get(lab.name)
    if path is None:
        return []
    drawn = []
    for flow in sorted((flow for flow in path.flows if flow.steps), key=lambda flow: flow.verdict != "fail")[:MAX_FLOWS]:
        outcome = flow.reason or flow.verdict
        text = f"Packet ladder of {flow.title or flow.name} in {lab.name}: {len(flow.steps)} packets, {outcome}"
        drawn.append(studio.draw(f"ladder {lab.name} {flow.name}", text, partial(ladder.draw, lab, path.columns, flow)))
    return drawn


def flows(run: Run, lab: Lab) -> tuple[Flow, ...]:
    """The recorded test flows of a lab."""
    path = run.paths.get(lab.name)
    return path.flows if path else ()
