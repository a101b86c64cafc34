"""`lvslab bench`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.cli.common import DRY_RUN, JSON, RUNS
from lvslab.cli.turns import BASELINE
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from lvslab.bench.measurements import Measurement
    from lvslab.bench.runner import Subject


@click.command(short_help="Count the instructions that a kernel spends on a packet.")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="NAME",
    help="A stock kernel: an installed release, a directory with vmlinuz and modules/, or one of `lvslab kernels`; repeatable.",  # noqa: E501
)
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Measurements by name, such as 'mode:nat:*'; repeatable."
)
@click.option("--full", is_flag=True, help="Everything, not only what takes two or three minutes a kernel.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 99),
    default=3,
    show_default=True,
    help="Boots of every kernel, each with a seed of its own.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SYSCTL=VALUE",
    help="Set a sysctl of the director; repeatable.",
)
@click.option("--list", "list_", is_flag=True, help="List the measurements and start nothing.")
@click.option("--report/--no-report", default=True, show_default=True, help="Draw the report afterwards.")
@BASELINE
@RUNS
@JSON
@DRY_RUN
def bench(
    kernels: tuple[str, ...],
    only: tuple[str, ...],
    full: bool,
    seeds: int,
    settings: tuple[str, ...],
    list_: bool,
    report: bool,
    baseline: str | None,
    runs: Path,
    as_json: bool,
    dry_run: bool,
) -> int:
    """Count the instructions that a kernel spends on a packet, in virtual time: the same figure on
    every machine, however busy.

    Boots stock kernels under QEMU (no KVM, no privileges) and measures routing and every forwarding
    mode. With several kernels the change from the first to each other is shown. Every packet is
    checked to have arrived as its mode demands; otherwise there is no figure.
    """
    from lvslab.bench.kernel import find
    from lvslab.bench.machine import require_qemu
    from lvslab.bench.measurements import MATRIX, select
    from lvslab.bench.runner import subjects
    from lvslab.bench.sysctls import require_known
    from lvslab.scenario.jobs import read_settings

    if list_:
        return _print_list(select(only, full=True) if only else MATRIX, as_json)
    read, _ = read_settings(settings)
    if read.parameters:
        raise UsageError(
            f"--set {next(iter(read.parameters))}: give a sysctl with its dots, such as"
            " net.ipv4.vs.conntrack=1"
        )
    chosen = select(only, full)
    require_qemu()
    found = subjects([find(name) for name in kernels] or [find(None)], chosen)
    for subject in found:
        modules = [name for measurement in subject.measurements for name in measurement.modules]
        require_known(subject.kernel, modules, read.sysctls)
    if dry_run:
        return _print_plan(found, seeds)
    try:
        return _measure(found, seeds, read.sysctls, only, report, baseline, runs, as_json)
    except KeyboardInterrupt:
        from lvslab.cli.terminal import print_error

        print_error("interrupted; no kernel is left running, what was measured so far is kept")
        return ExitCode.INTERRUPTED


def _measure(
    found: Sequence[Subject],
    seeds: int,
    sysctls: Any,
    only: Sequence[str],
    draw: bool,
    baseline: str | None,
    runs: Path,
    as_json: bool,
) -> int:
    from lvslab.bench import machine, runner
    from lvslab.cli.finished import settle
    from lvslab.cli.terminal import Progress, print_error
    from lvslab.exitcodes import gravest
    from lvslab.host import provenance
    from lvslab.modes import mode_records
    from lvslab.runs.rundir import load
    from lvslab.runs.writer import RunWriter

    parameters = {
        "kernels": [each.label for each in found],
        "seeds": seeds,
        "sysctls": dict(sysctls),
        "only": list(only),
    }
    tools = {"qemu": machine.version(), "kernel arguments": machine.KERNEL_ARGUMENTS}
    with RunWriter(
        runs,
        "bench",
        kind="bench",
        command=["lvslab", *sys.argv[1:]],
        parameters=parameters,
        host=provenance.host(),
        tools=tools,
        forwarding_modes=mode_records(),
    ) as run:
        for each in found:
            run.add_lab(runner.lab_record(each))
        with Progress() as progress:
            problems = runner.measure(found, seeds, sysctls, run, progress)
        run.update(tools=provenance.tools())
    drawn = None
    if draw:
        from lvslab.report.page import write_report

        drawn = write_report(run.path)
    comparisons = settle(runs, (), baseline, runs, [run.path])
    _print_run(load(run.path), drawn.html if drawn else None, as_json, comparisons.as_json())
    if not as_json:
        comparisons.show()
    for problem in problems:
        print_error(problem)
    return gravest([ExitCode.FAILED if problems else ExitCode.OK, comparisons.code])


def _print_run(run: Any, html: Path | None, as_json: bool, more: Mapping[str, Any]) -> None:
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.report.costs import as_data, tables

    if as_json:
        print_json(as_data(run) | {"report": str(html) if html else None} | dict(more))
        return
    for table in tables(run):
        print_table(table.headers, table.rows, title=table.title)
        print_lines([""])
    skipped = [f"SKIP {each.name}: {each.reason}" for each in run.results if each.verdict == "skip"]
    print_lines(
        [*skipped, *([""] if skipped else []), f"run: {run.path}", *([f"report: {html}"] if html else [])]
    )


def _print_plan(found: Sequence[Subject], seeds: int) -> int:
    from lvslab.bench import runner
    from lvslab.cli.terminal import print_lines

    for each in found:
        count = len(each.measurements)
        print_lines(
            [
                f"{each.label}: {each.kernel.stock.image}, {count} measurements in each of {seeds} boots"
                " under qemu-system-x86_64"
            ]
        )
        print_lines([f"  {name}" for measurement in each.measurements for name in measurement.figures])
        print_lines([f"  SKIP {name}: {reason}" for name, reason in each.skipped.items()])
    print_lines([f"{len(found) * seeds} boots, {runner.workers()} at a time"])
    return ExitCode.OK


def _print_list(chosen: Sequence[Measurement], as_json: bool) -> int:
    from lvslab.bench.measurements import NOT_MEASURED
    from lvslab.cli.terminal import print_json, print_lines, print_table

    if as_json:
        print_json(
            {
                "measurements": [
                    {"name": name, "over": each.baseline, "meaning": each.meaning, "default": each.quick}
                    for each in chosen
                    for name in each.figures
                ],
                "not_measured": dict(NOT_MEASURED),
            }
        )
        return ExitCode.OK
    rows = [
        (name, each.meaning, "yes" if each.quick else "--full") for each in chosen for name in each.figures
    ]
    print_table(("figure", "what is measured", "by default"), rows)
    print_lines(["", *(f"{name}: not measured: {why}" for name, why in NOT_MEASURED.items())])
    return ExitCode.OK
