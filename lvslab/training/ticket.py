"""A course without a server: each student gets a ticket, works with `lvslab train`, and hands an
archive in.

    <state>/train/.course                    the course that is being worked on
                  .courses/<course>/         its labs and records, as in <state>/train itself
                                   ticket.json
                                   labs/     files of the course's own labs
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lvslab.errors import UsageError
from lvslab.training import ledger
from lvslab.training.course import Course
from lvslab.training.course_folder import CourseFolder
from lvslab.training.ledger import Account
from lvslab.training.values import Values

_RECORD = re.compile(r"records/(?P<lab>[A-Za-z0-9][A-Za-z0-9._-]*)/(?P<file>[A-Za-z0-9][A-Za-z0-9._-]*)")
_MOST_BYTES = 64 << 20
"""Of one file in an archive that was handed in."""


@dataclass(frozen=True)
class Ticket:
    """One student's part in a course.

    Attributes:
        labs: names of shipped labs, and of those in `files`.
        files: name of a lab of the course's own → its text.
        values: that her labs have.
        key: signs her records, in hexadecimal digits.
    """

    course: str
    title: str
    student: str
    labs: tuple[str, ...]
    files: Mapping[str, str]
    values: Values
    key: str

    def lab(self, name: str, place: Path) -> str:
        """What a lab of the course is started by: its name, or its file."""
        return str(place / "labs" / f"{name.replace('-', '_')}.py") if name in self.files else name


def tickets(course: Course, folder: CourseFolder) -> list[Ticket]:
    """A ticket for each student."""
    exercises = course.exercises()
    own = [exercise for lab, exercise in zip(course.labs, exercises, strict=True) if lab.endswith(".py")]
    files = {exercise.name: exercise.file.read_text(encoding="utf-8") for exercise in own}
    labs = tuple(exercise.name for exercise in exercises)
    return [
        Ticket(
            course.name,
            course.title,
            member.id,
            labs,
            files,
            folder.values[member.id],
            folder.key(member.id).hex(),
        )
        for member in course.class_
    ]


def write(ticket: Ticket, file: Path) -> None:
    """Write a ticket; it is its student's alone."""
    file.write_text(json.dumps(asdict(ticket), indent=1, ensure_ascii=False), encoding="utf-8")
    file.chmod(0o600)


def read(file: Path) -> Ticket:
    """Read a ticket.

    Raises:
        UsageError: it is none.
    """
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        ticket = Ticket(**{**told, "labs": tuple(told["labs"]), "values": Values(**told["values"])})
        bytes.fromhex(ticket.key)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{file}: is no ticket of a course; ask whoever teaches for one") from error
    for name in (ticket.course, *ticket.files):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise UsageError(f"{file}: '{name}' is no short name")
    return ticket


def adopt(ticket: Ticket, root: Path) -> Path:
    """Work on a course from now on; returns its place below the training state `root`."""
    place = root / ".courses" / ticket.course
    (place / "labs").mkdir(parents=True, exist_ok=True, mode=0o700)
    ledger.keep_key(place, bytes.fromhex(ticket.key))
    write(ticket, place / "ticket.json")
    for name, text in ticket.files.items():
        Path(ticket.lab(name, place)).write_text(text, encoding="utf-8")
    (root / ".course").write_text(ticket.course)
    return place


def hand_in(ticket: Ticket, place: Path, file: Path) -> list[str]:
    """Put all records of a course into an archive; returns the labs that are in it.

    Raises:
        UsageError: there is nothing yet.
    """
    records = sorted((place / ".records").glob("*/*"))
    labs = sorted({record.parent.name for record in records})
    if not labs:
        raise UsageError(f"course '{ticket.course}': nothing was done yet; lvslab train list shows its labs")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("student.json", json.dumps({"course": ticket.course, "student": ticket.student}))
        for record in records:
            archive.write(record, f"records/{record.parent.name}/{record.name}")
    return labs


@dataclass(frozen=True)
class HandedIn:
    """What one student has handed in: lab → record."""

    student: str
    accounts: Mapping[str, Account]


def open_archive(file: Path, course: Course, folder: CourseFolder, there: Path) -> HandedIn:
    """Read an archive that was handed in.

    Args:
        there: empty folder for its records.

    Raises:
        UsageError: it is none, or of another course, or of nobody in the class.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            told: dict[str, Any] = json.loads(archive.read("student.json"))
            for entry in archive.infolist():
                match = _RECORD.fullmatch(entry.filename)
                if match is None or match["file"] != ledger.FILE:
                    continue
                if entry.file_size > _MOST_BYTES:
                    raise UsageError(f"{file}: {entry.filename} is larger than a record can be")
                target = there / match["lab"] / ledger.FILE
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(entry))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UsageError(f"{file}: is no archive of `lvslab train hand-in`: {error}") from error
    if told.get("course") != course.name:
        raise UsageError(f"{file}: was handed in for course '{told.get('course')}', not '{course.name}'")
    student = course.student(str(told.get("student"))).id
    key = folder.key(student)
    return HandedIn(
        student,
        {lab.parent.name: ledger.read(lab, key) for lab in sorted(there.glob(f"*/{ledger.FILE}"))},
    )
