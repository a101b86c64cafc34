"""The models of the schedulers against what was worked out by hand, and against the kernel's
published properties.
"""

from __future__ import annotations

from collections import Counter
from math import gcd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvslab.conformance import ways
from lvslab.conformance.models.hashing import (
    MH_SLOTS,
    SH_SLOTS,
    dh_table,
    folded,
    hash_32,
    hsiphash,
    mh_slot,
    mh_table,
    sh_table,
)
from lvslab.conformance.models.schedulers import Hashing, LocalityBasedReplicated, TwoRandomChoices
from lvslab.conformance.models.servers import Flow, Server, twos_choices
from lvslab.conformance.models.service import Model
from lvslab.ipvs.service import Scheduler, SchedulerFlag

VIP = "10.0.0.10"
DETERMINISTIC = [each for each in Scheduler if each is not Scheduler.TWOS]


def flow(number: int, destination: str = VIP, source: str = "") -> Flow:
    return Flow(source or f"198.18.{number >> 8}.{number & 255}", 10000 + number, destination)


def model(
    scheduler: Scheduler,
    *weights: int,
    flags: tuple[SchedulerFlag, ...] = (),
    udp: bool = False,
    upper: int = 0,
) -> Model:
    made = Model(scheduler, flags, counts_active=not udp)
    for number, weight in enumerate(weights, start=1):
        made.add(number, f"10.0.1.{10 + number}", 8080, weight, upper=upper)
    return made


def places(made: Model, count: int, start: int = 1) -> list[int | None]:
    return [made.connect(flow(number)) for number in range(start, start + count)]


# -- hash functions --------------------------------------------------------------------------------


def test_folded() -> None:
    assert folded("10.0.0.1") == 0x0A000001
    assert folded("2001:db8::1") == 0x20010DB8 ^ 1
    assert folded("1:2:1:2:1:2:1:2") == 0


def test_hash_32_is_the_upper_bits_of_a_product() -> None:
    assert hash_32(1, 32) == 0x61C88647
    assert hash_32(1, 8) == 0x61
    assert hash_32(0xFFFFFFFF, 8) == (2**32 - 0x61C88647) >> 24


def test_hsiphash_differs_by_key_and_value_and_stays_in_32_bits() -> None:
    seen = {hsiphash(value, key) for value in range(1000) for key in (2654435761, 2654446892)}
    assert len(seen) == 2000
    assert all(0 <= each < 2**32 for each in seen)
    assert hsiphash(2**32 + 5, 7) == hsiphash(5, 7)


def test_hsiphash_recorded() -> None:
    # Recorded from this model when Linux 6.1 placed every client of the conformance suite by it.
    assert [mh_slot(f"10.0.1.{last}", 8080) for last in (11, 12, 13)] == [488, 3450, 2404]


# -- round robin -----------------------------------------------------------------------------------


def test_last_added_server_comes_first() -> None:
    assert places(model(Scheduler.RR, 1, 1, 1), 6) == [3, 2, 1, 3, 2, 1]


def test_rr_ignores_weights_but_zero() -> None:
    assert places(model(Scheduler.RR, 9, 0, 1), 4) == [3, 1, 3, 1]


def test_rr_goes_on_after_its_last_server_was_removed() -> None:
    made = model(Scheduler.RR, 1, 1, 1)
    assert places(made, 2) == [3, 2]
    made.remove(2)
    assert places(made, 3) == [1, 3, 1]


def test_wrr_takes_the_heavy_ones_first() -> None:
    made = model(Scheduler.RR, 4, 2, 1)
    made.edit_service(Scheduler.WRR)
    assert places(made, 14) == [1, 1, 2, 1, 3, 2, 1] * 2


def test_wrr_keeps_its_bar_while_servers_are_added() -> None:
    # The first server alone has weight 3 and divisor 3, so the bar is at 1 and the round begins
    # with everybody.
    assert places(model(Scheduler.WRR, 3, 1), 8) == [2, 1, 1, 1] * 2


def test_wrr_divides_by_the_common_divisor() -> None:
    assert places(model(Scheduler.WRR, 100, 50, 200), 14) == places(model(Scheduler.WRR, 2, 1, 4), 14)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8).filter(any))
def test_wrr_is_exact_in_every_round(weights: list[int]) -> None:
    made, one_round = model(Scheduler.WRR, *weights), sum(weights) // gcd(*weights)
    for turn in range(3):
        counted = Counter(places(made, one_round, turn * one_round))
        assert counted == Counter({n: w // gcd(*weights) for n, w in enumerate(weights, start=1) if w})


# -- least connections -----------------------------------------------------------------------------


def test_lc_and_wlc() -> None:
    assert places(model(Scheduler.LC, 1, 9), 4) == [2, 1, 2, 1]
    # All idle servers are equal, then 0/1 is less than 1/3.
    assert places(model(Scheduler.WLC, 3, 1), 6) == [2, 1, 1, 1, 2, 1]


def test_sed_and_nq() -> None:
    assert places(model(Scheduler.SED, 1, 10), 3) == [2, 2, 2]
    assert places(model(Scheduler.NQ, 1, 10), 3) == [2, 1, 2]
    assert places(model(Scheduler.SED, 1, 2, udp=True), 5) == [2] * 5
    assert places(model(Scheduler.NQ, 1, 2, udp=True), 5) == [2] * 5


def test_closed_connections_weigh_a_256th() -> None:
    made = model(Scheduler.LC, 1, 1)
    made.server(1).inactive, made.server(2).active = 255, 1
    assert made.connect(flow(1)) == 1
    made.settle(flow(1))
    assert made.connect(flow(2)) == 2


@pytest.mark.parametrize("scheduler", [Scheduler.SED, Scheduler.NQ])
def test_sed_and_nq_do_not_see_closed_connections(scheduler: Scheduler) -> None:
    made = model(scheduler, 1, 1)
    made.server(2).inactive = 1000
    assert made.connect(flow(1)) == 2


# -- failover, overflow ----------------------------------------------------------------------------


def test_fo_and_ovf() -> None:
    assert places(model(Scheduler.FO, 1, 3, 3), 3) == [3, 3, 3]
    assert places(model(Scheduler.OVF, 1, 2), 6) == [2, 2, 2, 1, 1, None]
    assert places(model(Scheduler.OVF, 1, 2, udp=True), 6) == [2] * 6


# -- hashing ---------------------------------------------------------------------------------------


def servers(*weights: int) -> list[Server]:
    return [Server(n, f"10.0.1.{10 + n}", 8080, w, last_weight=w) for n, w in enumerate(weights, start=1)]


def test_sh_and_dh_tables() -> None:
    assert [each.number for each in sh_table(servers(2, 0, 1))[:6]] == [1, 1, 2, 3, 1, 1]
    assert [each.number for each in dh_table(servers(2, 0, 1))[:4]] == [1, 2, 3, 1]
    assert len(sh_table(servers(5, 9))) == len(dh_table(servers(1))) == SH_SLOTS
    assert sh_table([]) == dh_table([]) == mh_table([]) == mh_table(servers(0, 0)) == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(any))
def test_mh_table_is_full_and_shared_by_weight(weights: list[int]) -> None:
    table = mh_table(servers(*weights))
    counted = Counter(each.number for each in table)
    assert len(table) == MH_SLOTS
    for number, weight in enumerate(weights, start=1):
        assert abs(counted[number] - MH_SLOTS * weight / sum(weights)) <= weight / gcd(*weights)


@pytest.mark.parametrize("count", range(2, 9))
def test_mh_moves_few(count: int) -> None:
    all_there = servers(*[1] * count)
    before, after = mh_table(all_there), mh_table(all_there[1:])
    kept = [(old, new) for old, new in zip(before, after, strict=True) if old.number != 1]
    assert sum(old is not new for old, new in kept) / len(kept) <= 0.02


def test_mh_cuts_large_weights() -> None:
    counted = Counter(each.number for each in mh_table(servers(65535, 1, 300)))
    assert counted[2] == pytest.approx(MH_SLOTS / 65, abs=1) and counted[3] == pytest.approx(
        counted[2], abs=1
    )


def test_mh_remembers_the_weight_of_a_quiescent_server() -> None:
    made = model(Scheduler.MH, 1, 1, 1)
    assert isinstance(made.algorithm, Hashing)
    before = list(made.algorithm.table)
    made.edit(2, weight=0)
    assert made.algorithm.table == before
    assert None in places(made, 40) and 2 not in places(made, 40)


@pytest.mark.parametrize(
    ("scheduler", "flag"),
    [(Scheduler.SH, SchedulerFlag.SH_FALLBACK), (Scheduler.MH, SchedulerFlag.MH_FALLBACK)],
)
def test_fallback_serves_everybody(scheduler: Scheduler, flag: SchedulerFlag) -> None:
    plain, falling = model(scheduler, 1, 0, 1), model(scheduler, 1, 0, 1, flags=(flag,))
    plain.edit(3, weight=0)
    falling.edit(3, weight=0)
    for left, right in zip(places(plain, 40), places(falling, 40), strict=True):
        assert right == 1 and left in (1, None)


@pytest.mark.parametrize(
    ("scheduler", "flag"), [(Scheduler.SH, SchedulerFlag.SH_PORT), (Scheduler.MH, SchedulerFlag.MH_PORT)]
)
def test_port_flag(scheduler: Scheduler, flag: SchedulerFlag) -> None:
    one_client = [flow(number, source="198.18.0.1") for number in range(40)]
    assert len({model(scheduler, 1, 1, 1).connect(each) for each in one_client}) == 1
    assert len({model(scheduler, 1, 1, 1, flags=(flag,)).connect(each) for each in one_client}) == 3


# -- locality --------------------------------------------------------------------------------------


def test_lblc_hands_a_busy_destination_over() -> None:
    # Server 2 is busy with its third connection; server 1 takes over until it has three, when
    # nobody is idle any more.
    assert places(model(Scheduler.LBLC, 2, 2), 8) == [2, 2, 2, 1, 1, 1, 1, 1]


def test_lblcr_adds_a_server_and_forgets_the_busiest() -> None:
    made = model(Scheduler.LBLCR, 2, 2)
    assert places(made, 6) == [2, 2, 2, 1, 1, 1]
    made = model(Scheduler.LBLCR, 2, 2)
    places(made, 5)
    assert isinstance(made.algorithm, LocalityBasedReplicated)
    made.algorithm.expire(VIP)
    assert places(made, 3, 10) == [1, 1, 1]


def test_lblc_does_not_ask_for_the_threshold_again() -> None:
    made = model(Scheduler.LBLC, 50, 50, upper=2)
    assert places(made, 5) == [2] * 5
    assert made.connect(flow(9, "203.0.113.1")) == 1


# -- twos ------------------------------------------------------------------------------------------


def test_twos_choices() -> None:
    three = servers(1, 0, 2)
    assert twos_choices(three) == {1, 3}
    three[0].active, three[2].active = 5, 1
    assert twos_choices(three) == {1, 3}, "twice the same server may be drawn"
    three[0].overloaded = True
    assert twos_choices(three) == {3}
    made = model(Scheduler.TWOS, 1, 1)
    assert isinstance(made.algorithm, TwoRandomChoices)
    made.algorithm.drawn = 2
    assert made.connect(flow(1)) == 2
    made.algorithm.drawn = 7
    assert made.connect(flow(2)) in (1, 2)


# -- thresholds and changes ------------------------------------------------------------------------


def test_upper_threshold() -> None:
    assert places(model(Scheduler.RR, 1, 1, upper=2), 5) == [2, 1, 2, 1, None]


@pytest.mark.parametrize(("lower", "opens_at"), [(0, 5), (3, 2), (8, 7)])
def test_lower_threshold(lower: int, opens_at: int) -> None:
    made = Model(Scheduler.RR, counts_active=False)
    made.add(1, "10.0.1.11", 8080, upper=8, lower=lower)
    places(made, 8)
    for gone in range(1, 9 - opens_at):
        assert made.connect(flow(99)) is None
        made.expire(flow(gone))
    assert made.connect(flow(99)) == 1


def test_editing_thresholds() -> None:
    made = model(Scheduler.RR, 1)
    places(made, 5)
    made.edit(1, weight=1, upper=3)
    assert places(made, 2, 10) == [1, None]
    made.edit(1, weight=1, upper=2)
    assert places(made, 1, 20) == [None]
    made.edit(1, weight=1)
    assert places(made, 1, 30) == [1]


def test_late_kernels_judge_at_every_edit() -> None:
    made = Model(Scheduler.RR, ways=ways.LATE)
    made.add(1, "10.0.1.11", 8080)
    places(made, 8)
    made.edit(1, weight=1, upper=3)
    assert places(made, 1, 10) == [None]
    made.edit(1, weight=1, upper=10)
    assert places(made, 1, 10) == [None], "8 is not less than three quarters of 10"
    made.edit(1, weight=1, upper=11)
    assert places(made, 1, 10) == [1]


def test_late_kernels_count_an_active_connection_257_times() -> None:
    made = Model(Scheduler.LC, ways=ways.LATE)
    made.add(1, "10.0.1.11", 8080)
    made.add(2, "10.0.1.12", 8080)
    made.server(1).inactive, made.server(2).active = 256, 1
    assert made.connect(flow(1)) == 1


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("6.1.176", ways.EARLY),
        ("6.1.178", ways.Ways(error_counts_tunnel=True)),
        ("6.1.182", ways.Ways(error_counts_tunnel=True)),
        ("6.1.183", ways.LATE),
        ("6.1.192", ways.LATE),
        ("6.12.50", ways.EARLY),
        ("6.12.113", ways.LATE),
        ("6.12.117+deb13-amd64", ways.LATE),
        ("6.13.200", ways.EARLY),
        ("7.2.7", ways.LATEST),
        ("7.2", ways.LATEST),
    ],
)
def test_ways(version: str, expected: ways.Ways) -> None:
    assert ways.ways(version) == expected


def test_debians_stock_kernels_tell_their_version_in_the_build() -> None:
    build = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-14)"
    assert ways.upstream_version("6.1.0-56-cloud-amd64", build) == "6.1.192"
    assert ways.upstream_version("6.12.113", "#1 Debian 6.12um1") == "6.12.113"
    assert ways.upstream_version("6.1.192", "#1 Mon Nov 23 15:16:41 UTC 2026") == "6.1.192"


def test_a_server_comes_back_with_its_connections() -> None:
    made = model(Scheduler.WLC, 1, 1)
    places(made, 4)
    made.remove(2)
    assert places(made, 1, 10) == [1]
    made.add(2, "10.0.1.12", 8080, 1)
    assert (made.server(2).active, made.server(1).active) == (2, 3)


@pytest.mark.parametrize("scheduler", DETERMINISTIC)
def test_nobody(scheduler: Scheduler) -> None:
    assert places(model(scheduler), 2) == [None, None]
    assert places(model(scheduler, 0, 0), 2) == [None, None]
    made = model(scheduler, 0)
    made.edit(1, weight=1)
    assert places(made, 1) == [1]


@pytest.mark.parametrize("scheduler", DETERMINISTIC)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_no_history_gives_a_connection_to_weight_0_or_to_a_full_server(
    scheduler: Scheduler, data: st.DataObject
) -> None:
    made = model(scheduler, 1, 2, 0, upper=4)
    for number in range(30):
        if data.draw(st.booleans(), label="edit"):
            made.edit(data.draw(st.integers(1, 3)), weight=data.draw(st.integers(0, 3)), upper=4)
        full = {each.number for each in made.servers if each.overloaded}
        chosen = made.connect(flow(number))
        if chosen is not None:
            assert made.server(chosen).weight > 0
            assert chosen not in full or scheduler is Scheduler.LBLC


def test_another_scheduler_starts_afresh_and_flags_count_at_once() -> None:
    made = model(Scheduler.RR, 1, 1, 1)
    places(made, 2)
    made.edit_service(Scheduler.WRR)
    assert places(made, 3, 10) == [3, 2, 1]
    made.edit_service(Scheduler.SH)
    made.edit_service(Scheduler.SH, (SchedulerFlag.SH_PORT,))
    assert len({made.connect(flow(number, source="198.18.0.1")) for number in range(40)}) == 3
