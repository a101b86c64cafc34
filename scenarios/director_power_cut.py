"""Director power cut: the master's kernel dies at once; VRRP moves the addresses, connection sync decides who notices."""

from lvslab import faults
from lvslab.control.redundancy import SYNC_FLUSH, Redundancy
from lvslab.experiment import Experiment
from lvslab.scenario import scenario
from lvslab.trial import Bound


@scenario(
    title="Director power cut, with and without connection sync",
    teaches="a backup takes over after 3 × advert + skew; established connections live on only if they had been synchronised",
    modes=["nat", "dr", "tun"],
    seconds=40,
)
def run(
    log: Experiment,
    mode: str = "nat",
    sync: tuple[str, ...] = ("yes", "no"),
    advert: float = 0.2,
    rate: float = 500.0,
    connections: int = 40,
    repeat: int = 1,
) -> None:
    for repetition in range(1, repeat + 1):
        for synced in sync:
            with_sync = synced == "yes"
            pair = Redundancy(advert=advert, sync=with_sync)
            name = "with sync" if with_sync else "without sync"
            with log.lab(mode, directors=2, name=f"{mode}-{'sync' if with_sync else 'nosync'}", redundancy=pair, kernels=["uml"]) as lab:
                backup = lab.plan.directors[1].name
                bound = Bound(*lab.plan.vrrp[backup].bound)
                expects = (
                    f"connections older than {SYNC_FLUSH:g} s live on" if with_sync else "no established connection lives on"
                ) + ", new ones succeed again within the bound"
                with log.trial(
                    lab, variant=name, repeat=repetition, expects=expects, bound=bound, rate=rate,
                    connections=connections, stagger=0.2, heartbeat=0.1,
                ) as trial:  # fmt: skip
                    trial.steady(connections * 0.2)
                    with faults.director_power_cut(lab, lab.master) as fault:
                        trial.until_master(backup)
                        trial.until_whole()
                        trial.steady(1.0)
            broken = trial.outage(fault.t)
            detected = trial.mark("vrrp", fault.t, f"{backup}: outer addresses MASTER")
            log.expect(
                f"{name}, {repetition}: takeover",
                broken is not None and broken.ended and detected is not None
                and broken.end - fault.t <= bound.seconds + (detected - fault.t),
                f"{broken}, {detected and detected - fault.t}, {bound}", trial=trial,
            )
            print(trial.survival(fault.t), trial.summary)
