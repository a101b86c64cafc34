"""A trial: a lab under the load of a prober while something is broken and repaired, with all that
happens marked on one clock. What its records say afterwards: `runs/observation.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import cast, get_args

from lvslab.errors import LabError
from lvslab.events import Event
from lvslab.lab.worlds import AnyLab, Table, Watch
from lvslab.runs import lateness, records
from lvslab.runs.lateness import Delay, Excuse
from lvslab.runs.observation import outage_since
from lvslab.runs.outage import Attempt, Beat, Stretch, Survival, survival
from lvslab.runs.probes import read_probes
from lvslab.runs.writer import RunWriter
from lvslab.scenario.world import World
from lvslab.traffic.prober import ProbeSpec, ProbeSummary

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
        lab: AnyLab,
        world: World,
        run: RunWriter,
        spec: ProbeSpec,
        *,
        variant: str,
        repeat: int,
        expects: str,
        bound: records.Bound | None,
    ) -> None:
        self.lab, self._world, self._run, self._spec = lab, world, run, spec
        self.variant, self._repeat, self._expects, self._bound = variant, repeat, expects, bound
        self.name = f"{_slug(variant)}-{repeat}"
        self.start = lab.now()
        self._end: float | None = None
        self.summary: ProbeSummary | None = None
        self._marks: list[records.Mark] = []
        self._verdict: records.TrialVerdict | None = None
        self._watches: dict[str, Watch] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Trial:
        with ExitStack() as stack:
            for planned in self.lab.plan.directors:
                watch = self.lab.watch(planned.name, self._table_listener(planned.name))
                self._watches[planned.name] = stack.enter_context(watch)
            self._prober = stack.enter_context(
                self._world.prober(self.lab, self._spec, self.attempts_file, self.beats_file)
            )
            stack.enter_context(self._world.lateness(self.lab, self.lateness_file))
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
        end = self.lab.now()
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

        def holds() -> bool:
            self._prober.check_alive()
            self.lab.check()
            for watch in self._watches.values():
                watch.check()
            return condition()

        came = self.lab.clock.wait(holds, timeout, _LOOK)
        if problem and not came:
            raise LabError(f"{self.lab.plan.name}, {self.variant}: {problem} within {timeout:g} s")
        return came

    def until_whole(self, timeout: float = 30.0, calm: float = CALM) -> bool:
        """Let the load run until no attempt of `calm` seconds failed, from now on; returns whether
        that came within `timeout` seconds.

        An attempt may take the prober's own timeout until it has failed, so the answer comes that
        much later.
        """
        begin, now = self.lab.now(), self.lab.now

        def whole() -> bool:
            last_ok, last_failure = self._prober.latest
            since = max(last_failure, begin)
            return last_ok >= since + calm and now() >= since + calm + self._spec.timeout

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
    def lateness_file(self) -> Path:
        return self._run.probes / f"{self.name}.lateness.csv"

    @property
    def evidence(self) -> list[str]:
        """The trial's files, as results name them."""
        return [
            str(file.relative_to(self._run.path))
            for file in (self.attempts_file, self.beats_file, self.lateness_file)
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

    def judged(self, verdict: records.TrialVerdict) -> None:
        """Note an expectation's outcome: one that failed makes the trial's verdict, before one that
        could not be judged.
        """
        self._verdict = min(verdict, self._verdict or "pass", key=("fail", "skip", "pass").index)
        self._save()

    # -- what the machine's lateness would explain -------------------------------------------------

    @cached_property
    def _delays(self) -> Sequence[Delay]:
        return lateness.read_delays(self.lateness_file)

    def excuse(self, needed: float, since: float, until: float) -> Excuse:
        """What would explain a miss: the machine was late by `needed` seconds in a stretch of
        time.
        """
        return Excuse(needed, lateness.lateness(self._delays, self.attempts, since, until))

    def excuse_of(self, attempts: Iterable[Attempt]) -> Excuse | None:
        """What would explain that those of the attempts that failed did."""
        return lateness.excuse_of_failures(attempts, self.timeout, self._delays, self.attempts)

    def excuse_of_connections(self, numbers: Collection[int]) -> Excuse | None:
        """What would explain that lasting connections ended."""
        ends = (beat for beat in self.beats if beat.connection in numbers)
        return lateness.excuse_of_failures(ends, self._spec.beat_timeout, self._delays, self.attempts)

    def excuse_of_pause(self, needed: float, until: float, span: float, since: float | None = None) -> Excuse:
        """What would explain that something happened too early, or that one step was held up: the
        machine had been late by `needed` in some `span` seconds of a stretch of time, by default
        from the trial's start.
        """
        begin = self.start if since is None else since
        return Excuse(needed, lateness.longest_pause(self._delays, begin, until, span))


def _slug(text: str) -> str:
    return "-".join("".join(each if each.isalnum() else " " for each in text.lower()).split()) or "trial"
