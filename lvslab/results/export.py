"""Tables as files: CSV, Parquet, or a DuckDB database; and as pandas frames."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from lvslab.errors import CannotError
from lvslab.results.tables import Table

if TYPE_CHECKING:
    from pandas import DataFrame

Format = Literal["csv", "parquet", "duckdb"]
FORMATS: tuple[Format, ...] = get_args(Format)
DATABASE = "results.duckdb"

_NEEDS = {"csv": (), "parquet": ("pandas", "pyarrow"), "duckdb": ("pandas", "duckdb")}
_DTYPES = {"text": "string", "integer": "Int64", "number": "Float64"}


def require(format_: Format) -> None:
    """
    Raises:
        CannotError: a format needs what is not installed.
    """
    _require(_NEEDS[format_])


def _require(modules: Sequence[str]) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise CannotError(f"{', '.join(missing)}: not installed; run: pip install 'lvslab[data]'")


def write(tables: Sequence[Table], folder: Path, format_: Format) -> list[Path]:
    """Write each table into a file of the folder, or all into one database; gives the files.

    Raises:
        CannotError: it cannot be written, or the format needs what is not installed.
    """
    require(format_)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if format_ == "duckdb":
            return [_database(tables, folder / DATABASE)]
        files = []
        for table in tables:
            file = folder / f"{table.name}.{format_}"
            if format_ == "csv":
                _csv(table, file)
            else:
                frame(table).to_parquet(file, index=False)
            files.append(file)
        return files
    except OSError as error:
        raise CannotError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _csv(table: Table, file: Path) -> None:
    names = [column.name for column in table.columns]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.rows)


def _database(tables: Sequence[Table], file: Path) -> Path:
    import duckdb

    file.unlink(missing_ok=True)
    with duckdb.connect(str(file)) as connection:
        for table in tables:
            connection.register("source", frame(table))
            connection.execute(f'CREATE TABLE "{table.name}" AS SELECT * FROM source')
            connection.unregister("source")
    return file


def frame(table: Table) -> DataFrame:
    """A table as a frame; what is missing is NA.

    Raises:
        CannotError: pandas is not installed.
    """
    _require(("pandas",))
    import pandas

    return pandas.DataFrame(
        {
            column.name: pandas.Series(
                [row.get(column.name) for row in table.rows], dtype=_DTYPES[column.type]
            )
            for column in table.columns
        }
    )


def frames(tables: Sequence[Table]) -> dict[str, DataFrame]:
    """Name of a table → its frame."""
    return {table.name: frame(table) for table in tables}
