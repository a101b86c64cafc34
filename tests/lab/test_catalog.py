"""Fetched kernels: each boots as its entry says. Fetching itself is tried only where LVSLAB_TEST_FETCH is set: it downloads 40 MB."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lvslab.kernels import catalog, probe
from lvslab.kernels.uml import UmlGuest, UmlKernel
from lvslab.network import sandbox

from .conftest import in_sandbox

ENTRIES = catalog.entries()
may_fetch = pytest.mark.skipif(not os.environ.get("LVSLAB_TEST_FETCH"), reason="LVSLAB_TEST_FETCH is not set")


def _tried(kernel: UmlKernel) -> probe.Trial:
    return probe.try_kernel(kernel, sandbox.PRIVATE_DIRECTORY / "console")


@pytest.mark.skipif(not ENTRIES, reason="no kernel was fetched; run: lvslab kernels fetch debian/trixie:uml")
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.full_name)
def test_a_fetched_kernel_is_what_its_entry_says(entry: catalog.CatalogEntry) -> None:
    kernel = catalog.find(entry.full_name)
    trial = in_sandbox(_tried, UmlKernel(kernel.binary, kernel.modules))
    assert trial.facts == entry.facts
    assert trial.kernel == kernel, "the extra arguments are of use on one boot and of none on another"


def _two_releases(names: list[str]) -> list[str]:
    guests: list[UmlGuest] = []
    try:
        for name in names:
            home = sandbox.PRIVATE_DIRECTORY
            guests.append(UmlGuest(catalog.find(name), f"g{len(guests)}", ["ip_vs"], home / f"g{len(guests)}", home / "console"))
        for guest in guests:
            guest.wait_ready()
        return [guest.run("uname -r; modprobe ip_vs_wlc && echo loaded").out for guest in guests]
    finally:
        for guest in guests:
            guest.close()


@pytest.mark.skipif(not ENTRIES, reason="no kernel was fetched; run: lvslab kernels fetch debian/trixie:uml")
def test_the_installed_and_a_fetched_kernel_run_side_by_side_each_with_its_modules() -> None:
    names = ["uml", ENTRIES[-1].full_name]
    releases = [catalog.find(name).modules.release for name in names]
    assert in_sandbox(_two_releases, names) == [f"{release}\nloaded\n" for release in releases]


FETCH = """
import sys
from lvslab.kernels.fetch import fetch
fetch("debian/trixie", tell=lambda event: (sys.stderr.write(f"{event.kind} {event.text}\\n"), sys.stderr.flush()))
"""


@may_fetch
def test_a_fetch_interrupted_at_any_stage_leaves_nothing_and_a_later_one_succeeds(tmp_path: Path) -> None:
    cache = tmp_path / "lvslab" / "kernels"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    for sig, stage in ((signal.SIGINT, "user-mode-linux"), (signal.SIGKILL, "unpacking"), (signal.SIGINT, "trial boot")):
        with subprocess.Popen(
            [sys.executable, "-c", FETCH], stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        ) as process:
            assert process.stderr
            assert any(stage in line for line in process.stderr), f"stage {stage} never came"
            os.killpg(process.pid, sig) if sig == signal.SIGINT else process.kill()
            process.stderr.read()
            assert process.wait(30) != 0
        assert catalog.entries(cache) == []
    done = subprocess.run([sys.executable, "-c", FETCH], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (entry,) = catalog.entries(cache)
    assert entry.kernel().modules.release == entry.release
    assert not list(cache.glob("work-*"))
