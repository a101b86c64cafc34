"""Cells carried out by Dask distributed: an embedded cluster, or one that runs somewhere.

Each machine has one worker, whose threads are its processors. The worker's resource `machine` has
`WHOLE` parts: a timed cell takes all of them, others one each, so that nothing runs beside a
measurement. Whole numbers, for Dask adds and subtracts them as floating point.

The scheduler keeps nothing that lasts (distributed, resilience): results come back as archives and
are kept by whoever asked for them.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lvslab.errors import CannotError, LabError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.sweep.cell import Cell
from lvslab.sweep.work import Outcome, carry_out

if TYPE_CHECKING:
    from distributed import Client

WHOLE = 4096
"""Parts of a machine: more than it has processors."""

RESOURCE = "machine"
_LINED_UP = 2
"""Cells that wait at the workers beside those that run, so that none of them idles."""

_CONNECT_SECONDS = 30
_WORKERLESS_SECONDS = 300.0
"""This machine's own worker is started again when it dies; where that takes longer than Dask waits,
it is not (distributed's nanny: "Failed to restart worker"), and nothing would ever end.
"""

_LOOK_SECONDS = 0.1
_INSTALL = "not installed; run: pip install 'lvslab[sweep]'"


class Work(Protocol):
    """Carries a cell out in a worker; a function that workers can import."""

    def __call__(self, cell: Cell, place: Path | None = None, processor: int | None = None) -> Outcome: ...


@contextmanager
def crew_of(cluster: str | None, processors: int, place: Path, work: Work = carry_out) -> Iterator[DaskCrew]:
    """A crew while the block is entered.

    Args:
        cluster: address of a scheduler, or its scheduler file; None: a cluster of this machine
            alone, which ends with the block or with this process, whatever ends that.
        processors: of this machine, for its own cluster.
        place: where its own cluster keeps files meanwhile.

    Raises:
        UsageError: an address that others could listen to, or no scheduler file.
        CannotError: Dask is not installed.
        LabError: nobody answers, or no worker carries out cells.
    """
    require_dask()
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": 0,  # running.py counts them
        "distributed.worker.daemon": False,
        # By default a worker that is away 15 seconds after it was lost is given up, although
        # it may be about to start: a busy machine needs longer. `_wait` says what is too long.
        "distributed.deploy.lost-worker-timeout": "3650 days",
        "distributed.scheduler.work-stealing": False,
        "distributed.comm.timeouts.connect": f"{_CONNECT_SECONDS}s",
    }
    with dask.config.set(settings):
        if cluster is None:
            own = LocalCluster(
                n_workers=1,
                threads_per_worker=processors,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                resources={RESOURCE: WHOLE},
                memory_limit=0,  # what cells take is their guests', which Dask does not see
                local_directory=str(place),
                silence_logs=50,
            )
            with own, Client(own) as client:
                yield DaskCrew(client, work, _WORKERLESS_SECONDS)
            return
        with _connected(cluster) as client:
            yield DaskCrew(client, work)


@contextmanager
def _connected(cluster: str) -> Iterator[Client]:
    """A client of a cluster that runs somewhere."""
    from distributed import Client

    address = check_address(cluster)
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise LabError(f"cluster {cluster}: no scheduler answers: {error}") from error
    with client:
        yield client


def require_dask() -> None:
    """
    Raises:
        CannotError: Dask is not installed.
    """
    if find_spec("distributed") is None:
        raise CannotError(f"Dask distributed: {_INSTALL}")


def check_address(cluster: str) -> str:
    """The address of a scheduler, or what its scheduler file says.

    Whoever reaches a Dask scheduler or worker runs code as its user: only loopback, where others of
    this machine may reach it, and TLS with certificates of one's own are taken.

    Raises:
        UsageError: it is neither.
    """
    address = cluster
    if "://" not in cluster:
        try:
            address = json.loads(Path(cluster).read_text(encoding="utf-8"))["address"]
        except OSError as error:
            raise UsageError(
                f"cluster {cluster}: neither an address such as tcp://127.0.0.1:8786 nor a scheduler file:"
                f" {error.strerror}"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"cluster {cluster}: not a scheduler file of Dask") from error
    protocol, _, rest = address.partition("://")
    host = rest.rpartition(":")[0].strip("[]")
    if protocol == "tls":
        return address
    if protocol != "tcp" or not host:
        raise UsageError(f"cluster {address}: give tcp://127.0.0.1:PORT or tls://HOST:PORT")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"cluster {address}: Dask runs anybody's code who reaches it; use tls:// or a tunnel to loopback,"
            " see docs/sweeps.md"
        )
    return address


class DaskCrew:
    """A crew of Dask workers (`lvslab.sweep.running.Crew`)."""

    def __init__(self, client: Client, work: Work, patience: float | None = None) -> None:
        """`patience`: seconds without a worker after which it is over; None: one may come at any
        time.

        Raises:
            LabError: no worker carries out cells.
        """
        from distributed import as_completed

        self._client, self._work, self._patience = client, work, patience
        self._ended = as_completed(loop=client.loop)
        self._cells: dict[str, Cell] = {}
        self._started = 0
        with suppress(TimeoutError):
            client.wait_for_workers(1, timeout=_CONNECT_SECONDS)
        self._measure()
        if not self.machines:
            raise LabError(
                f"cluster {client.scheduler_info()['address']}: no worker carries out cells; start one on"
                " each machine: lvslab sweep worker ADDRESS"
            )

    def _measure(self) -> None:
        """Count the workers that carry out cells."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        able = [each for each in workers if each["resources"].get(RESOURCE) == WHOLE]
        self.machines: int = len(able)
        self.places: int = sum(each["nthreads"] for each in able)

    @property
    def room(self) -> int:
        return max(0, self.places + self.machines * _LINED_UP - len(self._cells))

    def start(self, cell: Cell, *, alone: bool) -> None:
        """See `Crew.start`."""
        self._started += 1
        key = f"cell-{cell.key}-{self._started}"  # each try is a task of its own
        self._cells[key] = cell
        future = self._client.submit(
            _in_worker,
            self._work,
            cell,
            alone,
            key=key,
            pure=False,
            priority=-self._started,
            resources={RESOURCE: WHOLE if alone else 1},
        )
        self._ended.add(future)

    def _wait(self, patience: float) -> None:
        """Until a cell has ended.

        Raises:
            LabError: there has been no worker for too long.
        """
        seen = time.monotonic()
        while not self._ended.has_ready():
            if self._client.scheduler_info(n_workers=-1)["workers"]:
                seen = time.monotonic()
            elif time.monotonic() - seen > patience:
                raise LabError(
                    "the worker of this machine died, and did not come back; see: lvslab sweep resume"
                )
            time.sleep(_LOOK_SECONDS)

    def ended(self) -> tuple[Cell, Outcome]:
        """See `Crew.ended`."""
        from distributed import KilledWorker

        if self._patience is not None:
            self._wait(self._patience)
        future: Any = next(self._ended)
        if future.status == "cancelled":
            raise LabError("the cluster's scheduler is gone")
        cell = self._cells.pop(future.key)
        if future.status == "lost":
            return cell, Outcome(ExitCode.LAB_BROKE, "the worker died before it gave its result", 0.0, "")
        try:
            outcome: Outcome = future.result()
        except KilledWorker as error:
            worker = error.last_worker.address if error.last_worker else "unknown"
            outcome = Outcome(ExitCode.LAB_BROKE, f"the worker {worker} that carried it out died", 0.0, "")
        except OSError as error:
            raise LabError(f"the cluster's scheduler is gone: {error}") from error
        except Exception as error:
            outcome = Outcome(ExitCode.LAB_BROKE, f"the worker: {type(error).__name__}: {error}", 0.0, "")
        future.release()
        return cell, outcome


def _in_worker(work: Work, cell: Cell, alone: bool) -> Outcome:
    """Carry a cell out, on a processor of its own where it shares the machine."""
    from distributed import get_worker

    worker: Any = get_worker()
    place = Path(worker.local_directory)
    if alone:
        return work(cell, place)
    with _processor(place) as processor:
        return work(cell, place, processor)


@contextmanager
def _processor(place: Path) -> Iterator[int | None]:
    """One of the machine's processors that no other cell of the worker has; None where all are
    taken. A lock tells them apart, which ends with whoever holds it.
    """
    for number in sorted(os.sched_getaffinity(0)):
        with (place / f"processor-{number}").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    yield None


def worker_command(cluster: str, processors: int, place: Path) -> list[str]:
    """The command that makes this machine carry out cells for a cluster.

    Args:
        place: where it keeps files meanwhile.
    """
    where = [cluster] if "://" in cluster else ["--scheduler-file", cluster]
    options = {
        "--nworkers": 1,
        "--nthreads": processors,
        "--resources": f"{RESOURCE}={WHOLE}",
        "--memory-limit": 0,
        "--local-directory": place,
    }
    words = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-m", "dask", "worker", *where, *words, "--nanny", "--no-dashboard"]
