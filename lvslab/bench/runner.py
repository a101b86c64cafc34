"""Runs measurements: boots every kernel with every seed, as many at a time as there are processors,
and writes the run directory.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lvslab.bench import archive, judge, transcript
from lvslab.bench.kernel import BenchKernel
from lvslab.bench.machine import Boot
from lvslab.bench.measurements import NOT_MEASURED, Measurement
from lvslab.events import Event, Listener
from lvslab.runs.costs import METRIC, UNIT
from lvslab.runs.records import Kernel, Lab, Node, Result
from lvslab.runs.writer import RunWriter

_LOOK_SECONDS = 0.1
_TELL_PERCENT = 5
_BOOT_SHARE = 6.0
"""A boot takes about as long as so many measurements: for the time that is left."""


@dataclass(frozen=True)
class Subject:
    """A kernel under a label that is unique in the run, and what is measured on it."""

    label: str
    kernel: BenchKernel
    measurements: tuple[Measurement, ...]
    skipped: Mapping[str, str]
    """Measurement → why this kernel cannot run it."""


def subjects(kernels: Sequence[BenchKernel], measurements: Sequence[Measurement]) -> list[Subject]:
    """Each kernel with what it has the modules for; a kernel that is named twice is
    measured twice.
    """
    found: list[Subject] = []
    for kernel in kernels:
        same = sum(each.kernel.name == kernel.name for each in found)
        lacking = {each.name: archive.missing(kernel, each) for each in measurements}
        skipped = {
            name: f"{kernel.release} has no {', '.join(names)}" for name, names in lacking.items() if names
        }
        able = tuple(each for each in measurements if each.name not in skipped)
        found.append(Subject(f"{kernel.name} #{same + 1}" if same else kernel.name, kernel, able, skipped))
    return found


@dataclass
class _Job:
    """One boot, before, while and after it runs."""

    subject: Subject
    seed: int
    folder: Path
    boot: Boot | None = None
    done: int = 0


def workers() -> int:
    """How many kernels run at a time: one a processor. The figures do not depend on it."""
    return max(1, len(os.sched_getaffinity(0)))


def measure(
    chosen: Sequence[Subject],
    seeds: int,
    sysctls: Mapping[str, str],
    run: RunWriter,
    tell: Listener,
    at_once: int | None = None,
) -> list[str]:
    """Measure everything and write it to the run.

    Returns:
        What went wrong with single measurements: sentences.

    Raises:
        CannotError: a program or module is missing.
        GuestError: a kernel died or hung; its console's last lines are in the message.
        KeyboardInterrupt: interrupted; no kernel is left running.
    """
    with ExitStack() as everything:
        archives: dict[str, int] = {}
        for subject in chosen:
            image = everything.enter_context(
                _in_memory(archive.build(subject.kernel, subject.measurements, sysctls))
            )
            archives[subject.label] = image.fileno()
        waiting = [
            _Job(subject, seed, run.logs / _folder(chosen.index(subject), subject, seed))
            for seed in range(1, seeds + 1)
            for subject in chosen
        ]
        progress = _Progress(waiting, tell)
        running: list[_Job] = []
        problems: list[str] = []
        verdicts: dict[tuple[str, str], dict[int, str]] = {}
        while waiting or running:
            while waiting and len(running) < (at_once or workers()):
                job = waiting.pop(0)
                job.folder.mkdir(parents=True)
                boot = Boot(job.subject.kernel, archives[job.subject.label], job.seed, job.folder)
                with _uninterrupted():  # or a kernel that has just started would belong to nobody
                    job.boot = everything.enter_context(boot)
                running.append(job)
            time.sleep(
                _LOOK_SECONDS
                # the lines come through files: nothing else keeps the guest from ever waiting for
                # its reader
            )
            for job in list(running):
                assert job.boot is not None
                # asked first: what it said before it ended is read below
                ended = not job.boot.running
                found = transcript.read(job.boot.listen())
                job.done = sum(each.done or bool(each.failure) for each in found.measurements.values())
                if ended:
                    running.remove(job)
                    problems += _finish(job, found, run, verdicts)
            progress.told(running, waiting)
        _results(chosen, verdicts, run)
        return problems


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interruption meanwhile is raised at the end."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_memory(data: bytes) -> IO[bytes]:
    """A file without a name (memfd_create(2)): nothing is left of it, in whatever way this process
    ends.
    """
    file = os.fdopen(os.memfd_create("initramfs"), "wb")
    file.write(data)
    file.flush()
    return file


def _folder(number: int, subject: Subject, seed: int) -> str:
    name = "".join(
        letter if letter.isalnum() or letter in "._-" else "-" for letter in subject.kernel.name
    ).strip("-")
    return f"{number + 1}-{name[-60:]}/seed{seed}"


def _finish(
    job: _Job, found: transcript.Transcript, run: RunWriter, verdicts: dict[tuple[str, str], dict[int, str]]
) -> list[str]:
    """Judge a boot that has ended and write its samples; returns what went wrong with single
    measurements.
    """
    assert job.boot is not None
    if found.problem:
        raise job.boot.error(found.problem)
    if not found.ended:
        raise job.boot.error(f"ended with status {job.boot.code} before its last measurement")
    if found.release != job.subject.kernel.release:
        raise job.boot.error(
            f"says that it is {found.release}, but its modules are for {job.subject.kernel.release}"
        )
    problems = []
    costs: dict[str, float] = {}
    for index, measurement in enumerate(job.subject.measurements):
        record = found.measurements.get(index, transcript.Record())
        wrong = judge.problem(measurement, record)
        baseline = measurement.baseline
        if not wrong and baseline and baseline not in costs:
            wrong = f"its baseline {baseline} has no figure"
        for phase, name in zip(measurement.phases, measurement.figures, strict=True):
            verdicts.setdefault((job.subject.label, name), {})[job.seed] = wrong
            total = None if wrong else judge.cost(measurement, record, phase)
            if total is not None:
                costs.setdefault(measurement.name, total)
            run.sample(
                lab=job.subject.label,
                mode=str(measurement.handling),
                metric=METRIC,
                unit=UNIT,
                repeat=job.seed,
                value=None if total is None else round(total - (costs[baseline] if baseline else 0.0), 3),
                labels={
                    "kernel": job.subject.label,
                    "measurement": name,
                    "seed": str(job.seed),
                    "over": baseline or "nothing",
                    "total": "" if total is None else f"{total:g}",
                },
                error=wrong or None,
            )
        if wrong:
            problems.append(f"{job.subject.label}, seed {job.seed}: {measurement.name}: {wrong}")
    return problems


def _results(
    chosen: Sequence[Subject], verdicts: Mapping[tuple[str, str], Mapping[int, str]], run: RunWriter
) -> None:
    """A verdict for every figure: did all packets arrive as they must, with every seed?"""
    results = []
    for subject in chosen:
        several = f"{subject.label}: " if len(chosen) > 1 else ""
        for measurement in subject.measurements:
            for name in measurement.figures:
                seeds = verdicts[subject.label, name]
                wrong = [f"seed {seed}: {reason}" for seed, reason in seeds.items() if reason]
                reason = (
                    "; ".join(wrong)
                    or f"every packet arrived as {measurement.handling} demands, with {len(seeds)} seeds"
                )
                if measurement.handling.value == "drop" and not wrong:
                    reason = f"every packet was dropped where it enters, with {len(seeds)} seeds"
                results.append(Result(several + name, "fail" if wrong else "pass", reason))
        results += [Result(several + name, "skip", reason) for name, reason in subject.skipped.items()]
    results += [Result(name, "skip", reason) for name, reason in NOT_MEASURED.items()]
    run.add_results(results)


class _Progress:
    """Tells how far everything is, and how long it may still take."""

    def __init__(self, jobs: Sequence[_Job], tell: Listener) -> None:
        self._jobs, self._tell = list(jobs), tell
        self._total = sum(len(job.subject.measurements) + _BOOT_SHARE for job in jobs)
        self._started, self._percent = time.monotonic(), -1

    def told(self, running: Sequence[_Job], waiting: Sequence[_Job]) -> None:
        """Tell, when it has got on by some percent."""
        done = 0.0
        for job in self._jobs:
            if job in waiting:
                continue
            whole = job not in running
            done += (
                len(job.subject.measurements) + _BOOT_SHARE
                if whole
                else job.done + (_BOOT_SHARE if job.done else 0.0)
            )
        percent = int(100 * done / self._total)
        if percent < self._percent + (_TELL_PERCENT if percent < 100 or self._percent == 100 else 1):
            return
        self._percent = percent
        passed = time.monotonic() - self._started
        left = f", about {passed * (self._total - done) / done:.0f} s left" if 0 < done < self._total else ""
        measured = sum(job.done for job in self._jobs)
        count = sum(len(job.subject.measurements) for job in self._jobs)
        boots = f"{len(running)} kernel{'s' if len(running) != 1 else ''} running"
        self._tell(Event("", "measure", f"bench: {measured} of {count} measurements, {boots}{left}"))


def lab_record(subject: Subject) -> Lab:
    """A kernel as a lab of the run: one director under QEMU."""
    kernel = Kernel(
        kind=subject.kernel.stock.kind,
        release=subject.kernel.release,
        config_sha256=subject.kernel.stock.config_sha256,
        why=f"measured: {subject.kernel.stock.image}",
    )
    return Lab(
        name=subject.label,
        mode="bench",
        topology="bench",
        nodes=(Node("director", "director", kernel=kernel),),
    )
