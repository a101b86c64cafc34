"""`lvslab check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lvslab.cli.common import (
    JSON,
    in_sandbox,
)
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    pass


@click.command(short_help="Say what this machine can run, and how to get what is missing.")
@JSON
def check(as_json: bool) -> int:
    """Say what this machine can run, each line found by trial, and how to get what is missing.

    Exit code 0 when all forwarding modes can run, 4 when something they need is missing.
    """

    def work() -> int:
        from lvslab.cli.terminal import print_json, print_table
        from lvslab.lab.check import check_machine

        lines = list(check_machine())
        if as_json:
            print_json(
                {
                    "results": [
                        {
                            "name": line.name,
                            "verdict": line.verdict,
                            "reason": line.finding,
                            "evidence": [],
                            "fix": line.fix,
                        }
                        for line in lines
                    ]
                }
            )
        else:
            print_table(
                ("", "verdict", "what the trial showed"),
                [(line.name, line.verdict.upper(), line.finding) for line in lines],
            )
            fixes = [line for line in lines if line.fix]
            if fixes:
                print_table(("", "how to get it"), [(line.name, line.fix) for line in fixes])
        return ExitCode.CANNOT if any(line.verdict == "fail" for line in lines) else ExitCode.OK

    return in_sandbox(work)
