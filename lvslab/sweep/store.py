"""The folder of a sweep, which holds the truth: a result is there, whole, or not there.

plan.toml                the plan, as it was read last
sweep.json               the cells that it means, in their order
lock                     held by the command that works on the sweep
work/                    files of cells that are under way on this machine
cells/<key>/             the run directory of a cell, with cell.json: what became of it
cells/.<key>.<random>    a result that is being written; renamed when it is whole
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvslab import __version__
from lvslab.errors import LabError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs.writer import RunWriter
from lvslab.sweep.cell import Cell
from lvslab.sweep.plan import Plan
from lvslab.sweep.work import Outcome, unpack

PLAN, INDEX, CELLS, ABOUT = "plan.toml", "sweep.json", "cells", "cell.json"
_FORMAT, _VERSION = "lvslab-sweep", 1


@dataclass(frozen=True)
class Done:
    """What cell.json says of a finished cell.

    Attributes:
        code: exit code of its command; `ExitCode.LAB_BROKE`: it is broken.
        error: why it has no verdict, or "".
        seconds: how long it took; `tries`: how often it was tried.
        machine: that did it.
    """

    key: str
    code: ExitCode
    error: str
    seconds: float
    machine: str
    tries: int

    @property
    def broken(self) -> bool:
        """It has no result."""
        return self.code not in (ExitCode.OK, ExitCode.FAILED, ExitCode.CANNOT)


@dataclass(frozen=True)
class Index:
    """What a sweep means to do: sweep.json."""

    title: str
    axes: Mapping[str, Sequence[str]]
    cells: tuple[Cell, ...]


class Store:
    """The folder of one sweep; it need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells = folder / CELLS

    @property
    def work(self) -> Path:
        """Where this machine keeps the files of cells that are under way."""
        return self.folder / "work"

    def directory(self, key: str) -> Path:
        """The run directory of a cell."""
        return self._cells / key

    @contextmanager
    def mine(self) -> Iterator[None]:
        """Keep other commands from working on the sweep, and take away what one that was killed has
        left.

        Raises:
            UsageError: another command works on it.
            LabError: the folder cannot be written.
        """
        try:
            self._cells.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("a")
        except OSError as error:
            raise LabError(f"{self.folder}: cannot be written: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{self.folder}: another command works on this sweep; see: lvslab sweep status"
                    f" {self.folder}"
                ) from None
            for left in (self.work, *self._cells.glob(".*")):
                shutil.rmtree(left, ignore_errors=True)
            self.work.mkdir()
            yield
            shutil.rmtree(self.work, ignore_errors=True)

    def begin(self, plan: Plan, cells: Sequence[Cell]) -> None:
        """Keep the plan and its cells."""
        index = {
            "format": _FORMAT,
            "version": _VERSION,
            "lvslab": __version__,
            "title": plan.title,
            "axes": {name: list(values) for name, values in plan.axes.items()},
            "cells": [cell.to_json() for cell in cells],
        }
        self._write(self.folder / PLAN, plan.text)
        self._write(self.folder / INDEX, json.dumps(index, ensure_ascii=False))

    def index(self) -> Index:
        """What the sweep means to do.

        Raises:
            UsageError: there is no sweep in the folder, or one of another version.
        """
        file = self.folder / INDEX
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"{self.folder}: not the folder of a sweep: {file.name}: {error.strerror}"
            ) from error
        except ValueError as error:
            raise UsageError(f"{file}: cannot be read: {error}") from error
        if not isinstance(data, dict) or (data.get("format"), data.get("version")) != (_FORMAT, _VERSION):
            raise UsageError(f"{file}: not written by this version of lvslab; run the plan again")
        return Index(data["title"], data["axes"], tuple(map(Cell.from_json, data["cells"])))

    def done(self) -> Mapping[str, Done]:
        """Key → what became of the cell, of all that are finished, whatever plan they were for."""
        if not self._cells.is_dir():
            return {}
        return {
            each.name: done
            for each in sorted(self._cells.iterdir())
            if not each.name.startswith(".") and (done := _read(each))
        }

    def keep(self, cell: Cell, outcome: Outcome, tries: int) -> Done:
        """Keep what became of a cell.

        Raises:
            LabError: it cannot be written; nothing of it is left.
        """
        done = Done(cell.key, outcome.code, outcome.error, outcome.seconds, outcome.machine, tries)
        try:
            aside = Path(tempfile.mkdtemp(prefix=f".{cell.key}.", dir=self._cells))
            try:
                run = self._unpacked(cell, outcome, aside)
                about = {**vars(done), "code": int(done.code), "cell": cell.to_json()}
                (run / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
                shutil.rmtree(self.directory(cell.key), ignore_errors=True)  # one that was broken
                run.chmod(0o755)
                run.rename(self.directory(cell.key))
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        except OSError as error:
            raise LabError(f"{self._cells}: {cell.title} cannot be kept: {error.strerror}") from error
        return done

    def _unpacked(self, cell: Cell, outcome: Outcome, aside: Path) -> Path:
        """The run directory of an outcome; one that says what went wrong where the cell left
        none.
        """
        if outcome.archive:
            run = aside / "run"
            run.mkdir()
            unpack(outcome.archive, run)
            return run
        command = ["lvslab", *cell.words]
        parameters = dict(cell.axes)
        writer = RunWriter(aside, "broken", kind="run", command=command, parameters=parameters)
        with writer as broken:
            broken.end(LabError(outcome.error))
        return broken.path

    def _write(self, file: Path, text: str) -> None:
        """Replace a file by one rename.

        Raises:
            LabError: it cannot be written.
        """
        aside = file.with_name(f".{file.name}")
        try:
            aside.write_text(text, encoding="utf-8")
            os.replace(aside, file)  # noqa: PTH105
        except OSError as error:
            raise LabError(f"{file}: cannot be written: {error.strerror}") from error


def _read(directory: Path) -> Done | None:
    try:
        data: dict[str, Any] = json.loads((directory / ABOUT).read_text(encoding="utf-8"))
        return Done(
            key=directory.name,
            code=ExitCode(data["code"]),
            error=data["error"],
            seconds=data["seconds"],
            machine=data["machine"],
            tries=data["tries"],
        )
    except (OSError, ValueError, KeyError):
        return None
