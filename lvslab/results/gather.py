"""Runs and sweeps read into tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lvslab.errors import UsageError
from lvslab.results.tables import COLUMNS, Column, Row, Table, Value, axis_column, read
from lvslab.runs.observation import observed
from lvslab.runs.rundir import Run, load
from lvslab.sweep.store import INDEX, Done, Store


@dataclass(frozen=True)
class Source:
    """One run and where it stands in a sweep.

    Attributes:
        name: of the run directory, or the cell's key.
        axes: column → value.
        repetition: of the cell; None for a run of its own, whose samples and trials know theirs.
        done: what became of the cell.
    """

    name: str
    run: Run
    axes: Mapping[Column, Value] = field(default_factory=dict)
    repetition: int | None = None
    done: Done | None = None
    sweep: str = ""


def gather(folders: Sequence[Path]) -> tuple[Table, ...]:
    """The tables of run directories and of sweeps, in that order; a sweep's cells by their keys.

    Raises:
        UsageError: a folder is neither, or cannot be read.
    """
    return tabulated([source for folder in folders for source in sources(folder)])


def tabulated(found: Sequence[Source]) -> tuple[Table, ...]:
    """The tables of some runs."""
    axes = tuple(dict.fromkeys(column for source in found for column in source.axes))
    makers = {"runs": _runs, "samples": _samples, "trials": _trials, "verdicts": _verdicts}
    tables = []
    for name, columns in COLUMNS.items():
        rows = []
        for source in found:
            place = {"run": source.name, **{column.name: value for column, value in source.axes.items()}}
            rows += [{**row, **place} for row in makers[name](source)]
        first, *others = columns
        tables.append(Table(name, (first, *axes, *others), rows))
    return tuple(tables)


def sources(folder: Path) -> Iterator[Source]:
    """The finished runs of a folder: of a run directory one, of a sweep those of its cells.

    Raises:
        UsageError: it is neither, or nothing in it is finished.
    """
    if not (folder / INDEX).is_file():
        run = load(folder)
        yield Source(run.path.resolve().name, run)
        return
    store = Store(folder)
    index, done = store.index(), store.done()
    columns = {axis: axis_column(axis, values) for axis, values in index.axes.items()}
    finished = sorted((cell for cell in index.cells if cell.key in done), key=lambda cell: cell.key)
    if not finished:
        raise UsageError(f"{folder}: no cell of this sweep is done; go on: lvslab sweep resume {folder}")
    for cell in finished:
        axes = {columns[axis]: read(value, columns[axis].type) for axis, value in cell.axes.items()}
        run = load(store.directory(cell.key))
        yield Source(cell.key, run, axes, cell.repetition, done[cell.key], index.title)


def _runs(source: Source) -> Iterator[Row]:
    run, done = source.run, source.done
    yield {
        "sweep": source.sweep,
        "kind": run.kind,
        "subject": run.scenario.name if run.scenario else run.name,
        "repetition": source.repetition,
        "status": run.status,
        "exit_code": int(done.code) if done else None,
        "error": (done.error if done else "") or run.error or "",
        "machine": done.machine if done else "",
        "cpu": run.host.get("cpu_model"),
        "cpus": run.host.get("cpus"),
        "host_kernel": run.host.get("kernel"),
        "lvslab": run.lvslab,
        "started": run.started,
        "took": done.seconds if done else _seconds(run),
        "folder": str(run.path),
    }


def _seconds(run: Run) -> float | None:
    if not run.finished:
        return None
    return (datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)).total_seconds()


def _samples(source: Source) -> Iterator[Row]:
    for sample in source.run.samples:
        values = sample.values if sample.values is not None else (sample.value,)
        for number, value in enumerate(values):
            yield {
                "repetition": source.repetition or sample.repeat,
                "lab": sample.lab,
                "lab_mode": sample.mode,
                "metric": sample.metric,
                "labels": ";".join(f"{name}={label}" for name, label in sorted(sample.labels.items())),
                "number": number,
                "value": value,
                "unit": sample.unit,
                "error": sample.error or "",
            }


def _trials(source: Source) -> Iterator[Row]:
    for trial in source.run.trials:
        seen = observed(source.run.probes, trial)
        yield {
            "repetition": source.repetition or trial.repeat,
            "lab": trial.lab,
            "lab_mode": trial.mode,
            "trial": trial.name,
            "variant": trial.variant,
            "outage": seen.outage_seconds,
            "detection": seen.detection,
            "bound": trial.bound.seconds if trial.bound else None,
            "attempts": None if seen.attempts is None else len(seen.attempts),
            "failed": None if seen.attempts is None else seen.failed,
            "connections": seen.survival.total if seen.survival else None,
            "survived": seen.survival.survived if seen.survival else None,
            "verdict": trial.verdict or "",
        }


def _verdicts(source: Source) -> Iterator[Row]:
    for result in source.run.results:
        yield {
            "repetition": source.repetition,
            "name": result.name,
            "verdict": result.verdict,
            "reason": result.reason,
        }
