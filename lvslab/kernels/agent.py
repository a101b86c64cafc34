"""The host's end of the line to a guest's agent (guest/agent.sh): jobs with exit codes over a
serial line.

Commands and results travel as files in a folder that both sides see, because a tty does not carry
large data whole; the serial line only rings the bell. User-Mode Linux loses the interrupt of a line
now and then when its network cards are busy, so every bell is acknowledged and an empty line is
sent after one that was not heard.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lvslab.errors import GuestError
from lvslab.host.completed import Completed
from lvslab.kernels import guestfiles

_NUDGE = 0.02
"""Seconds after which an unheard bell is followed by an empty line; doubled each time."""

_LONGEST_LINE = 4096
_MOST_PROBLEMS = 8
"""A guest that says more is not heard out."""

_SIGNAL_PATIENCE = 1.0
_START_PATIENCE = 10.0


@dataclass
class _Job:
    ended: threading.Event = field(default_factory=threading.Event)
    code: int | None = None


class Agent:
    """Jobs in one guest.

    Attributes:
        name: the guest's name, for messages.
        ready: set when the guest runs jobs, and when it is lost.
        came_up: whether it ever ran jobs.
        began: set when the guest's process 1 speaks for the first time.
    """

    def __init__(self, name: str, line: socket.socket, jobs: Path, why_lost: Callable[[], str]) -> None:
        """`jobs`: existing folder, where the guest writes too; `why_lost` explains, when a guest is
        gone, what its console said last.
        """
        self.name, self.ready, self.began = name, threading.Event(), threading.Event()
        self._line, self._directory, self._why_lost = line, jobs, why_lost
        self._jobs: dict[int, _Job] = {}
        self._next = self._bells = 0
        self._unheard: dict[int, threading.Event] = {}
        self._lock = threading.Lock()
        self._lost = self.came_up = False
        self._problems: list[str] = []
        self._reader = threading.Thread(target=self._read, name=f"agent-{name}", daemon=True)
        self._reader.start()

    # -- the guest speaks --------------------------------------------------------------------------

    def _read(self) -> None:
        rest = b""
        while True:
            try:
                data = self._line.recv(65536)
            except OSError:
                data = b""
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:_LONGEST_LINE]
            for line in lines:
                word, *arguments = line.strip().decode(errors="replace").split() or [""]
                self._heard(word, arguments)
        self.lose()

    def lose(self) -> None:
        """The guest is gone: wake everybody who waits for it."""
        self._lost = True
        self.began.set()
        self.ready.set()
        with self._lock:
            for job in self._jobs.values():
                job.ended.set()
            for heard in self._unheard.values():
                heard.set()

    def _heard(self, word: str, arguments: list[str]) -> None:
        if word == "=init":
            self.began.set()
        elif word == "=up":
            self.came_up = True
            self.ready.set()
        elif word == "=problem":
            self._note(" ".join(arguments))
        elif word == "=heard" and arguments[:1] and arguments[0].isdigit():
            with self._lock:
                heard = self._unheard.pop(int(arguments[0]), None)
            if heard:
                heard.set()
        elif word == "=ended":
            try:
                job, code = self._jobs[int(arguments[0])], int(arguments[1])
            except (ValueError, IndexError, KeyError):
                self._note(f"agent's line (heard: {word} {' '.join(arguments)})")
                return
            job.code = code
            job.ended.set()

    def _note(self, problem: str) -> None:
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(problem)

    # -- the host speaks ---------------------------------------------------------------------------

    def wait_ready(self, deadline: float) -> None:
        """Wait until the guest runs jobs.

        Args:
            deadline: on the clock of `time.monotonic`.

        Raises:
            GuestError: it died, could not set itself up, or was not ready in time.
        """
        seconds = max(0.0, deadline - time.monotonic())
        self.ready.wait(seconds)
        self.check_ready(seconds)

    def check_ready(self, waited: float) -> None:
        """What has become of the guest, `waited` seconds after somebody began to wait for it.

        Raises:
            GuestError: it died, could not set itself up, or is not ready.
        """
        if not self.ready.is_set():
            raise GuestError(
                f"{self.name}: guest kernel hung at boot, or is slow here: not ready within {waited:.1f} s;"
                f" {self._why_lost()}"
            )
        self.check_alive()
        if self._problems:
            raise GuestError(
                f"{self.name}: the guest could not set up its {' and '.join(self._problems)};"
                f" {self._why_lost()}"
            )

    def check_alive(self) -> None:
        """Raise GuestError if the guest is gone."""
        if self._lost:
            raise GuestError(f"{self.name}: guest kernel died; {self._why_lost()}")

    def run(self, script: str, timeout: float) -> Completed:
        """Run a /bin/sh script (busybox ash) to its end.

        Args:
            script: sourced by a subshell of the agent; it may use several lines.
            timeout: seconds.

        Raises:
            GuestError: the guest died or did not answer within the timeout.
        """
        number, job = self._submit(script)
        deadline = time.monotonic() + timeout
        self._ring(f"run {number}", timeout)
        if not job.ended.wait(max(0.0, deadline - time.monotonic())):
            raise GuestError(
                f"{self.name}: no answer within {timeout:g} s to: {script.strip().splitlines()[-1]};"
                f" {self._why_lost()}"
            )
        return self._collect(number, job)

    def start(self, script: str, line: int) -> int:
        """Start a script in a session of its own, its standard streams on serial lines `line` and
        `line` + 1; returns the job's number.
        """
        number, _ = self._submit(script)
        self._ring(f"start {number} {line}", _START_PATIENCE)
        return number

    def signal(self, number: int, sig: signal.Signals) -> None:
        """Send a signal to all processes of a started job; a guest that stands still takes it when
        it goes on.
        """
        self._ring(f"signal {number} {int(sig)}", _SIGNAL_PATIENCE)

    def wait(self, number: int, timeout: float | None) -> int | None:
        """Exit status of a started job (128 + signal when a signal ended it), or None when
        `timeout` seconds were not enough.

        Raises:
            GuestError: the guest died meanwhile.
        """
        job = self._jobs[number]
        if not job.ended.wait(timeout):
            return None
        if job.code is None:
            self.check_alive()
        return job.code

    def close(self) -> None:
        """End the line and its reader."""
        self._line.close()

    def _submit(self, script: str) -> tuple[int, _Job]:
        self.check_alive()
        with self._lock:
            number = self._next = self._next + 1
            job = self._jobs[number] = _Job()
        guestfiles.write(self._directory / f"{number}.sh", script if script.endswith("\n") else script + "\n")
        return number, job

    def _ring(self, line: str, patience: float) -> None:
        """Send a line and wait until it was heard, at most `patience` seconds."""
        heard = threading.Event()
        with self._lock:
            bell = self._bells = self._bells + 1
            self._unheard[bell] = heard
        self._send(f"{bell} {line}\n".encode())
        deadline, pause = time.monotonic() + patience, _NUDGE
        while (
            not heard.wait(min(pause, max(0.0, deadline - time.monotonic()))) and time.monotonic() < deadline
        ):
            self._send(b"\n")
            pause *= 2

    def _send(self, data: bytes) -> None:
        try:
            self._line.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass  # nobody has read for long: unheard, like a bell whose interrupt was lost
        except OSError:
            self._lost = True
        self.check_alive()

    def _collect(self, number: int, job: _Job) -> Completed:
        if job.code is None:
            self.check_alive()
        paths = [self._directory / f"{number}.{kind}" for kind in ("out", "err", "sh")]
        try:
            out, err = map(guestfiles.read, paths[:2])
        finally:
            for path in paths:
                guestfiles.remove(path)
            with self._lock:
                del self._jobs[number]
        return Completed(job.code if job.code is not None else 255, out, err)
