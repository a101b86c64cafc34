"""What runs alone ends with its block at whatever moment that is left; ending bubblewrap alone
leaves some of it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lvslab.kernels import alone

MOMENTS = 160
STEP = 0.000_125
"""Seconds from one moment to the next: together they are what bubblewrap takes to begin."""


@contextmanager
def ended_by_a_kill(command: list[str], files: tuple[Path, ...]) -> Iterator[None]:
    process = subprocess.Popen(
        alone.command_of(command, files), stdin=subprocess.DEVNULL, start_new_session=True
    )
    yield
    process.kill()
    process.wait()


def running(word: str) -> list[int]:
    """Processes that have a word in their command line and have not ended."""
    numbers = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and word in (place / "cmdline").read_text(errors="replace").split("\0"):
                numbers += [int(place.name)]
        except OSError:  # it has ended
            continue
    return numbers


@pytest.mark.parametrize(
    ("way", "outlives"), [(alone.running, False), (ended_by_a_kill, True)], ids=["running", "killed"]
)
def test_nothing_outlives_a_block_whenever_it_is_left(way: Any, outlives: bool) -> None:
    seconds = f"60.{os.getpid()}{int(outlives)}"  # nobody else sleeps so long
    for moment in range(MOMENTS):
        with way(["sleep", seconds], ()):
            time.sleep(moment * STEP)
    deadline = time.monotonic() + (2 if outlives else 30)
    while (left := running(seconds)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for number in left:
        os.kill(number, 9)
    assert bool(left) == outlives
