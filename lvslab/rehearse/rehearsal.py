"""A running rehearsal: its tables, its users, and the proof that every door is served."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lvslab.events import Event, Listener
from lvslab.reading.configured import ConfiguredServer
from lvslab.rehearse.deaths import Victim, shown
from lvslab.rehearse.director import Door, doors_of
from lvslab.rehearse.formula import patience
from lvslab.rehearse.judging import lateness, proof_of, warm
from lvslab.rehearse.lab import RehearsalLab
from lvslab.rehearse.seats import Speaks, spoken
from lvslab.rehearse.stage import Stage
from lvslab.rehearse.tables import Table, differences
from lvslab.rehearse.users import RATE_EACH, RATE_IN_GUESTS, RATE_SUM, Ask, Users
from lvslab.runs.rehearsal import Notice, Proof

READY_SECONDS = 60.0
"""So long a daemon may take to build its table, at least: checks that must first be good count."""

_LOOK_SECONDS = 0.3
"""Between two looks of such a wait: each is a command in every director."""

_STILL_SECONDS = 30.0
"""On top of its slowest check: so long a table that has anything stands still before what it lacks
is taken for good.
"""

_MOST_CHECKS = 4
"""So many times as long as its slowest check takes a table may keep changing."""

_PROOF_SECONDS = 4.0
_LATE_SECONDS = 0.1
"""A tenth of the users may come so late; more, and this machine cannot make so many."""

_RATE_LEAST = 0.5
"""New users a second at one door, below which the machine must bear it."""


@dataclass
class Rehearsal:
    """A rehearsal in a running lab.

    Attributes:
        lab: it.
        folder: where the records of the users go.
        listener: hears what happens.
        notices, proofs: answers so far.
        leftovers: what tables did not get rid of after a fault.
        rate: new users a second at each door, which this machine can make; None: not known yet.
    """

    lab: RehearsalLab
    folder: Path
    speaks: Speaks
    listener: Listener
    notices: list[Notice] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    rate: float | None = None
    _trials: int = 0

    @property
    def stage(self) -> Stage:
        return self.lab.stage

    def tell(self, kind: str, text: str) -> None:
        self.listener(Event("rehearsal", kind, text))

    # -- what is asked -----------------------------------------------------------------------------

    def asks(self) -> list[Ask]:
        """What users do at each door."""
        servers: dict[Door, ConfiguredServer] = {}
        for director in self.stage.directors:
            for pool in director.pools:
                for service in pool.services:
                    for door in doors_of(service, self.stage.marks):
                        for configured in pool.servers[:1]:
                            servers.setdefault(door, configured)
        found = []
        for door in self.stage.doors():
            speaks, tls = spoken(door, servers.get(door), self.speaks)
            page = (
                next((page for check in servers[door].checks for page in check.pages), None)
                if door in servers
                else None
            )
            path = page.path if page and not page.status else "/"
            found.append(Ask(door, speaks, tls, path if path.startswith("/") else f"/{path}"))
        return found

    # -- tables ------------------------------------------------------------------------------------

    def tables(self) -> dict[str, Table]:
        return {
            director.name: self.lab.table(director.name)
            for director in self.stage.directors
            if self.lab.lab.is_on(director.name)
        }

    def weights(self) -> list[Mapping[tuple[str, str], int]]:
        return [
            self.lab.weights(director.name)
            for director in self.stage.directors
            if self.lab.lab.is_on(director.name)
        ]

    def _differences(self, tables: Mapping[str, Table]) -> list[str]:
        found = []
        for director in self.stage.directors:
            table = tables.get(director.name, ())
            several = len(self.stage.directors) > 1
            found += [
                f"{director.name}: {said}" if several else said
                for said in differences(director.services, table)
            ]
        return found

    def settle(self) -> list[str]:
        """Wait until every table is what its files say, and still is when every check has been made
        once: daemons begin with servers that they have not looked at yet. Returns what is not as it
        should be.
        """
        left = self.wait_whole()
        if left:
            return left  # it has stood so for longer than every check takes
        self.let_pass(self.patience())
        return self.wait_whole()

    def wait_whole(self) -> list[str]:
        """Wait until every table is what its files say, or has been otherwise for longer than its
        daemon's slowest check can take; returns what is not as it should be.
        """
        left: list[str] = []
        seen, since = "", time.monotonic()
        most = _MOST_CHECKS * self.patience() + READY_SECONDS

        def decided() -> bool:
            nonlocal seen, since
            tables = self.tables()
            left[:] = self._differences(tables)
            now, shown = time.monotonic(), repr(tables)
            if shown != seen:
                seen, since = shown, now
            begun = all(tables.values())
            stood = self.patience() + (_STILL_SECONDS if begun else READY_SECONDS)
            return not left or now - since > stood

        self.lab.until(decided, most, _LOOK_SECONDS)
        return left

    def wait_shown(self, dead: Sequence[Victim], seconds: float) -> None:
        """Wait until every table shows that servers are dead, for `seconds` at most."""
        self.lab.until(lambda: all(shown(victim, self.weights()) for victim in dead), seconds)

    def patience(self) -> float:
        """Seconds that the daemons' slowest check may take to find everything well."""
        return patience(self.stage.directors)

    # -- users -------------------------------------------------------------------------------------

    @contextmanager
    def load(self, name: str, connections: int = 0, newcomers_at: Set[Door] | None = None) -> Iterator[Users]:
        """Users at every door, meanwhile.

        Args:
            newcomers_at: instead, users who have not been there before, at these doors.
        """
        self._trials += 1
        asks = [ask for ask in self.asks() if newcomers_at is None or ask.door in newcomers_at]
        folder = self.folder / f"{self._trials:02}-{name}"
        network = self.stage.network
        people = network.clients if newcomers_at is None else network.newcomers
        sources = [address.partition("/")[0] for address in people]
        if self.rate is None:
            in_guests = any(
                seat.is_local and not ipaddress.ip_address(seat.address).is_loopback
                for seat in self.stage.seats.values()
            )
            self.rate = min(RATE_IN_GUESTS if in_guests else RATE_EACH, RATE_SUM / max(1, len(asks)))
        with Users(self.lab.users, asks, sources, folder, self.rate, connections=connections) as users:
            yield users

    def prove(self) -> None:
        """Each door by its users, when all is up; at half the rate again where users came late, as
        a machine that makes too many fails them by itself. Nothing where no service has users.
        """
        if not any(self.stage.doors()):
            return
        while True:
            with self.load("all-up") as users:
                self.let_pass(_PROOF_SECONDS, users)
            records = users.records()
            late = lateness(attempt for attempts, _ in records.values() for attempt in attempts)
            assert self.rate is not None
            if late <= _LATE_SECONDS or self.rate / 2 < _RATE_LEAST:
                break
            self.rate /= 2
            self.tell(
                "control",
                f"users came {late:.1f} s late on this machine: {self.rate:g} a second at each door",
            )
        for door, (attempts, _) in records.items():
            proof = proof_of(door, warm(attempts))
            self.proofs.append(proof)
            self.tell("verdict", f"{proof.door}: {proof.reason}")

    def let_pass(self, seconds: float, users: Users | None = None) -> None:
        """Let time pass, and see that everything still works."""

        def never() -> bool:
            if users:
                users.check()
            return False

        self.lab.until(never, seconds)
