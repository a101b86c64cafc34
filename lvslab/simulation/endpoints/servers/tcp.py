"""A TCP server: a line for each line."""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.servers.program import Program
from lvslab.simulation.endpoints.tcp import Connection, Failure


class TcpServer(Program):
    """Answers each line that it gets with its name and the client that it sees, and closes when the
    client has.
    """

    def __init__(self, host: Host, ports: Sequence[int], name: str = "", *, think: int = 0) -> None:
        super().__init__(host, name, think=think)
        self.ports = tuple(ports)
        self._connections: dict[Connection, bytes] = {}

    @property
    def connections(self) -> int:
        """How many it has open."""
        return len(self._connections)

    def _open(self) -> None:
        self._connections.clear()
        for port in self.ports:
            self.host.tcp.listen(port, lambda: self)

    def _close(self) -> None:
        for port in self.ports:
            self.host.tcp.stop_listening(port)
        connections, self._connections = self._connections, {}
        for connection in connections:
            connection.close()

    def _pause(self) -> None:
        for connection in self._connections:
            connection.pause()

    def _resume(self) -> None:
        for connection in list(self._connections):
            connection.resume()

    # -- as an application -------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """A client is there."""
        if not self.alive:  # it was killed while the handshake was under way
            connection.abort()
            return
        self._connections[connection] = b""
        if self._frozen:
            connection.pause()

    def received(self, connection: Connection, data: bytes) -> None:
        """A client says something."""
        rest = self._respond(connection, self._connections[connection] + data)
        if connection in self._connections:
            self._connections[connection] = rest

    def ended(self, connection: Connection) -> None:
        """A client has said all."""
        self._later(self._end, connection)

    def failed(self, connection: Connection, failure: Failure) -> None:
        """A connection is gone."""
        self._connections.pop(connection, None)

    def _respond(self, connection: Connection, data: bytes) -> bytes:
        """Answer what is whole; the answer is the rest."""
        *lines, rest = data.split(b"\n")
        for _ in lines:
            self._later(self._say, connection, self._answer(connection.wire.peer, connection.wire.peer_port))
        return rest

    def _say(self, connection: Connection, data: bytes, last: bool = False) -> None:
        if connection in self._connections:
            self.served += 1
            connection.send(data)
            if last:
                self._end(connection)

    def _end(self, connection: Connection) -> None:
        if self._connections.pop(connection, None) is not None:
            connection.close()
