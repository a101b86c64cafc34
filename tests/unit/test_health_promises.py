"""What health controls promise: the bound of a detection, and what they refuse to do."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.control.controls import CONTROLS, NO_CONTROL, Check, HealthSettings, control_named
from lvslab.control.keepalived import keepalived_command
from lvslab.errors import UsageError
from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    VirtualService,
)
from tests.unit.health_cases import CHECKS, KEEPALIVED, LDIRECTORD, MON, SORRY, STRANGE, WORKING, services


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
