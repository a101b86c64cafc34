"""What an instructor takes home: grades and points as CSV and JSON, and the transcripts of the
shells, in one archive.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict

from lvslab.classroom.room import Room
from lvslab.training import grades, ledger
from lvslab.training.grades import Grade


def class_grades(room: Room) -> list[Grade]:
    """The grades of all who have begun."""
    accounts = {name: ledger.accounts(desk.place) for name, desk in room.desks.items()}
    values = {name: desk.values for name, desk in room.desks.items()}
    known = {
        exercise.name: "\n".join((exercise.page, *exercise.hints, *exercise.solution.values()))
        for exercise in room.course.exercises()
    }
    return grades.grades(accounts, values, known)


def archive(room: Room) -> bytes:
    """grades.csv, points.csv, class.json, and a folder of records for each student."""
    found = class_grades(room)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as kept:
        kept.writestr("grades.csv", grades.as_csv(found))
        kept.writestr("points.csv", grades.points_as_csv(found))
        told = {
            "course": room.course.name,
            "students": [asdict(member) for member in room.course.class_],
            "grades": grades.as_json(found),
        }
        kept.writestr("class.json", json.dumps(told, indent=1, ensure_ascii=False))
        for name, desk in room.desks.items():
            records = desk.place / ".records"
            for file in sorted(file for file in records.glob("*/*") if file.is_file()):
                kept.write(file, f"records/{name}/{file.relative_to(records)}")
    return out.getvalue()
