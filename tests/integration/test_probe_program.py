"""The prober against servers of this process on the loopback interface; no kernel is booted."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from lvslab.runs.probes import read_probes
from lvslab.traffic import probe_program
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
)


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
        done = start(spec(port, seconds=0.05, timeout=PATIENCE)).end()
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
        run = start(spec(port, seconds=600.0, timeout=PATIENCE))
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
