"""Scenarios in virtual time, against the same ones in real time: the same verdicts and the same
history of the table; and the same seed twice.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lvslab.catalog.virtual_time import entry_in_virtual_time
from lvslab.errors import CannotError
from lvslab.exitcodes import ExitCode
from lvslab.runs import rundir
from tests.lab.conftest import LVSLAB, run_lvslab

POWER_CUT = ("director-power-cut", "--sync", "yes", "--rate", "100", "--connections", "8")
KILLED = ("server-killed", "--control", "keepalived", "--rate", "50")


def in_virtual_time() -> None:
    """Skip the test where no kernel for it is."""
    try:
        entry_in_virtual_time()
    except CannotError as error:
        pytest.skip(str(error))


def finished(tmp_path: Path, *words: str, seconds: float = 600) -> rundir.Run:
    """The run of a command that is to succeed."""
    done = run_lvslab("run", *words, "--no-report", "--runs", str(tmp_path), "--json", timeout=seconds)
    assert done.code == ExitCode.OK, done.err
    return rundir.load(Path(done.data["run"]))


def verdicts(run: rundir.Run) -> dict[str, str]:
    return {result.name: result.verdict for result in run.results}


def history(run: rundir.Run) -> list[str]:
    """What became of the table and of the VRRP states, in order."""
    return [mark.text for trial in run.trials for mark in trial.marks if mark.kind == "table"]


def test_a_seed_repeats_every_frame_and_another_one_does_not(tmp_path: Path) -> None:
    in_virtual_time()
    hashes = [
        (
            finished(tmp_path, *POWER_CUT, "--time", "virtual", "--seed", seed).path / "frames.sha256"
        ).read_text()
        for seed in ("1", "1", "2")
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("words", [POWER_CUT, KILLED], ids=lambda words: words[0])
def test_both_worlds_say_the_same(tmp_path: Path, words: tuple[str, ...]) -> None:
    in_virtual_time()
    virtual = finished(tmp_path, *words, "--time", "virtual")
    real = finished(tmp_path, *words)
    assert verdicts(virtual) == verdicts(real)
    assert history(virtual) == history(real)


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
