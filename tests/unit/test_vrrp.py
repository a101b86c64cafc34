"""The VRRP half of keepalived's configuration: addresses, preemption, sync, intervals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lvslab.control.controls import HealthSettings
from lvslab.control.keepalived import (
    SyncDaemon,
    Vrrp,
    keepalived_files,
    vrrp_ready,
)
from lvslab.errors import UsageError
from tests.unit.health_cases import services


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
