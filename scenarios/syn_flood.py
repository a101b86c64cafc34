"""A SYN flood fills the servers' queues through LVS-NAT; the defences of IPVS protect the
director's memory, SYNPROXY the servers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lvslab.modes.base import Step, Sysctl, set_up_script
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE
from lvslab.traffic.flood import syn_flood


@dataclass(frozen=True)
class Defence:
    """A mode, and what of IPVS's own defences is switched on (ip_vs.ko's sysctls,
    Documentation/networking/ipvs-sysctl.rst).

    Attributes:
        protects: the servers never see the flood.
        counted: the director's table is compared with what it holds without defence.
    """

    mode: str = "nat"
    sysctls: Mapping[str, int] = field(default_factory=dict)
    protects: bool = False
    counted: bool = True


PLAIN = "nat"
VARIANTS = {
    PLAIN: Defence(),
    "nat + drop_entry": Defence(sysctls={"net.ipv4.vs.drop_entry": 3}),
    "nat + secure_tcp": Defence(sysctls={"net.ipv4.vs.secure_tcp": 3}, counted=False),
    "synproxy": Defence(mode="synproxy", protects=True),
}
# Without cookies Linux keeps a quarter of tcp_max_syn_backlog for clients that it has met before,
# such as the prober; a large one leaves the listening socket's own queue as the limit, which is the
# same for everybody (tcp_conn_request in net/ipv4/tcp_input.c).
UNPROTECTED = Step(
    "unprotected",
    "nothing but the queue of the web server's socket",
    (Sysctl("net.ipv4.tcp_syncookies", 0), Sysctl("net.ipv4.tcp_max_syn_backlog", 65536)),
)
QUEUE = 4096  # of the web server's listening socket, as lvslab configures it
BLACK_HOLE = "ip route add blackhole 198.18.0.0/15"


@scenario(
    title="SYN flood against NAT, with and without SYNPROXY",
    teaches=(
        "IPVS passes every SYN on: servers without cookies drown; drop_entry spares the director's table,"
        " SYNPROXY the servers too"
    ),
    modes=tuple(dict.fromkeys(defence.mode for defence in VARIANTS.values())),
    seconds=40,
    real_time="queues that fill while a machine is busy: in virtual time none is",
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment,
    variant: tuple[str, ...] = tuple(VARIANTS),
    flood: float = 6000.0,
    rate: float = 200.0,
    seconds: float = 4.0,
    repeat: int = 1,
) -> None:
    # seconds after which the queues of both servers are full for certain
    full = 1.5 * 2 * QUEUE / flood
    for repetition in log.repetitions(repeat):
        plain = 0
        for kind in variant:
            defence = VARIANTS[kind]
            name = f"flood-{list(VARIANTS).index(kind)}"
            with log.real_lab(defence.mode, clients=2, sysctls=defence.sysctls, name=name) as lab:
                for server in lab.servers:
                    server.run(set_up_script([UNPROTECTED], None)).check(server.name, "set-up")
                lab.director.run(BLACK_HOLE).check(
                    "lvs", BLACK_HOLE
                )  # answers to the flood vanish as on the Internet
                expects = (
                    "nobody notices the flood"
                    if defence.protects
                    else "the servers' queues are full: most connections fail"
                )
                with log.trial(lab, variant=kind, repeat=repetition, expects=expects, rate=rate) as trial:
                    trial.steady(SETTLE)
                    began = lab.now()
                    with syn_flood(lab, "c2", flood):
                        trial.steady(full + seconds)
                        entries = entries_of(lab.director.run("cat /proc/net/ip_vs").out)
                        over = lab.now()
                    trial.steady(SETTLE)
            during = trial.since(began + full, over)
            failed = sum(each.failed for each in during) / len(during)
            log.expect(
                f"{kind}, {repetition}: clients",
                failed < 0.01 if defence.protects else failed > 0.5,
                f"{failed:.0%} of {len(during)} attempts failed during the flood of {flood:g} SYNs/s",
                trial=trial,
                excuse=trial.excuse_of(during) if defence.protects else None,
            )
            if kind == PLAIN:
                plain = entries
            if defence.counted:
                log.expect(
                    f"{kind}, {repetition}: director",
                    entries > flood * seconds if kind == PLAIN else not plain or entries < plain,
                    f"{entries} connections in the director's table"
                    + (f"; without defence {plain}" if kind != PLAIN and plain else ""),
                    trial=trial,
                    # what is missing was not sent in time
                    excuse=(
                        trial.excuse(full + seconds - entries / flood, began, over) if kind == PLAIN else None
                    ),
                )


def entries_of(table: str) -> int:
    """Sum of the connections in /proc/net/ip_vs, active and inactive: its last two columns."""
    rows = [line.split() for line in table.splitlines() if line.strip().startswith("->")]
    return sum(int(row[-1]) + int(row[-2]) for row in rows if row[-1].isdigit())
