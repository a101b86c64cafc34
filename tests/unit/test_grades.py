"""Grades of a class, signs, and the way of a course without a server: tickets, archives, grades."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import UsageError
from lvslab.training import grades, ledger, ticket
from lvslab.training.course import Course, load_course
from lvslab.training.course_folder import CourseFolder, open_folder
from lvslab.training.ledger import Account, Event
from lvslab.training.values import Values

POINTS = [["a virtual service", "pass"], ["round robin", "fail"]]


def _account(*events: tuple[float, str, dict[str, Any]]) -> Account:
    return Account(tuple(Event(at, what, facts) for at, what, facts in events))


def _typed(at: float, text: str) -> tuple[float, str, dict[str, Any]]:
    return at, "command", {"command": text, "node": "lvs"}


def _solved(*commands: str, seconds: float = 300.0) -> Account:
    step = seconds / (len(commands) + 1)
    typed = [_typed(60 + step * place, text) for place, text in enumerate(commands)]
    check = {"passed": True, "points": [[name, "pass"] for name, _ in POINTS], "solved": False}
    return _account((0, "started", {}), *typed, (60 + seconds, "check", check), (60 + seconds, "passed", {}))


def _signs(accounts: dict[str, Account], known: str = "") -> dict[str, tuple[str, ...]]:
    values = {name: Values(20 + place) for place, name in enumerate(accounts)}
    found = grades.grades({name: {"lab": each} for name, each in accounts.items()}, values, {"lab": known})
    return {each.student: each.signs for each in found}


def test_a_record_becomes_a_grade() -> None:
    account = _account(
        (0, "started", {}),
        (30, "hint", {"text": "Look."}),
        _typed(60, "ipvsadm"),
        (90, "solution", {}),
        (120, "check", {"passed": False, "points": POINTS, "solved": True}),
        (150, "reset", {}),
    )
    made = grades.grade("ada", "first-balancer", account)
    assert (made.passed, made.points) == (False, {"a virtual service": True, "round robin": False})
    assert (made.hints, made.solutions, made.checks, made.resets, made.commands) == (1, 1, 1, 1, 1)
    assert (made.minutes, made.signs) == (2.5, ())


def test_minutes_end_with_the_pass() -> None:
    assert grades.grade("ada", "x", _solved("ip route show table main")).minutes == 6.0


@pytest.mark.parametrize(
    ("commands", "seconds", "sign"),
    [
        ([], 300.0, "passed without a command"),
        (["ipvsadm -L", "x" * 200], 4.0, "faster than typing: 200 characters"),
        (["ipvsadm -L", "x" * 200], 300.0, ""),
    ],
)
def test_signs_of_one_alone(commands: Sequence[str], seconds: float, sign: str) -> None:
    (signs,) = _signs({"ada": _solved(*commands, seconds=seconds)}).values()
    assert signs == () if not sign else signs[0].startswith(sign)


def test_the_same_unusual_command_is_a_sign_and_the_pages_own_is_none() -> None:
    odd = "ipvsadm -A -t 10.{}.0.10:80 -s rr # as agreed"
    accounts = {"ada": _solved(odd.format(20)), "grace": _solved(odd.format(21)), "linus": _solved("ip a")}
    signs = _signs(accounts)
    assert signs["linus"] == ()
    assert signs["ada"] == (f"the same unusual command as grace: {odd.format(0)}",)
    assert _signs(accounts, known=odd.format(0)) == {"ada": (), "grace": (), "linus": ()}


def test_addresses_of_anothers_network_are_a_sign() -> None:
    signs = _signs({"ada": _solved("ping 10.20.0.1"), "grace": _solved("ping 10.20.0.1", "ping 10.21.0.1")})
    assert signs == {"ada": (), "grace": ("typed addresses of ada's network",)}


def test_a_class_of_thirty_as_tables() -> None:
    accounts = {
        f"student{number}": {"lab": _solved("ip a") if number % 3 else _account((0, "started", {}))}
        for number in range(30)
    }
    found = grades.grades(accounts, {})
    rows = list(csv.DictReader(io.StringIO(grades.as_csv(found))))
    assert [row["passed"] for row in rows] == [str(int(number % 3 > 0)) for number in range(30)]
    assert [row["points"] for row in rows] == [str(2 * (number % 3 > 0)) for number in range(30)]
    points = list(csv.DictReader(io.StringIO(grades.points_as_csv(found))))
    assert len(points) == 40 and {row["holds"] for row in points} == {"1"}
    assert [each["passed"] for each in grades.as_json(found)] == [number % 3 > 0 for number in range(30)]


def test_no_cell_is_taken_for_a_formula() -> None:
    found = [grades.Grade("ada", "x", False, {}, 0, 0, 0, 0, 0, 0, "=1+1")]
    assert "'=1+1" in grades.as_csv(found)


# -- without a server ------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path: Path) -> Course:
    (tmp_path / "class.csv").write_text("id\nada\ngrace\n")
    own = (Path(grades.__file__).parent / "exercises" / "no_forwarding.py").read_text()
    (tmp_path / "my_lab.py").write_text(own)
    file = tmp_path / "lvs.toml"
    file.write_text('labs = ["first-balancer", "my_lab.py"]\nroster = "class.csv"\n')
    return load_course(file)


@pytest.fixture
def folder(course: Course, tmp_path: Path) -> CourseFolder:
    return open_folder(course, tmp_path / "kept")


def _handed_in(course: Course, folder: CourseFolder, tmp_path: Path) -> Path:
    """What the first student hands in, who has passed a lab."""
    ticket.write(ticket.tickets(course, folder)[0], tmp_path / "ada.ticket")
    told = ticket.read(tmp_path / "ada.ticket")
    place = ticket.adopt(told, tmp_path / "train")
    book = ledger.Ledger(ledger.folder(place, "first-balancer") / ledger.FILE, ledger.key_of(place))
    book.note("started")
    book.note("passed")
    assert ticket.hand_in(told, place, tmp_path / "ada.zip") == ["first-balancer"]
    return tmp_path / "ada.zip"


def test_a_ticket_has_its_students_values_and_the_courses_own_labs(
    course: Course, folder: CourseFolder, tmp_path: Path
) -> None:
    ada, grace = ticket.tickets(course, folder)
    assert ada.labs == ("first-balancer", "my-lab") and ada.values != grace.values and ada.key != grace.key
    place = ticket.adopt(ada, tmp_path / "train")
    assert Path(ada.lab("my-lab", place)).read_text().startswith('"""# ')
    assert ada.lab("first-balancer", place) == "first-balancer"


def test_what_is_handed_in_is_graded(course: Course, folder: CourseFolder, tmp_path: Path) -> None:
    handed = ticket.open_archive(_handed_in(course, folder, tmp_path), course, folder, tmp_path / "there")
    (made,) = grades.grades({handed.student: handed.accounts}, folder.values)
    assert (made.student, made.passed, made.trouble) == ("ada", True, "")


def test_a_record_edited_by_hand_or_of_another_is_noticed(
    course: Course, folder: CourseFolder, tmp_path: Path
) -> None:
    file = _handed_in(course, folder, tmp_path)
    with zipfile.ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    changes = {
        "edited": {name: text.replace("started", "begun") for name, text in texts.items()},
        "another's": {name: text.replace('"ada"', '"grace"') for name, text in texts.items()},
    }
    for what, changed in changes.items():
        with zipfile.ZipFile(tmp_path / f"{what}.zip", "w") as archive:
            for name, text in changed.items():
                archive.writestr(name, text)
        handed = ticket.open_archive(tmp_path / f"{what}.zip", course, folder, tmp_path / what)
        (made,) = grades.grades({handed.student: handed.accounts}, folder.values)
        assert not made.passed and "was not written by the lab" in made.trouble, what


def test_archives_that_are_none(course: Course, folder: CourseFolder, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_text("x")
    with pytest.raises(UsageError, match=r"no\.zip: is no archive"):
        ticket.open_archive(tmp_path / "no.zip", course, folder, tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("student.json", '{"course": "x", "student": "ada"}')
        archive.writestr("records/../../evil/events.jsonl", "")
    with pytest.raises(UsageError, match="was handed in for course 'x', not 'lvs'"):
        ticket.open_archive(tmp_path / "other.zip", course, folder, tmp_path / "b")
    assert not list(tmp_path.rglob("evil"))


def test_a_file_that_is_no_ticket(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{}")
    with pytest.raises(UsageError, match="x: is no ticket of a course"):
        ticket.read(tmp_path / "x")
