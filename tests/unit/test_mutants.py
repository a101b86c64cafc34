"""A check must be able to fail: the checks of the schedulers are carried out against a director
whose kernel is a model. Against the right one all pass; against each faulty one a check that names
its subject fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest

from lvslab.conformance.check import Check, all_checks
from lvslab.conformance.models import schedulers
from lvslab.conformance.models.hashing import SH_SLOTS
from lvslab.conformance.models.schedulers import (
    Algorithm,
    Hashing,
    LocalityBased,
    LocalityBasedReplicated,
    NeverQueue,
    RoundRobin,
    ShortestExpectedDelay,
    WeightedFailover,
    WeightedLeastConnection,
    WeightedOverflow,
    WeightedRoundRobin,
)
from lvslab.conformance.models.servers import Flow, Server, least_loaded, shortest_delay
from lvslab.conformance.verdict import CheckFailed
from lvslab.ipvs.service import Scheduler, SchedulerFlag
from tests.unit.model_director import Make, ModelDirector, Mutant

SUBJECTS = ("scheduler", "hash", "threshold", "mixed")
NOT_OF_A_MODEL = (
    "hash:lblcr:expiration",
    "mixed:persistent:ipv4-servers",
    "mixed:persistent:ipv6-servers",
    "mixed:refused:ipv4-servers",
    "mixed:refused:ipv6-servers",
    "mixed:saved:ipv4-servers",
    "mixed:saved:ipv6-servers",
    "mixed:sync:daemon-first",
    "mixed:sync:server-first",
    "scheduler:counts:fin",
    "scheduler:counts:reset:established",
    "scheduler:counts:reset:half-open",
    "scheduler:counts:udp",
    "threshold:lower:default",
    "threshold:lower:given",
)
"""Checks of these subjects that need more of a kernel: states, expiry, refusals of ipvsadm."""
CHECKS = [each for each in all_checks() if each.tags[0] in SUBJECTS and each.name not in NOT_OF_A_MODEL]


def failing(checks: Sequence[Check], mutant: Mutant | None = None) -> Iterator[str]:
    """Names of the checks that fail against a model."""
    for each in checks:
        try:
            each.run(ModelDirector(mutant).bench)
        except CheckFailed:
            yield each.name


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_check_passes_against_the_right_model(subject: str) -> None:
    assert list(failing([each for each in CHECKS if each.tags[0] == subject])) == []


def instead(scheduler: Scheduler, kind: type[Algorithm]) -> Make:
    """A mutant's algorithm for one scheduler, the right ones for the others."""

    def make(asked: Scheduler, flags: Sequence[SchedulerFlag]) -> Algorithm:
        if asked is not scheduler:
            return schedulers.algorithm(asked, flags)
        return kind(asked, flags) if issubclass(kind, Hashing) else kind()

    return make


class _RoundRobinStays(RoundRobin):
    """Goes on with the server behind a removed one twice: the place is not moved back."""

    def removing(self, servers: Sequence[Server], server: Server) -> None:
        if self._last is server:
            self._last = None


class _RoundRobinQuiescent(RoundRobin):
    """Asks for the overload alone, not for weight 0."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        start = servers.index(self._last) + 1 if self._last else 0
        order = (*servers[start:], *servers[:start])
        self._last = next((each for each in order if not each.overloaded), None)
        return self._last


class _WrrKeepsPlace(WeightedRoundRobin):
    """An edit does not begin the list anew."""

    def changed(self, servers: Sequence[Server]) -> None:
        place = self._position
        super().changed(servers)
        self._position = min(place, len(servers) - 1)


class _WrrBeginsAnew(WeightedRoundRobin):
    """Every edit begins a round at the top."""

    def changed(self, servers: Sequence[Server]) -> None:
        super().changed(servers)
        self._bar = self._top


class _WrrKeepsStep(WeightedRoundRobin):
    """The common divisor of the weights is not worked out again."""

    def changed(self, servers: Sequence[Server]) -> None:
        step = self._step
        super().changed(servers)
        if step > 1 or not servers:
            self._step = step


def _signed(value: int) -> int:
    """As 32 bits with a sign hold it."""
    return (value + 2**31) % 2**32 - 2**31


class _Wlc32(WeightedLeastConnection):
    """Products in 32 bits ("ipvs: fix overflow on dest weight multiply")."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        best: Server | None = None
        for each in (each for each in servers if each.usable):
            if best is None or _signed(best.overhead * each.weight) > _signed(each.overhead * best.weight):
                best = each
        return best


class _WlcLast(WeightedLeastConnection):
    """Of equals the last one."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        return least_loaded(list(reversed(servers)))


class _WlcUnweighted(WeightedLeastConnection):
    """Does not ask for the weights' size."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        return min((each for each in servers if each.usable), key=lambda each: each.overhead, default=None)


class _Sed32(ShortestExpectedDelay):
    """Products in 32 bits."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        best: Server | None = None
        for each in (each for each in servers if each.usable):
            if best is None or _signed((best.active + 1) * each.weight) > _signed(
                (each.active + 1) * best.weight
            ):
                best = each
        return best


class _Lblc32(LocalityBased):
    """Products in 32 bits where a destination gets another server."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        home = self._home.get(flow.destination)
        if super().choose(servers, flow) is home:
            return home
        server = _Wlc32().choose(servers, flow)
        if server:
            self._home[flow.destination] = server
        return server


class _SedWithoutOne(ShortestExpectedDelay):
    """active / weight, without the connection that would be added."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        usable = (each for each in servers if each.usable)
        return min(usable, key=lambda each: Fraction(each.active, each.weight), default=None)


class _NqCountsClosed(NeverQueue):
    """A server with closed connections is not idle."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        idle = next((each for each in servers if each.usable and each.total == 0), None)
        return idle or shortest_delay(servers)


class _NqNeverIdle(NeverQueue):
    """As sed."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        return shortest_delay(servers)


class _FoLast(WeightedFailover):
    """Of equals the last one."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        usable = [each for each in reversed(servers) if each.usable]
        return max(usable, key=lambda each: each.weight, default=None)


class _OvfOneLess(WeightedOverflow):
    """Full with as many connections as its weight, not with one more."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        room = (each for each in servers if each.usable and each.active < each.weight)
        return max(room, key=lambda each: each.weight, default=None)


class _OvfCountsAll(WeightedOverflow):
    """Closed connections take room, too."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        room = (each for each in servers if each.usable and each.total <= each.weight)
        return max(room, key=lambda each: each.weight, default=None)


class _FallbackNext(Hashing):
    """The next slots of the table, instead of those that the hash with an offset gives."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        if not self.table or not {SchedulerFlag.SH_FALLBACK, SchedulerFlag.MH_FALLBACK} & set(self.flags):
            return super().choose(servers, flow)
        first = self.slot(flow)
        order = (self.table[(first + step) % len(self.table)] for step in range(len(self.table)))
        return next((each for each in order if each.usable), None)


class _FallbackFromZero(Hashing):
    """Offsets from 0 on, instead of from the first slot."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        if not self.table or not {SchedulerFlag.SH_FALLBACK, SchedulerFlag.MH_FALLBACK} & set(self.flags):
            return super().choose(servers, flow)
        if self.table[self.slot(flow)].usable:
            return self.table[self.slot(flow)]
        order = (self.table[self.slot(flow, offset)] for offset in range(len(self.table)))
        return next((each for each in order if each.usable), None)


class _UnweightedTable(Hashing):
    """One slot a server, whatever its weight."""

    def changed(self, servers: Sequence[Server]) -> None:
        self.table = [servers[number % len(servers)] for number in range(SH_SLOTS)] if servers else []


class _AlwaysPort(Hashing):
    """The port is hashed without being asked for."""

    def slot(self, flow: Flow, offset: int = 0) -> int:
        flags, self.flags = self.flags, (*self.flags, SchedulerFlag.SH_PORT, SchedulerFlag.MH_PORT)
        try:
            return super().slot(flow, offset)
        finally:
            self.flags = flags


class _OldTable(Hashing):
    """The table is not made anew when a weight changes."""

    def changed(self, servers: Sequence[Server]) -> None:
        if {each.number for each in servers} != {each.number for each in self.table}:
            super().changed(servers)


class _LblcNeverBusy(LocalityBased):
    """A destination never leaves a busy server."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        home = self._home.get(flow.destination)
        return home if home and home.available and home.weight > 0 else super().choose(servers, flow)


class _LblcQuiescent(LocalityBased):
    """A destination stays at a quiescent server."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        home = self._home.get(flow.destination)
        if home and home.available and home.weight == 0:
            return home
        return super().choose(servers, flow)


class _LblcrFirst(LocalityBasedReplicated):
    """The first of the set, not the least loaded."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        homes = [each for each in self._homes.get(flow.destination, []) if each.available and each.usable]
        if homes and not schedulers.too_busy(homes[0], servers):
            return homes[0]
        return super().choose(servers, flow)


class _NoThreshold(Server):
    """The upper threshold is not looked at."""

    def bound(self) -> None:
        pass


class _ThresholdAbove(Server):
    """Full only above the upper threshold."""

    def bound(self) -> None:
        if self.upper and self.total > self.upper:
            self.overloaded = True


class _ActiveOnly(Server):
    """Only active connections count for the threshold."""

    def bound(self) -> None:
        if self.upper and self.active >= self.upper:
            self.overloaded = True


class _CheapActive(Server):
    """An active connection weighs as much as 255 others, not 256."""

    @property
    def overhead(self) -> int:
        return self.active * (self.ways.active_cost - 1) + self.inactive


MUTANTS: dict[str, tuple[str, Mutant]] = {
    name: (f"{subject}:{scheduler}", Mutant(instead(scheduler, kind)))
    for name, subject, scheduler, kind in (
        ("rr-stays", "scheduler", Scheduler.RR, _RoundRobinStays),
        ("rr-quiescent", "scheduler", Scheduler.RR, _RoundRobinQuiescent),
        ("wrr-keeps-place", "scheduler:weight", Scheduler.WRR, _WrrKeepsPlace),
        ("wrr-begins-anew", "scheduler:weight", Scheduler.WRR, _WrrBeginsAnew),
        ("wrr-keeps-step", "scheduler:weight", Scheduler.WRR, _WrrKeepsStep),
        ("wlc-32-bits", "scheduler", Scheduler.WLC, _Wlc32),
        ("wlc-last", "scheduler", Scheduler.WLC, _WlcLast),
        ("wlc-unweighted", "scheduler", Scheduler.WLC, _WlcUnweighted),
        ("sed-32-bits", "scheduler", Scheduler.SED, _Sed32),
        ("sed-without-one", "scheduler", Scheduler.SED, _SedWithoutOne),
        ("nq-counts-closed", "scheduler", Scheduler.NQ, _NqCountsClosed),
        ("nq-never-idle", "scheduler", Scheduler.NQ, _NqNeverIdle),
        ("fo-last", "scheduler", Scheduler.FO, _FoLast),
        ("ovf-one-less", "scheduler", Scheduler.OVF, _OvfOneLess),
        ("ovf-counts-all", "scheduler", Scheduler.OVF, _OvfCountsAll),
        ("sh-fallback-next", "hash", Scheduler.SH, _FallbackNext),
        ("sh-fallback-from-zero", "hash", Scheduler.SH, _FallbackFromZero),
        ("mh-fallback-next", "hash", Scheduler.MH, _FallbackNext),
        ("mh-fallback-from-zero", "hash", Scheduler.MH, _FallbackFromZero),
        ("sh-unweighted", "scheduler", Scheduler.SH, _UnweightedTable),
        ("sh-always-port", "hash", Scheduler.SH, _AlwaysPort),
        ("mh-always-port", "hash", Scheduler.MH, _AlwaysPort),
        ("mh-old-table", "scheduler:weight", Scheduler.MH, _OldTable),
        ("sh-old-table", "scheduler:weight", Scheduler.SH, _OldTable),
        ("lblc-never-busy", "hash", Scheduler.LBLC, _LblcNeverBusy),
        ("lblc-32-bits", "scheduler", Scheduler.LBLC, _Lblc32),
        ("lblc-quiescent", "scheduler", Scheduler.LBLC, _LblcQuiescent),
        ("lblcr-first", "scheduler", Scheduler.LBLCR, _LblcrFirst),
    )
} | {
    "threshold-none": ("threshold:", Mutant(server=_NoThreshold)),
    "threshold-above": ("threshold:", Mutant(server=_ThresholdAbove)),
    "threshold-active-only": ("threshold:", Mutant(server=_ActiveOnly)),
    "active-255": ("scheduler:lc", Mutant(server=_CheapActive)),
}


@pytest.mark.parametrize(("prefix", "mutant"), MUTANTS.values(), ids=MUTANTS)
def test_every_faulty_model_fails_a_check_of_its_subject(prefix: str, mutant: Mutant) -> None:
    tried = [each for each in CHECKS if each.name.startswith(prefix)]
    assert tried, f"no check begins with {prefix}"
    assert next(failing(tried, mutant), None)


class _TwosDirector(ModelDirector):
    """A kernel whose twos draws as `pick` says."""

    pick: Any = None

    def _draw(self, servers: Sequence[Server]) -> int | None:
        usable = [each for each in servers if each.usable]
        if not usable:
            return None
        one, two = self._random.choices(usable, [each.weight for each in usable], k=2)
        return int(type(self).pick(one, two).number)


@pytest.mark.parametrize(
    "pick",
    [
        lambda one, two: one,
        lambda one, two: one if one.overhead > two.overhead else two,
        lambda one, two: two if one.overhead > two.overhead else one,
        lambda one, two: one if one.overhead * two.weight > two.overhead * one.weight else two,
    ],
    ids=["draws-once", "busier", "without-weights", "busier-for-its-weight"],
)
def test_a_twos_that_prefers_otherwise_fails(pick: Any) -> None:
    kind = type("_", (_TwosDirector,), {"pick": staticmethod(pick)})
    tried = [each for each in CHECKS if each.name in ("scheduler:twos:idle", "scheduler:twos:weighted")]
    assert len(tried) == 2

    def fails(check: Check) -> bool:
        try:
            check.run(kind().bench)
        except CheckFailed:
            return True
        return False

    assert any(map(fails, tried))
