"""Weighted round robin: the weights decide how many requests each real server gets."""

from lvslab.modes import ALL_MODES
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment


@scenario(
    title="Weighted round robin",
    teaches="with weights 3 and 1 three requests in four go to the first real server, exactly",
    modes=ALL_MODES,
    seconds=3,
)
def run(log: Experiment, mode: str = "nat", requests: int = 40, weights: tuple[int, ...] = (3, 1)) -> None:
    with log.lab(mode, servers=len(weights), scheduler="wrr", weights=weights) as lab:
        answers = log.get(lab, times=requests)
    for number, weight in enumerate(weights, start=1):
        share, due = answers.count(f"rs{number}"), requests * weight / sum(weights)
        log.expect(
            f"share of rs{number}",
            abs(share - due) < 1,
            f"weight {weight} of {sum(weights)}: {share} of {requests} requests",
        )
