"""Faults of real servers: killed, off, hung, slow, flapping."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lvslab.errors import LabError, UsageError
from lvslab.faults.base import Fault, broken, planned_node, power_cut, wait
from lvslab.lab.lab import Lab
from lvslab.lab.servers import start_nginx
from lvslab.modes.base import Role
from lvslab.runs.words import plural


@contextmanager
def server_killed(lab: Lab, server: str) -> Iterator[Fault]:
    """The server's program is killed: its kernel answers new connections with RST."""
    program = _Program(lab, server)

    def dead() -> str | None:
        return None if program.state() else f"process {program.pid} is gone"

    def mend() -> str:
        start_nginx(program.node)
        return f"{server}: web server started again"

    with broken(
        lab, server, f"{server}: web server killed", lambda: program.send(signal.SIGKILL), dead, mend
    ) as fault:
        yield fault


@contextmanager
def server_power_off(lab: Lab, server: str) -> Iterator[Fault]:
    """The server's machine is off: silence, not even ARP is answered."""
    planned_node(lab, server, Role.REAL_SERVER)
    with power_cut(lab, server, f"{server}: power off") as fault:
        yield fault


@contextmanager
def server_hung(lab: Lab, server: str) -> Iterator[Fault]:
    """The server's program is stopped (SIGSTOP): its kernel still completes connections, but nobody
    answers on them.
    """
    program = _Program(lab, server)

    def stopped() -> str | None:
        return f"process {program.pid} is stopped" if program.state() == "T" else None

    def mend() -> str:
        program.send(signal.SIGCONT)
        wait(lambda: program.state() not in ("T", None), f"{server}: its web server does not go on")
        return f"{server}: web server goes on"

    with broken(
        lab, server, f"{server}: web server hung", lambda: program.send(signal.SIGSTOP), stopped, mend
    ) as fault:
        yield fault


@contextmanager
def server_slow(lab: Lab, server: str, share: float = 0.1, period: float = 0.2) -> Iterator[Fault]:
    """The server runs only for a share of the time, stopped for the rest of every period (seconds):
    each answer may wait that long.

    In a guest the whole machine is slowed down, else the server's program.
    """
    if not 0 < share < 1 or not 0.01 <= period <= 10:
        raise UsageError(
            f"slow server: share {share:g} of {period:g} s; the share lies between 0 and 1, the period in"
            " 0.01..10 s"
        )
    program = _Program(lab, server)
    guest = lab.guest(server)
    stop: Callable[[], None] = guest.freeze if guest else lambda: program.send(signal.SIGSTOP)
    go_on: Callable[[], None] = guest.thaw if guest else lambda: program.send(signal.SIGCONT)
    rounds = 0
    with _Background(f"slow-{server}") as background:

        def stutter() -> None:
            nonlocal rounds
            try:
                while not background.ending.wait(period * share):
                    stop()
                    rounds += 1
                    background.ending.wait(period * (1 - share))
                    go_on()
            finally:
                go_on()

        text = f"{server}: slow, runs {share:.0%} of every {period * 1000:g} ms"
        proof = lambda: "stopped for the first time" if rounds else None  # noqa: E731

        def mend() -> str:
            background.end()
            wait(lambda: program.state() not in ("T", None), f"{server}: its web server does not go on")
            return f"{server}: as fast as before"

        with broken(lab, server, text, lambda: background.start(stutter), proof, mend) as fault:
            yield fault


@contextmanager
def server_flapping(
    lab: Lab, server: str, down: float = 1.0, up: float = 1.0, times: int = 1000
) -> Iterator[Fault]:
    """The server's program dies and comes back again and again: `down` and `up` seconds, at most
    `times` times.
    """
    program = _Program(lab, server)
    flaps = 0
    with _Background(f"flap-{server}") as background:

        def flap() -> None:
            nonlocal flaps
            while flaps < times and not background.ending.is_set():
                program.send(signal.SIGKILL)
                flaps += 1
                lab.tell("fault", f"{server}: web server killed, time {flaps}", server)
                background.ending.wait(down)
                start_nginx(program.node)
                program.refresh()
                lab.tell("repair", f"{server}: web server started again", server)
                background.ending.wait(up)

        def mend() -> str:
            background.end()
            wait(lambda: program.state() is not None, f"{server}: its web server is not running")
            return f"{server}: steady after {plural(flaps, 'flap')}"

        text = f"{server}: flapping, {down:g} s down, {up:g} s up"
        with broken(
            lab, server, text, lambda: background.start(flap), lambda: "killed" if flaps else None, mend
        ) as fault:
            yield fault


class _Program:
    """The web server of a real server."""

    def __init__(self, lab: Lab, server: str) -> None:
        planned_node(lab, server, Role.REAL_SERVER)
        self.node, self._guest = lab.node(server), lab.guest(server) is not None
        self.refresh()

    def refresh(self) -> None:
        """Read its process number anew: it was started again."""
        try:
            self.pid = int((self.node.directory / "nginx.pid").read_text())
        except (OSError, ValueError):
            raise LabError(f"{self.node.name}: its web server does not run; repair it first") from None

    def state(self) -> str | None:
        """Its state as proc(5) has it ("S", "T", …), or None if it is gone."""
        script = f'read -r line </proc/{self.pid}/stat && echo "${{line##*) }}"'
        if self._guest:
            out = self.node.run(script).out
        else:
            out = ""
            with suppress(OSError):
                out = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2]
        state = out[:1]
        return None if state in ("", "Z", "X") else state

    def send(self, sig: signal.Signals) -> None:
        """Send it a signal."""
        if self._guest:
            self.node.run(shlex.join(["kill", f"-{int(sig)}", str(self.pid)])).check(self.node.name, "kill")
        else:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)


class _Background:
    """A thread that goes on breaking things until the block is left; what it raises is raised
    there.
    """

    def __init__(self, name: str) -> None:
        self._name, self.ending = name, threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as problem:
                self._problem = problem

        self._thread = threading.Thread(target=guarded, name=self._name, daemon=True)
        self._thread.start()

    def __enter__(self) -> _Background:
        return self

    def end(self) -> None:
        """Stop breaking things; what was raised meanwhile is raised here, once."""
        self.ending.set()
        if self._thread:
            self._thread.join()
        problem, self._problem = self._problem, None
        if problem:
            raise problem

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.end()
        else:
            with suppress(Exception):  # the error under way says more
                self.end()
