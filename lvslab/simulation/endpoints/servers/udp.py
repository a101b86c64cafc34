"""A UDP server: a datagram for each datagram."""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.simulation.endpoints.base import Problem
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.servers.program import Program
from lvslab.simulation.endpoints.udp import Datagram

_BUFFER = 212992
"""Octets that wait for a frozen program (net.core.rmem_default)."""

_OVERHEAD = 768
"""What a small datagram takes of that (truesize of a socket buffer)."""


class UdpServer(Program):
    """Answers each datagram with its name and the client that it sees."""

    def __init__(self, host: Host, ports: Sequence[int], name: str = "", *, think: int = 0) -> None:
        super().__init__(host, name, think=think)
        self.ports = tuple(ports)

    def _open(self) -> None:
        for port in self.ports:
            self.host.udp.bind(port, self)

    def _close(self) -> None:
        for port in self.ports:
            self.host.udp.close(port)

    def received(self, datagram: Datagram) -> None:
        """A datagram has come."""
        if len(self._backlog) < _BUFFER // (_OVERHEAD + len(datagram.data)):
            self._perform(self._later, self._reply, datagram)

    def failed(self, peer: bytes, peer_port: int, problem: Problem) -> None:
        """An answer did not arrive; it is the client's to ask again."""

    def _reply(self, datagram: Datagram) -> None:
        data = self._response(datagram)
        if data:
            self.served += 1
            self.host.udp.send(
                datagram.destination, datagram.port, datagram.source, datagram.source_port, data
            )

    def _response(self, datagram: Datagram) -> bytes:
        """Empty: no answer."""
        return self._answer(datagram.source, datagram.source_port)
