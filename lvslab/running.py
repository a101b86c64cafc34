"""Carrying out jobs one after the other: each leaves a run directory and a report, whatever becomes of it."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import CannotError, LvslabError
from lvslab.events import Event, Listener
from lvslab.exitcodes import ExitCode
from lvslab.experiment import Experiment
from lvslab.jobs import Job
from lvslab.measure import provenance
from lvslab.measure.rundir import RunWriter
from lvslab.plan import Kernels

_WEIGHT = (ExitCode.OK, ExitCode.CANNOT, ExitCode.FAILED, ExitCode.LAB_BROKE, ExitCode.USAGE)
"""Exit codes by how much they say: of several runs the last one in this order counts."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        run: its run directory.
        report: the page, if one was drawn.
        error: why it has no verdict, or "".
    """

    job: Job
    code: ExitCode
    run: Path
    report: Path | None
    error: str = ""


def overall(outcomes: Sequence[Outcome]) -> ExitCode:
    """The exit code of several jobs."""
    return max((outcome.code for outcome in outcomes), key=_WEIGHT.index, default=ExitCode.OK)


def run_jobs(
    jobs: Sequence[Job],
    kernels: Kernels,
    listener: Listener,
    runs: Path,
    *,
    director_kernels: Sequence[str] = (),
    sysctls: Mapping[str, str] | None = None,
    draw: bool = True,
    keep_going: bool = False,
) -> Iterator[Outcome]:
    """Run jobs; each outcome is yielded as soon as there is one.

    After a job that failed or broke the rest is left out, unless `keep_going`. A job that this machine cannot do never stops the others.
    """
    host, tools = provenance.host(), provenance.tools()
    for number, job in enumerate(jobs):
        left = sum(each.seconds for each in jobs[number:])
        if len(jobs) > 1:
            text = f"[{number + 1}/{len(jobs)}] {job.title}, about {_span(job.seconds)}; {_span(left)} left in all"
        else:
            text = f"{job.title}, about {_span(job.seconds)}"
        listener(Event("", "job", text, t=time.time()))
        outcome = _run(job, kernels, listener, runs, director_kernels, sysctls or {}, draw, host, tools)
        yield outcome
        if outcome.code not in (ExitCode.OK, ExitCode.CANNOT) and not keep_going:
            return


def _run(
    job: Job,
    kernels: Kernels,
    listener: Listener,
    runs: Path,
    director_kernels: Sequence[str],
    sysctls: Mapping[str, str],
    draw: bool,
    host: Mapping[str, object],
    tools: Mapping[str, str | None],
) -> Outcome:
    scenario = job.scenario
    code, problem = ExitCode.OK, ""
    writer = RunWriter(
        runs,
        scenario.name if job.mode in ("", scenario.parameters.get("mode")) else f"{scenario.name}-{job.mode}",
        kind="run",
        command=["lvslab", *sys.argv[1:]],
        scenario={"name": scenario.name, "title": scenario.title, "teaches": scenario.teaches},
        parameters={**job.values, **sysctls},
        host=host,
        tools=tools,
    )
    try:
        with writer as run:
            experiment = Experiment(run, kernels, listener, director_kernels, sysctls)
            try:
                scenario.run(experiment, **job.values)
            except CannotError as error:
                problem, code = str(error), ExitCode.CANNOT
                run.add_result({"name": scenario.name, "verdict": "skip", "reason": problem, "evidence": [], "checks": []})
            if experiment.failures:
                code = ExitCode.FAILED
    except LvslabError as error:
        problem, code = str(error), error.exit_code
    except Exception as error:
        problem, code = _mishap(error, writer.logs), ExitCode.LAB_BROKE
    except KeyboardInterrupt:
        listener(Event("", "note", f"interrupted: {job.title}; what it measured is in {writer.path}"))
        raise
    report = None
    if draw:
        from lvslab.report.page import write_report

        report = write_report(writer.path).html
    return Outcome(job, code, writer.path, report, problem)


def _mishap(error: Exception, logs: Path) -> str:
    """What to say of a mistake in a scenario's own code; the whole trace goes to the run's logs."""
    (logs / "traceback.txt").write_text("".join(traceback.format_exception(error)))
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno}; {logs / 'traceback.txt'})"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
