"""The prober's files are read whole, cut off and broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.errors import UsageError
from lvslab.runs.outage import Attempt, Beat
from lvslab.runs.probes import read_probes
from lvslab.traffic.probing.lines import ATTEMPTS_HEADER, BEATS_HEADER

GOOD = "1.000000,1.000010,1.000200,1.000400,1.000500,40000,rs1,ok\n"
FAILED = "2.000000,2.000010,,,2.500010,,,timeout\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "mon-1.attempts.csv"
    file.write_text(text)
    return file


def test_attempts_and_beats(tmp_path: Path) -> None:
    attempts = written(tmp_path, ATTEMPTS_HEADER + GOOD + FAILED)
    beats = tmp_path / "mon-1.beats.csv"
    beats.write_text(
        BEATS_HEADER
        + "1,1.5,40001,2.0,2.1,2.2,rs2,ok\n2,,40002,2.0,2.1,,,refused\n1,1.5,40001,3.0,3.0,,,closed\n"
    )
    found = read_probes(attempts, beats)
    assert found.attempts == (
        Attempt(1.0, 1.00001, 1.0002, 1.0004, 1.0005, 40000, "rs1", "ok"),
        Attempt(2.0, 2.00001, None, None, 2.50001, None, "", "timeout"),
    )
    assert found.beats == (
        Beat(1, 1.5, 40001, 2.0, 2.1, 2.2, "rs2", "ok"),
        Beat(2, None, 40002, 2.0, 2.1, None, "", "refused"),
        Beat(1, 1.5, 40001, 3.0, 3.0, None, "", "closed"),
    )
    assert found.warnings == ()
    assert read_probes(attempts, None).beats == ()


@pytest.mark.parametrize("cut", range(1, len(FAILED)))
def test_a_last_line_that_was_cut_off_is_left_out_with_a_warning(tmp_path: Path, cut: int) -> None:
    found = read_probes(written(tmp_path, ATTEMPTS_HEADER + GOOD + FAILED[:cut]), None)
    assert len(found.attempts) == 1
    assert len(found.warnings) == 1 and "mon-1.attempts.csv, line 3" in found.warnings[0]


@pytest.mark.parametrize("text", ["", ATTEMPTS_HEADER[:5]])
def test_a_prober_that_died_at_once_left_nothing(tmp_path: Path, text: str) -> None:
    found = read_probes(written(tmp_path, text), None)
    assert found.attempts == () and len(found.warnings) == 1


def test_only_a_header(tmp_path: Path) -> None:
    assert read_probes(written(tmp_path, ATTEMPTS_HEADER), None) == read_probes(None, None)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1,2,3\n", "line 2: 8 fields are expected, found 3"),
        (GOOD.replace("1.000010", "soon"), "line 2: could not convert string to float: 'soon'"),
        (GOOD.replace("ok", "fine"), "line 2: outcome 'fine' is not one of"),
        (GOOD.replace("40000", "4e4"), "line 2: invalid literal for int"),
        ("\n", "line 2: 8 fields"),
    ],
)
def test_a_broken_line_is_an_error_with_its_place(tmp_path: Path, line: str, complaint: str) -> None:
    file = written(tmp_path, ATTEMPTS_HEADER + line + GOOD)
    with pytest.raises(UsageError, match=r"attempts\.csv") as caught:
        read_probes(file, None)
    assert complaint in str(caught.value)


def test_a_foreign_file_and_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 1: the header"):
        read_probes(None, written(tmp_path, ATTEMPTS_HEADER))
    with pytest.raises(UsageError, match="No such file"):
        read_probes(tmp_path / "none.csv", None)
