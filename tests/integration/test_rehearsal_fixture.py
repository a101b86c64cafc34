"""The fixture `lvs_rehearsal`: answers and errors of a process that rehearses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lvslab.errors import CannotError, LabError, UsageError
from lvslab.runs.codec import to_json
from lvslab.runs.rehearsal import Answers, Change, Notice, Proof, Reload
from lvslab.testing.rehearsal import Rehearser

ANSWERS = Answers(
    guesses=("a guess",),
    tables={"lvs": "-A -t 10.0.0.1:80 -s rr"},
    proofs=(Proof("TCP 10.0.0.1:80", "pass", 10, 0, {"10.0.1.1:80": 10}, "all served"),),
    notices=(Notice("a killed", "TCP 10.0.0.1:80", 1.5, True, 30, 4, 0.05, 1.0),),
    findings=({"name": "ip-forward-off"},),
    sizes={"services": 1.0},
)


@pytest.mark.parametrize(
    "record", [ANSWERS, Change(changes=("x",), reloads=(Reload("up", "d", 1, 0, 5, 0),))]
)
def test_answers_are_read_as_they_were_written(record: Answers | Change) -> None:
    from lvslab.runs.codec import from_json

    assert from_json(type(record), json.loads(json.dumps(to_json(record))), "rehearsal") == record


@pytest.mark.parametrize(
    ("code", "error"), [(2, UsageError), (4, CannotError), (69, LabError), (-9, LabError)]
)
def test_what_went_wrong_is_raised(
    code: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    end = f"exit {code}" if code >= 0 else "kill -9 $$"
    program.write_text(f"#!/bin/sh\necho 'lvslab: it is so' >&2\n{end}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(error, match="it is so"):
        Rehearser(tmp_path)("keepalived.conf")


def test_a_file_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "some.conf"
    file.write_text("hello")
    with pytest.raises(UsageError, match="is none of what a rehearsal reads"):
        Rehearser(tmp_path / "runs")(file)
    assert not (tmp_path / "runs").exists()
