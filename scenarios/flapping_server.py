"""A server that dies and comes back again and again: health control follows it, each time a little
late.
"""

from lvslab import faults
from lvslab.control.controls import CONTROLS, HealthSettings
from lvslab.modes import ALL_MODES
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE


@scenario(
    title="Flapping server",
    teaches=(
        "health control takes the sting out of a flapping server, but every flap costs the time that it takes"
        " to notice"
    ),
    modes=ALL_MODES,
    seconds=35,
    choices={"control": CONTROLS},
)
def run(
    log: Experiment,
    mode: str = "nat",
    control: tuple[str, ...] = ("none", "keepalived"),
    down: float = 2.0,
    up: float = 2.0,
    flaps: int = 2,
    interval: float = 0.5,
    rate: float = 300.0,
    repeat: int = 1,
) -> None:
    settings = HealthSettings(interval=interval, timeout=10.0)  # while it is down it refuses at once
    failed: dict[tuple[str, int], float] = {}
    for repetition in log.repetitions(repeat):
        for name in control:
            expects = (
                "half of all attempts fail while the server is down"
                if name == "none"
                else "fewer attempts fail than with nobody"
            )
            with log.lab(mode, control=name, health_settings=settings, name=f"{mode}-{name}") as lab:
                with log.trial(lab, variant=name, repeat=repetition, expects=expects, rate=rate) as trial:
                    trial.steady(SETTLE)
                    with faults.server_flapping(lab, "rs1", down=down, up=up, times=flaps) as fault:
                        trial.steady(flaps * (down + up))
                    trial.until_whole()
                    trial.steady(SETTLE)
            during = trial.since(fault.t, fault.t + flaps * (down + up))
            share = failed[name, repetition] = sum(each.failed for each in during) / len(during)
            others = failed.get(("none", repetition))
            log.expect(
                f"{name}, {repetition}: flapping",
                share > 0.1 if name == "none" else share < (1.0 if others is None else others),
                f"{share:.1%} of the attempts failed"
                + ("" if name == "none" or others is None else f"; with nobody {others:.1%}"),
                trial=trial,
            )
