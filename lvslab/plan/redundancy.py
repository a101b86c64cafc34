"""How the directors of a pair stand in for each other, as data: VRRP (RFC 5798) and IPVS connection
sync.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvslab.control.keepalived import SyncDaemon, Vrrp
from lvslab.modes.base import Addresses

PRIORITIES = (150, 100)
"""VRRP priorities of the first and the second director."""

SYNC_FLUSH = 3.0
"""Seconds after which a connection's state is on the wire at the latest: the sync thread sends a
buffer that is not full once it is two seconds old, and looks every second (IPVS_SYNC_FLUSH_TIME,
IPVS_SYNC_CHECK_PERIOD in net/netfilter/ipvs/ip_vs_sync.c).
"""


@dataclass(frozen=True)
class Redundancy:
    """Settings of a pair of directors.

    Attributes:
        advert: seconds between the master's advertisements.
        preempt: whether the first director takes the addresses back when it returns.
        sync: whether the master tells the backup about its connections.
        garp_refresh: seconds after which a master repeats its gratuitous ARP; 0: never, as
            keepalived does by default.
    """

    advert: float = 0.2
    preempt: bool = False
    sync: bool = True
    garp_refresh: int = 0


def vrrp_of(settings: Redundancy, number: int, addresses: Addresses, virtual_gateway: str | None) -> Vrrp:
    """VRRP of one director of a pair.

    Args:
        number: 0 for the first one, which begins as master.
        addresses: as this director sees them.
        virtual_gateway: the real servers' gateway, where it moves along.

    Raises:
        UsageError: settings that VRRP does not have.
    """
    inner: Sequence[str] = [each for each in (virtual_gateway, *addresses.lips) if each]
    return Vrrp(
        priority=PRIORITIES[number],
        outer=addresses.outer,
        inner=addresses.inner,
        outer_addresses=(f"{addresses.vip}/32",),
        inner_addresses=tuple(f"{address}/{addresses.inner_prefix}" for address in inner),
        advert=settings.advert,
        preempt=settings.preempt,
        sync=SyncDaemon(addresses.inner) if settings.sync else None,
        garp_refresh=settings.garp_refresh,
    )
