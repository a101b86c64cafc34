"""The old master boots again and knows nothing: if it takes the addresses back at once, it cuts off
whom the other one had saved.
"""

from dataclasses import dataclass

from lvslab import faults
from lvslab.lab.worlds import AnyLab
from lvslab.modes import IPVS_MODES
from lvslab.plan.redundancy import Redundancy
from lvslab.runs.lateness import Excuse
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, Connections, late_sync, takeover_bound
from lvslab.scenario.trial import Trial


@dataclass(frozen=True)
class Return:
    """How the old master comes back: `name` is keepalived's word; `expects` is what comes of it."""

    name: str
    preempts: bool
    expects: str


CHOICES = {
    "yes": Return(
        "preempt",
        True,
        "the returned master takes over and cuts connections off that had survived its failure",
    ),
    "no": Return("nopreempt", False, "the returned master waits as backup; no connection notices its return"),
}


@scenario(
    title="Return of the old master without state: preempt or not",
    teaches=(
        "connection sync saves connections from the first failure; a master that preempts right after its"
        " boot loses them again"
    ),
    modes=IPVS_MODES,
    seconds=35,
    choices={"preempt": CHOICES},
)
def run(
    log: Experiment,
    mode: str = "nat",
    preempt: tuple[str, ...] = ("no", "yes"),
    advert: float = 0.2,
    rate: float = 300.0,
    connections: int = 30,
    repeat: int = 1,
) -> None:
    lasting = Connections(connections)
    for repetition in log.repetitions(repeat):
        for choice in preempt:
            way = CHOICES[choice]
            pair = Redundancy(advert=advert, preempt=way.preempts)
            with log.lab(
                mode, directors=2, name=f"{mode}-{way.name}", redundancy=pair, kernels=["uml"]
            ) as lab:
                trial_of = log.trial(
                    lab,
                    variant=way.name,
                    repeat=repetition,
                    expects=way.expects,
                    bound=takeover_bound(lab),
                    rate=rate,
                    **lasting.probe,
                )
                with trial_of as trial:
                    trial.steady(connections * lasting.stagger)
                    times = fail_and_return(lab, trial, way)
            judge(log, trial, times, way, lasting.heartbeat, f"{way.name}, {repetition}")


@dataclass(frozen=True)
class Times:
    """Of the lab, in seconds: the first director failed, returned, and was seen as master again (or
    its return was over).
    """

    failed: float
    returned: float
    master: float


_PACKETS_TOLD = 50
"""A connection is told again with every 50th packet of its client (sync_threshold 3 50, see
ip_vs_sync_conn_needed in ip_vs_sync.c).
"""


def fail_and_return(lab: AnyLab, trial: Trial, way: Return) -> Times:
    """The first director's power is cut and comes back."""
    first, second = (director.name for director in lab.plan.directors)
    with faults.director_power_cut(lab, first) as fault:
        trial.until_master(second)
        trial.until_whole()
        trial.steady(SETTLE)
        returned = lab.now()
    if way.preempts:
        trial.until_master(first)
    master = lab.now()
    trial.until_whole()
    trial.steady(2 * SETTLE)
    return Times(fault.t, returned, master)


def told_everything(trial: Trial, times: Times, heartbeat: float) -> Excuse:
    """What would explain that the returned master knew every connection: the machine held its
    takeover up until each had been told again. A heartbeat is two packets: data, acknowledgement.
    """
    needed = _PACKETS_TOLD * heartbeat / 2 - takeover_bound(trial.lab).seconds
    return trial.excuse(needed, times.returned, times.master)


def judge(log: Experiment, trial: Trial, times: Times, way: Return, heartbeat: float, name: str) -> None:
    """Which connections survived the failure, and which of those the return."""
    first = trial.lab.plan.director.name
    saved, kept = trial.survival(times.failed, times.returned), trial.survival(times.returned)
    log.expect(
        f"{name}: first failure",
        saved.survived > 0,
        f"{saved.survived} of {saved.total} connections survived the power cut of {first}",
        trial=trial,
        excuse=late_sync(trial, times.failed, [age for _, age, _ in saved.lost]),
    )
    log.expect(
        f"{name}: return",
        kept.survived < kept.total if way.preempts else kept.survived == kept.total > 0,
        f"{kept.survived} of {kept.total} connections survived the return of {first}",
        trial=trial,
        excuse=(
            told_everything(trial, times, heartbeat)
            if way.preempts
            else trial.excuse_of_connections([number for number, _, _ in kept.lost])
        ),
    )
