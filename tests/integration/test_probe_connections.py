"""The prober's datagrams and its long-lived connections with their heartbeats."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from lvslab.traffic.prober import ProbeSpec
from tests.unit.probing import (
    PATIENCE,
    Handler,
    Run,
    answer_as,
    reset,
    send,
    silence,
    spec,
    tcp_server,
    udp_server,
)


def named(peer: tuple[str, int], _number: int) -> bytes:
    return f"rs1 {peer[0]} {peer[1]}\n".encode()


def test_datagrams_from_a_new_port_each(start: Callable[[ProbeSpec], Run]) -> None:
    with udp_server(named) as port:
        done = start(spec(port, protocol="udp")).end()
    assert done.outcomes == {"ok": 20}
    assert all(each.connect is None and each.first_byte is not None for each in done.attempts)
    assert len({each.local_port for each in done.attempts}) > 1


def test_flows_keep_their_ports_and_take_turns(start: Callable[[ProbeSpec], Run]) -> None:
    with udp_server(named) as port:
        done = start(spec(port, protocol="udp", flows=3, ports=(18100, 18109))).end()
    ports = [each.local_port for each in sorted(done.attempts, key=lambda each: each.planned)]
    assert done.outcomes == {"ok": 20}
    assert ports == [18100 + number % 3 for number in range(20)]


def test_an_unanswered_datagram_times_out_and_its_flow_goes_on(start: Callable[[ProbeSpec], Run]) -> None:
    def skips(peer: tuple[str, int], number: int) -> bytes | None:
        return {3: None, 5: b"who?"}.get(number, named(peer, number))

    with udp_server(skips) as port:
        done = start(spec(port, protocol="udp", flows=1, rate=20.0, seconds=0.5)).end()
    outcomes = [each.outcome for each in sorted(done.attempts, key=lambda each: each.planned)]
    assert outcomes == ["ok"] * 3 + ["timeout", "ok", "wrong"] + ["ok"] * 4


@pytest.mark.parametrize("flows", [0, 2])
def test_a_closed_udp_port_refuses_each_datagram(start: Callable[[ProbeSpec], Run], flows: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
    done = start(spec(port, protocol="udp", flows=flows)).end()
    assert done.outcomes == {"refused": 20}


def test_connections_are_opened_one_by_one_and_asked_in_turn(start: Callable[[ProbeSpec], Run]) -> None:
    with tcp_server(answer_as("rs2")) as port:
        run = start(spec(port, rate=None, connections=4, stagger=0.02, heartbeat=0.1, seconds=0.5))
        done = run.end()
    assert done.attempts == () and done.said["opened"] == 4
    assert {(each.outcome, each.server) for each in done.beats} == {("ok", "rs2")}
    for number in range(1, 5):
        beats = [each for each in done.beats if each.connection == number]
        assert len({each.local_port for each in beats}) == len({each.opened for each in beats}) == 1
        assert beats[0].opened is not None and beats[0].opened >= done.t0 + (number - 1) * 0.02
        for each in beats:
            times = (each.opened, each.planned, each.sent, each.answered)
            known = [t for t in times if t is not None]
            assert len(known) == 4 and known == sorted(known)
            assert (
                round((each.planned - done.t0) * 1e6) % 100_000 == (number - 1) * 25_000
            )  # its own place in each tenth


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (silence, "timeout"),
        (reset, "reset"),
        (send(b"HTTP/1.1 200 OK\r\n"), "wrong"),
        (send(b""), "closed"),
        (answer_as("x"), "wrong"),
    ],
    ids=["silent", "reset", "cut short", "closed", "stranger"],
)
def test_a_failed_heartbeat_is_the_connections_last(
    start: Callable[[ProbeSpec], Run], handler: Handler, outcome: str
) -> None:
    with tcp_server(handler) as port:
        late = 0.5 if outcome == "timeout" else PATIENCE
        given = spec(port, rate=None, connections=2, heartbeat=0.05, seconds=0.4, beat_timeout=late)
        done = start(given).end()
    assert [
        (each.connection, each.outcome) for each in sorted(done.beats, key=lambda each: each.connection)
    ] == [
        (1, outcome),
        (2, outcome),
    ]
    assert all(each.opened is not None and each.answered is None for each in done.beats)


def test_a_connection_closed_between_heartbeats(start: Callable[[ProbeSpec], Run]) -> None:
    def once(sock: socket.socket, peer: tuple[str, int]) -> None:
        sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nrs1 1.2.3.4 5\n" if sock.recv(4096) else b""
        )

    with tcp_server(once) as port:
        done = start(spec(port, rate=None, connections=1, heartbeat=0.1, seconds=0.4)).end()
    assert [each.outcome for each in done.beats] == ["ok", "closed"]
    last = done.beats[-1]
    assert last.planned == last.sent >= (done.beats[0].answered or 0)


def test_a_connection_that_is_never_established(start: Callable[[ProbeSpec], Run]) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        done = start(spec(unheard.getsockname()[1], rate=None, connections=1)).end()
    assert [(each.outcome, each.opened) for each in done.beats] == [("refused", None)]


def test_a_slow_answer_leaves_heartbeats_out_but_does_not_end_the_connection(
    start: Callable[[ProbeSpec], Run],
) -> None:
    held, released = threading.Event(), threading.Event()

    def slow(sock: socket.socket, peer: tuple[str, int]) -> None:
        first = True
        while sock.recv(4096):
            if first:
                held.set()
                released.wait(PATIENCE)
            first = False
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nrs1 1.2.3.4 5\n")

    with tcp_server(slow) as port:
        run = start(
            spec(port, rate=None, connections=1, heartbeat=0.02, beat_timeout=PATIENCE, seconds=600.0)
        )
        assert held.wait(PATIENCE)
        time.sleep(0.1)  # five heartbeats' time, in which none may be sent
        released.set()
        run.wait_for("\n1,", which=1)
        assert run.process.stdin is not None
        run.process.stdin.close()
        done = run.end()
    assert {each.outcome for each in done.beats} == {"ok"}
    for before, after in zip(done.beats, done.beats[1:], strict=False):
        assert before.answered is not None and after.sent >= before.answered
