"""One server is slow: round robin keeps feeding it, least connections notices by itself."""

from collections import Counter

from lvslab import faults
from lvslab.ipvs.service import Scheduler
from lvslab.modes import IPVS_MODES
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE


@scenario(
    title="Slow server: round robin or least connections",
    teaches=(
        "no health check is needed to spare a slow server: wlc sends less to who has more open connections,"
        " rr does not look"
    ),
    modes=IPVS_MODES,
    seconds=20,
    choices={"scheduler": tuple(Scheduler)},
)
def run(
    log: Experiment,
    mode: str = "nat",
    scheduler: tuple[str, ...] = ("rr", "wlc"),
    share: float = 0.1,
    rate: float = 300.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for name in scheduler:
            spares = name not in ("rr", "wrr")
            expects = "rs1 gets less than rs2" if spares else "rs1 gets as much as rs2"
            with log.lab(mode, scheduler=name, name=f"{mode}-{name}") as lab:
                with log.trial(
                    lab, variant=name, repeat=repetition, expects=expects, rate=rate, timeout=0.9
                ) as trial:
                    trial.steady(SETTLE)
                    with faults.server_slow(lab, "rs1", share=share) as fault:
                        trial.steady(3 * SETTLE)
                        over = lab.now()
                    trial.until_whole()
            answers = Counter(each.server for each in trial.since(fault.t + 0.5, over) if not each.failed)
            part = answers["rs1"] / max(1, answers.total())
            log.expect(
                f"{name}, {repetition}: share of the slow server",
                part < 0.35 if spares else 0.4 <= part <= 0.6,
                f"rs1 answered {part:.0%} of {answers.total()} requests",
                trial=trial,
            )
