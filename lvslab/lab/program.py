"""A program of lvslab's own that runs in a node's network namespace: started, told to end, heard to
its last line.

Such a program prints "started", with what else there is to say, when it is ready; it ends when its
standard input is closed; its last line is a JSON object with its totals. It is a module that
imports nothing heavy, since it starts anew for each use.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from lvslab.errors import LabError
from lvslab.lab.nodes import LabHost

SPARE_SECONDS = 10.0
"""What a program gets beyond its own bounds before it is killed."""

_START_SECONDS = 15.0
_LAST_LINES = 3


class NodeProgram:
    """A running program, from its start to its last line; `close` leaves nothing behind.

    Attributes:
        greeting: what it said after "started".
    """

    def __init__(
        self,
        title: str,
        module: str,
        arguments: Sequence[str],
        node: LabHost | None,
        descriptors: Sequence[int] = (),
    ) -> None:
        """Start it; when this returns it is ready.

        Args:
            title: what errors call it.
            module: its full name.
            node: whose network namespace it runs in; None: that of the calling thread.
            descriptors: file descriptors that it inherits under their numbers.

        Raises:
            LabError: it did not start; the message is its own.
        """
        self._title = title
        command = [sys.executable, "-I", "-m", module, *arguments]
        if node is not None:
            command = ["mnexec", "-a", str(node.pid), *command]
        self._errors: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # a terminal's Ctrl-C reaches the program through this process only
            start_new_session=True,
            pass_fds=descriptors,
        )
        try:
            word, _, self.greeting = self._line(_START_SECONDS).partition(" ")
            if word != "started":
                raise self.broken("did not start")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The program's process: mnexec becomes the program it starts."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit status, minus the signal's number after a signal; None while it runs."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.code is None

    def tell_to_end(self) -> None:
        """Close its standard input."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def terminate(self, seconds: float) -> None:
        """End it with SIGTERM, and wait some seconds at most until it has written what it has."""
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def totals(self, seconds: float) -> dict[str, Any]:
        """What it prints at its end, awaited for some seconds.

        Raises:
            LabError: it ended in another way, or does not end.
        """
        line = self._line(seconds)
        if not line and self.running:
            with suppress(subprocess.TimeoutExpired):  # it may just be on its way out
                self._process.wait(1)
        try:
            code = self._process.wait(SPARE_SECONDS if line else 0)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self._title}: did not end within {seconds:g} s") from None
        if code != 0 or not line:
            raise self.broken(f"ended with {code}")
        totals: dict[str, Any] = json.loads(line)
        return totals

    def broken(self, what: str) -> LabError:
        """The error that says what it complained about last."""
        with suppress(subprocess.TimeoutExpired):  # it may just be on its way out
            self._process.wait(1)
        text = ""
        if not self._errors.closed:
            self._errors.seek(0)
            text = " / ".join(self._errors.read().strip().splitlines()[-_LAST_LINES:])
        return LabError(f"{self._title} {what}: {text or 'it said nothing'}")

    def close(self) -> None:
        """Leave no process behind."""
        if self.running:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _line(self, seconds: float) -> str:
        """The next line that it prints; empty when it ended or said nothing in time."""
        assert self._process.stdout is not None
        if select.select([self._process.stdout], [], [], seconds)[0]:
            return self._process.stdout.readline().strip()
        return ""
