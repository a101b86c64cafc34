"""The report of a run: one self-contained HTML page and its figures as PNG files, made from the run
directory alone.

What is missing is said, never drawn as an empty figure. The same run directory gives the same
bytes.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lvslab.errors import CannotError
from lvslab.report import bench, failover, figures, grid, style, text, tier, tier_charts
from lvslab.report.failover import Group, Observed
from lvslab.report.series import Series, Subject, all_series, subjects
from lvslab.report.units import MISSING, percent, quantity
from lvslab.runs.records import Counters, Lab, Result
from lvslab.runs.rundir import Run, load
from lvslab.runs.stats import UNSTABLE_SPREAD

MAX_FILES = 300
"""So many raw files are linked from the page."""


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
        studio = figures.Studio(pictures)
        if run.kind == "bench":
            own = bench.context(run, studio, lambda drawn: _picture(drawn, folder))
            page = render("bench.html.j2", _shared(run, _Linker(run.path, folder), short=False) | own)
        else:
            page = render("report.html.j2", _context(run, studio, folder))
        html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CannotError(
            f"{error.filename or html}: the report cannot be written: {error.strerror or error}"
        ) from error
    return Report(html, tuple(studio.files))


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page from one of the templates."""
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
    return environment.get_template(template).render(**context)


def _context(run: Run, studio: figures.Studio, folder: Path) -> dict[str, Any]:
    """Everything the template shows, as plain values."""
    everyone, series = subjects(run), all_series(run)
    link = _Linker(run.path, folder)
    shown = figures.measurements(studio, run, series, everyone)
    groups = failover.observe(run)
    labs = (
        [_lab(run, lab, studio, link) for lab in run.labs] if not groups else _alike_labs(run, studio, link)
    )
    return _shared(run, link, short=bool(groups)) | {
        "failover": _failover(run, groups, studio, link) if groups else None,
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
        "charts": [_picture(drawn, folder) for drawn in shown],
        "labs": labs,
    }


def _shared(run: Run, link: _Linker, short: bool) -> dict[str, Any]:
    """What every page shows, whatever the run did; `short`: nodes of the same name in many labs
    once.
    """
    return {
        "title": (run.scenario and run.scenario.title) or run.name,
        "run": run,
        "headline": text.headline(run),
        "outcome": outcome(run),
        "started": started(run),
        "duration": _duration(run),
        "theme": style.THEME,
        "verdicts": [_result(result, link) for result in run.results],
        "failures": [_failure(run, result, link) for result in run.results if result.verdict == "fail"],
        "kernels": _kernels(run, short=short),
        "provenance": _provenance(run),
        "events": _events(run),
        "files": _files(run.path, link),
        "max_files": MAX_FILES,
    }


# --- parts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Linker:
    """Makes links from the page's folder to files of the run directory."""

    run: Path
    page: Path

    def __call__(self, name: str) -> str | None:
        """A relative link; None for a file that is not there or not inside the run directory."""
        file = (self.run / name).resolve()
        inside = file.is_relative_to(self.run.resolve())
        return (
            quote(Path(os.path.relpath(file, self.page.resolve())).as_posix())
            if inside and file.exists()
            else None
        )


def outcome(run: Run) -> tuple[str, str]:
    """The whole run as a kind of badge and its words."""
    if run.status == "running":
        return "skip", "not finished: still running, or killed"
    if run.status != "complete":
        return "fail", run.status
    verdicts = {result.verdict for result in run.results}
    if "fail" in verdicts:
        return "fail", "failed"
    return ("pass", "passed") if "pass" in verdicts else ("skip", "skipped" if verdicts else "no verdict")


def started(run: Run) -> str:
    """When the run began, for people."""
    try:
        return datetime.fromisoformat(run.started).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return "start not recorded"


def _duration(run: Run) -> str:
    try:
        seconds = (
            datetime.fromisoformat(run.finished or "") - datetime.fromisoformat(run.started)
        ).total_seconds()
    except ValueError:
        return "not recorded"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _picture(drawn: figures.Drawn, folder: Path) -> dict[str, Any]:
    return {"drawn": drawn, "png": quote(drawn.png.relative_to(folder).as_posix()), "name": drawn.name}


def _result(result: Result, link: _Linker) -> dict[str, Any]:
    return {"result": result, "evidence": [(name, link(name)) for name in result.evidence]}


def _failure(run: Run, result: Result, link: _Linker) -> dict[str, Any]:
    """A failed result with the text of the first wrong packet, from the contract files it names or
    from its lab's.
    """
    named = [name for name in result.evidence if name.endswith(".contract.txt")]
    own = [f"captures/{lab.name}.contract.txt" for lab in run.labs if lab.name == result.name]
    packets = []
    for name in dict.fromkeys(named or own):
        href = link(name)
        if href is not None:
            packets.append(
                (name, href, (run.path / name).read_text(encoding="utf-8", errors="replace").rstrip())
            )
    return {
        "result": result,
        "checks": [check for check in result.checks if check.verdict == "fail"],
        "packets": packets,
    }


def _summary(series: tuple[Series, ...], everyone: tuple[Subject, ...]) -> list[dict[str, Any]]:
    return [{"series": one, "cells": [text.cell(one, subject) for subject in everyone]} for one in series]


def _tier(run: Run, studio: figures.Studio, folder: Path) -> dict[str, Any] | None:
    """The answer of a comparison of LVS with proxies and its figure."""
    if not tier.bases(run) or not tier.proxies(run) or not tier_charts.can_draw(run):
        return None
    drawn = studio.draw("ratios", tier_charts.describe(run), lambda: tier_charts.ratios(run))
    return {"text": tier.answer(run).text, "picture": _picture(drawn, folder)}


def _failover(run: Run, groups: Sequence[Group], studio: figures.Studio, link: _Linker) -> dict[str, Any]:
    """What the page shows of the trials."""
    drawn = figures.failures(studio, groups)
    modes = {group.mode for group in groups}
    table = None
    if len(modes) > 1:
        cells = grid.of_run(run, groups)
        table = _picture(studio.draw("matrix", grid.describe(cells), lambda: grid.draw(cells)), link.page)
    return {
        "summary": failover.summary(groups),
        "problems": failover.problems(groups),
        "expects": _expectations(groups),
        "timelines": [_picture(each, link.page) for each in drawn.timelines],
        "comparison": _picture(drawn.comparison, link.page),
        "charts": [_picture(each, link.page) for each in drawn.charts],
        "matrix": table,
        "repeats": [
            (group.label, len(group.trials), _picture(each, link.page)) for group, each in drawn.repeats
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


def _trial(group: Group, trial: Observed, link: _Linker) -> dict[str, Any]:
    """A row of the table of trials."""
    name = trial.trial.name
    files = [(kind, link(f"probes/{name}.{kind}.csv")) for kind in ("attempts", "beats")]
    survival = trial.survival
    bound = trial.trial.bound
    seen = trial.detection
    return {
        "name": name,
        "label": group.label,
        "mode": style.mode_title(trial.trial.mode),
        "repeat": trial.trial.repeat,
        "verdict": trial.trial.verdict,
        "outage": trial.length_text,
        "unknown": trial.unknown,
        "bad": trial.exceeded,
        "predicted": f"≤ {quantity(bound.seconds, 's')}" if bound else MISSING,
        "formula": bound.formula if bound else "",
        "noticed": (
            MISSING
            if trial.fault is None
            else "never"
            if seen is None
            else failover.seconds_text(seen, 0.001)
        ),
        "failed": (
            f"{failover.count(trial.failed)} of {failover.count(len(trial.attempts))}"
            if trial.attempts
            else MISSING
        ),
        "outcomes": failover.outcomes_text(trial.outcomes),
        "survivors": f"{survival.survived} of {survival.total}" if survival else MISSING,
        "marks": [
            (f"{trial.since(mark.t):+.3f} s".replace("-", "−"), mark.kind, mark.node, mark.text)
            for mark in trial.trial.marks
        ],
        "since": "the start of the trial" if trial.fault is None else "the fault",
        "expects": trial.trial.expects,
        "files": [(kind, href) for kind, href in files if href],
    }


def _alike_labs(run: Run, studio: figures.Studio, link: _Linker) -> list[dict[str, Any]]:
    """The labs of a run with trials: those with equal networks share an entry, that of the one of
    which most was recorded.
    """
    kinds: dict[object, list[Lab]] = {}
    for lab in run.labs:
        kinds.setdefault(_shape(lab), []).append(lab)
    entries = []
    for alike in kinds.values():
        first = next((lab for lab in alike if lab.name in run.paths), alike[0])
        entry = _lab(run, first, studio, link)
        if len(alike) > 1:
            entry["title"] = f"{style.mode_title(first.mode)} · {len(alike)} labs with this network"
            entry["verdict"] = None
            entry["no_ladder"] = entry["no_ladder"] and "No packet paths were recorded for these labs."
            entry["alike"] = [
                {
                    "lab": lab,
                    "start": quantity(lab.start_seconds, "s"),
                    "stop": quantity(lab.stop_seconds, "s"),
                    "counters": [(row.label, *row.cells) for row in _counter_rows(lab)],
                }
                for lab in alike
            ]
        entries.append(entry)
    return entries


def _shape(lab: Lab) -> object:
    """What two labs must share to be drawn once: mode, nodes, addresses and wires; names and MAC
    addresses may differ.
    """
    nodes = tuple(
        (
            node.name,
            node.role,
            tuple((i.name, i.network, i.addresses) for i in node.interfaces),
            node.extra_addresses,
            node.gateway,
        )
        for node in lab.nodes
    )
    return lab.mode, lab.topology, nodes, lab.networks


def _lab(run: Run, lab: Lab, studio: figures.Studio, link: _Linker) -> dict[str, Any]:
    network = figures.network_of(studio, run, lab)
    ladders = figures.ladders_of(studio, run, lab)
    path = run.paths.get(lab.name)
    verdict = next((result.verdict for result in run.results if result.name == lab.name), None)
    if path is None:
        why = (
            f"No packet paths were recorded for this lab: captures/{lab.name}.path.json is not there or"
            " cannot be read."
        )
    else:
        why = "" if ladders else "The captures of this lab hold no packet of a test flow."
    return {
        "lab": lab,
        "title": style.mode_title(lab.mode) + ("" if lab.name == lab.mode else f" · {lab.name}"),
        "mode": lab.mode.lower() if lab.mode.lower() in style.MODE_TITLES else "other",
        "verdict": verdict,
        "network": network and _picture(network, link.page),
        "ladders": [_picture(drawn, link.page) for drawn in ladders],
        "no_ladder": why,
        "more_flows": sum(bool(flow.steps) for flow in path.flows) - len(ladders) if path else 0,
        "start": quantity(lab.start_seconds, "s"),
        "stop": quantity(lab.stop_seconds, "s"),
        "counters": [(row.label, *row.cells) for row in _counter_rows(lab)],
        "alike": [],
    }


@dataclass(frozen=True, slots=True)
class _CounterRow:
    label: str
    cells: tuple[str, ...]


def _counter_rows(lab: Lab) -> list[_CounterRow]:
    """The director's counters of every service and, below it, of its real servers."""
    rows = []
    for service in lab.counters:
        named: list[tuple[str, Counters]] = [(service.service, service)]
        named += [
            (f"→ {server.server}{f' ({server.name})' if server.name else ''}", server)
            for server in service.servers
        ]
        for label, c in named:
            numbers = [quantity(n, "1") for n in (c.conns, c.in_packets, c.out_packets)]
            rows.append(_CounterRow(label, (*numbers, quantity(c.in_bytes, "B"), quantity(c.out_bytes, "B"))))
    return rows


def _kernels(run: Run, short: bool) -> list[dict[str, Any]]:
    """Every kernel of the run once, with the nodes that ran it; `short`: nodes of the same name in
    many labs once.
    """
    rows: dict[tuple[str, str, str, str], list[tuple[str, str]]] = {}
    for lab in run.labs:
        for node in lab.nodes:
            kernel = node.kernel
            key = (
                (kernel.kind, kernel.release, kernel.config_sha256 or "", kernel.why)
                if kernel
                else ("", "not recorded", "", "")
            )
            rows.setdefault(key, []).append((lab.name, node.name))
    return [
        {"kind": kind, "release": release, "config": config, "why": why, "nodes": _node_names(nodes, short)}
        for (kind, release, config, why), nodes in rows.items()
    ]


def _node_names(nodes: Sequence[tuple[str, str]], short: bool) -> list[str]:
    """Nodes as lab/node, or, short, as "lvs (in 20 labs)"."""
    if not short or len(nodes) <= 12:
        return [f"{lab}/{node}" for lab, node in nodes]
    return [
        f"{node} (in {number} labs)" if number > 1 else node
        for node, number in Counter(node for _, node in nodes).items()
    ]


def _provenance(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of names and values: what ran, with which parameters, where, with which tools."""
    what = [
        ("Command", shlex.join(run.command) or "not recorded"),
        ("Kind", run.kind),
        ("Status", run.status),
    ]
    what += [
        ("Started", run.started or "not recorded"),
        ("Finished", run.finished or "never"),
        ("lvslab", run.lvslab),
    ]
    groups = [
        ("Run", what),
        ("Parameters", [(str(key), _plain(value)) for key, value in run.parameters.items()]),
        ("Host", [(str(key).replace("_", " "), _plain(value)) for key, value in run.host.items()]),
        (
            "Tools",
            [
                (str(key), "not installed" if value is None else str(value))
                for key, value in run.tools.items()
            ],
        ),
    ]
    return [(name, pairs) for name, pairs in groups if pairs]


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_plain(item)}" for key, item in value.items())
    return "not recorded" if value is None else str(value)


def _events(run: Run) -> list[tuple[str, str, str, str]]:
    """The events with their time since the first one."""
    first = next((event.t for event in run.events if event.t is not None), None)
    rows = []
    for event in run.events:
        time = "" if event.t is None or first is None else f"{event.t - first:+.3f} s"
        rows.append((time, event.lab, event.event, event.detail))
    return rows


def _files(run: Path, link: _Linker) -> list[tuple[str, str, str]]:
    """The raw files as (name, link, size): everything in the run directory but the report
    itself.
    """
    found = sorted(file for file in run.rglob("*") if file.is_file())
    rows = []
    for file in found:
        name = file.relative_to(run).as_posix()
        href = link(name)
        if href is not None and name != "report.html" and not name.startswith("figures/"):
            rows.append((name, href, quantity(file.stat().st_size, "B")))
    return sorted(rows, key=lambda row: (row[0].count("/"), row[0]))
