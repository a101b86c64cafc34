"""DNS round robin over two balancers: who notices when one of them dies?

    c1 … c3    ask c4 for www.shop.test before each request: 10.0.0.10 and 10.0.0.20, in turn
     │
     ├── c4    name server (dnsmasq)
     │
     ├──────────────────┐
    lvs1 10.0.0.10     lvs2 10.0.0.20         directors, both active, each with an address of its own
     │                  │
    rs1, rs2                                  real servers for both

DNS shares the requests, but it gives the dead balancer's address to everybody as before. Either
somebody changes the record, or lvs2 takes the address 10.0.0.10 over (VRRP; in a real pair
10.0.0.20 is lvs1's to take over, likewise). It is LVS-DR or LVS-TUN: with LVS-NAT each real server
has one gateway, so it can answer through one of the balancers only.
"""  # noqa: W505

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from lvslab import faults
from lvslab.errors import UsageError
from lvslab.lab.lab import Lab
from lvslab.lab.lateness import LatenessWatch
from lvslab.modes import modes_that
from lvslab.plan.redundancy import Redundancy
from lvslab.plan.services import HTTP_PORT
from lvslab.runs.lateness import Excuse, lateness, read_delays
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import http_service, takeover_bound
from lvslab.traffic import dns

NAME, OTHER = "www.shop.test", "10.0.0.20"
VARIANTS = ALONE, _ = "DNS alone", "address taken over"
TIMEOUT = 1.0
"""Seconds after which a client gives a request up."""

Visit = Callable[[str], list[dns.Visit]]
"""All clients make their requests; the file where they are kept gets this name."""


@scenario(
    title="DNS round robin over two balancers",
    teaches=(
        "DNS shares requests but knows nothing of life and death: half of them fail until the record changes,"
        " or an address moves"
    ),
    modes=modes_that(lambda mode: mode.replies_bypass_director),
    seconds=25,
    real_time="programs of this machine in clients (dnsmasq, curl): in virtual time they are simulated",
    choices={"variant": VARIANTS},
)
def run(
    log: Experiment,
    mode: str = "dr",
    variant: tuple[str, ...] = VARIANTS,
    clients: int = 3,
    requests: int = 12,
    advert: float = 0.2,
    repeat: int = 1,
) -> None:
    if clients < 1 or requests < 2:
        raise UsageError(
            f"clients {clients}, requests {requests}: there is nothing to share; give 1 client and 2 requests"
            " at least"
        )
    dns.require("scenario 'dns-round-robin'")
    pair = Redundancy(advert=advert, sync=False)
    for repetition in log.repetitions(repeat):
        for kind in variant:
            title, folder = f"{kind}, {repetition}", f"{mode}-{kind.replace(' ', '-').lower()}-{repetition}"
            with log.real_lab(
                mode, clients=clients + 1, directors=2, name=folder, redundancy=pair, kernels=["uml"]
            ) as lab:
                *users, holder = lab.clients
                vip, server = str(lab.plan.addresses.vip), lab.plan.node(holder.name).ip

                def visit(phase: str) -> list[dns.Visit]:
                    visits = dns.visit(users, server, NAME, requests, TIMEOUT)  # noqa: B023
                    dns.write_visits(log.run.logs / folder / f"{phase}.csv", visits)  # noqa: B023
                    return visits

                give_address(lab, lab.plan.directors[1].name)
                with dns.NameServer(holder, NAME, (vip, OTHER), log.run.logs / folder) as names:
                    both_work(log, lab, visit, title)
                    if kind == ALONE:
                        dns_alone(log, lab, visit, names, title)
                    else:
                        address_taken_over(log, lab, visit, title, advert)


def both_work(log: Experiment, lab: Lab, visit: Visit, title: str) -> None:
    first, second = (each.name for each in lab.plan.directors)
    visits = visit("both-work")
    wanted = Counter(each.address for each in visits)
    seen = carried(lab, first), carried(lab, second)
    log.expect(
        f"{title}: DNS shares the requests",
        halved(visits)
        and not failed(visits)
        and [set(each) for each in seen] == [{lab.plan.addresses.vip}, {OTHER}]
        and seen[0] + seen[1] == wanted,
        f"{told(visits)}; new connections in {first}: {seen[0].total()}, in {second}: {seen[1].total()}",
        evidence(lab, "both-work"),
    )


def dns_alone(log: Experiment, lab: Lab, visit: Visit, names: dns.NameServer, title: str) -> None:
    first, second = (each.name for each in lab.plan.directors)
    lab.stop_control(second)
    lab.tell("control", "keepalived ended: it takes nothing over", second)
    with faults.director_power_cut(lab, first):
        visits = visit("one-is-dead")
        lost = failed(visits)
        log.expect(
            f"{title}: DNS does not notice",
            halved(visits) and lost == [each for each in visits if each.address == lab.plan.addresses.vip],
            f"{len(lost) / len(visits):.0%} of the requests failed; {told(visits)}",
            evidence(lab, "one-is-dead"),
        )
        names.publish([OTHER])
        lab.tell("note", f"{NAME} is {OTHER} alone from now on", names.node.name)
        visits = visit("record-changed")
        log.expect(
            f"{title}: the changed record helps",
            not failed(visits) and {each.address for each in visits} == {OTHER},
            told(visits),
            evidence(lab, "record-changed"),
        )


def address_taken_over(log: Experiment, lab: Lab, visit: Visit, title: str, advert: float) -> None:
    first, second = (each.name for each in lab.plan.directors)
    bound = takeover_bound(lab)
    before = carried(lab, second)
    waits = log.run.probes / f"{title.replace(', ', '-').replace(' ', '-')}.lateness.csv"
    with LatenessWatch(lab, waits), faults.director_power_cut(lab, first) as fault:
        master = until_master(lab, second, 10 * bound.seconds)
        took = lab.now() - fault.t
        visits = visit("address-moved")
        seen = carried(lab, second) - before
    allowed = bound.seconds + advert + fault.lasted
    late = lateness(read_delays(waits), (), fault.t, fault.t + took)
    log.expect(
        f"{title}: {second} takes {lab.plan.addresses.vip} over",
        master and took <= allowed,
        f"{'master' if master else 'still not master'} {took:.3f} s after the fault; {bound.formula} ="
        f" {bound.seconds:.3f} s, and an interval of {advert:g} s for the machine's own delays",
        excuse=Excuse(took - allowed, late) if master else None,
    )
    log.expect(
        f"{title}: harmless from then on, DNS unchanged",
        halved(visits) and not failed(visits) and seen == Counter(each.address for each in visits),
        f"{told(visits)}; new connections in {second}: {seen.total()}",
        evidence(lab, "address-moved"),
    )


# -- what it takes ---------------------------------------------------------------------------------


def give_address(lab: Lab, director: str) -> None:
    """The second balancer gets its own virtual address, with the same service; the real servers
    accept it, silent in ARP.
    """
    lab.node(director).run(f"ip address add {OTHER}/32 dev {lab.plan.vrrp[director].outer}").check(
        director, "second address"
    )
    lab.table(director).restore([replace(http_service(lab), address=OTHER)])
    for server in lab.servers:
        command = f"ip address add {OTHER}/32 dev {lab.plan.mode.vip_device}"
        server.run(command).check(server.name, command)


def until_master(lab: Lab, director: str, timeout: float) -> bool:
    """Wait until a director has become master; returns whether it has within `timeout` seconds."""
    return lab.clock.wait(lambda: lab.vrrp_state(director) == "MASTER", timeout, 0.005)


def carried(lab: Lab, director: str) -> Counter[str]:
    """Virtual address → connections that a director has in its table; the entries outlive the
    connections by two minutes.
    """
    entries = lab.table(director).list_connections()
    return Counter(each.virtual.address for each in entries if each.virtual.port == HTTP_PORT)


def failed(visits: Sequence[dns.Visit]) -> list[dns.Visit]:
    return [each for each in visits if each.error]


def halved(visits: Sequence[dns.Visit]) -> bool:
    """Whether each of the two addresses was given for a third of the requests at least."""
    given = Counter(each.address for each in visits)
    return len(given) == 2 and min(given.values()) >= len(visits) / 3


def told(visits: Sequence[dns.Visit]) -> str:
    """How many requests went to which address, and how many of them failed."""
    given, lost = Counter(each.address for each in visits), Counter(each.address for each in failed(visits))
    return "; ".join(
        f"{address or 'not resolved'}: {lost[address]} of {given[address]} failed"
        for address in sorted(given)
    )


def evidence(lab: Lab, phase: str) -> list[str]:
    return [f"logs/{lab.plan.name}/{phase}.csv"]
