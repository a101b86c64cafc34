"""One scenario in many worlds of virtual time, side by side, one a processor."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import Empty

from lvslab.errors import LabError
from lvslab.events import nobody
from lvslab.kernels.needs import Kernels
from lvslab.runs import observation, rundir
from lvslab.runs.worlds import SeedTrial, lasting, phase_of_advert
from lvslab.scenario.cells import Cell
from lvslab.scenario.jobs import Job
from lvslab.scenario.running import run_jobs
from lvslab.simulation.labs.world import DIGEST, VirtualWorld
from lvslab.simulation.processor import on_one_processor

_GLANCE_SECONDS = 1.0


def run_seeds(
    job: Job, cell: Cell, kernels: Kernels, seeds: Sequence[int], folder: Path, *, keep: bool = False
) -> Iterator[tuple[SeedTrial, ...]]:
    """Run a scenario in the worlds of some seeds; each world's trials as soon as it has ended.

    Args:
        folder: exists; each world gets a folder of its own in it.
        keep: keep the frames.

    Raises:
        LabError: a process that runs worlds has died.
    """
    work = partial(_run_one, job, cell, kernels, folder, keep)
    yield from _side_by_side(work, seeds)


def _run_one(
    job: Job, cell: Cell, kernels: Kernels, folder: Path, keep: bool, seed: int
) -> tuple[SeedTrial, ...]:
    outcome = next(
        run_jobs(
            [job],
            kernels,
            nobody,
            folder / f"seed-{seed}",
            cells=(cell,),
            draw=False,
            keep_going=True,
            world=partial(VirtualWorld, seed, keep=keep),
        )
    )
    digest = (outcome.run / DIGEST).read_text().strip()
    place = str(outcome.run.relative_to(folder))
    run = rundir.load(outcome.run)
    seen = [observation.observed(run.probes, trial) for trial in run.trials]
    trials = [
        SeedTrial(
            seed,
            int(outcome.code),
            digest,
            one.trial.variant,
            one.outage_seconds,
            one.detection,
            None if one.fault is None else phase_of_advert(run, one.trial.lab, one.fault),
            one.trial.bound.seconds if one.trial.bound else None,
            lasting(one.survival),
            place,
            outcome.error,
        )
        for one in seen
    ]
    return tuple(trials) or (SeedTrial(seed, int(outcome.code), digest, run=place, error=outcome.error),)


def _side_by_side(
    work: Callable[[int], tuple[SeedTrial, ...]], seeds: Sequence[int]
) -> Iterator[tuple[SeedTrial, ...]]:
    """Work on seeds in as many processes as there are processors, each on one of its own."""
    processors = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")  # a scenario's function cannot be sent
    results = context.Queue()

    def serve(place: int) -> None:
        with on_one_processor(processors[place]):
            for seed in seeds[place :: len(processors)]:
                results.put(work(seed))

    workers = [
        context.Process(target=serve, args=(place,)) for place in range(min(len(processors), len(seeds)))
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in seeds:
            while True:
                try:
                    yield results.get(timeout=_GLANCE_SECONDS)
                    break
                except Empty:
                    dead = [worker for worker in workers if worker.exitcode]
                    if dead:
                        raise LabError(f"a process that runs worlds ended with {dead[0].exitcode}") from None
    except BaseException:
        for worker in workers:
            worker.kill()  # its guests go with it
        raise
    finally:
        for worker in workers:
            worker.join()
