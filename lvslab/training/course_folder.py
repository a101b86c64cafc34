"""What a course keeps with whoever teaches it: its secret, and the values that were drawn from it.

<state>/lvslab/classroom/<course>/secret        of which values and keys are made
                                  values.json   student → values, as they were drawn first
                                  students/     a folder for each
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lvslab.training.course import Course
from lvslab.training.values import Values, draw


@dataclass(frozen=True)
class CourseFolder:
    """The folder of a course.

    Attributes:
        values: of each of its students.
    """

    place: Path
    secret: bytes
    values: dict[str, Values]

    def key(self, student: str) -> bytes:
        """With which the records of one student are signed."""
        return hmac.new(self.secret, f"records\n{student}".encode(), hashlib.sha256).digest()

    def student(self, student: str) -> Path:
        """A student's own folder."""
        return self.place / "students" / student


def open_folder(course: Course, place: Path | None = None) -> CourseFolder:
    """The folder of a course; made where there is none.

    The secret is made once. Values stay as they were drawn first, whoever joins or leaves the
    class.

    Args:
        place: where it is; below the user's state directory if not given.
    """
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    place = place or state / "lvslab" / "classroom" / course.name
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = _secret(place / "secret")
    values = _values(place / "values.json", secret, [member.id for member in course.class_])
    return CourseFolder(place, secret, values)


def _secret(file: Path) -> bytes:
    with suppress(FileExistsError):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(secrets.token_hex(32))
    return bytes.fromhex(file.read_text())


def _values(file: Path, secret: bytes, students: Sequence[str]) -> dict[str, Values]:
    kept: dict[str, Values] = {}
    with suppress(FileNotFoundError):
        kept = {name: Values(**told) for name, told in json.loads(file.read_text()).items()}
    newcomers = [student for student in students if student not in kept]
    values = draw(secret, newcomers, kept)
    if newcomers:
        file.write_text(json.dumps({name: asdict(each) for name, each in values.items()}, indent=1))
    return values
