"""A UDP flow is remembered by its ports: it sticks to a dead server for as long as it speaks,
unless something makes IPVS forget.
"""

from lvslab import faults
from lvslab.plan.services import UDP_PORT
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE

VARIANTS = ("defaults", "udp timeout 1 s", "one-packet scheduling", "expire_nodest_conn")


@scenario(
    title="UDP service whose server dies: stuck flows",
    teaches=(
        "a UDP flow sticks to a dead, even to a removed server: a short timeout, expire_nodest_conn or (not"
        " in NAT) --ops sets it free"
    ),
    modes=["nat", "dr", "tun", "fullnat"],
    seconds=30,
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment,
    mode: str = "nat",
    variant: tuple[str, ...] = VARIANTS,
    flows: int = 20,
    rate: float = 200.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for kind in variant:
            free = kind != VARIANTS[0]
            answered = kind != VARIANTS[2] or mode in (
                "dr",
                "tun",
            )  # one-packet connections are gone before NAT sees the reply
            sysctls = {"net.ipv4.vs.expire_nodest_conn": int(kind == VARIANTS[3])}
            with log.lab(
                mode, ops=kind == VARIANTS[2], sysctls=sysctls, name=f"{mode}-{VARIANTS.index(kind)}"
            ) as lab:
                if kind == VARIANTS[1]:
                    lab.ipvsadm.set_timeouts(udp=1)
                expects = (
                    "after the removal of rs1 every flow is answered"
                    if free
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
            after = trial.since(removed + 2 * SETTLE, over)
            stuck = {each.local_port for each in after if each.failed}
            log.expect(
                f"{kind}, {repetition}: flows",
                bool(after)
                and (
                    (len(stuck) == flows if not answered else not stuck) if free else 0 < len(stuck) < flows
                ),
                f"{len(stuck)} of {flows} flows unanswered two seconds after rs1 was removed",
                trial=trial,
            )
