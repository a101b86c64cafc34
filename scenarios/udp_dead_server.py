"""A UDP flow is remembered by its ports: it sticks to a dead server for as long as it speaks,
unless something makes IPVS forget.
"""

from dataclasses import dataclass

from lvslab import faults
from lvslab.modes import modes_that
from lvslab.modes.base import Mode
from lvslab.plan.services import UDP_PORT
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE


@dataclass(frozen=True)
class Variant:
    """What may set the flows of a removed server free.

    Attributes:
        frees: it does.
        timeout: of IPVS's memory of a UDP flow, seconds; None for the default of 300.
        ops: every packet is scheduled anew.
        expiring: expire_nodest_conn=1.
    """

    frees: bool = True
    timeout: int | None = None
    ops: bool = False
    expiring: bool = False

    def answered(self, mode: Mode) -> bool:
        """Whether clients get answers: with --ops the director has forgotten the packet before a
        reply that passes it arrives, so nobody translates the reply.
        """
        return not self.ops or mode.replies_bypass_director


VARIANTS = {
    "defaults": Variant(frees=False),
    "udp timeout 1 s": Variant(timeout=1),
    "one-packet scheduling": Variant(ops=True),
    "expire_nodest_conn": Variant(expiring=True),
}


@scenario(
    title="UDP service whose server dies: stuck flows",
    teaches=(
        "a UDP flow sticks to a dead, even to a removed server: a short timeout, expire_nodest_conn or (not"
        " in NAT) --ops sets it free"
    ),
    modes=modes_that(lambda mode: mode.carries_udp),
    seconds=30,
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment,
    mode: str = "nat",
    variant: tuple[str, ...] = tuple(VARIANTS),
    flows: int = 20,
    rate: float = 200.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for kind in variant:
            chosen = VARIANTS[kind]
            with log.lab(
                mode,
                ops=chosen.ops,
                sysctls={"net.ipv4.vs.expire_nodest_conn": int(chosen.expiring)},
                name=f"{mode}-{list(VARIANTS).index(kind)}",
            ) as lab:
                if chosen.timeout is not None:
                    lab.ipvsadm.set_timeouts(udp=chosen.timeout)
                expects = (
                    "after the removal of rs1 every flow is answered"
                    if chosen.frees
                    else "the flows of rs1 stay unanswered after its removal"
                )
                with log.trial(
                    lab,
                    variant=kind,
                    repeat=repetition,
                    expects=expects,
                    rate=rate,
                    port=UDP_PORT,
                    protocol="udp",
                    flows=flows,
                ) as trial:
                    trial.steady(SETTLE)
                    with faults.server_power_off(lab, "rs1"):
                        trial.steady(SETTLE)
                        with faults.server_removed(lab, "rs1", UDP_PORT, "UDP") as removal:
                            trial.steady(3 * SETTLE)
                            over = lab.now()
                    trial.steady(SETTLE)
            removed = trial.mark("table", removal.t) or removal.t
            attempts = trial.since(removed + 2 * SETTLE, over)
            stuck = len({attempt.local_port for attempt in attempts if attempt.failed})
            if not chosen.frees:
                as_expected = 0 < stuck < flows
            else:
                as_expected = stuck == (0 if chosen.answered(lab.plan.mode) else flows)
            log.expect(
                f"{kind}, {repetition}: flows",
                bool(attempts) and as_expected,
                f"{stuck} of {flows} flows unanswered two seconds after rs1 was removed",
                trial=trial,
                excuse=trial.excuse_of(attempts) if chosen.frees else None,
            )
