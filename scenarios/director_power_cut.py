"""The master's kernel dies at once, as by a power cut; VRRP moves the addresses, connection sync
decides who notices.
"""

from lvslab import faults
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import director_fails


@scenario(
    title="Director power cut, with and without connection sync",
    teaches=(
        "a backup takes over after 3 × advert + skew; established connections live on only if they were"
        " synchronised"
    ),
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
        faults.director_power_cut,
        mode=mode,
        sync=sync,
        advert=advert,
        preempt=preempt,
        rate=rate,
        connections=connections,
        repeat=repeat,
    )
