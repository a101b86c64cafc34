"""An operator drains a server with weight 0; persistent clients keep coming unless their templates
expire with it.
"""

from collections import Counter
from dataclasses import dataclass

from lvslab import faults
from lvslab.lab.worlds import AnyLab
from lvslab.modes import ALL_MODES
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, weight_of
from lvslab.scenario.trial import Trial


@dataclass(frozen=True)
class Variant:
    """`persistence` of the service in seconds; `expiring`: expire_quiescent_template=1."""

    persistence: int = 0
    expiring: bool = False

    @property
    def stays(self) -> bool:
        """Whether a client is still sent to the drained server."""
        return self.persistence > 0 and not self.expiring


VARIANTS = {
    "not persistent": Variant(),
    "persistent": Variant(persistence=300),
    "persistent + expire_quiescent_template": Variant(persistence=300, expiring=True),
}


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
    variant: tuple[str, ...] = tuple(VARIANTS),
    rate: float = 300.0,
    connections: int = 10,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for kind in variant:
            chosen = VARIANTS[kind]
            with log.lab(
                mode,
                persistence=chosen.persistence,
                sysctls={"net.ipv4.vs.expire_quiescent_template": int(chosen.expiring)},
                name=f"{mode}-{list(VARIANTS).index(kind)}",
            ) as lab:
                server = log.get(lab)[0] or "rs1"  # the one that a persistent client is tied to
                trial_of = log.trial(
                    lab,
                    variant=kind,
                    repeat=repetition,
                    expects=(
                        f"the client is still sent to {server}"
                        if chosen.stays
                        else f"no new connection reaches {server}"
                    ),
                    rate=rate,
                    connections=connections,
                    heartbeat=0.1,
                )
                with trial_of as trial:
                    drained, restored = drain(lab, trial, server)
            judge(log, trial, server, drained, restored, chosen.stays, f"{kind}, {repetition}")


def drain(lab: AnyLab, trial: Trial, server: str) -> tuple[float, float]:
    """Take the server's weight away for a while; when it was taken and when it was given back."""
    trial.steady(SETTLE)
    with faults.weight_zero(lab, server) as fault:
        trial.until_table(lambda table: weight_of(table, lab, server) == 0)
        trial.steady(2 * SETTLE)
        restored = lab.now()
    trial.steady(SETTLE)
    return fault.t, restored


def judge(
    log: Experiment, trial: Trial, server: str, drained: float, restored: float, stays: bool, name: str
) -> None:
    """Who answered new connections from the moment on that the table had changed, and what became
    of those that there were.
    """
    changed = trial.mark("table", drained) or drained
    attempts = trial.since(changed, restored)
    answers = Counter(attempt.server for attempt in attempts if not attempt.failed)
    shown = ", ".join(f"{who} {count}" for who, count in sorted(answers.items()))
    log.expect(
        f"{name}: new connections",
        bool(answers) and (answers[server] == answers.total() if stays else answers[server] == 0),
        f"with weight 0 for {server}, answers came from: {shown or 'nobody'}",
        trial=trial,
        excuse=None if answers else trial.excuse_of(attempts),
    )
    lived = trial.survival(changed, restored)
    log.expect(
        f"{name}: established connections",
        lived.survived == lived.total > 0,
        f"{lived.survived} of {lived.total} lived on while {server} was drained",
        trial=trial,
        excuse=trial.excuse_of_connections([number for number, _, _ in lived.lost]),
    )
