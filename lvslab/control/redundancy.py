"""How the directors of a pair stand in for each other, as data: VRRP (RFC 5798) and IPVS connection sync."""

from __future__ import annotations

from dataclasses import dataclass

from lvslab.errors import UsageError

PRIORITIES = (150, 100)
"""VRRP priorities of the first and the second director."""

ROUTER_ID = 51
"""VRRP router ID of the outer addresses; the inner ones have the next."""

SYNC_FLUSH = 3.0
"""Seconds after which a connection's state is on the wire at the latest: the sync thread sends a buffer that is not full once it is two
seconds old, and looks every second (IPVS_SYNC_FLUSH_TIME, IPVS_SYNC_CHECK_PERIOD in net/netfilter/ipvs/ip_vs_sync.c)."""


@dataclass(frozen=True)
class Floating:
    """An address that moves between the directors.

    Attributes:
        address: with its prefix length.
        outer: on the side of the clients, else of the real servers.
    """

    address: str
    outer: bool


@dataclass(frozen=True)
class Redundancy:
    """Settings of a pair of directors.

    Attributes:
        advert: seconds between the master's advertisements; VRRP version 3 counts in hundredths.
        preempt: whether the first director takes the addresses back when it returns.
        sync: whether the master tells the backup about its connections.

    Raises:
        UsageError: an interval that VRRP version 3 cannot express.
    """

    advert: float = 0.2
    preempt: bool = False
    sync: bool = True

    def __post_init__(self) -> None:
        if not 0.01 <= self.advert <= 40.95:
            raise UsageError(f"advert {self.advert:g} s: VRRP version 3 takes 0.01 to 40.95 s (RFC 5798, 5.2.7)")

    def skew(self, priority: int) -> float:
        """Seconds that a backup of this priority waits beyond three intervals (RFC 5798, 6.1: Skew_Time)."""
        return (256 - priority) / 256 * self.advert

    def takeover(self, priority: int = PRIORITIES[1]) -> float:
        """Seconds after the last advertisement when a backup of this priority takes over (RFC 5798, 6.1: Master_Down_Interval)."""
        return 3 * self.advert + self.skew(priority)
