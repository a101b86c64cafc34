"""keepalived's own sample files, as its package ships them: each is rehearsed, or refused with the
true reason; and the lab's table is, line by line, the one that the daemon makes of the file in a
kernel with nothing of a lab.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lvslab.reading.keepalived import read_keepalived
from tests.lab.bare import Bare, answer, bare_tables

SAMPLES = Path("/usr/share/doc/keepalived/samples")

FILES = sorted(SAMPLES.glob("keepalived.conf*"))


def _balances(file: Path) -> bool:
    """Whether a file has virtual servers, by keepalived's own keyword (keepalived.conf(5))."""
    return re.search(r"^\s*virtual_server\s", file.read_text(), re.MULTILINE) is not None


BALANCING = [file for file in FILES if _balances(file)]


def _rehearse(file: Path, runs: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lvslab", "rehearse", str(file), "--runs", str(runs), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def _bare(file: Path) -> Bare:
    text = file.read_text()
    read = read_keepalived(text)
    services = [service for pool in read.pools for service in pool.services]
    answers = []
    if re.search(r"^\s*alpha\b", text, re.MULTILINE):  # its servers begin dead
        servers = [each.server.address for pool in read.pools for each in pool.servers]
        answers = [answer(address, 80, "tcp") for address in servers]
    return Bare(
        "keepalived",
        {"/etc/keepalived/keepalived.conf": text},
        len(services) + sum(len(service.real_servers) for service in services),
        links=read.interfaces or ("eth0",),
        answers=tuple(answers),
    )


@pytest.fixture(scope="module")
def bare() -> dict[Path, list[str]]:
    """The tables without a lab."""
    return dict(zip(BALANCING, bare_tables([_bare(file) for file in BALANCING]), strict=True))


def test_the_package_has_samples() -> None:
    assert len(FILES) > 20
    assert 10 < len(BALANCING) < len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removeprefix("keepalived.conf."))
def test_a_sample_is_rehearsed_or_refused_with_the_reason(
    file: Path, tmp_path: Path, bare: dict[Path, list[str]]
) -> None:
    done = _rehearse(file, tmp_path, "--deaths", "none", "--json")
    if file not in bare:
        assert done.returncode == 2
        assert "describe no virtual service" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        return
    assert done.stdout, done.stderr
    answers = json.loads(done.stdout)
    assert done.returncode in (0, 1), done.stderr
    assert answers["differences"] == []
    (table,) = answers["tables"].values()
    assert sorted(table.splitlines()) == bare[file]
