"""`lvslab doctor`: what is wrong with a director and its network."""

from __future__ import annotations

from typing import Any

import click

from lvslab.cli.common import JSON
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs.words import plural

_LONGEST_CAPTURE = 600.0


@click.command()
@click.option("--name", help="Which of several running training labs.")
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
@JSON
def doctor(name: str | None, here: bool, capture: float, as_json: bool) -> int:
    """Look at a director and its network, and name what is likely wrong, with the evidence and the
    command that fixes it.

    \b
    lvslab doctor                 the running training lab
    lvslab doctor --capture 10    the same, and watch its traffic for ten seconds
    lvslab doctor --here          this machine: run it on a director

    It only reads: it sends nothing and changes nothing. Exit code 0 when nothing was found, 1 when
    something was, 4 when it cannot look.
    """
    from lvslab.cli.terminal import print_json, print_lines

    if here and name:
        raise UsageError(f"--here and --name {name} exclude each other: this machine, or a training lab")
    if here:
        from lvslab.doctor.gather import require_ipvs

        require_ipvs()
    if capture:
        _say(f"watching the traffic for {capture:g} s; let a client try now")
    found = _here(capture) if here else _lab(name, capture)
    findings = found["findings"]
    if as_json:
        print_json({"results": findings, "machines": found["machines"], "unread": found["unread"]})
    else:
        for number, each in enumerate(findings, start=1):
            print_lines(_shown(number, each))
        if not findings:
            print_lines([f"nothing found on {', '.join(found['machines'])}"])
    for line in found["unread"]:
        _say(f"not read: {line}")
    if found["packets"] is not None:
        _say(f"{plural(found['packets'], 'packet')} seen")
    elif not findings:
        _say("some faults show in traffic only: --capture SECONDS, and let a client try meanwhile")
    return ExitCode.FAILED if findings else ExitCode.OK


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
    from lvslab.cli.terminal import result_console, wrapped

    width = result_console().width
    return [
        f"{number}. {each['name']} ({each['certainty']})",
        *(f"   {line}" for line in wrapped(each["reason"], width - 3)),
        "   seen:",
        *(part for line in each["evidence"] for part in wrapped(line, width, "     ")),
        "   fix:",  # whole lines, to be copied
        *(f"     {line}" for line in each["fix"]),
        "",
    ]


def _say(text: str) -> None:
    import sys

    sys.stderr.write(f"{text}\n")
