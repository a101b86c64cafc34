"""`lvslab report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lvslab.cli.common import (
    JSON,
)
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    pass


@click.command(short_help="Draw the reports of run directories.")
@click.argument("directories", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@JSON
def report(directories: tuple[Path, ...], as_json: bool) -> int:
    """Draw the report of each RUN, a run directory: report.html, one self-contained page, and its
    figures as PNG in figures/, from what the directory holds.
    """
    from lvslab.cli.terminal import print_json, print_lines
    from lvslab.report.page import write_report

    written = [write_report(directory) for directory in directories]
    if as_json:
        print_json(
            {
                "reports": [
                    {"html": str(each.html), "figures": [str(figure) for figure in each.figures]}
                    for each in written
                ]
            }
        )
    else:
        print_lines([f"report: {each.html} ({len(each.figures)} figures beside it)" for each in written])
    return ExitCode.OK
