"""Numbers and their nouns."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from lvslab.runs.words import plural

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 servers"), (1, "1 server"), (2, "2 servers"), (11, "11 servers")],
)
def test_one_is_singular_and_all_others_are_plural(number: int, text: str) -> None:
    assert plural(number, "server") == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries")])
def test_a_noun_may_bring_its_own_plural(number: int, text: str) -> None:
    assert plural(number, "entry", "entries") == text


def _lazy(source: str) -> list[str]:
    """Strings that leave the choice to the reader: "3 server(s)"."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return [text for text in texts if re.search(r"[a-z]\(e?s\)(?![\w(])", text)]


@pytest.mark.parametrize("folder", ["lvslab", "scenarios", "topologies"])
def test_no_text_counts_with_a_plural_in_brackets(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files and not {file.name: lazy for file in files if (lazy := _lazy(file.read_text()))}


def test_a_plural_in_brackets_is_found() -> None:
    assert _lazy('print(f"{count} server(s) left")') == [" server(s) left"]
    assert _lazy("shown = text(s)") == []
