"""LVS and layer-7 proxies as directors in front of the same real servers: the same work, and what
it costs the director.

Every contender is first asked whether it distributes at all: all real servers must answer in turn,
and must see the client's address behind LVS and the director's behind a proxy. The contenders take
turns, every second time in the opposite order, so that a slow minute of the machine does not fall
on one alone. All run in the same kind of kernel, or the comparison is refused.
"""

from contextlib import nullcontext

from lvslab.errors import UsageError
from lvslab.proxies import contest, web
from lvslab.proxies.tier import PROXIES, proxy_named, serving
from lvslab.report import tier
from lvslab.runs import rundir
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment

LVS = {"lvs-nat": "nat", "lvs-dr": "dr"}
ENOUGH = 110
"""Requests from which a 99th percentile can be told, and some to spare for a late start."""

CONTENDERS = ("lvs-nat", "lvs-dr", "haproxy", "nginx", "pound")


@scenario(
    title="LVS and layer-7 proxies side by side",
    teaches=(
        "what distributing connections costs a director in the kernel (LVS) and in a program (HAProxy, nginx,"
        " Pound)"
    ),
    modes=("nat", "dr"),
    seconds=240,
    real_time="what work costs a director: in virtual time it costs nothing",
    choices={"contenders": (*LVS, *PROXIES), "server": tuple(web.SERVERS)},
)
def run(
    log: Experiment,
    contenders: tuple[str, ...] = CONTENDERS,
    repeat: int = 3,
    seconds: float = 2.0,
    rate: float = 100.0,
    servers: int = 2,
    server: str = "nginx",
) -> None:
    for name, value in (("repeat", repeat), ("seconds", seconds), ("rate", rate)):
        if value <= 0:
            raise UsageError(f"scenario 'l4-versus-l7': {name} {value:g} is not above 0")
    if rate * seconds < ENOUGH:
        raise UsageError(
            f"scenario 'l4-versus-l7': {rate:g}/s for {seconds:g} s gives {rate * seconds:.0f} requests; a"
            f" p99 needs {ENOUGH}: raise --rate or --seconds"
        )
    if len(set(contenders)) != len(contenders) or len(contenders) < 2:
        raise UsageError("scenario 'l4-versus-l7': contenders: name two or more, each once")
    web.require(server)
    for name in contenders:
        if name not in LVS:
            proxy_named(name).require()
    placements = {}
    for repetition in log.repetitions(repeat):
        for name in contenders if repetition % 2 else reversed(contenders):
            mode = LVS.get(name, "nat")
            alike = tuple(LVS.values())
            with log.real_lab(mode, servers=servers, alike=alike, name=name, own_kernel=True) as lab:
                placements[name] = contest.placement(lab)
                contest.require_alike(placements)
                for node in lab.servers:
                    web.replace_web_server(node, server)
                proxy = PROXIES.get(name)
                with serving(lab, proxy, log.run.logs / name) if proxy else nullcontext() as daemon:
                    rips = tuple(lab.plan.addresses.rips)
                    shared = contest.ask(lab)
                    log.expect(
                        f"{name}, {repetition}: all servers in turn",
                        shared.in_turn(rips),
                        f"answers of {', '.join(shared.servers)}",
                    )
                    expected = contest.seen_by_servers(lab, proxied=proxy is not None)
                    log.expect(
                        f"{name}, {repetition}: client address the servers see",
                        shared.seen == {expected},
                        f"{', '.join(sorted(shared.seen)) or 'nobody'}; expected {expected}, the"
                        f" {'director' if proxy else 'client'}",
                    )
                    measured = contest.Contest(
                        lab, log.run, name, mode if proxy is None else name, repetition, daemon
                    )
                    measured.system_calls()
                    measured.latency(rate, seconds)
                    measured.connections(seconds)
                    measured.requests(seconds)
                    measured.transfer(seconds)
                    log.expect(
                        f"{name}, {repetition}: every measurement succeeded",
                        not measured.failures,
                        "; ".join(measured.failures) or "latency, connections, requests and download",
                    )
    if repetition == repeat:
        answer = tier.answer(rundir.load(log.run.path))
        (log.run.path / "answer.txt").write_text(answer.text + "\n")
        log.note(answer.text)
        log.expect("the answer", answer.complete, answer.short, evidence=["answer.txt"])
    log.run.add_not_comparable(
        "Absolute rates: the director is a guest kernel on the machine's processors, shared with the client"
        " and the real servers; compare the director's processor time for the same work."
    )
