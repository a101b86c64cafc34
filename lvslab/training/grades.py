"""What a class has reached, worked out of the records of its labs, and signs worth a second look.

A sign is no verdict: who copies a command from the page is quick, too.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lvslab.training.ledger import Account, Event
from lvslab.training.values import Values

_FASTEST = 15.0
"""Characters a second over a whole lab: more than anybody types for minutes."""

_UNUSUAL = 24
"""Characters from which a command that two have typed alike, and nobody else, is worth a look."""

_NETWORK = re.compile(r"(?<![\d.])10\.(\d+)\.\d+\.\d+")


@dataclass(frozen=True)
class Grade:
    """One student's work in one lab.

    Attributes:
        passed: whether it was passed without the lab's own solution in it.
        points: name of each point of the exam → whether the last check saw it hold.
        minutes: from the first start to the pass; to the last event where it was not passed.
        checks: whole exams and looks that passed.
        commands: that were typed in its shells.
        trouble: why its record is not to be believed from some place on, or "".
        signs: worth a second look.
    """

    student: str
    lab: str
    passed: bool
    points: Mapping[str, bool]
    minutes: float
    hints: int
    solutions: int
    checks: int
    resets: int
    commands: int
    trouble: str
    signs: tuple[str, ...] = ()


def grade(student: str, lab: str, account: Account) -> Grade:
    """What one record says."""
    counts: dict[str, int] = defaultdict(int)
    points: dict[str, bool] = {}
    for event in account.events:
        counts[event.what] += 1
        if event.what == "check":
            points |= {name: verdict == "pass" for name, verdict in event.facts["points"]}
    return Grade(
        student=student,
        lab=lab,
        passed=counts["passed"] > 0,
        points=points,
        minutes=_minutes(account.events),
        hints=counts["hint"],
        solutions=counts["solution"],
        checks=counts["check"],
        resets=counts["reset"],
        commands=counts["command"],
        trouble=account.trouble,
        signs=tuple(_signs(account.events)),
    )


def _minutes(events: Sequence[Event]) -> float:
    if not events:
        return 0.0
    end = next((event.at for event in events if event.what == "passed"), events[-1].at)
    return round((end - events[0].at) / 60, 1)


def _signs(events: Sequence[Event]) -> Iterable[str]:
    """Of one record alone."""
    end = next((place for place, event in enumerate(events) if event.what == "passed"), None)
    if end is None:
        return
    typed = [event for event in events[:end] if event.what == "command"]
    if not typed:
        yield "passed without a command"
        return
    seconds = events[end].at - typed[0].at
    characters = sum(len(event.facts["command"]) for event in typed[1:])
    if characters > _FASTEST * max(seconds, 1.0):
        yield f"faster than typing: {characters} characters in {seconds:.0f} s"


def grades(
    accounts: Mapping[str, Mapping[str, Account]],
    values: Mapping[str, Values],
    known: Mapping[str, str] | None = None,
) -> list[Grade]:
    """The grades of a class, with signs that only its members together show.

    Args:
        accounts: student → lab → record.
        values: student → what her labs have.
        known: lab → all text that everybody has of it; commands from there are no sign.
    """
    found: list[Grade] = []
    for student, labs in accounts.items():
        for lab, account in labs.items():
            alone = grade(student, lab, account)
            others = {
                other: each[lab] for other, each in accounts.items() if other != student and lab in each
            }
            shared = _shared(student, account, others, values, (known or {}).get(lab, ""))
            found.append(Grade(**{**vars(alone), "signs": (*alone.signs, *shared)}))
    return found


def _shared(
    student: str, account: Account, others: Mapping[str, Account], values: Mapping[str, Values], known: str
) -> Iterable[str]:
    own = values.get(student, Values())
    whose = {each.network: name for name, each in values.items() if name != student}
    mine = _commands(account)
    foreign = {
        whose[int(network)]
        for command in mine
        for network in _NETWORK.findall(command)
        if int(network) in whose and int(network) != own.network
    }
    for name in sorted(foreign):
        yield f"typed addresses of {name}'s network"
    by_others = {name: {_plain(command) for command in _commands(other)} for name, other in others.items()}
    for command in sorted({_plain(command) for command in mine if len(command) >= _UNUSUAL}):
        alike = [name for name, commands in by_others.items() if command in commands]
        if len(alike) == 1 and command not in _plain(known):
            yield f"the same unusual command as {alike[0]}: {command}"


def _commands(account: Account) -> list[str]:
    return [str(event.facts["command"]) for event in account.events if event.what == "command"]


def _plain(command: str) -> str:
    """Without what is drawn for each student."""
    return _NETWORK.sub(lambda match: f"10.0.{match[0].split('.', 2)[2]}", command)


_COLUMNS = (
    "student",
    "lab",
    "passed",
    "points",
    "of",
    "minutes",
    "hints",
    "solutions",
    "checks",
    "resets",
    "commands",
    "trouble",
    "signs",
)


def as_csv(found: Sequence[Grade]) -> str:
    """A line for each student and lab."""
    rows = [
        {
            **asdict(each),
            "passed": int(each.passed),
            "points": sum(each.points.values()),
            "of": len(each.points),
            "signs": "; ".join(each.signs),
        }
        for each in found
    ]
    return _table(_COLUMNS, rows)


def points_as_csv(found: Sequence[Grade]) -> str:
    """A line for each student, lab and point."""
    rows = [
        {"student": each.student, "lab": each.lab, "point": point, "holds": int(holds)}
        for each in found
        for point, holds in each.points.items()
    ]
    return _table(("student", "lab", "point", "holds"), rows)


def as_json(found: Sequence[Grade]) -> list[dict[str, Any]]:
    """The same as data."""
    return [{**asdict(each), "points": dict(each.points)} for each in found]


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _harmless(row[name]) for name in columns})
    return out.getvalue()


def _harmless(value: Any) -> Any:
    """Text of a student's that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
