"""A client that soon comes back from the same port meets its old connection's entry: new connection, old server, or a lost second."""

from statistics import quantiles

from lvslab.experiment import Experiment
from lvslab.scenario import scenario

VARIANTS = ("conntrack=0, conn_reuse_mode=1", "conntrack=1, conn_reuse_mode=1", "conntrack=1, conn_reuse_mode=0", "conntrack=0, conn_reuse_mode=0")


@scenario(
    title="Port reuse",
    teaches="x",
    modes=["nat", "dr"],
    seconds=30,
    choices={"variant": VARIANTS},
)
def run(log: Experiment, mode: str = "nat", variant: tuple[str, ...] = VARIANTS, repeat: int = 1) -> None:
    for repetition in range(1, repeat + 1):
        for kind in variant:
            sysctls = {f"net.ipv4.vs.{name}": value for name, value in (each.split("=") for each in kind.split(", "))}
            with log.lab(mode, sysctls=sysctls, name=f"{mode}-{VARIANTS.index(kind)}") as lab:
                with log.trial(
                    lab, variant=kind, repeat=repetition, expects="x", rate=20.0, timeout=2.5, ports=(20000, 20009)
                ) as trial:
                    trial.steady(6.0)
            took = [each.connect - each.start for each in trial.attempts if each.connect]
            log.expect(kind, True, f"{len(took)} {quantiles(took, n=10)} {max(took)} failed {sum(e.failed for e in trial.attempts)} >0.9 {sum(t>0.9 for t in took)}", trial=trial)
