"""Long-lived connections with their heartbeats."""

from __future__ import annotations

import errno
import heapq
import socket
from typing import Protocol

from lvslab.runs.answers import body_of, is_success, server_of
from lvslab.traffic.probing.answers import abort, outcome_of
from lvslab.traffic.probing.machine import now
from lvslab.traffic.probing.sockets import BLOCK, ENDED, ERROR, IN, OUT, WATCH_TCP, Watcher


class Connecting(Watcher, Protocol):
    """The loop, as long-lived connections know it. Times are nanoseconds.

    Attributes:
        beat_request: what a heartbeat asks; `heartbeat`: between two; `beat_timeout`: of each.
        agenda: when to wake which connection, a heap.
        busy_connections: how many open or await an answer.
        stopping: nothing new is begun.
    """

    beat_request: bytes
    heartbeat: int
    beat_timeout: int
    agenda: list[tuple[int, int, Connection]]
    busy_connections: int
    stopping: bool

    def record_beat(
        self, connection: Connection, answered: int | None, server: str, outcome: str
    ) -> None: ...


class Connection:
    """A connection that asks again and again, one request at a time; every outcome but "ok" is its
    end and its last line.

    Its heartbeats are planned on a grid of its own, so that the connections take turns. A time of
    the grid that passes while an answer is awaited is left out: the wait shows as one long
    heartbeat.
    """

    def __init__(self, prober: Connecting, index: int) -> None:
        self.prober, self.number = prober, index + 1
        self.state = "waiting"  # then opening, idle, asking, dead
        self.opened: int | None = None
        self.port: int | None = None
        self.planned = self.sent = self.grid = 0
        self.wake: int | None = None
        self.answer = b""
        self.sock: socket.SocketType | None = None

    def plan(self, opening: int, grid: int) -> None:
        """When to open, and a time of the grid of heartbeats."""
        self.grid = grid
        self._wake_at(opening)

    def _wake_at(self, at: int | None) -> None:
        self.wake = at
        if at is not None:
            heapq.heappush(self.prober.agenda, (at, self.number, self))

    def _change(self, state: str) -> None:
        busy = ("opening", "asking")
        self.prober.busy_connections += (state in busy) - (self.state in busy)
        self.state = state

    def due(self, at: int) -> None:
        """Its time has come: to open, to ask, or to give up."""
        if self.state == "waiting":
            self._open(at)
        elif self.state == "idle":
            self._ask(at)
        else:
            self._die("timeout")

    def rest(self) -> None:
        """Begin nothing new."""
        if self.state in ("waiting", "idle"):
            self._close()

    def _open(self, planned: int) -> None:
        self.planned, self.sent = planned, now()
        self._change("opening")
        try:
            self.sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            problem = self.sock.connect_ex(self.prober.target)
            if problem not in (0, errno.EINPROGRESS):
                raise OSError(problem, "connect")
            self.port = self.sock.getsockname()[1]
            self.prober.watch(self.sock.fileno(), self, WATCH_TCP)
        except OSError as error:
            self._die(outcome_of(error.errno))
            return
        self._wake_at(self.sent + self.prober.beat_timeout)

    def _ask(self, planned: int) -> None:
        assert self.sock is not None
        self.planned, self.sent, self.answer = planned, now(), b""
        self._change("asking")
        try:
            self.sock.send(self.prober.beat_request)
        except OSError as error:
            self._die(outcome_of(error.errno))
            return
        self._wake_at(self.sent + self.prober.beat_timeout)

    def _idle(self) -> None:
        """Wait for the next time of the grid."""
        self._change("idle")
        if self.prober.stopping:
            self._close()
            return
        heartbeat = self.prober.heartbeat
        self._wake_at(self.grid + max(0, -(-(now() - self.grid) // heartbeat)) * heartbeat)

    def ready(self, mask: int) -> None:
        """The socket can be written to or read from, or has failed."""
        sock = self.sock
        if sock is None:
            return
        try:
            if self.state == "opening":
                if mask & ERROR and (problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    raise OSError(problem, "connect")
                if not mask & OUT:
                    return
                self.opened = now()
                self._idle()
            while self.sock is not None and mask & (IN | ENDED | ERROR):
                data = sock.recv(BLOCK)
                self._take(data)
        except BlockingIOError:
            return
        except OSError as error:
            self._die(outcome_of(error.errno))

    def _take(self, data: bytes) -> None:
        """Bytes of an answer; none: the other side has closed."""
        if not data:
            self._die("wrong" if self.answer else "closed")
            return
        if self.state != "asking":  # nobody asked
            self._die("wrong")
            return
        self.answer += data
        body = body_of(self.answer)
        if body is None:
            return
        server = server_of(body)
        if server not in self.prober.servers or not is_success(self.answer):
            self._die("wrong", server)
            return
        self.prober.record_beat(self, now(), server, "ok")
        self.answer = b""
        self._idle()

    def _die(self, outcome: str, server: str = "") -> None:
        """It has ended, and this is its last line. Between two heartbeats the line's times are
        those of the end.
        """
        if self.state == "idle":
            self.planned = self.sent = now()
        self.prober.record_beat(self, None, server, outcome)
        self._close(outcome == "timeout" and self.opened is not None)

    def _close(self, by_reset: bool = False) -> None:
        self._change("dead")
        self._wake_at(None)
        if self.sock is not None:
            self.prober.owners.pop(self.sock.fileno(), None)
            if by_reset:
                abort(self.sock)
            else:
                self.sock.close()
            self.sock = None
