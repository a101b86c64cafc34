"""What is said of finished runs, for people and as JSON: their verdicts, the comparison of a
matrix's cells with the first, and with baselines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvslab.errors import CannotError, UsageError
from lvslab.exitcodes import ExitCode, gravest

if TYPE_CHECKING:
    from lvslab.comparison.compare import Comparison
    from lvslab.scenario.cells import Cell

_VERDICTS = {ExitCode.OK: "PASS", ExitCode.CANNOT: "SKIP", ExitCode.FAILED: "FAIL"}


def verdict_of(code: ExitCode) -> str:
    """The word for an exit code in a table of runs."""
    return _VERDICTS.get(code, "BROKE")


def in_cell(cell: Cell, name: str) -> str:
    """The name of a result among those of other cells."""
    return f"{cell.name}: {name}" if cell.name else name


@dataclass(frozen=True)
class Compared:
    """A comparison, or why there is none."""

    title: str
    comparison: Comparison | None
    problem: str = ""

    @property
    def code(self) -> ExitCode:
        return self.comparison.code if self.comparison else ExitCode.CANNOT


@dataclass(frozen=True)
class Comparisons:
    """What finished runs were compared with.

    Attributes:
        compared: each with another cell or its baseline.
        kept: lines that say which were kept as baselines, and which were not.
        unkept: why some of them could not be kept on this machine.
    """

    compared: Sequence[Compared]
    kept: Sequence[str]
    unkept: Sequence[CannotError] = ()

    @property
    def code(self) -> ExitCode:
        codes = [problem.exit_code for problem in self.unkept]
        return gravest([*codes, *(each.code for each in self.compared)])

    def as_json(self) -> dict[str, Any]:
        """`comparisons` and `baselines`, as far as there are any."""
        from lvslab.report.comparison import as_json

        comparisons = [
            {
                "title": each.title,
                **(as_json(each.comparison) if each.comparison else {"problem": each.problem}),
            }
            for each in self.compared
        ]
        return {
            **({"comparisons": comparisons} if comparisons else {}),
            **({"baselines": list(self.kept)} if self.kept else {}),
        }

    def show(self) -> None:
        """Print them one below the other."""
        from lvslab.cli.compare import show
        from lvslab.cli.terminal import print_lines

        for each in self.compared:
            print_lines(["", f"== {each.title} =="])
            if each.comparison is None:
                print_lines([f"not compared: {each.problem}"])
            else:
                show(each.comparison)
                print_lines([f"again: lvslab compare {each.comparison.base} {each.comparison.new}"])
        print_lines(self.kept)


def settle(
    place: Path, cells: Sequence[Cell], baseline: str | None, runs: Path, directories: Iterable[Path]
) -> Comparisons:
    """Compare the cells of a matrix with the first, and keep finished runs as baselines or compare
    them with those that were kept.

    Args:
        place: the matrix's folder.
        baseline: "keep", "compare" or None.
        runs: where baselines are kept.
        directories: the finished runs.
    """
    from lvslab.comparison.baseline import keep

    compared = [
        _compared(f"{cell.name} against {cells[0].name}", place / cells[0].folder, place / cell.folder)
        for cell in cells[1:]
    ]
    kept: list[str] = []
    unkept: list[CannotError] = []
    for directory in directories:
        if baseline == "keep":
            try:
                kept.append(f"baseline: {keep(runs, directory)}")
            except (UsageError, CannotError) as problem:
                kept.append(f"baseline: not kept: {problem}")
                unkept += [problem] if isinstance(problem, CannotError) else []
        elif baseline == "compare":
            compared.append(_against_baseline(runs, directory))
    return Comparisons(compared, kept, unkept)


def _against_baseline(runs: Path, directory: Path) -> Compared:
    from lvslab.comparison.baseline import find

    try:
        base = find(runs, directory)
    except CannotError as problem:
        return Compared(directory.name, None, str(problem))
    return _compared(f"{directory.name} against its baseline", base, directory)


def _compared(title: str, base: Path, new: Path) -> Compared:
    from lvslab.comparison.compare import compare

    try:
        return Compared(title, compare(base, new))
    except UsageError as problem:  # a cell without a run: its kernel could do nothing
        return Compared(title, None, str(problem))
