"""Short ways to write a service and a real server down, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    VirtualService,
)

DATA = Path(__file__).parent / "data"
DR, TUN, MASQ = PacketForwarding.DR, PacketForwarding.TUN, PacketForwarding.MASQ


def tcp(**changes: Any) -> VirtualService:
    """A plain service, with changes."""
    return replace(VirtualService(Protocol.TCP, "10.0.0.10", 80, scheduler=Scheduler.RR), **changes)


def masq(address: str = "10.0.1.11", port: int = 80, **options: Any) -> RealServer:
    return RealServer(address, port, MASQ, **options)
