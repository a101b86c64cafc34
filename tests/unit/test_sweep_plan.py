"""Plans of sweeps: the cells that they mean, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.errors import UsageError
from lvslab.sweep.cell import Cell
from lvslab.sweep.design import cells_of
from lvslab.sweep.plan import MOST_CELLS
from tests.unit.commands import lvslab
from tests.unit.sweeps import plan_of, some_kernel

RUNS = 'scenario = "compare-modes"\n'
KILLED = 'scenario = "server-killed"\n'
FINE = RUNS + 'repetitions = 2\n[axes]\nmode = ["nat", "dr"]\nservers = [2, 4, 8]\n'

BAD = {
    "not TOML": ("scenario = \n", "not TOML"),
    "nothing to sweep": ("title = 'x'\n", "give one of scenario, suite, bench"),
    "two subjects": (RUNS + "bench = 'all'\n", "give one of"),
    "unknown key": (RUNS + "axis = 1\n", "no such key; it has: scenario"),
    "unknown scenario": ("scenario = 'no-such'\n", "no such scenario"),
    "unknown axis": (RUNS + "[axes]\nspeed = [1]\n", "there is no axis 'speed'"),
    "unknown axis of the suite": ("suite = 'all'\n[axes]\nmode = ['nat']\n", "no axis 'mode' of the suite"),
    "unknown axis of the bench": ("bench = 'all'\n[axes]\nloss = [0]\n", "no axis 'loss' of the bench"),
    "unknown mode": (RUNS + "[axes]\nmode = ['natt']\n", "mode 'natt'"),
    "unknown scheduler": (RUNS + "[axes]\nscheduler = ['fair']\n", "no such scheduler; choose from: rr"),
    "scheduler that the kernel lacks": (
        RUNS + "[axes]\nscheduler = ['rr', 'mh']\nkernel = ['old']\n",
        "does not have it; it has: rr, wlc",
    ),
    "number out of its limits": (RUNS + "[axes]\nservers = [2, 0]\n", "servers 0: give 1 to"),
    "word for a number": (RUNS + "[axes]\nservers = ['two']\n", "expected one whole number"),
    "no value": (RUNS + "[axes]\nservers = []\n", "at least one value"),
    "a value twice": (RUNS + "[axes]\nservers = [2, 2]\n", "2: given twice"),
    "no word": (RUNS + "[axes]\nservers = [[2]]\n", "give words and numbers"),
    "modes as one list": (RUNS + "[axes]\nmodes = ['nat']\n", "write mode ="),
    "repetitions as an axis": (RUNS + "[axes]\nrepeat = [3]\n", "write repetitions = N"),
    "impossible mode": (
        "scenario = 'slow-link'\n[axes]\nmode = ['nat', 'dr']\n",
        "does not run in mode 'dr'; it runs in: nat, fullnat; a pair that cannot be goes into [[leave_out]]",
    ),
    "virtual time where there is none": (RUNS + "[axes]\ntime = 'virtual'\n", "needs real time for"),
    "unknown time": (KILLED + "[axes]\ntime = 'slow'\n", "choose from: real, virtual"),
    "seeds in real time": (KILLED + "[axes]\nseed = '1..3'\n", 'write time = "virtual"'),
    "range backwards": (KILLED + "[axes]\ntime = 'virtual'\nseed = '3..1'\n", "give a range"),
    "no sysctl": (RUNS + "[axes]\n'net.ipv4. x' = [1]\n", "no sysctl has such a name"),
    "no repetition": (RUNS + "repetitions = 0\n", "give a whole number from 1"),
    "10^9 cells": (
        RUNS + "repetitions = 1000\n[axes]\nservers = '1..1000'\nclients = '1..1000'\n",
        f"1,000,000,000 cells; a plan may have {MOST_CELLS:,}",
    ),
    "condition on no axis": (FINE + "[[leave_out]]\nkernel = 'uml'\n", "there is no axis 'kernel'"),
    "condition on no value": (FINE + "[[leave_out]]\nservers = 3\n", "no value of the axis is meant"),
    "condition on everything": (FINE + "[[leave_out]]\nservers = '>= 1'\n", "leaves nothing"),
    "empty condition": (FINE + "[[leave_out]]\n", "would leave out everything"),
    "unknown measurement": ("bench = ['mode:natt:*']\n", "mode:natt:*"),
}


def cells(folder: Path, text: str) -> tuple[Cell, ...]:
    return cells_of(plan_of(folder, text), some_kernel)


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_plan_is_refused_with_its_cause(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        cells(tmp_path, text)
    assert words in str(refused.value)


def test_the_plan_that_bad_ones_are_made_of_is_fine(tmp_path: Path) -> None:
    assert len(cells(tmp_path, FINE)) == 2 * 2 * 3


def test_a_bad_plan_starts_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(BAD["unknown axis"][0])
    (tmp_path / "file").touch()
    refused = lvslab("sweep", "bad.toml", place=tmp_path)
    assert refused.code == 2 and refused.err.count("\n") == 1 and "no axis 'speed'" in refused.err
    unwritable = lvslab("sweep", "bad.toml", "--runs", "file/runs", place=tmp_path)
    assert unwritable.code == 2 and "file: not a directory" in unwritable.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "file"]


def test_every_repetition_has_all_cells_in_an_order_of_its_own(tmp_path: Path) -> None:
    drawn = cells(tmp_path, FINE)
    blocks = [[dict(cell.axes) for cell in drawn if cell.repetition == number] for number in (1, 2)]
    assert [cell.repetition for cell in drawn] == [1] * 6 + [2] * 6
    assert blocks[0] != blocks[1] and all(axes in blocks[1] for axes in blocks[0])
    assert drawn == cells(tmp_path, FINE), "the same plan gives the same order"
    assert drawn != cells(tmp_path, "order = 2\n" + FINE)


def test_a_further_value_leaves_the_other_keys_as_they_are(tmp_path: Path) -> None:
    old = {cell.key for cell in cells(tmp_path, FINE)}
    new = {cell.key for cell in cells(tmp_path, FINE.replace("4, 8]", "4, 8, 16]"))}
    assert len(old) == 12 and len(new) == 16 and old < new


def test_a_further_axis_computes_only_what_is_new(tmp_path: Path) -> None:
    """What a plan does not name has the scenario's own value."""
    old = {cell.key for cell in cells(tmp_path, FINE)}
    new = {cell.key for cell in cells(tmp_path, FINE + "requests = [200, 400]\n")}
    assert len(new) == 24 and old < new


def test_a_key_changes_with_whatever_a_result_depends_on(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    text = (
        "from lvslab.scenario import scenario\n"
        "@scenario(title='t', teaches='t', modes=['nat'])\n"
        "def run(log, n=1): ...\n"
    )
    own.write_text(text)
    plan = plan_of(tmp_path, f'scenario = "{own}"\n')

    def key(kernel: str = "k") -> str:
        return cells_of(plan, lambda kind, time, name: some_kernel(kind, time, kernel))[0].key

    first = key()
    assert first == key()
    assert first != key(kernel="another build")
    own.write_text(text + "# changed\n")
    assert first != key()


def test_conditions_leave_cells_out(tmp_path: Path) -> None:
    left = cells(tmp_path, FINE + '[[leave_out]]\nmode = "dr"\nservers = ">= 4"\n')
    assert {(cell.axes["mode"], cell.axes["servers"]) for cell in left} == {
        ("nat", "2"),
        ("nat", "4"),
        ("nat", "8"),
        ("dr", "2"),
    }


def test_a_cell_is_a_command_that_anybody_can_repeat(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, RUNS + '[axes]\nmode = "dr"\nnet.ipv4.vs.conntrack = 1\nkernel = "uml"\n')
    assert " ".join(cell.words) == (
        "run compare-modes --mode dr --repeat 1 --set net.ipv4.vs.conntrack=1 --kernel uml --no-report"
    )
    assert cell.timed


def test_worlds_and_the_bench_share_a_machine_and_are_not_repeated(tmp_path: Path) -> None:
    worlds = cells(tmp_path, KILLED + "repetitions = 3\n[axes]\ntime = ['real', 'virtual']\n")
    assert sorted((cell.axes["time"], cell.timed) for cell in worlds) == [("real", True)] * 3 + [
        ("virtual", False)
    ]
    (bench,) = cells(tmp_path, "bench = ['mode:nat:*']\nrepetitions = 3\n[axes]\nseeds = 1\n")
    assert not bench.timed and bench.words == ("bench", "--only", "mode:nat:*", "--seeds", "1", "--no-report")
