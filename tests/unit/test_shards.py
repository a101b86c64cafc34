"""Shards of the suite: nothing is lost or done twice, subjects stay together, and a shard that
breaks is heard.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

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
    st.lists(st.sampled_from(["a:1", "a:2", "b:1", "b:2", "b:3", "c:1", "d:1"]), unique=True),
    st.integers(1, 6),
)
def test_every_check_is_in_one_shard_with_its_subject_and_in_order(names: list[str], number: int) -> None:
    chosen = checks(*names)
    parts = shards.split(chosen, number)
    assert 1 <= len(parts) <= number
    assert sorted(each.name for part in parts for each in part) == sorted(names)
    for subject in {name[0] for name in names}:
        (part,) = [part for part in parts if any(each.name[0] == subject for each in part)]
        assert [each.name for each in part if each.name[0] == subject] == [
            name for name in names if name[0] == subject
        ]


def test_what_shards_tell_arrives_from_processes_of_their_own() -> None:
    def work(number: int, own: Sequence[Check], tell: shards.Tell) -> None:
        for each in own:
            tell("result", (number, os.getpid(), each.name))

    heard = list(shards.carry_out([checks("a:1", "a:2"), checks("b:1")], work))
    assert sorted(value[2] for _, value in heard) == ["a:1", "a:2", "b:1"]
    assert len({value[1] for _, value in heard} | {os.getpid()}) == 3


def test_a_shard_that_breaks_ends_the_suite_with_its_own_words() -> None:
    def work(number: int, own: Sequence[Check], tell: shards.Tell) -> None:
        tell("result", number)
        if number == 2:
            raise LabError("lvs: guest kernel died")

    with pytest.raises(LabError, match="lvs: guest kernel died"):
        list(shards.carry_out([checks("a:1"), checks("b:1")], work))


def test_a_shard_that_dies_without_a_word_is_missed() -> None:
    def work(number: int, own: Sequence[Check], tell: shards.Tell) -> None:
        os._exit(7)

    with pytest.raises(LabError, match="1 of 1 shards of the suite ended with 7"):
        list(shards.carry_out([checks("a:1")], work))
