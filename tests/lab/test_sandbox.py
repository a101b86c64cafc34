"""However a lab ends, the machine is as it was before; labs that run at once do not meet."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.conftest import LVSLAB, run_lvslab

SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/core/wmem_max",
    "net/core/rmem_max",
    "net/ipv4/conf/all/arp_ignore",
    "fs/file-max",
    "kernel/pty/max",
)


def _of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _ours(pid: str) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return False
    return any(
        word in line
        for word in ("umid=", "nginx -e", "mnexec", "-m lvslab", "mininet:", "iperf3 --", "wrk --")
    )


def machine_state() -> dict[str, object]:
    """What a lab must not change: interfaces, routes, mounts, sysctls, shared memory, processes."""
    return {
        "links": sorted(line.split("mtu")[0] for line in _of(["ip", "-o", "link"]).splitlines()),
        "routes": _of(["ip", "route"]),
        "mounts": Path("/proc/mounts").read_text(),
        "sysctls": {name: Path("/proc/sys", name).read_text() for name in SYSCTLS},
        "shared memory": sorted(map(str, Path("/dev/shm").iterdir())),
        "processes": sorted(
            each.name for each in Path("/proc").iterdir() if each.name.isdigit() and _ours(each.name)
        ),
    }


def assert_comes_back_to(before: dict[str, object], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while machine_state() != before:
        if time.monotonic() > deadline:
            assert machine_state() == before
        time.sleep(0.02)


def _start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LVSLAB, "verify", *arguments, "--runs", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for(process: subprocess.Popen[str], words: str) -> None:
    """Read the progress until a line has the words."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"'{words}' never came; ended with {process.wait()}")


def test_success_leaves_nothing_behind(tmp_path: Path) -> None:
    before = machine_state()
    assert run_lvslab("verify", "nat", "--runs", str(tmp_path)).code == 0
    assert_comes_back_to(before)


def test_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    before = machine_state()
    assert run_lvslab("verify", "dr", "--without", "vip", "--runs", str(tmp_path)).code == 1
    assert_comes_back_to(before)


@pytest.mark.parametrize("words", ["booting", "lab ready"])
@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda sig: sig.name)
def test_a_signal_leaves_nothing_behind(tmp_path: Path, sig: signal.Signals, words: str) -> None:
    before = machine_state()
    process = _start(tmp_path, "tun")
    _wait_for(process, words)
    process.send_signal(sig)
    code = process.wait(30)
    assert code == (-signal.SIGKILL if sig == signal.SIGKILL else 130)
    process.communicate()
    assert_comes_back_to(before)


def test_ctrl_c_in_a_terminal_interrupts_once_and_keeps_what_was_measured(tmp_path: Path) -> None:
    before = machine_state()
    process = _start(tmp_path, "nat", "dr", "tun")
    _wait_for(process, "PASS")
    os.killpg(
        process.pid, signal.SIGINT
    )  # what a terminal does: every process of the foreground group gets it
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in err
    run = next(tmp_path.iterdir())
    text = (run / "run.json").read_text()
    assert '"status": "interrupted"' in text and '"verdict": "pass"' in text
    assert_comes_back_to(before)


def test_two_labs_at_once_do_not_meet(tmp_path: Path) -> None:
    first, second = _start(tmp_path / "a", "nat"), _start(tmp_path / "b", "nat")
    outputs = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
