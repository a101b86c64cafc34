"""A rolling upgrade: the backup runs a newer kernel; the service is handed over to it, with all its
connections.
"""

from lvslab import faults
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import director_fails


@scenario(
    title="Rolling upgrade across two kernels",
    teaches=(
        "connection sync speaks the same language in both kernels: the hand-over to a newer one loses no"
        " synchronised connection"
    ),
    modes=["nat", "dr", "tun"],
    seconds=35,
    choices={"sync": ["yes", "no"]},
)
def run(
    log: Experiment,
    mode: str = "nat",
    sync: tuple[str, ...] = ("yes", "no"),
    kernels: tuple[str, ...] = ("uml", "debian/trixie"),
    advert: float = 0.2,
    rate: float = 300.0,
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
        kernels=kernels,
    )
