"""A world of virtual time, as an experiment sees it: labs that follow one another, and clients."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from lvslab.catalog import catalog
from lvslab.errors import CannotError, UsageError
from lvslab.events import Listener
from lvslab.kernels.kinds import HOST
from lvslab.kernels.needs import KernelFacts, Kernels, Need
from lvslab.kernels.virtual_time import VirtualTimeKernel
from lvslab.lab.worlds import AnyLab
from lvslab.modes.base import Role
from lvslab.plan.plan import LabPlan
from lvslab.plan.services import HTTP_PORT
from lvslab.simulation.calendar import SECOND
from lvslab.simulation.endpoints.clients import Prober, Probing
from lvslab.simulation.labs.lab import VirtualLab
from lvslab.simulation.labs.pause import Pause
from lvslab.simulation.labs.prober import VirtualProber
from lvslab.traffic.prober import ProbeSpec

DIGEST = "frames.sha256"
"""In a run directory: the hash of all frames and their times."""

MOST_SEED = (1 << 63) - 1

_GET_SECONDS = 5
SIMULATED = KernelFacts(
    HOST,
    "simulated",
    None,
    frozenset({Need.IPIP, Need.NETEM}),
    dict.fromkeys(set(Need) - {Need.IPIP, Need.NETEM}, "a simulated machine has no kernel"),
    None,
)


def kernels_of(facts: dict[str, KernelFacts]) -> Kernels:
    """The kernels that a plan may choose from: those of virtual time for directors, none at all for
    the others.
    """
    return Kernels({HOST: SIMULATED, **facts})


class VirtualWorld:
    """A `lvslab.scenario.world.World`: its labs follow one another on one clock."""

    def __init__(self, seed: int, *, keep: bool = False, pause: Pause | None = None) -> None:
        """
        Args:
            keep: keep the frames of each lab.
            pause: where it ends, if it comes so far.

        Raises:
            UsageError: no seed of a world.
        """
        if not 0 <= seed <= MOST_SEED:
            raise UsageError(f"seed {seed}: give a whole number between 0 and {MOST_SEED}")
        self.seed, self._keep, self._pause = seed, keep, pause
        self.labs: list[VirtualLab] = []

    @property
    def facts(self) -> Mapping[str, str | int]:
        """See `World.facts`."""
        return {"time": "virtual", "seed": self.seed}

    def kernels(self, asked: Sequence[str], given: Sequence[str]) -> Sequence[str]:
        """What is given, for a world has kernels of its own; but where a scenario asks for two, and
        not by names of such kernels, the oldest and the newest release.

        Raises:
            CannotError: there is only one for virtual time.
        """
        if len(set(asked)) < 2:
            return given
        here = sorted(
            catalog.entries(), key=lambda entry: [int(number) for number in re.findall(r"\d+", entry.release)]
        )
        names = [entry.full_name for entry in here if entry.kind == VirtualTimeKernel.kind]
        if set(asked) <= set(names):
            return asked
        if len(names) < 2:
            raise CannotError(
                f"a pair of two kernels: virtual time has {names[0] if names else 'none'} alone; make another"
                " one: lvslab kernels build debian/trixie --virtual-time"
            )
        return names[0], names[-1]

    def close(self, run: Path) -> None:
        """Leave the hash of all frames in the run directory, and the frames if they were kept."""
        (run / DIGEST).write_text(f"{self.digest()}\n")
        for lab in self.labs if self._keep else ():
            record = lab.wiring.record
            record.write(run / "captures" / f"{lab.plan.name}.pcapng", lab.clock.began)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now / SECOND

    @property
    def _now(self) -> int:
        return self.labs[-1].clock.began + self.labs[-1].calendar.now if self.labs else 0

    def lab(self, plan: LabPlan, logs: Path, listener: Listener) -> VirtualLab:
        """A lab, to be entered; it begins when the one before has ended."""
        lab = VirtualLab(plan, logs, listener, seed=self.seed, began=self._now, keep=self._keep)
        self.labs.append(lab)
        if self._pause and (held := round(self._pause.seconds * SECOND) - lab.clock.began) >= 0:
            lab.calendar.pause_at(held, partial(self._pause.hold, lab))
        return lab

    def prober(self, lab: AnyLab, spec: ProbeSpec, attempts: Path, beats: Path) -> VirtualProber:
        """A prober, to be entered, in the lab's first client."""
        own = self._own(lab)
        host = own.wiring.hosts[lab.plan.of_role(Role.CLIENT)[0].name]
        return VirtualProber(own.clock, host, spec, attempts, beats, self.seed)

    def lateness(self, lab: AnyLab, file: Path) -> AbstractContextManager[object]:
        """Time waits for everybody: nothing is late, and no file is written."""
        return nullcontext()

    def get(self, lab: AnyLab, client: int, times: int) -> list[str]:
        """Names of the real servers that answered `times` HTTP requests, one after the other."""
        own = self._own(lab)
        host = own.wiring.hosts[lab.plan.of_role(Role.CLIENT)[client].name]
        asked = Probing(
            lab.plan.addresses.vip,
            HTTP_PORT,
            frozenset(lab.plan.addresses.rips),
            interval=2 * _GET_SECONDS * SECOND,
            timeout=_GET_SECONDS * SECOND,
        )
        answers: list[str] = []
        for _ in range(times):
            prober = Prober(host, asked)
            prober.start()
            own.clock.wait(lambda: prober.attempts, 2 * _GET_SECONDS, 0.001)  # noqa: B023
            prober.stop()
            answers.append("" if prober.attempts[0].failed else prober.attempts[0].server)
        return answers

    def digest(self) -> str:
        """SHA-256 over the frames of all labs and their times, hexadecimal."""
        return hashlib.sha256("".join(_digests(self.labs)).encode()).hexdigest()

    def _own(self, lab: AnyLab) -> VirtualLab:
        return next(own for own in self.labs if own is lab)


def _digests(labs: Sequence[VirtualLab]) -> list[str]:
    return [lab.wiring.record.digest() for lab in labs]
