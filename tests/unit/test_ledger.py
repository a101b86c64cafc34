"""What was done in a lab: a file that notices when it was changed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lvslab.training import ledger

KEY = b"of a course"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = ledger.folder(tmp_path, "first-balancer") / ledger.FILE
    book = ledger.Ledger(file, KEY)
    for number in (1, 2, 3):
        book.note("hint", number=number)
    return file


def test_what_was_noted_is_read(file: Path) -> None:
    account = ledger.read(file, KEY)
    assert [event.facts["number"] for event in account.events] == [1, 2, 3]
    assert not account.trouble


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda lines: [lines[0], lines[1].replace("2", "7", 1), lines[2]], 1),
        (lambda lines: [lines[0], lines[2]], 1),
        (lambda lines: [lines[1], lines[0], lines[2]], 0),
        (lambda lines: [*lines, lines[2]], 3),
        (lambda lines: [*lines, "passed"], 3),
    ],
    ids=["changed", "taken out", "out of order", "repeated", "no event"],
)
def test_a_line_that_was_touched_ends_what_is_believed(
    file: Path, change: Callable[[list[str]], list[str]], left: int
) -> None:
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")
    account = ledger.read(file, KEY)
    assert len(account.events) == left
    assert "was not written by the lab" in account.trouble


def test_another_key_signs_otherwise(file: Path) -> None:
    assert ledger.read(file, b"of another").trouble


def test_a_line_that_was_cut_off_goes_and_the_chain_goes_on(file: Path) -> None:
    file.write_text(file.read_text() + '{"at": 1, "wh')
    assert ledger.read(file, KEY).trouble
    ledger.Ledger(file, KEY).note("hint", number=4)
    account = ledger.read(file, KEY)
    assert (len(account.events), account.trouble) == (4, "")


def test_a_folder_has_one_key_that_others_cannot_read(tmp_path: Path) -> None:
    assert ledger.key_of(tmp_path) == ledger.key_of(tmp_path)
    ledger.keep_key(tmp_path, b"too late")
    assert ledger.key_of(tmp_path) != b"too late"
    assert (tmp_path / ".key").stat().st_mode & 0o077 == 0
