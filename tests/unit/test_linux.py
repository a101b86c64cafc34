"""What asks the kernel directly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lvslab.host import linux


def test_a_group_that_has_ended_needs_no_killing() -> None:
    """As when a signal ends a node's program just before the lab does."""
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    linux.kill_group(process.pid)


def test_a_group_is_killed_with_its_leader() -> None:
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    linux.kill_group(process.pid)
    assert process.wait() == -9


def test_a_bound_command_does_not_begin_without_the_process_that_started_it(tmp_path: Path) -> None:
    """That one may be killed before the kernel is told to watch it; here a number that is not its
    own stands for it.
    """
    mark = tmp_path / "began"
    command = linux.bound(["touch", str(mark)])
    other = [word.replace(str(os.getpid()), "1") if word == str(os.getpid()) else word for word in command]
    assert other != command and subprocess.run(other).returncode != 0 and not mark.exists()
    assert subprocess.run(command).returncode == 0 and mark.exists()


def test_a_process_that_has_something_to_do_is_runnable() -> None:
    with (
        subprocess.Popen(["sh", "-c", "while :; do :; done"]) as busy,
        subprocess.Popen(["cat"], stdin=-1) as idle,
    ):
        try:
            assert linux.is_runnable(busy.pid)
            deadline = time.monotonic() + 60
            while linux.is_runnable(idle.pid):  # it starts
                assert time.monotonic() < deadline
        finally:
            busy.kill()
            idle.kill()
    assert not linux.is_runnable(busy.pid)
