"""Building real kernels: minutes each, so not part of `make test`; run it by `make slow`.

With ccache all but the first are quick.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from lvslab.catalog import catalog
from tests.slow.trees import LVSLAB, NEXT_ONE, ROUND_ROBIN, lvslab, needs_tree, take_tree

pytestmark = needs_tree


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return take_tree(tmp_path_factory.mktemp("tree") / "linux")


@pytest.fixture(autouse=True)
def cache(own_cache: Path) -> Path:
    return own_cache


def _files(source: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in source.rglob("*")}


def test_a_tree_gives_a_kernel_that_passes_all_modes_and_stays_as_it_is(source: Path, tmp_path: Path) -> None:
    before = _files(source)
    made = lvslab("kernels", "build", str(source), "--name", "plain")
    assert made.returncode == 0, made.stderr
    assert "left" in made.stderr, "no progress was shown"
    assert _files(source) == before
    verified = lvslab("verify", "--kernel", "local/plain", "--runs", str(tmp_path))
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_broken_scheduler_is_caught(source: Path, tmp_path: Path) -> None:
    path = source / ROUND_ROBIN
    text = path.read_text()
    assert text.count(NEXT_ONE) == 1, "this tree's round robin is written otherwise"
    path.write_text(text.replace(NEXT_ONE, ""))
    try:
        made = lvslab("kernels", "build", str(source), "--name", "broken")
    finally:
        path.write_text(text)
    assert made.returncode == 0, made.stderr
    checked = lvslab(
        "verify", "--only", "scheduler:rr:*", "--kernel", "local/broken", "--runs", str(tmp_path)
    )
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "FAIL scheduler:rr:" in checked.stdout


def test_a_tree_that_does_not_compile_is_told_with_the_compilers_error(source: Path, cache: Path) -> None:
    path = source / ROUND_ROBIN
    text = path.read_text()
    path.write_text(text + "#error lvslab was here\n")
    try:
        made = lvslab("kernels", "build", str(source), "--name", "wrong")
    finally:
        path.write_text(text)
    assert made.returncode == 69
    assert "#error lvslab was here" in made.stderr
    assert (cache / "build.log").is_file()
    assert "local/wrong" not in [entry.name for entry in catalog.entries(cache)]


def test_killing_the_command_ends_every_compiler_and_leaves_no_entry(source: Path, cache: Path) -> None:
    command = [*LVSLAB, "kernels", "build", str(source), "--name", "killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert any("compiling" in line for line in process.stderr)
        process.kill()
        process.wait(20)
    deadline = time.monotonic() + 20
    while (left := _working_in(cache)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert "local/killed" not in [entry.name for entry in catalog.entries(cache)]


def _working_in(directory: Path) -> list[str]:
    """Processes whose working directory is below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(process / "cwd")
        except OSError:
            continue
        if where.startswith(str(directory)):
            found.append(where)
    return found
