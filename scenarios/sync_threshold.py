"""Connection sync waits for a connection's n-th packet: one that says little is unknown to the
backup.
"""

from lvslab import faults
from lvslab.modes import IPVS_MODES
from lvslab.plan.redundancy import Redundancy
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, Connections, late_sync, takeover_bound


@scenario(
    title="Which connections does the backup know? sync_threshold",
    teaches=(
        "a connection is synchronised at its third packet by default; with a higher threshold quiet"
        " connections die with their director"
    ),
    modes=IPVS_MODES,
    seconds=40,
)
def run(
    log: Experiment,
    mode: str = "nat",
    threshold: tuple[int, ...] = (3, 45),
    advert: float = 0.2,
    connections: int = 20,
    heartbeat: float = 0.5,
    repeat: int = 1,
) -> None:
    lasting = Connections(connections, stagger=0.02, heartbeat=heartbeat)
    for repetition in log.repetitions(repeat):
        for packets in threshold:
            variant = f"sync_threshold {packets} 50"
            sysctls = {"net.ipv4.vs.sync_threshold": f"{packets} 50"}
            with log.lab(
                mode,
                directors=2,
                name=f"{mode}-{packets}",
                redundancy=Redundancy(advert=advert),
                sysctls=sysctls,
                kernels=["uml"],
            ) as lab:
                first, second = (each.name for each in lab.plan.directors)
                known = packets <= 3
                expects = (
                    "all connections live on" if known else f"connections of fewer than {packets} packets die"
                )
                with log.trial(
                    lab,
                    variant=variant,
                    repeat=repetition,
                    expects=expects,
                    bound=takeover_bound(lab),
                    rate=100.0,
                    **lasting.probe,
                ) as trial:
                    trial.steady(5 * SETTLE)
                    with faults.director_power_cut(lab, first) as fault:
                        trial.until_master(second)
                        trial.until_whole()
                        trial.steady(SETTLE)
                        over = lab.now()
            found = trial.survival(fault.t, over)
            log.expect(
                f"{variant}, {repetition}: connections",
                found.survived == found.total > 0 if known else found.survived < found.total,
                f"{found.survived} of {found.total} survived the power cut, all {5 * SETTLE:g} s old with a"
                f" heartbeat every {heartbeat:g} s",
                trial=trial,
                excuse=late_sync(trial, fault.t, [age for _, age, _ in found.lost]) if known else None,
            )
