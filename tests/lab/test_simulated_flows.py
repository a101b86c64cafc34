"""A simulated TCP beside Linux's own: the same real client fetches the same octets from both, over
links that lose the same segments, and what was captured is compared flow by flow.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import PcapNgReader

from lvslab.host import linux
from lvslab.simulation.endpoints.base import SECOND
from lvslab.simulation.endpoints.servers import HttpServer
from lvslab.simulation.endpoints.tcp import TcpSettings
from tests.lab.conftest import in_sandbox
from tests.lab.realtime import PEER, TAP, RealTime

SIMULATED, PORT, CLOSED = "10.9.0.2", 80, 81
REQUEST, BODY = b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)) * 64
FIRST, THIRD, LAST = 1, 3, 12
"""Of the segments of the answer, by which one is lost."""
PATIENCE = 3
"""Seconds before a segment is sent again for want of an answer, on both sides: on a busy machine an
answer that was not lost comes later than Linux's 0.2 s, let alone its probe of a flow's tail after
two round trips.
"""


@dataclass(frozen=True)
class Half:
    """What one side of a flow sent, its own sequence numbers counted from its first one.

    Attributes:
        opening: flags, names of the options in their order and the segment size of its SYN, or of
            what came in place of it.
        window: of that segment, as it stands there.
        sent: of each segment with data, in the order of their first appearance: number, octets, and
            whether it ended the flow. Where it pushes is each sender's own affair.
        again: those that were sent more than once.
        other: flags of the segments without data, each kind once.
        ip: time to live, and whether it forbids fragments.
    """

    opening: tuple[str, tuple[str, ...], int]
    window: int
    sent: tuple[tuple[int, int, bool], ...]
    again: tuple[int, ...]
    other: frozenset[str]
    ip: tuple[int, bool]


def half(frames: Sequence[Any], source: str) -> Half:
    """One side of the flow in a capture."""
    own = [frame for frame in frames if frame[IP].src == source]
    first = own[0][TCP]
    options = {name: value for name, value in first.options if name != "NOP"}
    segments = [
        (frame[TCP].seq - first.seq, len(frame[TCP].payload), "F" in frame[TCP].flags)
        for frame in own
        if len(frame[TCP].payload)
    ]
    counts = Counter(number for number, _, _ in segments)
    return Half(
        (str(first.flags), tuple(options), options.get("MSS", 0)),
        first.window,
        tuple(dict.fromkeys(segments)),
        tuple(number for number, count in counts.items() if count > 1),
        frozenset(str(frame[TCP].flags) for frame in own if not len(frame[TCP].payload)),
        (own[0][IP].ttl, "DF" in own[0][IP].flags),
    )


def differences(simulated: Half, real: Half) -> list[str]:
    """What the simulated side does otherwise."""
    told = [
        f"{name}: {getattr(simulated, name)} simulated, {getattr(real, name)} of Linux"
        for name in ("opening", "sent", "again", "other", "ip")
        if getattr(simulated, name) != getattr(real, name)
    ]
    # Linux rounds the first window down to whole segments (tcp_select_initial_window)
    if abs(simulated.window - real.window) >= max(real.opening[2], 1):
        told.append(f"window: {simulated.window} simulated, {real.window} of Linux")
    return told


# -- both servers ----------------------------------------------------------------------------------


@contextmanager
def served(world: RealTime, **settings: Any) -> Iterator[bytes]:
    """A simulated server and, at the peer, a real one; yields what both answer."""
    patient = {"granularity": PATIENCE * SECOND, **settings}
    server = world.do(lambda: HttpServer(world.host(2, tcp=TcpSettings(**patient))))
    server.body = BODY
    world.do(server.start)
    head = b"HTTP/1.1 200 OK\r\nServer: lvslab\r\nContent-Type: text/plain\r\n"
    answer = head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY
    with linux.inside_network(world.namespace):
        for command in (
            "sysctl -qw net.ipv4.tcp_early_retrans=0",
            f"ip route change 10.9.0.0/24 dev {TAP} src {PEER} rto_min {PATIENCE}s",
        ):
            subprocess.run(command.split(), check=True)
        listener = socket.create_server((PEER, PORT))
    with listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(len(REQUEST))
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield answer
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def fetch(target: str, expected: bytes) -> None:
    with socket.create_connection((target, PORT), timeout=20) as connection:
        connection.sendall(REQUEST)
        got = b""
        while more := connection.recv(65536):
            got += more
        assert got == expected


def losing(number: int) -> Callable[[bytes], bool]:
    """Loses the segment of this number of those with data, once."""
    seen = 0

    def lose(frame: bytes) -> bool:
        nonlocal seen
        packet = Ether(frame)
        if TCP in packet and packet[TCP].sport == PORT and len(packet[TCP].payload):
            seen += 1
            return seen == number
        return False

    return lose


def captured(world: RealTime, target: str, file: Path) -> list[Any]:
    """The flow with a target as the capture of both has it, when its last acknowledgement is in."""
    deadline = time.monotonic() + 20
    while True:
        world.do(lambda: world.record.write(file))
        frames = [frame for frame in PcapNgReader(str(file)) if TCP in frame]
        own = [frame for frame in frames if target in (frame[IP].src, frame[IP].dst)]
        if own and ("R" in own[-1][TCP].flags or _over(own)):
            return own
        assert time.monotonic() < deadline, f"{target}: the flow does not end"
        time.sleep(0.05)


def _over(frames: Sequence[Any]) -> bool:
    ends = {frame[IP].src for frame in frames if "F" in frame[TCP].flags}
    return len(ends) == 2 and frames[-1][TCP].flags == "A"


def compare(file: Path, lost: int = 0, **settings: Any) -> list[str]:
    """The differences between both servers; each loses this segment, 0 none."""

    def work() -> list[str]:
        with RealTime(peer=True) as world, served(world, **settings) as answer:
            sides = []
            for target in (SIMULATED, PEER):
                world.lose = losing(lost)
                fetch(target, answer)
                sides.append(half(captured(world, target, file), target))
            assert bool(lost) == bool(sides[1].again)
            return differences(*sides)

    told: list[str] = in_sandbox(work)
    return told


@pytest.mark.parametrize("lost", [0, FIRST, THIRD, LAST])
def test_a_simulated_server_sends_what_linux_sends(lost: int, tmp_path: Path) -> None:
    assert compare(tmp_path / "flows.pcapng", lost) == []


@pytest.mark.parametrize(("settings", "name"), [({"sack": False}, "opening"), ({"buffer": 8192}, "window")])
def test_another_tcp_is_told_apart(settings: dict[str, Any], name: str, tmp_path: Path) -> None:
    told = compare(tmp_path / "flows.pcapng", **settings)
    assert [sentence.partition(":")[0] for sentence in told] == [name]


def test_a_port_that_nobody_has_is_refused_as_linux_does(tmp_path: Path) -> None:
    def work() -> None:
        with RealTime(peer=True) as world, served(world):
            resets = []
            for target in (SIMULATED, PEER):
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((target, CLOSED), timeout=20)
                syn, reset = captured(world, target, tmp_path / f"{target}.pcapng")
                answer = reset[TCP]
                resets.append((str(answer.flags), answer.seq, answer.ack - syn[TCP].seq, answer.window))
            assert resets[0] == resets[1] == ("RA", 0, 1, 0)

    in_sandbox(work)
