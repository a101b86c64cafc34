"""`lvslab run`: scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.cli.common import JSON, RUNS, in_sandbox
from lvslab.cli.finished import Comparisons, in_cell, settle, verdict_of
from lvslab.cli.turns import BASELINE, KERNELS, cell_lines, cells_of, kernels_of, try_settings
from lvslab.cli.virtual import (
    Virtual,
    kernel_names,
    kernels_here,
    run_cells,
    run_worlds,
    virtual_options,
)
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode, gravest

if TYPE_CHECKING:
    from lvslab.scenario.running import Outcome


class _Run(click.Command):
    """Answers `lvslab run SCENARIO --help` with the scenario's own options."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if {"--help", "-h"} & set(args):
            from lvslab.cli.listing import list_
            from lvslab.plan.files import shipped_files

            shipped = shipped_files("scenarios")
            names = [word for word in args if word in shipped or word.endswith(".py")]
            if not names:
                return super().parse_args(context, args)
            context.exit(list_.callback(False, tuple(names), False))  # type: ignore[misc]
        return super().parse_args(context, args)


@click.command(
    cls=_Run,
    short_help="Run scenarios: shipped ones or your own.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="SCENARIO... [--PARAMETER VALUE]...")
@click.option(
    "--all",
    "all_",
    is_flag=True,
    help="Run every shipped scenario, each in all of its modes or in those of --mode.",
)
@click.option(
    "--mode", "modes", multiple=True, metavar="MODE", help="Forwarding mode to run in; repeatable, or 'all'."
)
@click.option("--repeat", type=int, metavar="N", help="Repeat every trial N times.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the scenario, or, with dots in its name, a sysctl of the directors; repeatable. Several values of one sysctl "  # noqa: E501
    "take turns and are compared.",
)
@click.option(
    "--keep-going", is_flag=True, help="Go on with the other scenarios after one has failed or broken."
)
@KERNELS
@BASELINE
@virtual_options
@click.option("--report/--no-report", default=True, show_default=True, help="Draw the report afterwards.")
@RUNS
@JSON
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print which scenarios would run, with which parameters and kernels, and start nothing.",
)
def run(
    words: tuple[str, ...],
    all_: bool,
    modes: tuple[str, ...],
    repeat: int | None,
    settings: tuple[str, ...],
    keep_going: bool,
    kernels: tuple[str, ...],
    baseline: str | None,
    time_: str,
    seed: int | None,
    seeds: int | None,
    capture: bool,
    until: float | None,
    shell: bool,
    report: bool,
    runs: Path,
    as_json: bool,
    dry_run: bool,
) -> int:
    """Run scenarios: shipped ones by name, your own by file name. `lvslab list` shows them, and
    `lvslab run SCENARIO --help` what can be set.

    A scenario's parameters are options of their own (--control mon,keepalived --sync no); lists are
    separated by commas. Every scenario leaves a run directory; several leave an overview of all.
    Several kernels (--kernel A --kernel B) or values of a sysctl make a matrix: its cells take
    turns, repetition by repetition, and each is compared with the first; a regression is exit code
    1.
    """
    from lvslab.modes import MODES, mode_named
    from lvslab.plan.files import shipped_files
    from lvslab.scenario import description
    from lvslab.scenario.jobs import plan_jobs, read_settings

    read, names = read_settings(settings, words)
    virtual = Virtual.of(time_, seed, seeds, capture, until, shell)
    cells = cells_of(kernel_names(kernels) if virtual else kernels, read)
    shipped = shipped_files("scenarios")
    if all_ and names:
        raise UsageError("run: name scenarios, or give --all, not both")
    if not all_ and not names:
        raise UsageError("run: name scenarios, or give --all; `lvslab list` shows them")
    asked = [mode_named(mode).name for mode in (MODES if "all" in modes else modes)]
    chosen = [description.load(name, shipped) for name in (shipped if all_ else names)]
    if virtual:
        virtual.refuse(chosen)
    jobs = plan_jobs(chosen, read, asked, repeat, every_mode=all_ or "all" in modes)
    if dry_run:
        from lvslab.cli.terminal import print_lines

        for job in jobs:
            print_lines(
                [
                    f"{job.title}: {job.scenario.title}",
                    f"  file {job.scenario.file}, expected {job.seconds:g} s",
                ]
            )
            print_lines([f"  {name}={value}" for name, value in job.values.items()])
        print_lines(cell_lines(cells, max(int(job.values.get("repeat", 1)) for job in jobs)))
        return ExitCode.OK

    if virtual and (len(virtual.seeds) > 1 or virtual.pause) and len(jobs) > 1:
        raise UsageError("run: --seeds and --until take one scenario, in one mode")
    if virtual and virtual.pause and len(cells) > 1:
        raise UsageError("run: --until takes one kernel")
    if shell and as_json:
        raise UsageError("run: --shell writes what commands print: leave --json out")
    if virtual and len(virtual.seeds) > 1 and len(cells) > 1:
        return in_sandbox(partial(run_cells, virtual, jobs[0], cells, runs, as_json=as_json))
    if virtual and len(virtual.seeds) > 1:
        return in_sandbox(partial(run_worlds, virtual, jobs[0], cells[0], runs, as_json=as_json, draw=report))

    def work() -> int:
        from lvslab.cli.terminal import Progress
        from lvslab.kernels.needs import Need
        from lvslab.scenario.matrix import new_folder
        from lvslab.scenario.running import overall, run_jobs
        from lvslab.scenario.world import MachineWorld

        outcomes = []
        machine = kernels_here() if virtual else kernels_of(tuple(Need), cells)
        with Progress() as progress:
            ready = cells if virtual else try_settings(cells, machine, progress)
            place = runs if len(cells) == 1 else new_folder(runs)
            ended = run_jobs(
                jobs,
                machine,
                progress,
                place,
                cells=ready,
                draw=report and until is None,
                keep_going=keep_going,
                world=partial(virtual.world, progress) if virtual else MachineWorld,
            )
            for outcome in _unless_refused(ended, place if len(cells) > 1 else None):
                outcomes.append(outcome)
                if outcome.error:
                    progress.say(f"lvslab: {_title(outcome)}: {outcome.error}")
                if not as_json:
                    progress.pause()
                    _print_outcome(outcome)
                    progress.go_on()
        comparisons = settle(place, cells, baseline, runs, [outcome.run for outcome in outcomes])
        _print_all(outcomes, len(jobs) * len(cells), place, as_json, report, comparisons)
        if virtual:
            virtual.judge_pause()
        return gravest([overall(outcomes), comparisons.code])

    return in_sandbox(virtual.alone(work) if virtual else work)


def _unless_refused(outcomes: Iterator[Outcome], matrix: Path | None) -> Iterator[Outcome]:
    """The outcomes; where nothing was started the matrix leaves no folder either."""
    try:
        yield from outcomes
    except UsageError:
        if matrix:
            matrix.rmdir()
        raise


def _print_outcome(outcome: Any) -> None:
    """Verdicts and figures of one finished run."""
    from lvslab.cli.terminal import print_lines, print_table
    from lvslab.report import text
    from lvslab.runs import rundir

    finished = rundir.load(outcome.run)
    print_lines([f"{outcome.job.scenario.title}{f' [{outcome.cell.name}]' if outcome.cell.name else ''}"])
    print_table(("name", "verdict", "reason"), text.verdict_table(finished).rows)
    for table in (text.failover_table(finished), text.summary_table(finished)):
        if table.rows:
            print_lines([""])
            print_table(table.headers, table.rows)
    timeline = outcome.run / "figures" / "timeline.png"
    shown = [f"report: {outcome.report}"] if outcome.report else []
    print_lines(
        [
            "",
            f"run: {outcome.run}",
            *shown,
            *([f"failover figure: {timeline}"] if timeline.exists() else []),
            "",
        ]
    )


def _title(outcome: Outcome) -> str:
    return f"{outcome.job.title}, {outcome.cell.name}" if outcome.cell.name else outcome.job.title


def _print_all(
    outcomes: Sequence[Outcome],
    planned: int,
    runs: Path,
    as_json: bool,
    draw: bool,
    comparisons: Comparisons,
) -> None:
    """What several runs came to, their overview and comparisons; or everything as JSON."""
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.runs import rundir

    overview = None
    if draw and len(outcomes) > 1:
        from lvslab.report.overview import write_overview

        overview = write_overview(
            [each.run for each in outcomes], runs / f"{outcomes[0].run.name[:15]}-overview"
        )
    if as_json:
        results = []
        for each in outcomes:
            finished = rundir.load(each.run)
            results += [
                {
                    "name": in_cell(each.cell, result.name),
                    "verdict": result.verdict,
                    "reason": result.reason,
                    "evidence": list(result.evidence),
                }
                for result in finished.results
            ]
        first = outcomes[0]
        print_json(
            {
                "run": str(first.run),
                "report": str(first.report) if first.report else None,
                "runs": [
                    {
                        "scenario": each.job.scenario.name,
                        "mode": each.job.mode,
                        **({"cell": each.cell.name} if each.cell.name else {}),
                        "run": str(each.run),
                        "report": str(each.report) if each.report else None,
                        "exit_code": int(each.code),
                        "error": each.error,
                    }
                    for each in outcomes
                ],
                "overview": str(overview.html) if overview else None,
                **comparisons.as_json(),
                "results": results,
            }
        )
    elif len(outcomes) > 1 or planned > 1:
        cells = any(each.cell.name for each in outcomes)
        print_table(
            ("scenario", "mode", *(["cell"] if cells else []), "verdict", "run"),
            [
                (
                    each.job.scenario.name,
                    each.job.mode,
                    *([each.cell.name] if cells else []),
                    verdict_of(each.code),
                    str(each.run),
                )
                for each in outcomes
            ],
        )
        lines = (
            [""]
            if len(outcomes) == planned
            else ["", f"{planned - len(outcomes)} not run; --keep-going goes on after a failure"]
        )
        print_lines([*lines, *([f"overview: {overview.html}"] if overview else [])])
    if not as_json:
        comparisons.show()
