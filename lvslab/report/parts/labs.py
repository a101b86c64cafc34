"""The labs on a page: network, packet ladders, counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lvslab.report import figures
from lvslab.report.parts.links import Linker, picture
from lvslab.report.units import quantity
from lvslab.runs.records import Counters, Lab
from lvslab.runs.rundir import Run


def alike_labs(run: Run, studio: figures.Studio, link: Linker) -> list[dict[str, Any]]:
    """The labs of a run with trials: those with equal networks share an entry, that of the one of
    which most was recorded.
    """
    kinds: dict[object, list[Lab]] = {}
    for lab in run.labs:
        kinds.setdefault(_shape(lab), []).append(lab)
    entries = []
    for alike in kinds.values():
        first = next((lab for lab in alike if lab.name in run.paths), alike[0])
        entry = lab_part(run, first, studio, link)
        if len(alike) > 1:
            entry["title"] = f"{studio.looks.of(first.mode).title} · {len(alike)} labs with this network"
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


def lab_part(run: Run, lab: Lab, studio: figures.Studio, link: Linker) -> dict[str, Any]:
    network = figures.network_of(studio, run, lab)
    ladders = figures.ladders_of(studio, run, lab)
    path, look = run.paths.get(lab.name), studio.looks.of(lab.mode)
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
        "title": look.title + ("" if lab.name == lab.mode else f" · {lab.name}"),
        "color": look.variable,
        "verdict": verdict,
        "network": network and picture(network, link.page),
        "ladders": [picture(drawn, link.page) for drawn in ladders],
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
