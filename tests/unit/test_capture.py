"""A capture that cannot begin: what is said, and that nothing stays open. And whether frames bear
the time at which they came.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import CannotError
from lvslab.verify.capture import Capture, stamps_on_arrival


class Tap:
    """A packet socket that hears nothing."""

    closed = False

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_without_permission_nothing_is_captured_and_no_socket_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taps: list[Tap] = []

    def opened(*_: object) -> Tap:
        if taps:  # the first is given, the second refused
            raise PermissionError(1, "Operation not permitted")
        taps.append(Tap())
        return taps[0]

    monkeypatch.setattr(socket, "socket", opened)
    with pytest.raises(CannotError, match="capture on s1-eth2: no permission"):
        with Capture(tmp_path / "none.pcapng", {"s1-eth1": "c1-eth0", "s1-eth2": "lvs-eth0"}):
            pass
    assert [tap.closed for tap in taps] == [True]
    assert not (tmp_path / "none.pcapng").exists()


_SO_TIMESTAMPNS = 35


def test_a_datagram_of_the_network_bears_the_time_at_which_it_came() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        deadline = time.monotonic() + 30
        while not stamps_on_arrival(sock, sock):  # the kernel begins to stamp when it comes to it
            assert time.monotonic() < deadline


class StampsAtReading:
    """A socket whose kernel has not begun to stamp."""

    def send(self, data: bytes) -> None:
        pass

    def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]]]:
        seconds, nanoseconds = divmod(time.time_ns() + 1, 1_000_000_000)
        return b"?", [(socket.SOL_SOCKET, _SO_TIMESTAMPNS, struct.pack("qq", seconds, nanoseconds))]


def test_a_message_that_is_stamped_when_it_is_read_is_told_from_it() -> None:
    late: Any = StampsAtReading()
    assert not stamps_on_arrival(late, late)


def test_it_is_not_quiet_while_a_guest_is_at_work(tmp_path: Path) -> None:
    """It may have to pass on a packet, however long it waits for a processor."""
    answers = iter([True, True, False])
    with Capture(tmp_path / "none.pcapng", {}) as capture:
        capture.wait_quiet(lambda: next(answers), quiet=0.0)
        with pytest.raises(StopIteration):
            next(answers)
        capture.wait_quiet(lambda: True, quiet=0.0, timeout=0.1)  # not for ever
