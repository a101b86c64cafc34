"""The servers of a rehearsal at work in one node, and their breaking and mending."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from lvslab.errors import CannotError, LabError
from lvslab.lab.nodes import GuestNode, LabMachine
from lvslab.rehearse import farm_program
from lvslab.rehearse.seats import Listener

State = Literal["up", "killed", "hung"]

_START_SECONDS = 60.0
_ANSWER_SECONDS = 60.0
_CERTIFICATE = "farm.pem"
_GUEST_PYTHON = "/usr/bin/python3"


class Farm:
    """A running `farm_program`, as a context manager.

    Attributes:
        node: where it runs.
    """

    def __init__(self, node: LabMachine, listeners: Sequence[Listener], logs: Path) -> None:
        self.node, self._listeners, self._logs = node, tuple(listeners), logs
        self._process: Any = None

    def __enter__(self) -> Farm:
        folder = self.node.make_folder("farm")
        if any(listener.tls for listener in self._listeners):
            make_certificate(folder / _CERTIFICATE)
        plan = [
            {
                "id": number,
                "device": listener.device,
                "address": listener.address,
                "port": listener.port,
                "protocol": listener.protocol,
                "speaks": listener.speaks,
                "name": listener.server,
                "pages": {path: [status, text] for path, status, text in listener.pages},
                "certificate": _CERTIFICATE if listener.tls else None,
            }
            for number, listener in enumerate(self._listeners)
        ]
        (folder / "farm.json").write_text(json.dumps(plan))
        program = folder / "farm_program.py"
        shutil.copyfile(farm_program.__file__, program)
        inside = self.node.inside / "farm"
        python = _GUEST_PYTHON if isinstance(self.node, GuestNode) else sys.executable
        with (self._logs / f"farm-{self.node.name}.log").open("wb") as log:
            self._process = self.node.popen(
                [python, "-I", str(inside / program.name), str(inside / "farm.json")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        if self._line(_START_SECONDS) != "started":
            self._close()
            raise LabError(f"{self.node.name}: the servers did not start: {self._complaint()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def put(self, state: State, servers: Iterable[str]) -> None:
        """Break or mend servers by their names, at all their addresses and ports here.

        Raises:
            LabError: the program did not answer.
        """
        wanted = set(servers)
        numbers = [
            str(number) for number, listener in enumerate(self._listeners) if listener.server in wanted
        ]
        if not numbers:
            return
        self._process.stdin.write(f"{state} {' '.join(numbers)}\n".encode())
        self._process.stdin.flush()
        if self._line(_ANSWER_SECONDS) != "done":
            raise LabError(f"{self.node.name}: the servers cannot be made {state}: {self._complaint()}")

    def check(self) -> None:
        """Raise LabError if the program has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise LabError(f"{self.node.name}: the servers have ended: {self._complaint()}")

    def _line(self, seconds: float) -> str:
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return ""
        return str(self._process.stdout.readline().decode(errors="replace").strip())

    def _complaint(self) -> str:
        said = (self._logs / f"farm-{self.node.name}.log").read_text(errors="replace").strip()
        return said.splitlines()[-1] if said else "it said nothing"

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            with suppress(LabError, OSError):
                process.kill()


def make_certificate(file: Path) -> None:
    """A key and a certificate that it signs itself, for servers that are to speak TLS.

    Raises:
        CannotError: openssl is not there.
    """
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", "/CN=rehearsal", "-keyout", str(file), "-out", f"{file}.crt"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise CannotError(
            "a service speaks TLS, and its certificate needs openssl, which is not there; see: lvslab check"
        ) from None
    with file.open("ab") as both:
        both.write(Path(f"{file}.crt").read_bytes())
    file.chmod(0o644)
