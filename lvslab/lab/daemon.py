"""A program that runs in a node in the foreground, started, listened to and ended: each line that
it says is stamped on arrival.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lvslab.control.base import ControlFile, HealthControl, HealthSettings
from lvslab.errors import LabError
from lvslab.ipvs.service import VirtualService
from lvslab.kernels import guestfiles
from lvslab.lab.stamps import Stamped, take_lines

if TYPE_CHECKING:
    from lvslab.lab.guest_process import GuestProcess
    from lvslab.lab.nodes import LabMachine

Listener = Callable[[float, str], None]
"""Takes the time when a line arrived, in seconds since the epoch, and the line. It is called by
another thread.
"""

_LAST_LINES = 5
_LOOK_SECONDS = 0.2
_KILL_SECONDS = 1.0
_LONGEST_LINE = 65536

_MOST_SAID = 64 << 20
"""Bytes of a program's output that are kept: a guest must not fill the machine's disk with it."""


def nobody(t: float, line: str) -> None:
    """A listener that does nothing."""


class Daemon:
    """A program in a node, as a context manager: started on entering, ended on leaving.

    Its files are written to `<node's folder>/<name>/`, and to `<logs>/<node>/` for those who read
    the run later; what it says goes to `<logs>/<node>/<name>.log`, a line each: seconds since the
    epoch, a space, the text.

    Attributes:
        name: of the program's folder and log.
        node: where it runs.
    """

    def __init__(
        self,
        node: LabMachine,
        name: str,
        command: str,
        files: Mapping[str, ControlFile],
        logs: Path,
        listener: Listener = nobody,
    ) -> None:
        """`command`: a line for /bin/sh that becomes the program (`exec`); `files`: what it needs,
        names within its folder.
        """
        self.node, self.name = node, name
        self._command, self._files, self._listener = command, files, listener
        self._logs = logs / node.name
        self._changed = threading.Condition()
        self._lines: list[tuple[float, str]] = []
        self._asked_to_end = False
        self._problem: Exception | None = None
        self._process: GuestProcess | subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the files and start the program; `await_lines` tells when it works. It can be
        started anew after its end.

        Raises:
            LabError: it runs already.
            GuestError: the node's kernel is dead, or already runs as many programs with live output
                as it can.
        """
        if self.running:
            raise LabError(f"{self.node.name}: {self.name} runs already; stop it first")
        folder = self.node.make_folder(self.name)
        self._logs.mkdir(parents=True, exist_ok=True)
        for place in (folder, self._logs):
            for name, file in self._files.items():
                guestfiles.write(place / name, file.text, 0o755 if file.executable else 0o644)
        for left in folder.glob("*pid"):  # of one that was killed: its number may be a zombie's, or another's
            guestfiles.remove(left)
        with self._changed:
            self._lines, self._asked_to_end = [], False
        self._process = self.node.popen(
            ["/bin/sh", "-c", self._command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        self._reader = take_lines(
            f"{self.node.name}-{self.name}", self._process.stdout, _LONGEST_LINE, self._take
        )

    def stop(self, timeout: float = 3.0) -> None:
        """End the program: SIGTERM, and SIGKILL when that was not enough within `timeout` seconds.

        It neither raises nor waits for long where the node's kernel is dead or frozen, and does
        nothing where the program has ended.
        """
        self._end(signal.SIGTERM, timeout)
        self._end(signal.SIGKILL, _KILL_SECONDS)
        if self._reader is not None and not self.running:
            self._reader.join(_KILL_SECONDS)

    def kill(self) -> None:
        """End the program by SIGKILL, as a fault: its death is asked for, and `check` says nothing
        about it.

        Raises:
            GuestError: the node's kernel is dead.
            LabError: it has not ended a second later.
        """
        with self._changed:
            self._asked_to_end = True
        self._send(signal.SIGKILL)
        try:
            if self._process is not None:
                self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            raise LabError(
                f"{self.node.name}: {self.name} does not end on SIGKILL; is its kernel frozen?"
            ) from None

    def _end(self, number: signal.Signals, timeout: float) -> None:
        if self._process is None or not self.running:
            return
        with self._changed:
            self._asked_to_end = True
        with suppress(LabError, OSError, subprocess.TimeoutExpired):
            self._send(number)
            self._process.wait(timeout)

    def _send(self, number: signal.Signals) -> None:
        """Signal all processes of the program, which has a session of its own."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        if not isinstance(process, subprocess.Popen):
            process.send_signal(number)
            return
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:  # mnexec has not made the session yet
            process.send_signal(number)

    # -- what it says ------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the program has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def lines(self) -> tuple[tuple[float, str], ...]:
        """What the program has said since its start: time of arrival and text."""
        with self._changed:
            return tuple(self._lines)

    def check(self) -> None:
        """Raise LabError if the program has ended unasked; the error tells its exit status and what
        it said last.

        An exception of the listener is raised here, too.
        """
        if self._process is None:
            raise LabError(f"{self.node.name}: {self.name} has not been started")
        if self._problem is not None:
            raise LabError(
                f"{self.node.name}: what {self.name} said could not be handled: {self._problem!r}"
            ) from self._problem
        if self.running or self._asked_to_end:
            return
        if self._reader is not None:
            self._reader.join(_KILL_SECONDS)  # for its last words
        code = self._process.poll()
        assert code is not None
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        last = [text for _, text in self.lines if text][-_LAST_LINES:]
        raise LabError(
            f"{self.node.name}: {self.name} {how}; it said last: {' | '.join(last) if last else 'nothing'}"
        )

    def await_line(self, pattern: str, timeout: float, since: float = 0.0) -> tuple[float, str]:
        """Wait for a line, said already or still to come, that the regular expression is found in.

        Args:
            timeout: seconds.
            since: only lines that arrived at this time or later count; seconds since the epoch.

        Returns:
            When the first such line arrived, and the line.

        Raises:
            LabError: it did not come in time, or the program ended.
        """
        return self.await_lines((pattern,), timeout, since)[0]

    def await_lines(
        self, patterns: Sequence[str], timeout: float, since: float = 0.0
    ) -> list[tuple[float, str]]:
        """`await_line` for several lines, in any order; a pattern that is there twice waits for two
        lines.

        Returns:
            The first line for each pattern.
        """
        deadline = time.monotonic() + timeout
        found: list[tuple[float, str] | None] = [None] * len(patterns)
        seen = 0
        while True:
            ended = not self.running
            if ended and self._reader is not None:
                self._reader.join(_KILL_SECONDS)  # for its last words
            with self._changed:
                new, seen = self._lines[seen:], len(self._lines)
            for t, text in new:
                for pattern in dict.fromkeys(patterns):
                    place = next(
                        (i for i, each in enumerate(patterns) if each == pattern and found[i] is None), None
                    )
                    if place is not None and t >= since and re.search(pattern, text):
                        found[place] = (t, text)
            missing = [pattern for pattern, line in zip(patterns, found, strict=True) if line is None]
            if not missing:
                return [line for line in found if line is not None]
            if ended:
                self.check()
                raise LabError(f"{self.node.name}: {self.name} was ended before it said '{missing[0]}'")
            rest = deadline - time.monotonic()
            if rest <= 0:
                last = self.lines[-1:]
                raise LabError(
                    f"{self.node.name}: {self.name} did not say '{missing[0]}' within {timeout:g} s; it said"
                    f" last: {last[0][1] if last else 'nothing'}; its log: {self._logs / self.name}.log"
                )
            with self._changed:
                self._changed.wait_for(lambda: len(self._lines) > seen, min(rest, _LOOK_SECONDS))  # noqa: B023

    def _take(self, lines: Stamped) -> None:
        with (self._logs / f"{self.name}.log").open("a") as log:
            size = 0
            for t, raw in lines:
                size += len(raw)
                if size > _MOST_SAID:
                    return
                text = raw.decode(errors="replace").rstrip()
                log.write(f"{t:.6f} {text}\n")
                log.flush()
                with self._changed:
                    self._lines.append((t, text))
                    self._changed.notify_all()
                try:
                    self._listener(t, text)
                except Exception as error:  # the program must not be held up by a line that nobody takes
                    self._problem = self._problem or error


def health_daemon(
    node: LabMachine,
    control: HealthControl,
    services: Sequence[VirtualService],
    settings: HealthSettings,
    logs: Path,
    listener: Listener = nobody,
) -> Daemon:
    """The daemon of a health control; await `control.ready(services, settings)` after its start.

    Raises:
        UsageError: the control cannot do what the settings ask for, or is none.
    """
    directory = node.inside / control.name
    return Daemon(
        node,
        control.name,
        control.command(directory),
        control.files(services, settings, directory),
        logs,
        listener,
    )
