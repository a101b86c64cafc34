"""A connection that is silent for longer than IPVS remembers it: the next packet belongs
to nobody.
"""

from lvslab.modes import IPVS_MODES
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment

TIMEOUT = 2


@scenario(
    title="Idle connection past IPVS's timeout",
    teaches=(
        "IPVS forgets idle TCP connections (after 900 s by default, long before TCP keepalive's 7200 s); who"
        " speaks more often lives on"
    ),
    modes=IPVS_MODES,
    seconds=25,
    choices={"variant": ["silent", "talking"]},
)
def run(
    log: Experiment,
    mode: str = "nat",
    variant: tuple[str, ...] = ("silent", "talking"),
    connections: int = 10,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for kind in variant:
            silent = kind == "silent"
            with log.lab(mode, name=f"{mode}-{kind}") as lab:
                lab.ipvsadm.set_timeouts(tcp=TIMEOUT)
                log.note(
                    f"ipvsadm --set {TIMEOUT} 0 0: an established connection is forgotten after {TIMEOUT} s"
                    " of silence"
                )
                expects = (
                    "the connections are reset when they speak again" if silent else "the connections live on"
                )
                with log.trial(
                    lab,
                    variant=kind,
                    repeat=repetition,
                    expects=expects,
                    rate=None,
                    connections=connections,
                    stagger=0.02,
                    heartbeat=2 * TIMEOUT if silent else TIMEOUT / 4,
                    beat_timeout=2.0,
                ) as trial:
                    trial.steady(5 * TIMEOUT)
            ends = [beat.outcome for beat in trial.beats if beat.outcome != "ok"]
            log.expect(
                f"{kind}, {repetition}: connections",
                (
                    len(ends) == connections and set(ends) == {"reset"}
                    if silent
                    else not ends and bool(trial.beats)
                ),
                f"{len(ends)} of {connections} ended"
                + (f", by {', '.join(sorted(set(ends)))}" if ends else ""),
                trial=trial,
                excuse=None if silent else trial.excuse_of_pause(TIMEOUT - TIMEOUT / 4, lab.now(), TIMEOUT),
            )
