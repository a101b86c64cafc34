"""The TCP of a host: ports, and the way of segments to their connections."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from lvslab.errors import UsageError
from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints.base import SECOND, Machine, Packet, Problem
from lvslab.simulation.endpoints.checksums import transport_checksum
from lvslab.simulation.endpoints.path import Path
from lvslab.simulation.endpoints.tcp.connection import Application, Connection, State
from lvslab.simulation.endpoints.tcp.segment import ACK, HEADER, RST, SYN, Segment, parse
from lvslab.simulation.endpoints.tcp.settings import TcpSettings
from lvslab.simulation.endpoints.tcp.wire import Wire
from lvslab.simulation.endpoints.udp import FIRST_PORT, LAST_PORT

TCP = 6
_MASK = 0xFFFFFFFF

_OFTEN = SECOND


class Tcp:
    """The TCP of a host.

    Attributes:
        silent: ports whose SYNs get no answer at all, as behind a firewall that drops them.
    """

    def __init__(
        self, machine: Machine, path: Callable[[bytes], Path | None], settings: TcpSettings | None = None
    ) -> None:
        """`path`: finds the way to an address."""
        self._machine, self._path = machine, path
        self.calendar: Calendar = machine.calendar
        self.settings = settings or TcpSettings()
        self.silent: set[int] = set()
        self._connections: dict[bytes, Connection] = {}
        self._listeners: dict[int, Callable[[], Application]] = {}
        self._confirmed: dict[bytes, int] = {}
        self._secret = machine.random.getrandbits(32)
        self.clock_offset = machine.random.getrandbits(32)
        self._next_port = machine.random.randint(FIRST_PORT, LAST_PORT)

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All of them, those in TIME-WAIT too."""
        return tuple(self._connections.values())

    def listen(self, port: int, application: Callable[[], Application]) -> None:
        """Take connections to a port, on all addresses.

        Args:
            application: makes the one that uses a new connection.

        Raises:
            UsageError: the port is in use.
        """
        if port in self._listeners:
            raise UsageError(f"TCP port {port} is in use; stop listening first")
        self._listeners[port] = application

    def stop_listening(self, port: int) -> None:
        """Refuse new connections to a port."""
        self._listeners.pop(port, None)

    def connect(
        self,
        application: Application,
        peer: bytes,
        port: int,
        *,
        local: bytes | None = None,
        local_port: int | None = None,
    ) -> Connection:
        """Begin a connection; the application is told what comes of it, later.

        Args:
            local, local_port: None: our choice.

        Raises:
            UsageError: no address or port is left for it.
        """
        local = local or self._machine.source_for(peer)
        if local is None:
            raise UsageError(f"no way leads to this address: {peer.hex('.')}; give the host a route to it")
        remote = port.to_bytes(2, "big")
        key = self._free_key(remote, peer + local, local_port)
        connection = self._add(key, local, peer, application)
        connection.open()
        return connection

    def _free_key(self, remote: bytes, pair: bytes, local_port: int | None) -> bytes:
        if local_port is not None:
            key = remote + local_port.to_bytes(2, "big") + pair
            other = self._connections.get(key)
            if other is None or other.state is State.TIME_WAIT:  # as Linux's tcp_tw_reuse lets clients
                return key
            raise UsageError(f"TCP port {local_port} is in use for this peer; close that connection first")
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            self._next_port = self._next_port + 1 if self._next_port < LAST_PORT else FIRST_PORT
            key = remote + self._next_port.to_bytes(2, "big") + pair
            if key not in self._connections:
                return key
        raise UsageError(
            f"no free TCP port from {FIRST_PORT} to {LAST_PORT}: too many connections to one peer"
        )

    def _add(self, key: bytes, local: bytes, peer: bytes, application: Application) -> Connection:
        """Initial sequence numbers grow with time, so that a port can be used again at once
        (RFC 6528).
        """
        initial = (self._secret + zlib.crc32(key) + (self.calendar.now >> 6)) & _MASK
        wire = Wire(self, local, peer, key[:4], initial)
        connection = self._connections[key] = Connection(self, key, wire, application)
        return connection

    # -- segments ----------------------------------------------------------------------------------

    def receive(self, packet: Packet) -> None:
        """A segment for this host; one with a wrong checksum is dropped."""
        octets, source, destination = packet.payload, packet.source, packet.destination
        if transport_checksum(source, destination, TCP, octets):
            return
        segment = parse(octets)
        if segment is None:
            return
        key = octets[:4] + source + destination
        connection = self._connections.get(key)
        if connection is not None and not (
            connection.state is State.TIME_WAIT and self._begins_anew(connection, segment)
        ):
            connection.receive(segment)
            return
        self._receive_first(key, segment, source, destination)

    def _begins_anew(self, connection: Connection, segment: Segment) -> bool:
        """Whether a SYN may take the place of a connection in TIME-WAIT (RFC 9293, 3.10.7.4)."""
        if segment.flags & (SYN | ACK | RST) != SYN or not connection.is_after(segment.sequence):
            return False
        connection.forget()
        return True

    def _receive_first(self, key: bytes, segment: Segment, source: bytes, destination: bytes) -> None:
        flags, port = segment.flags, int.from_bytes(key[2:4], "big")
        if flags & RST or port in self.silent:
            return
        application = self._listeners.get(port)
        if application is not None and flags & (SYN | ACK) == SYN:
            self._add(key, destination, source, application()).answer(segment)
            return
        sequence, answer = (segment.acknowledgement, 0) if flags & ACK else (0, ACK)
        acknowledgement = (segment.sequence + segment.length) & _MASK if answer else 0
        peer_port = int.from_bytes(key[:2], "big")
        fields = (port, peer_port, sequence, acknowledgement, 0x50, RST | answer, 0)
        check = transport_checksum(destination, source, TCP, HEADER.pack(*fields, 0, 0))
        self.emit(destination, source, HEADER.pack(*fields, check, 0))

    def emit(self, source: bytes, destination: bytes, segment: bytes) -> None:
        """Send a segment."""
        self._machine.send(source, destination, TCP, segment)

    def largest(self, peer: bytes) -> tuple[int, int]:
        """Octets of TCP header and data that a packet to a peer takes now, and at most."""
        path = self._path(peer)
        if path is None:
            return 556, 556
        return path.mtu - path.header, path.whole - path.header

    def confirm(self, peer: bytes) -> None:
        """A peer has answered. Its next hop is told now and then, which is often enough."""
        now = self.calendar.now
        if now - self._confirmed.get(peer, -_OFTEN) >= _OFTEN:
            self._confirmed[peer] = now
            path = self._path(peer)
            if path is not None:
                path.confirm()

    def drop(self, connection: Connection) -> None:
        """A connection is no more."""
        if self._connections.get(connection.key) is connection:
            del self._connections[connection.key]

    def problem(self, quoted: Packet, problem: Problem, mtu: int) -> None:
        """One of our segments met a problem. Of one that is too big for the path now, all
        connections on that path learn.
        """
        octets = quoted.payload
        if len(octets) < 8:
            return
        key = octets[2:4] + octets[:2] + quoted.destination + quoted.source
        connection = self._connections.get(key)
        if connection is not None:
            connection.problem(problem, int.from_bytes(octets[4:8], "big"))

    def forget(self) -> None:
        """The machine is off: nobody listens, no connection is left."""
        for connection in self.connections:
            connection.forget()
        self._connections.clear()
        self._listeners.clear()
        self._confirmed.clear()
