"""The master's cables are pulled: it sees that and gives its addresses up, but nobody hears it say
so.
"""

from lvslab import faults
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import director_fails


@scenario(
    title="Director loses its links, with and without connection sync",
    teaches=(
        "a director without links is as good as dead to the others, and comes back as a backup that holds its"
        " old connections"
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
        faults.link_down,
        mode=mode,
        sync=sync,
        advert=advert,
        rate=rate,
        connections=connections,
        repeat=repeat,
    )
