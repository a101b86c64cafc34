"""What runs in one director and changes its table or its addresses: the health control, VRRP, or
keepalived as both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lvslab.control.base import ControlFile
from lvslab.control.keepalived import (
    CONFIGURATION,
    Keepalived,
    keepalived_command,
    keepalived_files,
    vrrp_event,
    vrrp_ready,
)
from lvslab.plan.plan import LabPlan

_READY_SECONDS = 30.0

StateListener = Callable[[float, str, str, str], None]
"""Takes the time of a change of VRRP state, the director, the instance ("outer", "inner") and the
state ("MASTER", …).
"""


@dataclass(frozen=True)
class DaemonPlan:
    """A daemon of a director.

    Attributes:
        command: a line for /bin/sh that becomes the program.
        files: what it needs, by their names within its folder.
        ready: regular expressions of the lines that it says once it is at work.
    """

    name: str
    command: str
    files: Mapping[str, ControlFile]
    ready: tuple[str, ...]


def daemons(plan: LabPlan, director: str, inside: Path) -> tuple[DaemonPlan, ...]:
    """What is to run in a director; `inside`: its folder, in which each daemon has its own."""
    vrrp, health, settings = plan.vrrp.get(director), plan.health, plan.health_settings
    checks = isinstance(health, Keepalived)
    planned: list[DaemonPlan] = []
    own = plan.keepalived.get(director)
    if own is not None:  # what it says when it is at work nobody knows
        command = keepalived_command(inside / Keepalived.name)
        return (DaemonPlan(Keepalived.name, command, {CONFIGURATION: ControlFile(own)}, ()),)
    if vrrp or checks:
        folder = inside / Keepalived.name
        files = keepalived_files(
            folder,
            services=plan.services if checks else (),
            settings=settings if checks else None,
            vrrp=vrrp,
        )
        ready = (
            *(vrrp_ready(vrrp) if vrrp else ()),
            *(health.ready(plan.services, settings) if checks else ()),
        )
        planned.append(DaemonPlan(Keepalived.name, keepalived_command(folder), files, ready))
    if health.programs and not checks:
        folder = inside / health.name
        files = health.files(plan.services, settings, folder)
        ready = health.ready(plan.services, settings)
        planned.append(DaemonPlan(health.name, health.command(folder), files, tuple(ready)))
    return tuple(planned)


class AnyDaemon(Protocol):
    """A program in a node, whichever world it is in; `lvslab.lab.daemon.Daemon` is one."""

    name: str

    @property
    def running(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def check(self) -> None: ...

    def await_lines(self, patterns: Sequence[str], timeout: float) -> object: ...


Run = Callable[[DaemonPlan, Callable[[float, str], None]], AnyDaemon]
"""Makes a daemon, not yet started, whose lines and their times are heard."""


class DirectorControl:
    """The daemons of one director."""

    def __init__(self, plan: LabPlan, director: str, inside: Path, run: Run, listener: StateListener) -> None:
        """`inside`: the director's folder, as it sees it itself."""
        self._director, self._listener = director, listener
        vrrp = plan.vrrp.get(director)
        self._mastery = (
            tuple(rf"\({each.name}\) Entering MASTER STATE" for each in vrrp.instances) if vrrp else ()
        )
        self._daemons = [
            (run(planned, self._hear), planned.ready) for planned in daemons(plan, director, inside)
        ]

    def start(self, master: bool = False) -> None:
        """Start them and wait until they are at work.

        Args:
            master: wait until this director has become master.

        Raises:
            LabError: one did not start, or died; with what it said last.
        """
        for daemon, _ in self._daemons:
            daemon.start()
        for daemon, ready in self._daemons:
            daemon.await_lines(
                (*ready, *(self._mastery if master and daemon.name == Keepalived.name else ())),
                _READY_SECONDS,
            )

    def stop(self) -> None:
        """End them orderly; in a dead or frozen director nothing is waited for."""
        for daemon, _ in self._daemons:
            daemon.stop()

    def check(self) -> None:
        """Raise LabError if one has ended unasked."""
        for daemon, _ in self._daemons:
            daemon.check()

    @property
    def running(self) -> bool:
        """Whether any of them runs."""
        return any(daemon.running for daemon, _ in self._daemons)

    def _hear(self, t: float, line: str) -> None:
        event = vrrp_event(line)
        if event:
            self._listener(t, self._director, *event)
