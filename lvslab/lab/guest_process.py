"""Programs in a guest whose output is seen as it comes."""

from __future__ import annotations

import io
import os
import select
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from typing import IO, Any

from lvslab.errors import LabError
from lvslab.kernels.machine import Guest


class GuestProcess:
    """A process with live output in a guest; mirrors subprocess.Popen.

    Attributes:
        stdout, stderr: readable pipes, or None when they were redirected.
        stdin: writable, raw, when it was asked for; else None.
        returncode: None while it runs; negative signal number when a signal ended it.
    """

    def __init__(
        self,
        guest: Guest,
        command: str,
        stdout: IO[Any] | int | None,
        stderr: IO[Any] | int | None,
        stdin: int | None,
    ) -> None:
        self._guest, self.args = guest, command
        self.returncode: int | None = None
        self._line, out, err = guest.take_line()
        self.stdin: io.RawIOBase | None = socket.SocketIO(out, "w") if stdin == subprocess.PIPE else None
        self._ended = threading.Event()
        self.stdout, out_end = self._sink(stdout)
        self.stderr, err_end = (None, out_end) if stderr == subprocess.STDOUT else self._sink(stderr)
        self.pid = guest.agent.start(command, self._line)
        self._pump = threading.Thread(target=self._copy, args=({out: out_end, err: err_end},), daemon=True)
        self._pump.start()

    @staticmethod
    def _sink(target: IO[Any] | int | None) -> tuple[IO[bytes] | None, int]:
        """The reading end for the caller, if any, and the descriptor to write to."""
        if target is None or target == subprocess.PIPE:
            read, write = os.pipe()
            return os.fdopen(read, "rb"), write
        if target == subprocess.DEVNULL:
            return None, os.open(os.devnull, os.O_WRONLY)
        return None, os.dup(target if isinstance(target, int) else target.fileno())

    def _copy(self, streams: dict[socket.socket, int]) -> None:
        """Copy live output until the process has ended and its lines are empty, or the guest is
        gone.
        """
        code: int | None = None
        lines = list(streams)
        while True:
            try:
                readable, _, _ = select.select(lines, [], [], 0 if code is not None else 0.05)
                for sock in readable:
                    data = sock.recv(65536)
                    if not data:  # the guest's end is closed: nobody is left in there
                        lines.remove(sock)
                    # the reader has lost interest, the process goes on
                    with suppress(BrokenPipeError):
                        os.write(streams[sock], data)
            except (OSError, ValueError):  # the guest was closed, its lines with it
                code = 128 + signal.SIGKILL
                break
            if code is not None and not readable:
                break
            if code is None and not readable:
                try:
                    code = self._guest.agent.wait(self.pid, timeout=0)
                except LabError:
                    code = 128 + signal.SIGKILL
        for descriptor in set(streams.values()):
            os.close(descriptor)
        self._guest.return_line(self._line)
        self.returncode = code if code < 128 else 128 - code
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Standard output and error, read to the end."""
        if input is not None:
            if self.stdin is None:
                raise ValueError("stdin was not a pipe")
            self.stdin.write(input)
        errors: list[bytes] = []
        reader = threading.Thread(
            target=lambda: errors.append(self.stderr.read() if self.stderr else b""), daemon=True
        )
        reader.start()
        out = self.stdout.read() if self.stdout else b""
        reader.join()
        self.wait(timeout)
        return out, errors[0]

    def send_signal(self, sig: int) -> None:
        """Send a signal to all processes of the command's session."""
        if self.returncode is None:
            self._guest.agent.signal(self.pid, signal.Signals(sig))

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
