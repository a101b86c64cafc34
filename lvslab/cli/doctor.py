"""`lvslab doctor`: what is wrong with a director and its network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.cli.common import JSON, in_sandbox
from lvslab.cli.places import writable_folder
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs.words import plural

if TYPE_CHECKING:
    from lvslab.doctor.evidence import Evidence

_LONGEST_CAPTURE = 600.0


@click.command(short_help="Name what is likely wrong with a director and its network.")
@click.option("--name", metavar="SESSION", help="Which of several running training labs.")
@click.option(
    "--here",
    is_flag=True,
    help="Look at the machine that this runs on, as a director, instead of a training lab.",
)
@click.option(
    "--capture",
    type=click.FloatRange(0, _LONGEST_CAPTURE),
    default=0.0,
    metavar="SECONDS",
    help="Watch the traffic for so long; let a client try meanwhile.",
)
@click.option(
    "--read",
    "reads",
    is_flag=True,
    help="Diagnose machines by texts alone: the FILEs, - for standard input; NAME=FILE names a machine.",
)
@click.option(
    "--replay",
    is_flag=True,
    help="Build a lab of the FILEs, as with --read, and see what of it packets show.",
)
@click.option(
    "--print-script", is_flag=True, help="Print the shell script whose output --read takes, and end."
)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where the run directory of --replay goes.",
)
@JSON
def doctor(
    name: str | None,
    here: bool,
    capture: float,
    reads: bool,
    replay: bool,
    print_script: bool,
    files: tuple[str, ...],
    runs: Path,
    as_json: bool,
) -> int:
    """Look at a director and its network, and name what is likely wrong, with the evidence and the
    command that fixes it.

    \b
    lvslab doctor                 the running training lab
    lvslab doctor --capture 10    the same, and watch its traffic for ten seconds
    lvslab doctor --here          this machine: run it on a director
    lvslab doctor --print-script  a script for machines that have no lvslab
    lvslab doctor --read FILE...  what that script printed, or anybody has pasted
    lvslab doctor --replay FILE...  the same, and a lab that is built of it

    It only reads: it sends nothing and changes nothing. Exit code 0 when nothing was found, 1 when
    something was, 4 when it cannot look.
    """
    from lvslab.doctor.diagnose import report

    _check_usage(name, here, capture, reads or replay, print_script, files)
    if print_script:
        from lvslab.cli.terminal import print_lines
        from lvslab.doctor.script import printed

        print_lines(printed().splitlines())
        return ExitCode.OK
    if here:
        from lvslab.doctor.gather import require_ipvs

        require_ipvs()
    if capture:
        _say(f"watching the traffic for {capture:g} s; let a client try now")
    if replay:
        _try(runs)
        return _replay(files, runs, as_json)
    if reads:
        return _tell(report(_texts(files)), as_json, live=False)
    return _tell(_here(capture) if here else _lab(name, capture), as_json, live=True)


def _try(runs: Path) -> None:
    """Refuse a folder that cannot be written; only where it will be, for a director's reader may
    have no right to write anywhere.
    """
    context = click.get_current_context()
    (option,) = (each for each in context.command.params if each.name == "runs")
    writable_folder(context, option, runs)


def _check_usage(
    name: str | None, here: bool, capture: float, reads: bool, print_script: bool, files: tuple[str, ...]
) -> None:
    if here and name:
        raise UsageError(f"--here and --name {name} exclude each other: this machine, or a training lab")
    if files and not reads:
        raise UsageError(f"{files[0]}: files are for --read: lvslab doctor --read {files[0]}")
    if reads and not files:
        raise UsageError("--read: no FILE was given; `lvslab doctor --print-script` prints what makes one")
    if (reads or print_script) and (here or name or capture):
        raise UsageError("--read and --print-script go without --here, --name and --capture")
    if reads and print_script:
        raise UsageError("--read and --print-script exclude each other: first the script, then its output")


def _tell(report: dict[str, Any], as_json: bool, *, live: bool) -> int:
    """Print a diagnosis; the exit code says whether anything was found. `live`: whether more could
    be read where it comes from.
    """
    from lvslab.cli.terminal import print_json, print_lines, result_console, wrapped

    findings = report["findings"]
    if as_json:
        keys = ("machines", "unread", "notes") + (() if live else ("missing",))
        print_json({"results": findings, **{key: report[key] for key in keys}})
    else:
        for number, each in enumerate(findings, start=1):
            print_lines(_shown(number, each))
        if not findings:
            print_lines([f"nothing found on {', '.join(report['machines'])}"])
        for line in report["notes"]:
            print_lines(wrapped(f"note: {line}", result_console().width))
    for line in report["unread"]:
        _say(f"not read: {line}")
    for line in report["missing"] if not live else ():
        _say(f"not given: {line}")
    if report["packets"] is not None:
        _say(f"{plural(report['packets'], 'packet')} seen")
    elif not findings and live:
        _say("some faults show in traffic only: --capture SECONDS, and let a client try meanwhile")
    return ExitCode.FAILED if findings else ExitCode.OK


def _texts(files: tuple[str, ...]) -> Evidence:
    from lvslab.cli.texts import given
    from lvslab.doctor.dump import of_texts

    evidence = of_texts([given(file) for file in files])
    if not any(machine.told for machine in evidence.machines):
        raise UsageError(
            f"{', '.join(files)}: nothing of it was recognised; `lvslab doctor --print-script` prints what"
            " makes one that can be read"
        )
    return evidence


def _replay(files: tuple[str, ...], runs: Path, as_json: bool) -> int:
    """Diagnose texts, and the lab that is built of them."""
    from lvslab.doctor.diagnose import report
    from lvslab.rehearse.files import Plan
    from lvslab.rehearse.replay import beside, directors_of
    from lvslab.rehearse.staging import prepared

    evidence = _texts(files)
    said = report(evidence)
    found = prepared(directors_of(evidence), Plan())

    def work() -> int:
        from lvslab.catalog.choice import kernels_for
        from lvslab.cli.terminal import Progress, print_json, print_lines, print_table, wrapped
        from lvslab.kernels.needs import Need
        from lvslab.rehearse.deaths import Wish
        from lvslab.rehearse.recorded import record
        from lvslab.report.rehearsal import proof_rows
        from lvslab.runs.rehearsal import Answers

        stage = found.stage(kernels_for(list(Need), None))
        nobody_dies = Wish((), all_dead=False, directors=False)
        with Progress() as progress:
            done = record(stage, nobody_dies, {}, runs, ["--replay", *files], progress)
        answers = done.answers
        assert isinstance(answers, Answers)
        lines = list(beside(said["findings"], answers))
        if as_json:
            print_json({"run": str(done.run), "read": said["findings"], "beside": lines, **done.as_json()})
            return ExitCode.FAILED if done.failed or said["findings"] else ExitCode.OK
        code = _tell(said, as_json=False, live=False)
        notes = [f"guessed: {guess}" for guess in answers.guesses]
        notes += [f"note: {note}" for note in answers.notes]
        print_lines(["in the lab:", *(part for line in lines for part in wrapped(line, 80, "  ")), ""])
        print_table(("service", "verdict", "seen"), proof_rows(answers))
        print_lines(["", *(line for note in notes for line in wrapped(note, 80)), "", f"page: {done.page}"])
        return ExitCode.FAILED if done.failed else code

    return in_sandbox(work)


def _lab(name: str | None, capture: float) -> dict[str, Any]:
    from lvslab.training import session

    if name is None and not session.sessions():
        raise UsageError(
            "no training lab is running; `lvslab doctor --here` looks at this machine as a director"
        )
    found: dict[str, Any] = session.the_session(name).ask({"do": "diagnose", "capture": capture})
    return found


def _here(capture: float) -> dict[str, Any]:
    from lvslab.doctor import gather
    from lvslab.doctor.diagnose import report

    return report(gather.of_here(capture))


def _shown(number: int, each: dict[str, Any]) -> list[str]:
    from lvslab.cli.terminal import remedies, result_console, wrapped

    width = result_console().width
    return [
        f"{number}. {each['name']} ({each['certainty']})",
        *(f"   {line}" for line in wrapped(each["reason"], width - 3)),
        "   seen:",
        *(part for line in each["evidence"] for part in wrapped(line, width, "     ")),
        "   fix:",
        *remedies(each["fix"], width, "     "),
        "",
    ]


def _say(text: str) -> None:
    import sys

    sys.stderr.write(f"{text}\n")
