"""Kernels in virtual time: what a world promises, with each such kernel that is here."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lvslab.catalog import catalog
from lvslab.catalog.virtual_time import kernel_in_virtual_time
from lvslab.errors import GuestError
from lvslab.kernels.virtual_time import VirtualTimeKernel
from lvslab.simulation import patience
from lvslab.simulation.calendar import SECOND
from lvslab.simulation.errors import GuestGoneError, GuestPanicError, GuestSpinsError
from tests.busy import busy_processors
from tests.lab.conftest import in_sandbox
from tests.lab.virtual_worlds import DELAY, VirtualWorld, virtual_world

KERNELS = [entry.full_name for entry in catalog.entries() if entry.kind == VirtualTimeKernel.kind]

pytestmark = pytest.mark.skipif(
    not KERNELS, reason="no kernel in virtual time: lvslab kernels build debian/trixie --virtual-time"
)


@pytest.fixture(params=KERNELS or ["none"])
def kernel(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# -- time ------------------------------------------------------------------------------------------


def test_an_hour_of_sleep_passes_at_once(kernel: str) -> None:
    def work() -> tuple[float, float, str]:
        with virtual_world(kernel) as world:
            began, real = world.calendar.now, time.monotonic()
            said = world.guest.command(
                "read before rest </proc/uptime; sleep 3600; read after rest </proc/uptime\n"
                "echo $before $after",
                seconds=4000,
            ).out
            return (world.calendar.now - began) / SECOND, time.monotonic() - real, said

    virtual, real, said = in_sandbox(work)
    before, after = map(float, said.split())
    assert 3600 <= virtual < 3601
    assert 3600 <= after - before < 3601
    assert real < 600  # a bound for the slowest machine: a sixth of what was slept


def test_the_date_is_the_worlds(kernel: str) -> None:
    def work() -> list[str]:
        with virtual_world(kernel) as world:
            return world.guest.command("date -u +%Y-%m-%d; hostname").out.split()

    assert in_sandbox(work) == ["2023-11-14", "d1"]


# -- frames ----------------------------------------------------------------------------------------


def test_a_ping_takes_four_delays_to_the_nanosecond(kernel: str) -> None:
    def work() -> tuple[list[int], str]:
        with virtual_world(kernel) as world:
            host, card = world.hosts[0], world.cards[0]
            world.guest.command("ping -nqc 1 10.0.0.2").check("d1", "ping")  # addresses are learned
            for number in range(5):
                world.calendar.after(number * SECOND, host.ping, "10.0.0.1", card.mac)
            world.run(6)
            said = world.guest.command("ping -nc 3 10.1.0.2").check("d1", "ping")
            return host.round_trips, said

    round_trips, said = in_sandbox(work)
    assert round_trips == [4 * DELAY] * 5
    assert "3 packets transmitted, 3 received" in said


def _story(kernel: str, seed: int, name: str) -> tuple[str, int]:
    """What crossed the guest's cards in some seconds full of chance."""
    with virtual_world(kernel, seed, name) as world:
        host, card = world.hosts[0], world.cards[0]
        for number in range(200):
            world.calendar.after(number * 3_333_333, host.ping, "10.0.0.1", card.mac)
        world.guest.command(
            "ping -nqi 0.01 -c 50 10.1.0.2 >/dev/null & ping -nqi 0.02 -c 30 10.0.0.2 >/dev/null & wait"
        ).check("d1", "ping")
        world.run(5)
        return world.record.digest(), world.record.frames


def test_the_same_seed_gives_the_same_frames_under_load_and_another_seed_others(kernel: str) -> None:
    quiet = in_sandbox(_story, kernel, 7, "here")
    with busy_processors():
        again = in_sandbox(_story, kernel, 7, "in/another/folder/with/a/longer/name")
    other = in_sandbox(_story, kernel, 8, "here")
    assert quiet == again
    assert quiet[1] > 300
    assert quiet[0] != other[0]


def _state(kernel: str, seed: int, name: str) -> str:
    """All that a guest counts: numbers drawn, memory, interrupts, processes, its time."""
    files = ("sys/kernel/random/uuid", "meminfo", "vmstat", "stat", "interrupts", "softirqs", "uptime")
    with virtual_world(kernel, seed, name) as world:
        return world.guest.command(f"cd /proc; cat {' '.join(files)}").check("d1", "cat")


def test_two_runs_of_a_seed_leave_the_guest_in_the_same_state(kernel: str) -> None:
    """Its memory, too, which the machine's randomised addresses would change."""
    first, *others = (in_sandbox(_state, kernel, 7, f"world{number}") for number in range(4))
    assert others == [first] * 3


def test_without_the_seed_the_same_seed_does_not_repeat(
    kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reverse: the library is what takes chance away."""
    nothing = tmp_path / "nothing.so"
    subprocess.run(["gcc", "-shared", "-x", "c", "-o", str(nothing), "/dev/null"], check=True)
    others = kernel_in_virtual_time(kernel).libraries[1:]
    monkeypatch.setattr(VirtualTimeKernel, "libraries", (nothing, *others))
    assert in_sandbox(_story, kernel, 7, "here")[0] != in_sandbox(_story, kernel, 7, "here")[0]


# -- the end of a world ----------------------------------------------------------------------------


def _end(kernel: str, deed: Callable[[VirtualWorld], object]) -> str:
    def work() -> str:
        with virtual_world(kernel) as world:
            try:
                deed(world)
            except GuestError as error:
                return f"{type(error).__name__}: {error}"
            return "went on"

    said: str = in_sandbox(work)
    return said


def test_a_panic_is_a_finding(kernel: str) -> None:
    said = _end(kernel, lambda world: world.guest.command("echo c >/proc/sysrq-trigger"))
    assert said.startswith(GuestPanicError.__name__)
    assert "sysrq triggered crash" in said


def test_a_program_that_spins_is_a_finding(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience.ProcessPatience.__init__, "__defaults__", (1.0, 60.0, time.monotonic))
    said = _end(kernel, lambda world: world.guest.command("while :; do :; done"))
    assert said.startswith(GuestSpinsError.__name__)


def test_a_killed_kernel_is_a_finding_and_takes_its_programs_along(kernel: str) -> None:
    def work() -> tuple[str, list[int], list[int]]:
        with virtual_world(kernel) as world:
            world.guest.submit("while :; do sleep 0.01; done", lambda done: None)
            world.run(1)
            before = _guests_processes()
            os.kill(min(before), signal.SIGKILL)
            try:
                world.run(5)
            except GuestGoneError as error:
                said = str(error)
            else:
                said = "went on"
            deadline = time.monotonic() + 20
            while (after := _guests_processes()) and time.monotonic() < deadline:
                os.sched_yield()
            return said, before, after

    said, before, after = in_sandbox(work)
    assert "d1: its kernel ended at" in said
    assert len(before) > 1  # the kernel, and programs of its guest
    assert after == []


def _guests_processes() -> list[int]:
    """Processes of this namespace that are the guest's kernel, or its programs; those run in the
    kernel's own file, those of kernels after 6.12 in one in memory.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            program = str((process / "exe").readlink())
            if "linux.vt" in program or "memfd:uml-userspace" in program:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_guest_that_is_cut_off_can_boot_again_with_the_same_cards(kernel: str) -> None:
    def work() -> list[int]:
        with virtual_world(kernel) as world:
            world.guest.power_off()
            world.hosts[0].ping("10.0.0.1", world.cards[0].mac)
            world.run(10)
            world.boot()
            world.guest.command("ping -nqc 1 10.0.0.2").check("d1", "ping")
            world.hosts[0].ping("10.0.0.1", world.cards[0].mac)
            world.run(1)
            return world.hosts[0].round_trips

    assert in_sandbox(work) == [4 * DELAY]


# -- confinement -----------------------------------------------------------------------------------


def test_root_in_a_guest_reaches_nothing_of_the_machine(kernel: str) -> None:
    def work() -> tuple[int, bool]:
        with virtual_world(kernel) as world:
            done = world.guest.command(
                "mkdir -p /tmp/h; mount -t hostfs none /tmp/h -o /; touch /tmp/h/tmp/X; cat /tmp/h/etc/shadow"
            )
            return done.code, Path("/tmp/X").exists()

    code, written = in_sandbox(work)
    assert code != 0
    assert not written


def test_a_kernel_in_virtual_time_is_refused_on_the_real_clock(kernel: str) -> None:
    with pytest.raises(Exception, match="virtual time only"):
        kernel_in_virtual_time(kernel).boot("trial", (), Path("/nowhere"), Path("/nowhere"))
