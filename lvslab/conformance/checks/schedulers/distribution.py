"""Who gets the next connection, by scheduler and weights."""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.scheduling import Rig
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol, Scheduler

RULES = {
    Scheduler.RR: "in turn, whatever the weights, unless 0",
    Scheduler.WRR: "in rounds that give each server as many as its weight",
    Scheduler.LC: "to the server with the fewest connections, whatever the weights, unless 0",
    Scheduler.WLC: "to the server with the fewest connections for its weight",
    Scheduler.SED: "to the server where (active connections + 1) / weight is smallest",
    Scheduler.NQ: "to an idle server if there is one, else as sed does",
    Scheduler.FO: "to the server with the highest weight alone",
    Scheduler.OVF: (
        "to the highest weight until it has more active connections than its weight, then to the next"
    ),
    Scheduler.SH: "to the server that the hash of the client's address gives, in shares as the weights",
    Scheduler.MH: (
        "to the server that Maglev's table gives for the client's address, in shares as the weights"
    ),
    Scheduler.DH: "to the one server that the hash of the destination gives",
    Scheduler.LBLC: (
        "to the destination's server until that has more active connections than weight and another less than"
        " half"
    ),
    Scheduler.LBLCR: "to the least loaded of the destination's servers, which become more when all are busy",
}
"""What each scheduler promises, in words."""

WEIGHTS = {
    "equal": (1, 1, 1, 1),
    "3-to-1": (3, 1),
    "with-zero": (2, 0, 1),
    "eight": (5, 1, 4, 2, 8, 3, 7, 6),
}

_HASHING = (Scheduler.SH, Scheduler.MH)


@check(
    "scheduler:{scheduler}:{weights}",
    "new TCP connections go {rule} (weights {values})",
    tags=("{scheduler}", "distribution", "tcp"),
    each=[
        {"scheduler": scheduler, "weights": weights, "rule": rule, "values": ":".join(map(str, values))}
        for scheduler, rule in RULES.items()
        for weights, values in WEIGHTS.items()
    ],
)
def distribution(bench: Bench, scheduler: Scheduler, weights: str, rule: str, values: str) -> None:
    rig = Rig(bench, scheduler, WEIGHTS[weights])
    rig.open(
        f"{scheduler} with weights {values}",
        rig.flows(40 if weights == "eight" or scheduler in _HASHING else 16),
    )


UDP_RULES = RULES | {
    Scheduler.SED: "to the highest weight alone: UDP has no active connections, and sed counts no others",
    Scheduler.NQ: "to the first server alone: UDP has no active connections, so it always seems idle",
    Scheduler.OVF: "to the highest weight alone: UDP has no active connections, so it never overflows",
    Scheduler.LBLC: "to the destination's server alone: UDP has no active connections, so it is never busy",
    Scheduler.LBLCR: "to the destination's server alone: UDP has no active connections, so it is never busy",
}
"""What is different with UDP: ip_vs_proto_udp.c never makes a connection active."""


@check(
    "scheduler:{scheduler}:udp",
    "new UDP connections go {rule} (weights 2:3:0:1)",
    tags=("{scheduler}", "distribution", "udp"),
    each=[{"scheduler": scheduler, "rule": rule} for scheduler, rule in UDP_RULES.items()],
)
def datagrams(bench: Bench, scheduler: Scheduler, rule: str) -> None:
    rig = Rig(bench, scheduler, (2, 3, 0, 1), protocol=Protocol.UDP)
    flows = rig.flows(18)
    rig.open(f"{scheduler} with UDP", flows)
    rig.go_on("further datagrams of the same clients", flows[:4])


@check(
    "scheduler:{scheduler}:ipv6",
    "new IPv6 connections go {rule} (weights 3:1:2)",
    tags=("{scheduler}", "distribution", "ipv6"),
    each=[
        {"scheduler": scheduler, "rule": rule}
        for scheduler, rule in RULES.items()
        if scheduler
        in (
            Scheduler.WRR,
            Scheduler.WLC,
            Scheduler.SH,
            Scheduler.MH,
            Scheduler.DH,
            Scheduler.LBLC,
            Scheduler.LBLCR,
        )
    ],
)
def ipv6(bench: Bench, scheduler: Scheduler, rule: str) -> None:
    rig = Rig(bench, scheduler, (3, 1, 2), version=6)
    rig.open(f"{scheduler} with IPv6", rig.flows(24))
