"""Simulated servers and clients: what probers see of servers that are well and that are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR

from lvslab.errors import UsageError
from lvslab.runs.outage import outage, survival
from lvslab.runs.probes import read_probes
from lvslab.simulation.endpoints.addresses import address, text_of
from lvslab.simulation.endpoints.base import Problem
from lvslab.simulation.endpoints.clients import Prober, Probing
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.servers import DnsServer, HttpServer, Program, TcpServer, UdpServer
from lvslab.simulation.endpoints.tcp import Connection, Failure
from lvslab.simulation.endpoints.udp import Datagram
from lvslab.simulation.network import Conditions
from tests.unit.simulated import MILLISECOND, SECOND, Lan, Pair

NAMES = frozenset({"b"})


class Talk:
    """A client that says something and remembers what it is told."""

    def __init__(self, host: Host, text: bytes, port: int = 80, target: str = "10.0.0.2") -> None:
        self.text, self.data, self.events = text, b"", list[str]()
        self.connection = host.tcp.connect(self, address(target), port)

    def connected(self, connection: Connection) -> None:
        connection.send(self.text)

    def received(self, connection: Connection, data: bytes) -> None:
        self.data += data

    def ended(self, connection: Connection) -> None:
        self.events.append("ended")
        connection.close()

    def failed(self, connection: Connection, failure: Failure) -> None:
        self.events.append(failure.value)


def _served(**options: Any) -> tuple[Pair, HttpServer]:
    pair = Pair(Conditions(MILLISECOND))
    server = HttpServer(pair.b, **options)
    server.start()
    return pair, server


def _probe(pair: Pair, seconds: float = 1, **options: Any) -> Prober:
    settings = {"address": "10.0.0.2", "port": 80, "servers": NAMES, "interval": 10 * MILLISECOND}
    prober = Prober(pair.a, Probing(**{**settings, **options}))
    prober.start()
    pair.run(seconds)
    return prober


def _outcomes(prober: Prober) -> dict[str, int]:
    return dict(Counter(attempt.outcome for attempt in prober.attempts))


# -- HTTP ------------------------------------------------------------------------------------------


def test_an_old_client_is_answered_and_left() -> None:
    pair, server = _served()
    talk = Talk(pair.a, b"GET / HTTP/1.0\r\n\r\n")
    pair.run(1)
    head, _, body = talk.data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Connection: close" in head
    assert body == b"b 10.0.0.1 %d\n" % talk.connection.wire.local_port
    assert f"Content-Length: {len(body)}".encode() in head
    assert talk.events == ["ended"] and server.served == 1 and server.connections == 0


def test_a_connection_serves_many_requests_some_of_them_at_once_or_in_pieces() -> None:
    pair, server = _served()
    talk = Talk(
        pair.a, b"GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab"
    )
    pair.run(1)
    assert server.served == 2 and talk.data.count(b"10.0.0.1") == 1
    talk.connection.send(b"cGET / HTTP/1.1\r\nConn")
    pair.run(1)
    assert server.served == 3 and talk.events == []
    talk.connection.send(b"ection: close\r\n\r\n")
    pair.run(1)
    assert server.served == 4 and talk.events == ["ended"]


@pytest.mark.parametrize("nonsense", [b"hello\r\n\r\n", b"x" * 9000])
def test_nonsense_is_told_so(nonsense: bytes) -> None:
    pair, _ = _served()
    talk = Talk(pair.a, nonsense)
    pair.run(1)
    assert talk.data.startswith(b"HTTP/1.1 400 Bad Request") and talk.events == ["ended"]


@pytest.mark.parametrize("target", ["10.0.0.2", "fd00::2"])
def test_a_healthy_server_answers_every_attempt(target: str) -> None:
    pair, server = _served()
    prober = _probe(pair, 0.995, address=target)
    prober.stop()
    pair.run(0.01)
    assert _outcomes(prober) == {"ok": 100} and server.served == 100
    first = prober.attempts[1]
    # SYN and its answer; the request and the answer with its FIN
    assert first.connect == pytest.approx(first.planned + 0.002)
    assert first.end == first.first_byte == pytest.approx(first.planned + 0.004)
    assert first.planned == first.start == 0.01 and first.server == "b"
    assert len(pair.a.tcp.connections) == 0  # the server waits, not the client
    assert prober.finished and prober.begun == 100


def test_records_are_read_back_as_they_were(tmp_path: Path) -> None:
    pair, server = _served()
    prober = _probe(pair, connections=3)
    server.kill()
    pair.run(1)
    prober.write(tmp_path / "attempts.csv", tmp_path / "beats.csv")
    probes = read_probes(tmp_path / "attempts.csv", tmp_path / "beats.csv")
    assert not probes.warnings and len(probes.attempts) == len(prober.attempts)
    written: list[Any] = [*prober.attempts, *prober.beats]
    for read, kept in zip([*probes.attempts, *probes.beats], written, strict=True):
        for field in fields(kept):
            value = getattr(kept, field.name)
            expected = pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
            assert getattr(read, field.name) == expected
    assert {beat.outcome for beat in probes.beats} == {"ok", "closed"}


# -- faults ----------------------------------------------------------------------------------------


def _break(pair: Pair, server: HttpServer, fault: str) -> None:
    if fault == "killed":
        server.kill()
    elif fault == "silent":
        pair.b.tcp.silent.add(80)
    elif fault == "hung":
        server.freeze()
    elif fault == "off":
        pair.b.power_off()
    elif fault == "slow":
        server.think = SECOND
    elif fault == "unhealthy":
        server.status = server.status.SERVICE_UNAVAILABLE
    elif fault == "cut":
        pair.link.up = False


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("killed", "refused"),
        ("silent", "timeout"),
        ("hung", "timeout"),
        ("off", "timeout"),
        ("slow", "timeout"),
        ("unhealthy", "wrong"),
        ("cut", "timeout"),
    ],
)
def test_each_fault_of_a_server_looks_as_in_the_real_labs(fault: str, outcome: str) -> None:
    pair, server = _served()
    prober = _probe(pair, 0.995)
    _break(pair, server, fault)
    pair.run(2)
    prober.stop()
    pair.run(2)
    assert set(_outcomes(prober)) == {"ok", outcome}
    stretch = outage(prober.attempts, 0.01, 0.995)
    assert stretch is not None and stretch.failed == 200 and stretch.start == 1.0


def test_a_frozen_server_answers_what_waited_when_it_goes_on() -> None:
    pair, server = _served()
    server.freeze()
    prober = _probe(pair, 0.3)
    assert _outcomes(prober) == {} and pair.b.tcp.connections
    server.thaw()
    pair.run(0.2)
    assert _outcomes(prober) == {"ok": 50}


def test_a_frozen_server_that_is_killed_resets_what_it_has_not_read() -> None:
    pair, server = _served()
    server.freeze()
    talk = Talk(pair.a, b"GET / HTTP/1.1\r\n\r\n")
    pair.run(0.1)
    server.kill()
    pair.run(0.1)
    assert talk.events == ["reset"]


def test_a_slow_server_stops_in_every_period() -> None:
    pair, server = _served()
    server.stutter(0.1, 200 * MILLISECOND)
    prober = _probe(pair, 2)
    durations = [attempt.end - attempt.planned for attempt in prober.attempts]
    assert set(_outcomes(prober)) == {"ok"} and 0.15 < max(durations) < 0.19
    server.steady()
    count = len(prober.attempts)
    pair.run(1)
    later = prober.attempts[count + 20 :]
    assert max(attempt.end - attempt.planned for attempt in later) < 0.005


def test_a_flapping_server_comes_back_each_time() -> None:
    pair, server = _served()
    server.flap(SECOND, SECOND, times=2)
    prober = _probe(pair, 6.005)
    refused = [round(attempt.planned) for attempt in prober.attempts if attempt.outcome == "refused"]
    assert Counter(refused) == {0: 51, 1: 49, 2: 51, 3: 49}
    assert server.alive
    server.flap(SECOND, SECOND)
    pair.run(0.5)
    server.steady()
    pair.run(1)
    assert {attempt.outcome for attempt in prober.attempts[-90:]} == {"ok"}


def test_a_server_without_power_must_be_started_again() -> None:
    pair, server = _served()
    pair.b.power_off()
    assert not server.alive
    with pytest.raises(UsageError, match="its power is off"):
        server.start()
    pair.b.power_on()
    prober = _probe(pair, 0.1)
    assert set(_outcomes(prober)) == {"refused"}
    server.start()
    pair.run(0.1)
    assert "ok" in _outcomes(prober)
    with pytest.raises(UsageError, match="its program runs"):
        server.start()


# -- lasting connections ---------------------------------------------------------------------------


def test_lasting_connections_beat_on_a_grid_and_say_how_they_ended() -> None:
    pair, server = _served()
    prober = _probe(pair, 2.05, connections=4, interval=None, heartbeat=SECOND // 2)
    assert [beat.outcome for beat in prober.beats] == ["ok"] * 16
    times = [beat.planned for beat in prober.beats if beat.connection == 2]
    assert times == pytest.approx([0.125, 0.625, 1.125, 1.625])
    assert survival(prober.beats, 1.0).survived == 4
    server.kill()
    pair.run(1)
    assert [beat.outcome for beat in prober.beats[16:]] == ["closed"] * 4
    lost = survival(prober.beats, 2.05)
    assert (lost.total, lost.survived) == (4, 0)
    prober.stop()
    assert prober.finished


def test_lasting_connections_to_a_dead_host_run_out_of_time() -> None:
    pair, _ = _served()
    prober = _probe(pair, 1, connections=2, interval=None, beat_timeout=SECOND)
    pair.b.power_off()
    pair.run(2)
    assert [beat.outcome for beat in prober.beats[-2:]] == ["timeout", "timeout"]


# -- UDP and TCP lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(("flows", "ports"), [(0, None), (5, None), (5, (7000, 7004)), (0, (7000, 7004))])
def test_datagrams_are_attempts_too(flows: int, ports: tuple[int, int] | None) -> None:
    pair = Pair(Conditions(MILLISECOND))
    server = UdpServer(pair.b, [5300])
    server.start()
    prober = _probe(pair, 1, protocol="udp", port=5300, flows=flows, ports=ports)
    assert _outcomes(prober) == {"ok": 100}
    used = {attempt.local_port for attempt in prober.attempts}
    assert len(used) == (5 if flows or ports else 100)
    server.kill()
    pair.run(3)
    prober.stop()
    pair.run(1)
    outcomes = _outcomes(prober)
    # ICMP errors come six at once and then one a second; the rest is silence
    assert 7 <= outcomes["refused"] <= 10
    assert outcomes["timeout"] + outcomes.get("local", 0) == 301 - outcomes["refused"]
    # a port that still waits cannot be bound again
    assert ("local" in outcomes) == (ports is not None and not flows)
    server.start()
    server.freeze()
    again = _probe(pair, 1, protocol="udp", port=5300)
    server.thaw()
    pair.run(0.1)
    assert _outcomes(again)["ok"] >= 50


def test_a_tcp_server_answers_line_by_line() -> None:
    pair = Pair()
    server = TcpServer(pair.b, [9])
    server.start()
    talk = Talk(pair.a, b"one\ntwo\nthr", 9)
    pair.run(1)
    assert talk.data.count(b"b 10.0.0.1 ") == 2
    talk.connection.send(b"ee\n")
    talk.connection.shut_down()
    pair.run(1)
    assert server.served == 3 and talk.events == ["ended"]


# -- DNS -------------------------------------------------------------------------------------------


class Asker:
    """A resolver."""

    def __init__(self, host: Host) -> None:
        self._host, self.answers = host, list[Any]()
        self.port = host.udp.bind_any(self)

    def ask(self, data: bytes) -> None:
        self._host.udp.send(address("10.0.0.1"), self.port, address("10.0.0.2"), 53, data)

    def received(self, datagram: Datagram) -> None:
        self.answers.append(DNS(datagram.data))

    def failed(self, peer: bytes, peer_port: int, problem: Problem) -> None:
        raise AssertionError(problem)


def _query(name: str, kind: str = "A", **options: Any) -> bytes:
    return bytes(DNS(id=7, rd=1, qd=DNSQR(qname=name, qtype=kind), **options))


def test_a_name_server_gives_addresses_in_turn() -> None:
    pair = Pair()
    DnsServer(pair.b, {"www.lab": ["10.0.0.1", "10.0.0.2", "fd00::1"]}, ttl=5).start()
    asker = Asker(pair.a)
    for query in (_query("www.lab"), _query("WWW.lab."), _query("www.lab", "AAAA"), _query("x.lab")):
        asker.ask(query)
        pair.run(1)
    first, second, wide, unknown = asker.answers
    assert [record.rdata for record in first.an] == ["10.0.0.1", "10.0.0.2"]
    assert [record.rdata for record in second.an] == ["10.0.0.2", "10.0.0.1"]
    assert [record.rdata for record in wide.an] == ["fd00::1"]
    assert (first.id, first.qr, first.aa, first.rd, first.an[0].ttl) == (7, 1, 1, 1, 5)
    assert first.qd[0].qname == b"www.lab."
    assert unknown.rcode == 3 and unknown.ancount == 0


@given(st.binary(max_size=60))
def test_no_question_upsets_a_name_server(data: bytes) -> None:
    pair = Pair()
    server = DnsServer(pair.b, {"www.lab": ["10.0.0.1"]})
    server.start()
    asker = Asker(pair.a)
    asker.ask(data)
    asker.ask(_query("www.lab")[:12] + data)
    pair.run(1)


# -- many ------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_frames_with_all_of_it_together() -> None:
    def digest(seed: int) -> str:
        lan = Lan(Conditions(MILLISECOND, MILLISECOND // 2, 0.02), seed=seed)
        servers: list[Program] = []
        for number in (2, 3):
            host = lan.host(number)
            servers += [HttpServer(host), UdpServer(host, [5300])]
        for server in servers:
            server.start()
        client = lan.host(1)
        names = frozenset({"h0-2", "h0-3"})
        probers = [
            Prober(client, Probing("10.0.0.2", 80, names, interval=11 * MILLISECOND, connections=3)),
            Prober(client, Probing("fd00::3", 80, names, interval=7 * MILLISECOND)),
            Prober(client, Probing("10.0.0.3", 5300, names, "udp", interval=13 * MILLISECOND)),
        ]
        for prober in probers:
            prober.start()
        lan.calendar.after(SECOND // 2, servers[0].kill)
        lan.calendar.after(SECOND // 2, servers[3].freeze)
        lan.run(2)
        return lan.record.digest()

    assert digest(1) == digest(1) != digest(2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"interval": None}, "nothing to do"),
        ({"interval": 0}, "interval 0 ns"),
        ({"protocol": "udp", "connections": 1}, "need protocol 'tcp'"),
        ({"flows": 1}, "protocol 'udp'"),
        ({"ports": (5, 4)}, "no range"),
        ({"port": 0}, "port 0"),
    ],
)
def test_what_no_prober_can_do_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Probing(**{"address": "10.0.0.2", "port": 80, "servers": NAMES, **wrong})


def test_a_service_without_a_way_is_unreachable() -> None:
    pair = Pair()
    prober = _probe(pair, 0.1, address=text_of(b"\xc0\0\2\1"), connections=1)
    assert set(_outcomes(prober)) == {"unreachable"} and prober.beats[0].outcome == "unreachable"
