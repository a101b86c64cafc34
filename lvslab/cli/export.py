"""`lvslab export`: runs and sweeps as data files."""

from __future__ import annotations

from pathlib import Path

import click

from lvslab.cli.places import writable_folder
from lvslab.exitcodes import ExitCode


@click.command(short_help="Write runs and sweeps as CSV, Parquet or a DuckDB database.")
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="RUN|SWEEP...",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "parquet", "duckdb"]),
    default="csv",
    show_default=True,
    help="csv and parquet: a file a table; duckdb: one database.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    callback=writable_folder,
    default=Path("export"),
    show_default=True,
    help="Folder for the files.",
)
def export(folders: tuple[Path, ...], format_: str, to: Path) -> int:
    """Write the runs, samples, trials and verdicts of run directories and sweeps as tables; every
    row of a sweep has the values of its axes. docs/data.md has the schema.
    """
    from lvslab.cli.terminal import print_lines
    from lvslab.results.export import FORMATS, require, write
    from lvslab.results.gather import gather

    chosen = FORMATS[[*FORMATS].index(format_)]  # type: ignore[arg-type]
    require(chosen)
    tables = gather(folders)
    files = write(tables, to, chosen)
    print_lines([f"{table.name}: {len(table.rows)} rows" for table in tables])
    print_lines([str(file) for file in files])
    return ExitCode.OK
