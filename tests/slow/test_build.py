"""Building real kernels: minutes each, so not part of `make test`; run it by `make slow`.

LVSLAB_TREE names a kernel source tree or archive; by default /usr/src/linux-source-*.tar.xz is
taken. With ccache all but the first are quick.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lvslab.catalog import catalog, tree

LVSLAB = [sys.executable, "-m", "lvslab"]
TREES = [os.environ.get("LVSLAB_TREE", ""), *sorted(map(str, Path("/usr/src").glob("linux-source-*.tar.xz")))]
TREE = next((Path(each) for each in TREES if each), None)
pytestmark = pytest.mark.skipif(
    TREE is None, reason="no kernel source; run: apt-get install linux-source-6.1, or set LVSLAB_TREE"
)

ROUND_ROBIN = "net/netfilter/ipvs/ip_vs_rr.c"
NEXT_ONE = "\tsvc->sched_data = &dest->n_list;\n"
"""Without this line of ip_vs_rr_schedule the first server gets everything."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as a directory that a test may change."""
    assert TREE is not None
    where = tmp_path_factory.mktemp("tree") / "linux"
    tree.take_over(tree.recognise(TREE), where, lambda event: None)
    return where


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for all tests: a build's path is below it, and ccache knows objects by
    their paths.
    """
    home = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "lvslab" / "kernels"


def lvslab(*words: str, seconds: float = 3000) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LVSLAB, *words], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )


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
