"""Packets are lost between the director and the clients: what share of the connections suffers, at
growing loss.
"""

from lvslab import faults
from lvslab.kernels.needs import Need
from lvslab.modes import modes_that
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE


@scenario(
    title="Loss sweep",
    teaches=(
        "a lost SYN or SYN-ACK costs a connection a second, other losses cost 0.2 s: few lost packets make"
        " many slow clients"
    ),
    modes=modes_that(lambda mode: not mode.replies_bypass_director),
    seconds=30,
)
def run(
    log: Experiment,
    mode: str = "nat",
    loss: tuple[float, ...] = (0.0, 0.01, 0.05, 0.2),
    rate: float = 300.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        before = -1.0
        for share in loss:
            variant = f"loss {share:.0%}"
            with log.lab(mode, name=f"{mode}-{share:g}", more_needs=[Need.NETEM]) as lab:
                outside = lab.plan.director.interfaces[0].network
                with log.trial(
                    lab,
                    variant=variant,
                    repeat=repetition,
                    expects="more attempts fail than with less loss",
                    rate=rate,
                ) as trial:
                    trial.steady(SETTLE)
                    if share:
                        with faults.impaired(lab, lab.plan.director.name, outside, loss=share) as fault:
                            began = fault.t
                            trial.steady(3 * SETTLE)
                            over = lab.now()
                    else:
                        began = lab.now()
                        trial.steady(3 * SETTLE)
                        over = lab.now()
                    trial.until_whole()
            during = trial.since(began, over)
            failed = sum(each.failed for each in during) / len(during)
            log.expect(
                f"{variant}, {repetition}",
                failed == 0 if not share else failed > before,
                f"{failed:.1%} of {len(during)} attempts got no answer within {trial.timeout:g} s",
                trial=trial,
                excuse=None if share else trial.excuse_of(during),
            )
            before = failed
