"""Packets are late between the director and the clients: every connection pays the delay at each of
its turns.
"""

from statistics import median

from lvslab import faults
from lvslab.kernels.needs import Need
from lvslab.modes import modes_that
from lvslab.runs.words import plural
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE


@scenario(
    title="Delay sweep",
    teaches="a delay on the way back is paid once by the handshake and once by the answer; nothing fails",
    modes=modes_that(lambda mode: not mode.replies_bypass_director and not mode.contract.proxied),
    seconds=20,
)
def run(
    log: Experiment,
    mode: str = "nat",
    delay: tuple[float, ...] = (0.01, 0.05, 0.1),
    rate: float = 200.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for seconds in delay:
            variant = f"delay {seconds * 1000:g} ms"
            with log.lab(mode, name=f"{mode}-{seconds:g}", more_needs=[Need.NETEM]) as lab:
                outside = lab.plan.director.interfaces[0].network
                with log.trial(
                    lab,
                    variant=variant,
                    repeat=repetition,
                    expects="no attempt fails, each takes longer",
                    rate=rate,
                ) as trial:
                    trial.steady(SETTLE)
                    with faults.impaired(lab, lab.plan.director.name, outside, delay=seconds) as fault:
                        trial.steady(2 * SETTLE)
                        over = lab.now()
                    trial.steady(SETTLE)
            calm = [each.connect - each.start for each in trial.since(0, fault.t - 0.1) if each.connect]
            during = trial.since(fault.t + SETTLE, over)
            slow = [each.connect - each.start for each in during if each.connect]
            failed = sum(each.failed for each in trial.attempts)
            delayed = bool(calm and slow) and median(slow) - median(calm) >= 0.9 * seconds
            log.expect(
                f"{variant}, {repetition}",
                delayed and failed == 0,
                f"a connection takes {median(slow) * 1000:.1f} ms instead of {median(calm) * 1000:.1f} ms;"
                f" {plural(failed, 'attempt')} failed",
                trial=trial,
                excuse=trial.excuse_of(trial.attempts) if delayed else None,
            )
