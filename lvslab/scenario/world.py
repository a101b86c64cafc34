"""The world that a scenario's labs are in, and what else it has of its own: its time, and clients
that ask. A scenario does not know which world it is in.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol

from lvslab.events import Listener
from lvslab.lab.lab import Lab, in_real_time
from lvslab.lab.lateness import LatenessWatch
from lvslab.lab.worlds import AnyLab
from lvslab.plan.plan import LabPlan
from lvslab.plan.services import HTTP_PORT
from lvslab.traffic import http
from lvslab.traffic.prober import Prober, ProbeSpec, ProbeSummary


class AnyProber(Protocol):
    """A prober that runs in the first client while the block is entered.

    Attributes:
        start: the planned time of the first attempt, seconds since the epoch.
    """

    start: float

    def __enter__(self) -> AnyProber: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def latest(self) -> tuple[float, float]:
        """Planned times of the latest attempts that have ended, served and failed; 0: none yet."""

    def check_alive(self) -> None:
        """Raise LabError if it is not probing any more."""

    def stop(self) -> ProbeSummary:
        """Begin nothing new, wait for what is under way, and return the summary."""


class World(Protocol):
    """Where labs are made."""

    @property
    def facts(self) -> Mapping[str, str | int]:
        """What tells it from others, as parameters of its runs; nothing of this machine's."""

    def kernels(self, asked: Sequence[str], given: Sequence[str]) -> Sequence[str]:
        """The directors' kernels, of those that a scenario asks for and those that the command line
        gives.

        Raises:
            CannotError: there are not enough.
        """

    def close(self, run: Path) -> None:
        """Leave what it has to say in the run directory, when the last lab has gone."""

    def now(self) -> float:
        """Seconds since the epoch, between labs, too."""

    def lab(self, plan: LabPlan, logs: Path, listener: Listener) -> AnyLab:
        """A lab, to be entered.

        Args:
            logs: existing folder for what the lab's kernels and programs say.
        """

    def prober(self, lab: AnyLab, spec: ProbeSpec, attempts: Path, beats: Path) -> AnyProber:
        """A prober, to be entered, in the lab's first client; both files are written anew."""

    def lateness(self, lab: AnyLab, file: Path) -> AbstractContextManager[object]:
        """A watch on how late the world is, to be entered; the file is written anew
        (`lvslab.runs.lateness`), or not at all where time waits for everybody.
        """

    def get(self, lab: AnyLab, client: int, times: int) -> list[str]:
        """Names of the real servers that answered `times` HTTP requests of a client, one after the
        other; "" for a request that failed.
        """


class MachineWorld:
    """This machine, in its own time."""

    def __init__(self, lab_class: type[Lab] = Lab) -> None:
        self._lab_class = lab_class
        self.facts: Mapping[str, str | int] = {}

    def kernels(self, asked: Sequence[str], given: Sequence[str]) -> Sequence[str]:
        """What the command line gives counts more."""
        return given or asked

    def close(self, run: Path) -> None:
        """Everything has been said."""

    def now(self) -> float:
        return time.time()

    def lab(self, plan: LabPlan, logs: Path, listener: Listener) -> Lab:
        return self._lab_class(plan, logs, listener)

    def prober(self, lab: AnyLab, spec: ProbeSpec, attempts: Path, beats: Path) -> Prober:
        return Prober(in_real_time(lab, "a prober program").clients[0], spec, attempts, beats)

    def lateness(self, lab: AnyLab, file: Path) -> LatenessWatch:
        return LatenessWatch(in_real_time(lab, "the machine's lateness"), file)

    def get(self, lab: AnyLab, client: int, times: int) -> list[str]:
        node = in_real_time(lab, "curl").clients[client]
        answers = http.get(node, f"http://{lab.plan.addresses.vip}:{HTTP_PORT}/", times)
        return [answer.server or "" for answer in answers]
