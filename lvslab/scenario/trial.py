"""A trial: a lab under the load of a prober while something is broken and repaired, with all that
happens marked on one clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import cast, get_args

from lvslab.errors import LabError
from lvslab.events import Event
from lvslab.lab.lab import Lab
from lvslab.lab.watch import Table, TableWatch
from lvslab.runs import records
from lvslab.runs.outage import Attempt, Beat, Stretch, Survival, survival
from lvslab.runs.probes import read_probes
from lvslab.runs.trials import outage_since
from lvslab.runs.writer import RunWriter
from lvslab.traffic.prober import Prober, ProbeSpec, ProbeSummary

MARKS = get_args(records.MarkKind)
"""Kinds of events that become marks of the trial."""

CALM = 0.5
"""Seconds without a failed attempt after which a service counts as whole."""

_LOOK = 0.05


class Trial:
    """A running trial, as a context manager; its records are complete when the block is left.

    Attributes:
        name: of its files.
        start: seconds since the epoch.
        summary: what the prober says of itself, after the block.
    """

    def __init__(
        self,
        lab: Lab,
        run: RunWriter,
        spec: ProbeSpec,
        *,
        variant: str,
        repeat: int,
        expects: str,
        bound: records.Bound | None,
    ) -> None:
        self.lab, self._run, self._spec = lab, run, spec
        self.variant, self._repeat, self._expects, self._bound = variant, repeat, expects, bound
        self.name = f"{_slug(variant)}-{repeat}"
        self.start = time.time()
        self._end: float | None = None
        self.summary: ProbeSummary | None = None
        self._marks: list[records.Mark] = []
        self._verdict: records.TrialVerdict | None = None
        self._watches: dict[str, TableWatch] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Trial:
        with ExitStack() as stack:
            for planned in self.lab.plan.directors:
                watch = TableWatch(self.lab.node(planned.name), self._table_listener(planned.name))
                self._watches[planned.name] = stack.enter_context(watch)
            self._prober = stack.enter_context(
                Prober(self.lab.clients[0], self._spec, self.attempts_file, self.beats_file)
            )
            self._stack = stack.pop_all()
        self.start = self._prober.start
        self._save()
        rate = f"{self._spec.rate:g} attempts/s" if self._spec.rate else "no new connections"
        lasting = f", {self._spec.connections} lasting connections" if self._spec.connections else ""
        self.lab.tell("measure", f"{self.variant}, repetition {self._repeat}: {rate}{lasting}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end = time.time()
        try:
            if error is None:
                self.summary = self._prober.stop()
        finally:
            self._stack.__exit__(kind, error, trace)
            self._end = end if error is None else None
            self._save()

    def hear(self, event: Event) -> None:
        """Take an event of the lab; those of the kinds in `MARKS` become marks."""
        if event.kind in MARKS:
            mark = records.Mark(event.t, cast(records.MarkKind, event.kind), event.node, event.text)
            with self._lock:
                self._marks.append(mark)

    def _table_listener(self, director: str) -> Callable[[float, Table, tuple[str, ...]], None]:
        def listen(t: float, _table: Table, said: tuple[str, ...]) -> None:
            for sentence in said:
                self.lab.tell(
                    "table", f"{director}: {sentence}" if len(self._watches) > 1 else sentence, director, t
                )

        return listen

    def _save(self) -> None:
        self._run.add_trial(self._record)

    @property
    def _record(self) -> records.Trial:
        """The trial as far as it has come."""
        spec = self._spec
        with self._lock:
            marks = tuple(self._marks)
        return records.Trial(
            name=self.name,
            variant=self.variant,
            mode=self.lab.plan.mode.name,
            lab=self.lab.plan.name,
            repeat=self._repeat,
            start=self.start,
            end=self._end,
            interval=spec.interval,
            timeout=spec.timeout,
            heartbeat=spec.heartbeat if spec.connections else None,
            marks=marks,
            bound=self._bound,
            expects=self._expects,
            verdict=self._verdict,
        )

    # -- while it runs -----------------------------------------------------------------------------

    def steady(self, seconds: float) -> None:
        """Let the load run for some time.

        Raises:
            LabError: the prober, a daemon or a guest has died meanwhile.
        """
        self.until(lambda: False, seconds, None)

    def until(self, condition: Callable[[], bool], timeout: float, problem: str | None) -> bool:
        """Let the load run until a condition holds.

        Returns:
            Whether it came to hold within `timeout` seconds.

        Raises:
            LabError: it did not and `problem` says what that means; or something died meanwhile.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._prober.check_alive()
            self.lab.check()
            for watch in self._watches.values():
                watch.check()
            if condition():
                return True
            rest = deadline - time.monotonic()
            if rest <= 0:
                break
            time.sleep(min(rest, _LOOK))
        if problem:
            raise LabError(f"{self.lab.plan.name}, {self.variant}: {problem} within {timeout:g} s")
        return False

    def until_whole(self, timeout: float = 30.0, calm: float = CALM) -> bool:
        """Let the load run until no attempt of `calm` seconds failed, from now on; returns whether
        that came within `timeout` seconds.

        An attempt may take the prober's own timeout until it has failed, so the answer comes that
        much later.
        """
        tail = _Tail(self.attempts_file)
        begin = time.time()

        def whole() -> bool:
            tail.read()
            since = max(tail.last_failure, begin)
            return tail.last_ok >= since + calm and time.time() >= since + calm + self._spec.timeout

        return self.until(whole, timeout, None)

    def until_table(
        self, holds: Callable[[Table], bool], timeout: float = 30.0, director: str | None = None
    ) -> bool:
        """Let the load run until a director's table is as wanted; returns whether that came in
        time.
        """
        watch = self._watches[director or self.lab.plan.director.name]
        return self.until(lambda: holds(watch.table), timeout, None)

    def until_master(self, director: str, timeout: float = 30.0) -> bool:
        """Let the load run until a director has become master; returns whether that came
        in time.
        """
        return self.until(lambda: self.lab.vrrp_state(director) == "MASTER", timeout, None)

    # -- afterwards --------------------------------------------------------------------------------

    @property
    def timeout(self) -> float:
        """Seconds that an attempt may take."""
        return self._spec.timeout

    @property
    def attempts_file(self) -> Path:
        return self._run.probes / f"{self.name}.attempts.csv"

    @property
    def beats_file(self) -> Path:
        return self._run.probes / f"{self.name}.beats.csv"

    @property
    def evidence(self) -> list[str]:
        """The trial's files, as results name them."""
        return [
            str(file.relative_to(self._run.path))
            for file in (self.attempts_file, self.beats_file)
            if file.exists()
        ]

    @cached_property
    def _records(self) -> tuple[Sequence[Attempt], Sequence[Beat]]:
        found = read_probes(
            self.attempts_file if self._spec.rate else None,
            self.beats_file if self._spec.connections else None,
        )
        return found.attempts, found.beats

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Every attempt, after the block."""
        return self._records[0]

    @property
    def beats(self) -> Sequence[Beat]:
        """Every heartbeat, after the block."""
        return self._records[1]

    def since(self, t: float, until: float = float("inf")) -> list[Attempt]:
        """The attempts planned in a stretch of time."""
        return [each for each in self.attempts if t <= each.planned < until]

    def outage(self, since: float) -> Stretch | None:
        """The outage that began at `since` or later, None when no attempt failed; after the block.

        Raises:
            LabError: it is not known: no attempt was made from then on.
        """
        attempts = self.attempts if self._spec.rate else None
        stretch, unknown = outage_since(since, self._record, attempts)
        if unknown:
            raise LabError(
                f"{self.lab.plan.name}, {self.variant}: the outage is not known: {unknown}; give the trial a"
                " rate of attempts, and let its load go on for a while after the fault"
            )
        return stretch

    def survival(self, since: float, until: float | None = None) -> Survival:
        """What became of the lasting connections that stood at `since`."""
        return survival(self.beats, since, until)

    def mark(self, kind: str, since: float, text: str = "") -> float | None:
        """When the first mark of a kind with a text came at `since` or later, or None."""
        with self._lock:
            times = [mark.t for mark in self._marks if mark.kind == kind and text in mark.text]
        return min((t for t in times if t >= since), default=None)

    def judged(self, verdict: bool) -> None:
        """Note an expectation's outcome; one that failed makes the trial's verdict."""
        self._verdict = "fail" if self._verdict == "fail" or not verdict else "pass"
        self._save()


class _Tail:
    """Follows the attempts as they are written."""

    def __init__(self, file: Path) -> None:
        self._file, self._position = file, 0
        self.last_ok = self.last_failure = 0.0
        """Planned times of the latest attempts of either kind that have ended."""

    def read(self) -> None:
        with self._file.open("rb") as stream:
            stream.seek(self._position)
            text = stream.read()
        whole = text.rfind(b"\n") + 1
        self._position += whole
        for line in text[:whole].splitlines():
            planned, outcome = line.partition(b",")[0], line.rpartition(b",")[2]
            if planned == b"planned":
                continue
            if outcome == b"ok":
                self.last_ok = max(self.last_ok, float(planned))
            else:
                self.last_failure = max(self.last_failure, float(planned))


def _slug(text: str) -> str:
    return "-".join("".join(each if each.isalnum() else " " for each in text.lower()).split()) or "trial"
