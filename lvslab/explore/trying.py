"""One case tried in a world of its own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lvslab.errors import LabError
from lvslab.events import nobody
from lvslab.explore.invariants import judge
from lvslab.explore.kinds import check
from lvslab.explore.labs import plan_of
from lvslab.explore.playing import play
from lvslab.explore.records import Violation
from lvslab.explore.schedule import Case
from lvslab.kernels.needs import Kernels
from lvslab.simulation.errors import GuestPanicError
from lvslab.simulation.labs.world import VirtualWorld

BROKEN_WORLD = "kernel-lives"


@dataclass(frozen=True)
class Tried:
    """What came of a try.

    Attributes:
        violations: by time.
        seconds: of this machine.
        sha256: of all frames and their times; "" where the world broke.
        problem: why nothing can be said of it, or "".
    """

    case: Case
    violations: tuple[Violation, ...]
    seconds: float
    sha256: str = ""
    problem: str = ""

    def shows(self, fingerprint: str) -> bool:
        """Whether a failure is among what it violated."""
        return any(violation.fingerprint == fingerprint for violation in self.violations)


def try_case(case: Case, kernels: Kernels, names: tuple[str, ...]) -> Tried:
    """Try it.

    Args:
        names: of the directors' kernels.

    Raises:
        UsageError: there is no such case.
    """
    plan = plan_of(case.setup, kernels, names)
    check(case, plan)
    began = time.monotonic()
    with TemporaryDirectory(prefix="lvslab-try-") as folder:
        world = VirtualWorld(case.seed)
        lab = world.lab(plan, Path(folder), nobody)
        try:
            with lab:
                record = play(lab, case.schedule)
                sha256 = world.digest()
        except GuestPanicError as panic:
            died = Violation(BROKEN_WORLD, "panic", lab.now(), str(panic))
            return Tried(case, (died,), time.monotonic() - began)
        except LabError as problem:
            return Tried(case, (), time.monotonic() - began, problem=str(problem))
    return Tried(case, judge(record), time.monotonic() - began, sha256)
