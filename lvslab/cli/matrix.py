"""What `run` and `verify` share where several kernels or settings take turns, and where runs are
kept as baselines.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.catalog.choice import check_kernel, kernels_for
from lvslab.errors import CannotError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs.words import plural

if TYPE_CHECKING:
    from lvslab.comparison.compare import Comparison
    from lvslab.events import Listener
    from lvslab.kernels.needs import Kernels
    from lvslab.scenario.cells import Cell
    from lvslab.scenario.jobs import Settings

KERNELS = click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="NAME",
    help=(
        "Kernel of the directors: host, uml, or one of `lvslab kernels`; by default the cheapest that has"
        " what the mode needs. Several take turns and are compared."
    ),
)
BASELINE = click.option(
    "--baseline",
    type=click.Choice(["keep", "compare"]),
    help=(
        "Keep the finished run to compare later ones with, or compare it with the newest that was kept of the"
        " same configuration."
    ),
)


def cells_of(kernels: Sequence[str], read: Settings) -> tuple[Cell, ...]:
    """The cells that a command line means.

    Raises:
        UsageError, CannotError: a kernel that there is not.
    """
    from lvslab.scenario.cells import cells

    for kernel in kernels:
        check_kernel(kernel)
    return cells(kernels, read.sysctls, read.varied)


def kernels_of(needs: Sequence[Any], cells: Sequence[Cell]) -> Kernels:
    """The kernels of this machine, and those that the cells name; every cell chooses among the
    same.
    """
    from lvslab.catalog import catalog

    named = list(dict.fromkeys(kernel for cell in cells for kernel in cell.kernels))
    return catalog.including(kernels_for(needs, named[0] if len(named) == 1 else None), named)


def try_settings(cells: Sequence[Cell], machine: Kernels, listener: Listener) -> Sequence[Cell]:
    """Find out by trial whether the kernels take the sysctls, before anything else starts.

    Raises:
        UsageError: no kernel takes one of them.
    """
    if not any(cell.sysctls for cell in cells):
        return cells
    import tempfile

    from lvslab.host.sandbox import PRIVATE_DIRECTORY
    from lvslab.scenario.settings import tried

    with tempfile.TemporaryDirectory(dir=PRIVATE_DIRECTORY) as logs:
        return tried(cells, machine, listener, Path(logs))


def cell_lines(cells: Sequence[Cell], repeat: int) -> list[str]:
    """The cells for --dry-run."""
    if len(cells) == 1:
        return [f"  {name}={value} (sysctl of the directors)" for name, value in cells[0].sysctls.items()]
    lines = [f"{len(cells)} cells, {plural(repeat, 'repetition')} of each, in turns:"]
    for cell in cells:
        own = [f"kernel {cell.kernel}"] if cell.kernel else []
        lines.append(
            f"  {cell.name}:"
            f" {', '.join([*own, *(f'{name}={value}' for name, value in cell.sysctls.items())])}"
        )
    return lines


def matrix_folder(runs: Path) -> Path:
    """A new folder for the cells of a matrix."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    counter = 1
    while True:
        path = runs / (f"{stamp}-matrix" if counter == 1 else f"{stamp}-matrix-{counter}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            counter += 1
        else:
            return path


@dataclass(frozen=True)
class Compared:
    """A comparison, or why there is none."""

    title: str
    comparison: Comparison | None
    problem: str = ""

    @property
    def code(self) -> ExitCode:
        return self.comparison.code if self.comparison else ExitCode.CANNOT


def compare_cells(folder: Path, cells: Sequence[Cell]) -> list[Compared]:
    """Each cell of a matrix compared with the first."""
    return [
        _compared(f"{cell.name} against {cells[0].name}", folder / cells[0].folder, folder / cell.folder)
        for cell in cells[1:]
    ]


def settle_baseline(
    choice: str | None, runs: Path, directories: Iterable[Path]
) -> tuple[list[Compared], list[str]]:
    """Keep finished runs or compare them with kept ones; returns the comparisons, and lines that
    say what was kept.
    """
    from lvslab.comparison import baseline

    compared: list[Compared] = []
    kept: list[str] = []
    for directory in directories if choice else ():
        if choice == "keep":
            try:
                kept.append(f"baseline: {baseline.keep(runs, directory)}")
            except UsageError as problem:
                kept.append(f"baseline: not kept: {problem}")
            continue
        try:
            base = baseline.find(runs, directory)
        except CannotError as problem:
            compared.append(Compared(directory.name, None, str(problem)))
        else:
            compared.append(_compared(f"{directory.name} against its baseline", base, directory))
    return compared, kept


def _compared(title: str, base: Path, new: Path) -> Compared:
    from lvslab.comparison.compare import compare

    try:
        return Compared(title, compare(base, new))
    except UsageError as problem:  # a cell without a run: its kernel could do nothing
        return Compared(title, None, str(problem))


def print_compared(compared: Sequence[Compared]) -> None:
    """Print comparisons one below the other."""
    from lvslab.cli.compare import show
    from lvslab.cli.terminal import print_lines

    for each in compared:
        print_lines(["", f"== {each.title} =="])
        if each.comparison is None:
            print_lines([f"not compared: {each.problem}"])
        else:
            show(each.comparison)
            print_lines([f"again: lvslab compare {each.comparison.base} {each.comparison.new}"])


def compared_json(compared: Sequence[Compared]) -> list[dict[str, Any]]:
    """Comparisons for --json."""
    from lvslab.report.comparison import as_json

    return [
        {"title": each.title, **(as_json(each.comparison) if each.comparison else {"problem": each.problem})}
        for each in compared
    ]
