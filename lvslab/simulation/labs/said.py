"""What programs of a director say while they run: each line comes over the line of its agent, with
the moment at which it was said.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

from lvslab.host.completed import Completed
from lvslab.simulation.machine import Machine

Hear = Callable[[str], None]
"""Takes a line that a program said, just now."""


class Program:
    """A program in a director that goes on by itself and is heard.

    Attributes:
        code: its exit status, minus the signal's number after a signal; None while it runs.
    """

    def __init__(self, machine: Machine, name: str, hear: Hear) -> None:
        self._machine, self._name, self._hear = machine, name, hear
        self.code: int | None = None
        self._boot = -1

    @property
    def running(self) -> bool:
        """Whether it was started, and neither it nor its director has ended."""
        return self._machine.on and self._boot == self._machine.boots and self.code is None

    def start(self, command: str) -> None:
        """Start it.

        Args:
            command: a line for /bin/sh that becomes the program.
        """
        self.code, self._boot = None, self._machine.boots
        self._machine.listeners[self._name] = self._heard
        inner = f"echo $$ >/run/lvslab-{self._name}.pid; {command}"
        # A line is one write to the terminal, which no other cuts in two. Nothing here keeps the
        # job's own files open, or they would not be written back when it ends.
        script = (
            "{ "
            f'{{ setsid /bin/sh -c {shlex.quote(inner)} 2>&1; echo "=code $?"; }} </dev/null |'
            f' while IFS= read -r line; do echo "=said {self._name} $line"; done'
            " } >/dev/hvc0 2>/dev/null &"
        )
        self._machine.command(script).check(self._machine.name, self._name)

    def signal(self, word: str) -> Completed | None:
        """Signal all its processes, if it runs."""
        if not self.running:
            return None
        return self._machine.command(f'kill -{word} "-$(cat /run/lvslab-{self._name}.pid)"')

    def _heard(self, line: str) -> None:
        if line.startswith("=code "):
            status = int(line.split()[1])
            self.code = status if status < 128 else 128 - status
        else:
            self._hear(line)
