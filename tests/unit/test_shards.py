"""Shards of the suite: nothing is lost or done twice, subjects stay together, and a shard that
breaks is heard.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.conformance import shards
from lvslab.conformance.check import Check
from lvslab.errors import LabError


def checks(*names: str) -> list[Check]:
    return [
        Check(name, "it holds", (name.partition(":")[0],), frozenset(), lambda bench: None, {})
        for name in names
    ]


@given(
    st.lists(st.sampled_from(["a:1", "a:2", "b:1", "b:2", "b:3", "c:1", "d:1"]), unique=True), st.booleans()
)
def test_every_check_is_in_one_group_with_its_subject_and_in_order(names: list[str], singly: bool) -> None:
    groups = [[each.name for each in group] for group in shards.groups(checks(*names), singly=singly)]
    assert sorted(name for group in groups for name in group) == sorted(names)
    sizes = [len(group) for group in groups]
    assert sizes == sorted(sizes, reverse=True)
    for group in groups:
        subject = group[0][0]
        assert group == ([group[0]] if singly else [name for name in names if name[0] == subject])


def test_what_shards_tell_arrives_from_processes_of_their_own() -> None:
    def work(number: int, own: Iterable[Check], tell: shards.Tell) -> None:
        for each in own:
            tell("result", (number, os.getpid(), each.name))

    heard = list(shards.carry_out([checks("a:1", "a:2"), checks("b:1")], 2, work))
    assert sorted(value[2] for _, value in heard) == ["a:1", "a:2", "b:1"]
    assert len({value[1] for _, value in heard if value[2][0] == "a"}) == 1
    assert os.getpid() not in {value[1] for _, value in heard}


def test_a_shard_that_is_done_takes_the_next_group_while_another_is_still_busy() -> None:
    free = multiprocessing.get_context("fork").Event()

    def work(number: int, own: Iterable[Check], tell: shards.Tell) -> None:
        for each in own:
            tell("result", (number, each.name))
            if each.name == "slow:1":
                assert free.wait(60), "nobody took the other groups"
            elif each.name == "d:1":
                free.set()

    groups = [checks("slow:1"), checks("b:1"), checks("c:1"), checks("d:1")]
    heard = dict(value[::-1] for _, value in shards.carry_out(groups, 2, work))
    assert sorted(heard) == ["b:1", "c:1", "d:1", "slow:1"]
    assert {heard[name] for name in ("b:1", "c:1", "d:1")} == {3 - heard["slow:1"]}


def test_a_shard_that_breaks_ends_the_suite_with_its_own_words() -> None:
    def work(number: int, own: Iterable[Check], tell: shards.Tell) -> None:
        for each in own:
            tell("result", number)
            if each.name == "b:1":
                raise LabError("lvs: guest kernel died")

    with pytest.raises(LabError, match="lvs: guest kernel died"):
        list(shards.carry_out([checks("a:1"), checks("b:1")], 2, work))


def test_a_shard_that_dies_without_a_word_is_missed() -> None:
    def work(number: int, own: Iterable[Check], tell: shards.Tell) -> None:
        os._exit(7)

    with pytest.raises(LabError, match="1 of 1 shards of the suite ended with 7"):
        list(shards.carry_out([checks("a:1")], 1, work))
