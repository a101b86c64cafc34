"""What runs in one director and changes its table or its addresses: the health control, VRRP, or
keepalived as both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lvslab.control.keepalived import Keepalived, keepalived_command, keepalived_files, vrrp_event, vrrp_ready
from lvslab.lab.daemon import Daemon, health_daemon
from lvslab.lab.nodes import LabMachine
from lvslab.plan.plan import LabPlan

_READY_SECONDS = 30.0

StateListener = Callable[[float, str, str, str], None]
"""Takes the time of a change of VRRP state, the director, the instance ("outer", "inner") and the
state ("MASTER", …).
"""


class DirectorControl:
    """The daemons of one director."""

    def __init__(self, plan: LabPlan, node: LabMachine, logs: Path, listener: StateListener) -> None:
        self._node, self._listener = node, listener
        vrrp = plan.vrrp.get(node.name)
        checks = isinstance(plan.health, Keepalived)
        self._mastery = (
            tuple(rf"\({each.name}\) Entering MASTER STATE" for each in vrrp.instances) if vrrp else ()
        )
        self._daemons: list[tuple[Daemon, tuple[str, ...]]] = []
        if vrrp or checks:
            directory = node.inside / Keepalived.name
            files = keepalived_files(
                directory,
                services=plan.services if checks else (),
                settings=plan.health_settings if checks else None,
                vrrp=vrrp,
            )
            ready = (
                *(vrrp_ready(vrrp) if vrrp else ()),
                *(plan.health.ready(plan.services, plan.health_settings) if checks else ()),
            )
            self._daemons.append(
                (Daemon(node, Keepalived.name, keepalived_command(directory), files, logs, self._hear), ready)
            )
        if plan.health.programs and not checks:
            health = health_daemon(node, plan.health, plan.services, plan.health_settings, logs)
            self._daemons.append((health, plan.health.ready(plan.services, plan.health_settings)))

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
            self._listener(t, self._node.name, *event)
