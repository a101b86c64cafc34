"""`lvslab shell`: Mininet's command line on a lab."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from lvslab.catalog.choice import kernels_for
from lvslab.cli.common import (
    DRY_RUN,
    KERNEL,
    SIZE,
    WITHOUT,
    check_lab,
    in_sandbox,
    print_plan,
)
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode


@click.command(short_help="Bring up a lab and open Mininet's command line on it.")
@click.argument("topology")
@click.option(
    "--mode", metavar="MODE", help="Forwarding mode; by default the one the topology is named after."
)
@SIZE
@KERNEL
@WITHOUT
@click.option(
    "--script",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Run Mininet commands from a file.",
)
@DRY_RUN
def shell(
    topology: str,
    mode: str | None,
    clients: int,
    servers: int,
    kernel: str | None,
    without: tuple[str, ...],
    script: Path | None,
    dry_run: bool,
) -> int:
    """Bring up a lab and open Mininet's command line on it: `lvs ipvsadm -Ln`, `c1 curl 10.0.0.10`,
    `help`, `exit`.

    TOPOLOGY is a shipped topology or a file. Commands may also come from standard input or
    --script.
    """
    from lvslab.modes import MODES
    from lvslab.plan.files import shipped_files
    from lvslab.plan.spec import LabSpec
    from lvslab.plan.topology import find_file

    stem = find_file(topology, shipped_files("topologies")).stem
    if mode is None and stem not in MODES:
        raise UsageError(f"topology '{topology}': no forwarding mode has its name; choose one with --mode")
    spec = LabSpec.of(
        mode or stem,
        topology=topology,
        clients=clients,
        servers=servers,
        kernels=[kernel] if kernel else [],
        without=without,
    )
    check_lab(spec)

    def work() -> int:
        import tempfile

        from lvslab.cli.terminal import Progress, print_error
        from lvslab.host.sandbox import PRIVATE_DIRECTORY
        from lvslab.lab.lab import Lab
        from lvslab.plan.make import make_plan

        needs = [need for needs in spec.mode.needs.values() for need in needs]
        plan = make_plan(spec, kernels_for(needs, kernel))
        if dry_run:
            print_plan(plan)
            return ExitCode.OK
        with ExitStack() as stack:
            logs = stack.enter_context(tempfile.TemporaryDirectory(dir=PRIVATE_DIRECTORY))
            with Progress() as progress:
                lab = stack.enter_context(Lab(plan, Path(logs), progress))
            from mininet.log import lg, setLogLevel

            from lvslab.cli.mininet_line import CommandLine

            setLogLevel("output")  # what commands print
            for handler in lg.handlers:
                handler.setStream(sys.stdout)
            if script is None and sys.stdin.isatty():
                nodes = ", ".join(f"{node.name} ({node.role}, {node.ip})" for node in plan.nodes)
                print_error(
                    f"{plan.mode.title}: virtual address {plan.addresses.vip}; {nodes}; type help or exit"
                )
            CommandLine(lab.net, script=str(script) if script else None)
        return ExitCode.OK

    return in_sandbox(work)
