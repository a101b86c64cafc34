"""Health control: what the generators write is understood by the programs themselves, and does what
mon, ldirectord, keepalived expect.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lvslab.control.controls import Check, ControlFile, HealthSettings, control_named
from lvslab.control.keepalived import vrrp_event
from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
)
from tests.unit.health_cases import (
    CHECKS,
    KEEPALIVED,
    LDIRECTORD,
    MON,
    SORRY,
    STRANGE,
    WORKING,
    has,
    services,
    write,
)

RICH = (
    VirtualService(
        Protocol.TCP,
        "10.0.0.10",
        80,
        scheduler=Scheduler.MH,
        scheduler_flags=(SchedulerFlag.MH_FALLBACK, SchedulerFlag.MH_PORT),
        persistence_timeout=60,
        persistence_netmask="255.255.255.0",
        real_servers=(
            RealServer("10.0.1.11", 80, PacketForwarding.DR, 3, 100, 50),
            RealServer("10.0.1.12", 80, PacketForwarding.TUN, 0),
        ),
    ),
    VirtualService(
        Protocol.UDP,
        "10.0.0.10",
        5300,
        ops=True,
        real_servers=(RealServer("10.0.1.11", 5301, PacketForwarding.MASQ),),
    ),
    VirtualService(
        Protocol.FWMARK,
        fwmark=7,
        scheduler=Scheduler.RR,
        real_servers=(RealServer("10.0.1.11", 0, PacketForwarding.DR),),
    ),
)


def keepalived_says(files: Mapping[str, ControlFile], folder: Path) -> tuple[int, list[str]]:
    write(files, folder)
    done = subprocess.run(
        ["keepalived", "-t", "-f", str(folder / "keepalived.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).splitlines()


@has("keepalived")
@pytest.mark.parametrize("mode", ["nat", "dr", "tun"])
@pytest.mark.parametrize("check", CHECKS)
def test_keepalived_takes_its_configuration(mode: str, check: Check, tmp_path: Path) -> None:
    wanted = HealthSettings(
        check=check,
        quiescent=True,
        retries=1,
        quorum=2,
        sorry_server=SORRY.replace("8080", "80") if mode != "nat" else SORRY,
    )
    code, said = keepalived_says(KEEPALIVED.files(services(mode), wanted, tmp_path), tmp_path)
    assert [line for line in said if "script_security" not in line] == []
    assert code == (6 if check == Check.MISC else 0)


@has("keepalived")
@pytest.mark.parametrize("table", [RICH, STRANGE], ids=["rich", "strange"])
def test_keepalived_takes_every_kind_of_service(table: tuple[VirtualService, ...], tmp_path: Path) -> None:
    assert keepalived_says(KEEPALIVED.files(table, HealthSettings(interval=0.25), tmp_path), tmp_path) == (
        0,
        [],
    )


@has("keepalived")
def test_keepalived_names_what_it_does_not_know(tmp_path: Path) -> None:
    """The test above would not see mistakes if keepalived did not complain."""
    files = KEEPALIVED.files(services(), HealthSettings(), tmp_path)
    code, said = keepalived_says(
        {"keepalived.conf": ControlFile(files["keepalived.conf"].text.replace("delay_loop", "delay_lop"))},
        tmp_path,
    )
    assert code == 5 and "delay_lop" in said[0]


@has("ldirectord")
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("table", [services("nat"), services("tun"), RICH], ids=["nat", "tun", "rich"])
def test_ldirectord_takes_its_configuration(
    check: Check, table: tuple[VirtualService, ...], tmp_path: Path
) -> None:
    port = table[0].real_servers[0].port
    write(
        LDIRECTORD.files(table, HealthSettings(check=check, sorry_server=f"10.0.1.13:{port}"), tmp_path),
        tmp_path,
    )
    command = ["ldirectord", str(tmp_path / "ldirectord.cf"), "status"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, ""), "3: it has read everything and is not running"


@pytest.mark.parametrize("control", WORKING, ids=lambda each: each.name)
@pytest.mark.parametrize("check", CHECKS)
def test_scripts_are_understood_by_sh(control: Any, check: Check) -> None:
    for name, file in control.files(services(), HealthSettings(check=check), Path("/mnt/x")).items():
        if file.executable:
            done = subprocess.run(
                ["/bin/sh", "-n"], input=file.text, text=True, capture_output=True, check=False
            )
            assert (name, done.returncode, done.stderr) == (name, 0, "")
    command = control.command(Path("/mnt/x"))
    assert subprocess.run(["/bin/sh", "-n", "-c", command], check=False).returncode == 0
    assert re.search(r"\bexec\b", command), "a shell that stays would take the signals"


def test_mon_checks_every_server_of_the_http_service_and_no_other() -> None:
    text = MON.files(services(), HealthSettings(check=Check.HTTP), Path("/mnt/mon"))["mon.cf"].text
    assert re.findall(r"^watch (.*)$", text, re.M) == ["10.0.1.11", "10.0.1.12"]
    assert re.findall(r"monitor (.*)$", text, re.M) == ["http.monitor -p 8080 -t 1"] * 2
    assert "5201" not in text and "5301" not in text


@pytest.fixture
def alert(tmp_path: Path) -> Callable[..., str]:
    """Calls mon's alert script as mon does (call_alert in mon), with an ipvsadm that notes its
    words; returns them.
    """

    def call(rule: str, *flags: str, settings: HealthSettings) -> str:
        write(MON.files(services(), settings, tmp_path), tmp_path)
        (tmp_path / "ipvsadm").write_text(f'#!/bin/sh\necho "$*" >"{tmp_path}/seen"\n')
        (tmp_path / "ipvsadm").chmod(0o755)
        head = [
            str(tmp_path / "ipvs.alert"),
            "-s",
            "tcp-80",
            "-g",
            "10.0.1.11",
            "-h",
            "10.0.1.11",
            "-t",
            "1795434900",
            *flags,
        ]
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "MON_GROUP": "10.0.1.11", "MON_SERVICE": "tcp-80"}
        done = subprocess.run(
            [*head, *rule.split()],
            input="10.0.1.11\n",
            text=True,
            capture_output=True,
            env=environment,
            check=True,
        )
        assert done.stdout.startswith(
            "alert: 10.0.1.11/tcp-80 " + ("well again" if "-u" in flags else "failed")
        )
        return (tmp_path / "seen").read_text().strip()

    return call


@pytest.mark.parametrize(
    ("quiescent", "down", "up"),
    [
        (False, "-d -t 10.0.0.10:80 -r 10.0.1.11:8080", "-a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 1"),
        (
            True,
            "-e -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 0",
            "-e -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 1",
        ),
    ],
)
def test_mons_alert_takes_the_server_out_and_back(
    quiescent: bool, down: str, up: str, alert: Callable[..., str]
) -> None:
    settings = HealthSettings(quiescent=quiescent)
    text = MON.files(services(), settings, Path("/x"))["mon.cf"].text
    rules = dict(reversed(re.findall(r"^\s+(alert|upalert) ipvs\.alert (.*)$", text, re.M)))
    assert alert(rules["alert"], settings=settings) == down
    assert alert(rules["upalert"], "-u", settings=settings) == up


@pytest.mark.parametrize(
    ("control", "script", "words"),
    [
        (LDIRECTORD, "check.external", ["10.0.0.10", "80", "10.0.1.11", "8080"]),
        (MON, "check.monitor", ["8080", "10.0.1.11"]),
        (KEEPALIVED, "check", ["10.0.1.11", "8080"]),
    ],
    ids=["ldirectord", "mon", "keepalived"],
)
@pytest.mark.parametrize("well", [True, False])
def test_the_own_check_asks_the_real_server(
    control: Any, script: str, words: list[str], well: bool, tmp_path: Path
) -> None:
    write(control.files(services(), HealthSettings(check=Check.MISC, timeout=2), tmp_path), tmp_path)
    (tmp_path / "curl").write_text(f'#!/bin/sh\necho "$*" >"{tmp_path}/seen"\nexit {0 if well else 7}\n')
    (tmp_path / "curl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([str(tmp_path / script), *words], capture_output=True, env=environment, check=False)
    assert (done.returncode == 0) is well
    assert (tmp_path / "seen").read_text().endswith("--max-time 2 http://10.0.1.11:8080/\n")


def test_a_sorry_server_is_reached_as_the_others_are() -> None:
    settings = HealthSettings(sorry_server="10.0.1.13:80")
    assert (
        "fallback=10.0.1.13:80 ipip"
        in LDIRECTORD.files(services("tun"), settings, Path("/x"))["ldirectord.cf"].text
    )
    text = KEEPALIVED.files(services("dr"), settings, Path("/x"))["keepalived.conf"].text
    assert "sorry_server 10.0.1.13 80\n    sorry_server_lvs_method DR" in text


def test_retries_are_counted_as_each_program_counts() -> None:
    """One failure is enough: keepalived makes no further try, ldirectord's and mon's first failure
    counts.
    """
    settings = HealthSettings(retries=1)
    assert "retry 0\n" in KEEPALIVED.files(services(), settings, Path("/x"))["keepalived.conf"].text
    assert "failurecount = 1\n" in LDIRECTORD.files(services(), settings, Path("/x"))["ldirectord.cf"].text
    assert "alertafter 1\n" in MON.files(services(), settings, Path("/x"))["mon.cf"].text


SAID = {  # recorded in a guest director
    ("keepalived", Check.TCP): "Mon Nov 23 12:13:15 2026: TCP connection to [10.0.1.11]:tcp:8080 success.",
    (
        "keepalived",
        Check.HTTP,
    ): "Mon Nov 23 12:07:50 2026: Remote Web server [10.0.1.11]:tcp:8080 succeed on service.",
    (
        "keepalived",
        Check.MISC,
    ): (
        "Mon Nov 23 12:14:39 2026: Misc check for [[10.0.1.11]:tcp:8080 VS [10.0.0.10]:tcp:80] by "
        "[/mnt/keepalived/check] succeeded."
    ),
    ("ldirectord", Check.TCP): "DEBUG3: Activated service 10.0.1.11:8080",
    ("ldirectord", Check.HTTP): "DEBUG2: check_http: http://10.0.1.11:8080/ is up",
    ("ldirectord", Check.MISC): "DEBUG3: Activated service 10.0.1.11:8080",
    ("mon", Check.TCP): "PID 723 (10.0.1.11/tcp-80) exited with [0]",
    ("mon", Check.HTTP): "PID 723 (10.0.1.11/tcp-80) exited with [0]",
    ("mon", Check.MISC): "PID 723 (10.0.1.11/tcp-80) exited with [0]",
}


@pytest.mark.parametrize(("name", "check"), SAID)
def test_readiness_is_recognised_for_each_server(name: str, check: Check) -> None:
    patterns = control_named(name).ready(services(), HealthSettings(check=check))
    line = SAID[name, check]
    assert [bool(re.search(pattern, line)) for pattern in patterns[:2]] == [True, False]
    assert [bool(re.search(pattern, line.replace("1.11", "1.12"))) for pattern in patterns[:2]] == [
        False,
        True,
    ]


def test_ldirectord_is_ready_when_it_has_added_the_unchecked_servers_again() -> None:
    line = r"DEBUG2: Enabled  real server=on:udp:10.0.1.12:5301:::1:masq:\/: (virtual=udp:10.0.0.10:5300)"
    patterns = LDIRECTORD.ready(services(), HealthSettings())
    assert sum(bool(re.search(pattern, line)) for pattern in patterns) == 2


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("Mon Nov 23 12:13:15 2026: (inner) Entering MASTER STATE", ("inner", "MASTER")),
        ("Mon Nov 23 12:13:14 2026: (outer) Entering BACKUP STATE (init)", ("outer", "BACKUP")),
        ("Mon Nov 23 12:13:14 2026: (outer) Entering FAULT STATE", ("outer", "FAULT")),
        ("Mon Nov 23 12:13:15 2026: VRRP_Group(lvs) Syncing instances to MASTER state", None),
        ("Mon Nov 23 12:13:16 2026: (outer) sent 0 priority", None),
    ],
)
def test_a_change_of_vrrp_state_is_read(line: str, event: tuple[str, str] | None) -> None:
    assert vrrp_event(line) == event
