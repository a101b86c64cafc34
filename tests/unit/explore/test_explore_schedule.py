"""Schedules as data: TOML both ways, what is refused, what is drawn, how they shrink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.errors import UsageError
from lvslab.explore.drawing import draw, setups_of
from lvslab.explore.kinds import KINDS, check, clash
from lvslab.explore.labs import plan_of
from lvslab.explore.schedule import Case, Injection, Setup, as_toml, read_case
from lvslab.explore.shrinking import shrink
from lvslab.kernels.needs import any_kernel
from lvslab.plan.plan import LabPlan

CUT = Injection(6.5, "director-power-cut", "lvs1", 4.25)
LOSS = Injection(7.0, "link-impaired", "rs1", None, {"loss": 0.2})
CASE = Case(7, Setup("dr", 2, persistence=120), (CUT, LOSS))


def plan(setup: Setup) -> LabPlan:
    return plan_of(setup, any_kernel("uml"), ("uml",))


def test_a_case_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "case.toml"
    file.write_text(as_toml(CASE))
    assert read_case(file) == CASE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = [", "TOML"),
        ("sed = 1", "'sed' is not known"),
        ("seed = true", "whole number"),
        ("[setup]\nmode = 1", "setup.mode"),
        ("[setup]\nmodes = 'nat'", "setup has no 'modes'"),
        ("[[fault]]\nkind = 'partition'\ntarget = 'lvs1'", "fault's at"),
        ("[[fault]]\nat = 1\ntarget = 'lvs1'", "needs a kind"),
        ("[[fault]]\nat = 1\nkind = 'partition'\ntarget = 'lvs1'\nduration = -1", "fault's duration"),
        ("[[fault]]\nat = 1\nkind = 'partition'\ntarget = 'lvs1'\nlasts = 1", "fault has no 'lasts'"),
    ],
)
def test_what_is_no_case_is_refused_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "case.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"case\.toml") as refusal:
        read_case(file)
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("injection", "said"),
    [
        (replace(CUT, kind="meteorite"), "no such kind"),
        (replace(CUT, target="rs1"), "choose from: lvs1, lvs2"),
        (replace(CUT, at=8.0), "overlaps"),
        (replace(CUT, at=20.0, duration=0.0), "lasts"),
        (Injection(20.0, "clock-stepped", "lvs1", None, {"seconds": 2}), "done at once"),
    ],
)
def test_faults_that_cannot_be_are_refused(injection: Injection, said: str) -> None:
    case = Case(1, Setup(), (CUT, injection))
    with pytest.raises(UsageError, match=said):
        check(case, plan(case.setup))


def test_faults_one_behind_the_other_are_none_that_clash() -> None:
    assert clash(CUT, replace(CUT, at=8.0)) and not clash(CUT, replace(CUT, at=10.8))
    assert not clash(CUT, replace(CUT, target="lvs2"))


def test_a_seed_draws_one_case_and_other_seeds_others_that_can_be_done() -> None:
    setups = setups_of((), None)
    plans = {setup: plan(setup) for setup in setups}
    cases = [draw(seed, setups, plans) for seed in range(200)]
    assert cases == [draw(seed, setups, plans) for seed in range(200)]
    assert {injection.kind for case in cases for injection in case.schedule} == set(KINDS)
    assert {case.setup for case in cases} == set(setups)
    for case in cases:
        check(case, plans[case.setup])


def shrunk(case: Case, fails: Callable[[Case], bool]) -> tuple[Case, int]:
    """What shrinking comes to, and how many tries it took."""
    shrinking, tries = shrink(case), 1
    candidate = next(shrinking)
    while True:
        try:
            candidate = shrinking.send(fails(candidate))
            tries += 1
        except StopIteration as end:
            return end.value, tries


def test_shrinking_leaves_what_the_failure_needs() -> None:
    others = tuple(Injection(5.0 + place, "weight-zero", "rs2", 0.5) for place in range(4))
    case = Case(1, Setup(persistence=120), (*others[:2], CUT, *others[2:]))
    short, tries = shrunk(case, lambda tried: any(each.kind == CUT.kind for each in tried.schedule))
    assert [each.kind for each in short.schedule] == [CUT.kind]
    assert short.setup == Setup() and short.schedule[0].duration == 0.3 and short.schedule[0].at == 6.0
    assert tries < 25


def test_shrinking_keeps_everything_where_nothing_less_fails() -> None:
    assert shrunk(CASE, lambda tried: tried == CASE)[0] == CASE
