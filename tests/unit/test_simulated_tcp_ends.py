"""Every way in which a simulated TCP connection ends, and what must not end it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvslab.errors import UsageError
from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.endpoints.base import Problem
from lvslab.simulation.endpoints.tcp import State, TcpSettings
from lvslab.simulation.network import Conditions
from tests.unit.simulated import MILLISECOND, Pair
from tests.unit.simulated_tcp import A, B, Peer, close, join, segments, state_of

# -- ends ------------------------------------------------------------------------------------------


def test_the_side_that_closes_first_waits() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, server = join(pair, server=Peer(ended=close))
    assert client.connection is not None
    client.connection.close()
    pair.run(1)
    assert state_of(client) is State.TIME_WAIT and state_of(server) is State.CLOSED
    flags = [str(segment.flags) for _, segment in segments(pair)]
    assert flags == ["S", "SA", "A", "FA", "FA", "A"]
    pair.run(59.1)
    assert state_of(client) is State.CLOSED and not pair.a.tcp.connections


def test_both_sides_can_close_at_once() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, server = join(pair)
    for peer in (client, server):
        assert peer.connection is not None
        peer.connection.close()
    pair.run(1)
    assert state_of(client) is state_of(server) is State.TIME_WAIT


def test_one_side_may_go_on_after_the_other_has_shut_down() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, server = join(pair)
    assert client.connection is not None and server.connection is not None
    client.connection.shut_down()
    pair.run(70)
    assert (state_of(client), state_of(server)) == (State.FIN_WAIT_2, State.CLOSE_WAIT)
    server.connection.send(b"more")
    server.connection.close()
    pair.run(1)
    assert client.data == b"more" and client.events[-1] == "ended"
    assert (state_of(client), state_of(server)) == (State.TIME_WAIT, State.CLOSED)


def test_data_for_one_who_has_closed_is_answered_with_a_reset() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, server = join(pair)
    assert client.connection is not None and server.connection is not None
    client.connection.close()
    pair.run(1)
    server.connection.send(b"more")
    pair.run(1)
    assert server.events == ["connected", "ended", "reset"] and state_of(client) is State.CLOSED


def test_a_half_closed_connection_is_not_kept_forever() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, _ = join(pair)
    assert client.connection is not None
    client.connection.close()
    pair.run(1)
    assert state_of(client) is State.FIN_WAIT_2
    pair.run(60)
    assert state_of(client) is State.CLOSED


def test_closing_with_unread_data_resets() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, server = join(pair, server=Peer(connected=lambda c: c.pause()))
    assert client.connection is not None and server.connection is not None
    client.connection.send(b"unread")
    pair.run(1)
    server.connection.close()
    pair.run(1)
    assert client.events == ["connected", "reset"]


@pytest.mark.parametrize(
    "state",
    ["SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT", "LAST-ACK", "TIME-WAIT"],
)
def test_a_reset_ends_a_connection_in_everystate_of(state: str) -> None:
    pair = Pair(Conditions(MILLISECOND))
    server = Peer()
    pair.b.tcp.listen(80, lambda: server)
    client = Peer()
    connection = pair.a.tcp.connect(client, B, 80)
    if state == "SYN-RECEIVED":
        pair.run(0.0025)  # ARP and back, and the SYN is on its way
        while not pair.b.tcp.connections:
            pair.run(0.0001)
    else:
        pair.run(0.5)
        other = pair.b.tcp.connections[0]
        if state in ("CLOSE-WAIT", "LAST-ACK"):
            connection.shut_down()
            pair.run(0.5)
        if state in ("FIN-WAIT-1", "LAST-ACK"):
            pair.link.back.conditions = Conditions(loss=1.0)
        if state in ("FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "LAST-ACK"):
            other.close()
            pair.run(0.05)
        if state == "TIME-WAIT":
            connection.close()
            pair.run(0.05)
    (other,) = pair.b.tcp.connections
    assert other.state.value == state
    reset = other.receiver.next
    pair.b.tcp.calendar.after(0, lambda: connection.wire.send(4, reset, connection.receiver))
    pair.run(0.01)
    assert other.state is State.CLOSED and not pair.b.tcp.connections


def test_a_reset_that_only_lies_in_the_window_is_asked_back() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, server = join(pair)
    assert client.connection is not None
    client.connection.wire.send(4, 100, client.connection.receiver)
    pair.run(0.1)
    assert state_of(server) is State.ESTABLISHED and str(segments(pair, 1)[-1][1].flags) == "A"


def test_a_closed_port_refuses_and_an_unreachable_host_is_told_apart() -> None:
    pair = Pair()
    refused, unreachable = Peer(), Peer()
    pair.a.tcp.connect(refused, B, 81)
    pair.a.tcp.connect(unreachable, address("10.0.0.77"), 80)
    pair.run(4)
    assert refused.events == ["refused"] and unreachable.events == ["unreachable"]


def test_icmp_ends_only_what_is_being_opened() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, _ = join(pair)
    (connection,) = pair.a.tcp.connections
    sequence = connection.sender.next + connection.wire._initial
    connection.problem(Problem.HOST_UNREACHABLE, sequence)
    assert client.events == ["connected"] and connection.state is State.ESTABLISHED


def test_a_power_cut_leaves_the_other_side_alone_until_it_comes_back() -> None:
    pair = Pair(Conditions(MILLISECOND))
    client, server = join(pair)
    pair.b.power_off()
    assert client.connection is not None
    client.connection.send(b"hello?")
    pair.run(1)
    assert client.events == ["connected"] and server.events == ["connected"]
    pair.b.power_on()
    pair.run(20)
    assert client.events == ["connected", "reset"]


def test_a_port_can_be_used_again_while_the_other_side_waits() -> None:
    pair = Pair(Conditions(MILLISECOND))
    servers: list[Peer] = []

    def accept() -> Peer:
        servers.append(Peer(connected=close))
        return servers[-1]

    pair.b.tcp.listen(80, accept)
    for _ in range(3):
        client = Peer(ended=close)
        pair.a.tcp.connect(client, B, 80, local_port=5000)
        pair.run(1)
        assert client.events == ["connected", "ended"]
        assert [connection.state for connection in pair.b.tcp.connections] == [State.TIME_WAIT]
    assert len(servers) == 3


def test_what_cannot_be_is_refused() -> None:
    pair = Pair()
    pair.b.tcp.listen(80, Peer)
    with pytest.raises(UsageError, match="TCP port 80 is in use"):
        pair.b.tcp.listen(80, Peer)
    with pytest.raises(UsageError, match="no way leads"):
        pair.a.tcp.connect(Peer(), address("192.0.2.1"), 80)
    with pytest.raises(UsageError, match="window scale 15"):
        TcpSettings(scale=15)
    with pytest.raises(UsageError, match="buffer of 70000"):
        TcpSettings(scale=None, buffer=70_000)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(min_size=12, max_size=60), known=st.booleans())
def test_no_segment_upsets_a_host(data: bytes, known: bool) -> None:
    from lvslab.simulation.endpoints.base import Packet
    from lvslab.simulation.endpoints.checksums import transport_checksum

    pair = Pair()
    join(pair)
    ports = pair.b.tcp.connections[0].key[:4] if known else data[:4]
    segment = ports + data[4:16].ljust(12, b"\0") + b"\0\0" + data[16:]
    check = transport_checksum(A, B, 6, segment)
    segment = segment[:16] + check.to_bytes(2, "big") + segment[18:]
    pair.b.tcp.receive(Packet(b"", A, B, 6, segment, 64, None))
    pair.run(200)
