"""What `lvslab verify` prints of a verification and of a matrix of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lvslab.cli.verified import Verified, verify_cells, verify_modes
from lvslab.errors import CannotError, LabError
from lvslab.events import Listener
from lvslab.exitcodes import ExitCode
from lvslab.kernels.needs import Kernels, any_kernel
from lvslab.plan.plan import LabPlan
from lvslab.plan.spec import LabSpec
from lvslab.runs.codec import to_json
from lvslab.runs.records import Check, Result
from lvslab.runs.writer import RunWriter
from lvslab.scenario.cells import Cell, cells
from lvslab.scenario.experiment import Experiment
from lvslab.verify.verification import Verification

RESULT = Result("nat", "pass", "seen")
SHOWN = to_json(RESULT)


class Verifications:
    """Verifications that pass, but for one: it raises `problem` in the second cell's last turn."""

    def __init__(self, problem: Exception) -> None:
        self._problem, self._turns = problem, 0

    def verify(self, cell: Cell, machine: Kernels, place: Path, listener: Listener) -> Verified:
        self._turns += 1
        if self._turns == 3:  # turns go back and forth: 1, 2, 2, 1
            raise self._problem
        with RunWriter(place, "verify-nat", kind="verify", command=["lvslab"]) as run:
            run.add_result(RESULT)
        return Verified(run.path, ExitCode.OK, [RESULT], "1 passed", lambda: print("shown"))


def verified(
    tmp_path: Path, problem: Exception, repeat: int, *, as_json: bool, kernels: tuple[str, ...] = ()
) -> ExitCode:
    work = Verifications(problem).verify
    return verify_cells(work, cells(kernels, {}, {}), repeat, any_kernel(), tmp_path, as_json, None)


@pytest.mark.parametrize(
    ("problem", "verdict", "code"),
    [
        (LabError("the guest died"), "fail", ExitCode.LAB_BROKE),
        (CannotError("no such kernel"), "skip", ExitCode.CANNOT),
    ],
)
def test_a_matrix_is_told_turn_by_turn_and_shown_as_json(
    tmp_path: Path, capsys: Any, problem: Exception, verdict: str, code: ExitCode
) -> None:
    assert verified(tmp_path, problem, 2, as_json=True, kernels=("uml", "uml")) == code
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert list(data) == ["run", "runs", "comparisons", "results"]
    assert [(run["cell"], run["exit_code"], Path(run["run"]).parent.name) for run in data["runs"]] == [
        ("uml.1", 0, "uml.1"),
        ("uml.2", 0, "uml.2"),
        ("uml.1", 0, "uml.1"),
    ]
    assert [comparison["title"] for comparison in data["comparisons"]] == ["uml.2 against uml.1"]
    assert data["results"] == [
        {**SHOWN, "name": "uml.1: nat"},
        {**SHOWN, "name": "uml.2: nat"},
        {**SHOWN, "name": "uml.1: nat"},
        {"name": "uml.2: the run completes", "verdict": verdict, "reason": str(problem), "evidence": []},
    ]
    assert err.splitlines() == [
        "[1/4] uml.1, repetition 1 of 2",
        "[2/4] uml.2, repetition 1 of 2",
        "[3/4] uml.2, repetition 2 of 2",
        f"lvslab: uml.2: {problem}",
        "[4/4] uml.1, repetition 2 of 2",
    ]


def test_repetitions_without_cells_are_a_matrix_without_comparisons(tmp_path: Path, capsys: Any) -> None:
    assert verified(tmp_path, LabError("the guest died"), 2, as_json=True) == ExitCode.OK
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert data["comparisons"] == [] and [run["cell"] for run in data["runs"]] == ["", ""]
    assert data["results"] == [SHOWN, SHOWN]
    assert err.splitlines()[0] == "[1/2] verification, repetition 1 of 2"


def test_a_matrix_is_shown_as_a_table_with_its_comparisons(tmp_path: Path, capsys: Any) -> None:
    verified(tmp_path, LabError("the guest died"), 2, as_json=False, kernels=("uml", "uml"))
    out = capsys.readouterr().out
    rows = [line.split()[:2] for line in out.splitlines() if line.startswith("uml.")]
    assert rows == [["uml.1", "PASS"], ["uml.2", "PASS"], ["uml.1", "PASS"], ["uml.2", "BROKE"]]
    assert "== uml.2 against uml.1 ==" in out and "the guest died" in out


def test_a_single_verification_has_no_folder_of_a_matrix(tmp_path: Path, capsys: Any) -> None:
    assert verified(tmp_path, LabError("the guest died"), 1, as_json=True) == ExitCode.OK
    data = json.loads(capsys.readouterr().out)
    assert list(data) == ["run", "results"] and data["results"] == [SHOWN]
    assert Path(data["run"]).parent == tmp_path
    verified(tmp_path, LabError("the guest died"), 1, as_json=False)
    assert capsys.readouterr().out == "shown\n"


def test_a_mode_whose_lab_breaks_leaves_the_others_their_verdicts(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def planned_lab(self: Experiment, plan: LabPlan) -> Iterator[Any]:
        if plan.mode.name == "dr":
            raise LabError("the director went away")
        yield None

    monkeypatch.setattr(Experiment, "planned_lab", planned_lab)
    monkeypatch.setattr(Experiment, "verify", lambda self, lab: Verification([Check("c", "pass", "seen")]))
    labs = [LabSpec.of(mode) for mode in ("nat", "dr", "tun")]
    done = verify_modes(labs, any_kernel(), tmp_path, lambda event: None, False, {})
    assert [each.verdict for each in done.results] == ["pass", "fail", "pass"]
    assert done.results[1].reason == "the lab broke: the director went away"
    assert done.code == ExitCode.LAB_BROKE and done.summary == "2 passed, 1 failed"
    done.show()
    out = capsys.readouterr().out
    rows = [line.split()[:2] for line in out.splitlines()]
    assert [row for row in rows if row and row[0] in ("NAT", "DR", "TUN")] == [
        ["NAT", "PASS"],
        ["DR", "BROKE"],
        ["TUN", "PASS"],
    ]
    assert f"run: {done.run}" in out
