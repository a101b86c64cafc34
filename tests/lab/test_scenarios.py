"""Every shipped scenario holds what it promises, can fail for the right reason, and can be stopped
at any time.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lvslab.catalog import catalog
from lvslab.plan.files import shipped_files
from lvslab.runs import rundir
from lvslab.runs.probes import read_probes
from tests.lab.conftest import LVSLAB, Outcome, run_lvslab
from tests.lab.shipped import run_shipped

pytestmark = pytest.mark.timed

ELSEWHERE = {"compare-modes", "l4-versus-l7"}
"""Tested in test_run.py and test_proxies.py."""


def run(tmp_path: Path, *arguments: str) -> Outcome:
    return run_lvslab("run", *arguments, "--no-report", "--json", "--runs", str(tmp_path), timeout=600)


def run_judged(tmp_path: Path, *arguments: str) -> Outcome:
    """A run that was judged: one that a busy machine made too late says so, and to run it again."""
    for number in range(_TRIES):
        done = run(tmp_path / str(number), *arguments)
        if not done.out or not not_judged(done):
            break
    return done


_TRIES = 5


def said(done: Outcome) -> str:
    """What did not hold, and the end of the progress: for the message of an assertion."""
    lines = [f"exit code {done.code}"]
    if done.out:
        lines += [
            f"{each['name']}: {each['verdict']}: {each['reason']}"
            for each in done.data["results"]
            if each["verdict"] != "pass"
        ]
    return "\n".join([*lines, *done.err.splitlines()[-10:]])


def failing(done: Outcome) -> dict[str, str]:
    """Name → reason of what failed."""
    return {each["name"]: each["reason"] for each in done.data["results"] if each["verdict"] == "fail"}


def not_judged(done: Outcome) -> list[dict[str, str]]:
    """The results of which a busy machine says nothing."""
    return [
        each
        for each in done.data["results"]
        if each["verdict"] == "skip" and each["reason"].startswith("not judged: the machine was late by ")
    ]


@pytest.mark.parametrize("name", sorted(set(shipped_files("scenarios")) - ELSEWHERE))
def test_a_shipped_scenario_holds(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    shipped = run_shipped(name, tmp_path_factory)
    done = shipped.done
    if name == "rolling-upgrade" and not any(entry.name == "debian/trixie" for entry in catalog.entries()):
        assert done.code == 4 and "lvslab kernels fetch debian/trixie" in done.err, said(done)
        return
    results, unjudged = done.data["results"], not_judged(done)
    assert done.code == (4 if unjudged else 0), said(done)
    assert results and all(each["verdict"] == "pass" for each in results if each not in unjudged), said(done)
    record = rundir.load(shipped.folder)
    assert record.status == "complete" and record.warnings == () and len(record.results) == len(results)
    assert all((shipped.folder / each).is_file() for result in record.results for each in result.evidence)
    assert all(trial.end is not None for trial in record.trials)
    verdicts = {trial.verdict for trial in record.trials}
    assert verdicts <= {"pass", "skip"} and ("skip" in verdicts) <= bool(unjudged), said(done)


def test_a_power_cut_and_the_suite_work_for_an_ordinary_user(tmp_path: Path) -> None:
    user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    cut = ("run", "director-power-cut", "--sync", "yes", "--connections", "10", "--no-report")
    for arguments in (cut, ("verify", "--only", "scheduler:rr:*", "--only", "synproxy:conversation:*")):
        done = run_lvslab(*arguments, "--json", "--runs", str(tmp_path), prefix=user)
        assert done.code == 0, said(done)


# -- each kind of judge can say no -----------------------------------------------------------------

TOO_LATE = "net.ipv4.vs.sync_threshold=3000 50000"
"""Connections are synchronised from their 3000th packet on: never here."""


def test_connections_that_were_not_synchronised_fail_the_promise_of_sync(tmp_path: Path) -> None:
    words = ("director-power-cut", "--sync", "yes", "--connections", "25", "--set", TOO_LATE)
    done = run_judged(tmp_path, *words)
    assert done.code == 1, said(done)
    found = failing(done)
    assert list(found) == ["with sync, 1: old connections live on"], said(done)
    kept = found["with sync, 1: old connections live on"]
    assert re.match(r"0 of [1-9]\d* survived", kept), "of those that a busy machine had opened in time"


def test_connections_that_are_picked_up_fail_the_promise_of_no_sync(tmp_path: Path) -> None:
    settings = ("--sync", "no", "--connections", "20", "--set", "net.ipv4.vs.sloppy_tcp=1")
    done = run_judged(tmp_path, "director-power-cut", *settings)
    assert done.code == 1, said(done)
    found = failing(done)
    assert list(found) == ["without sync, 1: no connection lives on"], said(done)
    survived = int(found["without sync, 1: no connection lives on"].partition(" of 20 survived")[0])
    assert survived > 0


BLIND = """\
from lvslab import faults
from lvslab.scenario import scenario
from lvslab.scenario.stories import server_fails


@scenario(title="Wrong", teaches="that a TCP check notices a hung server", modes=["nat"])
def run(log):
    server_fails(log, faults.server_hung, mode="nat", controls=["keepalived"], check="tcp", interval=0.5, timeout=0.5)
"""  # noqa: E501


def test_a_check_that_notices_nothing_fails(tmp_path: Path) -> None:
    own = tmp_path / "blind.py"
    own.write_text(BLIND)
    done = run_judged(tmp_path / "runs", str(own))
    assert done.code == 1, said(done)
    found = failing(done)
    assert list(found) == ["keepalived, tcp check, 1: rs1 is taken out"], said(done)
    reason = found["keepalived, tcp check, 1: rs1 is taken out"]
    failed, of, attempts = reason.split()[:3]
    assert (
        reason.endswith("attempts failed, the table never changed")
        and of == "of"
        and 0 < int(failed) < int(attempts)
    )


def test_a_server_that_hardly_flaps_fails_the_promise_of_harm(tmp_path: Path) -> None:
    settings = ("--control", "none", "--flaps", "1", "--down", "0.1", "--up", "2")
    done = run_judged(tmp_path, "flapping-server", *settings)
    assert done.code == 1, said(done)
    assert (
        list(failing(done)) == ["none, 1: flapping"]
        and "of the attempts failed" in failing(done)["none, 1: flapping"]
    )


# -- interrupted -----------------------------------------------------------------------------------


def _family(pid: int) -> dict[tuple[int, str], str]:
    """A process and all that it started: (number, start time) → program."""
    found: dict[tuple[int, str], str] = {}
    children: dict[int, list[int]] = {}
    seen: dict[int, tuple[str, str]] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                fields = (each / "stat").read_text().rpartition(")")[2].split()
                line = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:  # it has ended
                continue
            children.setdefault(int(fields[1]), []).append(int(each.name))
            seen[int(each.name)] = (fields[19], line)
    waiting = [pid]
    while waiting:
        number = waiting.pop()
        if number in seen:
            found[number, seen[number][0]] = seen[number][1]
        waiting += children.get(number, [])
    return found


def _alive(process: tuple[int, str]) -> bool:
    try:
        return Path(f"/proc/{process[0]}/stat").read_text().rpartition(")")[2].split()[19] == process[1]
    except OSError:
        return False


def test_ctrl_c_in_a_trial_keeps_its_attempts_and_leaves_nothing_running(tmp_path: Path) -> None:
    command = [*LVSLAB, "run", "director-power-cut", "--sync", "yes", "--no-report", "--runs", str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stderr is not None
    assert any("power cut" in line for line in process.stderr), "the fault never came"
    family = _family(process.pid)
    programs = " ".join(family.values())
    assert all(word in programs for word in ("umid=", "nginx", "lvslab.traffic.probe_program")), (
        "the lab was running"
    )
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    deadline = time.monotonic() + 30
    while left := [family[each] for each in family if _alive(each)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
    (directory,) = tmp_path.iterdir()
    record = rundir.load(directory)
    (trial,) = record.trials
    assert (record.status, trial.end, trial.verdict, record.results) == ("interrupted", None, None, ())
    assert any(mark.kind == "fault" for mark in trial.marks)
    probes = read_probes(
        record.probes / f"{trial.name}.attempts.csv", record.probes / f"{trial.name}.beats.csv"
    )
    assert any(not each.failed for each in probes.attempts) and probes.beats
    assert str(directory) in errors and "Traceback" not in errors


def test_the_report_of_an_interrupted_run_can_be_drawn(tmp_path: Path) -> None:
    command = [*LVSLAB, "run", "server-killed", "--control", "none", "--no-report", "--runs", str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stderr is not None
    assert any("web server killed" in line for line in process.stderr), "the fault never came"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    (directory,) = tmp_path.iterdir()
    done = run_lvslab("report", str(directory), "--json")
    assert done.code == 0, done.err
    assert "interrupted" in Path(done.data["reports"][0]["html"]).read_text()


# -- wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such"], ["scenario 'no-such'", "shipped: ", "drain"]),
        (["drain", "--speed", "7"], ["scenario 'drain' has no parameter 'speed'", "rate=300.0"]),
        (
            ["server-killed", "--control", "nginx"],
            ["control 'nginx' is none of: none, mon, ldirectord, keepalived"],
        ),
        (["sorry-server", "--control", "mon"], ["control 'mon' is none of: ldirectord, keepalived"]),
        (
            ["sorry-server", "--mode", "dr"],
            ["scenario 'sorry-server' does not run in mode 'dr'", "nat, fullnat, synproxy"],
        ),
        (["drain", "--mode", "bridge"], ["mode 'bridge'", "nat, dr, tun"]),
        (["syn-flood", "--mode", "nat"], ["scenario 'syn-flood' runs in nat"]),
        (["drain", "--rate"], ["--rate: a value is missing"]),
    ],
    ids=lambda value: (
        " ".join(value) if isinstance(value, list) and len(value) > 1 and value[1].startswith("--") else None
    ),
)
def test_wrong_input_starts_nothing(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    done = run_lvslab("run", *arguments, "--runs", str(runs))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.out + done.err
    assert all(word in done.err for word in words), done.err
    assert not runs.exists()


def test_a_fault_at_a_server_that_does_not_exist_is_wrong_input(tmp_path: Path) -> None:
    done = run(tmp_path, "server-killed", "--control", "none", "--server", "rs9")
    error = done.err.splitlines()[-1]
    assert done.code == 2, said(done)
    assert "there is no node 'rs9' to break" in error and "rs1, rs2" in error
    assert not list(tmp_path.iterdir()), "nothing was started, and nothing is left"


def test_a_sysctl_that_the_kernel_does_not_have_is_wrong_input(tmp_path: Path) -> None:
    done = run(tmp_path, "server-killed", "--control", "none", "--set", "net.ipv4.vs.no_such=1")
    assert done.code == 2, said(done)
    error = done.err.splitlines()[-1]
    assert "--set net.ipv4.vs.no_such=1: kernel " in error and error.endswith(" has no such sysctl")
    assert not list(tmp_path.iterdir()), "it was tried before a lab was started, and nothing is left"
