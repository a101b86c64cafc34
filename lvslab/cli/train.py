"""`lvslab train`: training labs that run in the background."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.catalog.choice import check_kernel
from lvslab.cli import course
from lvslab.cli.common import DRY_RUN, JSON, KERNEL
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs.words import plural

if TYPE_CHECKING:
    from lvslab.training.grades import Grade
    from lvslab.training.ticket import Ticket

_NAME = click.option("--name", metavar="SESSION", help="Which of several running labs.")


@click.group(short_help="Training labs: build it, or find out what is wrong.")
def train() -> None:
    """Training labs: a network with something to build or to repair, hints, and a check that judges
    what the network does.

    \b
    lvslab train start first-balancer  build the network, show the task
    lvslab train shell director        a shell on a node; as many as you like
    lvslab train hint, check, solve    a hint, a verdict, the solution
    lvslab train reset, stop           from the start again; the end

    A lab runs in the background until it is stopped. Every node of it is a machine of its own:
    nothing done there touches this one.
    """


def _ticket() -> Ticket | None:
    """Of the course that is being worked on."""
    from lvslab.training import session
    from lvslab.training import ticket as tickets

    file = session.state_directory() / "ticket.json"
    return tickets.read(file) if file.exists() else None


def _progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _show(markdown: str) -> None:
    from rich.markdown import Markdown

    from lvslab.cli.terminal import result_console

    if sys.stdout.isatty():
        result_console().print(Markdown(markdown, code_theme="bw"))
    else:
        sys.stdout.write(markdown)


@train.command("list", short_help="List the training labs in the order of the course.")
@JSON
def list_(as_json: bool) -> int:
    """List the training labs in the order of the course: what was passed, what is running."""
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.training import session
    from lvslab.training.exercise import load, load_all

    place = session.state_directory()
    passed, running = session.passed(), {each.name: each.name for each in session.sessions()}
    running |= {each.lab: each.name for each in session.sessions()}
    ticket = _ticket()
    own = sorted(passed | {each.name for each in session.sessions()}) if ticket is None else ()
    found = (
        load_all() if ticket is None else [load(ticket.lab(lab, place), ticket.values) for lab in ticket.labs]
    )
    others = [name for name in own if name not in {each.name for each in found}]

    def state(name: str) -> str:
        return ", ".join((["running"] if name in running else []) + (["passed"] if name in passed else []))

    if as_json:
        print_json(
            {
                "labs": [
                    {
                        "name": each.name,
                        "title": each.title,
                        "group": str(each.group),
                        "mode": each.mode,
                        "minutes": each.minutes,
                        "passed": each.name in passed,
                        "session": running.get(each.name),
                    }
                    for each in found
                ],
                "own": [
                    {"name": name, "passed": name in passed, "session": running.get(name)} for name in others
                ],
            }
        )
        return ExitCode.OK
    from lvslab.modes import mode_named

    titles = {"path": "Guided path: build it", "repair": "Break and repair: find out what is wrong, mend it"}
    for group, title in titles.items():
        rows = [
            (each.name, each.title, mode_named(each.mode).title, f"{each.minutes} min", state(each.name))
            for each in found
            if each.group == group
        ]
        if rows:
            print_table(("lab", "what it is about", "mode", "takes", ""), rows, title=title)
            print_lines([""])
    if others:
        print_table(("lab", ""), [(name, state(name)) for name in others], title="Your own")
        print_lines([""])
    print_lines(["start one: lvslab train start LAB"])
    return ExitCode.OK


@train.command()
@click.argument("lab")
@click.option(
    "--name",
    metavar="SESSION",
    help="Name of the session, to run several labs at once; by default the lab's own.",
)
@KERNEL
@DRY_RUN
def start(lab: str, name: str | None, kernel: str | None, dry_run: bool) -> int:
    """Start LAB in the background and show its task. LAB is one of `lvslab train list`, or a file
    of your own.
    """
    import re

    from lvslab.cli.terminal import print_lines
    from lvslab.host.distribution import require_programs, require_scripts
    from lvslab.training import session
    from lvslab.training.exercise import load
    from lvslab.training.values import AS_WRITTEN

    ticket = _ticket()
    if ticket is not None:
        if lab not in ticket.labs:
            raise UsageError(
                f"lab '{lab}': is not in course '{ticket.course}'; see: lvslab train list; leave the course:"
                " lvslab train course --leave"
            )
        lab = ticket.lab(lab, session.state_directory())
    values = ticket.values if ticket else AS_WRITTEN
    exercise = load(lab, values)
    check_kernel(kernel)
    name = name or exercise.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"--name {name}: use letters, digits, '.', '_' and '-'")
    from lvslab.kernels.needs import any_kernel
    from lvslab.training.network import plan_exercise

    plan = plan_exercise(exercise, any_kernel(*([kernel] if kernel else [])), kernel, values)
    if dry_run:
        from lvslab.cli.common import print_plan

        print_plan(plan)
        return ExitCode.OK
    require_programs()
    require_scripts(f"lab '{exercise.name}'", [*exercise.prepare.values(), *exercise.solution.values()])
    began = time.monotonic()
    path = lab if exercise.name == lab else str(Path(lab).resolve())
    started = session.start(session.Order(path, kernel, values), name, _progress)
    _show(exercise.page)
    print_lines(
        [
            "",
            (
                f"lab '{started.name}' runs (ready after {time.monotonic() - began:.1f} s); end it: lvslab"
                " train stop"
            ),
        ]
    )
    return ExitCode.OK


@train.command()
@_NAME
def task(name: str | None) -> int:
    """Show the task of the running lab again."""
    from lvslab.training import session
    from lvslab.training.exercise import load

    chosen = session.the_session(name)
    order = session.Order.read(chosen.directory / "order.json")
    _show(load(order.lab, order.values).page)
    return ExitCode.OK


@train.command(short_help="Say what runs, and how far it is.")
@_NAME
@JSON
def status(name: str | None, as_json: bool) -> int:
    """Say what runs: nodes with their addresses, hints and checks so far; and what labs that have
    ended came to.
    """
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.training import grades, ledger, session

    accounts = ledger.accounts(session.state_directory())
    running = session.sessions()
    if name in accounts and name not in {each.name for each in running}:
        chosen = []
        accounts = {name: accounts[name]}
    else:
        chosen = [session.the_session(name)] if name else running
    states = [{"session": each.name, **each.ask({"do": "status"})} for each in chosen]
    if chosen and name:
        accounts = {}
    live = {state["lab"] for state in states}
    ended = [
        grades.grade("", lab, account)
        for lab, account in accounts.items()
        if account.events and lab not in live
    ]
    if as_json:
        told = [{key: value for key, value in vars(each).items() if key != "student"} for each in ended]
        print_json({"sessions": states, "ended": told})
        return ExitCode.OK
    if not states:
        print_lines(
            [
                "no training lab is running; `lvslab train list` shows them, `lvslab train start LAB`"
                " starts one"
            ]
        )
    for state in states:
        minutes = int((time.time() - state["since"]) // 60)
        checks = (
            f"{plural(len(state['checks']), 'check')}, last {'PASS' if state['checks'][-1] else 'FAIL'}"
            if state["checks"]
            else "not checked"
        )
        given, of = state["hints"]
        print_lines(
            [
                f"{state['session']}: {state['title']}",
                f"running for {minutes} min; {checks}; {given} of {plural(of, 'hint')}"
                + (
                    f"; the doctor was asked {plural(state['diagnoses'], 'time')}"
                    if state["diagnoses"]
                    else ""
                )
                + ("; the solution was applied" if state["solved"] else ""),
                f"virtual address {state['vip']}",
            ]
        )
        print_table(
            ("node", "role", "addresses", ""),
            [
                (node["name"], node["role"], ", ".join(node["addresses"]), "" if node["on"] else "OFF")
                for node in state["nodes"]
            ],
        )
        print_lines([""])
    if ended:
        print_lines(["labs that have ended:"])
        print_table(
            ("lab", "result", "minutes", "commands", "hints", "solutions"),
            [
                (
                    each.lab,
                    _result(each),
                    *map(str, (round(each.minutes), each.commands, each.hints, each.solutions)),
                )
                for each in ended
            ],
        )
        print_lines(
            [
                f"lab '{each.lab}': {each.trouble}; what follows there is not counted"
                for each in ended
                if each.trouble
            ]
        )
    return ExitCode.OK


def _result(grade: Grade) -> str:
    """What an ended lab came to, in a word or two."""
    if grade.passed:
        return "passed"
    if not grade.points:
        return "not checked"
    return f"{sum(grade.points.values())} of {plural(len(grade.points), 'point')}"


@train.command(short_help="Show one more hint.")
@_NAME
@JSON
def hint(name: str | None, as_json: bool) -> int:
    """Show one more hint; each is more concrete than the one before."""
    from lvslab.cli.terminal import print_json
    from lvslab.training import session

    found = session.the_session(name).ask({"do": "hint"})
    if as_json:
        print_json(found)
        return ExitCode.OK
    _show("".join(f"{number}. {text}\n" for number, text in enumerate(found["hints"], start=1)))
    last = (
        "that was the last one; `lvslab train solve` shows the solution"
        if len(found["hints"]) == found["of"]
        else ""
    )
    if last:
        sys.stderr.write(f"{last}\n")
    return ExitCode.OK


@train.command(short_help="Judge what was built or repaired.")
@_NAME
@JSON
def check(name: str | None, as_json: bool) -> int:
    """Judge what was built or repaired, by what clients and packets say. Exit code 0 when it holds,
    1 when not.
    """
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.training import session

    chosen = session.the_session(name)
    found = chosen.ask({"do": "check"}, _progress)
    if as_json:
        print_json(
            {
                "passed": found["passed"],
                "noted": found["noted"],
                "results": [{**point, "evidence": []} for point in found["points"]],
            }
        )
    else:
        print_table(
            ("", "verdict", "what was seen"),
            [(each["name"], each["verdict"].upper(), each["reason"]) for each in found["points"]],
        )
        print_lines(["", _verdict(found)])
    return ExitCode.OK if found["passed"] else ExitCode.FAILED


def _verdict(found: dict[str, Any]) -> str:
    if not found["passed"]:
        return "not yet; `lvslab train hint` helps"
    if not found["noted"]:
        return "it holds, by the lab's own solution: not noted as passed; `lvslab train reset` lets you try"
    return "passed: well done"


@train.command(short_help="Run the lab's own solution, command by command.")
@_NAME
def solve(name: str | None) -> int:
    """Run the lab's own solution, command by command, in the running lab."""
    from lvslab.cli.terminal import print_lines
    from lvslab.training import session

    session.the_session(name).ask({"do": "solve"}, lambda text: print_lines([text]))
    sys.stderr.write(
        "solved; `lvslab train check` proves it, `lvslab train reset` lets you try it yourself\n"
    )
    return ExitCode.OK


@train.command(short_help="Bring the lab back to its beginning.")
@_NAME
def reset(name: str | None) -> int:
    """Bring the lab back to its beginning; shells on its nodes end."""
    from lvslab.training import session

    session.the_session(name).ask({"do": "reset"}, _progress)
    return ExitCode.OK


@train.command(short_help="Stop the running lab.")
@_NAME
@click.option("--all", "all_", is_flag=True, help="Stop all running labs.")
def stop(name: str | None, all_: bool) -> int:
    """Stop the running lab. What you wrote below /etc, /root and /usr/local of its nodes is there
    again when it is started anew.
    """
    from lvslab.training import session

    for each in session.sessions() if all_ else [session.the_session(name)]:
        lost = session.stop(each)
        sys.stderr.write(f"lab '{each.name}' stopped\n")
        if lost:
            sys.stderr.write(f"not kept, too large or out of reach: files of {', '.join(lost)}\n")
    return ExitCode.OK


def script_of(command: tuple[str, ...]) -> str:
    """A command for a node's shell: a single word, such as 'ipvsadm -Ln; ip a', is a script."""
    return command[0] if len(command) == 1 else shlex.join(command)


@train.command(
    context_settings={"ignore_unknown_options": True},
    short_help="Open a shell on a node, or run a command there.",
)
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@_NAME
def shell(node: str, command: tuple[str, ...], name: str | None) -> int:
    """Open a shell on NODE (director, client, rs1, …), or run COMMAND there: several words as they
    are, a single one by the node's shell, as in ssh. Without a terminal the commands come from
    standard input.
    """
    from lvslab.training import session

    chosen = session.the_session(name)
    if command or not sys.stdin.isatty():
        done: dict[str, Any] = chosen.ask(
            {"do": "run", "node": node, "script": script_of(command) if command else sys.stdin.read()}
        )
        sys.stdout.write(done["out"])
        sys.stderr.write(done["err"])
        return int(done["code"])
    return session.shell(chosen, node)


for _command in (course.course, course.hand_in, course.grade):
    train.add_command(_command)
