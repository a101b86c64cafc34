"""Without connection sync, but with a scheduler that both directors compute alike: sloppy_tcp lets
the backup pick up strangers.
"""

from lvslab import faults
from lvslab.modes import IPVS_MODES
from lvslab.plan.redundancy import Redundancy
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, Connections, takeover_bound


@scenario(
    title="Survival without sync: source hashing and sloppy_tcp",
    teaches=(
        "with sloppy_tcp=1 a director schedules packets in mid-connection; source hashing sends them to the"
        " server that knows them"
    ),
    modes=IPVS_MODES,
    seconds=35,
    choices={"sloppy": ["0", "1"]},
)
def run(
    log: Experiment,
    mode: str = "nat",
    sloppy: tuple[str, ...] = ("1", "0"),
    advert: float = 0.2,
    connections: int = 20,
    repeat: int = 1,
) -> None:
    lasting = Connections(connections)
    for repetition in log.repetitions(repeat):
        for value in sloppy:
            picks_up = value == "1"
            variant = f"sloppy_tcp={value}"
            with log.lab(
                mode,
                directors=2,
                scheduler="sh",
                name=f"{mode}-{value}",
                redundancy=Redundancy(advert=advert, sync=False),
                sysctls={"net.ipv4.vs.sloppy_tcp": value},
                kernels=["uml"],
            ) as lab:
                first, second = (each.name for each in lab.plan.directors)
                expects = "all connections live on without any sync" if picks_up else "no connection lives on"
                with log.trial(
                    lab,
                    variant=variant,
                    repeat=repetition,
                    expects=expects,
                    bound=takeover_bound(lab),
                    rate=200.0,
                    **lasting.probe,
                ) as trial:
                    trial.steady(connections * lasting.stagger + SETTLE)
                    with faults.director_power_cut(lab, first) as fault:
                        trial.until_master(second)
                        trial.until_whole()
                        trial.steady(SETTLE)
                        over = lab.now()
            found = trial.survival(fault.t, over)
            log.expect(
                f"{variant}, {repetition}: connections",
                found.total > 0 and found.survived == (found.total if picks_up else 0),
                f"{found.survived} of {found.total} survived the power cut without connection sync",
                trial=trial,
                excuse=trial.excuse_of_connections([number for number, _, _ in found.lost])
                if picks_up
                else None,
            )
