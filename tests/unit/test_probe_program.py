"""The prober against servers of this process on the loopback interface; no kernel is booted."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import LabError, UsageError
from lvslab.lab.nodes import GuestNode, LabHost
from lvslab.runs.outage import Attempt, Beat
from lvslab.runs.probes import read_probes
from lvslab.traffic import probe_program
from lvslab.traffic.prober import Prober, ProbeSpec
from lvslab.traffic.probing.answers import outcome_of

PATIENCE = 30.0

Handler = Callable[[socket.socket, tuple[str, int]], None]


def answer_as(name: str, extra: str = "") -> Handler:
    """Serve like a real server: one answer to HTTP/1.0, one after the other to HTTP/1.1."""

    def handle(sock: socket.socket, peer: tuple[str, int]) -> None:
        while request := sock.recv(4096):
            body = f"{name} {peer[0]} {peer[1]}\n"
            sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{extra}\r\n{body}".encode())
            if b"HTTP/1.0" in request:
                return

    return handle


def send(text: bytes) -> Handler:
    def handle(sock: socket.socket, _peer: tuple[str, int]) -> None:
        sock.recv(4096)
        sock.sendall(text)

    return handle


def reset(sock: socket.socket, _peer: tuple[str, int]) -> None:
    sock.recv(4096)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silence(sock: socket.socket, _peer: tuple[str, int]) -> None:
    while sock.recv(4096):
        pass


@contextmanager
def tcp_server(handler: Handler) -> Iterator[int]:
    """A server with a thread for each connection; yields its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port: int = listener.getsockname()[1]

        def one(sock: socket.socket, peer: tuple[str, int]) -> None:
            with sock, suppress(OSError):
                handler(sock, peer)

        def serve() -> None:
            while True:
                try:
                    sock, peer = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(sock, peer), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield port
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


@contextmanager
def udp_server(answers: Callable[[tuple[str, int], int], bytes | None]) -> Iterator[int]:
    """Answers each datagram with what `answers` makes of the sender and the datagram's number, from
    0.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            number = 0
            while True:
                data, peer = sock.recvfrom(4096)
                if data == b"end":
                    return
                text = answers(peer, number)
                number += 1
                if text is not None:
                    sock.sendto(text, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield sock.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"end", sock.getsockname())
        thread.join(PATIENCE)


def spec(port: int, **options: Any) -> ProbeSpec:
    return replace(
        ProbeSpec("127.0.0.1", port, ("rs1", "rs2"), rate=100.0, seconds=0.2, timeout=0.5, beat_timeout=0.5),
        **options,
    )


@dataclass
class Done:
    attempts: tuple[Attempt, ...]
    beats: tuple[Beat, ...]
    said: dict[str, Any]
    t0: float

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(each.outcome for each in self.attempts)


class Run:
    """The program, running; its files lie in `folder`."""

    def __init__(self, folder: Path, given: ProbeSpec) -> None:
        self.files = folder / "attempts.csv", folder / "beats.csv"
        text = json.dumps({**asdict(given), "interval": given.interval})
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", probe_program.__name__, text, *map(str, self.files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text: str, which: int = 0) -> None:
        """Until a file contains a text."""
        deadline = time.monotonic() + PATIENCE
        while not self.files[which].exists() or text not in self.files[which].read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, (
                f"no '{text}' in {self.files[which]}"
            )
            time.sleep(0.01)

    def end(self) -> Done:
        """Wait until it ends by itself."""
        assert self.process.stdout is not None and self.process.stderr is not None
        self.process.wait(PATIENCE)  # communicate() would close standard input and so stop it
        out, err = self.process.stdout.read(), self.process.stderr.read()
        assert self.process.returncode == 0, err
        started, totals = out.splitlines()
        read = read_probes(*self.files)
        assert not read.warnings
        return Done(read.attempts, read.beats, json.loads(totals), float(started.removeprefix("started ")))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[ProbeSpec], Run]]:
    runs: list[Run] = []

    def begin(given: ProbeSpec) -> Run:
        runs.append(Run(tmp_path, given))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()
        for stream in (run.process.stdin, run.process.stdout, run.process.stderr):
            assert stream is not None
            stream.close()


# -- TCP attempts ----------------------------------------------------------------------------------


def test_every_attempt_is_answered_and_planned_on_an_exact_grid(start: Callable[[ProbeSpec], Run]) -> None:
    with tcp_server(answer_as("rs1")) as port:
        done = start(spec(port, rate=250.0)).end()
    assert done.outcomes == {"ok": 50} == done.said["outcomes"]
    assert done.said["attempts"] == 50 and done.said["scheduling"] in ("fifo", "nice", "normal")
    ticks = sorted(round((each.planned - done.t0) * 1e6) for each in done.attempts)
    assert ticks == [number * 4000 for number in range(50)]
    for each in done.attempts:
        assert each.connect is not None and each.first_byte is not None
        assert each.planned <= each.start <= each.connect <= each.first_byte <= each.end
        assert each.server == "rs1"
    assert len({each.local_port for each in done.attempts}) > 1


def test_times_are_those_of_the_epoch_clock(start: Callable[[ProbeSpec], Run]) -> None:
    before = time.time()
    with tcp_server(answer_as("rs1")) as port:
        done = start(spec(port)).end()
    assert before - 0.001 <= done.t0 <= max(each.end for each in done.attempts) <= time.time() + 0.001


@pytest.mark.parametrize(
    ("handler", "outcome", "server"),
    [
        (reset, "reset", ""),
        (answer_as("rs9"), "wrong", "rs9"),
        (send(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nrs1 127.0.0.1 4"), "wrong", ""),
        (send(b"HTTP/1.1 503 Busy\r\nContent-Length: 14\r\n\r\nrs1 1.2.3.4 5\n"), "wrong", "rs1"),
        (send(b"SSH-2.0\r\n"), "wrong", ""),
        (send(b""), "wrong", ""),
        (send(b"HTTP/1.0 200 OK\r\n\r\nrs2 127.0.0.1 4\n"), "ok", "rs2"),
    ],
    ids=["reset", "stranger", "cut short", "status", "no http", "nothing", "no length"],
)
def test_outcomes_of_answers(
    start: Callable[[ProbeSpec], Run], handler: Handler, outcome: str, server: str
) -> None:
    with tcp_server(handler) as port:
        done = start(spec(port, seconds=0.05)).end()
    assert done.outcomes == {outcome: 5}
    assert {each.server for each in done.attempts} == {server}
    assert all(each.connect is not None for each in done.attempts)


def test_a_closed_port_refuses(start: Callable[[ProbeSpec], Run]) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        done = start(spec(unheard.getsockname()[1])).end()
    assert done.outcomes == {"refused": 20}
    assert all(each.connect is None and each.first_byte is None for each in done.attempts)


def test_attempts_go_on_while_others_wait_and_time_out(start: Callable[[ProbeSpec], Run]) -> None:
    with tcp_server(silence) as port:
        done = start(spec(port)).end()
    assert done.outcomes == {"timeout": 20}
    assert [round((each.planned - done.t0) * 1e3) for each in done.attempts] == list(range(0, 200, 10))
    for each in done.attempts:
        assert each.connect is not None and each.end - each.start >= 0.5 - 1e-6


def test_a_lost_syn_is_a_timeout(start: Callable[[ProbeSpec], Run]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = []
        # nobody accepts, so the queue is full and the kernel drops each further SYN
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
            waiting.append(sock)
        done = start(spec(full.getsockname()[1])).end()
        for sock in waiting:
            sock.close()
    assert done.outcomes == {"timeout": 20}
    assert all(each.connect is None for each in done.attempts)


def test_an_address_without_a_way_there_is_unreachable(start: Callable[[ProbeSpec], Run]) -> None:
    # loopback's broadcast address: no TCP to it
    done = start(spec(80, address="127.255.255.255")).end()
    assert done.outcomes == {"unreachable": 20}


def test_fixed_ports_are_used_in_turn(start: Callable[[ProbeSpec], Run]) -> None:
    low = 18000
    with tcp_server(answer_as("rs1")) as port:
        done = start(spec(port, ports=(low, low + 3), seconds=0.12)).end()
    ports = [each.local_port for each in sorted(done.attempts, key=lambda each: each.planned)]
    assert ports == [low, low + 1, low + 2, low + 3] * 3


def test_a_port_in_use_is_the_clients_own_fault(start: Callable[[ProbeSpec], Run]) -> None:
    with tcp_server(answer_as("rs1")) as port, socket.create_server(("", 0)) as taken:
        own = taken.getsockname()[1]
        done = start(spec(port, ports=(own, own))).end()
    assert done.outcomes == {"local": 20}
    assert {each.local_port for each in done.attempts} == {own}


# -- its end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end of input", "line", "signal"])
def test_it_stops_when_told_and_writes_what_is_under_way(start: Callable[[ProbeSpec], Run], how: str) -> None:
    with tcp_server(silence) as port:
        run = start(spec(port, seconds=600.0))
        run.wait_for("timeout")
        assert run.process.stdin is not None
        if how == "end of input":
            run.process.stdin.close()
        elif how == "line":
            run.process.stdin.write("stop\n")
            run.process.stdin.flush()
        else:
            run.process.send_signal(signal.SIGTERM)
        done = run.end()
    assert done.outcomes == {"timeout": done.said["attempts"]}  # also those that had just begun


def test_a_kill_loses_next_to_nothing(start: Callable[[ProbeSpec], Run]) -> None:
    with tcp_server(answer_as("rs1")) as port:
        run = start(spec(port, seconds=600.0))
        for _ in range(3):
            seen = run.files[0].read_text() if run.files[0].exists() else ""
            run.wait_for(seen + "1")
        run.process.kill()
        run.process.wait()
    read = read_probes(*run.files)
    assert read.warnings == () and {each.outcome for each in read.attempts} == {"ok"}


def test_a_late_prober_starts_what_is_overdue_at_once_and_says_so(start: Callable[[ProbeSpec], Run]) -> None:
    with tcp_server(answer_as("rs1")) as port:
        run = start(spec(port, seconds=600.0))
        run.wait_for("ok")
        run.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        seen = run.files[0].read_text()
        run.process.send_signal(signal.SIGCONT)
        run.wait_for(seen + "1")
        run.process.send_signal(signal.SIGTERM)
        done = run.end()
    ordered = sorted(done.attempts, key=lambda each: each.planned)
    assert [round((each.planned - done.t0) * 1e3) for each in ordered] == [
        number * 10 for number in range(len(ordered))
    ]
    assert done.said["worst_start_error"] > 0.1  # it stood still for three times that
    assert done.said["worst_start_error"] == pytest.approx(
        max(each.start - each.planned for each in ordered), abs=1e-5
    )


def test_waiting_costs_no_processor_time(start: Callable[[ProbeSpec], Run]) -> None:
    with tcp_server(answer_as("rs1")) as port:
        done = start(spec(port, rate=20.0, seconds=1.0, connections=2)).end()
    assert done.outcomes == {"ok": 20}
    assert (
        done.said["cpu_seconds"] < 0.5
    )  # processor time, whatever the machine's load; a loop that spins takes all of the second


def test_without_a_watchable_input_it_ends_by_itself(tmp_path: Path) -> None:
    with tcp_server(answer_as("rs1")) as port:
        given = spec(port)
        text = json.dumps({**asdict(given), "interval": given.interval})
        subprocess.run(
            [
                sys.executable,
                "-I",
                "-m",
                probe_program.__name__,
                text,
                str(tmp_path / "a"),
                str(tmp_path / "b"),
            ],
            stdin=subprocess.DEVNULL,
            check=True,
            timeout=PATIENCE,
        )
    assert len(read_probes(tmp_path / "a", None).attempts) == 20


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    given = spec(9)
    text = json.dumps({**asdict(given), "interval": given.interval})
    for file, reason in ((tmp_path / "none" / "a", "No such file"), (Path("/dev/full"), "No space left")):
        command = [sys.executable, "-I", "-m", probe_program.__name__, text, str(file), str(tmp_path / "b")]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 1
        assert str(file) in done.stderr and reason in done.stderr and "Traceback" not in done.stderr


# -- UDP -------------------------------------------------------------------------------------------


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


# -- long-lived connections ------------------------------------------------------------------------


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
            assert each.answered is not None and each.opened <= each.planned <= each.sent <= each.answered
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
        done = start(spec(port, rate=None, connections=2, heartbeat=0.05, seconds=0.4)).end()
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


# -- pure parts, the host's side -------------------------------------------------------------------


def test_errors_have_outcomes() -> None:
    named = {
        each: outcome_of(each)
        for each in (errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EMFILE, errno.EADDRNOTAVAIL)
    }
    assert list(named.values()) == ["unreachable", "timeout", "local", "local"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"address": "rs1"}, "not an IPv4 address"),
        ({"port": 0}, "port 0"),
        ({"servers": ()}, "servers"),
        ({"protocol": "sctp"}, "protocol 'sctp'"),
        ({"rate": 0.0}, "rate 0"),
        ({"rate": float("nan")}, "rate nan"),
        ({"rate": 1e6}, "rate 1000000"),
        ({"rate": None}, "nothing to do"),
        ({"timeout": 0.0}, "timeout"),
        ({"seconds": float("inf")}, "seconds"),
        ({"ports": (5, 4)}, "ports 5 to 4"),
        ({"flows": 3}, "flows"),
        ({"protocol": "udp", "flows": 3, "ports": (1024, 1025)}, "do not fit"),
        ({"protocol": "udp", "connections": 1}, "long-lived"),
        ({"connections": -1}, "negative"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        replace(spec(80), **wrong)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabHost:
    """A host that is this very process: its mnexec only starts what it is given."""
    program = tmp_path / "bin" / "mnexec"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nshift 2\ncase $2 in -c) exit 0 ;; esac\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    node: LabHost = LabHost.__new__(LabHost)
    node.name, node.pid = "c1", os.getpid()
    return node


def test_the_hosts_side_starts_and_stops_it(host: LabHost, tmp_path: Path) -> None:
    with (
        tcp_server(answer_as("rs1")) as port,
        Prober(host, spec(port, seconds=600.0), tmp_path / "a", tmp_path / "b") as prober,
    ):
        prober.check_alive()
        summary = prober.stop()
        assert summary == prober.stop() and not prober.alive
        with pytest.raises(LabError, match="has ended"):
            prober.check_alive()
    read = read_probes(tmp_path / "a", tmp_path / "b")
    assert summary.attempts == len(read.attempts)
    assert summary.start == prober.start


def test_what_kills_the_prober_is_told(host: LabHost, tmp_path: Path) -> None:
    with (
        pytest.raises(LabError, match=r"prober in c1 did not start: .*No such file"),
        Prober(host, spec(9), tmp_path / "none" / "a", tmp_path / "b"),
    ):
        pass
    with tcp_server(answer_as("rs1")) as port, pytest.raises(LabError, match="ended with -9"):
        with Prober(host, spec(port, seconds=600.0), tmp_path / "a", tmp_path / "b") as prober:
            assert prober._program is not None
            os.kill(prober._program.pid, signal.SIGKILL)


def test_an_error_in_the_block_ends_it_and_keeps_the_records(host: LabHost, tmp_path: Path) -> None:
    with tcp_server(silence) as port, pytest.raises(ZeroDivisionError):
        with Prober(host, spec(port, seconds=600.0), tmp_path / "a", tmp_path / "b") as prober:
            deadline = time.monotonic() + PATIENCE
            while not read_probes(tmp_path / "a", None).attempts and time.monotonic() < deadline:
                time.sleep(0.01)
            raise ZeroDivisionError
    assert not prober.alive
    assert {each.outcome for each in read_probes(tmp_path / "a", None).attempts} == {"timeout"}


def test_a_guest_is_refused(tmp_path: Path) -> None:
    node: GuestNode = GuestNode.__new__(GuestNode)
    node.name = "c2"
    with pytest.raises(UsageError, match=r"prober in c2: .* machine's own kernel"):
        Prober(node, spec(80), tmp_path / "a", tmp_path / "b")
