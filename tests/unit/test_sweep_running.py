"""Cells handed out and taken back: what is kept, what is tried again, and what is said."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.errors import LabError, UsageError
from lvslab.events import Event, nobody
from lvslab.exitcodes import ExitCode
from lvslab.runs import rundir
from lvslab.sweep.cell import Cell
from lvslab.sweep.running import MOST_TRIES, span, sweep, tally, words
from lvslab.sweep.store import Done, Store
from lvslab.sweep.work import Outcome, packed, unpack
from tests.unit.sweeps import numbered, square

BROKE = Outcome(ExitCode.LAB_BROKE, "the worker died", 0.0, "")


class Alone:
    """A crew of one, which notes what it was asked to do."""

    places = machines = 1

    def __init__(self, folder: Path, says: Callable[[Cell], Outcome] | None = None, room: int = 2) -> None:
        self._says = says or (lambda cell: square(cell, folder))
        self._waiting: deque[Cell] = deque()
        self._room = room
        self.asked: list[tuple[str, bool]] = []

    @property
    def room(self) -> int:
        return self._room - len(self._waiting)

    def start(self, cell: Cell, *, alone: bool) -> None:
        self.asked.append((cell.axes["n"], alone))
        assert not (alone and self._waiting), "nothing is under way beside a suspect"
        self._waiting.append(cell)

    def ended(self) -> tuple[Cell, Outcome]:
        cell = self._waiting.popleft()
        return cell, self._says(cell)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "sweep")


def swept(store: Store, cells: list[Cell], crew: Alone) -> Mapping[str, Done]:
    with store.mine():
        return sweep(cells, store, crew, nobody)


def test_every_cell_is_kept_whole(tmp_path: Path, store: Store) -> None:
    cells = numbered(5)
    done = swept(store, cells, Alone(tmp_path))
    assert {(store.directory(cell.key) / "square.txt").read_text() for cell in cells} == {
        "0",
        "1",
        "4",
        "9",
        "16",
    }
    assert store.done() == done and all(one.code == ExitCode.OK for one in done.values())
    assert not list((store.folder / "cells").glob(".*"))


def test_only_what_is_new_is_computed(tmp_path: Path, store: Store) -> None:
    swept(store, numbered(3), Alone(tmp_path))
    again = Alone(tmp_path)
    assert len(swept(store, numbered(5), again)) == 5
    assert [number for number, _ in again.asked] == ["3", "4"]


def test_a_result_that_is_not_whole_does_not_count(tmp_path: Path, store: Store) -> None:
    cells = numbered(2)
    swept(store, cells, Alone(tmp_path))
    (store.directory(cells[0].key) / "cell.json").unlink()
    (store.folder / "cells" / f".{cells[1].key}.cut-off").mkdir()
    crew = Alone(tmp_path)
    swept(store, cells, crew)
    assert [number for number, _ in crew.asked] == ["0"]
    assert not list((store.folder / "cells").glob(".*"))


def test_a_cell_that_breaks_three_times_is_recorded_and_the_others_go_on(
    tmp_path: Path, store: Store
) -> None:
    cells = numbered(3)
    crew = Alone(tmp_path, lambda cell: BROKE if cell.axes["n"] == "1" else square(cell, tmp_path))
    done = swept(store, cells, crew)
    broken = done[cells[1].key]
    assert broken.broken and broken.tries == MOST_TRIES
    assert [alone for number, alone in crew.asked if number == "1"] == [False, True, True]
    assert not done[cells[0].key].broken and not done[cells[2].key].broken
    run = rundir.load(store.directory(cells[1].key))
    assert run.status == "broken" and run.error == "the worker died"


def test_one_that_broke_by_chance_has_its_result(tmp_path: Path, store: Store) -> None:
    says = iter([BROKE, square(numbered(1)[0], tmp_path)])
    (done,) = swept(store, numbered(1), Alone(tmp_path, lambda cell: next(says))).values()
    assert not done.broken and done.tries == 2


def test_what_is_broken_is_done_again_where_asked(tmp_path: Path, store: Store) -> None:
    cells = numbered(2)
    swept(store, cells, Alone(tmp_path, lambda cell: BROKE))
    with store.mine():
        left = Alone(tmp_path)
        sweep(cells, store, left, nobody)
        assert not left.asked
        done = sweep(cells, store, left, nobody, again=lambda one: one.broken)
    assert [number for number, _ in left.asked] == ["0", "1"]
    assert not any(one.broken for one in done.values())


def test_a_crew_that_is_gone_ends_the_sweep_and_keeps_what_is_done(tmp_path: Path, store: Store) -> None:
    def says(cell: Cell) -> Outcome:
        if cell.axes["n"] == "2":
            raise LabError("gone")
        return square(cell, tmp_path)

    with pytest.raises(LabError, match="gone"):
        swept(store, numbered(4), Alone(tmp_path, says))
    assert len(store.done()) == 2


def test_two_commands_do_not_work_on_one_sweep(store: Store) -> None:
    with store.mine(), pytest.raises(UsageError, match="another command"), Store(store.folder).mine():
        pass
    with store.mine():
        pass


def test_progress_counts_and_says_how_long(tmp_path: Path, store: Store) -> None:
    told: list[Event] = []
    cells = numbered(4)
    with store.mine():
        sweep(cells, store, Alone(tmp_path), told.append)
    assert told[0].text == "n=0: PASS in 0.5 s\n  1 done, 3 left, about 2 s"
    assert told[-1].text.endswith("4 done, none left")


def test_the_pace_of_finished_cells_corrects_what_is_expected() -> None:
    cells = [*numbered(2), *numbered(4, timed=True)[2:]]
    done = {cells[0].key: Done(cells[0].key, ExitCode.OK, "", 3.0, "here", 1)}
    now = tally(cells, done, places=2, machines=1)
    assert (now.done, now.left) == (1, 3)
    assert now.seconds_left == 3.0 * (2 / 1 + 1 / 2)
    assert tally(cells, {}, places=2).seconds_left == 2 + 2 / 2


def test_a_tally_in_words() -> None:
    cells = numbered(3)
    done = {
        cells[0].key: Done(cells[0].key, ExitCode.FAILED, "", 1.0, "here", 1),
        cells[1].key: Done(cells[1].key, ExitCode.LAB_BROKE, "x", 1.0, "here", 3),
    }
    assert words(tally(cells, done)) == "1 done, 1 failed, 1 broken, 1 left, about 1 s"
    assert [span(seconds) for seconds in (5, 600, 9000)] == ["5 s", "10 min", "2.5 h"]


def test_archives_stay_in_their_folder(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "file").write_text("x")
    unpack(packed(source), target)
    assert (target / "file").read_text() == "x"
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(LabError, match="cannot be unpacked"):
        unpack(packed(source), target)
    with pytest.raises(LabError, match="cannot be unpacked"):
        unpack(packed(source)[:40], target)


def test_an_index_is_read_as_it_was_written(tmp_path: Path, store: Store) -> None:
    from lvslab.sweep.design import cells_of
    from tests.unit.sweeps import plan_of, some_kernel

    plan = plan_of(tmp_path, 'scenario = "compare-modes"\n[axes]\nservers = [2, 4]\n')
    cells = cells_of(plan, some_kernel)
    with store.mine():
        store.begin(plan, cells)
    assert store.index().cells == cells and store.index().axes["servers"] == ["2", "4"]
    file = store.folder / "sweep.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 99}))
    with pytest.raises(UsageError, match="run the plan again"):
        store.index()
    shutil.rmtree(store.folder)
    with pytest.raises(UsageError, match="not the folder of a sweep"):
        store.index()


def test_a_cell_survives_its_json() -> None:
    (cell,) = numbered(1)
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell
    assert replace(cell, identity={"n": 2}).key != cell.key
