"""Worlds of two kernels compared: a kernel with itself, with another, and the number of seeds."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.comparison.numbers import Limits
from lvslab.comparison.significance import mann_whitney
from lvslab.comparison.worlds import (
    WorldTrial,
    compare_worlds,
    in_words,
    read_worlds,
    seeds_needed,
)
from lvslab.errors import UsageError
from lvslab.runs.worlds import TRIALS

LIMITS = Limits()


def worlds(kernel: str, count: int = 40, shift: float = 0.0) -> list[WorldTrial]:
    """Outages that differ by the phase of the advert, and survivors, of one kernel."""
    chance = random.Random(kernel)
    return [
        WorldTrial(
            seed,
            0,
            f"{kernel}-{seed}",
            "with sync",
            {"outage": 0.6 + shift + chance.random() / 5, "survived": 1},
        )
        for seed in range(count)
    ]


def verdicts(base: list[WorldTrial], new: list[WorldTrial]) -> list[str]:
    return [each.verdict for each in compare_worlds(base, new, LIMITS).differences]


def test_a_kernel_against_itself_differs_by_nothing_at_all() -> None:
    found = compare_worlds(worlds("a"), worlds("a"), LIMITS)
    assert (found.equal, found.common) == (40, 40)
    assert [each.verdict for each in found.differences] == ["equal", "equal"]
    assert all(each.change == 0 and each.p == 1 for each in found.differences)


def test_two_kernels_of_one_distribution_show_no_change() -> None:
    found = compare_worlds(worlds("a"), worlds("b"), LIMITS)
    assert found.equal == 0 and verdicts(worlds("a"), worlds("b")) == ["no change shown", "equal"]


def test_a_longer_outage_is_a_regression_and_a_shorter_one_is_better() -> None:
    assert verdicts(worlds("a"), worlds("b", shift=0.1))[0] == "worse"
    assert verdicts(worlds("a", shift=0.1), worlds("b"))[0] == "better"
    dead = [replace(trial, numbers={**trial.numbers, "survived": 0.5}) for trial in worlds("b")]
    assert verdicts(worlds("a"), dead)[1] == "worse"


def test_worlds_that_fail_more_often_are_told() -> None:
    failing = [replace(trial, code=int(trial.seed % 2)) for trial in worlds("b")]
    assert compare_worlds(worlds("a"), failing, LIMITS).failing is not None
    assert compare_worlds(failing, worlds("a"), LIMITS).failing is None
    assert in_words(compare_worlds(worlds("a"), failing, LIMITS))[-1].startswith("worlds fail more often")


def test_the_number_of_seeds_shows_the_change_that_it_is_for() -> None:
    base, new = ([trial.numbers["outage"] for trial in worlds(name, 1000)] for name in ("a", "b"))
    wanted = 2 * (2.5758 + 1.2816) ** 2 * (0.04 / 12)  # the variance of 0.2 s, evenly spread
    assert seeds_needed(base, new, 0.01) == pytest.approx(wanted / 0.007**2, rel=0.1)
    count = seeds_needed(base, new, 0.01, change=0.05)
    assert count == pytest.approx(wanted / 0.035**2, rel=0.1)
    chance = random.Random(1)

    def shown(size: int) -> int:
        """Of 40 tries with a change of 5 %."""

        def values(shift: float) -> list[float]:
            return [0.6 + shift + chance.random() / 5 for _ in range(size)]

        return sum(mann_whitney(values(0.0), values(0.035)) <= 0.01 for _ in range(40))

    assert shown(count) >= 30 > 10 >= shown(count // 6)


def test_values_that_never_vary_need_two_seeds() -> None:
    assert seeds_needed([1.0, 1.0], [1.0, 1.0], level=0.01) == 2


def test_the_table_of_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / TRIALS).write_text(
        "seed,code,sha256,variant,outage,detection,survived,connections,error\n"
        "1,0,ab,with sync,0.600000000,0.59,39,40,\n2,1,,,,,0,0,it broke\n"
    )
    first, second = read_worlds(tmp_path)
    assert first == WorldTrial(
        1, 0, "ab", "with sync", {"outage": 0.6, "detection": 0.59, "survived": 39 / 40}
    )
    assert (second.code, second.numbers) == (1, {})
    with pytest.raises(UsageError, match="cannot be read"):
        read_worlds(tmp_path / "none")
    (tmp_path / TRIALS).write_text("seed\n1\n")
    with pytest.raises(UsageError, match="cannot be read"):
        read_worlds(tmp_path)
