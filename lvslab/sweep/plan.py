"""A sweep as a user writes it down: a TOML file, read and checked as far as no scenario and no
kernel need be known.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvslab.errors import UsageError
from lvslab.sweep.cell import Kind

MOST_CELLS = 100_000
"""More in one plan is a mistake: at a second each, they would take longer than a day."""

_SUBJECTS: Mapping[str, Kind] = {"scenario": "run", "suite": "suite", "bench": "bench"}
_KEYS = (*_SUBJECTS, "title", "repetitions", "order", "axes", "leave_out")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BOUND = re.compile(r"(<=|>=|<|>)\s*(\S+)")
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": float.__lt__,
    "<=": float.__le__,
    ">": float.__gt__,
    ">=": float.__ge__,
}


@dataclass(frozen=True)
class Plan:
    """What a sweep is to do.

    Attributes:
        name: of the file, without its ending.
        title: one line.
        kind: what is swept.
        patterns: of the suite's checks or the bench's measurements; none: all that are usual.
        axes: name → values, in the plan's order; a scenario's name is one of them.
        leave_out: conditions; a cell that meets all words of one is left out.
        repetitions: of every cell.
        order: seed of the order in which the cells are done.
        text: the file.
    """

    name: str
    title: str
    kind: Kind
    patterns: tuple[str, ...]
    axes: Mapping[str, tuple[str, ...]]
    leave_out: tuple[Mapping[str, tuple[str, ...]], ...]
    repetitions: int
    order: int
    text: str

    def leaves_out(self, axes: Mapping[str, str]) -> bool:
        """Whether a condition takes these values out."""
        return any(
            all(any(_meets(axes[name], word) for word in words) for name, words in condition.items())
            for condition in self.leave_out
        )


def read_plan(file: Path) -> Plan:
    """Read a plan.

    Raises:
        UsageError: it cannot be read, or says something that no plan says; names file and cause.
    """
    try:
        text = file.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file}: not TOML: {error}") from error
    try:
        return _plan(file.stem, text, data)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _plan(name: str, text: str, data: Mapping[str, Any]) -> Plan:
    for key in data:
        if key not in _KEYS:
            raise UsageError(f"'{key}': a plan has no such key; it has: {', '.join(_KEYS)}")
    subjects = [key for key in _SUBJECTS if key in data]
    if len(subjects) != 1:
        raise UsageError(f"say what is swept: give one of {', '.join(_SUBJECTS)}")
    subject = subjects[0]
    said = _table("axes", data.get("axes", {}))
    axes = {axis: _values(axis, value) for axis, value in said.items()}
    if subject == "scenario":
        if "scenario" in axes:
            raise UsageError("scenario: given twice, for the plan and as an axis")
        axes = {"scenario": _values("scenario", data["scenario"]), **axes}
    conditions = data.get("leave_out", [])
    if not isinstance(conditions, list):
        raise UsageError("leave_out: write it as [[leave_out]], a table for each condition")
    plan = Plan(
        name=name,
        title=str(data.get("title", name)),
        kind=_SUBJECTS[subject],
        patterns=() if subject == "scenario" else _patterns(subject, data[subject]),
        axes=axes,
        leave_out=tuple(_condition(each, axes) for each in conditions),
        repetitions=_whole("repetitions", data.get("repetitions", 1), 1),
        order=_whole("order", data.get("order", 1), 0),
        text=text,
    )
    cells = plan.repetitions * math.prod(len(values) for values in axes.values())
    if cells > MOST_CELLS:
        raise UsageError(
            f"{cells:,} cells; a plan may have {MOST_CELLS:,}: give fewer values, or make several plans"
        )
    return plan


def _table(name: str, value: Any) -> Mapping[str, Any]:
    """A TOML table; sysctls may stand in it with their dots unquoted, which TOML reads as tables of
    tables.
    """
    if not isinstance(value, dict):
        raise UsageError(f"{name}: a table is expected; write [{name}]")
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        below = _table(key, inner) if isinstance(inner, dict) else None
        flat |= {key: inner} if below is None else {f"{key}.{name}": item for name, item in below.items()}
    return flat


def _values(axis: str, value: Any) -> tuple[str, ...]:
    """The values of an axis: one, a list of them, or a range of whole numbers such as "1..20"."""
    if isinstance(value, str) and (numbers := _RANGE.fullmatch(value)):
        first, last = int(numbers[1]), int(numbers[2])
        if last < first or last - first >= MOST_CELLS:
            raise UsageError(f"axis '{axis}': {value}: give a range of 1 to {MOST_CELLS:,} numbers")
        return tuple(map(str, range(first, last + 1)))
    values = tuple(_word(axis, each) for each in (value if isinstance(value, list) else [value]))
    if not values:
        raise UsageError(f"axis '{axis}': give at least one value")
    twice = [each for each in values if values.count(each) > 1]
    if twice:
        raise UsageError(f"axis '{axis}': {twice[0]}: given twice; for repetitions write repetitions = 2")
    return values


def _word(axis: str, value: Any) -> str:
    """A value as a word of the command line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (str, int, float)) or value == "":
        raise UsageError(f"axis '{axis}': {value!r}: give words and numbers")
    return str(value)


def _patterns(subject: str, value: Any) -> tuple[str, ...]:
    """What of the suite or the bench is to run; "all" is what is usual."""
    if value == "all":
        return ()
    patterns = tuple(value) if isinstance(value, list) else (value,)
    if not patterns or not all(isinstance(each, str) and each for each in patterns):
        raise UsageError(f'{subject}: give "all", or a list of patterns such as ["scheduler:*"]')
    return patterns


def _condition(said: Any, axes: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """One table of `leave_out`."""
    condition = {
        axis: tuple(_word(axis, each) for each in (value if isinstance(value, list) else [value]))
        for axis, value in _table("leave_out", said).items()
    }
    if not condition:
        raise UsageError("leave_out: an empty condition would leave out everything")
    for axis, words in condition.items():
        if axis not in axes:
            raise UsageError(f"leave_out: there is no axis '{axis}'; the plan has: {', '.join(axes)}")
        for word in words:
            if not any(_meets(value, word) for value in axes[axis]):
                raise UsageError(f"leave_out: {axis} = {word}: no value of the axis is meant")
    return condition


def _meets(value: str, word: str) -> bool:
    """Whether a value is the word, or lies on the side of a bound such as ">= 32"."""
    bound = _BOUND.fullmatch(word)
    if not bound:
        return value == word
    try:
        return _HOLDS[bound[1]](float(value), float(bound[2]))
    except ValueError:
        return False


def _whole(key: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{key}: {value!r}: give a whole number from {least}")
    return value
