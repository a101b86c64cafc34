"""The prober: a program of its own, run in a client's namespace; needs nothing but the standard
library.

usage: python -m lvslab.traffic.probe_program SPEC ATTEMPTS.csv BEATS.csv   (SPEC: JSON, see
`lvslab.traffic.prober.ProbeSpec`)

It asks a virtual service at a fixed rate over a new connection (TCP) or datagram (UDP) each, and
keeps long-lived connections busy with heartbeats. The loop is open: attempt k is planned at t0 + k
* interval whatever the answers do. When the program itself is late it starts all overdue attempts
  at once, and the records show both the planned and the real start.

It runs until standard input is closed or a line "stop" arrives, until SIGTERM, or until `seconds`
have passed; then it begins nothing new, waits for what is under way (each attempt and heartbeat is
bounded by its own timeout), writes everything and exits with 0. Standard output: "started T0"
before the first attempt, one JSON object with totals at the end.

Outcomes: ok; refused (RST to the SYN, or ICMP port unreachable); reset (RST before the whole
answer); timeout; wrong (not an expected server's answer, or an orderly end before the whole of it);
unreachable (ICMP, no route, or a neighbour that is known to be missing; a first search for a
neighbour takes 3 s, which is a timeout); local (this machine could not start it); closed (only
long-lived connections: an orderly end before a byte of an answer). After a whole answer an RST
counts as its end; an end that never comes is a timeout.

An attempt's timeout should stay below 1 s, after which TCP sends a lost SYN again: then a lost SYN
is a failed attempt, not a slow one. A connection that timed out after it was established is reset,
so that it does not hold its port.

All times are readings of CLOCK_MONOTONIC plus one offset to the epoch taken at the start, so they
never jump.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

from lvslab.traffic.probing.loop import Prober
from lvslab.traffic.probing.machine import SECOND, prefer_me
from lvslab.traffic.probing.sockets import BLOCK, IN


class StandardInput:
    """Stops the prober at its end and at a line "stop"."""

    def __init__(self, prober: Prober) -> None:
        self._prober, self._text = prober, b""
        with suppress(
            PermissionError
        ):  # epoll watches no files, /dev/null among them: then `seconds` or a signal is the end
            prober.watch(0, self, IN)
            os.set_blocking(0, False)

    def ready(self, mask: int) -> None:
        try:
            data = os.read(0, BLOCK)
        except BlockingIOError:
            return
        self._text += data
        if not data or b"stop" in self._text.splitlines():
            self._prober.epoll.unregister(0)
            self._prober.stop()


class Signals:
    """Stops the prober at SIGTERM and SIGINT."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        prober.watch(self._read, self, IN)

    def ready(self, mask: int) -> None:
        os.read(self._read, BLOCK)
        self._prober.stop()


def say(line: str) -> None:
    """A line for whoever started this; that he has gone is no reason to lose records."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the program's life


def fail(message: str) -> NoReturn:
    """End with a message."""
    print(f"prober: {message}", file=sys.stderr)
    raise SystemExit(1)


def main(arguments: list[str]) -> None:
    if len(arguments) != 3:
        fail("usage: probe_program SPEC ATTEMPTS.csv BEATS.csv")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        prober = Prober(json.loads(arguments[0]), arguments[1], arguments[2])
        Signals(prober)
        StandardInput(prober)
        scheduling = prefer_me()
        gc.disable()
        gc.freeze()
        prober.run(lambda start: say(f"started {start:.6f}"))
    except OSError as error:
        fail(f"{error.filename or error.strerror}: {os.strerror(error.errno or 0)}")
    totals = {
        "attempts": prober.count,
        "outcomes": dict(prober.outcomes),
        "beats": prober.beat_count,
        "opened": sum(connection.opened is not None for connection in prober.connections),
        "scheduling": scheduling,
        "worst_start_error": prober.worst / SECOND,
        "cpu_seconds": time.process_time(),
    }
    say(json.dumps(totals))


if __name__ == "__main__":
    main(sys.argv[1:])
