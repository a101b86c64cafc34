"""Bench on real kernels: the same figure twice, a slower path is seen, packets that do not arrive
make no figure.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lvslab.bench import kernel
from lvslab.errors import CannotError
from tests.lab.conftest import LVSLAB, run_lvslab

ORDINARY_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
ROUTING, DR = "baseline:routing:udp4:established", "mode:dr:udp4:established"


@pytest.fixture(scope="module", autouse=True)
def stock_kernel() -> str:
    """A stock kernel; where there is none, or no QEMU, the reason is said."""
    try:
        if not shutil.which("qemu-system-x86_64"):
            raise CannotError("qemu-system-x86_64: not installed; run: apt-get install qemu-system-x86")
        return kernel.find(None).name
    except CannotError as error:
        if os.environ.get("LVSLAB_REQUIRE_LAB"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def figures(data: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Figure → kernel → its cost."""
    return {figure["name"]: {cost["kernel"]: cost for cost in figure["costs"]} for figure in data["figures"]}


@pytest.fixture(scope="module")
def twice(stock_kernel: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One kernel measured twice, as an ordinary user."""
    return measured_twice(stock_kernel, tmp_path_factory.mktemp("twice"))


def measured_twice(stock_kernel: str, runs: Path) -> dict[str, Any]:
    """What the command says of one kernel that is named twice."""
    done = run_lvslab(
        "bench",
        "--kernel",
        stock_kernel,
        "--kernel",
        stock_kernel,
        "--only",
        "mode:dr:udp4",
        "--seeds",
        "1",
        "--json",
        "--runs",
        str(runs),
        prefix=ORDINARY_USER,
        timeout=800,
    )
    assert done.code == 0, done.err
    return done.data


def test_the_same_kernel_has_the_same_figures(twice: dict[str, Any], stock_kernel: str) -> None:
    found = figures(twice)
    assert set(found) == {"baseline:drop:udp4:established", ROUTING, "mode:dr:udp4:new", DR}
    for costs in found.values():
        assert costs[stock_kernel]["total"] == costs[f"{stock_kernel} #2"]["total"] > 0
    assert all(
        change["relative"] == 0 and not change["real"]
        for figure in twice["figures"]
        for change in figure["changes"]
    )
    assert (
        found["mode:dr:udp4:new"][stock_kernel]["instructions_per_packet"]
        > found[DR][stock_kernel]["instructions_per_packet"]
        > 0
    )
    logs = Path(twice["run"]) / "logs"
    assert len(list(logs.glob("*/seed1/results.log"))) == 2  # each was really booted
    assert Path(twice["report"]).exists()


def test_a_path_about_one_per_cent_slower_is_seen(
    twice: dict[str, Any], stock_kernel: str, tmp_path: Path
) -> None:
    """Looking for a local socket of each datagram (udp_early_demux, on by default) is a small real
    step on the way through a router.
    """
    done = run_lvslab(
        "bench",
        "--kernel",
        stock_kernel,
        "--only",
        ROUTING,
        "--seeds",
        "1",
        "--json",
        "--no-report",
        "--runs",
        str(tmp_path),
        "--set",
        "net.ipv4.udp_early_demux=0",
        timeout=300,
    )
    assert done.code == 0, done.err
    without, as_it_is = (figures(data)[ROUTING][stock_kernel]["total"] for data in (done.data, twice))
    assert 1.005 < as_it_is / without < 1.03
    # the step is behind it: nothing may change but by what a boot with other files differs
    drop = "baseline:drop:udp4:established"
    assert figures(done.data)[drop][stock_kernel]["total"] == pytest.approx(
        figures(twice)[drop][stock_kernel]["total"], rel=0.003
    )


def test_packets_that_do_not_arrive_make_an_error_and_no_figure(stock_kernel: str, tmp_path: Path) -> None:
    done = run_lvslab(
        "bench",
        "--kernel",
        stock_kernel,
        "--only",
        ROUTING,
        "--seeds",
        "1",
        "--json",
        "--no-report",
        "--runs",
        str(tmp_path),
        "--set",
        "net.ipv4.ip_forward=0",
        timeout=300,
    )
    assert done.code == 1
    (cost,) = figures(done.data)[ROUTING].values()
    assert cost["instructions_per_packet"] is None
    assert "0 of 10000 packets arrived as routing demands" in cost["error"] and cost["error"] in done.err


def test_interrupted_it_leaves_no_kernel_and_no_file(stock_kernel: str, tmp_path: Path) -> None:
    home = tmp_path / "tmp"
    home.mkdir()
    running = subprocess.Popen(
        [*LVSLAB, "bench", "--kernel", stock_kernel, "--only", ROUTING, "--runs", str(tmp_path / "runs")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(home)},
    )
    try:
        until = time.monotonic() + 60
        while not (kernels := _children(running.pid)):
            assert running.poll() is None and time.monotonic() < until
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 130 and "no kernel is left running" in said
    assert not list(home.iterdir()) and not any(Path(f"/proc/{pid}").exists() for pid in kernels)


def _children(pid: int) -> list[int]:
    """The kernels that a bench runs: its children whose command line boots one."""
    try:
        found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [each for each in found if b"-initrd" in Path(f"/proc/{each}/cmdline").read_bytes()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_what_cannot_be_run_is_refused_before_anything_starts(tmp_path: Path) -> None:
    wrong = run_lvslab("bench", "--kernel", "9.9.9-none", "--runs", str(tmp_path))
    assert wrong.code == 2 and "9.9.9-none" in wrong.err and not list(tmp_path.iterdir())
    pattern = run_lvslab("bench", "--only", "mode:synproxy:*", "--runs", str(tmp_path))
    assert pattern.code == 2 and not list(tmp_path.iterdir())
    without = run_lvslab("bench", "--runs", str(tmp_path), env={**os.environ, "PATH": str(tmp_path)})
    assert without.code == 4 and "apt-get install" in without.err
