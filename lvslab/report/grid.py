"""The matrix of failures: scenarios and their variants in rows, forwarding modes in columns,
verdict and median outage in the cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lvslab.report import style
from lvslab.report.failover import trials
from lvslab.report.failover.trials import Group
from lvslab.report.looks import Looks, looks_of
from lvslab.report.units import count
from lvslab.runs.rundir import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Cell:
    """What is known of one row in one mode: `verdict` is pass, fail, skip or "" (nobody judged);
    `text` the outage; `note` what else.
    """

    verdict: str
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A variant of a scenario (`variant` is "" where the trials name none): mode → cell, for the
    modes it ran in.
    """

    scenario: str
    variant: str
    cells: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of one scenario stand together; `modes` are the columns."""

    modes: tuple[str, ...]
    rows: tuple[Row, ...]
    looks: Looks


def of_run(run: Run, groups: Sequence[Group] | None = None, label: str = "") -> Matrix:
    """The matrix of one run: its trials, or, when it has none, the verdicts on its labs.

    Args:
        groups: the run's trials when they are read already.
        label: what tells the run from others of the scenario (`labels`).
    """
    groups = trials.observe(run) if groups is None else groups
    title = " · ".join(filter(None, (scenario_title(run), label)))
    looks = looks_of(run)
    if not groups:
        cells = _verdict_cells(run, looks)
        return Matrix(looks.sorted(cells), (Row(title, "", cells),), looks)
    variants = list(dict.fromkeys(group.variant for group in groups))
    rows = []
    for variant in variants:
        cells = {group.mode: _cell(group) for group in groups if group.variant == variant}
        rows.append(Row(title, variant, cells))
    return Matrix(looks.sorted(mode for row in rows for mode in row.cells), tuple(rows), looks)


def joined(matrices: Sequence[Matrix]) -> Matrix:
    """One matrix of several: rows of the same scenario and variant become one. Runs that
    would fill the same cells have labels (`labels`), and rows of their own.
    """
    rows: dict[tuple[str, str], dict[str, Cell]] = {}
    order = dict.fromkeys(row.scenario for matrix in matrices for row in matrix.rows)
    for scenario in order:
        for matrix in matrices:
            for row in matrix.rows:
                if row.scenario == scenario:
                    rows.setdefault((scenario, row.variant), {}).update(row.cells)
    looks = Looks({name: look for matrix in matrices for name, look in matrix.looks.modes.items()})
    return Matrix(
        looks.sorted(mode for cells in rows.values() for mode in cells),
        tuple(Row(scenario, variant, cells) for (scenario, variant), cells in rows.items()),
        looks,
    )


def labels(runs: Sequence[Run]) -> list[str]:
    """What tells each run from the others of its scenario in its modes: the directors' kernels and
    the parameters in which they differ, or at last its number; "" where there is no other.
    """
    found = []
    for run in runs:
        rivals = [
            other
            for other in runs
            if scenario_title(other) == scenario_title(run) and _modes(other) & _modes(run)
        ]
        words = []
        if len({_kernels(other) for other in rivals}) > 1:
            words.append(_kernels(run))
        words += [
            f"{name.rpartition('.')[2]}={value}"
            for name, value in run.parameters.items()
            if name not in ("mode", "modes") and any(other.parameters.get(name) != value for other in rivals)
        ]
        alike = [
            other
            for other in rivals
            if (_kernels(other), other.parameters) == (_kernels(run), run.parameters)
        ]
        if len(alike) > 1:
            words.append(f"run {next(number for number, other in enumerate(alike, 1) if other is run)}")
        found.append(", ".join(words))
    return found


def _modes(run: Run) -> set[str]:
    """The modes in which a run fills cells."""
    return {trial.mode for trial in run.trials} or set(run.modes)


def _kernels(run: Run) -> str:
    """The kernels of a run's directors: as the command line names them, and their releases."""
    kernels = [
        node.kernel for lab in run.labs for node in lab.nodes if node.role == "director" and node.kernel
    ]
    return " and ".join(
        dict.fromkeys(
            each.release if each.name in ("", each.release) else f"{each.name} ({each.release})"
            for each in kernels
        )
    )


def scenario_title(run: Run) -> str:
    """What the rows of a run are called."""
    return (run.scenario and (run.scenario.title or run.scenario.name)) or run.name


def describe(matrix: Matrix) -> str:
    """The matrix in words, for who cannot see it."""
    parts = []
    for row in matrix.rows:
        cells = ", ".join(
            " ".join(filter(None, (matrix.looks.of(mode).title, cell.verdict or "not judged", cell.text)))
            for mode, cell in row.cells.items()
        )
        parts.append(f"{row.scenario}{f', {row.variant}' if row.variant else ''}: {cells or 'nothing'}")
    return "Verdict and median outage by scenario and mode. " + "; ".join(parts)


def _cell(group: Group) -> Cell:
    verdict = group.verdict or ""
    median = group.median
    if median is None and all(trial.trial.interval is None for trial in group.trials):
        words = {"pass": "held", "fail": "failed"}.get(verdict, "not judged")
        return Cell(
            verdict, words, f"{group.survivors_text} kept" if group.survivals else "no attempts were planned"
        )
    if median is None:
        return Cell(verdict, "not known", next((t.unknown for t in group.trials if t.unknown), ""))
    notes = [
        f"detected after {group.detection_text}" if group.detections else "",
        f"{group.survivors_text} kept" if group.survivals else "",
    ]
    later = sum(stretch.failed for trial in group.trials for stretch in trial.later)
    if later:
        notes.insert(0, f"{count(later)} failed later")
    failed = sum(trial.trial.verdict == "fail" for trial in group.trials)
    if failed and failed < len(group.trials):
        notes.insert(0, f"{failed} of {len(group.trials)} repeats failed")
    return Cell(
        verdict,
        "no outage" if not median.seconds and median.ended else group.median_text,
        next(filter(None, notes), ""),
    )


def _verdict_cells(run: Run, looks: Looks) -> dict[str, Cell]:
    """The verdicts on the labs of a run without trials, by mode; of one mode only, everything the
    run judged.
    """
    cells = {}
    modes = run.modes
    for mode in modes:
        labs = {lab.name for lab in run.labs if lab.mode == mode}
        verdicts = {result.verdict for result in run.results if len(modes) == 1 or result.name in labs}
        verdict = next((v for v in ("fail", "pass", "skip") if v in verdicts), "")
        cells[mode] = Cell(
            verdict, {"fail": "failed", "pass": "passed", "skip": "skipped"}.get(verdict, "not judged")
        )
    for result in run.results:  # a mode that was skipped has no lab
        if result.name in looks.modes and result.name not in cells:
            cells[result.name] = Cell(
                result.verdict, {"fail": "failed", "pass": "passed", "skip": "skipped"}[result.verdict]
            )
    return cells


# --- drawing --------------------------------------------------------------------------------------

_EDGE, _ROW, _GAP = 14.0, 38.0, 5.0
_SIGNS = {"pass": ("✓", style.GOOD), "fail": ("✗", style.BAD), "skip": ("○", style.MUTED)}


def draw(matrix: Matrix) -> Figure:
    """The matrix as a figure."""
    with style.styled():
        scenarios = list(dict.fromkeys(row.scenario for row in matrix.rows))
        several = len(scenarios) > 1
        variants = max((style.text_width(row.variant, 9.5) for row in matrix.rows), default=0)
        names = min(200.0, variants + 14) if any(row.variant for row in matrix.rows) else 0.0
        first = (
            min(210.0, max(style.text_width(name, 9.5, True) for name in scenarios) + 14)
            if several or not names
            else 0.0
        )
        left = _EDGE + first + names
        column = max(86.0, min(150.0, (816.0 - left - _EDGE) / max(1, len(matrix.modes))))
        width = max(432.0, left + column * max(1, len(matrix.modes)) + _EDGE)
        top = 78.0
        figure, axes = style.sheet(width, top + _ROW * len(matrix.rows) + 34)
        title = "Scenarios and modes" if several else scenarios[0] if scenarios else "Nothing ran"
        axes.text(
            _EDGE, 22, style.fit(title, width - 2 * _EDGE, 12, True), size=12, weight="bold", va="baseline"
        )
        subtitle = "verdict and median outage; ≥: an outage was not over when the probing ended"
        axes.text(
            _EDGE, 38, style.fit(subtitle, width - 2 * _EDGE, 8.5), size=8.5, color=style.MUTED, va="baseline"
        )
        for index, mode in enumerate(matrix.modes):
            x, look = left + column * (index + 0.5), matrix.looks.of(mode)
            axes.text(x, top - 10, look.title, size=9.5, weight="bold", ha="center", va="baseline")
            axes.plot(
                [x - 18, x + 18],
                [top - 4, top - 4],
                color=look.light,
                lw=2.5,
                solid_capstyle="butt",
            )
        before = None
        for number, row in enumerate(matrix.rows):
            y = top + _ROW * number
            if row.scenario != before:
                if first:
                    lines = (
                        style.wrap(row.scenario, 0.87 * (first - 10), 9.5)[:2] if several else [row.scenario]
                    )
                    for line, words in enumerate(lines):
                        at = y + _ROW / 2 + 12 * (line - (len(lines) - 1) / 2)
                        axes.text(
                            _EDGE,
                            at,
                            style.fit(words, first - 8, 9.5, True),
                            size=9.5,
                            weight="bold",
                            va="center",
                        )
                if before is not None:
                    axes.plot([_EDGE, width - _EDGE], [y, y], color=style.LINE, lw=0.8)
                before = row.scenario
            if row.variant:
                axes.text(
                    _EDGE + first, y + _ROW / 2, style.fit(row.variant, names - 8, 9.5), size=9.5, va="center"
                )
            for index, mode in enumerate(matrix.modes):
                _draw_cell(axes, row.cells.get(mode), left + column * index, y, column)
        x, y = _EDGE, top + _ROW * len(matrix.rows) + 18
        for sign, words, color in (
            ("✓", "held", style.GOOD),
            ("✗", "failed", style.BAD),
            ("·", "did not run", style.MUTED),
        ):
            axes.text(x, y, sign, size=9.5, weight="bold", color=color, va="center")
            axes.text(x + 13, y, words, size=8.5, color=style.MUTED, va="center")
            x += 30 + style.text_width(words, 8.5)
        return figure


def _draw_cell(axes: Axes, cell: Cell | None, x: float, y: float, width: float) -> None:
    middle, room = x + width / 2, width - 2 * _GAP - 8
    if cell is None:
        axes.text(middle, y + _ROW / 2, "·", size=11, color=style.MUTED, ha="center", va="center")
        return
    sign, color = _SIGNS.get(cell.verdict, ("", style.MUTED))
    fill = style.BAD_SOFT if cell.verdict == "fail" else style.CARD
    style.rounded(
        axes,
        x + _GAP / 2,
        y + _GAP / 2,
        width - _GAP,
        _ROW - _GAP,
        5,
        fc=fill,
        ec=color if sign else style.GRID,
        lw=1.4 if cell.verdict == "fail" else 1,
    )
    known = cell.text not in ("not known", "not judged", "skipped")
    words = style.fit(f"{sign} {cell.text}".strip(), room, 9.5, True)
    ink = color if cell.verdict in ("pass", "fail") else style.INK if known else style.MUTED
    axes.text(
        middle,
        y + (15 if cell.note else _ROW / 2),
        words,
        size=9.5,
        weight="bold",
        color=ink,
        ha="center",
        va="center",
    )
    if cell.note:
        axes.text(
            middle,
            y + 27,
            style.fit(cell.note, room, 7.5),
            size=7.5,
            color=style.MUTED,
            ha="center",
            va="center",
        )
