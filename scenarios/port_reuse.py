"""A client that soon comes back from the same port meets the entry of its old connection in the
director's table.
"""

from collections import Counter

from lvslab import faults
from lvslab.modes import IPVS_MODES, mode_named
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, weight_of

VARIANTS = (
    "conntrack=0 conn_reuse_mode=1",
    "conntrack=1 conn_reuse_mode=1",
    "conntrack=0 conn_reuse_mode=2",
    "conntrack=0 conn_reuse_mode=0",
)
PORTS = (20000, 20019)
RETRANSMISSION = 0.9  # a lost SYN is sent again after one second


@scenario(
    title="Port reuse: lost seconds and drained servers that go on getting clients",
    teaches=(
        "recycled ports stay tied to a drained server with conn_reuse_mode=0, in DR and TUN also with 1; mode"
        " 2 frees them"
    ),
    modes=IPVS_MODES,
    seconds=25,
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment,
    mode: str = "nat",
    variant: tuple[str, ...] = VARIANTS,
    rate: float = 40.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for kind in variant:
            # Where replies bypass the director it never sees a connection end, only FIN_WAIT; mode
            # 1 spares TIME_WAIT and CLOSE alone (is_new_conn_expected in
            # net/netfilter/ipvs/ip_vs_core.c).
            one_way = mode_named(mode).replies_bypass_director
            tied = kind.endswith("mode=0") or (one_way and kind.endswith("mode=1"))
            sysctls = {
                f"net.ipv4.vs.{name}": value for name, value in (each.split("=") for each in kind.split())
            }
            with log.lab(mode, sysctls=sysctls, name=f"{mode}-{VARIANTS.index(kind)}") as lab:
                release = lab.director.release
                expects = (
                    "the drained server goes on getting its old ports"
                    if tied
                    else "the drained server gets no new connection"
                )
                with log.trial(
                    lab, variant=kind, repeat=repetition, expects=expects, rate=rate, timeout=2.5, ports=PORTS
                ) as trial:
                    trial.steady(2 * SETTLE)
                    with faults.weight_zero(lab, "rs1") as fault:
                        trial.until_table(lambda table: weight_of(table, lab, "rs1") == 0)
                        trial.steady(2 * SETTLE)
                        over = lab.now()
                    trial.steady(SETTLE)
            late = sum(
                each.connect is None or each.connect - each.start > RETRANSMISSION for each in trial.attempts
            )
            log.expect(
                f"{kind}, {repetition}: no lost second",
                late == 0,
                f"{late} of {len(trial.attempts)} connections from {PORTS[1] - PORTS[0] + 1} ports waited for"
                f" a second SYN; kernel {release}",
                trial=trial,
            )
            drained = trial.mark("table", fault.t) or fault.t
            answers = Counter(each.server for each in trial.since(drained, over) if not each.failed)
            log.expect(
                f"{kind}, {repetition}: drained server",
                answers["rs1"] > 0 if tied else answers["rs1"] == 0 and answers.total() > 0,
                f"{answers['rs1']} of {answers.total()} connections reached rs1 with weight 0",
                trial=trial,
            )
