"""An operator removes a server that still has connections: they hang in silence, or are told, as
expire_nodest_conn says.
"""

from lvslab import faults
from lvslab.modes import IPVS_MODES
from lvslab.runs.lateness import least_excused
from lvslab.runs.words import plural
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, weight_of

BEAT_TIMEOUT = 2.0


@scenario(
    title="Remove a server with live connections: expire_nodest_conn",
    teaches=(
        "by default packets to a removed server vanish and its clients hang; with expire_nodest_conn=1 they"
        " are told at once"
    ),
    modes=IPVS_MODES,
    seconds=25,
    choices={"expire": ["0", "1"]},
)
def run(
    log: Experiment,
    mode: str = "nat",
    expire: tuple[str, ...] = ("0", "1"),
    rate: float = 300.0,
    connections: int = 20,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for value in expire:
            telling = value == "1"
            variant, outcome = f"expire_nodest_conn={value}", "reset" if telling else "timeout"
            with log.lab(
                mode, sysctls={"net.ipv4.vs.expire_nodest_conn": value}, name=f"{mode}-{value}"
            ) as lab:
                with log.trial(
                    lab,
                    variant=variant,
                    repeat=repetition,
                    expects=f"connections to rs1 end by {outcome}; those to rs2 and new ones notice nothing",
                    rate=rate,
                    connections=connections,
                    # not in step with the attempts, so that round robin gives both servers some
                    stagger=0.013,
                    heartbeat=0.1,
                    beat_timeout=BEAT_TIMEOUT,
                ) as trial:
                    trial.steady(SETTLE)
                    with faults.server_removed(lab, "rs1") as fault:
                        trial.until_table(lambda table: weight_of(table, lab, "rs1") is None)
                        trial.steady(BEAT_TIMEOUT + SETTLE)
                    trial.steady(SETTLE)
            server_of = {beat.connection: beat.server for beat in trial.beats if beat.server}
            found = trial.survival(fault.t)
            ends = sorted({end for number, _, end in found.lost if server_of.get(number) == "rs1"})
            others = [number for number, _, _ in found.lost if server_of.get(number) != "rs1"]
            lost = len(found.lost) - len(others)
            there = sum(server == "rs1" for server in server_of.values())
            name = f"{variant}, {repetition}"
            log.expect(
                f"{name}: connections to rs1",
                ends == [outcome] and lost == there and 0 < there < connections,
                f"{lost} of {there} ended, by {', '.join(ends) or 'nothing'}",
                trial=trial,
            )
            # one that was under way to rs1 is no new connection
            attempts = trial.since(trial.mark("table", fault.t) or fault.t)
            failed = sum(each.failed for each in attempts)
            excuses = [trial.excuse_of(attempts), trial.excuse_of_connections(others)]
            log.expect(
                f"{name}: the others",
                not others and failed == 0,
                f"{plural(len(others), 'connection')} to rs2 ended,"
                f" {plural(failed, 'new connection')} failed",
                trial=trial,
                excuse=least_excused([excuse for excuse in excuses if excuse]),
            )
