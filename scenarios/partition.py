"""A cable between two switches breaks: the pair cannot hear each other any more, and each side makes itself master."""

from lvslab import faults
from lvslab.control.redundancy import Redundancy
from lvslab.experiment import Experiment
from lvslab.scenario import scenario
from lvslab.stories import SETTLE, takeover_bound


@scenario(
    title="Partition of the directors: two masters",
    teaches="who is cut off does not know it: both directors are master, and what clients notice depends on whose side they are on",
    modes=["nat", "dr", "tun"],
    seconds=30,
    choices={"side": ["backup", "master"]},
)
def run(
    log: Experiment,
    mode: str = "nat",
    side: tuple[str, ...] = ("backup", "master"),
    advert: float = 0.2,
    rate: float = 500.0,
    repeat: int = 1,
) -> None:
    for repetition in range(1, repeat + 1):
        for alone in side:
            with log.lab(mode, directors=2, name=f"{mode}-{alone}", redundancy=Redundancy(advert=advert), kernels=["uml"]) as lab:
                first, second = (each.name for each in lab.plan.directors)
                variant = f"{alone} cut off"
                expects = (
                    "the backup becomes a second master that nobody sees; no attempt fails"
                    if alone == "backup"
                    else "the clients' side gets a new master within the bound; the old one stays master on its own side"
                )
                bound = None if alone == "backup" else takeover_bound(lab)
                with log.trial(lab, variant=variant, repeat=repetition, expects=expects, bound=bound, rate=rate) as trial:
                    trial.steady(SETTLE)
                    with faults.partition(lab, [second if alone == "backup" else first]) as fault:
                        trial.until_master(second)
                        both = [name for name in (first, second) if lab.vrrp_state(name) == "MASTER"]
                        trial.until_whole()
                        trial.steady(SETTLE)
                        healed = lab.now()
                    trial.until(lambda: lab.vrrp_state(second) == "BACKUP", 10, None)  # noqa: B023
                    trial.until_whole()
                    trial.steady(SETTLE)
                    left = [name for name in (first, second) if lab.vrrp_state(name) == "MASTER"]
            name = f"{variant}, {repetition}"
            log.expect(f"{name}: two masters", len(both) == 2, f"master during the partition: {', '.join(both)}", trial=trial)
            broken = trial.outage(fault.t)
            failed = sum(each.failed for each in trial.since(fault.t, healed))
            if alone == "backup":
                log.expect(f"{name}: clients", failed == 0, f"{failed} attempts failed during the partition", trial=trial)
            else:
                log.expect(
                    f"{name}: clients",
                    broken is not None and broken.ended and broken.end < healed,
                    f"{failed} attempts failed" + (f", outage {broken.end - broken.start:.3f} s" if broken else ""),
                    trial=trial,
                )
            log.expect(f"{name}: one master again", left == [first], f"master afterwards: {', '.join(left)}", trial=trial)
