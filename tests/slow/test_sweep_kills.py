"""A sweep on four workers, of which something is killed at twenty random moments: the same results,
byte for byte, as one that nobody disturbed.
"""

from __future__ import annotations

import os
import random
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from lvslab.sweep.store import Store
from tests.unit.clusters import Cluster, squares, user, wait_for
from tests.unit.sweeps import numbered

KILLS = 20


class Sweep:
    """A user who sweeps, and starts the sweep again whenever it has ended too early."""

    def __init__(self, store: Store, cluster: Cluster) -> None:
        self.store, self.cells, self._cluster = store, numbered(400), cluster
        self.process = self._begin()

    def _begin(self) -> BaseProcess:
        return user(self.store.folder, self.cells, self._cluster.file)

    def reaches(self, count: int) -> bool:
        """Whether so many cells are done; goes on where they are not."""
        reached = len(self.store.done()) >= count
        if not reached and not self.process.is_alive():
            assert self.process.exitcode in (0, 69, -signal.SIGKILL)
            self.process = self._begin()
        return reached

    def kill(self) -> None:
        """kill -9 of the user's process."""
        assert self.process.pid
        if self.process.is_alive():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_kills_change_no_result(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = Store(tmp_path / "sweep")
    store.folder.mkdir()
    killed = {"process": 0, "machine": 0, "scheduler": 0, "user": 0}
    with Cluster(tmp_path, workers=4) as cluster:
        sweep = Sweep(store, cluster)
        for _ in range(KILLS):
            count = len(store.done()) + 1 + chance.randrange(4)
            wait_for(lambda wanted=count: sweep.reaches(wanted), f"{count} cells")  # type: ignore[misc]
            victim = chance.choice([*killed])
            killed[victim] += 1
            if victim == "process":
                number = chance.randrange(4)
                wait_for(lambda worker=number: cluster.kill_worker(worker), "a worker to kill")  # type: ignore[misc]
            elif victim == "machine":
                cluster.kill_machine(chance.randrange(4))
                cluster.start()
            elif victim == "user":
                sweep.kill()
            else:
                cluster.kill_scheduler()
                sweep.process.join(120)
                assert sweep.process.exitcode == 69
                cluster.start()
        assert len(store.done()) < len(sweep.cells), "every kill found something under way"
        wait_for(lambda: sweep.reaches(len(sweep.cells)), "all cells", seconds=600)
        sweep.process.join(60)
    assert all(killed.values()), killed
    assert squares(store, sweep.cells) == {str(n): str(n * n).encode() for n in range(len(sweep.cells))}
    assert not any(one.broken for one in store.done().values())
