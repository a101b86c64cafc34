"""Exercises as descriptions: one file each in lvslab/training/exercises/, whose docstring is the
page that the student reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lvslab.errors import UsageError
from lvslab.plan.files import load_module
from lvslab.training.values import AS_WRITTEN, Values

if TYPE_CHECKING:
    from lvslab.training.exam import Exam

_Check = TypeVar("_Check", bound="Callable[[Exam], None]")
_DIRECTORY = Path(__file__).resolve().parent / "exercises"


class Group(StrEnum):
    """The two halves of the course."""

    PATH = "path"
    """From nothing, one step after the other: something is built."""
    REPAIR = "repair"
    """Something is broken; the student finds out what, and cures it."""


@dataclass(frozen=True)
class Exercise:
    """A training lab.

    Attributes:
        name: file name without ".py", with "-" for "_".
        title: first heading of the page.
        page: Markdown, what the student reads.
        group, number: where it stands in the course.
        minutes: how long a newcomer needs.
        mode: forwarding mode whose network it uses.
        lab: attributes of `lvslab.plan.spec.LabSpec`: servers, scheduler, without, sysctls, …;
            and `vrrp`: False if the directors of a pair begin without anything that joins them.
        table: whether the directors begin with the mode's virtual services, or with an empty table.
        prepare: node → /bin/sh script that runs there once the lab stands: what is installed, or
            broken.
        hints: from a nudge to the command itself.
        solution: node → /bin/sh script that solves it, in this order.
        fails: name of the point of the exam at which an untouched lab fails: the right reason.
        fault: what `lvslab doctor` must find as long as it is unsolved, or None if nothing is
            broken.
        check: judges what the student made, from packets and state; runs outside the student's
            reach.
        file: where all this stands.
    """

    name: str
    title: str
    page: str
    group: Group
    number: int
    minutes: int
    mode: str
    lab: Mapping[str, Any]
    table: bool
    prepare: Mapping[str, str]
    hints: tuple[str, ...]
    solution: Mapping[str, str]
    fails: str
    fault: str | None
    check: Callable[[Exam], None] = field(compare=False)
    file: Path = field(compare=False)

    @property
    def line(self) -> int:
        """Where in its file the exercise begins."""
        return self.check.__code__.co_firstlineno


def exercise(
    *,
    group: Group | str,
    number: int,
    mode: str,
    hints: Sequence[str],
    solution: Mapping[str, str],
    fails: str,
    minutes: int = 10,
    lab: Mapping[str, Any] | None = None,
    table: bool = True,
    prepare: Mapping[str, str] | None = None,
    fault: str | None = None,
) -> Callable[[_Check], _Check]:
    """Mark the function that judges an exercise: `def check(exam: Exam) -> None`; see `Exercise`
    for the arguments.
    """
    if group not in list(Group):
        raise UsageError(f"group: {group!r} is none of: {', '.join(Group)}")
    facts = {
        "group": Group(group),
        "number": number,
        "minutes": minutes,
        "mode": mode,
        "lab": dict(lab or {}),
        "table": table,
        "prepare": dict(prepare or {}),
        "hints": tuple(hints),
        "solution": dict(solution),
        "fails": fails,
        "fault": fault,
    }

    def mark(function: _Check) -> _Check:
        function.__lvslab_exercise__ = facts  # type: ignore[attr-defined]
        return function

    return mark


def shipped() -> dict[str, Path]:
    """Name → file of the exercises that come with lvslab."""
    return {
        path.stem.replace("_", "-"): path
        for path in sorted(_DIRECTORY.glob("*.py"))
        if not path.stem.startswith("_")
    }


def load(name_or_path: str, values: Values = AS_WRITTEN) -> Exercise:
    """A shipped exercise by name, or one in a file.

    Args:
        values: that it has instead of those in its file.

    Raises:
        UsageError: unknown name, broken file, no exercise in it; names file and cause.
    """
    files = shipped()
    path = files.get(name_or_path) or Path(name_or_path)
    if name_or_path not in files and not (path.suffix == ".py" or path.exists()):
        raise UsageError(f"lab '{name_or_path}': no such training lab; `lvslab train list` shows them")
    module = load_module(path, None if values == AS_WRITTEN else values.in_text)
    marked = [
        value for value in vars(module).values() if callable(value) and hasattr(value, "__lvslab_exercise__")
    ]
    if len(marked) != 1:
        raise UsageError(
            f"{path}: holds {len(marked)} training labs instead of one; mark one function with @exercise(…)"
        )
    page = (module.__doc__ or "").strip() + "\n"
    heading = re.match(r"# (?P<title>.+)\n", page)
    if not heading:
        raise UsageError(
            f"{path}: its docstring is the page that the student reads; begin it with a heading: # Title"
        )
    function = marked[0]
    return Exercise(
        name=path.stem.replace("_", "-"),
        title=heading["title"],
        page=page,
        **values.in_plan(function.__lvslab_exercise__),
        check=function,
        file=path,
    )


def load_all() -> list[Exercise]:
    """All shipped exercises in the order of the course."""
    found = [load(name) for name in shipped()]
    return sorted(found, key=lambda each: (list(Group).index(each.group), each.number, each.name))
