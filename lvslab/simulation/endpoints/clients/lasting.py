"""Lasting connections with their heartbeats. What ends how is as in the real prober
(`lvslab.traffic.probing.connection`).
"""

from __future__ import annotations

from typing import Protocol

from lvslab.errors import UsageError
from lvslab.runs.answers import body_of, is_success, server_of
from lvslab.simulation.endpoints.clients.probing import Probing
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.tcp import Connection, Failure
from lvslab.simulation.endpoints.timer import Timer


class Connecting(Protocol):
    """The prober, as its lasting connections know it.

    Attributes:
        beat_request: what a heartbeat asks.
        stopping: nothing new is begun.
    """

    @property
    def host(self) -> Host: ...
    @property
    def probing(self) -> Probing: ...
    @property
    def target(self) -> bytes: ...
    @property
    def beat_request(self) -> bytes: ...
    @property
    def stopping(self) -> bool: ...

    def record_beat(self, lasting: Lasting, answered: int | None, server: str, outcome: str) -> None:
        """A heartbeat has ended, or a connection between two of them."""
        ...


class Lasting:
    """A connection that asks again and again; every outcome but "ok" is its end and its last
    record.

    Its heartbeats are planned on a grid of its own. A time of the grid that passes while an answer
    is awaited is left out: the wait shows as one long heartbeat.

    Attributes:
        number: from 1.
        planned, sent, opened: of the heartbeat under way, and when the connection was established;
            nanoseconds.
    """

    __slots__ = (
        "_answer",
        "_connection",
        "_grid",
        "_prober",
        "_state",
        "_timer",
        "number",
        "opened",
        "planned",
        "port",
        "sent",
    )

    def __init__(self, prober: Connecting, index: int) -> None:
        self._prober, self.number = prober, index + 1
        self._state = "waiting"  # then opening, idle, asking, dead
        self.opened: int | None = None
        self.port: int | None = None
        self.planned = self.sent = self._grid = 0
        self._answer = b""
        self._connection: Connection | None = None
        self._timer = Timer(prober.host.calendar, self._due)

    @property
    def busy(self) -> bool:
        """Whether it awaits something."""
        return self._state in ("opening", "asking")

    def plan(self, opening: int, grid: int) -> None:
        """When to open, and a time of the grid of heartbeats."""
        self._grid, self.planned = grid, opening
        self._timer.set(opening - self._now)

    def rest(self) -> None:
        """Begin nothing new."""
        if self._state in ("waiting", "idle"):
            self._close()

    @property
    def _now(self) -> int:
        return self._prober.host.calendar.now

    def _due(self) -> None:
        """Its time has come: to open, to ask, or to give up."""
        if self._state == "waiting":
            self._open()
        elif self._state == "idle":
            self._ask()
        else:
            self._die("timeout")

    def _open(self) -> None:
        prober, host = self._prober, self._prober.host
        self.sent, self._state = self._now, "opening"
        if host.source_for(prober.target) is None:
            self._die("unreachable")
            return
        try:
            self._connection = host.tcp.connect(self, prober.target, prober.probing.port)
        except UsageError:  # no port is left
            self._die("local")
            return
        self.port = self._connection.wire.local_port
        self._timer.set(prober.probing.beat_timeout)

    def _ask(self) -> None:
        assert self._connection is not None
        self.planned = self.sent = self._now
        self._answer, self._state = b"", "asking"
        self._timer.set(self._prober.probing.beat_timeout)
        self._connection.send(self._prober.beat_request)

    def _idle(self) -> None:
        """Wait for the next time of the grid."""
        self._state = "idle"
        if self._prober.stopping:
            self._close()
            return
        heartbeat = self._prober.probing.heartbeat
        passed = max(0, -(-(self._now - self._grid) // heartbeat))
        self._timer.set(self._grid + passed * heartbeat - self._now)

    # -- as an application -------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """It stands."""
        self.opened = self._now
        self._idle()

    def received(self, connection: Connection, data: bytes) -> None:
        """Octets of an answer."""
        if self._state != "asking":  # nobody asked
            self._die("wrong")
            return
        self._answer += data
        body = body_of(self._answer)
        if body is None:
            return
        server = server_of(body)
        if server not in self._prober.probing.servers or not is_success(self._answer):
            self._die("wrong", server)
            return
        self._prober.record_beat(self, self._now, server, "ok")
        self._answer = b""
        self._idle()

    def ended(self, connection: Connection) -> None:
        """The other side has closed it."""
        self._die("wrong" if self._answer else "closed")

    def failed(self, connection: Connection, failure: Failure) -> None:
        """It is gone."""
        self._die(failure.value)

    def _die(self, outcome: str, server: str = "") -> None:
        """It has ended, and this is its last record. Between two heartbeats its times are those of
        the end.
        """
        if self._state == "idle":
            self.planned = self.sent = self._now
        self._prober.record_beat(self, None, server, outcome)
        self._close(by_reset=outcome == "timeout")

    def _close(self, *, by_reset: bool = False) -> None:
        self._state = "dead"
        self._timer.cancel()
        if self._connection is not None:
            if by_reset:
                self._connection.abort()
            else:
                self._connection.close()
