"""Applications and views for the tests of simulated TCP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether

from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.endpoints.tcp import Connection, Failure, State, Tcp, TcpSettings
from tests.unit.simulated import Lan, Pair

A, B = address("10.0.0.1"), address("10.0.0.2")


class Peer:
    """An application that remembers everything, and does what it is told to on an event."""

    def __init__(self, **deeds: Callable[[Connection], None]) -> None:
        self.events: list[str] = []
        self.data = b""
        self.deeds = deeds
        self.connection: Connection | None = None

    def _note(self, event: str, connection: Connection) -> None:
        self.events.append(event)
        self.connection = connection
        if event in self.deeds:
            self.deeds[event](connection)

    def connected(self, connection: Connection) -> None:
        self._note("connected", connection)

    def received(self, connection: Connection, data: bytes) -> None:
        self.data += data
        self._note("received", connection)

    def ended(self, connection: Connection) -> None:
        self._note("ended", connection)

    def failed(self, connection: Connection, failure: Failure) -> None:
        self._note(failure.value, connection)


def close(connection: Connection) -> None:
    connection.close()


def with_settings(pair: Pair, settings: TcpSettings) -> Pair:
    for host in (pair.a, pair.b):
        host.tcp = Tcp(host, host.path, settings)
        host.add_protocol(6, host.tcp)
    return pair


def join(pair: Pair, client: Peer | None = None, server: Peer | None = None) -> tuple[Peer, Peer]:
    """An established connection, a to b."""
    client, server = client or Peer(), server or Peer()
    pair.b.tcp.listen(80, lambda: server)
    pair.a.tcp.connect(client, B, 80)
    pair.run(0.5)
    assert client.events[:1] == server.events[:1] == ["connected"]
    return client, server


def segments(pair: Pair | Lan, card: int | None = None) -> list[tuple[int, Any]]:
    """Time and scapy's view of each segment that left a card."""
    seen = [(each.time, Ether(each.frame)) for each in pair.record.kept if each.direction == 2]
    if card is not None:
        seen = [
            (each.time, Ether(each.frame))
            for each in pair.record.kept
            if each.direction == 2 and each.card == card
        ]
    return [(time, packet[TCP]) for time, packet in seen if TCP in packet]


def state_of(peer: Peer) -> State:
    assert peer.connection is not None
    return peer.connection.state
