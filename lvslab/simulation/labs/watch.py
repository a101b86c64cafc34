"""Watching a director's table in virtual time: a `lvslab.lab.worlds.Watch`."""

from __future__ import annotations

import shlex
from contextlib import suppress
from types import TracebackType

from lvslab.errors import LabError
from lvslab.lab.watch import changes, parse_table, watch_command
from lvslab.lab.worlds import Table, TableListener
from lvslab.simulation.labs.clock import VirtualClock
from lvslab.simulation.labs.said import Program
from lvslab.simulation.machine import Machine

_START_SECONDS = 10.0


class VirtualWatch:
    """Watches the table of one director until the block is left, or its kernel dies.

    Attributes:
        table: as last seen.
    """

    def __init__(self, machine: Machine, clock: VirtualClock, listener: TableListener) -> None:
        self.table: Table = {}
        self._machine, self._clock, self._listener = machine, clock, listener
        self._program = Program(machine, "table", self._hear)
        self._seen = False
        self._problem: LabError | None = None

    def __enter__(self) -> VirtualWatch:
        # Standard input must stay silent, so that a reader with a timeout sleeps.
        pipe = "/run/lvslab-table.pipe"
        script = f"[ -p {pipe} ] || mkfifo {pipe}; exec {shlex.join(watch_command())} <>{pipe}"
        self._program.start(script)
        self._clock.wait(lambda: self._seen or self._problem, _START_SECONDS, _START_SECONDS)
        if not self._seen:
            raise LabError(
                f"{self._machine.name}: its table of virtual services cannot be watched; is IPVS in its"
                " kernel?"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(LabError):
            self._program.signal("KILL")

    def check(self) -> None:
        """Raise LabError if the director said what is no table."""
        if self._problem:
            raise self._problem

    def _hear(self, line: str) -> None:
        try:
            table = parse_table(line)
        except LabError as problem:
            self._problem = problem
            return
        said = changes(self.table, table) if self._seen else ()
        self.table, self._seen = table, True
        if said:
            self._listener(self._clock.now(), table, said)
