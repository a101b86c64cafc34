"""Servers come and go, weights and schedulers change: who gets the next connection then."""

from __future__ import annotations

import random

from lvslab.conformance.check import check
from lvslab.conformance.checks.schedulers.distribution import RULES
from lvslab.conformance.packets import must
from lvslab.conformance.scheduling import Change, Rig
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Scheduler

_EDITS = 8
"""Of weights, in a walk."""


@check(
    "scheduler:{scheduler}:join",
    "a server that is added gets its share at once: new connections go {rule}; existing ones stay",
    tags=("{scheduler}", "change"),
    each=[{"scheduler": scheduler, "rule": rule} for scheduler, rule in RULES.items()],
)
def join(bench: Bench, scheduler: Scheduler, rule: str) -> None:
    rig = Rig(bench, scheduler, (2, 1))
    early = rig.flows(7)
    rig.open("before the server was added", early)
    rig.change(Change("add", 3, 3))
    rig.open("after the server was added", rig.flows(13))
    rig.go_on("connections from before", early)


@check(
    "scheduler:{scheduler}:leave",
    "a removed server gets no new connection: they go {rule} among the others; when it is back its old"
    " connections count",
    tags=("{scheduler}", "change"),
    each=[{"scheduler": scheduler, "rule": rule} for scheduler, rule in RULES.items()],
)
def leave(bench: Bench, scheduler: Scheduler, rule: str) -> None:
    rig = Rig(bench, scheduler, (1, 2, 1))
    rig.open("before the server left", rig.flows(8))
    rig.change(Change("remove", 2))
    rig.open("after the server left", rig.flows(7))
    rig.change(Change("add", 2, 2))
    rig.must_count("after the server came back")
    rig.open("after the server came back", rig.flows(9))


@check(
    "scheduler:{scheduler}:quiesce",
    "a server edited to weight 0 gets no new connection but keeps its old ones, and is served again with its"
    " weight back",
    tags=("{scheduler}", "change", "weight-0"),
    each=[{"scheduler": scheduler} for scheduler in RULES],
)
def quiesce(bench: Bench, scheduler: Scheduler) -> None:
    rig = Rig(bench, scheduler, (2, 3, 1))
    early = rig.flows(8)
    rig.open("before weight 0", early)
    rig.change(Change("edit", 2, 0))
    places = rig.open("with weight 0", rig.flows(9))
    must(2 not in places, "the model itself sends new connections to weight 0")
    rig.go_on("connections from before", early)
    rig.change(Change("edit", 2, 3))
    rig.open("with the weight back", rig.flows(9))


@check(
    "scheduler:{scheduler}:nobody",
    "with weight 0 everywhere, and with no server at all, a client is answered port unreachable; with one"
    " server it is served",
    tags=("{scheduler}", "weight-0"),
    each=[{"scheduler": scheduler} for scheduler in RULES],
)
def nobody(bench: Bench, scheduler: Scheduler) -> None:
    rig = Rig(bench, scheduler, (0, 0))
    places = rig.open("all weights 0", rig.flows(2))
    rig.change(Change("remove", 1), Change("remove", 2))
    places += rig.open("no servers", rig.flows(2))
    must(places == [None] * 4, "the model itself serves somebody")
    rig.change(Change("add", 1, 1))
    must(rig.open("one server", rig.flows(2)) == [1, 1], "the model itself refuses somebody")


@check(
    "scheduler:weight:{scheduler}:in-flight",
    "weights edited in the middle of a round count from the next connection on, as {scheduler} has it",
    tags=("{scheduler}", "change"),
    each=[
        {"scheduler": scheduler}
        for scheduler in (
            Scheduler.WRR,
            Scheduler.WLC,
            Scheduler.SED,
            Scheduler.NQ,
            Scheduler.OVF,
            Scheduler.SH,
            Scheduler.MH,
            Scheduler.LBLC,
            Scheduler.LBLCR,
        )
    ],
)
def weights_in_flight(bench: Bench, scheduler: Scheduler) -> None:
    # A walk, because a single edit may come at a moment when right and wrong agree.
    rig, order = Rig(bench, scheduler, (4, 2, 1)), random.Random(3)
    rig.open("weights 4:2:1", rig.flows(3))
    weights = {1: 4, 2: 2, 3: 1}
    for _ in range(_EDITS):
        number = order.choice(list(weights))
        weights[number] = order.choice([weight for weight in range(10) if weight != weights[number]])
        rig.change(Change("edit", number, weights[number]))
        words = ":".join(map(str, weights.values()))
        must(rig.weights() == weights, f"the table has other weights than {words}", str(rig.weights()))
        rig.open(f"weights {words}", rig.flows(order.randrange(1, 8)))


@check(
    "scheduler:wrr:common-divisor:{name}",
    "wrr divides the weights by their greatest common divisor: {weights} serve in the same order as"
    " {reduced}",
    tags=("wrr", "distribution"),
    each=[
        {"name": "hundreds", "weights": (100, 50, 200), "reduced": (2, 1, 4)},
        {"name": "largest", "weights": (65535, 21845), "reduced": (3, 1)},
        {"name": "coprime", "weights": (3, 2), "reduced": (3, 2)},
    ],
)
def common_divisor(bench: Bench, name: str, weights: tuple[int, ...], reduced: tuple[int, ...]) -> None:
    rig = Rig(bench, Scheduler.WRR, weights)
    places = rig.open(f"weights {weights}", rig.flows(2 * sum(reduced)))
    for number, share in enumerate(reduced, start=1):
        must(
            places.count(number) == 2 * share,
            f"server {number} got {places.count(number)} of two rounds, not {2 * share}",
        )
    must(
        places[: sum(reduced)] == places[sum(reduced) :], "the second round is not as the first", str(places)
    )


@check(
    "scheduler:change:{before}-to-{after}",
    "ipvsadm -E to another scheduler: new connections are placed by {after}, which starts afresh, and"
    " existing ones stay",
    tags=("{before}", "{after}", "change"),
    each=[
        {"before": Scheduler.RR, "after": Scheduler.WLC},
        {"before": Scheduler.WLC, "after": Scheduler.RR},
        {"before": Scheduler.WRR, "after": Scheduler.SH},
        {"before": Scheduler.MH, "after": Scheduler.WRR},
        {"before": Scheduler.LBLC, "after": Scheduler.LBLCR},
        {"before": Scheduler.OVF, "after": Scheduler.FO},
    ],
)
def change_scheduler(bench: Bench, before: Scheduler, after: Scheduler) -> None:
    rig = Rig(bench, before, (1, 3, 2))
    early = rig.flows(7)
    rig.open(f"under {before}", early)
    rig.change_scheduler(after)
    rig.open(f"under {after}", rig.flows(10))
    rig.go_on("connections from before", early)
