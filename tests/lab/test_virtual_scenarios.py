"""Scenarios in virtual time: the same seed twice, on one kernel; what is refused; a console in a
world that stands. What they say against real time: test_both_worlds.py.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lvslab.catalog.virtual_time import entry_in_virtual_time
from lvslab.comparison.worlds import read_worlds
from lvslab.errors import CannotError
from lvslab.exitcodes import ExitCode
from lvslab.runs import rundir
from tests.lab.conftest import LVSLAB, run_lvslab

POWER_CUT = ("director-power-cut", "--sync", "yes", "--rate", "50", "--connections", "8")


def in_virtual_time() -> None:
    """Skip the test where no kernel for it is."""
    try:
        entry_in_virtual_time()
    except CannotError as error:
        pytest.skip(str(error))


def test_a_kernel_against_itself_differs_by_nothing_and_a_seed_from_another_does(tmp_path: Path) -> None:
    in_virtual_time()
    kernel = entry_in_virtual_time().full_name
    words = (*POWER_CUT, "--time", "virtual", "--seeds", "2", "--kernel", kernel, "--kernel", kernel)
    done = run_lvslab("run", *words, "--runs", str(tmp_path), "--json", timeout=600)
    assert done.code == ExitCode.OK, done.err
    (found,) = done.data["comparisons"].values()
    assert (found["equal"], found["common"], found["failing"]) == (2, 2, None)
    assert {each["metric"]: each["verdict"] for each in found["differences"]} == dict.fromkeys(
        ("outage", "detection", "survived"), "equal"
    )
    assert all(each["needed"] >= 2 for each in found["differences"])
    for folder in Path(done.data["folder"]).iterdir():
        first, second = read_worlds(folder)
        assert first.sha256 != second.sha256


def test_a_kernel_on_the_real_clock_is_refused_at_once(tmp_path: Path) -> None:
    in_virtual_time()
    done = run_lvslab("run", "server-killed", "--time", "virtual", "--kernel", "uml", "--runs", str(tmp_path))
    assert done.code == ExitCode.USAGE and "kernel 'uml': has no virtual time" in done.err
    assert not list(tmp_path.iterdir())


LOOK = b"""\
ipvsadm -Ln
lvs2
hostname; cut -d" " -f1 /proc/uptime
sleep 1; cut -d" " -f1 /proc/uptime; false
"""


def test_a_console_looks_into_a_world_that_stands(tmp_path: Path) -> None:
    in_virtual_time()
    words = (*POWER_CUT, "--time", "virtual", "--runs", str(tmp_path), "--until")
    done = subprocess.run(
        [*LVSLAB, "run", *words, "3.2", "--shell"], input=LOOK, capture_output=True, timeout=600, check=False
    )
    assert done.returncode == ExitCode.OK, done.stderr
    said = done.stdout.decode().splitlines()
    assert any(line.startswith("TCP  10.0.0.10:80 ") for line in said)
    begin = said.index("lvs2")
    assert said[begin + 1 : begin + 3] == ["3.20", "4.20"]
    assert b"exit status 1" in done.stderr and b"stopped at 3.200000000 s" in done.stderr
    (run,) = tmp_path.iterdir()
    assert rundir.load(run).status == "interrupted"

    late = run_lvslab("run", *words, "1000", "--no-report")
    assert late.code == ExitCode.USAGE and "--until 1000: this world ended before that" in late.err
