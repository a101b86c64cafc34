"""A UDP flow is remembered by its ports: it sticks to a dead server for as long as it speaks, unless something makes IPVS forget."""

from lvslab import faults
from lvslab.experiment import Experiment
from lvslab.plan import UDP_PORT
from lvslab.scenario import scenario
from lvslab.stories import SETTLE

VARIANTS = ("defaults", "udp timeout 1 s", "one-packet scheduling", "expire_nodest_conn")


@scenario(
    title="UDP service whose server dies: stuck flows",
    teaches="a talking UDP flow never leaves a dead server, even a removed one; --ops or expire_nodest_conn frees it, a short timeout does not",
    modes=["nat", "dr", "tun", "fullnat"],
    seconds=30,
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment, mode: str = "nat", variant: tuple[str, ...] = VARIANTS, flows: int = 20, rate: float = 200.0, repeat: int = 1
) -> None:
    for repetition in range(1, repeat + 1):
        for kind in variant:
            free = kind in VARIANTS[2:]
            sysctls = {"net.ipv4.vs.expire_nodest_conn": int(kind == VARIANTS[3])}
            with log.lab(mode, ops=kind == VARIANTS[2], sysctls=sysctls, name=f"{mode}-{VARIANTS.index(kind)}") as lab:
                if kind == VARIANTS[1]:
                    lab.ipvsadm.set_timeouts(udp=1)
                expects = (
                    "after the removal of rs1 every flow is answered"
                    if free
                    else "the flows of rs1 stay unanswered after its removal"
                )
                with log.trial(
                    lab, variant=kind, repeat=repetition, expects=expects, rate=rate, port=UDP_PORT, protocol="udp", flows=flows
                ) as trial:
                    trial.steady(SETTLE)
                    with faults.server_power_off(lab, "rs1"):
                        trial.steady(SETTLE)
                        with faults.server_removed(lab, "rs1", UDP_PORT, "UDP") as removal:
                            trial.steady(2 * SETTLE)
                            over = lab.now()
                    trial.steady(SETTLE)
            removed = trial.mark("table", removal.t) or removal.t
            after = trial.since(removed + SETTLE, over)
            stuck = {each.local_port for each in after if each.failed}
            log.expect(
                f"{kind}, {repetition}: flows",
                bool(after) and (not stuck if free else bool(stuck)),
                f"{len(stuck)} of {flows} flows stuck a second after rs1 was removed",
                trial=trial,
            )
