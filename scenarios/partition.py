"""A cable between two switches breaks: the pair cannot hear each other any more, and each side
makes itself master.
"""

from lvslab import faults
from lvslab.lab.lab import Lab
from lvslab.modes.base import Role
from lvslab.plan.redundancy import Redundancy
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import SETTLE, takeover_bound

VARIANTS = ("backup cut off", "master cut off", "master cut off + garp_master_refresh")


@scenario(
    title="Partition of the directors: two masters, and stale ARP afterwards",
    teaches=(
        "after a partition the old master goes on as if nothing had been, so nobody announces that the"
        " address has moved back; garp_master_refresh does"
    ),
    modes=["nat", "dr", "tun"],
    seconds=40,
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment,
    mode: str = "nat",
    variant: tuple[str, ...] = VARIANTS,
    advert: float = 0.2,
    rate: float = 500.0,
    repeat: int = 1,
) -> None:
    for repetition in log.repetitions(repeat):
        for kind in variant:
            unseen, refreshed = kind == VARIANTS[0], kind == VARIANTS[2]
            pair = Redundancy(advert=advert, garp_refresh=int(refreshed))
            with log.lab(
                mode, directors=2, name=f"{mode}-{VARIANTS.index(kind)}", redundancy=pair, kernels=["uml"]
            ) as lab:
                first, second = (each.name for each in lab.plan.directors)
                _know_the_client(lab, (first, second))
                expects = (
                    "the backup becomes a second master that nobody sees; no attempt fails"
                    if unseen
                    else "the clients' side gets a new master within the bound; after the partition "
                    + (
                        "the service is whole again at once"
                        if refreshed
                        else "clients go on talking to the one that has stepped back"
                    )
                )
                bound = None if unseen else takeover_bound(lab)
                with log.trial(
                    lab, variant=kind, repeat=repetition, expects=expects, bound=bound, rate=rate
                ) as trial:
                    trial.steady(SETTLE)
                    with faults.partition(lab, [second if unseen else first]) as fault:
                        trial.until_master(second)
                        both = [name for name in (first, second) if lab.vrrp_state(name) == "MASTER"]
                        trial.until_whole()
                        trial.steady(SETTLE)
                        healed = lab.now()
                    trial.until(lambda: lab.vrrp_state(second) == "BACKUP", 10, None)  # noqa: B023
                    stepped_back = lab.now()
                    trial.steady(4 * SETTLE)
                    left = [name for name in (first, second) if lab.vrrp_state(name) == "MASTER"]
                    end = lab.now()
            name = f"{kind}, {repetition}"
            log.expect(
                f"{name}: two masters",
                len(both) == 2,
                f"master during the partition: {', '.join(both)}",
                trial=trial,
            )
            broken = trial.outage(fault.t)
            failed = sum(each.failed for each in trial.since(fault.t, healed))
            log.expect(
                f"{name}: during the partition",
                failed == 0 if unseen else broken is not None and broken.ended and broken.end < healed,
                f"{failed} attempts failed"
                + (f", outage {broken.end - broken.start:.3f} s" if broken and failed else ""),
                trial=trial,
            )
            log.expect(
                f"{name}: one master again",
                left == [first],
                f"master afterwards: {', '.join(left)}",
                trial=trial,
            )
            stale = kind == VARIANTS[1]
            # Stale ARP lasts until the client asks anew or the old master does, so its damage is
            # looked for from the first moment on; with refreshed ARP the first second may still be
            # bad.
            last = trial.since(stepped_back if stale else end - 2 * SETTLE, end - trial.timeout)
            lost = sum(each.failed for each in last)
            log.expect(
                f"{name}: after the partition",
                bool(last) and (lost > 0 if stale else lost == 0),
                f"{lost} of {len(last)} attempts failed"
                + (f": {second} still gets the clients' packets" if lost else ""),
                trial=trial,
            )


def _know_the_client(lab: Lab, directors: tuple[str, ...]) -> None:
    """Keep the client's MAC address in the directors for good, as that of a router that never
    changes.

    A director that had to ask for it after the partition would do so in the name of the virtual
    address and thereby correct the client's table by chance (arp_announce=0,
    Documentation/networking/ip-sysctl.rst).
    """
    port = lab.plan.of_role(Role.CLIENT)[0].interfaces[0]
    for each in directors:
        outer = next(own for own in lab.plan.node(each).interfaces if own.network == port.network)
        command = f"ip neighbour replace {port.ip} lladdr {port.mac} nud permanent dev {outer.name}"
        lab.node(each).run(command).check(each, command)
