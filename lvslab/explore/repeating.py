"""A case as a scenario: what the search writes, and `lvslab run FILE --time virtual` repeats."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.errors import UsageError
from lvslab.explore.invariants import INVARIANTS, judge
from lvslab.explore.kinds import check
from lvslab.explore.labs import options_of
from lvslab.explore.playing import play
from lvslab.explore.schedule import Case, Injection, Setup
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.simulation.labs.lab import VirtualLab


def repeat(setup: Setup, *schedule: Injection, title: str) -> Callable[..., None]:
    """A scenario that lets faults happen in a lab and expects that every invariant holds.

    Args:
        title: what it shows.
    """

    @scenario(
        title=title,
        teaches="a failure that `lvslab explore` has found, as the shortest schedule of faults",
        modes=(setup.mode,),
        seconds=10,
    )
    def run(log: Experiment) -> None:
        options = options_of(setup)
        with log.lab(setup.mode, **options) as lab:
            if not isinstance(lab, VirtualLab):
                raise UsageError("this schedule is for a world in virtual time: add --time virtual")
            check(Case(0, setup, schedule), lab.plan)
            record = play(lab, schedule)
            for happened in record.happened:
                what = f"{happened.injection.words}{f' (void: {happened.void})' if happened.void else ''}"
                lab.tell("fault", what, happened.injection.target, happened.began)
        violations = judge(record)
        for name in INVARIANTS:
            broken = next((violation for violation in violations if violation.invariant == name), None)
            reason = f"at {broken.t:.2f} s: {broken.sentence}" if broken else "held"
            log.expect(name, broken is None, reason)

    return run
