"""Weights up to the largest there is, whose products with counts take 64 bits; and preferences that
chance cannot hide.

Sources: the schedulers' files of Linux 6.1; "ipvs: fix overflow on dest weight multiply" (3.11).
"""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.packets import must
from lvslab.conformance.scheduling import Change, Rig
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol, Scheduler

_LARGEST = 2**31 - 1
_WEIGHED = (
    Scheduler.WLC,
    Scheduler.SED,
    Scheduler.NQ,
    Scheduler.LBLC,
    Scheduler.LBLCR,
    Scheduler.OVF,
    Scheduler.FO,
    Scheduler.WRR,
)


@check(
    "scheduler:{scheduler}:largest-weights",
    "{scheduler} reckons with weights up to 2147483647 without an overflow: the largest, half of it, a"
    " third and 1",
    tags=("{scheduler}", "distribution", "boundary"),
    each=[{"scheduler": scheduler} for scheduler in _WEIGHED],
)
def largest(bench: Bench, scheduler: Scheduler) -> None:
    rig = Rig(bench, scheduler, (1, 1, 1, 1))
    weights = (_LARGEST // 2, _LARGEST, 1, _LARGEST // 3)
    rig.change(*(Change("edit", number, weight) for number, weight in enumerate(weights, start=1)))
    must(
        rig.weights() == dict(enumerate(weights, start=1)), "the table has other weights", str(rig.weights())
    )
    rig.open("the largest weights", rig.flows(24))
    rig.change(Change("edit", 2, 0))
    rig.open("the largest quiescent", rig.flows(12))
    rig.change(Change("edit", 2, _LARGEST), Change("edit", 1, _LARGEST))
    rig.open("two of the largest", rig.flows(12))
    # lblc and lblcr choose by load only where their own server is gone: one connection each at the
    # first two, whose products wrap in 32 bits so that the wrong one looks less loaded.
    rig = Rig(bench, scheduler, (1, 0, 0))
    rig.open("one at server 1", rig.flows(1))
    for number in (2, 3):
        rig.change(Change("edit", number - 1, 0), Change("edit", number, 1))
        rig.open(f"one at server {number}", rig.flows(1))
    rig.change(Change("edit", 1, _LARGEST), Change("edit", 2, _LARGEST // 2 + 1), Change("edit", 3, 0))
    rig.open("the largest and half of it, as busy", rig.flows(3))


@check(
    "scheduler:{scheduler}:busy-and-idle",
    "{scheduler} prefers by load for the weight, not by load alone: busy servers of large weight against"
    " idle ones of"
    " small weight, at states in which the two differ",
    tags=("{scheduler}", "connections"),
    each=[
        {"scheduler": scheduler}
        for scheduler in (
            Scheduler.WLC,
            Scheduler.SED,
            Scheduler.NQ,
            Scheduler.LBLC,
            Scheduler.LBLCR,
            Scheduler.OVF,
        )
    ],
)
def busy_and_idle(bench: Bench, scheduler: Scheduler) -> None:
    rig = Rig(bench, scheduler, (5, 0, 0))
    rig.open("five at server 1", rig.flows(5))
    rig.change(Change("edit", 1, 0), Change("edit", 2, 3))
    rig.open("two at server 2", rig.flows(2))
    rig.must_count("before the choice")
    # Loads 5, 2, 0 against weights that turn the order of the quotients round twice.
    rig.change(Change("edit", 1, 40), Change("edit", 2, 4), Change("edit", 3, 1))
    rig.open("weights 40:4:1", rig.flows(9))
    rig.change(Change("edit", 1, 2), Change("edit", 2, 9), Change("edit", 3, 30))
    rig.open("weights 2:9:30", rig.flows(12))
    rig.must_count("in the end")


_DRAWS = 320
_TWOS = {
    "idle": ((10000, 10000), (400, 0), range(42, 119), "a quarter"),
    "weighted": ((30000, 10000), (600, 420), range(262, _DRAWS), "15 of 16"),
}
"""Weights, datagrams before, how often server 1 is chosen then, and its expected share."""


@check(
    "scheduler:twos:{state}",
    "of {draws} connections twos gives the server that is {what} {share}, as two draws by weight and the"
    " smaller load"
    " for the weight make it",
    tags=("twos", "distribution"),
    each=[
        {"state": "idle", "what": "busy beside an idle one", "share": "a quarter", "draws": _DRAWS},
        {
            "state": "weighted",
            "what": "the busier but three times as strong one",
            "share": "15 of 16",
            "draws": _DRAWS,
        },
    ],
)
def twos_prefers(bench: Bench, state: str, what: str, share: str, draws: int) -> None:
    # Binomial, n = 320. idle: right has mean 80 and deviation 7.7, one that does not compare 160
    # and 8.9: the limit is 4.9 and 4.7 deviations away. weighted: right has 300 and 4.3, one that
    # does not weigh the loads 180 and 8.9, one that does not compare 240 and 7.7 (2.8 of them away;
    # that one is seen by "idle"). So a right one fails, and a wrong one passes both, less than once
    # in a million.
    weights, before, limits, _ = _TWOS[state]
    rig = Rig(bench, Scheduler.TWOS, (1, 0), protocol=Protocol.UDP)
    rig.open("datagrams to server 1", rig.flows(before[0]))
    rig.change(Change("edit", 1, 0), Change("edit", 2, 1))
    rig.open("datagrams to server 2", rig.flows(before[1]))
    rig.must_count("before the draws")
    rig.change(Change("edit", 1, weights[0]), Change("edit", 2, weights[1]))
    count = rig.open("the draws", rig.flows(draws)).count(1)
    must(count in limits, f"server 1 got {count} of {draws}, expected {limits.start} to {limits.stop - 1}")
