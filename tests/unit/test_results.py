"""Results as data: tables of runs and sweeps, their files, and a sweep's page."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import duckdb
import pandas
import pytest

from lvslab.errors import UsageError
from lvslab.results import load
from lvslab.results.export import write
from lvslab.results.gather import gather
from lvslab.results.page import write_page
from lvslab.results.tables import COLUMNS, axis_column
from lvslab.sweep.store import Store
from tests.unit.commands import lvslab
from tests.unit.sweeps import kept

ROOT = Path(__file__).resolve().parents[2]
PLAN = 'scenario = "compare-modes"\nrepetitions = 2\n[axes]\nmode = ["nat", "dr"]\nservers = [2, 8]\n'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return kept(tmp_path_factory.mktemp("results"), PLAN)


def test_every_row_has_the_axes_of_its_cell(store: Store) -> None:
    data = load(store.folder)
    assert len(data.runs) == 8 and len(data.samples) == 8 * 5 and len(data.verdicts) == 8
    rates = data.samples[data.samples.metric == "requests_per_second"]
    medians = rates.groupby(["mode", "servers"]).value.median().to_dict()
    assert medians == {("dr", 2): 4001.5, ("dr", 8): 16001.5, ("nat", 2): 2001.5, ("nat", 8): 8001.5}
    assert sorted(set(rates.repetition)) == [1, 2]
    assert list(data.samples[data.samples.metric == "latency"].number[:3]) == [0, 1, 2]
    failed = data.runs[data.runs.exit_code == 1]
    assert set(zip(failed["mode"], failed.servers, strict=True)) == {("dr", 8)}


def test_all_formats_say_the_same(store: Store, tmp_path: Path) -> None:
    tables = gather([store.folder])
    (samples,) = (table for table in tables if table.name == "samples")
    write(tables, tmp_path, "csv")
    with (tmp_path / "samples.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["value"]) for row in rows] == [row["value"] for row in samples.rows]
    write(tables, tmp_path, "parquet")
    read = pandas.read_parquet(tmp_path / "samples.parquet")
    assert list(read.value) == [row["value"] for row in samples.rows]
    assert list(read.columns) == [column.name for column in samples.columns]
    (database,) = write(tables, tmp_path, "duckdb")
    with duckdb.connect(str(database)) as connection:
        counted = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone() for name in COLUMNS}
        highest = connection.execute("SELECT max(value) FROM samples WHERE unit = '1/s'").fetchone()
    assert counted == {table.name: (len(table.rows),) for table in tables}
    assert highest == (16002.0,)


def test_the_same_cells_give_the_same_bytes(store: Store, tmp_path: Path) -> None:
    """Also in another order, which `runs` alone may tell."""
    other = kept(tmp_path / "other", "order = 7\n" + PLAN)
    for place, folder in (("a", store.folder), ("b", other.folder)):
        write(gather([folder]), tmp_path / place, "csv")
    for name in ("samples", "trials", "verdicts"):
        assert (tmp_path / "a" / f"{name}.csv").read_bytes() == (tmp_path / "b" / f"{name}.csv").read_bytes()
    assert (tmp_path / "a" / "samples.csv").stat().st_size > 1000


def test_a_run_of_its_own_has_no_axes(store: Store) -> None:
    directory = store.directory(store.index().cells[0].key)
    data = load(directory)
    assert len(data.runs) == 1 and "servers" not in data.samples
    with pytest.raises(UsageError, match=r"no run\.json"):
        load(directory / "logs")


def test_axes_have_types_and_names_of_their_own() -> None:
    assert axis_column("servers", ["2", "8"]).type == "integer"
    assert axis_column("loss", ["0", "0.5"]).type == "number"
    assert axis_column("mode", ["nat", "8"]).type == "text"
    assert axis_column("net.ipv4.vs.conntrack", ["0", "1"]).name == "net_ipv4_vs_conntrack"
    assert axis_column("status", ["x"]).name == "axis_status"


def test_the_documentation_names_every_column_with_its_unit() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    for table, columns in COLUMNS.items():
        (row,) = re.findall(rf"^\| `{table}` .*$", text, re.M)
        for column in columns:
            unit = rf" \({column.unit}\)" if column.unit else ""
            assert re.search(rf"`{column.name}`{unit}", row), f"{table}.{column.name}"


def test_the_command_writes_and_says_what(store: Store, tmp_path: Path) -> None:
    done = lvslab("export", str(store.folder), "--to", "tables", place=tmp_path)
    assert done.code == 0 and "samples: 40 rows" in done.out
    assert sorted(file.name for file in (tmp_path / "tables").iterdir()) == [
        f"{name}.csv" for name in sorted(COLUMNS)
    ]
    refused = lvslab("export", str(tmp_path), place=tmp_path)
    assert refused.code == 2 and "no run.json in it" in refused.err


def test_the_page_shows_failures_first_and_links_every_cell(store: Store) -> None:
    file = write_page(store.folder)
    text = file.read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    data = json.loads(found[1])
    assert data["axes"] == {"mode": ["nat", "dr"], "servers": ["2", "8"]}
    three = {"requests_per_second", "throughput", "latency p50"}  # of three values there is no p99
    assert three == set(data["units"])
    assert len(data["cells"]) == 8
    for cell in data["cells"]:
        assert (store.folder / cell["href"] / "run.json").is_file()
    assert [
        cell["verdict"]
        for cell in data["cells"]
        if cell["axes"] == {"scenario": "compare-modes", "mode": "dr", "servers": "8"}
    ] == ["fail"] * 2
    failures, grid = text.index("2 cells failed or broke"), text.index('id="grid"')
    assert failures < grid and "one was lost" in text[failures:grid]
    assert not re.search(r'(src|href)="https?:', text), "it needs no network"
    assert file.stat().st_size < 60_000 + 400 * len(data["cells"]), "2 MB hold thousands of cells"
