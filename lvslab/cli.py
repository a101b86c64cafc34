"""The command line: parse, call, print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab import __version__
from lvslab.errors import LvslabError, UsageError
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from lvslab.plan import Kernels, LabPlan

_EXIT_CODES = (
    "Exit codes: 0 all held, 1 an expectation failed, 2 wrong input, 4 this machine cannot, 69 the lab broke, 130 interrupted."
)


def main() -> None:
    """Entry point of the `lvslab` command."""
    try:
        code = _group(standalone_mode=False, prog_name="lvslab")
    except click.exceptions.Abort:
        code = ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as help_asked:
        help_asked.show()
        code = ExitCode.USAGE
    except click.ClickException as problem:
        from lvslab.terminal import print_error

        print_error(f"{problem.format_message()}; see: lvslab --help")
        code = ExitCode.USAGE
    except LvslabError as problem:
        code = _report(problem)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        code = ExitCode.OK
    sys.exit(int(code or 0))


def _report(problem: LvslabError) -> int:
    from lvslab.terminal import print_error

    print_error(str(problem))
    return int(problem.exit_code)


def _in_sandbox(work: Callable[[], int]) -> int:
    """Run the part of a command that starts things; its errors become messages and exit codes in there already."""
    from lvslab.network import sandbox

    def guarded() -> int:
        try:
            return work()
        except LvslabError as problem:
            return _report(problem)
        except KeyboardInterrupt:
            from lvslab.terminal import print_error

            print_error("interrupted; the lab is gone, what was measured so far is kept")
            return ExitCode.INTERRUPTED

    return sandbox.run(guarded)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}, epilog=_EXIT_CODES)
@click.version_option(__version__, prog_name="lvslab")
def _group() -> None:
    """Laboratory for Linux Virtual Server (LVS/IPVS): builds networks on real IPVS kernels, proves what every forwarding mode does to
    every packet, measures and compares. Needs no reboot, no KVM and no root, and leaves nothing behind."""


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Print what would be started where, and start nothing.")
_RUNS = click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where run directories go."
)
_KERNEL = click.option(
    "--kernel",
    metavar="NAME",
    help="Kernel of the directors: host, uml, or one of `lvslab kernels`; by default the cheapest that has what the mode needs.",
)
_SIZE = _options(
    click.option("--clients", type=int, default=1, show_default=True, help="Number of clients."),
    click.option("--servers", type=int, default=2, show_default=True, help="Number of real servers."),
)
_TOPOLOGY = click.option("--topology", help="Shipped topology or file, instead of the one made for the mode.")
_WITHOUT = click.option(
    "--without", multiple=True, metavar="STEP", help="Leave out a set-up step, to see what it is for; repeatable."
)


# -- check ---------------------------------------------------------------------------------------------------------------------------


@_group.command()
@_JSON
def check(as_json: bool) -> int:
    """Say what this machine can run, each line found by trial, and how to get what is missing.

    Exit code 0 when all five modes can run, 4 when something they need is missing.
    """

    def work() -> int:
        from lvslab.check import check_machine
        from lvslab.terminal import print_json, print_table

        lines = list(check_machine())
        if as_json:
            print_json(
                {
                    "results": [
                        {"name": line.name, "verdict": line.verdict, "reason": line.finding, "evidence": [], "cure": line.cure}
                        for line in lines
                    ]
                }
            )
        else:
            print_table(("", "verdict", "found by trial"), [(line.name, line.verdict.upper(), line.finding) for line in lines])
            cures = [line for line in lines if line.cure]
            if cures:
                print_table(("", "to have it"), [(line.name, line.cure) for line in cures])
        return ExitCode.CANNOT if any(line.verdict == "fail" for line in lines) else ExitCode.OK

    return _in_sandbox(work)


# -- verify --------------------------------------------------------------------------------------------------------------------------


@_group.command()
@click.argument("modes", nargs=-1, metavar="[MODE]...")
@_TOPOLOGY
@_SIZE
@click.option("--scheduler", default="rr", show_default=True, help="Scheduler of the virtual services.")
@_KERNEL
@_WITHOUT
@click.option("--set", "settings", multiple=True, metavar="SYSCTL=VALUE", help="Set a sysctl of the director; repeatable.")
@click.option("--ladder/--no-ladder", default=None, help="Print each mode's packet path; by default when one mode is verified.")
@click.option("--full", is_flag=True, help="Run the conformance suite: every IPVS feature, packet by packet.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Checks of the suite by name, such as 'scheduler:*'; repeatable.")
@click.option("--tag", "tags", multiple=True, help="Checks of the suite by tag; repeatable. See: lvslab list --checks.")
@click.option("--profile", type=click.Choice(["kernel-selftest"]), help="The Linux kernel's own selftest of IPVS, case by case.")
@_RUNS
@_JSON
@_DRY_RUN
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
    _check_scheduler(scheduler)
    plans = _planner(topology, clients, servers, kernel, scheduler=scheduler, without=without, sysctls=read.sysctls)
    for mode in chosen:
        plans(mode, None)  # everything that can be wrong without looking at the machine is found before anything starts

    def work() -> int:
        kernels = _kernels([need for mode in chosen for needs in mode.needs.values() for need in needs], kernel)
        if dry_run:
            for mode in chosen:
                _print_plan(plans(mode, kernels))
            return ExitCode.OK
        return _verify([(mode, lambda mode=mode: plans(mode, kernels)) for mode in chosen], kernels, runs, as_json, ladder)  # type: ignore[misc]

    return _in_sandbox(work)


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

    _check_kernel(kernel)
    checks = [] if profile else select(all_checks(), only, tags)
    if dry_run:
        from lvslab.terminal import print_lines

        print_lines([f"{each.name}: {each.expects}" for each in checks] or [f"profile {profile}"])
        return ExitCode.OK

    def work() -> int:
        from lvslab.conformance.suite import run_suite
        from lvslab.kernels.needs import Need
        from lvslab.terminal import Progress, print_json, print_lines, print_table

        kernels = _kernels(tuple(Need), kernel)
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

    return _in_sandbox(work)


# -- run -----------------------------------------------------------------------------------------------------------------------------


@_group.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="SCENARIO... [--PARAMETER VALUE]...")
@click.option("--all", "all_", is_flag=True, help="Run every shipped scenario, each in all of its modes or in those of --mode.")
@click.option("--mode", "modes", multiple=True, metavar="MODE", help="Forwarding mode to run in; repeatable, or 'all'.")
@click.option("--repeat", type=int, metavar="N", help="Repeat every trial N times.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE",
    help="A parameter of the scenario, or, with dots in its name, a sysctl of the directors; repeatable.",
)  # fmt: skip
@click.option("--keep-going", is_flag=True, help="Go on with the other scenarios after one has failed or broken.")
@_KERNEL
@click.option("--report/--no-report", default=True, show_default=True, help="Draw the report afterwards.")
@_RUNS
@_JSON
@_DRY_RUN
def run(
    words: tuple[str, ...],
    all_: bool,
    modes: tuple[str, ...],
    repeat: int | None,
    settings: tuple[str, ...],
    keep_going: bool,
    kernel: str | None,
    report: bool,
    runs: Path,
    as_json: bool,
    dry_run: bool,
) -> int:
    """Run scenarios: shipped ones by name, your own by file name. `lvslab list` shows them with their parameters.

    A scenario's parameters are options of their own (--control mon,keepalived --sync no); lists are separated by commas. Every scenario
    leaves a run directory; several leave an overview of all.
    """
    from lvslab import scenario, shipped
    from lvslab.jobs import plan_jobs, read_settings
    from lvslab.modes import MODES, mode_named

    _check_kernel(kernel)
    read, names = read_settings(settings, words)
    files = shipped.shipped_files("scenarios")
    if all_ == bool(names):
        raise UsageError("run: name scenarios, or give --all; `lvslab list` shows them")
    asked = [str(mode_named(mode).name) for mode in (MODES if "all" in modes else modes)]
    chosen = [scenario.load(name, files) for name in (files if all_ else names)]
    jobs = plan_jobs(chosen, read, asked, repeat, every_mode=all_ or "all" in modes)
    if dry_run:
        from lvslab.terminal import print_lines

        for job in jobs:
            print_lines([f"{job.title}: {job.scenario.title}", f"  file {job.scenario.file}, expected {job.seconds:g} s"])
            print_lines([f"  {name}={value}" for name, value in job.values.items()])
        print_lines([f"  {name}={value} (sysctl of the directors)" for name, value in read.sysctls.items()])
        return ExitCode.OK

    def work() -> int:
        from lvslab.kernels.needs import Need
        from lvslab.running import overall, run_jobs
        from lvslab.terminal import Progress

        outcomes = []
        with Progress() as progress:
            ended = run_jobs(
                jobs,
                _kernels(tuple(Need), kernel),
                progress,
                runs,
                director_kernels=[kernel] if kernel else [],
                sysctls=read.sysctls,
                draw=report,
                keep_going=keep_going,
            )
            for outcome in ended:
                outcomes.append(outcome)
                if outcome.error:
                    progress.say(f"lvslab: {outcome.job.title}: {outcome.error}")
                if not as_json:
                    progress.pause()
                    _print_outcome(outcome)
                    progress.go_on()
        _print_all(outcomes, len(jobs), runs, as_json, draw=report)
        return overall(outcomes)

    return _in_sandbox(work)


def _print_outcome(outcome: Any) -> None:
    """Verdicts and figures of one finished run."""
    from lvslab.measure import rundir
    from lvslab.report import text
    from lvslab.terminal import print_lines, print_table

    finished = rundir.load(outcome.run)
    print_lines([outcome.job.scenario.title])
    print_table(("name", "verdict", "reason"), text.verdict_table(finished).rows)
    for table in (text.failover_table(finished), text.summary_table(finished)):
        if table.rows:
            print_lines([""])
            print_table(table.headers, table.rows)
    timeline = outcome.run / "figures" / "timeline.png"
    shown = [f"report: {outcome.report}"] if outcome.report else []
    print_lines(["", f"run: {outcome.run}", *shown, *([f"failover figure: {timeline}"] if timeline.exists() else []), ""])


def _print_all(outcomes: Sequence[Any], planned: int, runs: Path, as_json: bool, draw: bool) -> None:
    """What several runs came to, and their overview; or everything as JSON."""
    from lvslab.measure import rundir
    from lvslab.terminal import print_json, print_lines, print_table

    overview = None
    if draw and len(outcomes) > 1:
        from lvslab.report.matrix import write_matrix

        overview = write_matrix([each.run for each in outcomes], runs / f"{outcomes[0].run.name[:15]}-overview")
    if as_json:
        results = []
        for each in outcomes:
            finished = rundir.load(each.run)
            results += [
                {"name": result.name, "verdict": result.verdict, "reason": result.reason, "evidence": list(result.evidence)}
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
                        "run": str(each.run),
                        "report": str(each.report) if each.report else None,
                        "exit_code": int(each.code),
                        "error": each.error,
                    }
                    for each in outcomes
                ],
                "overview": str(overview.html) if overview else None,
                "results": results,
            }
        )
    elif len(outcomes) > 1 or planned > 1:
        words = {ExitCode.OK: "PASS", ExitCode.CANNOT: "SKIP", ExitCode.FAILED: "FAIL"}
        print_table(
            ("scenario", "mode", "verdict", "run"),
            [(each.job.scenario.name, each.job.mode, words.get(each.code, "BROKE"), str(each.run)) for each in outcomes],
        )
        lines = (
            [""] if len(outcomes) == planned else ["", f"{planned - len(outcomes)} not run; --keep-going goes on after a failure"]
        )
        print_lines([*lines, *([f"overview: {overview.html}"] if overview else [])])


# -- report, list, shell -------------------------------------------------------------------------------------------------------------


@_group.command()
@click.argument("directories", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@_JSON
def report(directories: tuple[Path, ...], as_json: bool) -> int:
    """Draw the report of run directories: one self-contained HTML page and the figures as PNG, from what the directory holds."""
    from lvslab.report.page import write_report
    from lvslab.terminal import print_json, print_lines

    written = [write_report(directory) for directory in directories]
    if as_json:
        print_json(
            {"reports": [{"html": str(each.html), "figures": [str(figure) for figure in each.figures]} for each in written]}
        )
    else:
        print_lines([f"report: {each.html} ({len(each.figures)} figures beside it)" for each in written])
    return ExitCode.OK


@_group.command("list")
@click.option("--checks", is_flag=True, help="List the checks of the conformance suite with their expectations.")
@_JSON
def list_(checks: bool, as_json: bool) -> int:
    """List forwarding modes, topologies and scenarios, or the checks of the conformance suite."""
    if checks:
        return _list_checks(as_json)
    from lvslab import scenario, shipped
    from lvslab.modes import MODES
    from lvslab.terminal import print_json, print_lines, print_table
    from lvslab.topology import load_module

    scenarios = [scenario.load(name, shipped.shipped_files("scenarios")) for name in shipped.shipped_files("scenarios")]
    topologies = {
        name: (load_module(path).__doc__ or "").splitlines()[0] for name, path in shipped.shipped_files("topologies").items()
    }
    if as_json:
        print_json(
            {
                "modes": [
                    {"name": str(mode.name), "summary": mode.summary, "topology": mode.topology} for mode in MODES.values()
                ],
                "topologies": [{"name": name, "summary": summary} for name, summary in topologies.items()],
                "scenarios": [
                    {
                        "name": each.name,
                        "title": each.title,
                        "teaches": each.teaches,
                        "modes": list(each.modes),
                        "seconds": each.seconds,
                        "parameters": dict(each.parameters),
                    }
                    for each in scenarios
                ],
            }
        )
        return ExitCode.OK
    print_table(("mode", "what it does"), [(str(mode.name), mode.summary) for mode in MODES.values()])
    print_lines([""])
    print_table(("topology", "network"), list(topologies.items()))
    print_lines([""])
    print_table(
        ("scenario", "title", "what it teaches", "modes", "takes"),
        [(each.name, each.title, each.teaches, ", ".join(each.modes), f"{each.seconds:g} s") for each in scenarios],
    )
    print_lines([""])
    print_table(
        ("scenario", "parameters with their defaults"),
        [
            (each.name, " ".join(f"--{name} {scenario.shown(value)}" for name, value in each.parameters.items()))
            for each in scenarios
        ],
    )
    return ExitCode.OK


def _list_checks(as_json: bool) -> int:
    from lvslab.conformance.check import all_checks
    from lvslab.terminal import print_json, print_lines, print_table

    found = all_checks()
    if as_json:
        print_json({"checks": [{"name": each.name, "expects": each.expects, "tags": list(each.tags)} for each in found]})
        return ExitCode.OK
    print_table(("check", "what it expects", "tags"), [(each.name, each.expects, " ".join(each.tags)) for each in found])
    print_lines(["", f"{len(found)} checks; run them: lvslab verify --full, --only 'SUBJECT:*', --tag TAG"])
    return ExitCode.OK


@_group.command()
@click.argument("topology")
@click.option("--mode", help="Forwarding mode; by default the one the topology is named after.")
@_SIZE
@_KERNEL
@_WITHOUT
@click.option("--script", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Run Mininet commands from a file.")
@_DRY_RUN
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
    """Bring up a lab and open Mininet's command line on it: `lvs ipvsadm -Ln`, `c1 curl 10.0.0.10`, `help`, `exit`.

    TOPOLOGY is a shipped topology or a file. Commands may also come from standard input or --script.
    """
    from lvslab.modes import mode_named

    chosen = mode_named(mode or Path(topology).stem)
    plans = _planner(topology, clients, servers, kernel, without=without)
    plans(chosen, None)

    def work() -> int:
        import tempfile

        from lvslab.lab import Lab
        from lvslab.network.sandbox import PRIVATE_DIRECTORY
        from lvslab.terminal import Progress, print_error

        plan = plans(chosen, _kernels([need for needs in chosen.needs.values() for need in needs], kernel))
        if dry_run:
            _print_plan(plan)
            return ExitCode.OK
        with tempfile.TemporaryDirectory(dir=PRIVATE_DIRECTORY) as logs:
            with Progress() as progress:
                lab = Lab(plan, Path(logs), progress).__enter__()
            try:
                from mininet.cli import CLI
                from mininet.log import lg, setLogLevel

                setLogLevel("output")  # what commands print
                for handler in lg.handlers:
                    handler.setStream(sys.stdout)
                if script is None and sys.stdin.isatty():
                    nodes = ", ".join(f"{node.name} ({node.role}, {node.ip})" for node in plan.nodes)
                    print_error(f"{chosen.title}: virtual address {plan.addresses.vip}; {nodes}; type help or exit")
                CLI(lab.net, script=str(script) if script else None)
            finally:
                lab.__exit__(None, None, None)
        return ExitCode.OK

    return _in_sandbox(work)


# -- kernels -------------------------------------------------------------------------------------------------------------------------


@_group.group(invoke_without_command=True)
@click.pass_context
@_JSON
def kernels(context: click.Context, as_json: bool) -> int:
    """List the kernels that are here; `kernels fetch` gets others. Each name can be given to --kernel."""
    if context.invoked_subcommand:
        return ExitCode.OK
    from lvslab.terminal import print_json, print_table

    def work() -> int:
        from lvslab.kernels import catalog, probe

        here = probe.kernels_here()
        rows = [(str(name), each.release, sorted(each.met), dict(each.unmet)) for name, each in here.facts.items()]
        rows += [(each.full_name, each.release, sorted(each.facts.met), dict(each.facts.unmet)) for each in catalog.entries()]
        if as_json:
            print_json(
                {
                    "kernels": [
                        {"name": name, "release": release, "has": has, "lacks": {str(need): why for need, why in lacks.items()}}
                        for name, release, has, lacks in rows
                    ]
                }
            )
        else:
            print_table(
                ("kernel", "release", "has", "lacks"),
                [(name, release, ", ".join(has), ", ".join(map(str, lacks))) for name, release, has, lacks in rows],
            )
        return ExitCode.OK

    return _in_sandbox(work)


@kernels.command("fetch")
@click.argument("specs", nargs=-1, required=True, metavar="debian/SUITE[:uml][=VERSION]...")
def kernels_fetch(specs: tuple[str, ...]) -> int:
    """Get User-Mode Linux kernels of other Debian suites through apt's own tools: signatures checked, nothing installed, tried by a boot.

    For example: debian/trixie:uml, debian/sid:uml.
    """
    from lvslab.check import require_programs
    from lvslab.kernels.catalog import Spec
    from lvslab.kernels.fetch import fetch
    from lvslab.terminal import Progress, print_lines

    for spec in specs:
        Spec.parse(spec)
    require_programs()
    with Progress() as progress:
        fetched = [fetch(spec, tell=progress) for spec in specs]
    print_lines(
        [
            f"{each.full_name}: {each.release}, ready after {each.boot_seconds:.1f} s; use it: --kernel {each.name}"
            for each in fetched
        ]
    )
    return ExitCode.OK


# -- shared --------------------------------------------------------------------------------------------------------------------------


def _check_kernel(kernel: str | None) -> None:
    """Refuse a kernel that is not here, before anything starts."""
    from lvslab.kernels.needs import KernelKind

    if kernel is not None and kernel not in set(KernelKind):
        from lvslab.kernels import catalog

        catalog.find_entry(kernel)


def _kernels(needs: Sequence[Any], kernel: str | None) -> Kernels:
    from lvslab.check import require_programs
    from lvslab.kernels import catalog, probe
    from lvslab.kernels.needs import KernelKind

    require_programs()
    kind = KernelKind(kernel) if kernel in set(KernelKind) else None
    return catalog.including(probe.kernels_here(needs, kind), [kernel] if kernel else [])


def _check_scheduler(name: str) -> None:
    from lvslab.service import Scheduler

    if name not in set(Scheduler):
        raise UsageError(f"scheduler '{name}': no such scheduler; choose from: {', '.join(Scheduler)}")


def _planner(
    topology: str | None, clients: int, servers: int, kernel: str | None, **options: Any
) -> Callable[[Any, Kernels | None], LabPlan]:
    """A function that plans a lab for a mode; without kernels it assumes that there is one for everything, to check the rest."""
    _check_kernel(kernel)
    from lvslab.experiment import plan_lab
    from lvslab.plan import any_kernel
    from lvslab.service import Scheduler

    if "scheduler" in options:
        options["scheduler"] = Scheduler(options["scheduler"])

    def plan(mode: Any, kernels: Kernels | None) -> LabPlan:
        return plan_lab(
            mode,
            kernels or any_kernel(*([kernel] if kernel else [])),
            topology_name=topology,
            clients=clients,
            servers=servers,
            director_kernels=[kernel] if kernel else [],
            **options,
        )

    return plan


def _print_plan(plan: LabPlan) -> None:
    from lvslab.terminal import print_lines, print_table

    rows = [
        (node.name, str(node.role), str(node.kernel), node.why, ", ".join(each.address or each.name for each in node.interfaces))
        for node in plan.nodes
    ]
    print_table(("node", "role", "kernel", "why", "addresses"), rows, title=f"{plan.mode.title} on topology {plan.topology}")
    print_lines(["", *plan.commands(), ""])


if __name__ == "__main__":
    main()
