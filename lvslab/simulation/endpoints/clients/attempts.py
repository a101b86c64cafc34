"""Attempts: one try to be served each, over a new TCP connection or with one datagram. What ends
how is as in the real prober (`lvslab.traffic.probing.attempts`).
"""

from __future__ import annotations

from typing import Protocol

from lvslab.errors import UsageError
from lvslab.runs.answers import body_of, is_success, server_of
from lvslab.simulation.endpoints.base import Problem
from lvslab.simulation.endpoints.clients.probing import Probing
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.tcp import Connection, Failure
from lvslab.simulation.endpoints.udp import Datagram

_QUESTION = b"lvslab probe\n"
_REFUSALS = (Problem.PORT_UNREACHABLE,)


class Attempting(Protocol):
    """The prober, as its attempts know it.

    Attributes:
        target: the service's address.
        request: what a TCP attempt asks.
    """

    @property
    def host(self) -> Host: ...
    @property
    def probing(self) -> Probing: ...
    @property
    def target(self) -> bytes: ...
    @property
    def request(self) -> bytes: ...

    def record(self, attempt: Attempt, server: str, outcome: str) -> None:
        """An attempt has ended just now."""
        ...


class Attempt:
    """One try to be served; times are nanoseconds, None is what did not happen."""

    __slots__ = ("connect", "done", "first", "planned", "port", "prober")

    def __init__(self, prober: Attempting, planned: int, port: int | None) -> None:
        self.prober, self.planned, self.port = prober, planned, port
        self.connect: int | None = None
        self.first: int | None = None
        self.done = False

    def finish(self, outcome: str, server: str = "") -> None:
        """It has ended."""
        self.done = True
        self.prober.record(self, server, outcome)

    def expire(self) -> None:
        """Its time is over."""
        if not self.done:
            self.give_up()

    def give_up(self) -> None:
        """End it without an answer."""
        raise NotImplementedError


class TcpAttempt(Attempt):
    """Connect, ask, read to the end, close."""

    __slots__ = ("_answer", "_connection")

    def __init__(self, prober: Attempting, planned: int, port: int | None) -> None:
        super().__init__(prober, planned, port)
        self._answer = b""
        host, target = prober.host, prober.target
        if host.source_for(target) is None:
            self.finish("unreachable")
            return
        try:
            self._connection = host.tcp.connect(self, target, prober.probing.port, local_port=port)
        except UsageError:  # no port is left
            self.finish("local")
            return
        self.port = self._connection.wire.local_port

    def connected(self, connection: Connection) -> None:
        """Ask."""
        self.connect = self.prober.host.calendar.now
        connection.send(self.prober.request)

    def received(self, connection: Connection, data: bytes) -> None:
        """A part of the answer."""
        if self.first is None:
            self.first = self.prober.host.calendar.now
        self._answer += data

    def ended(self, connection: Connection) -> None:
        """The answer is whole, or never will be."""
        connection.close()
        self._judge("wrong")

    def failed(self, connection: Connection, failure: Failure) -> None:
        """The connection is gone."""
        self._judge(failure.value)

    def _judge(self, otherwise: str) -> None:
        body = body_of(self._answer)
        if body is None:
            self.finish(otherwise)
            return
        server = server_of(body)
        good = server in self.prober.probing.servers and is_success(self._answer)
        self.finish("ok" if good else "wrong", server)

    def give_up(self) -> None:
        self._connection.abort()
        self.finish("timeout")


class UdpAttempt(Attempt):
    """A datagram and its answer."""

    __slots__ = ("_flow",)

    def __init__(self, flow: UdpFlow, planned: int) -> None:
        super().__init__(flow.prober, planned, flow.port)
        self._flow = flow

    def give_up(self) -> None:
        self._flow.settle(self, "timeout")


class UdpFlow:
    """A UDP port: of one attempt, or one that is used again and again. An answer carries nothing
    that says which datagram it answers, so it belongs to the latest one that waits; ICMP errors
    likewise.
    """

    __slots__ = ("_lasting", "_source", "_trouble", "_waiting", "port", "prober")

    def __init__(self, prober: Attempting, *, lasting: bool, port: int | None) -> None:
        """`port`: None for the host's choice."""
        self.prober, self._lasting, self.port = prober, lasting, port
        source = prober.host.source_for(prober.target)
        self._source, self._trouble = source or b"", "" if source else "unreachable"
        self._waiting: list[UdpAttempt] = []
        try:
            if port is None:
                self.port = prober.host.udp.bind_any(self)
            else:
                prober.host.udp.bind(port, self)
        except UsageError:  # the port is taken, or none is left
            self._trouble, self.port = "local", None

    def ask(self, planned: int) -> UdpAttempt:
        """Send a datagram."""
        attempt = UdpAttempt(self, planned)
        self._waiting.append(attempt)
        if self._trouble or self.port is None:
            self.settle(attempt, self._trouble)
        else:
            prober = self.prober
            prober.host.udp.send(self._source, self.port, prober.target, prober.probing.port, _QUESTION)
        return attempt

    def received(self, datagram: Datagram) -> None:
        """An answer has come. One from another address is nobody's, as with a connected socket."""
        if self._waiting and datagram.source == self.prober.target:
            attempt, server = self._waiting[-1], server_of(datagram.data)
            attempt.first = self.prober.host.calendar.now
            self.settle(attempt, "ok" if server in self.prober.probing.servers else "wrong", server)

    def failed(self, peer: bytes, peer_port: int, problem: Problem) -> None:
        """A datagram has met a problem."""
        if self._waiting:
            self.settle(self._waiting[-1], "refused" if problem in _REFUSALS else "unreachable")

    def settle(self, attempt: UdpAttempt, outcome: str, server: str = "") -> None:
        """An attempt of this flow has ended."""
        self._waiting.remove(attempt)
        if not self._lasting and self.port is not None:
            self.prober.host.udp.close(self.port)
        attempt.finish(outcome, server)
