"""A user's files, rehearsed: the real daemon on them, users at every door, servers that die."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bare import Bare, answer, bare_tables
from tests.lab.conftest import run_lvslab

pytestmark = pytest.mark.usefixtures("quick_guests")

SERVER = """
    real_server {address} {port} {{
        weight {weight}
        inhibit_on_failure
        HTTP_GET {{
            url {{
                path /ping
                status_code 200
            }}
            connect_timeout 1
            retry 1
            delay_before_retry 1
        }}
    }}
"""


def _pool(door: str, method: str, servers: list[tuple[str, int, int]]) -> str:
    inner = "".join(
        SERVER.format(address=address, port=port, weight=weight) for address, port, weight in servers
    )
    head = f"delay_loop 1\n    lvs_sched rr\n    lvs_method {method}\n    protocol TCP"
    return f"virtual_server {door} {{\n    {head}\n{inner}}}\n"


MIXED = (
    _pool("10.77.0.10 80", "NAT", [("10.77.1.11", 8080, 2), ("10.77.1.12", 8080, 1)])
    + _pool("10.77.0.11 80", "DR", [("10.77.0.21", 80, 1), ("10.77.0.22", 80, 1)])
    + _pool("10.77.0.12 80", "TUN", [("10.77.2.31", 80, 1), ("10.77.2.32", 80, 1)])
    + _pool("fd00:77::12 80", "TUN", [("10.77.2.31", 80, 1), ("10.77.2.32", 80, 1)])
)
"""Three ways of forwarding and both families in one file."""


LDIRECTORD = """checkinterval=1
negotiatetimeout=2
checktimeout=2
quiescent=yes
virtual=10.78.0.10:80
\treal=10.78.1.11:8080 masq 3
\treal=10.78.1.12:8080 masq
\tservice=http
\trequest="fit.txt"
\treceive="fit"
\tscheduler=wrr
\tprotocol=tcp
virtual=10.78.0.10:25
\treal=10.78.1.11:25 masq
\tcheckcommand=/bin/false
\tchecktype=external
\tprotocol=tcp
"""
"""The second service's check can never succeed."""


def _rehearse(
    folder: Path, text: str, *options: str, name: str = "keepalived.conf"
) -> tuple[int, dict[str, Any]]:
    file = folder / name
    file.write_text(text)
    done = run_lvslab("rehearse", str(file), "--json", "--runs", str(folder / "runs"), *options, timeout=500)
    assert done.out, done.err
    return done.code, done.data


def test_nat_dr_and_tun_of_one_file_serve_and_lose_servers(tmp_path: Path) -> None:
    code, answer = _rehearse(tmp_path, MIXED, "--deaths", "killed")
    assert answer["differences"] == []
    assert {proof["door"]: proof["verdict"] for proof in answer["proofs"]} == {
        "TCP 10.77.0.10:80": "pass",
        "TCP 10.77.0.11:80": "pass",
        "TCP 10.77.0.12:80": "pass",
        "TCP [fd00:77::12]:80": "pass",
    }
    for proof in answer["proofs"]:
        assert len(proof["servers"]) == 2, f"{proof['door']}: one server only answers"
    deaths = [notice for notice in answer["notices"] if notice["fault"].endswith(" killed")]
    assert len([notice for notice in deaths if not notice["fault"].startswith("all")]) == 8
    assert all(notice["failed"] for notice in deaths), "a death that no user notices was none"
    assert all(notice["left_table"] is not None for notice in deaths)
    assert code == 0, answer["notices"]
    bare = Bare("keepalived", {"/etc/keepalived/keepalived.conf": MIXED}, 12)
    assert [sorted(answer["tables"]["lvs"].splitlines())] == bare_tables([bare])
    assert (Path(answer["run"]) / "rehearsal.html").is_file()


def test_a_check_that_cannot_succeed_is_a_difference(tmp_path: Path) -> None:
    """ldirectord's, whose table is the one that it makes without a lab, too."""
    code, answers = _rehearse(tmp_path, LDIRECTORD, "--deaths", "none", name="ldirectord.cf")
    assert answers["differences"] == [
        "TCP 10.78.0.10:25: real server 10.78.1.11:25 is -m -w 0, wanted is -m -w 1"
    ]
    assert code == 1
    pages = {"pages": {"/fit.txt": [200, "fit"]}}
    bare = Bare(
        "ldirectord",
        {"/etc/ha.d/ldirectord.cf": LDIRECTORD},
        lines=5,
        zeros=1,
        answers=tuple(answer(f"10.78.1.{host}", 8080, "http", **pages) for host in (11, 12)),
    )
    assert [sorted(answers["tables"]["lvs"].splitlines())] == bare_tables([bare])


def test_a_file_that_its_daemon_refuses_is_wrong_input(tmp_path: Path) -> None:
    """lvslab's own reading has no objection to a second definition of a service."""
    file = tmp_path / "ldirectord.cf"
    file.write_text(LDIRECTORD.replace("10.78.0.10:25", "10.78.0.10:80"))
    done = run_lvslab("rehearse", str(file), "--deaths", "none", "--runs", str(tmp_path / "runs"))
    assert (done.code, done.out) == (2, "")
    told = r"lvslab: lvs: ldirectord refuses its file: \S+ at line \d+: duplicate virtual server"
    assert re.fullmatch(told, done.err.splitlines()[-1])


def test_a_pair_hands_over_and_survives_a_power_cut(tmp_path: Path) -> None:
    vrrp = (
        "vrrp_instance FRONT {{\n interface eth0\n virtual_router_id 7\n priority {}\n advert_int 1\n"
        " virtual_ipaddress {{\n 10.77.0.11/24\n }}\n}}\n"
    )
    pool = _pool("10.77.0.11 80", "DR", [("10.77.0.21", 80, 1), ("10.77.0.22", 80, 1)])
    for name, priority in (("lvs1", 150), ("lvs2", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keepalived.conf").write_text(vrrp.format(priority) + pool)
    done = run_lvslab(
        "rehearse",
        str(tmp_path / "lvs1"),
        str(tmp_path / "lvs2"),
        "--json",
        "--deaths",
        "none",
        "--runs",
        str(tmp_path / "runs"),
        timeout=500,
    )
    assert done.out, done.err
    answer = done.data
    faults = {notice["fault"]: notice for notice in answer["notices"]}
    power = next(faults[fault] for fault in faults if fault.endswith("loses power"))
    assert power["failed"] and power["ended"] and power["promised"] > 3
    assert any(fault.endswith("hands over") for fault in faults)


def test_a_change_is_reloaded_under_load(tmp_path: Path) -> None:
    """The weights change; nobody notices, and the reload gives what a fresh start gives."""
    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    pool = _pool("10.77.0.10 80", "NAT", [("10.77.1.11", 8080, 2), ("10.77.1.12", 8080, 1)])
    old.write_text(pool)
    new.write_text(pool.replace("weight 2", "weight 5"))
    done = run_lvslab(
        "rehearse",
        str(old),
        "--against",
        str(new),
        "--json",
        "--deaths",
        "none",
        "--runs",
        str(tmp_path / "runs"),
        timeout=500,
    )
    assert done.out, done.err
    answer = done.data
    assert answer["changes"] == ["TCP 10.77.0.10:80: real server 10.77.1.11:8080: -m -w 2 becomes -m -w 5"]
    assert any("weight 2 -> 5" in line for line in answer["history"]), "the reload was not seen"
    assert all(reload["connections"] == 5 for reload in answer["reloads"]), "no connection stood"
    assert (answer["leftovers"], answer["worse"]) == ([], [])
    known = {fault["number"]: fault["verdict"] for fault in answer["known"]}
    tried = dict.fromkeys((187, 479, 1354, 1720, 1904), "pass")
    assert known == tried | {1228: "unknown", 2159: "unknown"}
    assert done.code == 0
