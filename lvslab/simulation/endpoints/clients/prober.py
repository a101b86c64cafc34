"""The prober on a simulated host: attempts at fixed times whatever becomes of the earlier ones
(open loop), and lasting connections; its records are those of the real one.
"""

from __future__ import annotations

from pathlib import Path

from lvslab.runs.outage import Attempt as AttemptRecord
from lvslab.runs.outage import Beat as BeatRecord
from lvslab.runs.probes import write_attempts, write_beats
from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.endpoints.base import SECOND
from lvslab.simulation.endpoints.clients.attempts import Attempt, TcpAttempt, UdpFlow
from lvslab.simulation.endpoints.clients.lasting import Lasting
from lvslab.simulation.endpoints.clients.probing import Probing
from lvslab.simulation.endpoints.host import Host


class Prober:
    """A prober on a host, from `start` to `stop` and until what is under way then has ended.

    Attributes:
        attempts, beats: what came of it, in the order in which they ended; seconds since the epoch.
        stopping: nothing new is begun.
    """

    def __init__(self, host: Host, probing: Probing, *, epoch: int = 0) -> None:
        """
        Args:
            epoch: the calendar's zero, in nanoseconds since the epoch.

        Raises:
            UsageError: the service's address is none.
        """
        self.host, self.probing, self._epoch = host, probing, epoch
        self.target = address(probing.address)
        self.request = b"GET / HTTP/1.0\r\nHost: " + probing.host_header + b"\r\n\r\n"
        self.beat_request = b"GET / HTTP/1.1\r\nHost: " + probing.host_header + b"\r\n\r\n"
        self.attempts: list[AttemptRecord] = []
        self.beats: list[BeatRecord] = []
        self.stopping = False
        self._begun = self._begin = 0
        self._lasting = [Lasting(self, index) for index in range(probing.connections)]
        self._flows: list[UdpFlow] = []

    @property
    def begun(self) -> int:
        """How many attempts it has begun."""
        return self._begun

    @property
    def finished(self) -> bool:
        """Whether it was stopped and nothing is under way any more."""
        under_way = self._begun - len(self.attempts)
        return self.stopping and not under_way and not any(lasting.busy for lasting in self._lasting)

    def start(self, at: int | None = None) -> None:
        """The first attempt is planned for this time, in nanoseconds; None: now."""
        calendar, probing = self.host.calendar, self.probing
        self._begin = begin = calendar.now if at is None else at
        first = probing.ports[0] if probing.ports else None
        for index in range(probing.flows):
            port = None if first is None else first + index
            self._flows.append(UdpFlow(self, lasting=True, port=port))
        for index, lasting in enumerate(self._lasting):
            grid = begin + index * probing.heartbeat // len(self._lasting)
            lasting.plan(begin + index * probing.stagger, grid)
        if probing.interval is not None:
            calendar.at(begin, self._attempt)

    def stop(self) -> None:
        """Begin nothing new."""
        self.stopping = True
        for lasting in self._lasting:
            lasting.rest()

    def write(self, attempts: Path | None, beats: Path | None) -> None:
        """Write the records as the real prober does (docs/run-directory.md); None: not these.

        Raises:
            OSError: a file cannot be written.
        """
        if attempts is not None:
            write_attempts(attempts, self.attempts)
        if beats is not None:
            write_beats(beats, self.beats)

    def _attempt(self) -> None:
        """The next attempt's time has come."""
        if self.stopping or self.probing.interval is None:
            return
        calendar, planned = self.host.calendar, self.host.calendar.now
        number, self._begun = self._begun, self._begun + 1
        calendar.at(self._begin + self._begun * self.probing.interval, self._attempt)
        attempt: Attempt
        if self.probing.protocol == "tcp":
            attempt = TcpAttempt(self, planned, self._port(number))
        else:
            flow = self._flows[number % len(self._flows)] if self._flows else None
            flow = flow or UdpFlow(self, lasting=False, port=self._port(number))
            attempt = flow.ask(planned)
        if not attempt.done:
            calendar.after(self.probing.timeout, attempt.expire)

    def _port(self, number: int) -> int | None:
        """The local port of an attempt, None for the host's choice."""
        if self.probing.ports is None:
            return None
        low, high = self.probing.ports
        return low + number % (high - low + 1)

    # -- records -----------------------------------------------------------------------------------

    def record(self, attempt: Attempt, server: str, outcome: str) -> None:
        """An attempt has ended just now."""
        planned = self._seconds(attempt.planned)
        end = self._seconds(self.host.calendar.now)
        connect, first = self._maybe(attempt.connect), self._maybe(attempt.first)
        record = AttemptRecord(planned, planned, connect, first, end, attempt.port, server, outcome)
        self.attempts.append(record)

    def record_beat(self, lasting: Lasting, answered: int | None, server: str, outcome: str) -> None:
        """A heartbeat has ended, or a connection between two of them."""
        self.beats.append(
            BeatRecord(
                lasting.number,
                self._maybe(lasting.opened),
                lasting.port,
                self._seconds(lasting.planned),
                self._seconds(lasting.sent),
                self._maybe(answered),
                server,
                outcome,
            )
        )

    def _seconds(self, time: int) -> float:
        return (self._epoch + time) / SECOND

    def _maybe(self, time: int | None) -> float | None:
        return None if time is None else self._seconds(time)
