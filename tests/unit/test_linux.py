"""What asks the kernel directly."""

from __future__ import annotations

import subprocess
import sys

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
