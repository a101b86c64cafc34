"""Courses: which labs a class works through, who is in it, and what everybody may take; a TOML file
with a list of the class beside it.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lvslab.errors import UsageError
from lvslab.training.exercise import Exercise, load, load_all

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEYS = ("name", "title", "labs", "roster", "language", "limits")


@dataclass(frozen=True)
class Limits:
    """What one student may take of the machine and of the course.

    Attributes:
        labs: of hers that run at once, with one that is started ahead; each takes the memory of its
            guests.
        idle_minutes: after so many without a key a lab is ended; what was done is kept.
        session_hours: after so many a browser must come with a new link.
        terminals: that she may have open in one lab.
        solutions: whether the solution may be asked for.
    """

    labs: int = 2
    idle_minutes: int = 60
    session_hours: int = 12
    terminals: int = 8
    solutions: bool = True


@dataclass(frozen=True)
class Member:
    """Somebody in a class.

    Attributes:
        id: short name, also of her folder.
        name: as people write it.
        instructor: whether this is who teaches.
    """

    id: str
    name: str
    instructor: bool = False


@dataclass(frozen=True)
class Course:
    """A course.

    Attributes:
        name: short name, also of its folder.
        labs: names of shipped labs, or files.
        class_: its students, in the order of the list.
        language: of the pages: "en", or one that there is a catalogue for.
        file: where it stands.
    """

    name: str
    title: str
    labs: tuple[str, ...]
    class_: tuple[Member, ...]
    limits: Limits
    language: str
    file: Path

    def exercises(self) -> list[Exercise]:
        """Its labs, as they are written.

        Raises:
            UsageError: one cannot be loaded.
        """
        return [load(lab) for lab in self.labs]

    def student(self, id_: str) -> Member:
        """A student.

        Raises:
            UsageError: nobody in the class has this short name.
        """
        for member in self.class_:
            if member.id == id_:
                return member
        raise UsageError(f"student '{id_}': is not in the class of course '{self.name}' ({self.file})")


def load_course(file: Path) -> Course:
    """Read a course and its class.

    Raises:
        UsageError: a file is missing or not as it should be; names file and cause.
    """
    told = _toml(file)
    unknown = sorted({*told} - {*_KEYS})
    if unknown:
        raise UsageError(f"{file}: '{unknown[0]}' is not known there; it may have: {', '.join(_KEYS)}")
    name = str(told.get("name", file.stem))
    _check_name(name, f"{file}: name")
    course = Course(
        name=name,
        title=str(told.get("title", name)),
        labs=_labs(told.get("labs"), file),
        class_=(),
        limits=_limits(told.get("limits", {}), file),
        language=str(told.get("language", "en")),
        file=file.resolve(),
    )
    course.exercises()
    roster = told.get("roster")
    if not isinstance(roster, str):
        raise UsageError(f'{file}: name the list of the class: roster = "class.csv"')
    return replace(course, class_=load_class(file.parent / roster))


def _toml(file: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; a course is a TOML file: docs/classroom.md") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: is not TOML: {error}") from error


def _labs(told: Any, file: Path) -> tuple[str, ...]:
    """Names stay names; files are looked for beside the course. Without a list: all of them."""
    if told is None:
        return tuple(exercise.name for exercise in load_all())
    if not isinstance(told, list) or not told or not all(isinstance(lab, str) for lab in told):
        raise UsageError(f'{file}: labs is a list of names or files, such as labs = ["first-balancer"]')
    labs = tuple(str((file.parent / lab).resolve()) if lab.endswith(".py") else lab for lab in told)
    if len(set(labs)) < len(labs):
        raise UsageError(f"{file}: labs names one lab twice")
    return labs


def _limits(told: Any, file: Path) -> Limits:
    known = {field.name.replace("_", "-"): field for field in fields(Limits)}
    if not isinstance(told, dict) or {*told} - {*known}:
        raise UsageError(f"{file}: limits is a table that may have: {', '.join(known)}")
    for name, value in told.items():
        wanted = type(known[name].default)
        if type(value) is not wanted or (isinstance(value, int) and value < 1 and wanted is int):
            what = "true or false" if wanted is bool else "a number from 1"
            raise UsageError(f"{file}: limits.{name}: {value!r} is not {what}")
    return Limits(**{name.replace("-", "_"): value for name, value in told.items()})


def load_class(file: Path) -> tuple[Member, ...]:
    """Read the list of a class: CSV with the columns `id` and `name`.

    Raises:
        UsageError: it is missing, or a line is not as it should be.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: the list of the class cannot be read: {error}") from error
    rows = csv.DictReader(text.splitlines())
    if "id" not in (rows.fieldnames or ()):
        raise UsageError(f"{file}: its first line must name the columns: id,name")
    members = []
    for number, row in enumerate(rows, start=2):
        id_ = (row["id"] or "").strip()
        _check_name(id_, f"{file}, line {number}: id")
        members.append(Member(id_, (row.get("name") or id_).strip()))
    _check_class(members, file)
    return tuple(members)


def _check_class(members: Sequence[Member], file: Path) -> None:
    ids = [member.id.lower() for member in members]
    twice = next((id_ for id_ in ids if ids.count(id_) > 1), None)
    if twice:
        raise UsageError(f"{file}: '{twice}' is there twice; each student has an id of her own")
    if "instructor" in ids:
        raise UsageError(f"{file}: 'instructor' is the id of whoever teaches; choose another one")
    if not members:
        raise UsageError(f"{file}: nobody is in this class")


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{where}: '{name}' is no short name; use letters, digits, '.', '_' and '-'")
