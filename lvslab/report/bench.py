"""What the report of a bench run shows besides what every report shows: its figures and
its tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from lvslab.report import bench_charts as charts
from lvslab.report.costs import tables
from lvslab.report.figures import Drawn, Studio
from lvslab.runs.costs import changes, costs, kernels
from lvslab.runs.rundir import Run


def context(run: Run, studio: Studio, picture: Callable[[Drawn], dict[str, Any]]) -> dict[str, Any]:
    """The values of the template bench.html.j2 that are its own."""
    return {
        "charts": [picture(each) for each in _figures(run, studio)],
        "tables": tables(run),
        "names": kernels(run),
    }


def _figures(run: Run, studio: Studio) -> list[Drawn]:
    table, names = costs(run), kernels(run)
    drawn = []
    if charts.mode_rows(table):
        numbers = "; ".join(
            f"{charts.mode_label(row, studio.looks)}: {_spoken(table, names, known)}"
            for row, (known, _) in charts.mode_rows(table).items()
        )
        text = f"Instructions per packet of each forwarding mode over routing, connection known. {numbers}"
        drawn.append(studio.draw("modes", text, partial(charts.modes, table, names, studio.looks)))
    for name, title, xlabel, curves in (
        (
            "connections",
            "The connection table grows",
            "connections in the table",
            charts.connection_curves(table, names),
        ),
        ("servers", "More real servers", "real servers", charts.server_curves(table, names)),
    ):
        if curves:
            subtitle = {
                "connections": (
                    "NAT over routing, instructions per packet: of a known connection (full line) and of a"
                    " new one (dotted)"
                ),
                "servers": "first packet of a connection in NAT over routing, instructions, by scheduler",
            }[name]
            ends = "; ".join(
                f"{curve.kernel}, {curve.label}: {curve.points[0][1]:.0f} at {curve.points[0][0]}, "
                f"{curve.points[-1][1]:.0f} at {curve.points[-1][0]}"
                for curve in curves
            )
            drawn.append(
                studio.draw(
                    name, f"{title}. {ends}", partial(charts.growth, title, subtitle, xlabel, curves, names)
                )
            )
    for new in names[1:]:
        found = changes(table, names[0], new)
        if found:
            real = sum(each.real for each in found)
            text = f"Change from {names[0]} to {new}: {real} of {len(found)} figures changed"
            drawn.append(studio.draw(f"change {new}", text, partial(charts.change, found, names[0], new)))
    return drawn


def _spoken(table: charts.Table, names: Sequence[str], figure: str) -> str:
    row = table.get(figure, {})
    return ", ".join(
        f"{name} {cost.median:.0f}"
        for name in names
        if (cost := row.get(name)) is not None and cost.median is not None
    )
