"""`lvslab explore` in worlds with real directors: a schedule that fails is found and repeated frame
for frame by the scenario that is written, and one that does not fail finds nothing.
"""

from __future__ import annotations

from pathlib import Path

from lvslab.exitcodes import ExitCode
from lvslab.runs import rundir
from tests.lab.conftest import Outcome, run_lvslab
from tests.lab.test_virtual_scenarios import in_virtual_time

DEAD_SERVER = """
seed = 3
[setup]
mode = "nat"
directors = 1
[[fault]]
at = 6.0
kind = "server-power-cut"
target = "rs1"
"""
STUCK = "answered-in-time: UDP, sent to a server after server-power-cut"


def explored(tmp_path: Path, text: str) -> Outcome:
    """What one try of a schedule finds."""
    file = tmp_path / "schedule.toml"
    file.write_text(text)
    runs = tmp_path / "runs"
    words = ("explore", "--schedule", str(file), "--tries", "1", "--runs", str(runs), "--json")
    return run_lvslab(*words, timeout=600)


def test_a_flow_on_a_dead_server_is_found_and_repeated(tmp_path: Path) -> None:
    in_virtual_time()
    done = explored(tmp_path, DEAD_SERVER)
    assert done.code == ExitCode.FAILED and done.data["worlds"] == 1, done.err
    (finding,) = done.data["findings"]
    assert finding["fingerprint"] == STUCK
    again = run_lvslab(
        *("run", finding["scenario"], "--time", "virtual", "--seed", "3"),
        *("--no-report", "--runs", str(tmp_path / "again"), "--json"),
        timeout=600,
    )
    assert again.code == ExitCode.FAILED, again.err
    run = rundir.load(Path(again.data["run"]))
    assert (run.path / "frames.sha256").read_text().strip() == finding["frames"]
    assert [result.name for result in run.results if result.verdict == "fail"] == ["answered-in-time"]


def test_a_world_without_faults_breaks_no_invariant(tmp_path: Path) -> None:
    in_virtual_time()
    done = explored(tmp_path, 'seed = 3\n[setup]\nmode = "nat"\ndirectors = 2\n')
    assert done.code == ExitCode.OK, done.err
    assert (done.data["worlds"], done.data["broken"], done.data["findings"]) == (1, 0, [])
