"""All servers are dead: who has a sorry server says so politely, who has none refuses everybody."""

from collections import Counter

from lvslab import faults
from lvslab.control.controls import CONTROLS, HealthSettings
from lvslab.modes import modes_that
from lvslab.plan.services import HTTP_SERVER_PORT
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, weight_of

_PATIENCE = 10.0
"""Seconds that a living server has for the answer to a check, on a busy machine too; dead ones
refuse at once.
"""


@scenario(
    title="Sorry server",
    teaches=(
        "when no server is left, keepalived and ldirectord can send clients to one that says sorry; without"
        " it nobody answers them"
    ),
    modes=modes_that(lambda mode: mode.maps_ports),
    seconds=40,
    choices={
        "control": [name for name in CONTROLS if name in ("keepalived", "ldirectord")],
        "sorry": ["yes", "no"],
    },
)
def run(
    log: Experiment,
    mode: str = "nat",
    control: tuple[str, ...] = ("keepalived",),
    sorry: tuple[str, ...] = ("yes", "no"),
    rate: float = 200.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for name in control:
            for choice in sorry:
                polite = choice == "yes"
                variant = f"{name}, {'with' if polite else 'without'} sorry server"
                address = f"10.0.1.13:{HTTP_SERVER_PORT}"
                settings = HealthSettings(timeout=_PATIENCE, sorry_server=address if polite else None)
                expects = (
                    "rs3 answers for the dead servers"
                    if polite
                    else "every attempt fails while all servers are dead"
                )
                with log.lab(
                    mode,
                    servers=3,
                    spare=("rs3",),
                    control=name,
                    health_settings=settings,
                    name=f"{mode}-{name}-{choice}",
                ) as lab:
                    with log.trial(
                        lab, variant=variant, repeat=repetition, expects=expects, rate=rate
                    ) as trial:
                        trial.steady(SETTLE)
                        with faults.server_killed(lab, "rs1"), faults.server_killed(lab, "rs2"):
                            trial.until_table(
                                lambda table: (
                                    not weight_of(table, lab, "rs1") and not weight_of(table, lab, "rs2")
                                ),
                                20,
                            )
                            gone = lab.now()
                            trial.steady(2 * SETTLE)
                            over = lab.now()
                        trial.until_whole()
                        trial.steady(SETTLE)
                answers = Counter(each.server or each.outcome for each in trial.since(gone + 0.5, over))
                shown = ", ".join(f"{who} {count}" for who, count in sorted(answers.items()))
                log.expect(
                    f"{variant}, {repetition}",
                    set(answers) == {"rs3"} if polite else not any(who.startswith("rs") for who in answers),
                    f"while rs1 and rs2 were dead: {shown}",
                    trial=trial,
                )
