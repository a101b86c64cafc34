"""A cable between two switches breaks: the pair cannot hear each other any more, and each side
makes itself master.

Who speaks first when the cable is whole again decides what the clients are told. A master that
hears an advertisement of lower priority repeats its own and announces the addresses anew
(keepalived.conf(5), vrrp_garp_lower_prio_repeat); if the lower one hears the higher one first, it
steps back in silence. The cable is therefore mended when the higher one speaks next.
"""

from dataclasses import dataclass

from lvslab import faults
from lvslab.lab.worlds import AnyLab
from lvslab.modes import IPVS_MODES
from lvslab.modes.base import Role
from lvslab.plan.redundancy import Redundancy
from lvslab.runs.lateness import Excuse
from lvslab.runs.words import plural
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, early_takeover, takeover_bound
from lvslab.scenario.trial import Trial


@dataclass(frozen=True)
class Cut:
    """Who is cut off from the clients' side, and what comes of it.

    Attributes:
        expects: what is expected, in words.
        unseen: the backup is cut off, so no client sees the second master; otherwise the master.
        garp_refresh: seconds between a master's repeated gratuitous ARPs, 0 for none.
        stale: after the partition clients go on talking to the one that has stepped back.
    """

    expects: str
    unseen: bool = False
    garp_refresh: int = 0
    stale: bool = False


_TAKEN_OVER = "the clients' side gets a new master within the bound; after the partition "
VARIANTS = {
    "backup cut off": Cut(
        "the backup becomes a second master that nobody sees; no attempt fails", unseen=True
    ),
    "master cut off": Cut(_TAKEN_OVER + "clients go on talking to the one that has stepped back", stale=True),
    "master cut off + garp_master_refresh": Cut(
        _TAKEN_OVER + "the service is whole again at once", garp_refresh=1
    ),
}


@dataclass(frozen=True)
class Course:
    """What happened in a trial.

    Attributes:
        broken, healed: when the partition began and ended.
        stepped_back, end: when the second director was backup again, and when watching ended.
        during, afterwards: who was master in the partition, and at the end.
    """

    broken: float
    healed: float
    stepped_back: float
    end: float
    during: tuple[str, ...]
    afterwards: tuple[str, ...]


@scenario(
    title="Partition of the directors: two masters, and stale ARP afterwards",
    teaches=(
        "after a partition the old master goes on as if nothing had been, so nobody announces that the"
        " address has moved back; garp_master_refresh does"
    ),
    modes=IPVS_MODES,
    seconds=40,
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment,
    mode: str = "nat",
    variant: tuple[str, ...] = tuple(VARIANTS),
    advert: float = 0.2,
    rate: float = 500.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for kind in variant:
            cut = VARIANTS[kind]
            pair = Redundancy(advert=advert, garp_refresh=cut.garp_refresh)
            name = f"{mode}-{list(VARIANTS).index(kind)}"
            with log.lab(mode, directors=2, name=name, redundancy=pair, kernels=["uml"]) as lab:
                keep_the_clients_address(lab)
                trial_of = log.trial(
                    lab,
                    variant=kind,
                    repeat=repetition,
                    expects=cut.expects,
                    bound=None if cut.unseen else takeover_bound(lab),
                    rate=rate,
                )
                with trial_of as trial:
                    course = divide(lab, trial, cut)
            judge(log, trial, course, cut, f"{kind}, {repetition}", advert)


def divide(lab: AnyLab, trial: Trial, cut: Cut) -> Course:
    """Cut one director off until the service is whole again, and watch what comes afterwards."""
    first, second = (director.name for director in lab.plan.directors)
    trial.steady(SETTLE)
    with faults.partition(lab, [second if cut.unseen else first]) as fault:
        trial.until_master(second)
        during = masters(lab)
        trial.until_whole()
        trial.steady(SETTLE + until_first_speaks(lab, trial, fault.t))
        healed = lab.now()
    trial.until(lambda: lab.vrrp_state(second) == "BACKUP", 10, None)
    stepped_back = lab.now()
    trial.steady(4 * SETTLE)
    afterwards = masters(lab)
    return Course(fault.t, healed, stepped_back, lab.now(), during, afterwards)


def until_first_speaks(lab: AnyLab, trial: Trial, broken: float) -> float:
    """Seconds to wait beyond `SETTLE`, so that the next advertisement is that of the director with
    the higher priority.

    The other one became master its skew time after an advertisement that it had missed, and has
    sent its own at intervals since then.
    """
    second = lab.plan.directors[1].name
    vrrp = lab.plan.vrrp[second]
    began = trial.mark("vrrp", broken, f"{second}: outer addresses MASTER")
    if began is None:  # it says so itself, in the verdict
        return 0.0
    wanted = began + (vrrp.advert - vrrp.skew) / 2
    return (wanted - lab.now() - SETTLE) % vrrp.advert


def judge(log: Experiment, trial: Trial, course: Course, cut: Cut, name: str, advert: float) -> None:
    """Whether there were two masters, whom it harmed, and whether all was well afterwards."""
    first, second = (director.name for director in trial.lab.plan.directors)
    # a backup that takes over by mistake announces itself to the clients, so all is different then
    early = early_takeover(trial, takeover_bound(trial.lab), advert, course.end)
    log.expect(
        f"{name}: two masters",
        len(course.during) == 2,
        f"master during the partition: {', '.join(course.during)}",
        trial=trial,
        excuse=early,
    )
    outage = trial.outage(course.broken)
    attempts = trial.since(course.broken, course.healed)
    failed = sum(attempt.failed for attempt in attempts)
    log.expect(
        f"{name}: during the partition",
        failed == 0 if cut.unseen else outage is not None and outage.ended and outage.end < course.healed,
        f"{plural(failed, 'attempt')} failed"
        + (f", outage {outage.end - outage.start:.3f} s" if outage and failed else ""),
        trial=trial,
        excuse=early if early.holds else trial.excuse_of(attempts),
    )
    log.expect(
        f"{name}: one master again",
        course.afterwards == (first,),
        f"master afterwards: {', '.join(course.afterwards)}",
        trial=trial,
        excuse=early,
    )
    # Stale ARP lasts until the client asks anew or the old master does, so its damage is looked for
    # from the first moment on; with refreshed ARP the first second may still be bad.
    began = course.stepped_back if cut.stale else course.end - 2 * SETTLE
    attempts = trial.since(began, course.end - trial.timeout)
    lost = sum(attempt.failed for attempt in attempts)
    log.expect(
        f"{name}: after the partition",
        bool(attempts) and (lost > 0 if cut.stale else lost == 0),
        f"{lost} of {len(attempts)} attempts failed"
        + (f": {second} still gets the clients' packets" if lost else ""),
        trial=trial,
        excuse=(
            early if early.holds else spoken_late(trial, course) if cut.stale else trial.excuse_of(attempts)
        ),
    )


def spoken_late(trial: Trial, course: Course) -> Excuse | None:
    """What would explain that clients were told: on a late machine each advertisement comes later
    than an interval after the one before, and the cable later than it should, so that the lower
    one spoke first.
    """
    second = trial.lab.plan.directors[1].name
    vrrp = trial.lab.plan.vrrp[second]
    began = trial.mark("vrrp", course.broken, f"{second}: outer addresses MASTER")
    if began is None:
        return None
    return trial.excuse((vrrp.advert - vrrp.skew) / 2, began, course.healed)


def masters(lab: AnyLab) -> tuple[str, ...]:
    """The directors that are VRRP master now."""
    names = (director.name for director in lab.plan.directors)
    return tuple(name for name in names if lab.vrrp_state(name) == "MASTER")


def keep_the_clients_address(lab: AnyLab) -> None:
    """Keep the client's MAC address in the directors for good, as that of a router that never
    changes.

    A director that had to ask for it after the partition would do so in the name of the virtual
    address and thereby correct the client's table by chance (arp_announce=0,
    Documentation/networking/ip-sysctl.rst).
    """
    client = lab.plan.of_role(Role.CLIENT)[0].interfaces[0]
    for director in lab.plan.directors:
        outer = next(own for own in director.interfaces if own.network == client.network)
        command = f"ip neighbour replace {client.ip} lladdr {client.mac} nud permanent dev {outer.name}"
        lab.node(director.name).run(command).check(director.name, command)
