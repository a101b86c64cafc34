"""`lvslab verify`: modes, and the conformance suite."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.cli.common import (
    DRY_RUN,
    JSON,
    KERNEL,
    RUNS,
    SIZE,
    TOPOLOGY,
    WITHOUT,
    check_kernel,
    check_scheduler,
    in_sandbox,
    kernels_for,
    planner,
    print_plan,
)
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from lvslab.plan import Kernels


@click.command()
@click.argument("modes", nargs=-1, metavar="[MODE]...")
@TOPOLOGY
@SIZE
@click.option("--scheduler", default="rr", show_default=True, help="Scheduler of the virtual services.")
@KERNEL
@WITHOUT
@click.option("--set", "settings", multiple=True, metavar="SYSCTL=VALUE", help="Set a sysctl of the director; repeatable.")
@click.option("--ladder/--no-ladder", default=None, help="Print each mode's packet path; by default when one mode is verified.")
@click.option("--full", is_flag=True, help="Run the conformance suite: every IPVS feature, packet by packet.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Checks of the suite by name, such as 'scheduler:*'; repeatable.")
@click.option("--tag", "tags", multiple=True, help="Checks of the suite by tag; repeatable. See: lvslab list --checks.")
@click.option("--profile", type=click.Choice(["kernel-selftest"]), help="The Linux kernel's own selftest of IPVS, case by case.")
@RUNS
@JSON
@DRY_RUN
def verify(
    modes: tuple[str, ...],
    topology: str | None,
    clients: int,
    servers: int,
    scheduler: str,
    kernel: str | None,
    without: tuple[str, ...],
    settings: tuple[str, ...],
    ladder: bool | None,
    full: bool,
    only: tuple[str, ...],
    tags: tuple[str, ...],
    profile: str | None,
    runs: Path,
    as_json: bool,
    dry_run: bool,
) -> int:
    """Prove what forwarding modes do: build a lab for each MODE, send test flows, judge every captured packet.

    MODE is nat, dr, tun, fullnat or synproxy; all five if none is given. `lvslab list` shows them. With --full (or --only, --tag) every
    feature of IPVS is checked instead, packet by packet, in one director; `lvslab list --checks` shows what.
    """
    from lvslab.jobs import read_settings
    from lvslab.modes import MODES, mode_named

    read, _ = read_settings(settings)
    if read.parameters:
        raise UsageError(
            f"--set {next(iter(read.parameters))}: give a sysctl with its dots, such as net.ipv4.vs.conn_reuse_mode=0"
        )
    if full or only or tags or profile:
        if modes or without or topology:
            raise UsageError("verify: --full, --only, --tag and --profile take neither modes nor --topology nor --without")
        return _conformance(only, tags, profile, kernel, read.sysctls, runs, as_json, dry_run)

    chosen = [mode_named(mode) for mode in dict.fromkeys(modes)] or list(MODES.values())
    check_scheduler(scheduler)
    plans = planner(topology, clients, servers, kernel, scheduler=scheduler, without=without, sysctls=read.sysctls)
    for mode in chosen:
        plans(mode, None)  # everything that can be wrong without looking at the machine is found before anything starts

    def work() -> int:
        kernels = kernels_for([need for mode in chosen for needs in mode.needs.values() for need in needs], kernel)
        if dry_run:
            for mode in chosen:
                print_plan(plans(mode, kernels))
            return ExitCode.OK
        return _verify([(mode, lambda mode=mode: plans(mode, kernels)) for mode in chosen], kernels, runs, as_json, ladder)  # type: ignore[misc]

    return in_sandbox(work)


def _verify(
    labs: Sequence[tuple[Any, Callable[[], Any]]], kernels: Kernels, runs: Path, as_json: bool, show_ladder: bool | None
) -> int:
    from lvslab.errors import CannotError
    from lvslab.events import Event
    from lvslab.experiment import Experiment, run_directory_name
    from lvslab.measure import ladder, provenance
    from lvslab.measure.rundir import RunWriter
    from lvslab.terminal import Progress, print_json, print_lines, print_table

    name = run_directory_name([str(mode.name) for mode, _ in labs])
    rows, results, shown = [], [], []
    with RunWriter(runs, name, kind="verify", command=["lvslab", *sys.argv[1:]], host=provenance.host()) as run:
        with Progress() as progress:
            experiment = Experiment(run, kernels, progress)
            for mode, planned in labs:
                try:
                    plan = planned()
                except CannotError as reason:
                    result = {"name": str(mode.name), "verdict": "skip", "reason": str(reason), "evidence": [], "checks": []}
                    run.add_result(result)
                    experiment.tell(Event(str(mode.name), "verdict", f"SKIP: {reason}"))
                    results.append(result)
                    rows.append((mode.title, "SKIP", "", str(reason)))
                    continue
                with experiment.planned_lab(plan) as lab:
                    outcome = experiment.verify(lab)
                results.append(outcome.result(plan.name))
                director = kernels.facts[plan.director.kernel]
                rows.append((mode.title, outcome.verdict.upper(), f"{director.kind} {director.release}", outcome.reason))
                roles = {node.name: node.role for node in plan.nodes}
                failing = next((flow for flow in outcome.flows.values() if flow.wrong), None)
                if failing:
                    shown += ["", f"{mode.title}, first wrong packet:", *outcome.wrong, "", *ladder.text(failing, roles)]
                elif (show_ladder or (show_ladder is None and len(labs) == 1)) and outcome.flows:
                    shown += [
                        "",
                        f"{mode.title}: {mode.contract.in_words}",
                        *ladder.text(next(iter(outcome.flows.values())), roles),
                    ]
        run.update(tools=provenance.tools())
    if as_json:
        print_json({"run": str(run.path), "results": results})
    else:
        print_table(("mode", "verdict", "director", "what was seen"), rows)
        print_lines([*shown, "", f"run: {run.path}", f"report: lvslab report {run.path}"])
    verdicts = {str(result["verdict"]) for result in results}
    return ExitCode.FAILED if "fail" in verdicts else ExitCode.CANNOT if "skip" in verdicts else ExitCode.OK


def _conformance(
    only: tuple[str, ...],
    tags: tuple[str, ...],
    profile: str | None,
    kernel: str | None,
    sysctls: Mapping[str, str],
    runs: Path,
    as_json: bool,
    dry_run: bool,
) -> int:
    from lvslab.conformance.check import all_checks, select

    check_kernel(kernel)
    checks = [] if profile else select(all_checks(), only, tags)
    if dry_run:
        from lvslab.terminal import print_lines

        print_lines([f"{each.name}: {each.expects}" for each in checks] or [f"profile {profile}"])
        return ExitCode.OK

    def work() -> int:
        from lvslab.conformance.suite import run_suite
        from lvslab.kernels.needs import Need
        from lvslab.terminal import Progress, print_json, print_lines, print_table

        kernels = kernels_for(tuple(Need), kernel)
        with Progress() as progress:
            suite = run_suite(checks, profile, kernels, progress, runs, [kernel] if kernel else [], sysctls)
        if as_json:
            print_json({"run": str(suite.run), "results": suite.results})
        else:
            bad = [each for each in suite.results if each["verdict"] == "fail"]
            for each in bad:
                print_lines([f"FAIL {each['name']}: {each['reason']}", *(f"     {line}" for line in each.get("detail", ())), ""])
            skipped = [(each["name"], "SKIP", each["reason"]) for each in suite.results if each["verdict"] == "skip"]
            if skipped:
                print_table(("check", "verdict", "reason"), skipped)
                print_lines([""])
            print_table(("subject", "passed", "failed", "skipped", "seconds"), suite.by_subject())
            print_lines(["", suite.headline, f"run: {suite.run} (results.txt, junit.xml, results.tap)"])
        return suite.code

    return in_sandbox(work)
