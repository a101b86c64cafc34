"""Simulated hosts against a real kernel and real programs, in real time over a tap."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from scapy.layers import inet, inet6  # noqa: F401 - Ether knows what is inside
from scapy.layers.l2 import Ether

from lvslab.runs.answers import ANSWER
from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.endpoints.clients import Prober, Probing
from lvslab.simulation.endpoints.servers import DnsServer, HttpServer, UdpServer
from lvslab.simulation.network import Conditions
from tests.lab.conftest import in_sandbox
from tests.lab.realtime import OWN, OWN6, TAP, RealTime

MILLISECOND, SECOND = 1_000_000, 1_000_000_000
BAD = Conditions(delay=2 * MILLISECOND, jitter=MILLISECOND, loss=0.03, duplicate=0.02, reorder=0.02)
"""A link on which everything happens to a transfer of a megabyte."""


def _run(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
    )


def _curl(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return _run("curl", "-sS", "--max-time", "20", *options, url)


def _wait(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not come true in time"
        time.sleep(0.05)


def _inside(work: Callable[[], Any]) -> Any:
    return in_sandbox(work)


# -- a real kernel's own questions -----------------------------------------------------------------


def test_ping_and_arping_are_answered() -> None:
    def work() -> None:
        with RealTime() as world:
            world.do(lambda: world.host(2))
            for words in (
                ["ping", "-c", "3", "-i", "0.2", "10.9.0.2"],
                ["ping", "-c", "2", "-i", "0.2", "-s", "4000", "10.9.0.2"],
                ["ping", "-6", "-c", "3", "-i", "0.2", "fd09::2"],
                ["ping", "-6", "-c", "2", "-i", "0.2", "-s", "4000", "fd09::2"],
            ):
                done = _run(*words)
                assert done.returncode == 0 and " 0% packet loss" in done.stdout, done.stdout + done.stderr
            done = _run("busybox", "arping", "-c", "2", "-I", TAP, "10.9.0.2")
            assert done.returncode == 0 and "02:00:00:09:00:02" in done.stdout.lower(), done.stdout
            assert _run("busybox", "arping", "-c", "1", "-w", "1", "-I", TAP, "10.9.0.77").returncode != 0

    _inside(work)


@pytest.mark.parametrize(("arp_ignore", "answers"), [(0, True), (1, False)])
def test_only_a_server_with_wrong_settings_answers_for_the_virtual_address(
    arp_ignore: int, answers: bool
) -> None:
    def work() -> None:
        with RealTime() as world:
            server = world.do(lambda: world.host(2, arp_ignore=arp_ignore))
            world.do(lambda: server.own("10.9.0.100"))
            done = _run("busybox", "arping", "-c", "1", "-w", "1", "-I", TAP, "10.9.0.100")
            assert (done.returncode == 0) == answers, done.stdout

    _inside(work)


def test_a_real_kernel_follows_an_announcement() -> None:
    def work() -> None:
        with RealTime() as world:
            old, new = world.do(lambda: (world.host(2), world.host(3)))
            for target, length, family in (("10.9.0.2", 24, "-4"), ("fd09::2", 64, "-6")):
                assert _run("ping", "-c", "1", target).returncode == 0

                def known(target: str = target, family: str = family) -> str:
                    return _run("ip", family, "neigh", "show", target).stdout

                assert "02:00:00:09:00:02" in known()

                def move(target: str = target, length: int = length) -> None:
                    old.disown(target)
                    new.assign(new.interfaces[0], f"{target}/{length}")
                    new.interfaces[0].announce(address(target))

                world.do(move)
                _wait(lambda: "02:00:00:09:00:03" in known())
                assert _run("ping", "-c", "1", target).returncode == 0

    _inside(work)


def test_dig_believes_the_name_server() -> None:
    def work() -> None:
        with RealTime() as world:
            names = {"www.lab": ["10.9.0.7", "fd09::7"]}
            world.do(lambda: DnsServer(world.host(2), names).start())
            for kind, expected in (("A", "10.9.0.7"), ("AAAA", "fd09::7"), ("TXT", "")):
                done = _run("dig", "+short", "+tries=1", "+time=5", "@10.9.0.2", "www.lab", kind)
                assert done.returncode == 0 and done.stdout.strip() == expected, done.stdout
            assert "NXDOMAIN" in _run("dig", "+tries=1", "@fd09::2", "nobody.lab").stdout

    _inside(work)


def test_a_real_socket_hears_answers_and_refusals() -> None:
    def work() -> None:
        with RealTime() as world:
            server = world.do(lambda: UdpServer(world.host(2), [5300]))
            world.do(server.start)
            for family, target in ((socket.AF_INET, "10.9.0.2"), (socket.AF_INET6, "fd09::2")):
                with socket.socket(family, socket.SOCK_DGRAM) as sock:
                    sock.settimeout(10)
                    sock.connect((target, 5300))
                    sock.send(b"question")
                    own = OWN if family == socket.AF_INET else OWN6
                    assert sock.recv(100).decode() == f"s2 {own} {sock.getsockname()[1]}\n"
                    sock.send(bytes(5000))  # fragments
                    assert sock.recv(100)
                    sock.connect((target, 9))
                    sock.send(b"nobody there")
                    with pytest.raises(ConnectionRefusedError):
                        sock.recv(100)

    _inside(work)


# -- a real TCP against ours -----------------------------------------------------------------------


@pytest.mark.parametrize("target", ["10.9.0.2", "[fd09::2]"])
@pytest.mark.parametrize("link", [Conditions(), BAD], ids=["good link", "bad link"])
def test_curl_gets_and_posts_a_megabyte(target: str, link: Conditions) -> None:
    def work() -> None:
        body = os.urandom(1_000_000)
        with RealTime(link) as world, tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            server = world.do(lambda: HttpServer(world.host(2)))
            world.do(server.start)
            url = f"http://{target}/"
            own = OWN6 if ":" in target else OWN
            done = _curl(url, "-w", "%{local_port}")
            assert done.stdout.startswith(f"s2 {own} "), done
            server.body = body
            got = Path(folder, "got")
            done = _curl(url, "-o", str(got))
            assert done.returncode == 0, done.stderr
            assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(body).digest()
            server.body = b"posted\n"
            got.write_bytes(body)
            done = _curl(url, "-H", "Expect:", "--data-binary", f"@{got}")
            assert done.stdout == "posted\n", done.stderr
            many = _run("curl", "-sS", *[url] * 50)  # on one connection
            assert many.stdout == "posted\n" * 50 and server.served >= 53

    _inside(work)


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("killed", 7, "Connection refused|Could not connect|Failed to connect"),
        ("silent", 28, "timed out|timeout"),
        ("frozen", 28, "timed out|timeout"),
        ("off", 7, "No route to host|Could not connect|Failed to connect"),
        ("killed while asked", 56, "reset|Recv failure"),
        ("wrong checksums", 28, "timed out|timeout"),
    ],
)
def test_curl_sees_each_fault_as_of_a_real_server(fault: str, code: int, words: str) -> None:
    def work() -> None:
        with RealTime() as world:
            host = world.do(lambda: world.host(2))
            server = world.do(lambda: HttpServer(host))
            world.do(server.start)
            assert _curl("http://10.9.0.2/").returncode == 0
            if fault == "killed":
                world.do(server.kill)
            elif fault == "silent":
                world.do(lambda: host.tcp.silent.add(80))
            elif fault == "frozen":
                world.do(server.freeze)
            elif fault == "off":
                world.do(host.power_off)
                _run("ip", "neigh", "flush", "dev", TAP)
            elif fault == "killed while asked":
                world.do(server.freeze)
                world.do(lambda: world.calendar.after(SECOND, server.kill) and None)
            else:
                card, send = host.interfaces[0], host.interfaces[0].transmit
                card.transmit = lambda frame: send(frame[:-1] + bytes([frame[-1] ^ 1]))
            done = _run("curl", "-sS", "--max-time", "6", "http://10.9.0.2/")
            assert done.returncode == code and re.search(words, done.stderr, re.IGNORECASE), done

    _inside(work)


# -- our TCP against a real one --------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    """Answers as the labs' servers do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        client, port = self.client_address[:2]
        body = ANSWER.format(name="real", client=client, port=port).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.request_version == "HTTP/1.0":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and IPv4 by mapped addresses
    daemon_threads = True
    request_queue_size = 100


@contextmanager
def _real_server() -> Iterator[_Server]:
    server = _Server(("::", 80), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("target", [OWN, OWN6])
@pytest.mark.parametrize("link", [Conditions(), BAD], ids=["good link", "bad link"])
def test_our_prober_is_answered_by_a_real_server(target: str, link: Conditions) -> None:
    def work() -> None:
        with RealTime(link) as world:
            probing = Probing(
                target,
                80,
                frozenset({"real"}),
                interval=50 * MILLISECOND,
                timeout=20 * SECOND,
                connections=3,
                heartbeat=100 * MILLISECOND,
                beat_timeout=20 * SECOND,
            )
            prober = world.do(lambda: Prober(world.host(2), probing))
            with _real_server():
                world.do(prober.start)
                # a connection that opens late on a busy machine has had fewer heartbeats by then
                world.wait(lambda: prober.begun >= 40 and len(prober.beats) >= 30, 60)
                world.do(prober.stop)
                world.wait(lambda: prober.finished, 60)
            assert Counter(attempt.outcome for attempt in prober.attempts) == {"ok": prober.begun}
            assert {beat.outcome for beat in prober.beats} == {"ok"}
            # and to a port where nobody listens
            closed = Probing(target, 81, frozenset({"real"}), timeout=20 * SECOND)
            again = world.do(lambda: Prober(world.host(3), closed))
            world.do(again.start)
            world.wait(lambda: len(again.attempts) >= 5, 60)
            world.do(again.stop)
            assert {each.outcome for each in again.attempts[:5]} == {"refused"}

    _inside(work)


def _opening(packet: Any) -> dict[str, Any]:
    """What a SYN or its answer says of the stack that sent it; a stack's own numbers are left
    out.
    """
    tcp = packet["TCP"]
    named = [name if name in ("Timestamp", "WScale") else (name, value) for name, value in tcp.options]
    head = packet["IP"] if "IP" in packet else packet["IPv6"]
    hops = head.ttl if "IP" in packet else head.hlim
    fragments = str(head.flags) if "IP" in packet else None
    return {"flags": str(tcp.flags), "options": named, "hops": hops, "fragments": fragments}


@pytest.mark.parametrize(("ours", "real"), [("10.9.0.2", OWN), ("fd09::2", OWN6)])
def test_our_handshake_looks_like_that_of_a_real_kernel(ours: str, real: str) -> None:
    def work() -> None:
        with RealTime() as world:
            host = world.do(lambda: world.host(2))
            world.do(lambda: HttpServer(host).start())
            prober = Prober(host, Probing(real, 80, frozenset({"real"}), interval=SECOND))
            with _real_server():
                world.do(prober.start)
                url = f"http://[{ours}]/" if ":" in ours else f"http://{ours}/"
                assert _curl(url).returncode == 0
                world.wait(lambda: bool(prober.attempts))
                world.do(prober.stop)
            assert prober.attempts[0].outcome == "ok"
            packets = [Ether(recorded.frame) for recorded in world.do(lambda: list(world.record.kept))]
        mac = "02:00:00:09:00:02"
        for flags in ("S", "SA"):
            looks = {
                side: [
                    _opening(packet)
                    for packet in packets
                    if "TCP" in packet and str(packet["TCP"].flags) == flags and (packet.src == mac) == side
                ]
                for side in (True, False)
            }
            assert looks[True] and looks[True] == looks[False]

    _inside(work)


def test_a_real_server_that_dies_closes_our_lasting_connections() -> None:
    def work() -> None:
        with RealTime() as world:
            probing = Probing(OWN, 80, frozenset({"real"}), interval=None, connections=2)
            prober = world.do(lambda: Prober(world.host(2), probing))
            with socket.create_server((OWN, 80)) as server:
                world.do(prober.start)
                ends = [server.accept()[0] for _ in range(2)]
                reset, closed = ends
                reset.recv(1000)
                reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                reset.close()
                closed.recv(1000)
                closed.close()
                world.wait(lambda: len(prober.beats) == 2)
            assert Counter(beat.outcome for beat in prober.beats) == {"reset": 1, "closed": 1}

    _inside(work)
