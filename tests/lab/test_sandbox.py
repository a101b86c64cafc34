"""However a lab ends, the machine is as it was before; labs that run at once do not meet."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lvslab.errors import GuestError
from lvslab.host import linux, sandbox
from lvslab.kernels import confinement
from lvslab.lab import check
from tests.lab.conftest import LVSLAB, in_sandbox, run_lvslab

pytestmark = pytest.mark.usefixtures("quickest_guests")

SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/core/wmem_max",
    "net/core/rmem_max",
    "net/ipv4/conf/all/arp_ignore",
    "fs/file-max",
    "kernel/pty/max",
)

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def _of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def adopt_orphans() -> Iterator[None]:
    """Whatever this process starts stays below it, also when all in between is killed
    (prctl(2), PR_SET_CHILD_SUBREAPER).
    """
    library = ctypes.CDLL(None)
    assert library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert library.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


def _descendants() -> list[int]:
    """Processes below this one that have not ended. Other labs of this machine are none of them."""
    parents = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(path.name)] = int(parent)
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        above = todo.pop()
        children = [pid for pid, parent in parents.items() if parent == above]
        found += children
        todo += children
    return sorted(found)


def machine_state() -> dict[str, object]:
    """What a lab must not change: interfaces, routes, mounts, sysctls, shared memory, and the
    processes that this one has started.
    """
    return {
        "links": sorted(line.split("mtu")[0] for line in _of(["ip", "-o", "link"]).splitlines()),
        "routes": _of(["ip", "route"]),
        "mounts": Path("/proc/mounts").read_text(),
        "sysctls": {name: Path("/proc/sys", name).read_text() for name in SYSCTLS},
        "shared memory": sorted(
            each.name
            for each in Path("/dev/shm").iterdir()
            if not each.name.startswith("sem.")  # a test beside this one may use some; no lab does
        ),
        "processes": _descendants(),
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


def test_what_an_ended_parent_leaves_is_seen() -> None:
    before = machine_state()
    subprocess.run(["sh", "-c", "sleep 60 </dev/null >/dev/null 2>&1 &"], check=True)
    (left,) = _descendants()
    assert machine_state() != before
    os.kill(left, signal.SIGKILL)
    os.waitpid(left, 0)
    assert machine_state() == before


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


def test_a_guest_that_is_given_up_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, but is not found in time: on a machine that is slow beyond measure."""

    def inside() -> None:
        def blind(pid: int) -> list[int]:
            while not _sleepers():
                time.sleep(0.01)
            return []

        monkeypatch.setattr(confinement, "_START_SECONDS", 0.5)
        monkeypatch.setattr(linux, "children_of", blind)
        folder = sandbox.PRIVATE_DIRECTORY / "p"
        confinement.make_folder(folder)
        network = confinement.new_network()
        with (
            linux.inside_network(network),
            (sandbox.PRIVATE_DIRECTORY / "p.log").open("wb") as log,
            pytest.raises(
                GuestError, match=r"within 0.5 s \(bwrap, state S .*; sh, state S .* for a processor\)"
            ),
        ):
            confinement.start(
                ["sleep", _SLEEP],
                confinement.Bounds(folder, (), memory_mib=64),
                network=network,
                descriptors=(),
                log=log,
            )
        deadline = time.monotonic() + 20.0
        while left := _sleepers():
            assert time.monotonic() < deadline, left
            time.sleep(0.01)

    in_sandbox(inside)


_SLEEP = "4711"


def _sleepers() -> list[str]:
    """Processes of this sandbox that sleep for so long."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (place / "cmdline").read_bytes() == f"sleep\0{_SLEEP}\0".encode():
                found.append(place.name)
    return found


def test_the_trial_of_the_network_waits_for_a_late_mnexec(tmp_path: Path) -> None:
    late = tmp_path / "mnexec"
    # the namespace comes after the link was made, and before one looks for it there
    seconds = "case $1 in -n) sleep 1 ;; -a) sleep 2 ;; esac"
    late.write_text(f'#!/bin/sh\n{seconds}\nexec /usr/bin/mnexec "$@"\n')
    late.chmod(0o755)

    def inside() -> str:
        os.environ["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
        return check._try_network()

    assert in_sandbox(inside).startswith("bridge, veth pair and namespace made")
