"""Carrying out jobs one after the other: each leaves a run directory and a report, whatever becomes
of it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from lvslab.errors import CannotError, LabError, LvslabError, UsageError
from lvslab.events import Event, Listener
from lvslab.exitcodes import ExitCode, gravest
from lvslab.host import provenance
from lvslab.kernels.needs import Kernels
from lvslab.modes import mode_records
from lvslab.plan.files import line_of, mistakes_in, shipped_files
from lvslab.runs.records import Result, Scenario
from lvslab.runs.writer import RunWriter
from lvslab.scenario.cells import Cell
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.jobs import Job
from lvslab.scenario.matrix import take_turns
from lvslab.scenario.world import MachineWorld, World


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        run: its run directory.
        report: the page, if one was drawn.
        error: why it has no verdict, or "".
        cell: the kernel and sysctls that it ran with.
    """

    job: Job
    code: ExitCode
    run: Path
    report: Path | None
    error: str = ""
    cell: Cell = field(default_factory=Cell)


def overall(outcomes: Sequence[Outcome]) -> ExitCode:
    """The exit code of several jobs."""
    return gravest(outcome.code for outcome in outcomes)


def run_jobs(
    jobs: Sequence[Job],
    kernels: Kernels,
    listener: Listener,
    runs: Path,
    *,
    cells: Sequence[Cell] = (Cell(),),
    draw: bool = True,
    keep_going: bool = False,
    world: Callable[[], World] = MachineWorld,
) -> Iterator[Outcome]:
    """Run jobs, each in every cell; the outcomes of a job are yielded as soon as they are there.

    The cells of a job take turns, repetition by repetition; each has a run directory of its own, in
    the cell's folder. After a job that failed or broke the rest is left out, unless `keep_going`. A
    job that this machine cannot do never stops the others. Each run has a `world` of its own.

    Raises:
        UsageError: the first job was refused before a lab was started; nothing is left of it.
    """
    host, tools = provenance.host(), provenance.tools()
    for number, job in enumerate(jobs):
        left = len(cells) * sum(each.seconds for each in jobs[number:])
        title = job.title if len(cells) == 1 else f"{job.title} in {len(cells)} cells"
        took = f"about {_span(len(cells) * job.seconds)}"
        text = (
            f"[{number + 1}/{len(jobs)}] {title}, {took}; {_span(left)} left in all"
            if len(jobs) > 1
            else f"{title}, {took}"
        )
        listener(Event("", "job", text))
        with ExitStack() as stack:
            going = [
                stack.enter_context(
                    _opened(job, cell, kernels, listener, runs / cell.folder, host, tools, world())
                )
                for cell in cells
            ]
            if len(cells) == 1:
                going[0].turn(None)
            else:
                take_turns(going, int(job.values.get("repeat", 1)), listener)
            refused = going[0].refused
            alone = number == 0 and not (keep_going and len(jobs) > 1)
            if alone and refused and all(each.refused for each in going):
                for each in reversed(going):
                    each.discard()
                raise refused
        if draw:
            listener(Event("", "report", f"{job.title}: drawing the report"))
        outcomes = [each.outcome(draw) for each in going]
        yield from outcomes
        if overall(outcomes) not in (ExitCode.OK, ExitCode.CANNOT) and not keep_going:
            return


@contextmanager
def _opened(
    job: Job,
    cell: Cell,
    kernels: Kernels,
    listener: Listener,
    runs: Path,
    host: Mapping[str, object],
    tools: Mapping[str, str | None],
    world: World,
) -> Iterator[JobRun]:
    """A job in one cell, with its run directory held open until all its repetitions are done."""
    scenario = job.scenario
    alone = job.mode in ("", scenario.parameters.get("mode"))
    writer = RunWriter(
        runs,
        scenario.name if alone else f"{scenario.name}-{job.mode}",
        kind="run",
        command=["lvslab", *sys.argv[1:]],
        scenario=Scenario(scenario.name, scenario.title, scenario.teaches),
        parameters={**job.values, **cell.sysctls, **world.facts},
        host=host,
        tools=tools,
        forwarding_modes=mode_records(),
    )
    with writer as run:
        experiment = Experiment(run, kernels, listener, cell.kernels, cell.sysctls, world)
        going = JobRun(job, cell, run, experiment)
        try:
            yield going
        except KeyboardInterrupt:
            said = f"interrupted: {job.title}; what it measured is in {run.path}"
            listener(Event("", "note", said))
            raise
        world.close(run.path)
        going.end()


class JobRun:
    """A job in one cell: a worker of a matrix (`lvslab.scenario.matrix.Worker`).

    Attributes:
        title: of the job and the cell.
        over: nothing more can be done: it broke, the machine cannot, or the scenario did all its
            repetitions at once.
        refused: what was wrong with its input, where that showed before a lab was started.
    """

    def __init__(self, job: Job, cell: Cell, run: RunWriter, experiment: Experiment) -> None:
        self.title, self.over = f"{job.title}: {cell.name}", False
        self._job, self._cell, self._run, self._experiment = job, cell, run, experiment
        self._code, self._problem = ExitCode.OK, ""
        self.refused: UsageError | None = None

    def end(self, error: Exception | None = None) -> None:
        """Close the run directory, with what ended it."""
        self.over = True
        try:
            self._run.end(error)
        except LvslabError as problem:
            self._problem, self._code = str(problem), problem.exit_code

    def turn(self, repetition: int | None) -> None:
        """Do one repetition, or all where there is nobody to take turns with. What goes wrong ends
        this run and is its outcome.
        """
        experiment = self._experiment
        experiment.turn = repetition
        try:
            if self._cell.unable:
                raise CannotError(self._cell.unable)
            self._run_scenario()
        except CannotError as error:
            self._problem, self._code, self.over = str(error), ExitCode.CANNOT, True
            self._run.add_result(Result(self._job.scenario.name, "skip", str(error)))
        except LvslabError as error:
            self._problem, self._code = str(error), error.exit_code
            if isinstance(error, UsageError) and not experiment.begun:
                self.refused = error
            self.end(error)
        if repetition is not None and not experiment.takes_turns and not self.over:
            self.over = True  # it has no repetitions, or goes through them by itself
            if self._job.values.get("repeat", 1) > 1:
                self._run.add_not_comparable(
                    "The repetitions of the cells were not interleaved: this scenario loops by itself; use"
                    " log.repetitions(repeat)."
                )
        if experiment.failures and self._code in (ExitCode.OK, ExitCode.CANNOT):
            self._code = ExitCode.FAILED
        elif experiment.unjudged and self._code == ExitCode.OK:
            self._code = ExitCode.CANNOT

    def _run_scenario(self) -> None:
        """Run the scenario's function; the trace of a mistake in it goes to the logs.

        Raises:
            UsageError: there is a mistake in a file of the user's own; names file and line.
            LabError: the same in a shipped one, or the machine got in the way.
        """
        scenario = self._job.scenario
        own = scenario.file not in shipped_files("scenarios").values()
        try:
            with mistakes_in(scenario.file, commands=True) if own else nullcontext():
                scenario.run(self._experiment, **self._job.values)
        except LvslabError as error:
            if error.__cause__ is not None:
                self._keep_trace(error.__cause__)
            raise
        except Exception as error:
            self._keep_trace(error)
            where = f"{scenario.file.name}, line {line_of(error, scenario.file)}"
            raise LabError(f"{where}: {type(error).__name__}: {error}") from error

    def _keep_trace(self, error: BaseException) -> None:
        (self._run.logs / "traceback.txt").write_text(
            "".join(traceback.format_exception(error)), encoding="utf-8"
        )

    def discard(self) -> None:
        """Take its run directory away."""
        self._run.discard()

    def outcome(self, draw: bool) -> Outcome:
        """What became of it, after the block.

        Args:
            draw: draw the report.
        """
        report = None
        if draw:
            from lvslab.report.page import write_report

            report = write_report(self._run.path).html
        return Outcome(self._job, self._code, self._run.path, report, self._problem, self._cell)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
