"""The master of a pair fails and the backup takes over: the story, what is expected of it, and
scenarios that tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from lvslab.faults import Fault
from lvslab.lab.worlds import AnyLab
from lvslab.modes import ALL_MODES, mode_named
from lvslab.plan.redundancy import SYNC_FLUSH, Redundancy
from lvslab.runs.lateness import PERIOD, Excuse, least_excused
from lvslab.runs.records import Bound
from lvslab.runs.words import plural
from lvslab.scenario.description import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories.common import SETTLE, Break
from lvslab.scenario.trial import Trial

Afterwards = Callable[[Experiment, Trial, float, str], None]
"""Judges what came after the repair; gets the trial, the time of the repair and a name for its
expectations.
"""

_OFFERED = frozenset({"kernels", "preempt"})
"""Parameters that only some scenarios offer."""


def director_failure(
    break_director: Break,
    *,
    title: str,
    teaches: str,
    modes: tuple[str, ...] = ALL_MODES,
    rate: float = 500.0,
    kernels: tuple[str, ...] = ("uml",),
    offers: Iterable[Literal["kernels", "preempt"]] = (),
    own_kernel: bool = False,
    announced: bool = False,
    afterwards: Afterwards | None = None,
    real_time: str = "",
) -> Callable[..., None]:
    """A scenario: the master of a pair fails, with connection sync and without.

    Args:
        break_director: one of `lvslab.faults`.
        title, teaches, modes, real_time: as `@scenario` takes them.
        rate: connections a second, where the user does not say.
        kernels: of the two directors, where the user does not say.
        offers: those of `kernels` and `preempt` that the user may set.
        own_kernel, announced, afterwards: as `director_fails` takes them.
    """

    @scenario(
        title=title,
        teaches=teaches,
        modes=modes,
        seconds=35,
        real_time=real_time,
        choices={"sync": ("yes", "no")},
        fixed=_OFFERED.difference(offers),
    )
    def run(
        log: Experiment,
        mode: str = "nat",
        sync: tuple[str, ...] = ("yes", "no"),
        kernels: tuple[str, ...] = kernels,
        advert: float = 0.2,
        preempt: bool = False,
        rate: float = rate,
        connections: int = 40,
        repeat: int = 1,
    ) -> None:
        director_fails(
            log,
            break_director,
            mode=mode,
            sync=sync,
            advert=advert,
            preempt=preempt,
            rate=rate,
            connections=connections,
            repeat=repeat,
            own_kernel=own_kernel,
            announced=announced,
            afterwards=afterwards,
            kernels=kernels,
        )

    return run


BEAT_TIMEOUT = 3.0
"""Seconds after which a lasting connection without an answer is given up: longer than a takeover
takes.
"""


@dataclass(frozen=True)
class Connections:
    """Lasting connections of a trial: their number, seconds between their openings, and seconds
    between heartbeats.
    """

    number: int = 40
    stagger: float = 0.15
    heartbeat: float = 0.1

    @property
    def probe(self) -> dict[str, Any]:
        """As the prober takes it."""
        return {
            "connections": self.number,
            "stagger": self.stagger,
            "heartbeat": self.heartbeat,
            "beat_timeout": BEAT_TIMEOUT,
        }


SYNC_WORDS = {"yes": "with sync", "no": "without sync"}


def director_fails(
    log: Experiment,
    break_director: Break,
    *,
    mode: str,
    sync: Iterable[str],
    advert: float = 0.2,
    preempt: bool = False,
    rate: float = 500.0,
    connections: int = 40,
    repeat: int = 1,
    own_kernel: bool = False,
    announced: bool = False,
    afterwards: Callable[[Experiment, Trial, float, str], None] | None = None,
    kernels: tuple[str, ...] = ("uml",),
) -> None:
    """The master of a pair fails, the backup takes over; connections were opened before at regular
    intervals and send heartbeats.

    Args:
        break_director: one of `lvslab.faults`.
        sync: "yes" and "no": with connection sync and without, one trial each.
        advert: seconds between VRRP advertisements.
        own_kernel: whether what breaks is the master's kernel, so that it must have its own.
        announced: the master itself tells the backup to take over, which then waits for its skew
            time only (RFC 5798, 6.4.2).
        afterwards: judges what came after the repair; gets the trial, the time of the repair and a
            name for its expectations.
    """
    lasting, survives = Connections(connections), mode_named(mode).survives_sync
    for repetition in log.repetitions(repeat):
        for synced in sync:
            with_sync = synced == "yes"
            saves = with_sync and survives
            redundancy = Redundancy(advert=advert, preempt=preempt, sync=with_sync)
            name = f"{mode}-{'sync' if with_sync else 'nosync'}"
            with log.lab(
                mode,
                directors=2,
                name=name,
                redundancy=redundancy,
                kernels=kernels,
                own_kernel=own_kernel,
            ) as lab:
                first, second = (each.name for each in lab.plan.directors)
                bound = takeover_bound(lab, announced)
                expects = (
                    f"new connections succeed again within {bound.seconds:.3g} s of the last advertisement; "
                    + (
                        f"every connection older than {SYNC_FLUSH:g} s lives on"
                        if with_sync
                        else "no established connection lives on"
                    )
                )
                trial_of = log.trial(
                    lab,
                    variant=SYNC_WORDS[synced],
                    repeat=repetition,
                    expects=expects,
                    bound=bound,
                    rate=rate,
                    **lasting.probe,
                )
                with trial_of as trial:
                    trial.steady(max(SETTLE, connections * lasting.stagger))
                    with break_director(lab, first) as fault:
                        trial.until_master(second)
                        trial.until_whole()
                        # silence is an end only after the timeout
                        trial.steady(SETTLE if survives else BEAT_TIMEOUT)
                        over = lab.now()
                    trial.until_whole()
                    trial.steady(SETTLE)
            judge_takeover(
                log, trial, fault, over, bound, second, f"{SYNC_WORDS[synced]}, {repetition}", advert
            )
            judge_survival(log, trial, fault, over, saves, f"{SYNC_WORDS[synced]}, {repetition}")
            if afterwards:
                afterwards(log, trial, over, f"{SYNC_WORDS[synced]}, {repetition}")


def takeover_bound(lab: AnyLab, announced: bool = False) -> Bound:
    """When the second director takes over at the latest after the first one's last
    advertisement.
    """
    vrrp = lab.plan.vrrp[lab.plan.directors[1].name]
    if not announced:
        return Bound(*vrrp.bound)
    return Bound(
        vrrp.skew,
        f"skew (256 − {vrrp.priority}) / 256 × advert {vrrp.advert:g} s",
    )


def judge_takeover(
    log: Experiment,
    trial: Trial,
    fault: Fault,
    until: float,
    bound: Bound,
    backup: str,
    name: str,
    advert: float,
) -> None:
    """Whether the backup became master when the formula says, and the outage was over as soon as it
    was.

    One advertisement interval is allowed for on top: the backup's timer runs in a kernel that
    shares its processor. So is the time that the fault itself took to happen: a panic, for example,
    speaks before it dies.
    """
    detected = trial.mark("vrrp", fault.t, f"{backup}: outer addresses MASTER")
    broken = trial.outage(fault.t)
    if detected is None:
        log.expect(
            f"{name}: {backup} takes over",
            False,
            f"it never became master; {bound.formula}",
            trial=trial,
            excuse=early_takeover(trial, bound, advert, fault.t),
        )
        return
    took, allowed = detected - fault.t, bound.seconds + advert + fault.lasted
    log.expect(
        f"{name}: {backup} takes over",
        took <= allowed,
        f"{took:.3f} s after the fault; {bound.formula} = {bound.seconds:.3f} s, and an interval of"
        f" {advert:g} s for the machine's own delays"
        + (f", and {fault.lasted:.2f} s that the fault itself took" if fault.lasted > 0.05 else ""),
        trial=trial,
        excuse=trial.excuse(took - allowed, fault.t, detected),
    )
    if broken is None:
        log.expect(f"{name}: outage", True, "no attempt failed", trial=trial)
        return
    outage, allowed = broken.end - fault.t, bound.seconds + took + fault.lasted
    over = broken.ended and broken.end < until
    log.expect(
        f"{name}: outage",
        over and outage <= allowed,
        f"{outage:.3f} s, {plural(broken.failed, 'attempt')} failed; the formula's bound plus the detection"
        f" measured is {bound.seconds + took:.3f} s",
        trial=trial,
        excuse=trial.excuse(outage - allowed, fault.t, broken.end) if over else None,
    )


def early_takeover(trial: Trial, bound: Bound, advert: float, until: float) -> Excuse:
    """What would explain that a backup was master before it should have been: the master's
    advertisements came so late that they seemed to have ended.
    """
    return trial.excuse_of_pause(bound.seconds - advert, until, bound.seconds)


def judge_survival(log: Experiment, trial: Trial, fault: Fault, until: float, saved: bool, name: str) -> None:
    """Whether the lasting connections fared as connection sync promises."""
    found = trial.survival(fault.t, until)
    if saved:
        old = [age for _, age, _ in found.lost if age > SYNC_FLUSH]
        log.expect(
            f"{name}: old connections live on",
            bool(found.kept) and not old,
            f"{found.survived} of {found.total} survived; {len(old)} older than {SYNC_FLUSH:g} s died"
            + (f", {len(found.lost)} younger" if found.lost else ""),
            trial=trial,
            excuse=late_sync(trial, fault.t, old),
        )
    else:
        ends = ", ".join(sorted({outcome for _, _, outcome in found.lost}))
        log.expect(
            f"{name}: no connection lives on",
            found.total > 0 and found.survived == 0,
            f"{found.survived} of {found.total} survived" + (f"; the others ended by {ends}" if ends else ""),
            trial=trial,
        )


def late_sync(trial: Trial, t: float, ages: Iterable[float]) -> Excuse | None:
    """What would explain that connections of these ages, in seconds at `t`, were not known to the
    backup: the message about each was later than the connection was old. One message is held up by
    one pause: short waits, however many, do not add up to it.
    """
    return least_excused(
        [
            trial.excuse_of_pause(age - SYNC_FLUSH, t, age - SYNC_FLUSH + 2 * PERIOD, since=t - age)
            for age in ages
        ]
    )
