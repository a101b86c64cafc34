"""The old master boots again and knows nothing: if it takes the addresses back at once, it cuts off
whom the other one had saved.
"""

from lvslab import faults
from lvslab.plan.redundancy import Redundancy
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, Connections, takeover_bound


@scenario(
    title="Return of the old master without state: preempt or not",
    teaches=(
        "connection sync saves connections from the first failure; a master that preempts right after its"
        " boot loses them again"
    ),
    modes=["nat", "dr", "tun"],
    seconds=35,
    choices={"preempt": ["yes", "no"]},
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
            taking_back = choice == "yes"
            variant = "preempt" if taking_back else "nopreempt"
            redundancy = Redundancy(advert=advert, preempt=taking_back)
            with log.lab(
                mode, directors=2, name=f"{mode}-{variant}", redundancy=redundancy, kernels=["uml"]
            ) as lab:
                first, second = (each.name for each in lab.plan.directors)
                expects = (
                    "the returned master takes over and cuts connections off that had survived its failure"
                    if taking_back
                    else "the returned master waits as backup; no connection notices its return"
                )
                trial_of = log.trial(
                    lab,
                    variant=variant,
                    repeat=repetition,
                    expects=expects,
                    bound=takeover_bound(lab),
                    rate=rate,
                    **lasting.probe,
                )
                with trial_of as trial:
                    trial.steady(connections * lasting.stagger)
                    with faults.director_power_cut(lab, first) as fault:
                        trial.until_master(second)
                        trial.until_whole()
                        trial.steady(SETTLE)
                        returns = lab.now()
                    if taking_back:
                        trial.until_master(first)
                    trial.until_whole()
                    trial.steady(2 * SETTLE)
            saved, kept = trial.survival(fault.t, returns), trial.survival(returns)
            name = f"{variant}, {repetition}"
            log.expect(
                f"{name}: first failure",
                saved.survived > 0,
                f"{saved.survived} of {saved.total} connections survived the power cut of {first}",
                trial=trial,
            )
            log.expect(
                f"{name}: return",
                kept.survived < kept.total if taking_back else kept.survived == kept.total > 0,
                f"{kept.survived} of {kept.total} connections survived the return of {first}",
                trial=trial,
            )
