"""Numbers and their nouns."""

from __future__ import annotations

import pytest

from lvslab.runs.words import plural


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 servers"), (1, "1 server"), (2, "2 servers"), (11, "11 servers")],
)
def test_one_is_singular_and_all_others_are_plural(number: int, text: str) -> None:
    assert plural(number, "server") == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries")])
def test_a_noun_may_bring_its_own_plural(number: int, text: str) -> None:
    assert plural(number, "entry", "entries") == text
