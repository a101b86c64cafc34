"""Worlds side by side: one process a processor, each of which tries one case after the other."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from types import TracebackType

from lvslab.errors import LabError, LvslabError
from lvslab.explore.schedule import Case
from lvslab.explore.trying import Tried
from lvslab.simulation.processor import on_one_processor

Work = Callable[[Case], Tried]

WORLDS = 2
"""At once, at most."""


class Workers:
    """Processes that try cases, as a context manager: none outlives it.

    Attributes:
        count: how many there are.
    """

    def __init__(self, work: Work, most: int) -> None:
        """`most`: no more than this many, or than there are processors."""
        self._work = work
        self._processors = sorted(os.sched_getaffinity(0))[:most]
        self.count = len(self._processors)
        self._idle: list[Connection] = []
        self._busy: list[Connection] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []

    def __enter__(self) -> Workers:
        context = multiprocessing.get_context("fork")
        for processor in self._processors:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(self._work, processor, there), daemon=True)
            process.start()
            there.close()
            self._processes.append(process)
            self._idle.append(here)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()  # its guests go with it
        for process in self._processes:
            process.join()

    @property
    def free(self) -> bool:
        """Whether one of them has nothing to do."""
        return bool(self._idle)

    @property
    def working(self) -> int:
        """How many of them have."""
        return len(self._busy)

    def start(self, case: Case) -> None:
        """Give a case to one that is free."""
        line = self._idle.pop()
        line.send(case)
        self._busy.append(line)

    def ended(self, timeout: float | None = None) -> list[Tried]:
        """What has ended, after waiting for the first; empty when `timeout` seconds have passed.

        Raises:
            LabError: a process has died.
            LvslabError: a case cannot be tried.
        """
        results = []
        for line in wait(self._busy, timeout):
            assert isinstance(line, Connection)
            try:
                result = line.recv()
            except EOFError:
                raise LabError("explore: a process that tries cases has died") from None
            if isinstance(result, LvslabError):
                raise result
            self._busy.remove(line)
            self._idle.append(line)
            results.append(result)
        return results


def _serve(work: Work, processor: int, line: Connection) -> None:
    """What a process does: cases come, results go."""
    with on_one_processor(processor):
        while True:
            try:
                case = line.recv()
            except (EOFError, KeyboardInterrupt):
                return
            try:
                line.send(work(case))
            except LvslabError as error:
                line.send(error)
            except KeyboardInterrupt:
                return
