"""Kernels of the catalog: each boots as its entry says; what is added is tried by a boot, and a
liar is refused. Fetching itself is tried only where LVSLAB_TEST_FETCH is set: it downloads 40 MB.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.catalog import catalog
from lvslab.host import linux, sandbox
from lvslab.kernels import kinds, probe
from lvslab.kernels.machine import Guest, Kernel
from lvslab.kernels.needs import KernelFacts
from lvslab.kernels.uml import UmlKernel

from .conftest import LVSLAB, in_sandbox, run_lvslab

ENTRIES = [entry for entry in catalog.entries() if entry.kind == "uml" and entry.version]
needs_entries = pytest.mark.skipif(
    not ENTRIES, reason="no kernel was fetched; run: lvslab kernels fetch debian/trixie:uml"
)
may_fetch = pytest.mark.skipif(not os.environ.get("LVSLAB_TEST_FETCH"), reason="LVSLAB_TEST_FETCH is not set")


def _tried(kernel: Kernel) -> probe.Trial:
    return probe.try_kernel(kernel, sandbox.PRIVATE_DIRECTORY / "console")


def _without_reasons(facts: KernelFacts) -> KernelFacts:
    return replace(facts, unmet=dict.fromkeys(facts.unmet, ""))


@needs_entries
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.full_name)
def test_a_fetched_kernel_is_what_its_entry_says(entry: catalog.CatalogEntry) -> None:
    kernel = catalog.find(entry.full_name)
    trial = in_sandbox(_tried, kinds.kernel_at(entry.directory))
    # reasons are words of programs, and of the lvslab that fetched it
    assert _without_reasons(trial.facts) == _without_reasons(entry.facts)
    assert trial.kernel == kernel, "the extra arguments are of use on one boot and of none on another"


def _two_releases(names: list[str]) -> list[str]:
    guests: list[Guest] = []
    try:
        for name in names:
            home = sandbox.PRIVATE_DIRECTORY
            number = len(guests)
            guests.append(
                catalog.find(name).boot(
                    f"g{number}", ["ip_vs"], home / f"g{number}", home / f"console{number}"
                )
            )
        for guest in guests:
            guest.wait_ready()
        return [guest.run("uname -r; modprobe ip_vs_wlc && echo loaded").out for guest in guests]
    finally:
        for guest in guests:
            guest.close()


@needs_entries
def test_the_installed_and_a_fetched_kernel_run_side_by_side_each_with_its_modules() -> None:
    names = ["uml", ENTRIES[-1].full_name]
    releases = [catalog.find(name).modules.release for name in names]
    assert in_sandbox(_two_releases, names) == [f"{release}\nloaded\n" for release in releases]


# -- kernels that the user brings ------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lvslab" / "kernels"


def _copied(where: Path, release: str | None = None) -> Path:
    """The installed kernel as a user may have it, with its modules under a release's name."""
    installed = UmlKernel.installed()
    (where / "modules").mkdir(parents=True)
    shutil.copy2(installed.binary, where / "linux")
    shutil.copytree(
        installed.modules.directory, where / "modules" / (release or installed.modules.release), symlinks=True
    )
    return where


def _dies_at_once(path: Path) -> None:
    """A program that ends at once (elf(5)), and says that it is User-Mode Linux."""
    code = b"\xbf\x03\x00\x00\x00\xb8\x3c\x00\x00\x00\x0f\x05"  # mov $3,%edi; mov $60,%eax; syscall
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    size = 120 + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 4096)
    path.write_bytes(header + segment + code + b"User Mode Linux")
    path.chmod(0o755)


def test_an_added_kernel_runs_a_mode_and_can_be_removed(tmp_path: Path, cache: Path) -> None:
    added = run_lvslab("kernels", "add", str(_copied(tmp_path / "mine")), "--name", "mine")
    assert added.code == 0, added.err
    assert "use it: --kernel local/mine" in added.out
    verified = run_lvslab("verify", "nat", "--kernel", "local/mine", "--runs", str(tmp_path / "runs"))
    assert verified.code == 0, verified.err + verified.out
    assert run_lvslab("kernels", "remove", "local/mine").code == 0
    assert catalog.entries(cache) == []
    refused = run_lvslab("verify", "nat", "--kernel", "local/mine", "--runs", str(tmp_path / "runs"))
    assert refused.code == 4 and "lvslab kernels build TREE --name mine" in refused.err


def test_a_kernel_that_does_not_boot_or_lies_is_refused_with_its_last_lines(
    tmp_path: Path, cache: Path
) -> None:
    lying = run_lvslab("kernels", "add", str(_copied(tmp_path / "lying", "6.66.6")))
    assert lying.code == 69
    assert "kernel 'local/6.66.6': refused" in lying.err
    dying = _copied(tmp_path / "dying")
    (dying / "linux").unlink()
    _dies_at_once(dying / "linux")
    dead = run_lvslab("kernels", "add", str(dying))
    assert dead.code == 69 and "refused" in dead.err
    (tmp_path / "text").write_text("no kernel")
    assert run_lvslab("kernels", "add", str(tmp_path / "text")).code == 2
    assert catalog.entries(cache) == []


def _running_below(directory: Path) -> list[str]:
    """The processes that work with files in a directory, each with where it stands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended, or is nobody's business
            if str(directory).encode() in (words := path.read_bytes()):
                found.append(f"{linux.standing(int(path.parent.name))}: {words!r}")
    return found


def test_killing_the_command_at_the_trial_boot_leaves_nothing_that_is_seen_or_runs(
    tmp_path: Path, cache: Path
) -> None:
    mine = _copied(tmp_path / "mine")
    command = [*LVSLAB, "kernels", "add", str(mine), "--name", "mine"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr
        assert any("trial boot" in line for line in process.stderr)
        process.kill()
        process.wait(20)
    deadline = time.monotonic() + 60
    while (running := _running_below(cache)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running
    assert list(cache.glob("work-*")), "the test does not show anything: nothing was left"
    assert catalog.entries(cache) == []
    assert run_lvslab("kernels", "add", str(mine), "--name", "mine").code == 0
    assert not list(cache.glob("work-*"))


# -- fetching --------------------------------------------------------------------------------------

FETCH = """
import sys
from lvslab.catalog.fetch import fetch
fetch("debian/trixie", tell=lambda event: (sys.stderr.write(f"{event.kind} {event.text}\\n"), sys.stderr.flush()))
"""  # noqa: E501


@may_fetch
def test_a_fetch_interrupted_at_any_stage_leaves_nothing_and_a_later_one_succeeds(tmp_path: Path) -> None:
    cache = tmp_path / "lvslab" / "kernels"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    for sig, stage in (
        (signal.SIGINT, "user-mode-linux"),
        (signal.SIGKILL, "unpacking"),
        (signal.SIGINT, "trial boot"),
    ):
        with subprocess.Popen(
            [sys.executable, "-c", FETCH],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        ) as process:
            assert process.stderr
            assert any(stage in line for line in process.stderr), f"stage {stage} never came"
            os.killpg(process.pid, sig) if sig == signal.SIGINT else process.kill()
            process.stderr.read()
            assert process.wait(30) != 0
        assert catalog.entries(cache) == []
    done = subprocess.run(
        [sys.executable, "-c", FETCH], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (entry,) = catalog.entries(cache)
    assert entry.kernel().modules.release == entry.release
    assert not list(cache.glob("work-*"))
