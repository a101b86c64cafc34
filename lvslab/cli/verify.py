"""`lvslab verify`: modes, and the conformance suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lvslab.cli.common import (
    DRY_RUN,
    JSON,
    RUNS,
    SIZE,
    TOPOLOGY,
    WITHOUT,
    check_lab,
    in_sandbox,
    print_plan,
)
from lvslab.cli.turns import BASELINE, KERNELS, cell_lines, cells_of, kernels_of
from lvslab.cli.verified import Verified, show_suite, verify_cells, verify_modes
from lvslab.cli.virtual import kernel_names, kernels_in_virtual_time
from lvslab.errors import UsageError
from lvslab.events import Listener
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from lvslab.kernels.needs import Kernels
    from lvslab.plan.spec import LabSpec
    from lvslab.scenario.cells import Cell


@click.command(short_help="Prove what forwarding modes, or all of IPVS, do to packets.")
@click.argument("modes", nargs=-1, metavar="[MODE]...")
@TOPOLOGY
@SIZE
@click.option(
    "--scheduler",
    default="rr",
    show_default=True,
    metavar="NAME",
    help="Scheduler of the virtual services, by its name in ipvsadm: wrr, wlc, mh, …",
)
@KERNELS
@WITHOUT
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SYSCTL=VALUE",
    help="Set a sysctl of the director; repeatable. Several values of one sysctl take turns and are compared.",  # noqa: E501
)
@click.option("--repeat", type=click.IntRange(1), default=1, metavar="N", help="Verify N times.")
@BASELINE
@click.option(
    "--ladder/--no-ladder",
    default=None,
    help="Print each mode's packet path; by default when one mode is verified.",
)
@click.option("--full", is_flag=True, help="Run the conformance suite: every IPVS feature, packet by packet.")
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN",
    help="Checks of the suite by name, such as 'scheduler:*'; repeatable.",
)
@click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    help="Checks of the suite by tag; repeatable. See: lvslab list --checks.",
)
@click.option(
    "--profile",
    type=click.Choice(["kernel-selftest", "timers"]),
    help=(
        "Other checks than the suite's. kernel-selftest: the Linux kernel's own of IPVS, case by case;"
        " timers: every timer of IPVS to the jiffy, in virtual time."
    ),
)
@RUNS
@JSON
@DRY_RUN
def verify(
    modes: tuple[str, ...],
    topology: str | None,
    clients: int,
    servers: int,
    scheduler: str,
    kernels: tuple[str, ...],
    without: tuple[str, ...],
    settings: tuple[str, ...],
    repeat: int,
    baseline: str | None,
    ladder: bool | None,
    full: bool,
    only: tuple[str, ...],
    tags: tuple[str, ...],
    profile: str | None,
    runs: Path,
    as_json: bool,
    dry_run: bool,
) -> int:
    """Prove what forwarding modes do: build a lab for each MODE, send test flows, judge every
    captured packet.

    MODE is a forwarding mode; `lvslab list` shows them. All are proven if none is given.
    With --full (or --only, --tag) every feature of IPVS is checked instead, packet by packet, in
    one director; `lvslab list --checks` shows what. Several kernels or values of a sysctl take
    turns and are compared with the first; a regression is exit code 1.
    """
    from lvslab.modes import MODES, mode_named
    from lvslab.plan.make import make_plan
    from lvslab.plan.spec import LabSpec
    from lvslab.scenario.jobs import read_settings

    read, _ = read_settings(settings)
    if read.parameters:
        raise UsageError(
            f"--set {next(iter(read.parameters))}: give a sysctl with its dots, such as"
            " net.ipv4.vs.conn_reuse_mode=0"
        )
    if full or only or tags or profile:
        if modes or without or topology:
            raise UsageError(
                "verify: --full, --only, --tag and --profile take neither modes nor --topology nor --without"
            )
        if profile == "kernel-selftest" and (only or tags):
            raise UsageError(
                "verify: --profile kernel-selftest has three cases, and takes no --only and --tag"
            )
        if profile == "timers":
            if full:
                raise UsageError("verify: --full and --profile timers are two suites; choose one")
            kernels = kernel_names(kernels)
        cells = cells_of(kernels, read)
        return _conformance(only, tags, profile, cells, repeat, baseline, runs, as_json, dry_run)

    chosen = [mode_named(mode) for mode in dict.fromkeys(modes)] or list(MODES.values())
    cells = cells_of(kernels, read)

    def labs(cell: Cell) -> list[LabSpec]:
        return [
            LabSpec.of(
                mode,
                topology=topology,
                clients=clients,
                servers=servers,
                scheduler=scheduler,
                without=without,
                sysctls=cell.sysctls,
                kernels=cell.kernels,
            )
            for mode in chosen
        ]

    for cell in cells:
        for lab in labs(cell):
            check_lab(lab)
    parameters = {
        "clients": clients,
        "servers": servers,
        "scheduler": scheduler,
        "topology": topology,
        "without": list(without),
    }

    def verify_cell(cell: Cell, machine: Kernels, place: Path, listener: Listener) -> Verified:
        return verify_modes(labs(cell), machine, place, listener, ladder, {**parameters, **cell.sysctls})

    def work() -> int:
        machine = kernels_of(
            [need for mode in chosen for needs in mode.needs.values() for need in needs], cells
        )
        if dry_run:
            _print_cells(cells, repeat)
            for cell in cells:
                for lab in labs(cell):
                    print_plan(make_plan(lab, machine))
            return ExitCode.OK
        return verify_cells(verify_cell, cells, repeat, machine, runs, as_json, baseline)

    return in_sandbox(work)


def _conformance(
    only: tuple[str, ...],
    tags: tuple[str, ...],
    profile: str | None,
    cells: Sequence[Cell],
    repeat: int,
    baseline: str | None,
    runs: Path,
    as_json: bool,
    dry_run: bool,
) -> int:
    from lvslab.conformance.check import all_checks, select, timer_checks

    timers = profile == "timers"
    selftest = bool(profile) and not timers
    checks = [] if selftest else select(timer_checks() if timers else all_checks(), only, tags)
    if dry_run:
        from lvslab.cli.terminal import print_lines

        _print_cells(cells, repeat)
        print_lines([f"{each.name}: {each.expects}" for each in checks] or [f"profile {profile}"])
        return ExitCode.OK

    def verify_cell(cell: Cell, machine: Kernels, place: Path, listener: Listener) -> Verified:
        from lvslab.conformance.suite import run_suite

        selected = {"only": only, "tags": tags}
        suite = run_suite(checks, profile, machine, listener, place, cell.kernels, cell.sysctls, selected)
        return Verified(suite.run, suite.code, suite.results, suite.headline, lambda: show_suite(suite))

    def work() -> int:
        from lvslab.kernels.kinds import CHEAPEST
        from lvslab.kernels.needs import Need

        if timers:
            machine = kernels_in_virtual_time([kernel for cell in cells for kernel in cell.kernels])
        else:
            machine = kernels_of(tuple(Need), cells, CHEAPEST.kind)
        return verify_cells(verify_cell, cells, repeat, machine, runs, as_json, baseline)

    return in_sandbox(work)


def _print_cells(cells: Sequence[Cell], repeat: int) -> None:
    from lvslab.cli.terminal import print_lines

    if len(cells) > 1:
        print_lines([*cell_lines(cells, repeat), ""])
