"""Watching a director's table of virtual services: each change as it happens, stamped on the lab's
clock.
"""

from __future__ import annotations

import ipaddress
import subprocess
import threading
from contextlib import suppress
from types import TracebackType

from lvslab.errors import LabError
from lvslab.host.scripts import guest_file
from lvslab.lab.nodes import LabMachine
from lvslab.lab.stamps import Stamped, take_lines
from lvslab.lab.worlds import Table, TableListener

_START_SECONDS = 60.0
"""So long the first look may take on a busy machine, where a director is a guest."""

PERIOD = 0.02
"""Seconds between two looks at the table: the resolution of a change's time. The kernel announces
no changes by itself.
"""

_LONGEST_LINE = 1 << 20


def parse_table(line: str) -> dict[str, dict[str, int]]:
    """The table from one line of the watcher: /proc/net/ip_vs without its counters
    (ip_vs_info_seq_show in ip_vs_ctl.c).

    Raises:
        LabError: it is none.
    """
    table: dict[str, dict[str, int]] = {}
    try:
        for entry in filter(None, line.strip().split("|")):
            head, *servers = entry.split(";")
            protocol, address = head.split()[:2]
            service = f"{protocol} {int(address, 16) if protocol == 'FWM' else _endpoint(address)}"
            table[service] = {}
            for server in servers:
                endpoint, _, weight = server.split()
                table[service][_endpoint(endpoint)] = int(weight)
    except ValueError:
        raise LabError(f"the table of virtual services cannot be read from: {line.strip()[:200]}") from None
    return table


def _endpoint(text: str) -> str:
    """`0A00010B:1F90` and `[fd00:…:0001]:1F90` as ipvsadm prints them."""
    address, _, port = text.rpartition(":")
    if address.startswith("["):
        return f"[{ipaddress.ip_address(address.strip('[]'))}]:{int(port, 16)}"
    return f"{ipaddress.ip_address(int(address, 16))}:{int(port, 16)}"


def changes(before: Table, after: Table) -> tuple[str, ...]:
    """What happened between two looks, one sentence each, in the table's order."""
    said = []
    for service in dict.fromkeys((*before, *after)):
        old, new = before.get(service), after.get(service)
        if new is None:
            said.append(f"{service} removed")
            continue
        if old is None:
            said.append(f"{service} added")
            old = {}
        for server in dict.fromkeys((*old, *new)):
            was, now = old.get(server), new.get(server)
            if now is None:
                said.append(f"{service}: {server} removed")
            elif was is None:
                said.append(f"{service}: {server} added" + ("" if now == 1 else f" with weight {now}"))
            elif was != now:
                said.append(f"{service}: {server} weight {was} -> {now}")
    return tuple(said)


def watch_command() -> list[str]:
    """What runs in a director: it prints a line for `parse_table` at each change."""
    return ["perl", "-e", guest_file("lvslab.lab", "watch.pl"), str(PERIOD)]


class TableWatch:
    """Watches the table of one director until it is closed, or its kernel dies.

    Attributes:
        table: as last seen.
    """

    def __init__(self, director: LabMachine, listener: TableListener) -> None:
        self._director, self._listener = director, listener
        self.table: Table = {}
        self._seen = threading.Event()
        self._problem: LabError | None = None
        self._process = director.popen(watch_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._thread = take_lines(f"watch-{director.name}", self._process.stdout, _LONGEST_LINE, self._take)

    def __enter__(self) -> TableWatch:
        if not self._seen.wait(_START_SECONDS):
            self.close()
            raise LabError(
                f"{self._director.name}: its table of virtual services cannot be watched; is ip_vs loaded"
                " there?"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self) -> None:
        """Raise LabError if the director said what is no table."""
        if self._problem:
            raise self._problem

    def close(self) -> None:
        """Stop watching; a director that is dead or frozen does not hold this up."""
        with suppress(LabError, ProcessLookupError, OSError):
            self._process.terminate()
        self._thread.join(timeout=1)

    def _take(self, lines: Stamped) -> None:
        for t, line in lines:
            try:
                table = parse_table(line.decode())
            except LabError as problem:
                self._problem = problem
                return
            said = changes(self.table, table) if self._seen.is_set() else ()
            self.table = table
            self._seen.set()
            if said:
                self._listener(t, table, said)
