"""What `lvslab verify` does once everything is chosen: one verification, or cells that take turns;
and what it prints.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvslab.cli.finished import in_cell, settle, verdict_of
from lvslab.cli.turns import try_settings
from lvslab.errors import CannotError, LabError, LvslabError
from lvslab.events import Event, Listener
from lvslab.exitcodes import ExitCode, gravest
from lvslab.runs.codec import to_json
from lvslab.runs.records import Result

if TYPE_CHECKING:
    from lvslab.conformance.suite import Suite
    from lvslab.kernels.needs import Kernels
    from lvslab.plan.plan import LabPlan
    from lvslab.plan.spec import LabSpec
    from lvslab.scenario.cells import Cell
    from lvslab.scenario.experiment import Experiment
    from lvslab.verify.verification import Verification


@dataclass(frozen=True)
class Verified:
    """A finished verification.

    Attributes:
        run: its run directory.
        results: one a mode or check.
        summary: how many passed, failed and were skipped, in a line.
        show: prints it for people.
    """

    run: Path
    code: ExitCode
    results: Sequence[Result]
    summary: str
    show: Callable[[], None]


Work = Callable[["Cell", "Kernels", Path, Listener], Verified]
"""Verifies in one cell, into a folder for run directories."""


def verify_cells(
    work: Work,
    cells: Sequence[Cell],
    repeat: int,
    machine: Kernels,
    runs: Path,
    as_json: bool,
    baseline: str | None,
) -> ExitCode:
    """Verify once, or in cells that take turns; print what came of it."""
    if len(cells) > 1 or repeat > 1:
        return _verify_matrix(work, cells, repeat, machine, runs, as_json, baseline)
    from lvslab.cli.terminal import Progress, print_json

    with Progress() as progress:
        try_settings(cells, machine, progress)
        done = work(cells[0], machine, runs, progress)
    comparisons = settle(runs, cells, baseline, runs, [done.run])
    if as_json:
        print_json(
            {"run": str(done.run), **comparisons.as_json(), "results": list(map(to_json, done.results))}
        )
    else:
        done.show()
        comparisons.show()
    return gravest([done.code, comparisons.code])


@dataclass
class _CellVerifier:
    """The verifications in one cell of a matrix: a worker (`lvslab.scenario.matrix.Worker`).

    Attributes:
        folder: where its run directories go.
        keep, give_up: take a finished verification, and what ended the worker.
    """

    cell: Cell
    work: Work
    machine: Kernels
    folder: Path
    listener: Listener
    keep: Callable[[Cell, Verified], None]
    give_up: Callable[[Cell, LvslabError], None]
    over: bool = False

    @property
    def title(self) -> str:
        return self.cell.name or "verification"

    def turn(self, repetition: int) -> None:
        try:
            if self.cell.unable:
                raise CannotError(self.cell.unable)
            self.keep(self.cell, self.work(self.cell, self.machine, self.folder, self.listener))
        except LvslabError as problem:
            self.over = True
            self.give_up(self.cell, problem)


def _verify_matrix(
    work: Work,
    cells: Sequence[Cell],
    repeat: int,
    machine: Kernels,
    runs: Path,
    as_json: bool,
    baseline: str | None,
) -> ExitCode:
    """Verify in cells that take turns, each repetition with a run directory in the cell's folder;
    compare each cell with the first.
    """
    from lvslab.cli.terminal import Progress, print_json, print_table
    from lvslab.scenario.matrix import new_folder, take_turns

    done: list[tuple[Cell, Verified]] = []
    problems: list[tuple[Cell, LvslabError]] = []
    with Progress() as progress:
        cells = try_settings(cells, machine, progress)
        place = new_folder(runs)

        def give_up(cell: Cell, problem: LvslabError) -> None:
            progress.say(f"lvslab: {cell.name or 'verification'}: {problem}")
            problems.append((cell, problem))

        workers = [
            _CellVerifier(
                cell,
                work,
                machine,
                place / cell.folder,
                progress,
                lambda *verified: done.append(verified),
                give_up,
            )
            for cell in cells
        ]
        take_turns(workers, repeat, progress, numbered=True)
    comparisons = settle(place, cells, baseline, runs, [verified.run for _, verified in done])
    codes = [verified.code for _, verified in done] + [problem.exit_code for _, problem in problems]
    if as_json:
        print_json(
            {
                "run": str(place),
                "runs": [
                    {"cell": cell.name, "run": str(verified.run), "exit_code": int(verified.code)}
                    for cell, verified in done
                ],
                "comparisons": [],
                **comparisons.as_json(),
                "results": [
                    to_json(replace(result, name=in_cell(cell, result.name)))
                    for cell, verified in done
                    for result in verified.results
                ]
                + [_not_completed(cell, problem) for cell, problem in problems],
            }
        )
    else:
        rows = [
            (cell.name, verdict_of(verified.code), verified.summary, str(verified.run))
            for cell, verified in done
        ]
        rows += [(cell.name, verdict_of(problem.exit_code), str(problem), "") for cell, problem in problems]
        print_table(("cell", "verdict", "what was seen", "run"), rows)
        comparisons.show()
    return gravest([*codes, comparisons.code])


def _not_completed(cell: Cell, problem: LvslabError) -> dict[str, Any]:
    return {
        "name": f"{cell.name}: the run completes",
        "verdict": "skip" if isinstance(problem, CannotError) else "fail",
        "reason": str(problem),
        "evidence": [],
    }


# -- modes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mode:
    """One mode verified, or why it was not.

    Attributes:
        row: of the table: mode, verdict, director, what was seen.
        shown: lines below the table.
    """

    row: tuple[str, str, str, str]
    result: Result
    code: ExitCode
    shown: Sequence[str] = ()


def verify_modes(
    labs: Sequence[LabSpec],
    kernels: Kernels,
    runs: Path,
    listener: Listener,
    show_ladder: bool | None,
    parameters: Mapping[str, Any],
) -> Verified:
    """Verify modes one after the other, into one run directory."""
    from lvslab.host import provenance
    from lvslab.modes import mode_records
    from lvslab.runs.writer import RunWriter
    from lvslab.scenario.experiment import Experiment, run_directory_name

    writer = RunWriter(
        runs,
        run_directory_name([lab.mode.name for lab in labs]),
        kind="verify",
        command=["lvslab", *sys.argv[1:]],
        host=provenance.host(),
        parameters=parameters,
        forwarding_modes=mode_records(),
    )
    with_ladder = show_ladder or (show_ladder is None and len(labs) == 1)
    with writer as run:
        experiment = Experiment(run, kernels, listener)
        modes = [_verify_mode(spec, experiment, kernels, with_ladder) for spec in labs]
        run.update(tools=provenance.tools())

    def show() -> None:
        from lvslab.cli.terminal import print_lines, print_table

        print_table(("mode", "verdict", "director", "what was seen"), [mode.row for mode in modes])
        shown = [line for mode in modes for line in mode.shown]
        shown += [f"FAIL: {complaint.reason}" for complaint in experiment.complaints]
        print_lines([*shown, "", f"run: {run.path}", f"report: lvslab report {run.path}"])

    results = [*(mode.result for mode in modes), *experiment.complaints]
    verdicts = [result.verdict for result in results]
    summary = ", ".join(f"{verdicts.count(each)} {word}" for each, word in _COUNTED if each in verdicts)
    codes = [*(mode.code for mode in modes), *(_CODES[each.verdict] for each in experiment.complaints)]
    return Verified(run.path, gravest(codes), results, summary, show)


def _verify_mode(spec: LabSpec, experiment: Experiment, kernels: Kernels, with_ladder: bool) -> _Mode:
    """Build a mode's lab and judge its packets. A lab that cannot be had or breaks is a verdict,
    which the run directory has, too.
    """
    from lvslab.plan.make import make_plan

    try:
        plan = make_plan(spec, kernels)
    except CannotError as reason:
        return _unverified(spec, experiment, "", reason)
    facts = kernels.facts[plan.director.kernel]
    director = f"{facts.kind} {facts.release}"
    try:
        with experiment.planned_lab(plan) as lab:
            outcome = experiment.verify(lab)
    except LabError as problem:
        return _unverified(spec, experiment, director, problem)
    row = (spec.mode.title, outcome.verdict.upper(), director, outcome.reason)
    result = outcome.result(plan.name)
    return _Mode(row, result, _CODES[result.verdict], _ladder_lines(plan, outcome, with_ladder))


def _unverified(spec: LabSpec, experiment: Experiment, director: str, problem: LvslabError) -> _Mode:
    """Record a mode without a verdict on its packets: the machine cannot, or the lab broke."""
    mode, is_skipped = spec.mode, isinstance(problem, CannotError)
    result = (
        Result(mode.name, "skip", str(problem))
        if is_skipped
        else Result(mode.name, "fail", f"the lab broke: {problem}")
    )
    experiment.run.add_result(result)
    word = "SKIP" if is_skipped else verdict_of(problem.exit_code)
    experiment.tell(Event(mode.name, "verdict", f"{'SKIP' if is_skipped else 'BROKE'}: {problem}"))
    code = gravest([_CODES[result.verdict], problem.exit_code])
    return _Mode((mode.title, word, director, str(problem)), result, code)


def _ladder_lines(plan: LabPlan, outcome: Verification, with_ladder: bool) -> list[str]:
    """The ladder of the first wrong flow; where none is wrong and one is wanted, of the first."""
    from lvslab.cli.terminal import fitting
    from lvslab.verify import ladder

    roles = {node.name: node.role for node in plan.nodes}
    failing = next((flow for flow in outcome.flows.values() if flow.wrong), None)
    if failing:
        head = [f"{plan.mode.title}, first wrong packet:", *outcome.wrong, ""]
        return ["", *head, *fitting(ladder.text(failing, roles))]
    if with_ladder and outcome.flows:
        first = next(iter(outcome.flows.values()))
        head = [f"{plan.mode.title}: {plan.mode.contract.in_words}"]
        return ["", *head, *fitting(ladder.text(first, roles))]
    return []


_CODES = {"pass": ExitCode.OK, "fail": ExitCode.FAILED, "skip": ExitCode.CANNOT}
_COUNTED = (("pass", "passed"), ("fail", "failed"), ("skip", "skipped"))


# -- the suite -------------------------------------------------------------------------------------


def show_suite(suite: Suite) -> None:
    """Print a finished suite: failures with what was wrong, skips with their reasons, and subjects
    with their counts.
    """
    from lvslab.cli.terminal import print_lines, print_table

    for each in suite.results:
        if each.verdict == "fail":
            detail = (f"     {line}" for line in each.detail or ())
            print_lines([f"FAIL {each.name}: {each.reason}", *detail, ""])
    skipped = [(each.name, "SKIP", each.reason) for each in suite.results if each.verdict == "skip"]
    if skipped:
        print_table(("check", "verdict", "reason"), skipped)
        print_lines([""])
    print_table(("subject", "passed", "failed", "skipped", "seconds"), suite.by_subject())
    print_lines(["", suite.headline, f"run: {suite.run} (text, JUnit, TAP, KTAP)"])
