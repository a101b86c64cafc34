"""Further scenarios say in virtual time what they say in real time (tests/lab/test_both_worlds.py):
minutes each, and on a busy machine more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import test_both_worlds as both

HELD = (
    "drain",
    "flapping-server",
    "idle-connection",
    "removal",
    "server-hung",
    "server-power-off",
    "udp-dead-server",
    "weighted-round-robin",
)


@pytest.mark.parametrize("name", HELD)
def test_both_worlds_agree(name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    both.hold(name, tmp_path, tmp_path_factory)
