"""Faults of keepalived's reload that its tracker has on record, and what trials say of each: pure.

Numbers are those of https://github.com/acassen/keepalived/issues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lvslab.rehearse.director import Director
from lvslab.rehearse.tables import Table, weights
from lvslab.runs.rehearsal import KnownFault, Reload


class Trial(StrEnum):
    """When files were reloaded."""

    ALL_UP = "all up"
    DOWN = "one server down"
    """Of every pool; it came back afterwards."""
    OFTEN = "again and again"
    """Old and new files in turn, faster than checks are made."""


@dataclass(frozen=True)
class Reloaded:
    """What came of a reload, or of several in a row.

    Attributes:
        wanted: director → its table after a fresh start of the new files.
        there: director → its table after the reload.
    """

    trial: Trial
    wanted: Mapping[str, Table]
    there: Mapping[str, Table]


@dataclass(frozen=True)
class Tried:
    """Everything that was tried of a change.

    Attributes:
        old, new: the directors with either files.
        reloads: what users noticed.
        tables: what came of each reload.
        moved: virtual addresses that another director had after a reload, a sentence each.
    """

    old: Sequence[Director]
    new: Sequence[Director]
    reloads: Sequence[Reload]
    tables: Sequence[Reloaded]
    moved: Sequence[str]


def known_faults(tried: Tried) -> Iterator[KnownFault]:
    """Each fault on record, in the order of its number."""
    before, after = _wanted(tried.old), _wanted(tried.new)
    leaves = "" if before.keys() - after.keys() else "no server leaves the file"
    changes = any(before[row] != after[row] for row in before.keys() & after.keys())
    yield _of_tables(187, "a server that was down keeps weight 0", tried, _stuck, Trial.DOWN)
    yield _of_tables(479, "what has left the file stays in the table", tried, _left_over)
    yield _judged(1228, "users fail when a server leaves the file", _failed(tried.reloads), leaves)
    unchanged = "" if changes else "no weight changes"
    yield _of_tables(1354, "an old weight stays", tried, _other_weight, Trial.ALL_UP, unless=unchanged)
    yield _of_tables(1720, "a server that was down is not added again", tried, _lost_server, Trial.DOWN)
    yield _of_tables(1904, "a virtual server is lost by frequent reloads", tried, _lost_service, Trial.OFTEN)
    common = {each.name for one in tried.old for each in one.instances}
    common &= {each.name for one in tried.new for each in one.instances}
    alone = "" if len(tried.old) > 1 and common else "no virtual address has a second director"
    yield _judged(2159, "virtual addresses go to another director", list(tried.moved), alone)


_Row = tuple[str, str]
_Look = Callable[[Mapping[_Row, int], Mapping[_Row, int], Table, Table], Iterator[str]]
"""Takes the weights of a fresh table and of the one after a reload, and both tables."""


def _stuck(
    wanted: Mapping[_Row, int], there: Mapping[_Row, int], _fresh: Table, _table: Table
) -> Iterator[str]:
    for row, weight in wanted.items():
        if weight and there.get(row) == 0:
            yield f"{row[0]}: {row[1]} has weight 0 instead of {weight}"


def _other_weight(
    wanted: Mapping[_Row, int], there: Mapping[_Row, int], _fresh: Table, _table: Table
) -> Iterator[str]:
    for row, weight in wanted.items():
        if there.get(row, weight) != weight:
            yield f"{row[0]}: {row[1]} has weight {there[row]} instead of {weight}"


def _lost_server(
    wanted: Mapping[_Row, int], there: Mapping[_Row, int], _fresh: Table, table: Table
) -> Iterator[str]:
    services = {service.name for service in table}
    for service, server in wanted:
        if service in services and (service, server) not in there:
            yield f"{service}: {server} is missing"


def _lost_service(
    _wanted: Mapping[_Row, int], _there: Mapping[_Row, int], fresh: Table, table: Table
) -> Iterator[str]:
    services = {service.name for service in table}
    yield from (f"{service.name} is missing" for service in fresh if service.name not in services)


def _left_over(
    wanted: Mapping[_Row, int], there: Mapping[_Row, int], fresh: Table, table: Table
) -> Iterator[str]:
    asked = {service.name for service in fresh}
    yield from (f"{service.name} is still there" for service in table if service.name not in asked)
    for service, server in there:
        if service in asked and (service, server) not in wanted:
            yield f"{service}: {server} is still there"


def _of_tables(
    number: int, what: str, tried: Tried, look: _Look, trial: Trial | None = None, unless: str = ""
) -> KnownFault:
    """A fault that tables show: those after one trial, or after any."""
    looked = [each for each in tried.tables if trial in (None, each.trial)]
    seen = [
        said
        for each in looked
        for director, table in each.there.items()
        for said in look(weights(each.wanted[director]), weights(table), each.wanted[director], table)
    ]
    return _judged(number, what, seen, unless or ("" if looked else "no check watches a server here"))


def _judged(number: int, what: str, seen: Sequence[str], unless: str) -> KnownFault:
    """A fault with its evidence; `unless`: why these files cannot have it."""
    if unless:
        return KnownFault(number, what, "unknown", unless)
    return KnownFault(number, what, "fail" if seen else "pass", "; ".join(dict.fromkeys(seen)))


def _failed(reloads: Sequence[Reload]) -> list[str]:
    return [
        f"{each.door}: {each.failed} of {each.attempts} users failed, {each.broken} of {each.connections}"
        " connections broken"
        for each in reloads
        if each.failed or each.broken
    ]


def _wanted(directors: Sequence[Director]) -> dict[_Row, int]:
    return weights(service for director in directors for service in director.services)
