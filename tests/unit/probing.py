"""Servers to probe, and the prober's program run as a process, for tests."""

from __future__ import annotations

import json
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

from lvslab.runs.outage import Attempt, Beat
from lvslab.runs.probes import read_probes
from lvslab.traffic import probe_program
from lvslab.traffic.prober import ProbeSpec

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
