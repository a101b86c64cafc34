"""Dask carries out cells: scheduler, workers and user killed lose only what was under way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import dask
import pytest
from distributed import Client

from lvslab.errors import LabError, UsageError
from lvslab.events import nobody
from lvslab.sweep.crew import DaskCrew, check_address, crew_of
from lvslab.sweep.running import sweep
from lvslab.sweep.store import Store
from tests.unit.clusters import Cluster, beside, deadly_square, squares, stuck_square, user, wait_for
from tests.unit.sweeps import numbered

ADDRESSES = {
    "tcp://127.0.0.1:8786": "",
    "tcp://localhost:8786": "",
    "tcp://[::1]:8786": "",
    "tls://10.0.0.5:8786": "",
    "tcp://10.0.0.5:8786": "runs anybody's code",
    "tcp://example.org:8786": "runs anybody's code",
    "ftp://127.0.0.1:8786": "give tcp://127.0.0.1:PORT or tls://HOST:PORT",
    "/no/such/file": "neither an address such as tcp://127.0.0.1:8786 nor a scheduler file",
}


@pytest.mark.parametrize(("address", "words"), ADDRESSES.items(), ids=ADDRESSES)
def test_only_loopback_and_tls_are_taken(address: str, words: str) -> None:
    if not words:
        assert check_address(address) == address
        return
    with pytest.raises(UsageError) as refused:
        check_address(address)
    assert words in str(refused.value)


def test_the_address_in_a_scheduler_file_is_held_to_the_same(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    for text, words in (
        (json.dumps({"address": "tcp://10.0.0.5:1"}), "anybody's code"),
        ("{", "not a scheduler"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=words):
            check_address(str(file))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def test_what_is_killed_loses_only_what_was_under_way(cluster: Cluster, tmp_path: Path) -> None:
    """Two workers with folders of their own; kill -9 of one, of the user, and of the scheduler."""
    cells, store = numbered(60), Store(tmp_path / "sweep")
    store.folder.mkdir()

    def reaches(count: int, process: BaseProcess) -> None:
        wait_for(lambda: len(store.done()) >= count, f"{count} cells done", process)

    process = user(store.folder, cells, cluster.file)
    reaches(3, process)
    wait_for(lambda: cluster.kill_worker(0), "a worker to kill", process)
    reaches(10, process)
    assert process.pid
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    survived = store.done()
    assert 10 <= len(survived) < len(cells)

    process = user(store.folder, cells, cluster.file)
    reaches(len(survived) + 3, process)
    cluster.kill_scheduler()
    process.join(120)
    assert process.exitcode == 69 and "scheduler is gone" in (store.folder / "error").read_text()
    assert len(survived) + 3 <= len(store.done()) < len(cells)

    cluster.start(workers=1)
    process = user(store.folder, cells, cluster.file)
    process.join(120)
    assert process.exitcode == 0
    done = store.done()
    assert squares(store, cells) == {str(n): str(n * n).encode() for n in range(60)}
    assert all(done[key] == one for key, one in survived.items()), "nothing that was done is done again"
    assert not list((store.folder / "cells").glob(".*"))


def test_a_cell_that_kills_its_worker_is_recorded_and_takes_no_other_along(tmp_path: Path) -> None:
    """The embedded cluster: two cells at a time in one worker. A busy machine takes longer to start
    it again than Dask would wait: here no machine is quick enough.
    """
    cells, store = numbered(6), Store(tmp_path / "sweep")
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}),
        store.mine(),
        crew_of(None, 2, store.work, deadly_square) as crew,
    ):
        assert (crew.machines, crew.places) == (1, 2)
        done = sweep(cells, store, crew, nobody)
    broken = [cell.axes["n"] for cell in cells if done[cell.key].broken]
    assert broken == ["3"]
    assert "died" in done[cells[3].key].error and done[cells[3].key].tries == 3


def test_a_worker_that_does_not_come_back_ends_the_sweep(cluster: Cluster, tmp_path: Path) -> None:
    """As its own worker on a machine too busy to start it again: waiting would have no end."""
    cells, store = numbered(60), Store(tmp_path / "sweep")
    address = check_address(str(cluster.file))
    with Client(address, set_as_default=False) as client, store.mine():
        crew = DaskCrew(client, stuck_square, patience=1.0)
        crew.start(cells[0], alone=False)
        assert crew.ended()[0] is cells[0], "precondition: with a worker it goes on"
        crew.start(cells[1], alone=False)
        left = [file for number in range(len(cluster.workers)) for file in cluster.semaphores(number)]
        assert left and all(file.exists() for file in left), "precondition: a machine has semaphores"
        for number in range(len(cluster.workers)):
            cluster.kill_machine(number)
        with pytest.raises(LabError, match="did not come back"):
            crew.ended()
    assert not [file for file in left if file.exists()], "a machine that was killed left semaphores"


def test_a_timed_cell_has_the_machine_for_itself(tmp_path: Path) -> None:
    store = Store(tmp_path / "sweep")
    cells = [*numbered(4), *numbered(8, timed=True)[4:]]
    with store.mine(), crew_of(None, 2, store.work, beside) as crew:
        sweep(cells, store, crew, nobody)
    beside_timed = {(store.directory(cell.key) / "most.txt").read_text() for cell in cells if cell.timed}
    beside_others = {(store.directory(cell.key) / "most.txt").read_text() for cell in cells if not cell.timed}
    assert beside_timed == {"1"} and beside_others >= {"2"}


def test_a_cluster_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Also where that has no time to end it: a test that is killed leaves no process."""
    file = tmp_path / "processes"

    def start() -> None:
        cluster = Cluster(tmp_path, workers=1)
        cluster.start()
        file.with_suffix(".new").write_text(" ".join(map(str, cluster.processes())))
        file.with_suffix(".new").rename(file)
        signal.pause()

    starter = multiprocessing.get_context("fork").Process(target=start)
    starter.start()
    wait_for(file.exists, "a cluster", starter)
    started = [int(word) for word in file.read_text().split()]
    assert len(started) >= 3, "scheduler, nanny, and the process that carries out cells"
    assert all(map(_runs, started))
    starter.kill()
    starter.join()
    wait_for(lambda: not any(map(_runs, started)), f"the end of {started}")


def _runs(pid: int) -> bool:
    """Whether a process is there and has not ended (proc_pid_stat(5), field 3)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
