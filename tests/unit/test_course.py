"""Course files and lists of classes: what they say, and what is wrong with them, named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.errors import UsageError
from lvslab.training.course import Limits, Member, load_course

CLASS = "id,name\nada,Ada Lovelace\ngrace,\n"
COURSE = 'title = "A day"\nlabs = ["first-balancer", "no-forwarding"]\nroster = "class.csv"\n'


def _write(folder: Path, course: str = COURSE, class_: str = CLASS) -> Path:
    (folder / "class.csv").write_text(class_)
    (folder / "lvs.toml").write_text(course)
    return folder / "lvs.toml"


def test_a_course_and_its_class(tmp_path: Path) -> None:
    course = load_course(_write(tmp_path, f"{COURSE}[limits]\nlabs = 3\nsolutions = false\n"))
    assert (course.name, course.title) == ("lvs", "A day")
    assert course.class_ == (Member("ada", "Ada Lovelace"), Member("grace", "grace"))
    assert course.limits == Limits(labs=3, solutions=False)
    assert [lab.name for lab in course.exercises()] == ["first-balancer", "no-forwarding"]


def test_without_a_list_of_labs_it_has_all(tmp_path: Path) -> None:
    assert len(load_course(_write(tmp_path, 'roster = "class.csv"\n')).labs) >= 38


@pytest.mark.parametrize(
    ("course", "class_", "said"),
    [
        ("title = ", CLASS, "is not TOML"),
        (f"{COURSE}rooster = 1\n", CLASS, "'rooster' is not known there; it may have: name, title"),
        (COURSE.replace("no-forwarding", "no-such"), CLASS, "lab 'no-such': no such training lab"),
        (COURSE.replace("no-forwarding", "first-balancer"), CLASS, "labs names one lab twice"),
        ("labs = 7\n", CLASS, "labs is a list of names or files"),
        ('labs = ["first-balancer"]\n', CLASS, "name the list of the class"),
        (f"{COURSE}[limits]\nlabs = 0\n", CLASS, r"limits\.labs: 0 is not a number from 1"),
        (f"{COURSE}[limits]\nsolutions = 1\n", CLASS, r"limits\.solutions: 1 is not true or false"),
        (f"{COURSE}[limits]\nlab = 1\n", CLASS, "limits is a table that may have: labs, idle-minutes"),
        (COURSE, "ada\n", "its first line must name the columns"),
        (COURSE, "id\n../x\n", r"line 2: id: '\.\./x' is no short name"),
        (COURSE, "id\nada\nAda\n", "'ada' is there twice"),
        (COURSE, "id\ninstructor\n", "'instructor' is the id of whoever teaches"),
        (COURSE, "id\n", "nobody is in this class"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, course: str, class_: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_course(_write(tmp_path, course, class_))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lvs\.toml: No such file"):
        load_course(tmp_path / "lvs.toml")
