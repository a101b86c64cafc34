"""An operator drains a server with weight 0; persistent clients keep coming unless their templates
expire with it.
"""

from collections import Counter

from lvslab import faults
from lvslab.modes import ALL_MODES
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, weight_of

VARIANTS = ("not persistent", "persistent", "persistent + expire_quiescent_template")


@scenario(
    title="Drain a server, with and without persistence",
    teaches=(
        "weight 0 keeps new clients away, but a persistent client is sent to its server for as long as its"
        " template lives"
    ),
    modes=ALL_MODES,
    seconds=20,
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment,
    mode: str = "nat",
    variant: tuple[str, ...] = VARIANTS,
    rate: float = 300.0,
    connections: int = 10,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for kind in variant:
            persistent, expiring = kind != VARIANTS[0], kind == VARIANTS[2]
            stays = persistent and not expiring
            sysctls = {"net.ipv4.vs.expire_quiescent_template": int(expiring)}
            with log.lab(
                mode,
                persistence=300 if persistent else 0,
                sysctls=sysctls,
                name=f"{mode}-{VARIANTS.index(kind)}",
            ) as lab:
                server = log.get(lab)[0] or "rs1"  # the one that a persistent client is tied to
                expects = (
                    f"the client is still sent to {server}"
                    if stays
                    else f"no new connection reaches {server}"
                )
                with log.trial(
                    lab,
                    variant=kind,
                    repeat=repetition,
                    expects=expects,
                    rate=rate,
                    connections=connections,
                    heartbeat=0.1,
                ) as trial:
                    trial.steady(SETTLE)
                    with faults.weight_zero(lab, server) as fault:
                        trial.until_table(lambda table: weight_of(table, lab, server) == 0)  # noqa: B023
                        trial.steady(2 * SETTLE)
                        restored = lab.now()
                    trial.steady(SETTLE)
            drained = trial.mark("table", fault.t) or fault.t
            answers = Counter(each.server for each in trial.since(drained, restored) if not each.failed)
            lived = trial.survival(drained, restored)
            name = f"{kind}, {repetition}"
            shown = ", ".join(f"{who} {count}" for who, count in sorted(answers.items()))
            log.expect(
                f"{name}: new connections",
                bool(answers) and (answers[server] == answers.total() if stays else answers[server] == 0),
                f"with weight 0 for {server}, answers came from: {shown}",
                trial=trial,
            )
            log.expect(
                f"{name}: established connections",
                lived.survived == lived.total > 0,
                f"{lived.survived} of {lived.total} lived on while {server} was drained",
                trial=trial,
            )
