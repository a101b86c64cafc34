"""Scenarios run, their reports are drawn, and trouble on the way keeps what was measured."""

from __future__ import annotations

import json
import os
import pty
import re
import termios
from pathlib import Path

import pytest

from tests.lab.conftest import run_lvslab

pytestmark = pytest.mark.usefixtures("quickest_guests")


def test_a_shipped_scenario_runs_and_draws_its_report(tmp_path: Path) -> None:
    done = run_lvslab("run", "weighted-round-robin", "--json", "--runs", str(tmp_path))
    assert done.code == 0, done.out + done.err
    assert [(each["name"], each["verdict"]) for each in done.data["results"]] == [
        ("share of rs1", "pass"),
        ("share of rs2", "pass"),
    ]
    assert Path(done.data["report"]).read_text().startswith("<!DOCTYPE html>")


def test_parameters_come_from_the_command_line_and_are_recorded(tmp_path: Path) -> None:
    settings = ("--set", "weights=1,2,1", "--set", "requests=8", "--set", "mode=dr")
    done = run_lvslab(
        "run", "weighted-round-robin", *settings, "--no-report", "--json", "--runs", str(tmp_path)
    )
    assert done.code == 0, done.out + done.err
    record = json.loads((Path(done.data["run"]) / "run.json").read_text())
    assert record["parameters"] == {"mode": "dr", "requests": 8, "weights": [1, 2, 1]}
    assert record["labs"][0]["mode"] == "dr"
    assert "2 of 4: 4 of 8 requests" in done.data["results"][1]["reason"]


def test_an_expectation_that_does_not_hold_makes_exit_code_1(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from lvslab.scenario import scenario\n\n"
        "@scenario(title='Wrong', teaches='nothing', modes=['nat'])\n"
        "def run(log):\n"
        "    with log.lab('nat') as lab:\n"
        "        answers = log.get(lab, times=4)\n"
        "    log.expect('only rs1', set(answers) == {'rs1'}, f'answers came from {sorted(set(answers))}')\n"
    )
    done = run_lvslab("run", str(own), "--no-report", "--json", "--runs", str(tmp_path))
    assert done.code == 1, done.out + done.err
    assert done.data["results"] == [
        {"name": "only rs1", "verdict": "fail", "reason": "answers came from ['rs1', 'rs2']", "evidence": []}
    ]


def test_what_a_guests_kernel_complains_of_fails_the_run_whose_verdicts_hold(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    warning = "WARNING: CPU: 0 PID: 1 at net/x.c:1 ip_vs_x+0x1/0x2"
    own.write_text(
        "from lvslab.scenario import scenario\n\n"
        "@scenario(title='Warns', teaches='nothing', modes=['nat'])\n"
        "def run(log, says):\n"
        "    with log.lab('nat', kernels=['uml']) as lab:\n"
        "        lab.director.run(f'echo \"{says}\" >/dev/kmsg')\n"
        "    log.expect('served', True, 'yes')\n".replace("(log, says)", "(log, says: str = '')")
    )

    def verdicts(says: str) -> tuple[int, list[str]]:
        done = run_lvslab(
            "run", str(own), "--no-report", "--json", "--runs", str(tmp_path), "--set", f"says={says}"
        )
        return done.code, [f"{each['name']}: {each['reason']}" for each in done.data["results"]]

    code, (complaint, served) = verdicts(f"<4>{warning}")
    assert code == 1 and served == "served: yes"
    assert complaint.startswith("kernel:warning:") and warning in complaint and "kernel of lvs " in complaint
    assert verdicts("<4>all is well") == (0, ["served: yes"])


def test_modes_are_measured_side_by_side_on_kernels_alike(tmp_path: Path) -> None:
    settings = ("--set", "modes=nat,tun", "--set", "repeat=1", "--set", "requests=100", "--clients", "2")
    done = run_lvslab("run", "compare-modes", *settings, "--json", "--runs", str(tmp_path))
    assert done.code == 0, done.out + done.err
    run = Path(done.data["run"])
    record = json.loads((run / "run.json").read_text())
    kinds = [
        {(node["role"], node["kernel"]["kind"]) for node in lab["nodes"] if node["role"] != "router"}
        for lab in record["labs"]
    ]
    assert kinds[0] == kinds[1]
    samples = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    for lab in ("nat", "tun"):
        taken = {
            each["metric"]
            for each in samples
            if each["lab"] == lab and (each.get("value") or each.get("values"))
        }
        assert {"throughput", "requests_per_second", "connections_per_second", "latency", "answers"} <= taken
        http = next(each for each in record["labs"] if each["name"] == lab)["counters"]
        assert sum(each["conns"] for each in http) > 100
    assert len(list((run / "figures").glob("*.png"))) > 10


def test_a_full_disk_is_one_line_and_keeps_what_was_written(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    script = (
        f'mount -t tmpfs -o size=64k tmpfs {small} && "$@"; code=$?; cp -r {small}/. {tmp_path}/kept; exit'
        " $code"
    )
    done = run_lvslab(
        "verify",
        "nat",
        "dr",
        "--runs",
        str(small),
        prefix=("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"),
    )
    assert done.code == 69, done.out + done.err
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("lvslab: ") and "No space left on device" in last
    record = json.loads(next((tmp_path / "kept").glob("*/run.json")).read_text())
    assert record["status"] in ("running", "broken")


def test_a_missing_program_is_named_with_its_package(tmp_path: Path) -> None:
    hide = 'mount --bind /dev/null "$(readlink -f "$(command -v nginx)")" && exec "$@"'
    done = run_lvslab("check", prefix=("unshare", "--map-root-user", "--mount", "sh", "-c", hide, "sh"))
    assert done.code == 4
    assert "nginx-light" in done.out
    verified = run_lvslab(
        "verify",
        "nat",
        "--runs",
        str(tmp_path),
        prefix=("unshare", "--map-root-user", "--mount", "sh", "-c", hide, "sh"),
    )
    assert verified.code == 4 and "nginx not found; run: apt-get install" in verified.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("topology", ["nat", "dr", "tun", "fullnat", "synproxy"])
def test_topologies_work_under_plain_mn(topology: str, tmp_path: Path) -> None:
    import subprocess
    import sys

    commands = tmp_path / "commands"
    commands.write_text(
        "lvs uname -r\nlvs ipvsadm -A -t 10.0.0.10:80 -s rr\nlvs ipvsadm -Ln\nc1 ping -c 1 -W 5 10.0.0.1\n"
    )
    mn = Path(sys.executable).with_name("mn")
    topologies = Path(__file__).resolve().parents[2] / "topologies"
    done = subprocess.run(
        [
            "unshare",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            sys.executable,
            str(mn),
            "--custom",
            str(topologies / f"{topology}.py"),
            "--topo",
            f"{topology},clients=1,servers=2",
            "--host",
            "lab",
            "--switch",
            "lxbr",
            "--controller",
            "none",
            "--post",
            str(commands),
            "--test",
            "none",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    text = done.stdout + done.stderr
    assert "TCP  10.0.0.10:80 rr" in text and "1 received, 0% packet loss" in text, text


def test_shell_runs_mininets_commands_on_guests_and_hosts(tmp_path: Path) -> None:
    """And their terminals are as large as the user's."""
    script = tmp_path / "commands"
    sizes = "lvs stty size\nc1 stty size\nc1 stty cols 40\nc1 stty size\n"
    script.write_text(f"nodes\nlvs ipvsadm -Ln\n{sizes}c1 curl -s 10.0.0.10\n")
    terminal, inside = pty.openpty()
    termios.tcsetwinsize(inside, (37, 131))
    done = run_lvslab("shell", "nat", "--script", str(script), stdin=inside)
    os.close(inside)
    os.close(terminal)
    assert done.code == 0, done.out + done.err
    assert "c1 lvs rs1 rs2 s1 s2" in done.out
    assert "TCP  10.0.0.10:80 rr" in done.out
    assert "10.0.0.101" in done.out.splitlines()[-1]
    said = [line for line in done.out.splitlines() if re.fullmatch(r"\d+ \d+", line)]
    assert said == ["37 131", "37 131", "37 40"], "and another size would be noticed"
