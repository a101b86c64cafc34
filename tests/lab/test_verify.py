"""All five modes on real kernels: they keep their contracts, and each breaks when one set-up step
is left out.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lvslab.modes import MODES
from lvslab.verify.frames import read_frames
from tests.lab.conftest import run_lvslab

ORDINARY_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""From here on the kernel sees a user without privileges; the files of this checkout stay
readable.
"""


@pytest.fixture(scope="module")
def all_modes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    runs = tmp_path_factory.mktemp("runs")
    done = run_lvslab("verify", "--json", "--runs", str(runs))
    assert done.code == 0, done.out + done.err
    return done.data, Path(done.data["run"])


def test_all_five_modes_pass(all_modes: tuple[dict[str, Any], Path]) -> None:
    data, _ = all_modes
    assert [(each["name"], each["verdict"]) for each in data["results"]] == [
        (str(mode), "pass") for mode in MODES
    ]


def test_every_result_names_evidence_files_that_exist(all_modes: tuple[dict[str, Any], Path]) -> None:
    data, run = all_modes
    for result in data["results"]:
        assert {Path(name).suffix for name in result["evidence"]} == {".pcapng", ".json", ".txt"}
        assert all((run / name).stat().st_size > 0 for name in result["evidence"])


@pytest.mark.parametrize("mode", [str(mode) for mode in MODES])
def test_checks_cover_every_kind_of_traffic(all_modes: tuple[dict[str, Any], Path], mode: str) -> None:
    data, _ = all_modes
    checks = {
        each["name"] for each in next(each for each in data["results"] if each["name"] == mode)["checks"]
    }
    expected = {"tcp", "icmp", "http", "arp", "client-address", "share"} | (
        {"cookies"} if mode == "synproxy" else {"udp"}
    )
    assert checks == expected


def test_captures_hold_every_link_on_one_clock(all_modes: tuple[dict[str, Any], Path]) -> None:
    _, run = all_modes
    frames = read_frames(run / "captures" / "nat.pcapng")
    assert {frame.interface for frame in frames} == {
        "c1-eth0",
        "lvs-eth0",
        "lvs-eth1",
        "rs1-eth0",
        "rs2-eth0",
    }
    assert [frame.t for frame in frames] == sorted(frame.t for frame in frames)


def test_director_ran_a_real_ipvs_kernel(all_modes: tuple[dict[str, Any], Path]) -> None:
    _, run = all_modes
    record = json.loads((run / "run.json").read_text())
    assert record["status"] == "complete"
    for lab in record["labs"]:
        director = next(node for node in lab["nodes"] if node["role"] == "director")
        assert "ip_vs" in director["needs"]
        console = (
            (run / "logs" / lab["name"] / "lvs.console").read_text()
            if director["kernel"]["kind"] == "uml"
            else ""
        )
        assert "panic" not in console.lower()


def test_an_ordinary_user_passes_all_five_modes(tmp_path: Path) -> None:
    done = run_lvslab("verify", "--json", "--runs", str(tmp_path), prefix=ORDINARY_USER)
    assert done.code == 0, done.out + done.err
    record = json.loads((Path(done.data["run"]) / "run.json").read_text())
    assert record["host"]["user"] == "ordinary user"


@pytest.mark.parametrize(
    ("mode", "step", "sender", "receiver", "why"),
    [
        (
            "nat",
            "gateway",
            "lvs",
            "rs",
            "nothing followed that would have answered the client; expected next: real server to director",
        ),
        (
            "nat",
            "ip-forward",
            "rs",
            "lvs",
            "arrived at lvs and never left it; expected next: director to client: VIP > CIP",
        ),
        (
            "dr",
            "vip-on-lo",
            "lvs",
            "rs",
            "nothing followed that would have answered the client; expected next: real server to client",
        ),
        (
            "tun",
            "tunl0",
            "gw",
            "rs",
            "nothing followed that would have answered the client; expected next: real server to client",
        ),
        ("fullnat", "snat", "lvs", "rs", "expected LIP one of 10.0.1.201, 10.0.1.202"),
        (
            "synproxy",
            "synproxy",
            "lvs",
            "rs",
            "a SYN reached for a real server before the client's ACK proved the cookie",
        ),
    ],
)
def test_a_broken_set_up_fails_at_the_right_packet(
    tmp_path: Path, mode: str, step: str, sender: str, receiver: str, why: str
) -> None:
    done = run_lvslab("verify", mode, "--without", step, "--json", "--runs", str(tmp_path))
    assert done.code == 1, done.out + done.err
    result = done.data["results"][0]
    assert result["verdict"] == "fail"
    tcp = next(each for each in result["checks"] if each["name"] == "tcp")
    assert tcp["verdict"] == "fail" and why in tcp["reason"]
    path = json.loads((Path(done.data["run"]) / "captures" / f"{mode}.path.json").read_text())
    wrong = next(step for flow in path["flows"] for step in flow["steps"] if step["verdict"] == "wrong")
    assert wrong["from"].startswith(sender) and wrong["to"].startswith(receiver)
    assert f"captures/{mode}.contract.txt" in result["evidence"]


def test_real_servers_that_answer_arp_for_the_vip_fail_dr(tmp_path: Path) -> None:
    done = run_lvslab("verify", "dr", "--without", "arp", "--runs", str(tmp_path))
    assert done.code == 1
    assert "\nDR, first wrong packet:\n" in done.out
    wrong = r"^wrong +handed to rs[12] \(real server, MAC [\da-f:]{17}\); expected: to director$"
    assert re.search(wrong, done.out, re.M), done.out
    (result,) = json.loads((next(tmp_path.iterdir()) / "run.json").read_text())["results"]
    (arp,) = [check for check in result["checks"] if check["name"] == "arp"]
    answers = r"rs[12] \([\da-f:]{17}\) answers ARP for the virtual address \(frame \d+\)"
    assert arp["verdict"] == "fail" and re.fullmatch(answers, arp["reason"])


def test_more_clients_and_servers_pass_too(tmp_path: Path) -> None:
    done = run_lvslab("verify", "dr", "--clients", "2", "--servers", "4", "--json", "--runs", str(tmp_path))
    assert done.code == 0, done.out + done.err
    share = next(each for each in done.data["results"][0]["checks"] if each["name"] == "share")
    assert share["reason"] == "rr: rs1 4, rs2 4, rs3 4, rs4 4"


def test_a_single_mode_prints_its_ladder(tmp_path: Path) -> None:
    done = run_lvslab("verify", "fullnat", "--runs", str(tmp_path))
    assert done.code == 0
    assert re.search(r"10\.0\.1\.20[12]:\d+ > 10\.0\.1\.1[12]:8080", done.out), "from the pool to a server"
    assert "─ SYN ─" in done.out and "[src dst dport]" in done.out


def test_dry_run_starts_nothing_and_prints_the_plan(tmp_path: Path) -> None:
    done = run_lvslab("verify", "tun", "--dry-run", "--runs", str(tmp_path))
    assert done.code == 0
    assert "ipvsadm -A -t 10.0.0.10:80 -s rr" in done.out
    assert "ip address add 10.0.0.10/32 dev tunl0" in done.out
    assert list(tmp_path.iterdir()) == []
