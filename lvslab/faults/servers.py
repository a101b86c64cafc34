"""Faults of real servers: killed, off, hung, slow, flapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lvslab.errors import UsageError
from lvslab.faults.base import Fault, broken, planned_node, power_cut, wait
from lvslab.lab.clock import Steps
from lvslab.lab.worlds import AnyLab, WebServer
from lvslab.modes.base import Role
from lvslab.runs.words import plural


@contextmanager
def server_killed(lab: AnyLab, server: str) -> Iterator[Fault]:
    """The server's program is killed: its kernel answers new connections with RST."""
    web = _web_server(lab, server)

    def dead() -> str | None:
        return None if web.state else f"{web.title} is gone"

    def mend() -> str:
        web.start()
        return f"{server}: web server started again"

    with broken(lab, server, f"{server}: web server killed", web.kill, dead, mend) as fault:
        yield fault


@contextmanager
def server_power_off(lab: AnyLab, server: str) -> Iterator[Fault]:
    """The server's machine is off: silence, not even ARP is answered."""
    planned_node(lab, server, Role.REAL_SERVER)
    with power_cut(lab, server, f"{server}: power off") as fault:
        yield fault


@contextmanager
def server_hung(lab: AnyLab, server: str) -> Iterator[Fault]:
    """The server's program is stopped (SIGSTOP): its kernel still completes connections, but nobody
    answers on them.
    """
    web = _web_server(lab, server)

    def stopped() -> str | None:
        return f"{web.title} is stopped" if web.state == "T" else None

    def mend() -> str:
        web.go_on()
        _await_going(lab, server, web)
        return f"{server}: web server goes on"

    with broken(lab, server, f"{server}: web server hung", web.stop, stopped, mend) as fault:
        yield fault


@contextmanager
def server_slow(lab: AnyLab, server: str, share: float = 0.1, period: float = 0.2) -> Iterator[Fault]:
    """The server runs only for a share of the time, stopped for the rest of every period (seconds):
    each answer may wait that long.

    In a guest the whole machine is slowed down, else the server's program.
    """
    if not 0 < share < 1 or not 0.01 <= period <= 10:
        raise UsageError(
            f"slow server: share {share:g} of {period:g} s; the share lies between 0 and 1, the period in"
            " 0.01..10 s"
        )
    web, own_kernel = _web_server(lab, server), lab.plan.node(server).is_guest
    stop: Callable[[], None] = (lambda: lab.freeze(server)) if own_kernel else web.stop
    go_on: Callable[[], None] = (lambda: lab.thaw(server)) if own_kernel else web.go_on
    rounds = 0

    def stutter() -> Steps:
        nonlocal rounds
        while True:
            yield period * share
            stop()
            rounds += 1
            try:
                yield period * (1 - share)
            finally:
                go_on()

    with lab.clock.alongside(f"slow-{server}", stutter()) as background:

        def mend() -> str:
            background.end()
            _await_going(lab, server, web)
            return f"{server}: as fast as before"

        text = f"{server}: slow, runs {share:.0%} of every {period * 1000:g} ms"
        proof = lambda: "stopped for the first time" if rounds else None  # noqa: E731
        with broken(lab, server, text, background.start, proof, mend) as fault:
            yield fault


@contextmanager
def server_flapping(
    lab: AnyLab, server: str, down: float = 1.0, up: float = 1.0, times: int = 1000
) -> Iterator[Fault]:
    """The server's program dies and comes back again and again: `down` and `up` seconds, at most
    `times` times.
    """
    web = _web_server(lab, server)
    flaps = 0

    def flap() -> Steps:
        nonlocal flaps
        while flaps < times:
            web.kill()
            flaps += 1
            lab.tell("fault", f"{server}: web server killed, time {flaps}", server)
            try:
                yield down
            finally:
                web.start()
                lab.tell("repair", f"{server}: web server started again", server)
            yield up

    with lab.clock.alongside(f"flap-{server}", flap()) as background:

        def mend() -> str:
            background.end()
            wait(lab, lambda: web.state is not None, f"{server}: its web server is not running")
            return f"{server}: steady after {plural(flaps, 'flap')}"

        text = f"{server}: flapping, {down:g} s down, {up:g} s up"
        proof = lambda: "killed" if flaps else None  # noqa: E731
        with broken(lab, server, text, background.start, proof, mend) as fault:
            yield fault


def _web_server(lab: AnyLab, server: str) -> WebServer:
    planned_node(lab, server, Role.REAL_SERVER)
    return lab.web_server(server)


def _await_going(lab: AnyLab, server: str, web: WebServer) -> None:
    wait(lab, lambda: web.state not in ("T", None), f"{server}: its web server does not go on")
