"""The prober in a client: what it shall do, typed; its start and its end. The program itself is
`lvslab.traffic.probe_program`.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from lvslab.errors import LabError, UsageError
from lvslab.lab.nodes import LabHost, LabMachine
from lvslab.lab.program import SPARE_SECONDS, NodeProgram
from lvslab.modes.base import Sysctl
from lvslab.traffic.tail import Tail

PROTOCOLS = ("tcp", "udp")
MAX_RATE = 5000.0
"""Attempts a second. On a slow machine one attempt costs 0.2 ms of processor time, so this is all
that one processor can do.
"""

_PORTS = (1024, 65535)
"""What a client may use; those that attempts go round in are kept out of the kernel's own choice,
so that they never meet.
"""


@dataclass(frozen=True)
class ProbeSpec:
    """What a prober does. Times are seconds.

    Attributes:
        address, port: the virtual service.
        servers: names whose answers are good: those of the real servers, and of a sorry server if
            it counts.
        protocol: "tcp" or "udp", of the attempts.
        rate: attempts a second; None: no attempts.
        timeout: of one attempt. Below 1 s, after which TCP sends a lost SYN again, so that a lost
            SYN is a failed attempt.
        ports: lowest and highest local port; the attempts go round in this range. None: the kernel
            chooses.
        flows: UDP only: this many sockets, each with a port of its own, take turns; 0: a new socket
            for each datagram. With `ports` they have the range's first ports.
        connections: long-lived TCP connections, never opened again when they end.
        stagger: between their openings.
        heartbeat: between two requests on one connection. One request at a time: while an answer is
            awaited none is sent.
        beat_timeout: after which a connection without an answer (or not established) is given up.
        seconds: after which the prober ends by itself, if nobody stops it before.
    """

    address: str
    port: int
    servers: tuple[str, ...]
    protocol: Literal["tcp", "udp"] = "tcp"
    rate: float | None = 1000.0
    timeout: float = 0.5
    ports: tuple[int, int] | None = None
    flows: int = 0
    connections: int = 0
    stagger: float = 0.01
    heartbeat: float = 0.2
    beat_timeout: float = 5.0
    seconds: float = 600.0

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise UsageError(f"prober: {problem}")

    @property
    def interval(self) -> float | None:
        """Seconds between two attempts, None without any."""
        return (
            None if self.rate is None else round(1e9 / self.rate) / 1e9
        )  # the program counts in whole nanoseconds

    @property
    def patience(self) -> float:
        """How long the prober may go on after it was told to stop, for what is under way."""
        return max(self.timeout if self.rate else 0.0, self.beat_timeout if self.connections else 0.0)

    def _problem(self) -> str | None:
        try:
            ipaddress.IPv4Address(self.address)
        except ValueError:
            return f"address '{self.address}' is not an IPv4 address"
        times = {
            name: getattr(self, name)
            for name in ("timeout", "stagger", "heartbeat", "beat_timeout", "seconds")
        }
        wrong = [
            name
            for name, value in times.items()
            if not (math.isfinite(value) and (value > 0 or (name == "stagger" and value == 0)))
        ]
        checks: list[tuple[bool, str]] = [
            (not 1 <= self.port <= 65535, f"port {self.port} is not between 1 and 65535"),
            (
                self.protocol not in PROTOCOLS,
                f"protocol '{self.protocol}' is not one of {', '.join(PROTOCOLS)}",
            ),
            (not self.servers, "servers: name at least one whose answer is good"),
            (bool(wrong), f"{', '.join(wrong)}: a positive number of seconds is expected"),
            (
                self.rate is not None and not 0 < self.rate <= MAX_RATE,
                f"rate {self.rate} is not above 0 and at most {MAX_RATE:g} a second",
            ),
            (self.flows < 0 or self.connections < 0, "flows and connections cannot be negative"),
            (
                self.rate is None and not self.connections,
                "neither a rate of attempts nor connections: nothing to do",
            ),
            (
                self.protocol == "udp" and self.connections > 0,
                "long-lived connections need protocol 'tcp'; use a second prober",
            ),
            (
                self.protocol == "tcp" and self.flows > 0,
                "flows are for protocol 'udp'; TCP attempts take turns with `ports`",
            ),
        ]
        if self.ports is not None:
            low, high = self.ports
            checks.append(
                (not 1 <= low <= high <= 65535, f"ports {low} to {high} are no range within 1 and 65535")
            )
            checks.append(
                (self.flows > high - low + 1, f"{self.flows} flows do not fit into ports {low} to {high}")
            )
        return next((text for failed, text in checks if failed), None)


def _own_choice(ports: tuple[int, int] | None) -> tuple[int, int]:
    """The ports that the kernel may choose itself, for connections that are not bound: the larger
    part beside the attempts' own.
    """
    least, most = _PORTS
    if ports is None:
        return _PORTS
    below, above = (least, ports[0] - 1), (ports[1] + 1, most)
    return max(below, above, key=lambda part: part[1] - part[0])


@dataclass(frozen=True)
class ProbeSummary:
    """What a prober says of itself at its end.

    Attributes:
        start: the planned time of the first attempt, seconds since the epoch.
        attempts: how many it started; `outcomes`: how they ended.
        beats: lines in the beats file; `opened`: connections that were established.
        scheduling: "fifo" (real-time priority), "nice" (higher priority) or "normal": what the
            machine granted. With the latter two starts may be late when guests are busy; the
            records show it.
        worst_start_error: seconds by which the latest attempt started too late.
        cpu_seconds: processor time used.
    """

    start: float
    attempts: int
    beats: int
    opened: int
    scheduling: str
    worst_start_error: float
    cpu_seconds: float
    outcomes: Mapping[str, int] = field(default_factory=dict)


class Prober:
    """A prober that runs in a client while the block is entered.

    Attributes:
        start: the planned time of the first attempt, seconds since the epoch.
    """

    def __init__(self, node: LabMachine, spec: ProbeSpec, attempts_path: Path, beats_path: Path) -> None:
        """Both files are written anew.

        Raises:
            UsageError: the node is not a host on the machine's own kernel.
        """
        if not isinstance(node, LabHost):
            raise UsageError(
                f"prober in {node.name}: it runs only in a client on the machine's own kernel; a guest's"
                " clock and user space are too slow for it: put it into another client"
            )
        self._node, self._spec = node, spec
        self._paths = (attempts_path.resolve(), beats_path.resolve())
        self._program: NodeProgram | None = None
        self._summary: ProbeSummary | None = None
        self._tail = Tail(self._paths[0])
        self.start = math.nan

    def __enter__(self) -> Prober:
        """Start it; when this returns the first attempt is about to go.

        Raises:
            LabError: it did not start; the message is its own.
        """
        low, high = _own_choice(self._spec.ports)
        widen = Sysctl("net.ipv4.ip_local_port_range", f"{low} {high}").fast()
        self._node.run(widen).check(self._node.name, widen)
        spec = json.dumps({**asdict(self._spec), "interval": self._spec.interval})
        arguments = [spec, *map(str, self._paths)]
        self._program = NodeProgram(self._title, "lvslab.traffic.probe_program", arguments, self._node)
        self.start = float(self._program.greeting)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it unless that was done. After an error in the block nothing is waited for, but what
        was measured is written.
        """
        assert self._program is not None
        try:
            if error is None:
                self.stop()
            else:
                self._program.terminate(self._spec.patience + 1)
        finally:
            self._program.close()

    @property
    def _title(self) -> str:
        return f"prober in {self._node.name}"

    @property
    def latest(self) -> tuple[float, float]:
        """Planned times of the latest attempts that have ended, served and failed; 0: none yet."""
        self._tail.read()
        return self._tail.last_ok, self._tail.last_failure

    @property
    def alive(self) -> bool:
        """Whether it is still probing."""
        return self._program is not None and self._program.running

    def check_alive(self) -> None:
        """Make sure that it is still probing.

        Raises:
            LabError: it has ended, by itself or by an accident.
        """
        if self.alive:
            return
        program = self._started()
        if program.code == 0:
            raise LabError(f"{self._title}: has ended after its {self._spec.seconds:g} s")
        raise program.broken("is not running")

    def stop(self) -> ProbeSummary:
        """Begin nothing new, wait for what is under way, and return the summary; again: the same
        summary.

        Raises:
            LabError: it ended in another way, or does not end.
        """
        if self._summary is None:
            program = self._started()
            program.tell_to_end()
            totals = program.totals(self._spec.patience + SPARE_SECONDS)
            self._summary = ProbeSummary(start=self.start, **totals)
        return self._summary

    def _started(self) -> NodeProgram:
        if self._program is None:
            raise LabError(f"{self._title}: not started; use it as a context manager")
        return self._program
