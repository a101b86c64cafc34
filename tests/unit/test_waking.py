"""Who sleeps although something can be read is woken; nobody else is."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lvslab.kernels.waking import Waker
from lvslab.lab.sleepers import Sleepers

SECONDS = 20.0


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process in the place of a guest's kernel, asleep."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            await_state(process.pid, "S")
            yield process.pid
        finally:
            process.kill()


def await_state(pid: int, state: str) -> None:
    deadline = time.monotonic() + SECONDS
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != state:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Scene:
    """A waker, a socket that it watches, and what it did."""

    def __init__(self, pid: int) -> None:
        self.did: queue.Queue[str] = queue.Queue()
        self.here, self.there = socket.socketpair()
        self.waker = Waker("lvs", pid, lambda: self.did.put("woke it"))
        self.watch()

    def watch(self) -> None:
        number = os.fstat(self.there.fileno()).st_ino
        self.waker.watch([(number, os.dup(self.there.fileno()))])

    def close(self) -> None:
        self.waker.close()
        self.here.close()
        self.there.close()


@pytest.fixture
def scene(sleeper: int) -> Iterator[Scene]:
    scene = Scene(sleeper)
    yield scene
    scene.close()


def test_a_sleeper_is_woken_when_something_lies_there(scene: Scene) -> None:
    scene.here.send(b"frame")
    assert scene.did.get(timeout=SECONDS) == "woke it"


def test_it_is_called_again_until_it_takes_what_is_there(scene: Scene) -> None:
    scene.here.send(b"frame")
    for _ in range(3):
        scene.did.get(timeout=SECONDS)
    assert scene.waker.unheard >= 1
    scene.there.recv(100)
    with suppress(queue.Empty):
        while True:  # those that were under way
            scene.did.get(timeout=0.3)
    scene.here.send(b"another")
    assert scene.did.get(timeout=SECONDS) == "woke it"


def test_a_kernel_that_stands_still_is_left_alone_until_it_goes_on(scene: Scene, sleeper: int) -> None:
    os.kill(sleeper, signal.SIGSTOP)
    await_state(sleeper, "T")
    scene.here.send(b"frame")
    with pytest.raises(queue.Empty):
        scene.did.get(timeout=0.3)
    os.kill(sleeper, signal.SIGCONT)
    assert scene.did.get(timeout=SECONDS) == "woke it"


def test_a_socket_is_watched_once_however_often_it_is_given(scene: Scene) -> None:
    before = open_files()
    scene.watch()
    assert open_files() == before


def test_nothing_stays_open(sleeper: int) -> None:
    before = open_files()
    scene = Scene(sleeper)
    scene.close()
    scene.waker.close()
    scene.waker.watch([])
    assert open_files() == before


@pytest.mark.parametrize(
    ("seen", "wakes", "said"),
    [
        (Sleepers(900, 0, 0), True, "none sleeps: in 900 requests through a director its guest fell"),
        (Sleepers(900, 12, 1), True, "asleep on a packet 12 times, and was woken"),
        (Sleepers(900, 12, 7), False, "was not woken by 7 of 12 calls; latencies have a false tail"),
    ],
)
def test_a_trial_says_whether_packets_sleep(seen: Sleepers, wakes: bool, said: str) -> None:
    assert seen.wakes == wakes and said in str(seen)
