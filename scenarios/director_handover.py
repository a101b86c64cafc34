"""A planned hand-over: keepalived ends orderly on the master and says so (priority 0), so the
backup hardly waits.
"""

from lvslab import faults
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import director_fails


@scenario(
    title="Planned hand-over, with and without connection sync",
    teaches=(
        "a master that says goodbye is replaced after the skew time alone; without sync even a planned"
        " hand-over cuts everybody off"
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
    rate: float = 500.0,
    connections: int = 40,
    repeat: int = 1,
) -> None:
    director_fails(
        log,
        faults.handed_over,
        mode=mode,
        sync=sync,
        advert=advert,
        rate=rate,
        connections=connections,
        repeat=repeat,
        announced=True,
    )
