"""Dask clusters of separate processes, whose workers have folders of their own as machines have,
and a user's process that sweeps with them: each can be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from lvslab.errors import LabError
from lvslab.events import nobody
from lvslab.exitcodes import ExitCode
from lvslab.host import linux
from lvslab.host.linux import bound
from lvslab.sweep.cell import Cell
from lvslab.sweep.crew import crew_of, worker_command
from lvslab.sweep.running import sweep
from lvslab.sweep.store import Store
from lvslab.sweep.work import Outcome, packed
from tests.unit.sweeps import square

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 120.0


def wait_for(
    holds: Callable[[], bool], what: str, process: BaseProcess | None = None, *, seconds: float = _PATIENCE
) -> None:
    """Wait until something holds, as long as a process lives."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited in vain: {what}"
        assert process is None or process.is_alive(), f"ended before this: {what}"
        time.sleep(0.02)


class Cluster:
    """A scheduler and workers, each in processes of their own."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self._folder, self._count = folder, workers
        self.file = folder / "scheduler.json"
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, workers: int | None = None) -> None:
        """Start whatever does not run, so many workers from now on; it need not be ready."""
        self._count = workers or self._count
        words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
        if self._scheduler is None or self._scheduler.poll() is not None:
            self.stop()
            self.file.unlink(missing_ok=True)
            self._scheduler = self._begin(
                [sys.executable, "-m", "dask", *words, "--scheduler-file", str(self.file)], "scheduler"
            )
            wait_for(self.file.is_file, "a scheduler file")
        for number in range(self._count):
            if number < len(self.workers) and self.workers[number].poll() is None:
                continue
            place = self._folder / f"machine-{number}"
            place.mkdir(exist_ok=True)
            started = self._begin(worker_command(str(self.file), 1, place), place.name)
            self.workers[number : number + 1] = [started]

    def stop(self) -> None:
        """Kill everything."""
        for process in [*self.workers, *([self._scheduler] if self._scheduler else [])]:
            _kill(process)
        self.workers = []

    def kill_scheduler(self) -> None:
        """kill -9 of the scheduler."""
        assert self._scheduler
        self._scheduler.kill()
        self._scheduler.wait()

    def processes(self) -> list[int]:
        """All that run now, once every worker has the process that carries out cells."""
        wait_for(lambda: all(map(_carrier, self.workers)), "workers")
        helpers = [child for nanny in self.workers for child in _children(nanny)]
        own = [each.pid for each in (self._scheduler, *self.workers) if each]
        return [*own, *helpers]

    def kill_worker(self, number: int) -> bool:
        """kill -9 of the process that carries out cells, which its nanny starts again; False where
        it is just not there.
        """
        carrier = _carrier(self.workers[number])
        if carrier is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(carrier, signal.SIGKILL)
        return True

    def kill_machine(self, number: int) -> None:
        """kill -9 of a worker with all that belongs to it."""
        _kill(self.workers[number])

    def semaphores(self, number: int) -> list[Path]:
        """What a worker's process has in the machine's shared memory: told by the inode
        (proc_pid_maps(5), field 5), for it was mapped under a name of a moment (sem_open).
        """
        maps = Path(f"/proc/{self.workers[number].pid}/maps").read_text()
        mapped = {line.split()[4] for line in maps.splitlines() if "/dev/shm/" in line}
        found = []
        for file in Path("/dev/shm").glob("sem.mp-*"):
            with suppress(FileNotFoundError):
                found += [file] if str(file.stat().st_ino) in mapped else []
        return found

    def _begin(self, words: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                bound(words),  # whatever ends the test ends them
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a process and of all its session's, but for what takes their semaphores out of
    /dev/shm when they are gone, and then ends (multiprocessing's resource tracker).
    """
    while others := [pid for pid in _session(process.pid) if not _is_tracker(pid)]:
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
    wait_for(lambda: not _session(process.pid), f"the end of the session of {process.pid}")


def _session(leader: int) -> list[int]:
    """The processes of a session that have not ended (proc_pid_stat(5): field 3 is the state, 6 the
    session).
    """
    members = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = file.read_text().rpartition(")")[2].split()
            if words[3] == str(leader) and words[0] not in "ZX":
                members.append(int(file.parent.name))
    return members


def _is_tracker(pid: int) -> bool:
    with suppress(OSError):
        return b"multiprocessing.resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    """What its threads have started."""
    lists = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(word) for each in lists for word in each.read_text().split()]


def _carrier(nanny: subprocess.Popen[bytes]) -> int | None:
    """The process of a worker that carries out cells, if it is there."""
    for child in _children(nanny):
        with suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
    return None


def slow_square(cell: Cell, place: Path | None = None, processor: int | None = None) -> object:
    """A square that takes some time, so that it can be interrupted."""
    time.sleep(0.1)
    return square(cell, place, processor)


def deadly_square(cell: Cell, place: Path | None = None, processor: int | None = None) -> object:
    """Kills the worker where the number is 3."""
    if cell.axes["n"] == "3":
        os.kill(os.getpid(), signal.SIGKILL)
    return slow_square(cell, place, processor)


def stuck_square(cell: Cell, place: Path | None = None, processor: int | None = None) -> object:
    """Does not end where the number is 1."""
    while cell.axes["n"] == "1":
        time.sleep(1)
    return square(cell, place, processor)


def user(
    folder: Path, cells: Sequence[Cell], cluster: Path | None, work: object = slow_square
) -> BaseProcess:
    """A process that sweeps, as a user's command does; exit code 69 where the cluster went away."""

    def command() -> None:
        os.setsid()
        linux.die_with_parent(signal.SIGKILL)
        store = Store(folder)
        try:
            with store.mine(), crew_of(str(cluster) if cluster else None, 2, store.work, work) as crew:
                sweep(cells, store, crew, nobody)
        except LabError as error:
            (folder / "error").write_text(str(error))
            os._exit(69)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=command)
    process.start()
    return process


def squares(store: Store, cells: Sequence[Cell]) -> dict[str, bytes]:
    """The results, byte for byte."""
    return {cell.axes["n"]: (store.directory(cell.key) / "square.txt").read_bytes() for cell in cells}


def beside(cell: Cell, place: Path | None = None, processor: int | None = None) -> object:
    """How many cells at most were carried out at once while this one was, in most.txt."""
    assert place is not None
    mine = place / "under-way" / cell.key
    mine.parent.mkdir(exist_ok=True)
    mine.touch()
    most = 0
    for _ in range(20):
        most = max(most, len(list(mine.parent.iterdir())))
        time.sleep(0.01)
    mine.unlink()
    folder = place / f"of-{cell.key}"
    folder.mkdir()
    (folder / "most.txt").write_text(str(most))
    return Outcome(ExitCode.OK, "", 0.2, "here", packed(folder))
