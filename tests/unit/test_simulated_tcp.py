"""Simulated TCP against itself: streams over bad links, timers to the nanosecond."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.tcp import Connection, TcpSettings
from lvslab.simulation.endpoints.tcp.roundtrip import RoundTrip
from lvslab.simulation.network import Conditions
from tests.unit.simulated import MILLISECOND, SECOND, Lan, Pair
from tests.unit.simulated_tcp import A, B, Peer, close, join, segments, with_settings

# -- streams ---------------------------------------------------------------------------------------

PATIENT = {"retries": 1000, "syn_retries": 1000, "synack_retries": 1000, "orphan_retries": 1000}


@settings(max_examples=25, deadline=None)
@given(
    loss=st.floats(0, 0.5),
    duplicate=st.floats(0, 0.5),
    reorder=st.floats(0, 0.5),
    jitter=st.integers(0, 20 * MILLISECOND),
    sizes=st.lists(st.integers(0, 30_000), min_size=1, max_size=4),
    sack=st.booleans(),
    timestamps=st.booleans(),
    scale=st.sampled_from([None, 0, 7]),
    buffer=st.sampled_from([1000, 5000, 65535]),
    seed=st.integers(0, 1000),
)
@example(0.5, 0.5, 0.03125, 1, [1], False, True, None, 1000, 111)
def test_a_stream_arrives_whole_over_any_link(
    loss: float,
    duplicate: float,
    reorder: float,
    jitter: int,
    sizes: list[int],
    sack: bool,
    timestamps: bool,
    scale: int | None,
    buffer: int,
    seed: int,
) -> None:
    conditions = Conditions(20 * MILLISECOND, jitter, loss, duplicate, reorder)
    pair = Pair(conditions, seed=seed)
    with_settings(pair, TcpSettings(sack=sack, timestamps=timestamps, scale=scale, buffer=buffer, **PATIENT))
    data = b"".join(bytes([number % 251]) * size for number, size in enumerate(sizes, start=seed))

    def begin(connection: Connection) -> None:
        place = 0
        for size in sizes:
            connection.send(data[place : place + size])
            place += size
        connection.shut_down()

    client = Peer(connected=begin, ended=close)
    server = Peer(received=lambda c: c.send(b"."), ended=close)
    pair.b.tcp.listen(80, lambda: server)

    def again() -> None:
        pair.a.tcp.connect(client, B, 80)

    again()
    for _ in range(200):  # until the neighbours have found each other
        pair.run(100)
        # one that finds no neighbour gives up: the client says so, the server forgets a half-open
        # connection without a word (tcp_ipv4.c: tcp_req_err) and resets what comes for it
        if client.events in (["unreachable"], ["connected", "reset"]) and not server.events:
            client.events.clear()
            again()
        if server.events[-1:] == ["ended"] and client.events[-1:] == ["ended"]:
            break
    assert server.data == data
    assert server.events[-1] == client.events[-1] == "ended"
    pair.run(10_000)
    assert not pair.a.tcp.connections and not pair.b.tcp.connections


@pytest.mark.parametrize("family", [4, 6])
def test_scapy_agrees_with_every_segment(family: int) -> None:
    pair = Pair(Conditions(5 * MILLISECOND, 4 * MILLISECOND, 0.1, 0.1), seed=5)
    server = Peer(ended=close)
    pair.b.tcp.listen(80, lambda: server)

    def ask(connection: Connection) -> None:
        connection.send(bytes(20_001))
        connection.close()

    client = Peer(connected=ask)
    pair.a.tcp.connect(client, B if family == 4 else address("fd00::2"), 80)
    pair.run(30)
    assert len(server.data) == 20_001
    checked = 0
    for _, segment in segments(pair):
        packet = segment.underlayer
        again = packet.copy()
        del again[TCP].chksum
        assert bytes(again) == bytes(packet)
        assert (IP if family == 4 else IPv6) in packet
        checked += 1
    assert checked > 30
    options = dict(segments(pair, 0)[0][1].options)
    assert options["MSS"] == (1460 if family == 4 else 1440) and options["WScale"] == 7
    assert any("SAck" in dict(segment.options) for _, segment in segments(pair, 1))


def test_without_options_there_are_none() -> None:
    pair = with_settings(
        Pair(Conditions(MILLISECOND)), TcpSettings(timestamps=False, sack=False, scale=None, buffer=65535)
    )
    client, _ = join(pair)
    assert client.connection is not None
    client.connection.send(b"x")
    pair.run(0.1)
    assert [segment.dataofs for _, segment in segments(pair)] == [6, 6, 5, 5, 5]


def test_one_lost_segment_is_sent_again_before_any_timer() -> None:
    for sack in (True, False):
        pair = with_settings(Pair(Conditions(10 * MILLISECOND)), TcpSettings(sack=sack))
        client, server = join(pair)
        lost: list[bytes] = []
        forward = pair.b.interfaces[0].receive

        def drop(frame: bytes, lost: list[bytes] = lost, forward: Any = forward) -> None:
            if len(frame) > 1000 and not lost:
                lost.append(frame)
            else:
                forward(frame)

        pair.link.forth._receive = drop
        start = pair.calendar.now
        assert client.connection is not None
        client.connection.send(bytes(14_480))
        pair.run(5)
        assert len(server.data) == 14_480 and lost
        times = [time - start for time, segment in segments(pair, 0) if len(segment.payload)]
        assert max(times) == 20 * MILLISECOND and len(times) == 11, sack


def test_a_closed_window_is_asked_about_and_opens() -> None:
    pair = with_settings(Pair(Conditions(MILLISECOND)), TcpSettings(buffer=4000, scale=0))
    server = Peer(connected=lambda c: c.pause())
    client, _ = join(pair, server=server)
    assert client.connection is not None and server.connection is not None
    client.connection.send(bytes(10_000))
    pair.run(60)
    assert server.data == b"" and len(server.connection.receiver.unread) == 4000
    probes = [time for time, segment in segments(pair, 0) if not len(segment.payload)][-5:]
    gaps = [later - earlier for earlier, later in pairwise(probes)]
    assert [round(gap / gaps[0]) for gap in gaps] == [1, 2, 4, 8]
    server.connection.resume()
    pair.run(200)
    assert len(server.data) == 10_000


def test_a_router_with_a_small_mtu_makes_segments_smaller() -> None:
    lan = Lan()
    client_host, server_host = lan.host(1, 0), lan.host(1, 1)
    router = Host(lan.calendar, "router", forwarding=True)
    for network, host in ((0, client_host), (1, server_host)):
        lan.attach(router, 254, network)
        host.route("0.0.0.0/0", f"10.0.{network}.254")
    router.interfaces[1].mtu = 1000
    server = Peer()
    server_host.tcp.listen(80, lambda: server)
    client = Peer(connected=lambda c: c.send(bytes(50_000)))
    client_host.tcp.connect(client, address("10.0.1.1"), 80)
    lan.run(0.1)
    assert len(server.data) == 50_000  # at once, no timer
    assert client.connection is not None and client.connection.sender.mss == 948


# -- timers ----------------------------------------------------------------------------------------


def test_the_timeout_is_that_of_rfc_6298() -> None:
    roundtrip = RoundTrip(TcpSettings(granularity=1, least_timeout=0))
    assert roundtrip.timeout == SECOND
    roundtrip.measure(80_000_000)
    assert (roundtrip.smoothed, roundtrip.variation) == (80_000_000, 40_000_000)
    assert roundtrip.timeout == 240_000_000
    roundtrip.measure(160_000_000)
    assert (roundtrip.smoothed, roundtrip.variation) == (90_000_000, 50_000_000)
    assert roundtrip.timeout == 290_000_000
    roundtrip.back_off()
    assert roundtrip.timeout == 580_000_000
    for _ in range(20):
        roundtrip.back_off()
    assert roundtrip.timeout == 120 * SECOND


def test_the_timeout_has_a_least_value_and_a_granularity() -> None:
    for settings_, expected in (
        (TcpSettings(granularity=1, least_timeout=SECOND), SECOND),
        (TcpSettings(), 1_000_000 + 200_000_000),
    ):
        roundtrip = RoundTrip(settings_)
        roundtrip.measure(1_000_000)
        assert roundtrip.timeout == expected


def test_a_syn_without_an_answer_is_sent_again_and_given_up_as_linux_does() -> None:
    pair = Pair()
    pair.b.tcp.silent.add(80)
    client = Peer()
    pair.a.tcp.connect(client, B, 80)
    pair.run(126.999)
    times = [time for time, _ in segments(pair, 0)]
    assert times == [0, *(second * SECOND for second in (1, 3, 7, 15, 31, 63))]
    assert client.events == []
    pair.run(0.002)
    assert client.events == ["timeout"] and not pair.a.tcp.connections


def test_data_without_an_answer_is_sent_again_to_the_nanosecond() -> None:
    delay = 7_000_123
    pair = Pair(Conditions(delay))
    client, _ = join(pair)
    start = pair.calendar.now
    pair.b.power_off()
    assert client.connection is not None
    client.connection.send(b"x")
    pair.run(3)
    # one measurement: the SYN, which waited for ARP before it went its own way and back
    timeout = 4 * delay + 200 * MILLISECOND
    expected = [start + timeout * (2**tries - 1) for tries in range(4)]
    assert [time for time, segment in segments(pair, 0) if len(segment.payload)] == expected


def test_a_connection_without_answers_ends_after_its_retries() -> None:
    pair = with_settings(Pair(), TcpSettings(retries=3))
    client, _ = join(pair)
    pair.b.power_off()
    assert client.connection is not None
    client.connection.send(b"x")
    start = pair.calendar.now
    timeout = client.connection.sender.roundtrip.timeout
    pair.calendar.run(start + timeout * 15 - 1)
    assert client.events == ["connected"]
    pair.run(1e-9)
    assert client.events == ["connected", "timeout"]


def test_a_lost_syn_ack_is_sent_again() -> None:
    pair = Pair()
    server = Peer()
    pair.b.tcp.listen(80, lambda: server)
    client = Peer()
    pair.a.icmp.ping(A, B, 1, 1, b"")
    pair.run(0.1)
    pair.link.back.conditions = Conditions(loss=1.0)
    pair.a.tcp.connect(client, B, 80)
    pair.run(0.5)
    pair.link.back.conditions = Conditions()
    pair.run(1)
    assert client.events == server.events == ["connected"]
