"""What the search finds from a plain start within ten minutes on two processors, and what it finds
in a keepalived.conf that is wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog.virtual_time import entry_in_virtual_time
from lvslab.errors import CannotError
from tests.unit.explore import configs

WANTED = {
    "a split that gratuitous ARP does not heal": "a director without the address",
    "a connection lost between sync messages": "lost between sync messages",
    "a drained server revived by persistence": "a persistent client comes back",
    "a UDP flow stuck on a dead server": "UDP, sent to a server after",
}
"""Finding → what its fingerprint holds."""


@pytest.fixture(autouse=True)
def _kernel() -> None:
    try:
        entry_in_virtual_time()
    except CannotError as error:
        pytest.skip(str(error))


def fingerprints(tmp_path: Path, *words: str) -> list[str]:
    """Of what a search finds."""
    command = [sys.executable, "-m", "lvslab", "explore", *words, "--runs", str(tmp_path / "runs"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)
    data: Mapping[str, Any] = json.loads(done.stdout)
    return [finding["fingerprint"] for finding in data["findings"]]


def test_a_plain_start_finds_the_known_traps_in_ten_minutes(tmp_path: Path) -> None:
    found = fingerprints(tmp_path, "--minutes", "10")
    missing = [name for name, part in WANTED.items() if not any(part in each for each in found)]
    assert not missing, found


def test_a_pair_of_files_without_a_mistake_breaks_nothing_by_itself(tmp_path: Path) -> None:
    files = configs.write_pair(tmp_path, configs.text(), configs.text(100))
    schedule = tmp_path / "nothing.toml"
    quoted = ", ".join(f'"{file}"' for file in files)
    schedule.write_text(f'[setup]\nmode = "nat"\ndirectors = 2\nconfig = [{quoted}]\n')
    assert not fingerprints(tmp_path, "--schedule", str(schedule), "--tries", "1")


def test_routers_of_one_pair_with_two_numbers_are_found(tmp_path: Path) -> None:
    files = configs.write_pair(tmp_path, configs.text(), configs.text(100, router_id=61))
    found = fingerprints(tmp_path, "--config", files[0], "--config", files[1], "--tries", "6")
    assert "tables-agree: connections" in found


def test_a_check_that_never_fails_is_found(tmp_path: Path) -> None:
    blind = configs.text(check=configs.BLIND_CHECK)
    files = configs.write_pair(tmp_path, blind, blind.replace("priority 150", "priority 100"))
    found = fingerprints(tmp_path, "--config", files[0], "--config", files[1], "--tries", "40")
    assert any(each.startswith("answered-in-time: HTTP, sent to a server after") for each in found), found
