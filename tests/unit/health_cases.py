"""Services and generated files for tests of health controls."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lvslab.control.controls import CONTROLS, Check, ControlFile, control_named
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from tests.unit.builders import lab

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
