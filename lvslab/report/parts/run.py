"""What every page says of a run: verdict, kernels, where and how it ran, events, files."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lvslab.report import text
from lvslab.report.looks import looks_of
from lvslab.report.parts.links import Linker
from lvslab.report.units import quantity
from lvslab.runs.records import Result
from lvslab.runs.rundir import Run

MAX_FILES = 300
"""So many raw files are linked from the page."""


def shared(run: Run, link: Linker, short: bool) -> dict[str, Any]:
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
        "theme": looks_of(run).theme(),
        "verdicts": [_result(result, link) for result in run.results],
        "failures": [_failure(run, result, link) for result in run.results if result.verdict == "fail"],
        "kernels": _kernels(run, short=short),
        "provenance": _provenance(run),
        "events": _events(run),
        "files": _files(run.path, link),
        "max_files": MAX_FILES,
    }


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


def _result(result: Result, link: Linker) -> dict[str, Any]:
    return {"result": result, "evidence": [(name, link(name)) for name in result.evidence]}


def _failure(run: Run, result: Result, link: Linker) -> dict[str, Any]:
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


def _files(run: Path, link: Linker) -> list[tuple[str, str, str]]:
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
