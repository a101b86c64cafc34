"""Health control: what the generators write is understood by the programs themselves, and does what
mon, ldirectord, keepalived expect.
"""

from __future__ import annotations

import io
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import lab
from hypothesis import given
from hypothesis import strategies as st

from lvslab.control.base import checked
from lvslab.control.health import CONTROLS, NO_CONTROL, Check, ControlFile, HealthSettings, control_named
from lvslab.control.keepalived import (
    SyncDaemon,
    Vrrp,
    keepalived_command,
    keepalived_files,
    vrrp_event,
    vrrp_ready,
)
from lvslab.errors import LabError, UsageError
from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
)
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from lvslab.lab.daemon import Daemon, health_daemon

WORKING = [control for control in CONTROLS.values() if control.programs]
CHECKS = list(Check)
SORRY = "10.0.1.13:8080"
KEEPALIVED, LDIRECTORD, MON = (control_named(name) for name in ("keepalived", "ldirectord", "mon"))


def services(mode: str = "nat") -> tuple[VirtualService, ...]:
    return lab(mode).services


def write(files: Mapping[str, ControlFile], folder: Path) -> None:
    for name, file in files.items():
        (folder / name).write_text(file.text)
        (folder / name).chmod(0o755 if file.executable else 0o644)


def has(program: str) -> Any:
    return pytest.mark.skipif(
        not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"), reason=f"{program} is not installed"
    )


# -- the programs understand it --------------------------------------------------------------------

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
STRANGE = (
    VirtualService(
        Protocol.UDP,
        "10.0.0.10",
        5060,
        persistence_timeout=60,
        persistence_engine="sip",
        real_servers=(
            RealServer(
                "10.0.1.11",
                5060,
                PacketForwarding.TUN,
                tun_type=TunnelType.GUE,
                tun_port=6080,
                tun_csum=TunnelChecksum.CSUM,
            ),
            RealServer("10.0.1.12", 5060, PacketForwarding.TUN, tun_type=TunnelType.GRE),
        ),
    ),
    VirtualService(
        Protocol.TCP, "fd00::10", 80, real_servers=(RealServer("fd00::11", 80, PacketForwarding.DR),)
    ),
    VirtualService(
        Protocol.FWMARK, fwmark=8, ipv6=True, real_servers=(RealServer("fd00::11", 0, PacketForwarding.DR),)
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


# -- what they are told ----------------------------------------------------------------------------


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


# -- what they promise -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "check", "seconds"),
    [
        (KEEPALIVED, Check.TCP, 3 * (2 + 1)),
        (KEEPALIVED, Check.HTTP, 3 * (2 + 2 * 1)),
        (KEEPALIVED, Check.MISC, 3 * 2 + 1 + 1),
        (LDIRECTORD, Check.TCP, 3 * (2 + 1) + 1),
        (LDIRECTORD, Check.MISC, 3 * (2 + 1) + 1 + 3 * 1),
        (MON, Check.HTTP, 1 + 3 * (2 + 1 + 1 + 1) + 1),
    ],
)
def test_the_bound_follows_the_programs_arithmetic(control: Any, check: Check, seconds: float) -> None:
    found, formula = control.bound(HealthSettings(check=check, interval=2, timeout=1, retries=3))
    assert found == pytest.approx(seconds)
    assert "3 failures" in formula


@given(
    st.sampled_from(WORKING),
    st.sampled_from(CHECKS),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 5),
)
def test_no_bound_is_shorter_than_an_interval_and_a_timeout(
    control: Any, check: Check, interval: int, timeout: int, retries: int
) -> None:
    seconds, _ = control.bound(
        HealthSettings(check=check, interval=interval, timeout=timeout, retries=retries)
    )
    assert seconds >= interval + timeout + (retries - 1) * interval


@pytest.mark.parametrize(
    ("control", "wanted", "reason"),
    [
        (MON, HealthSettings(interval=0.5), "mon counts in whole seconds, and interval is 0.5 s"),
        (MON, HealthSettings(sorry_server=SORRY), "mon has no sorry server"),
        (MON, HealthSettings(quorum=2), "mon has no quorum"),
        (LDIRECTORD, HealthSettings(timeout=1.5), "ldirectord counts in whole seconds, and timeout is 1.5 s"),
        (LDIRECTORD, HealthSettings(quorum=2), "ldirectord has no quorum"),
        (KEEPALIVED, HealthSettings(check=Check.MISC, timeout=0.5), "misc_timeout counts in whole seconds"),
        (KEEPALIVED, HealthSettings(ports=(81,)), "no TCP service with a real server on port 81"),
        (NO_CONTROL, HealthSettings(sorry_server=SORRY), "nobody who could use the sorry server"),
    ],
)
def test_what_a_control_cannot_do_is_refused(control: Any, wanted: HealthSettings, reason: str) -> None:
    refused = control.refuse(services(), wanted)
    assert refused is not None and reason in refused
    if control.programs:
        with pytest.raises(UsageError, match=f"control '{control.name}': "):
            control.files(services(), wanted, Path("/x"))


@pytest.mark.parametrize("mode", ["nat", "dr", "tun"])
def test_a_sorry_server_on_the_director_itself_is_never_masqueraded(mode: str, tmp_path: Path) -> None:
    settings = HealthSettings(sorry_server="127.0.0.1:80")
    text = KEEPALIVED.files(services(mode), settings, tmp_path)["keepalived.conf"].text
    assert "sorry_server 127.0.0.1 80\n    sorry_server_lvs_method DR" in text
    text = LDIRECTORD.files(services(mode), settings, tmp_path)["ldirectord.cf"].text
    assert "fallback=127.0.0.1:80 gate" in text
    refused = KEEPALIVED.refuse(services(mode), HealthSettings(sorry_server="127.0.0.1:8080"))
    assert refused is not None and "8080" in refused


@pytest.mark.parametrize(("status", "starts"), [(0, True), (5, True), (6, True), (1, False), (4, False)])
def test_keepalived_starts_with_what_its_test_only_warns_of(
    status: int, starts: bool, tmp_path: Path
) -> None:
    program = tmp_path / "keepalived"
    program.write_text(f'#!/bin/sh\n[ "$1" = --config-test ] && exit {status}\necho started\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", keepalived_command(tmp_path)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode == 0) == ("started\n" if starts else "", starts)


def test_a_sorry_server_that_does_not_fit_is_refused() -> None:
    refused = KEEPALIVED.refuse(services("dr"), HealthSettings(sorry_server=SORRY))
    assert refused is not None and "cannot have a port of its own with forwarding Route" in refused


@pytest.mark.parametrize("service", STRANGE, ids=lambda each: each.name)
def test_ldirectord_refuses_services_that_it_has_no_words_for(service: VirtualService) -> None:
    assert LDIRECTORD.refuse((*services(), service), HealthSettings()) is not None
    assert KEEPALIVED.refuse((*services(), service), HealthSettings()) is None


def test_keepalived_refuses_a_port_that_it_would_clear() -> None:
    server = RealServer("10.0.1.11", 8080, PacketForwarding.DR)
    marked = VirtualService(Protocol.FWMARK, fwmark=7, real_servers=(server,))
    refused = KEEPALIVED.refuse((*services(), marked), HealthSettings())
    assert refused is not None and "keepalived drops port 8080" in refused


@pytest.mark.parametrize("control", CONTROLS.values(), ids=lambda each: each.name)
@pytest.mark.parametrize("mode", ["nat", "dr", "tun", "fullnat", "synproxy"])
@pytest.mark.parametrize("check", CHECKS)
def test_every_control_works_in_every_mode(control: Any, mode: str, check: Check) -> None:
    assert control.refuse(services(mode), HealthSettings(check=check)) is None


@pytest.mark.parametrize(
    "wrong",
    [{"interval": 0}, {"timeout": -1}, {"retries": 0}, {"quorum": 0}, {"sorry_server": "10.0.1.13"}],
    ids=str,
)
def test_settings_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        HealthSettings(**wrong)


def test_controls_have_names() -> None:
    assert control_named("Keepalived") is KEEPALIVED
    with pytest.raises(UsageError, match=r"control 'nagios': .* none, mon, ldirectord, keepalived"):
        control_named("nagios")


def test_none_starts_nothing() -> None:
    assert (NO_CONTROL.files(services(), HealthSettings(), Path("/x")), NO_CONTROL.command(Path("/x"))) == (
        {},
        "",
    )
    assert NO_CONTROL.bound(HealthSettings())[0] == float("inf")


# -- what they say ---------------------------------------------------------------------------------

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


# -- VRRP ------------------------------------------------------------------------------------------


def vrrp(**changes: Any) -> Vrrp:
    given: dict[str, Any] = {
        "priority": 100,
        "outer": "lvs1-eth0",
        "inner": "lvs1-eth1",
        "outer_addresses": ("10.0.0.10/32",),
        "inner_addresses": ("10.0.1.254/24",),
        "advert": 0.2,
    }
    return Vrrp(**{**given, **changes})


def vrrp_text(**changes: Any) -> str:
    return keepalived_files(Path("/x"), vrrp=vrrp(**changes))["keepalived.conf"].text


def test_all_addresses_move_together() -> None:
    text = vrrp_text()
    assert re.findall(r"^vrrp_(?:instance|sync_group) (\w+)", text, re.M) == ["lvs", "outer", "inner"]
    assert re.findall(r"interface (\S+)\n    virtual_router_id (\d+)", text) == [
        ("lvs1-eth0", "51"),
        ("lvs1-eth1", "52"),
    ]
    assert "virtual_server" not in text
    assert len(vrrp_ready(vrrp())) == 2


@pytest.mark.parametrize(
    "changes", [{"inner": "lvs1-eth0"}, {"inner_addresses": ()}], ids=["one interface", "nothing inside"]
)
def test_one_instance_needs_no_group(changes: dict[str, Any]) -> None:
    text = vrrp_text(**changes)
    assert text.count("vrrp_instance") == 1 and "sync_group" not in text


def test_a_director_that_shall_not_preempt_begins_as_backup() -> None:
    assert vrrp_text().count("state BACKUP") == vrrp_text().count("nopreempt") == 2
    assert "nopreempt" not in vrrp_text(preempt=True)


def test_connection_sync_is_there_only_when_asked_for() -> None:
    assert "lvs_sync_daemon" not in vrrp_text()
    assert "lvs_sync_daemon lvs1-eth1 outer id 7\n" in vrrp_text(sync=SyncDaemon("lvs1-eth1", 7))


def test_addresses_beyond_twenty_move_without_being_advertised() -> None:
    many = tuple(f"10.0.1.{number}/24" for number in range(201, 231))
    text = vrrp_text(inner_addresses=many)
    assert "virtual_ipaddress_excluded" in text and all(text.count(f"{each}\n") == 1 for each in many)


def test_checkers_and_vrrp_stand_in_one_file() -> None:
    files = keepalived_files(Path("/x"), services=services(), settings=HealthSettings(), vrrp=vrrp())
    text = files["keepalived.conf"].text
    assert (
        text.count("global_defs") == 1
        and text.count("virtual_server ") == 3
        and text.count("vrrp_instance") == 2
    )


@pytest.mark.parametrize(
    ("priority", "advert", "seconds"), [(100, 1.0, 3.609375), (150, 0.2, 0.6828125), (254, 1.0, 3.0078125)]
)
def test_the_master_down_interval_is_that_of_the_rfc(priority: int, advert: float, seconds: float) -> None:
    assert vrrp(priority=priority, advert=advert).bound[0] == pytest.approx(seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": 0},
        {"priority": 255},
        {"advert": 0.005},
        {"advert": 0.125},
        {"advert": 41},
        {"router_ids": (1, 1)},
        {"router_ids": (0, 1)},
        {"outer_addresses": ()},
    ],
    ids=str,
)
def test_settings_that_vrrp_does_not_have_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="VRRP"):
        vrrp(**wrong)


def test_sync_ids_are_bytes() -> None:
    with pytest.raises(UsageError, match=r"outside 0\.\.255"):
        SyncDaemon("lvs1-eth1", 256)


# -- running one -----------------------------------------------------------------------------------


class Node(SimpleNamespace):
    """A node without a network."""

    def popen(self, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(*arguments, start_new_session=True, **options)


@pytest.fixture
def daemon(tmp_path: Path) -> Callable[..., Daemon]:
    def make(command: str, files: Mapping[str, ControlFile] | None = None, **options: Any) -> Daemon:
        (tmp_path / "node").mkdir(exist_ok=True)
        node: Any = Node(name="lvs", directory=tmp_path / "node", inside=tmp_path / "node")
        return Daemon(node, "program", command, files or {}, tmp_path / "logs", **options)

    return make


def test_lines_are_stamped_on_arrival_logged_and_heard(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    began = time.time()
    with daemon(
        "echo one; echo two >&2; exec sleep 100", listener=lambda t, line: heard.append((t, line))
    ) as running:
        t, line = running.await_line("^two$", 10)
        running.await_line("one", 10)
    assert began <= t <= time.time() and line == "two"
    assert list(running.lines) == heard and [text for _, text in heard] == ["one", "two"]
    log = (tmp_path / "logs/lvs/program.log").read_text().splitlines()
    assert [each.split(" ", 1)[1] for each in log] == ["one", "two"]
    assert float(log[1].split()[0]) == pytest.approx(t, abs=1e-5)


def test_files_are_there_for_the_program_and_for_the_reader_of_the_run(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    files = {"say": ControlFile("#!/bin/sh\necho said\n", executable=True), "a.cf": ControlFile("x = 1\n")}
    folder = tmp_path / "node/program"
    with daemon(f"cat {folder}/a.cf; {folder}/say; exec sleep 100", files) as running:
        running.await_lines(["said", "x = 1"], 10)
    assert (tmp_path / "logs/lvs/a.cf").read_text() == "x = 1\n"
    assert (tmp_path / "logs/lvs/say").stat().st_mode & 0o111


def test_a_death_is_told_with_status_and_last_words(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo started; echo 'line 3: what is bogus?' >&2; exit 3") as running:
        running.await_line("started", 10)
        with pytest.raises(
            LabError,
            match=r"^lvs: program ended with status 3; it said last: started \| line 3: what is bogus\?$",
        ):
            running.await_line("never", 10)
        with pytest.raises(LabError, match="status 3"):
            running.check()


def test_a_death_by_a_signal_is_told(daemon: Callable[..., Daemon]) -> None:
    with daemon("kill -SEGV $$") as running:
        with pytest.raises(LabError, match="was ended by SIGSEGV; it said last: nothing"):
            running.await_line("never", 10)


def test_a_line_that_does_not_come_is_told_with_what_came_instead(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo something else; exec sleep 100") as running:
        running.await_line("something", 10)
        with pytest.raises(
            LabError,
            match=r"program did not say 'Startup' within 0\.1 s; it said last: something else; its log: ",
        ):
            running.await_line("Startup", 0.1)
        running.check()


def test_a_pattern_that_is_there_twice_waits_for_two_lines(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo a1; echo b1; echo a2; exec sleep 100") as running:
        assert [line for _, line in running.await_lines(["a", "b", "a"], 10)] == ["a1", "b1", "a2"]
        with pytest.raises(LabError, match="did not say 'b'"):
            running.await_lines(["b", "b"], 0.1)


def test_lines_from_before_do_not_count(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo up; exec sleep 100") as running:
        t, _ = running.await_line("up", 10)
        with pytest.raises(LabError, match=r"did not say 'up\$'"):
            running.await_line("up$", 0.1, since=t + 0.000001)


@pytest.mark.parametrize(
    "command", ["exec sleep 100", "trap '' TERM; echo deaf; while :; do sleep 100; done"]
)
def test_stopping_ends_it_in_any_case(command: str, daemon: Callable[..., Daemon]) -> None:
    running = daemon(f"echo up; {command}")
    running.start()
    running.await_line("deaf" if "deaf" in command else "up", 10)
    running.stop(timeout=0.2)
    assert not running.running
    running.stop()
    running.check()  # it was asked to end


def test_a_killed_one_can_be_started_again(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo up $$; exec sleep 100") as running:
        _, first = running.await_line("up", 10)
        with pytest.raises(LabError, match="runs already"):
            running.start()
        running.kill()
        running.check()
        assert not running.running
        with pytest.raises(LabError, match="was ended before it said 'never'"):
            running.await_line("never", 10)
        running.start()
        _, second = running.await_line("up", 10)
    assert first != second


def test_a_listener_that_fails_does_not_hold_the_program_up(daemon: Callable[..., Daemon]) -> None:
    def fail(t: float, line: str) -> None:
        raise ValueError(line)

    with daemon("seq 1 20000; echo done; exec sleep 100", listener=fail) as running:
        running.await_line("done", 20)
        with pytest.raises(LabError, match=r"could not be handled: ValueError\('1'\)"):
            running.check()


class DeadNode(Node):
    """A node whose kernel has died: no signal reaches its programs, and waiting for them ends only
    by time.
    """

    def popen(self, *arguments: Any, **options: Any) -> Any:
        ended = threading.Event()

        def refuse(number: signal.Signals) -> None:
            raise LabError("lvs: guest kernel died")

        def wait(timeout: float) -> int:
            ended.wait(timeout)
            raise subprocess.TimeoutExpired("program", timeout)

        return SimpleNamespace(stdout=io.BytesIO(), poll=lambda: None, wait=wait, send_signal=refuse)


def test_stopping_in_a_dead_node_neither_waits_nor_raises(tmp_path: Path) -> None:
    node: Any = DeadNode(name="lvs", directory=tmp_path, inside=tmp_path)
    running = Daemon(node, "program", "true", {}, tmp_path / "logs")
    running.start()
    running.stop()
    with pytest.raises(LabError, match="guest kernel died"):
        running.kill()


def test_a_health_daemon_has_its_controls_files(tmp_path: Path) -> None:
    node: Any = Node(name="lvs", directory=tmp_path, inside=Path("/mnt"))
    with pytest.raises(UsageError, match="no quorum"):
        health_daemon(node, MON, services(), HealthSettings(quorum=3), tmp_path)
    assert health_daemon(node, MON, services(), HealthSettings(), tmp_path).name == "mon"


def test_services_are_changed_without_being_checked_when_their_port_is_not_named() -> None:
    both = HealthSettings(ports=(80, 5201))
    assert {service.port for service, _ in checked(services(), both)} == {80, 5201}
    only = replace(both, ports=(80,))
    assert {service.port for service, _ in checked(services(), only)} == {80}
