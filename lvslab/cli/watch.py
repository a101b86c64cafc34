"""`lvslab watch`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from lvslab.cli.common import JSON
from lvslab.cli.places import writable_folder
from lvslab.exitcodes import ExitCode

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _moment(context: click.Context, option: click.Parameter, value: str) -> datetime:
    """A time ago, such as 7d, or a date."""
    if ago := re.fullmatch(r"(\d{1,4})([hdw])", value):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"'{value}' is neither a time ago (12h, 7d, 2w) nor a date (2026-11-24, 2026-11-24T18:00)",
            context,
            option,
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command(short_help="What a folder of runs says over time: news, and what wavers.")
@click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=click.Path(path_type=Path))
@click.option(
    "--since",
    metavar="WHEN",
    default="7d",
    show_default=True,
    callback=_moment,
    help="News is what is otherwise since then: a time ago (12h, 7d, 2w) or a date, in UTC.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.01,
    show_default=True,
    help="Of the test whether something that failed sometimes fails more often.",
)
@click.option(
    "--site",
    type=click.Path(path_type=Path),
    callback=lambda context, option, folder: folder and writable_folder(context, option, folder),
    metavar="FOLDER",
    help="Write a page there, linked to the runs' reports.",
)
@JSON
def watch(folders: tuple[Path, ...], since: datetime, level: float, site: Path | None, as_json: bool) -> int:
    """Tell what all runs in FOLDERs (runs/ by default) say over time, for each kernel: which checks
    fail now that held before, which were mended, and which waver. Runs of one thing on one kernel
    with one set of sysctls make a series; `lvslab compare` sets two kernels side by side.

    \b
    lvslab watch                        this week against all before
    lvslab watch --since 12h            after a night of runs
    lvslab watch /srv/runs --site www   a page for all to see

    Exit code 1 when something became worse.
    """
    from lvslab.cli.terminal import print_json, print_lines, print_table
    from lvslab.comparison import history
    from lvslab.report import watch as report

    runs, unread = history.read(folders or (Path("runs"),))
    series = history.series_of(runs)
    found = report.Watched(
        since,
        series,
        tuple(news for each in series for news in history.news(each, since, level)),
        tuple(unread),
    )
    if as_json:
        print_json(report.as_json(found))
    else:
        for title, table in (
            ("news", report.news_table(found)),
            ("wavering", report.wavering_table(found)),
        ):
            if table.rows:
                print_table(table.headers, table.rows, title)
                print_lines([""])
        print_lines([f"not read: {why}" for why in unread] + [report.headline(found)])
    if site:
        page = report.write_site(found, site)
        if not as_json:
            print_lines([f"page: {page}"])
    return ExitCode.FAILED if any(each.regression for each in found.news) else ExitCode.OK
