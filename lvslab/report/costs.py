"""What a run of `lvslab bench` found, as text tables and as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvslab.report.units import MISSING, THIN_SPACE, percent
from lvslab.runs.costs import Change, Cost, change, costs, kernels
from lvslab.runs.rundir import Run

_GROUPS = {
    "baseline": "Without a virtual server",
    "mode": "Forwarding modes, over routing",
    "conntrack": "With connection tracking, over routing",
    "scheduler": "Schedulers: a new connection, over routing",
    "servers": "Real servers: a new connection, over routing",
    "connections": "Connections in the table, over routing",
}


@dataclass(frozen=True, slots=True)
class TitledTable:
    """Headers and rows of the same length, all plain text."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def groups(names: Sequence[str]) -> dict[str, list[str]]:
    """Subject (the first word of a figure's name) → its figures, in order."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.partition(":")[0], []).append(name)
    return found


def tables(run: Run) -> list[TitledTable]:
    """A table for each subject: instructions per packet of every kernel, and the changes from the
    first kernel to the others.
    """
    table, names = costs(run), kernels(run)
    found = []
    for subject, figures in groups(list(table)).items():
        rows = tuple(_row(figure, table[figure], names) for figure in figures)
        found.append(TitledTable(_GROUPS.get(subject, subject), headers(names), rows))
    return found


def headers(names: Sequence[str]) -> tuple[str, ...]:
    """The columns for some kernels."""
    if len(names) == 1:
        return ("figure", "instructions per packet", "incl. baseline", "spread over seeds")
    return ("figure", *names, *(f"change to {name}" for name in names[1:]), "spread over seeds")


def _row(figure: str, row: Mapping[str, Cost], names: Sequence[str]) -> tuple[str, ...]:
    apart = max((cost.spread for cost in row.values() if cost.spread is not None), default=None)
    spread = MISSING if apart is None else percent(apart, 2)
    if len(names) == 1:
        cost = row.get(names[0])
        return (figure, figure_text(cost), number(cost.total) if cost else MISSING, spread)
    changes = [change_text(change(row.get(names[0]), row.get(name))) for name in names[1:]]
    return (figure, *(figure_text(row.get(name)) for name in names), *changes, spread)


def figure_text(cost: Cost | None) -> str:
    """The figure of a kernel, or why there is none."""
    if cost is None:
        return MISSING
    return f"no figure: {cost.error}" if cost.error else number(cost.median)


def number(value: float | None) -> str:
    """Instructions, thousands set apart; one decimal below a thousand."""
    if value is None:
        return MISSING
    return f"{value:,.1f}".replace(",", THIN_SPACE)


def change_text(found: Change | None) -> str:
    """A change with its sign; one that is none is called so."""
    if found is None:
        return MISSING
    if found.relative == 0:
        return "same"
    text = f"{100 * found.relative:+.2f} %".replace("-", "−")
    if found.real:
        return text
    one_seed = min(len(found.base.seeds), len(found.new.seeds)) < 2
    return f"{text}, one seed" if one_seed else f"same ({text})"


def as_data(run: Run) -> dict[str, Any]:
    """The result as one JSON object."""
    table, names = costs(run), kernels(run)
    figures = []
    for figure, row in table.items():
        per_kernel = [
            {
                "kernel": cost.kernel,
                "instructions_per_packet": cost.median,
                "total": cost.total,
                "seeds": {str(seed): value for seed, value in cost.seeds.items()},
                "spread": cost.spread,
                "error": cost.error or None,
            }
            for cost in row.values()
        ]
        found = [change(row.get(names[0]), row.get(name)) for name in names[1:]]
        changes = [
            {
                "base": each.base.kernel,
                "new": each.new.kernel,
                "relative": each.relative,
                "difference": each.difference,
                "real": each.real,
            }
            for each in found
            if each is not None
        ]
        over = next((cost.over for cost in row.values()), "nothing")
        figures.append({"name": figure, "over": over, "costs": per_kernel, "changes": changes})
    results = [
        {"name": each.name, "verdict": each.verdict, "reason": each.reason, "evidence": list(each.evidence)}
        for each in run.results
    ]
    return {"run": str(run.path), "kernels": list(names), "figures": figures, "results": results}
