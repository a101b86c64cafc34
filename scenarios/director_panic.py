"""The master's kernel panics and does not come back by itself."""

from lvslab import faults
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import director_fails


@scenario(
    title="Director kernel panic, with and without connection sync",
    teaches="to the rest of the network a panic is a power cut: silence, then the backup's gratuitous ARP",
    modes=["nat", "dr", "tun", "fullnat", "synproxy"],
    seconds=35,
    choices={"sync": ["yes", "no"]},
)
def run(
    log: Experiment,
    mode: str = "nat",
    sync: tuple[str, ...] = ("yes", "no"),
    advert: float = 0.2,
    preempt: bool = False,
    rate: float = 500.0,
    connections: int = 40,
    repeat: int = 1,
) -> None:
    director_fails(
        log,
        faults.director_panic,
        mode=mode,
        sync=sync,
        advert=advert,
        preempt=preempt,
        rate=rate,
        connections=connections,
        repeat=repeat,
    )
