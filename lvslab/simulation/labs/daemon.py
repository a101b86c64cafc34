"""A daemon of a director in virtual time: a `lvslab.lab.director.AnyDaemon`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lvslab.errors import LabError
from lvslab.kernels import confinement, guestfiles
from lvslab.lab.director import DaemonPlan
from lvslab.simulation.labs.clock import VirtualClock
from lvslab.simulation.labs.said import Program
from lvslab.simulation.machine import Machine

_STOP_SECONDS, _KILL_SECONDS, _LOOK = 3.0, 1.0, 0.1
_LAST_LINES = 5


class VirtualDaemon:
    """A program with its files, which is heard.

    Attributes:
        name: of its folder and log.
    """

    def __init__(
        self,
        machine: Machine,
        clock: VirtualClock,
        planned: DaemonPlan,
        logs: Path,
        listener: Callable[[float, str], None],
    ) -> None:
        self.name = planned.name
        self._machine, self._clock, self._planned, self._listener = machine, clock, planned, listener
        self._logs = logs / machine.name
        self._program = Program(machine, planned.name, self._hear)
        self._lines: list[str] = []
        self._asked_to_end = False

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._program.running

    def start(self) -> None:
        """Write its files and start it; `await_lines` tells when it works.

        Raises:
            LabError: it runs already, or its director is off.
        """
        if self.running:
            raise LabError(f"{self._machine.name}: {self.name} runs already; stop it first")
        folder = self._machine.share / self.name
        if not folder.exists():
            guestfiles.make_folder(folder)
            confinement.give(folder)
        self._logs.mkdir(parents=True, exist_ok=True)
        for name, file in self._planned.files.items():
            mode = 0o755 if file.executable else 0o644
            guestfiles.write(folder / name, file.text, mode)
            (self._logs / name).write_text(file.text)
        self._lines, self._asked_to_end = [], False
        self._program.start(self._planned.command)

    def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL when that was not enough."""
        self._asked_to_end = True
        for word, seconds in (("TERM", _STOP_SECONDS), ("KILL", _KILL_SECONDS)):
            if self._program.signal(word) is None:
                return
            self._clock.wait(lambda: not self.running, seconds, _LOOK)

    def check(self) -> None:
        """Raise LabError if it has ended unasked; the error tells what it said last."""
        if not self.running and not self._asked_to_end:
            last = [line for line in self._lines if line][-_LAST_LINES:]
            raise LabError(
                f"{self._machine.name}: {self.name} ended with status {self._program.code}; it said last:"
                f" {' | '.join(last) or 'nothing'}"
            )

    def await_lines(self, patterns: Sequence[str], timeout: float) -> None:
        """Wait for lines, said already or still to come, that regular expressions are found in; a
        pattern that is there twice waits for two lines.

        Raises:
            LabError: they did not come in time, or the program ended.
        """

        def missing() -> str | None:
            for pattern in patterns:
                said = sum(bool(re.search(pattern, line)) for line in self._lines)
                if said < patterns.count(pattern):
                    return pattern
            return None

        self._clock.wait(lambda: not missing() or not self.running, timeout, _LOOK)
        pattern = missing()
        if pattern is None:
            return
        self.check()
        raise LabError(
            f"{self._machine.name}: {self.name} did not say '{pattern}' within {timeout:g} s of virtual time;"
            f" it said last: {self._lines[-1] if self._lines else 'nothing'}"
        )

    def _hear(self, line: str) -> None:
        t = self._clock.now()
        self._lines.append(line)
        with (self._logs / f"{self.name}.log").open("a") as log:
            log.write(f"{t:.9f} {line}\n")
        self._listener(t, line)
