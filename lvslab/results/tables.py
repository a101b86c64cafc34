"""The tables that runs are exported as: columns, their types, units and meanings. docs/data.md
holds the same for readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Value = str | int | float | None
Row = Mapping[str, Value]
Type = Literal["text", "integer", "number"]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        unit: of its numbers; "" where it has none, or where the column `unit` says it.
    """

    name: str
    type: Type
    meaning: str
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """A table: columns and rows in a fixed order, so that the same runs give the same bytes."""

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]


RUN = Column("run", "text", "name of the run directory, or key of the sweep's cell")
REPETITION = Column("repetition", "integer", "number of the repetition, from 1")
LAB = Column("lab", "text", "name of the lab")
LAB_MODE = Column("lab_mode", "text", "forwarding mode of the lab")

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "runs": (
        RUN,
        Column("sweep", "text", "title of the sweep; empty for a run of its own"),
        Column("kind", "text", "verify, run, bench or test"),
        Column("subject", "text", "the scenario, or the name of the run"),
        REPETITION,
        Column("status", "text", "complete, interrupted, broken or running"),
        Column("exit_code", "integer", "of the cell's command; empty for a run of its own"),
        Column("error", "text", "why there is no verdict"),
        Column("machine", "text", "name of the machine, of cells"),
        Column("cpu", "text", "model of its processor"),
        Column("cpus", "integer", "its processors"),
        Column("host_kernel", "text", "release of its kernel"),
        Column("lvslab", "text", "version of lvslab"),
        Column("started", "text", "ISO 8601, UTC"),
        Column("took", "number", "how long it took", "s"),
        Column("folder", "text", "the run directory"),
    ),
    "samples": (
        RUN,
        REPETITION,
        LAB,
        LAB_MODE,
        Column("metric", "text", "what was measured: docs/run-directory.md lists them"),
        Column("labels", "text", "what tells series of a metric apart, as name=value;…"),
        Column("number", "integer", "place in a distribution, from 0; 0 for a single value"),
        Column("value", "number", "the measurement; empty where it failed"),
        Column("unit", "text", "of the value"),
        Column("error", "text", "why it failed"),
    ),
    "trials": (
        RUN,
        REPETITION,
        LAB,
        LAB_MODE,
        Column("trial", "text", "its name, as of its files"),
        Column("variant", "text", "what was compared"),
        Column("outage", "number", "from the fault's first failure to whole service; empty: not known", "s"),
        Column("detection", "number", "from the fault to the first change of table or VRRP", "s"),
        Column("bound", "number", "the longest outage that the configuration allows", "s"),
        Column("attempts", "integer", "connections or datagrams that the prober tried"),
        Column("failed", "integer", "those of them that failed"),
        Column("connections", "integer", "lasting connections"),
        Column("survived", "integer", "those of them that lived on"),
        Column("verdict", "text", "pass, fail or skip; empty where nobody judged"),
    ),
    "verdicts": (
        RUN,
        REPETITION,
        Column("name", "text", "what was expected, or the check"),
        Column("verdict", "text", "pass, fail or skip"),
        Column("reason", "text", "why"),
    ),
}
"""Name of a table → its columns. Those of a sweep's axes follow `run` in every table."""


def axis_column(name: str, values: Sequence[str]) -> Column:
    """The column of an axis: a number where all of its values are numbers."""
    safe = name.replace(".", "_").replace("/", "_")
    taken = {column.name for columns in COLUMNS.values() for column in columns}
    return Column(f"axis_{safe}" if safe in taken else safe, _type(values), f"axis {name} of the sweep")


def _type(values: Sequence[str]) -> Type:
    try:
        return "number" if [float(value) for value in values] and not all(map(_whole, values)) else "integer"
    except ValueError:
        return "text"


def _whole(value: str) -> bool:
    return value.removeprefix("-").isdecimal()


def read(value: str, kind: Type) -> Value:
    """An axis' value in its column's type."""
    return int(value) if kind == "integer" else float(value) if kind == "number" else value
