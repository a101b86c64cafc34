"""`lvslab sweep`: many cells from one plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.cli.common import DRY_RUN, JSON, RUNS
from lvslab.cli.places import writable_folder
from lvslab.errors import LabError
from lvslab.exitcodes import ExitCode, gravest

if TYPE_CHECKING:
    from lvslab.sweep.cell import Cell
    from lvslab.sweep.plan import Plan
    from lvslab.sweep.store import Done, Store

_SHOWN = 20
"""Cells of one kind that are named one by one."""

_CLUSTER = click.option(
    "--cluster",
    metavar="ADDRESS|FILE",
    help="Scheduler of a Dask cluster, or its scheduler file; by default this machine alone.",
)
_AGAIN = click.option("--again", is_flag=True, help="Do those again, too, that are broken.")
_FOLDER = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))


class _Sweep(click.Group):
    """Takes `lvslab sweep PLAN.toml` for `lvslab sweep run PLAN.toml`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["run", *args]
        return super().parse_args(context, args)


@click.group(cls=_Sweep, short_help="Run many cells from one plan, here or on a cluster.")
def sweep() -> None:
    """Run many cells from one plan: `lvslab sweep PLAN.toml` (docs/sweeps.md).

    Every combination of the plan's values is a cell with a run directory of its own. What is done
    stays done: a sweep that was ended goes on where it was, and one with a further value computes
    only what is new.
    """


@sweep.command(short_help="Carry out a plan, or what is left of it.")
@click.argument("plan", type=click.Path(path_type=Path))
@_CLUSTER
@_AGAIN
@RUNS
@JSON
@DRY_RUN
def run(plan: Path, cluster: str | None, again: bool, runs: Path, as_json: bool, dry_run: bool) -> int:
    """Carry out the plan in the TOML file PLAN. Its folder is RUNS/sweep-NAME."""
    from lvslab.sweep.design import cells_of
    from lvslab.sweep.plan import read_plan
    from lvslab.sweep.store import Store

    read = read_plan(plan)
    cells, store = cells_of(read), Store(runs / f"sweep-{read.name}")
    if dry_run:
        return _print_cells(cells, store, as_json)
    return _carry_out(read, cells, store, cluster, again, as_json)


@sweep.command(short_help="Go on with a sweep that was ended.")
@_FOLDER
@_CLUSTER
@_AGAIN
@JSON
def resume(folder: Path, cluster: str | None, again: bool, as_json: bool) -> int:
    """Go on with the sweep in FOLDER, by the plan that is kept there."""
    from lvslab.sweep.design import cells_of
    from lvslab.sweep.plan import read_plan
    from lvslab.sweep.store import PLAN, Store

    store = Store(folder)
    title = store.index().title  # a plan without one has its file's name
    read = replace(read_plan(folder / PLAN), title=title)
    return _carry_out(read, cells_of(read), store, cluster, again, as_json)


@sweep.command(short_help="Say how far a sweep is.")
@_FOLDER
@JSON
def status(folder: Path, as_json: bool) -> int:
    """Say how far the sweep in FOLDER is, whether it is being worked on or not."""
    from lvslab.sweep.store import Store

    store = Store(folder)
    return _print_status(store.index().cells, store, as_json)


@sweep.command(short_help="Make this machine carry out cells for a cluster.")
@click.argument("cluster", metavar="ADDRESS|FILE")
@click.option(
    "--place",
    type=click.Path(path_type=Path),
    callback=writable_folder,
    default=Path("sweep-worker"),
    show_default=True,
    help="Folder for the files of cells that are under way.",
)
def worker(cluster: str, place: Path) -> int:
    """Carry out cells for the Dask scheduler at ADDRESS, or of a scheduler file, until it ends."""
    from lvslab.sweep.crew import check_address, require_dask, worker_command

    require_dask()
    check_address(cluster)
    place.mkdir(parents=True, exist_ok=True)
    words = worker_command(cluster, len(os.sched_getaffinity(0)), place)
    os.execve(words[0], words, {**os.environ, "DASK_DISTRIBUTED__WORKER__DAEMON": "False"})


def _carry_out(
    plan: Plan, cells: Sequence[Cell], store: Store, cluster: str | None, again: bool, as_json: bool
) -> int:
    from lvslab.cli.terminal import Progress, print_error
    from lvslab.results.page import write_page
    from lvslab.sweep.crew import check_address, crew_of, require_dask
    from lvslab.sweep.running import sweep as carry_out

    require_dask()
    if cluster:
        check_address(cluster)
    with store.mine():
        store.begin(plan, cells)
        done = store.done()
        left = [cell for cell in cells if cell.key not in done or (again and done[cell.key].broken)]
        if left:
            processors = len(os.sched_getaffinity(0))
            try:
                with Progress() as progress, crew_of(cluster, processors, store.work) as crew:
                    carry_out(cells, store, crew, progress, again=lambda one: again and one.broken)
            except KeyboardInterrupt:
                print_error(f"interrupted; what is done is kept; go on: lvslab sweep resume {store.folder}")
                return ExitCode.INTERRUPTED
            except LabError as error:
                raise LabError(
                    f"{error}; what is done is kept; go on: lvslab sweep resume {store.folder}"
                ) from error
        write_page(store.folder)
    return _print_status(cells, store, as_json)


def _print_cells(cells: Sequence[Cell], store: Store, as_json: bool) -> int:
    """What a plan means, for --dry-run."""
    from lvslab.cli.terminal import print_json, print_lines
    from lvslab.runs.words import plural
    from lvslab.sweep.running import span, tally

    done = store.done()
    places = len(os.sched_getaffinity(0))
    now = tally(cells, done, places)
    if as_json:
        print_json(
            {
                "folder": str(store.folder),
                "cells": [cell.to_json() | {"done": cell.key in done} for cell in cells],
                "left": now.left,
                "seconds_left": now.seconds_left,
            }
        )
        return ExitCode.OK
    for number, cell in enumerate(cells, start=1):
        state = "done" if cell.key in done else f"about {span(cell.seconds)}"
        print_lines([f"[{number}/{len(cells)}] {cell.title}: {state}", f"  lvslab {' '.join(cell.words)}"])
    timed = sum(cell.timed for cell in cells)
    print_lines(
        [
            "",
            f"{plural(len(cells), 'cell')}, {timed} of them with the machine for itself; {now.left} left,"
            f" about {span(now.seconds_left)}",
            f"folder: {store.folder}",
        ]
    )
    return ExitCode.OK


def _print_status(cells: Sequence[Cell], store: Store, as_json: bool) -> int:
    """How far a sweep is, failures first."""
    from lvslab.cli.terminal import print_json, print_lines
    from lvslab.results.page import PAGE
    from lvslab.sweep.running import tally, words

    everything = store.done()
    done = {cell.key: everything[cell.key] for cell in cells if cell.key in everything}
    now = tally(cells, done, len(os.sched_getaffinity(0)))
    code = gravest(one.code for one in done.values())
    if as_json:
        print_json(
            {
                "folder": str(store.folder),
                "cells": len(cells),
                **{name: getattr(now, name) for name in ("done", "failed", "broken", "left", "seconds_left")},
                "exit_code": int(code),
                "results": [_as_json(cell, done[cell.key], store) for cell in cells if cell.key in done],
            }
        )
        return code
    kinds: dict[str, Callable[[Done], bool]] = {
        "broken": lambda one: one.broken,
        "failed": lambda one: one.code == ExitCode.FAILED,
    }
    for word, kind in kinds.items():
        concerned = [cell for cell in cells if cell.key in done and kind(done[cell.key])]
        for cell in concerned[:_SHOWN]:
            error = done[cell.key].error
            print_lines(
                [f"{word}: {cell.title}{f': {error}' if error else ''}", f"  {store.directory(cell.key)}"]
            )
        if len(concerned) > _SHOWN:
            print_lines([f"… and {len(concerned) - _SHOWN} more {word}"])
    page = store.folder / PAGE
    print_lines([words(now), f"sweep: {store.folder}", *([f"page: {page}"] if page.is_file() else [])])
    if now.left:
        print_lines([f"go on: lvslab sweep resume {store.folder}"])
    return code


def _as_json(cell: Cell, done: Done, store: Store) -> dict[str, Any]:
    return {
        "key": cell.key,
        "axes": dict(cell.axes),
        "repetition": cell.repetition,
        "exit_code": int(done.code),
        "error": done.error,
        "seconds": done.seconds,
        "machine": done.machine,
        "run": str(store.directory(cell.key)),
    }
