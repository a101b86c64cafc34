"""What a guest in virtual time is given: a command line without places, a seed, one processor."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest

from lvslab.catalog.debian import sourcecode
from lvslab.errors import GuestError
from lvslab.kernels.initramfs import ModuleTree
from lvslab.kernels.virtual_time import FIXED_ADDRESSES, VirtualTimeKernel, fixed_arguments
from lvslab.simulation.calendar import Calendar
from lvslab.simulation.cards import Card, Line
from lvslab.simulation.machine import Machine, arguments, seed_of
from lvslab.simulation.processor import current_processor, on_one_processor


def _words(directory: Path) -> list[str]:
    kernel = VirtualTimeKernel(directory / "linux.vt", ModuleTree(directory / "modules" / "6.1"))
    devices = {directory / "card0": Card(bytes(6)), directory / "line": Line()}
    return arguments(kernel, "lvs1", 3, 64, devices)


def test_no_word_of_the_command_line_names_a_place() -> None:
    """The kernel mixes it into its random numbers."""
    words = _words(Path("/one"))
    assert words == _words(Path("/another/and/longer"))
    assert [word for word in words if "/" in word] == ["uml_dir=uml/", "LVSLAB_AGENT=/dev/hvc0"]
    assert {"virtio_uml.device=card0:1", "virtio_uml.device=line:3", "time-travel=ext:3:calendar"} <= {*words}


def test_the_first_random_number_is_there_at_once_and_sending_sends_no_interrupts() -> None:
    assert {"random.trust_cpu=on", "virtio_net.napi_tx=0"} <= {*fixed_arguments()} <= {*_words(Path("/x"))}


def test_a_guests_addresses_are_fixed() -> None:
    assert FIXED_ADDRESSES[-1] == "--addr-no-randomize"


def test_worlds_and_guests_have_seeds_of_their_own() -> None:
    seeds = {seed_of(seed, number) for seed, number in product((-1, 0, 1, 2, 12, 1 << 70), (1, 2, 21))}
    assert len(seeds) == 18
    assert all(0 <= seed < 1 << 64 for seed in seeds)
    assert seed_of(5, 1) == seed_of(5, 1)


def test_a_machine_that_is_off_runs_no_jobs(tmp_path: Path) -> None:
    kernel = VirtualTimeKernel(tmp_path / "linux.vt", ModuleTree(tmp_path / "modules" / "6.1"))
    machine = Machine(Calendar(), kernel, 1, "lvs1", tmp_path / "lvs1", tmp_path / "console")
    with pytest.raises(GuestError, match="lvs1: runs no jobs, it is off"):
        machine.command("true")
    machine.power_off()  # it is


def test_a_world_is_on_one_processor_and_the_rest_of_the_process_where_it_was() -> None:
    before = os.sched_getaffinity(0), os.sched_getscheduler(0)
    with on_one_processor() as number:
        assert os.sched_getaffinity(0) == {number} == {current_processor()}
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == before


def test_a_suite_is_told_from_a_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sourcecode.suite_of("debian/bookworm-backports") == "bookworm-backports"
    assert sourcecode.suite_of("/usr/src/linux") is None
    assert sourcecode.suite_of("debian/bookworm:uml") is None
    (tmp_path / "debian" / "trixie").mkdir(parents=True)
    assert sourcecode.suite_of("debian/trixie") is None, "a folder that is there is meant"
