"""Real sweeps: worlds on a cluster of two workers, whose user was killed and went on, are those of
an undisturbed sweep.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lvslab.catalog.virtual_time import entry_in_virtual_time
from lvslab.errors import CannotError
from lvslab.exitcodes import ExitCode
from lvslab.simulation.labs.world import DIGEST
from lvslab.sweep.store import Store
from tests.lab.conftest import LVSLAB, run_lvslab
from tests.unit.clusters import Cluster, wait_for

WORLDS = """
scenario = "server-killed"
[axes]
time = "virtual"
control = "none"
rate = 20
seed = "1..3"
"""


def tables(store: Store, to: Path) -> dict[str, bytes]:
    """What a sweep says, byte for byte; `runs` aside, which says when and where."""
    done = subprocess.run(
        [*LVSLAB, "export", str(store.folder), "--to", str(to)], capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return {file.name: file.read_bytes() for file in to.iterdir() if file.name != "runs.csv"}


def test_worlds_on_a_cluster_that_is_left_and_resumed_are_those_of_one_machine(tmp_path: Path) -> None:
    try:
        entry_in_virtual_time()
    except CannotError as error:
        pytest.skip(str(error))
    plan = tmp_path / "worlds.toml"
    plan.write_text(WORLDS)
    alone, spread = Store(tmp_path / "alone" / "sweep-worlds"), Store(tmp_path / "spread" / "sweep-worlds")
    done = run_lvslab("sweep", str(plan), "--runs", str(alone.folder.parent), "--json", timeout=300)
    assert done.code == ExitCode.OK and done.data["done"] == 3, done.err

    (tmp_path / "cluster").mkdir()
    with Cluster(tmp_path / "cluster") as cluster:
        user = subprocess.Popen(
            [
                *LVSLAB,
                "sweep",
                str(plan),
                "--runs",
                str(spread.folder.parent),
                "--cluster",
                str(cluster.file),
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: len(spread.done()) > 0, "a cell that is done")
        finally:
            user.kill()
            user.wait()
        survived = spread.done()
        assert 0 < len(survived) < 3
        resumed = run_lvslab(
            "sweep", "resume", str(spread.folder), "--cluster", str(cluster.file), "--json", timeout=300
        )
    assert resumed.code == ExitCode.OK and resumed.data["done"] == 3, resumed.err
    assert all(spread.done()[key] == one for key, one in survived.items())

    cells = alone.index().cells
    assert [cell.key for cell in cells] == [cell.key for cell in spread.index().cells]
    frames = [
        {(store.directory(cell.key) / DIGEST).read_text() for cell in cells} for store in (alone, spread)
    ]
    assert frames[0] == frames[1] and len(frames[0]) == 3, "each seed has frames of its own"
    said = tables(alone, tmp_path / "a")
    assert said == tables(spread, tmp_path / "b") and len(said["trials.csv"].splitlines()) == 4
