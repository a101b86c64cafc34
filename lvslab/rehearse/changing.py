"""New files on a running director: what their reload does, beside a fresh start of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lvslab.errors import UsageError
from lvslab.events import Listener
from lvslab.lab.watch import TableWatch
from lvslab.lab.worlds import Table as Rows
from lvslab.lab.worlds import TableListener
from lvslab.rehearse.answering import answers
from lvslab.rehearse.deaths import Victim, Wish, victims
from lvslab.rehearse.director import Director, Door, Manager
from lvslab.rehearse.formula import Death
from lvslab.rehearse.lab import RehearsalLab
from lvslab.rehearse.rehearsal import READY_SECONDS, Rehearsal
from lvslab.rehearse.reload_faults import Reloaded, Trial, Tried, known_faults
from lvslab.rehearse.seats import Speaks
from lvslab.rehearse.stage import Stage
from lvslab.rehearse.tables import Table, changed, differences
from lvslab.rehearse.users import BEAT_SECONDS
from lvslab.runs.outage import survival
from lvslab.runs.rehearsal import Change, KnownFault, Reload

_BEFORE_SECONDS = 2.0
_AFTER_SECONDS = BEAT_SECONDS + 1.5
"""Longer than an answer on a lasting connection may take: one that hangs counts as broken."""

_TURNS, _BETWEEN_SECONDS = 6, 0.5
"""Reloads in a row, and the time between two of them."""

_CONNECTIONS = 5
"""Lasting connections to each door while files are reloaded."""


def rehearse_change(
    stage: Stage,
    new: Sequence[Director],
    wish: Wish,
    logs: Path,
    speaks: Speaks,
    listener: Listener,
) -> Change:
    """Run the old files, reload the new ones while users are there, and answer for both.

    Args:
        stage: its directors have the old files; its network and servers are for both.
        new: the same directors with the new files.
        logs: an existing folder.

    Raises:
        LabError: the lab, a daemon or a server broke.
    """
    with RehearsalLab(stage, logs, listener) as lab:
        old = stage.directors
        before = answers(Rehearsal(lab, logs / "users-old", speaks, listener), wish)
        change = _Changing(Rehearsal(lab, logs / "users-reload", speaks, listener), old, tuple(new))
        change.all_up()
        fresh = change.fresh()
        change.compare("all up", fresh, Trial.ALL_UP)
        change.while_down(fresh)
        change.often(fresh)
        lab.take_over(new)
        lab.start_anew()
        after = answers(Rehearsal(lab, logs / "users-new", speaks, listener), wish)
        return Change(
            changes=tuple(changes_of(old, new)),
            reloads=tuple(change.reloads),
            leftovers=tuple(change.leftovers),
            history=tuple(change.history),
            known=tuple(change.known()),
            old=before,
            new=after,
        )


def changes_of(old: Sequence[Director], new: Sequence[Director]) -> Iterator[str]:
    """What new files want otherwise, director by director."""
    for one, other in zip(old, new, strict=True):
        where = f"{one.name}: " if len(old) > 1 else ""
        before = {service.name: service for service in one.services}
        after = {service.name: service for service in other.services}
        yield from (f"{where}{name} removed" for name in before if name not in after)
        yield from (f"{where}{name} added" for name in after if name not in before)
        kept = [service for service in other.services if service.name in before]
        yield from (f"{where}{said}" for said in changed([before[service.name] for service in kept], kept))


@dataclass
class _Changing:
    """A change that is tried.

    Attributes:
        reloads, leftovers, history: as in `Change`.
        moved, tried: as in `Tried` (tables).
    """

    rehearsal: Rehearsal
    old: tuple[Director, ...]
    new: tuple[Director, ...]
    reloads: list[Reload] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    tried: list[Reloaded] = field(default_factory=list)
    _tables: dict[str, Table] = field(default_factory=dict)

    def all_up(self) -> None:
        """Reload while all is well."""
        with self._reloading("all up"):
            self.rehearsal.lab.reload()
            self.rehearsal.wait_whole()

    def fresh(self) -> dict[str, Table]:
        """The tables of a fresh start of the new files."""
        self.rehearsal.tell("control", "fresh start of the new files, to compare with")
        self.rehearsal.lab.start_anew()
        self.rehearsal.settle()
        return self.rehearsal.tables()

    def while_down(self, fresh: dict[str, Table]) -> None:
        """Reload while one server of every pool is down, which then comes back."""
        lab = self.rehearsal.lab
        lab.take_over(self.old)
        lab.start_anew()
        self.rehearsal.wait_whole()
        down = self._one_a_pool()
        if not down:
            return
        names = [name for victim in down for name in victim.names]
        lab.put("killed", names)
        waits = max(victim.promised or 0.0 for victim in down)
        self.rehearsal.wait_shown(down, waits + READY_SECONDS)
        said = f"with {', '.join(victim.names[0] for victim in down)} down"
        with self._reloading(said, judged=False):
            lab.reload()
            self.rehearsal.let_pass(_AFTER_SECONDS)
            lab.put("up", names)
            self.rehearsal.wait_whole()
        self.compare(said, fresh, Trial.DOWN)

    def often(self, fresh: dict[str, Table]) -> None:
        """Reload old and new files in turn, the new ones last."""
        lab = self.rehearsal.lab
        self.rehearsal.tell("control", f"{_TURNS} reloads in a row, old and new files in turn")
        for turn in range(_TURNS):
            lab.take_over(self.old if turn % 2 == 0 else self.new)
            lab.reload()
            self.rehearsal.let_pass(_BETWEEN_SECONDS)
        self.rehearsal.wait_whole()
        self._tables = self.rehearsal.tables()
        self.compare(f"{_TURNS} reloads in a row", fresh, Trial.OFTEN)

    def known(self) -> Iterator[KnownFault]:
        """What is said of the faults that are on record; of keepalived's files only."""
        if any(director.manager is Manager.KEEPALIVED for director in self.new):
            yield from known_faults(Tried(self.old, self.new, self.reloads, self.tried, self.moved))

    def _one_a_pool(self) -> list[Victim]:
        """The first server of every pool that a check watches."""
        doors: set[Door] = set()
        chosen = []
        for victim in victims(self.old, self.rehearsal.stage.marks, Death.KILLED):
            if victim.promised is not None and not set(victim.doors) & doors:
                doors |= set(victim.doors)
                chosen.append(victim)
        return chosen

    def compare(self, name: str, fresh: dict[str, Table], trial: Trial) -> None:
        """Set the tables after a reload beside those of a fresh start."""
        self.tried.append(Reloaded(trial, fresh, dict(self._tables)))
        for director, table in self._tables.items():
            where = f"{name}: {director}" if len(self.new) > 1 else name
            self.leftovers += [
                f"{where}: after the reload {said}" for said in differences(fresh[director], table)
            ]

    @contextmanager
    def _reloading(self, name: str, judged: bool = True) -> Iterator[None]:
        """The new files count from here on; the block reloads them while users are at every door
        of the old ones, and its tables are kept.

        Args:
            judged: whether users must not notice; with a server down they may.
        """
        rehearsal = self.rehearsal
        rehearsal.tell("control", f"reload, {name}")
        with ExitStack() as stack:
            users = stack.enter_context(rehearsal.load("reload", connections=_CONNECTIONS))
            rehearsal.let_pass(_BEFORE_SECONDS, users)
            began = time.time()
            for director in self.old:
                watch = TableWatch(rehearsal.lab.node(director.name), self._hear(director.name, name, began))
                stack.enter_context(watch)
            holders = rehearsal.lab.holders()
            rehearsal.lab.take_over(self.new)
            yield
            rehearsal.let_pass(_AFTER_SECONDS, users)
            ended = time.time()
        self._tables = rehearsal.tables()
        moved = [
            f"{name}: {address} has gone from {', '.join(holders[address])} to {', '.join(names) or 'nobody'}"
            for address, names in rehearsal.lab.holders().items()
            if holders.get(address) and names != holders[address]
        ]
        self.moved += moved
        self.leftovers += moved
        if not judged:
            return
        gone = {door for director in self.old for door in director.doors(rehearsal.stage.marks)}
        gone -= {door for director in self.new for door in director.doors(rehearsal.stage.marks)}
        for door, (attempts, beats) in users.records().items():
            if door in gone:
                continue
            meanwhile = [attempt for attempt in attempts if began <= attempt.planned < ended]
            lived = survival(beats, began, ended)
            self.reloads.append(
                Reload(
                    name,
                    door.name,
                    len(meanwhile),
                    sum(attempt.failed for attempt in meanwhile),
                    lived.total,
                    lived.total - lived.survived,
                )
            )

    def _hear(self, director: str, name: str, began: float) -> TableListener:
        def hear(t: float, _table: Rows, said: tuple[str, ...]) -> None:
            if t > began:
                self.history += [f"{name}, {director}, {t - began:.2f} s: {sentence}" for sentence in said]

        return hear


def united(old: Sequence[Director], new: Sequence[Director]) -> list[Director]:
    """Directors whose network holds what both the old and the new files ask for.

    Raises:
        UsageError: the directors are not the same.
    """
    if [director.name for director in old] != [director.name for director in new]:
        names = [", ".join(director.name for director in each) for each in (old, new)]
        raise UsageError(
            f"--against: the old files describe {names[0]}, the new ones {names[1]}; give the same directors"
        )
    return [
        replace(
            one,
            pools=(*one.pools, *other.pools),
            instances=(*one.instances, *other.instances),
            interfaces=tuple(dict.fromkeys((*one.interfaces, *other.interfaces))),
            own={**one.own, **other.own},
            scripts=tuple(dict.fromkeys((*one.scripts, *other.scripts))),
        )
        for one, other in zip(old, new, strict=True)
    ]
