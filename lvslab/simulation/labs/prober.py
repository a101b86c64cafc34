"""The prober of a lab in virtual time: what `lvslab.traffic.prober` is in real time."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from types import TracebackType

from lvslab.errors import LabError
from lvslab.simulation.calendar import SECOND
from lvslab.simulation.endpoints import Host
from lvslab.simulation.endpoints.clients import Prober, Probing
from lvslab.simulation.labs.clock import VirtualClock
from lvslab.traffic.prober import ProbeSpec, ProbeSummary

_LOOK, _SPARE_SECONDS = 0.1, 5.0

PHASE_SECONDS = 1.0
"""By so much the beginning of the load differs between seeds, and with it the phase of whatever
the directors do at intervals when something is broken.
"""


def probing(spec: ProbeSpec) -> Probing:
    """What a prober does, in nanoseconds."""

    def nanoseconds(seconds: float) -> int:
        return round(seconds * SECOND)

    return Probing(
        spec.address,
        spec.port,
        frozenset(spec.servers),
        spec.protocol,
        None if spec.interval is None else nanoseconds(spec.interval),
        nanoseconds(spec.timeout),
        spec.ports,
        spec.flows,
        spec.connections,
        nanoseconds(spec.stagger),
        nanoseconds(spec.heartbeat),
        nanoseconds(spec.beat_timeout),
    )


class VirtualProber:
    """A prober on a simulated client while the block is entered.

    Attributes:
        start: the planned time of the first attempt, seconds since the epoch.
    """

    def __init__(
        self, clock: VirtualClock, host: Host, spec: ProbeSpec, attempts: Path, beats: Path, seed: int
    ) -> None:
        self.start = float("nan")
        self._clock, self._host, self._spec = clock, host, spec
        self._files = attempts, beats
        self._chance = random.Random(f"{seed} load")
        self._prober = Prober(host, probing(spec), epoch=clock.began)
        self._summary: ProbeSummary | None = None
        self._looked = 0
        self._latest = [0.0, 0.0]

    def __enter__(self) -> VirtualProber:
        """Start it, at a moment that the seed draws."""
        self._clock.sleep(self._chance.uniform(0, PHASE_SECONDS))
        self.start = self._clock.now()
        self._prober.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
        self._prober.write(*self._files)

    @property
    def latest(self) -> tuple[float, float]:
        """Planned times of the latest attempts that have ended, served and failed; 0: none."""
        attempts = self._prober.attempts
        for attempt in attempts[self._looked :]:
            self._latest[attempt.failed] = max(self._latest[attempt.failed], attempt.planned)
        self._looked = len(attempts)
        return self._latest[0], self._latest[1]

    def check_alive(self) -> None:
        """Raise LabError if its time is over."""
        if self._clock.now() - self.start > self._spec.seconds:
            raise LabError(f"prober in {self._host.name}: has ended after its {self._spec.seconds:g} s")

    def stop(self) -> ProbeSummary:
        """Begin nothing new, let what is under way end, and return the summary."""
        if self._summary is None:
            self._prober.stop()
            self._clock.wait(lambda: self._prober.finished, self._spec.patience + _SPARE_SECONDS, _LOOK)
            attempts, beats = self._prober.attempts, self._prober.beats
            self._summary = ProbeSummary(
                start=self.start,
                attempts=self._prober.begun,
                beats=len(beats),
                opened=len({beat.connection for beat in beats if beat.opened is not None}),
                scheduling="virtual",
                worst_start_error=0.0,
                cpu_seconds=0.0,
                outcomes=Counter(attempt.outcome for attempt in attempts),
            )
        return self._summary
