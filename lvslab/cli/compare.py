"""`lvslab compare`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lvslab.cli.common import JSON, RUNS, options
from lvslab.cli.places import writable_file
from lvslab.errors import CannotError, UsageError
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from lvslab.comparison.compare import Comparison
    from lvslab.comparison.numbers import Limits


def _percent(context: click.Context, option: click.Parameter, value: str) -> float:
    """A percentage, with or without its sign, as a fraction."""
    try:
        number = float(value.removesuffix("%").strip())
    except ValueError:
        number = -1.0
    if not 0 <= number < 1000:
        raise click.BadParameter(f"'{value}' is not a percentage (0 or more)", context, option)
    return number / 100


LIMITS = options(
    click.option(
        "--level",
        type=click.FloatRange(0, 0.5, min_open=True),
        default=0.01,
        show_default=True,
        help="Probability of any false alarm in the whole comparison.",
    ),
    click.option(
        "--floor",
        metavar="PERCENT",
        callback=_percent,
        default="5",
        show_default=True,
        help="Smallest change of a median that counts.",
    ),
    click.option(
        "--bench-floor",
        metavar="PERCENT",
        callback=_percent,
        default="0.1",
        show_default=True,
        help="The same for instructions in virtual time.",
    ),
    click.option(
        "--strict", is_flag=True, help="What was checked and is not any more counts as a regression."
    ),
)


@click.command(short_help="Compare two runs, or a run with a kept baseline.")
@click.argument("places", nargs=-1, metavar="[BASE] NEW", type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    is_flag=True,
    help="Compare NEW with the newest run that --baseline keep has kept of the same configuration.",
)
@click.option(
    "--release",
    metavar="RELEASE",
    help="With --baseline: only kept runs whose directors ran this kernel release.",
)
@LIMITS
@click.option("--all", "all_", is_flag=True, help="Show every number, not only those that changed.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable_file,
    metavar="FILE",
    help="Write the findings as JUnit XML.",
)
@click.option(
    "--tap",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable_file,
    metavar="FILE",
    help="Write the findings as TAP 14.",
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable_file,
    metavar="FILE",
    help="Write a summary for a patch mail; - prints it.",
)
@RUNS
@JSON
def compare(
    places: tuple[Path, ...],
    baseline: bool,
    release: str | None,
    level: float,
    floor: float,
    bench_floor: float,
    strict: bool,
    all_: bool,
    junit: Path | None,
    tap: Path | None,
    markdown: Path | None,
    runs: Path,
    as_json: bool,
) -> int:
    """Compare two runs: BASE and NEW are run directories, or folders of several, such as those of a
    matrix.

    Verdicts: newly failing, fixed, not comparable. Numbers: Mann–Whitney over the repetitions,
    corrected for their number, and a floor for the change; where the repetitions are too few it
    says how many are needed. Exit code 0 without a regression, 1 with one, 4 when nothing could be
    compared.
    """
    from lvslab.comparison.baseline import find
    from lvslab.comparison.compare import compare as compare_places
    from lvslab.comparison.numbers import Limits
    from lvslab.runs.worlds import TRIALS

    if len(places) != (1 if baseline else 2):
        raise UsageError(
            "compare: give NEW alone with --baseline"
            if baseline
            else "compare: give two runs, BASE and NEW, or --baseline NEW"
        )
    if release and not baseline:
        raise UsageError("compare: --release chooses among kept runs; give --baseline with it")
    limits = Limits(level, floor, bench_floor)
    if not baseline and all((place / TRIALS).is_file() for place in places):
        return _compare_worlds(places[0], places[1], limits, as_json)
    base = find(runs, places[-1], release) if baseline else places[0]
    found = compare_places(base, places[-1], limits, strict)
    write_files(found, junit, tap, markdown, every_number=all_)
    if as_json:
        from lvslab.cli.terminal import print_json
        from lvslab.report.comparison import as_json as whole

        print_json(whole(found))
    elif markdown is None or str(markdown) != "-":
        show(found, every_number=all_)
    return found.code


def _compare_worlds(base: Path, new: Path, limits: Limits, as_json: bool) -> int:
    """Two folders of worlds in virtual time."""
    from lvslab.cli.terminal import print_json, print_lines
    from lvslab.comparison.worlds import compare_worlds, in_words, read_worlds

    found = compare_worlds(read_worlds(base), read_worlds(new), limits)
    if as_json:
        print_json(asdict(found))
    else:
        print_lines(in_words(found))
    return ExitCode.FAILED if found.worse else ExitCode.OK


def write_files(
    found: Comparison,
    junit: Path | None,
    tap: Path | None,
    markdown: Path | None,
    every_number: bool = False,
) -> None:
    """Write a comparison in the formats asked for; "-" is standard output.

    Raises:
        CannotError: a file cannot be written.
    """
    from lvslab.cli.terminal import print_lines
    from lvslab.report import comparison, formats

    results = comparison.results(found)
    texts: list[tuple[Path | None, Callable[[], str]]] = [
        (junit, lambda: formats.junit("compare", results)),
        (tap, lambda: formats.tap(results)),
        (markdown, lambda: comparison.markdown(found, every_number)),
    ]
    for file, text in texts:
        if file is None:
            continue
        if str(file) == "-":
            print_lines(text().splitlines())
            continue
        try:
            file.write_text(text(), encoding="utf-8")
        except OSError as error:
            raise CannotError(f"{file}: cannot be written: {error.strerror}") from error


def show(found: Comparison, every_number: bool = False) -> None:
    """Print a comparison for people."""
    from lvslab.cli.terminal import print_lines, print_table
    from lvslab.report import comparison

    print_lines([*comparison.sides(found), ""])
    tables = [comparison.finding_table(found), comparison.group_table(found)]
    if every_number:
        tables.append(comparison.number_table(found))
    for table in tables:
        if table.rows:
            print_table(table.headers, table.rows)
            print_lines([""])
    lines = comparison.evidence(found)
    lines += [f"not comparable: {each}" for each in found.not_comparable] + [
        f"note: {each}" for each in found.notes
    ]
    print_lines([*lines, *comparison.advice(found), comparison.headline(found)])
