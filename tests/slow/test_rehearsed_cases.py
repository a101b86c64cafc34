"""Seven situations that users of LVS have reported in public, as files: each is rehearsed, and its
page and answers are what is right. Timers are short where only their sum would differ.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECK = "TCP_CHECK {\n connect_timeout 1\n retry 1\n delay_before_retry 1\n }\n"


def _rehearse(folder: Path, files: Sequence[Path], *options: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "lvslab", "rehearse", *map(str, files), *options, "--json"]
    done = subprocess.run(
        [*command, "--runs", str(folder / "runs")], capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.stdout, done.stderr
    answers = json.loads(done.stdout)
    assert (Path(answers["run"]) / "rehearsal.html").is_file()
    return done.returncode, answers


def _faults(answers: dict[str, Any]) -> list[str]:
    return [finding["name"] for finding in answers["findings"]]


def _verdicts(answers: dict[str, Any]) -> dict[str, str]:
    return {proof["door"]: proof["verdict"] for proof in answers["proofs"]}


def _vrrp(name: str, number: int, priority: int, *addresses: str, more: str = "") -> str:
    inside = "\n".join(addresses)
    return (
        f"vrrp_instance {name} {{\n interface eth0\n virtual_router_id {number}\n priority {priority}\n"
        f" advert_int 1\n {more}\n virtual_ipaddress {{\n{inside}\n }}\n}}\n"
    )


def _addresses(mac: str, address: str) -> str:
    return (
        "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP group default\n"
        f"    link/ether {mac} brd ff:ff:ff:ff:ff:ff\n    inet {address}/24 scope global eth0\n"
    )


def _folders(folder: Path, files: dict[str, dict[str, str]]) -> list[Path]:
    for name, inside in files.items():
        (folder / name).mkdir()
        for file, text in inside.items():
            (folder / name / file).write_text(text)
    return [folder / name for name in files]


def test_01_directors_that_are_each_others_servers_balance_twice(tmp_path: Path) -> None:
    hosts = ("10.81.0.11", "10.81.0.12", "10.81.0.13")
    servers = "".join(f" real_server {host} 6443 {{\n {CHECK} }}\n" for host in hosts)
    pool = (
        "virtual_server 10.81.0.100 6443 {\n delay_loop 2\n lvs_sched rr\n lvs_method DR\n"
        f" persistence_timeout 360\n protocol TCP\n{servers}}}\n"
    )
    folders = _folders(
        tmp_path,
        {
            f"cp{number}": {
                "keepalived.conf": _vrrp("API", 61, 150 - 10 * number, "10.81.0.100/24") + pool,
                "addresses": _addresses(f"02:00:00:00:81:0{number}", host),
            }
            for number, host in enumerate(hosts)
        },
    )
    code, answers = _rehearse(tmp_path, folders, "--deaths", "none")
    assert code == 1
    assert _faults(answers) == ["scheduled-twice"]
    (proof,) = answers["proofs"]
    assert 0 < proof["failed"] < proof["attempts"], "some clients are never answered, others always"


SHOP = """virtual_server_group shop {
    10.82.0.80 80
    10.82.0.81 80
}
virtual_server group shop {
    delay_loop 2
    lvs_sched wrr
    lvs_method TUN
    protocol TCP
    alpha
    omega
    quorum 10
    hysteresis 1
    real_server 10.82.1.31 80 {
        weight WEIGHT
        inhibit_on_failure
        HTTP_GET {
            url {
                path /ping
                status_code 200
            }
            connect_timeout 1
            retry 1
            delay_before_retry 1
        }
    }
}
"""


def test_03_a_weight_that_is_changed_while_the_server_is_inhibited(tmp_path: Path) -> None:
    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    old.write_text(SHOP.replace("WEIGHT", "11"))
    new.write_text(SHOP.replace("WEIGHT", "9"))
    code, answers = _rehearse(tmp_path, [old], "--against", str(new), "--deaths", "none")
    known = {fault["number"]: fault for fault in answers["known"]}
    came_back = [line for line in answers["history"] if " down, " in line and "weight 0 -> 9" in line]
    assert known[187]["verdict"] == ("pass" if len(came_back) == 2 else "fail"), answers["history"]
    assert known[1354]["verdict"] == "pass"
    assert all(reload["broken"] == 0 for reload in answers["reloads"]), "the service is never deleted"
    assert _faults(answers["new"]) == ["quorum-above-weights"], "9 cannot reach 10"
    assert code == 1


def test_04_a_pair_that_tells_its_connections(tmp_path: Path) -> None:
    servers = "".join(
        f" real_server 10.83.0.{host} 25 {{\n inhibit_on_failure\n {CHECK} }}\n" for host in (61, 62)
    )
    pool = (
        "virtual_server 10.83.0.25 25 {\n delay_loop 2\n lvs_sched wlc\n lvs_method DR\n protocol TCP\n"
        f" sorry_server 127.0.0.1 25\n{servers}}}\n"
    )
    head = "global_defs {\n lvs_sync_daemon eth1 FRONT id 7\n}\n"
    folders = _folders(
        tmp_path,
        {
            f"mx{number}": {
                "keepalived.conf": head
                + _vrrp("FRONT", 81, 100 - number, "10.83.0.25/24", more="state BACKUP\n nopreempt")
                + pool
            }
            for number in (1, 2)
        },
    )
    code, answers = _rehearse(tmp_path, folders, "--deaths", "killed")
    assert _verdicts(answers) == {"TCP 10.83.0.25:25": "pass"}
    assert _faults(answers) == [], "both daemons run: what the backup does not have, it was not told"
    faults = {notice["fault"]: notice for notice in answers["notices"]}
    assert faults["all its servers killed"]["ended"], "the sorry server takes over"
    assert any(fault.endswith("loses power") and notice["ended"] for fault, notice in faults.items())
    assert code == 0, answers["notices"]


def test_05_marks_that_leave_out_passive_connections(tmp_path: Path) -> None:
    def marks(other: str) -> str:
        rules = [("10.84.0.71", "21"), ("10.84.0.71", "30000:30099"), ("10.84.0.72", "21")]
        lines = [
            f"-A PREROUTING -d {vip}/32 -p tcp -m tcp --dport {ports} -m mac ! --mac-source {other}"
            " -j MARK --set-xmark 0x15/0xffffffff"
            for vip, ports in rules
        ]
        return "*mangle\n:PREROUTING ACCEPT [0:0]\n" + "\n".join(lines) + "\nCOMMIT\n"

    macs = {"10.84.0.11": "02:00:00:00:84:11", "10.84.0.12": "02:00:00:00:84:12"}
    servers = "".join(
        f" real_server {host} 21 {{\n weight 5\n {CHECK.replace('{', '{ connect_port 21', 1)} }}\n"
        for host in macs
    )
    pool = (
        "virtual_server fwmark 21 {\n delay_loop 2\n lvs_sched wlc\n lvs_method DR\n"
        f" persistence_timeout 50\n protocol TCP\n{servers}}}\n"
    )
    instances = "vrrp_sync_group BOTH {\n group {\n A\n B\n }\n}\n"
    folders = _folders(
        tmp_path,
        {
            f"box{number}": {
                "keepalived.conf": instances
                + _vrrp("A", 91, 110 - 10 * number, "10.84.0.71/24")
                + _vrrp("B", 92, 110 - 10 * number, "10.84.0.72/24")
                + pool,
                "marks": marks(next(mac for other, mac in macs.items() if other != host)),
                "addresses": _addresses(macs[host], host),
            }
            for number, host in enumerate(macs, start=1)
        },
    )
    code, answers = _rehearse(tmp_path, folders, "--deaths", "none")
    assert _faults(answers) == ["ftp-data-unmarked"]
    assert _verdicts(answers) == dict.fromkeys(
        ("TCP 10.84.0.71:21", "TCP 10.84.0.71:30000", "TCP 10.84.0.72:21"), "pass"
    ), "a local server's row serves, and packets of the other director are not balanced again"
    assert "-a -f 21 -r 10.84.0.11:0 -g -w 5" in answers["tables"]["box1"]
    assert code == 1


def test_11_an_ipv6_address_whose_servers_are_reached_by_ipv4(tmp_path: Path) -> None:
    servers = "".join(f" real_server 10.85.4.{host} 80 {{\n {CHECK} }}\n" for host in (11, 12))
    text = (
        _vrrp(
            "OUT",
            101,
            100,
            "10.85.0.80/32",
            more="virtual_ipaddress_excluded {\n fd00:85::80/128\n }",
        )
        + "virtual_server_group portal {\n 10.85.0.80 80\n fd00:85::80 80\n}\n"
        "virtual_server group portal {\n delay_loop 2\n lvs_sched sh\n lvs_method TUN\n"
        f" persistence_timeout 300\n protocol TCP\n{servers}}}\n"
    )
    (tmp_path / "keepalived.conf").write_text(text)
    code, answers = _rehearse(tmp_path, [tmp_path / "keepalived.conf"], "--deaths", "none")
    assert _verdicts(answers) == {"TCP 10.85.0.80:80": "pass", "TCP [fd00:85::80]:80": "pass"}
    assert "-a -t [fd00:85::80]:80 -r 10.85.4.11:80 -i -w 1" in answers["tables"]["lvs"]
    assert (answers["differences"], _faults(answers), code) == ([], [], 0)


def test_12_an_endpoint_that_leaves_the_file_leaves_the_table(tmp_path: Path) -> None:
    def text(*hosts: str) -> str:
        return "".join(
            f"virtual_server 10.86.0.10 {port} {{\n delay_loop 2\n lvs_sched wlc\n lvs_method NAT\n"
            " persistence_timeout 1800\n protocol TCP\n"
            + "".join(f" real_server {host} {inner} {{\n {CHECK} }}\n" for host in hosts)
            + "}\n"
            for port, inner in ((80, 8080), (443, 8443))
        )

    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    old.write_text(text("10.86.4.5", "10.86.4.6"))
    new.write_text(text("10.86.4.5"))
    _, answers = _rehearse(tmp_path, [old], "--against", str(new), "--deaths", "none")
    gone = [line for line in answers["history"] if line.startswith("all up") and "10.86.4.6" in line]
    assert len(gone) == 2 and all(line.endswith("removed") for line in gone)
    known = {fault["number"]: fault["verdict"] for fault in answers["known"]}
    assert (known[479], answers["leftovers"]) == ("pass", [])
    assert _verdicts(answers["new"]) == {"TCP 10.86.0.10:80": "pass", "TCP 10.86.0.10:443": "pass"}


LDIRECTORD = """checktimeout=2
negotiatetimeout=2
checkinterval=2
failurecount=2
quiescent=yes

virtual=10.87.0.53:domain
\treal=10.87.1.21:domain gate 1
\treal=10.87.1.22:domain gate 1
\tservice=dns
\tchecktype=negotiate
\trequest="www.example.org"
\treceive="10.87.9.9"
\tscheduler=wrr
\tprotocol=udp
virtual=10.87.0.80:www
\treal=10.87.1.31:www gate 3
\treal=10.87.1.32:www gate 1
\tfallback=127.0.0.1:www
\tservice=http
\trequest="health.txt"
\treceive="fit"
\tvirtualhost="www.example.org"
\tscheduler=sed
\tprotocol=tcp
virtual=10.87.0.33:mysql
\treal=10.87.1.41:mysql gate 1
\tfallback=10.87.1.42:mysql
\tservice=mysql
\tchecktype=negotiate
\tlogin="probe"
\tpasswd="none"
\tdatabase="probe"
\trequest="SELECT 1"
\tscheduler=wrr
\tprotocol=tcp
virtual=10.87.0.21:ftp
\treal=10.87.1.61:ftp masq 1
\tfallback=127.0.0.1:ftp masq
\tservice=ftp
\tchecktype=connect
\tscheduler=wlc
\tprotocol=tcp
"""


def test_14_fallbacks_by_gate_serve_and_one_that_is_masqueraded_to_the_loopback_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "ldirectord.cf").write_text(LDIRECTORD)
    code, answers = _rehearse(tmp_path, [tmp_path / "ldirectord.cf"], "--deaths", "none")
    assert set(_verdicts(answers).values()) == {"pass"} and len(answers["proofs"]) == 4
    assert any("asked with checktype=connect" in note for note in answers["notes"])
    assert "masquerade-to-loopback" in _faults(answers)
    dead = {n["door"]: n for n in answers["notices"] if n["fault"] == "all its servers killed"}
    assert dead["TCP 10.87.0.80:80"]["ended"] and dead["TCP 10.87.0.33:3306"]["ended"]
    assert not dead["TCP 10.87.0.21:21"]["ended"], "the kernel translates nothing to 127.0.0.1"
    assert code == 1
