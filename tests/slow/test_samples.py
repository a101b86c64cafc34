"""keepalived's own sample files, as its package ships them: each is rehearsed, or refused with the
true reason.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path("/usr/share/doc/keepalived/samples")

FILES = sorted(SAMPLES.glob("keepalived.conf*"))


def _balances(file: Path) -> bool:
    """Whether a file has virtual servers, by keepalived's own keyword (keepalived.conf(5))."""
    return re.search(r"^\s*virtual_server\s", file.read_text(), re.MULTILINE) is not None


def _rehearse(file: Path, runs: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lvslab", "rehearse", str(file), "--runs", str(runs), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def test_the_package_has_samples() -> None:
    assert len(FILES) > 20
    assert 10 < sum(map(_balances, FILES)) < len(FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removeprefix("keepalived.conf."))
def test_a_sample_is_rehearsed_or_refused_with_the_reason(file: Path, tmp_path: Path) -> None:
    done = _rehearse(file, tmp_path, "--deaths", "none", "--json")
    if not _balances(file):
        assert done.returncode == 2
        assert "describe no virtual service" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        return
    assert done.stdout, done.stderr
    answer = json.loads(done.stdout)
    assert done.returncode in (0, 1), done.stderr
    assert all(answer["tables"].values()), "no table was built"
    assert not [said for said in answer["differences"] if " is missing" in said], "something was refused"
