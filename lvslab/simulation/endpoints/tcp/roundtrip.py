"""The retransmission timeout (RFC 6298, section 2)."""

from __future__ import annotations

from lvslab.simulation.endpoints.base import SECOND
from lvslab.simulation.endpoints.tcp.settings import TcpSettings

_FALLBACK = 3 * SECOND


class RoundTrip:
    """Round-trip times as they were measured, and the timeout that follows; all nanoseconds.

    Attributes:
        smoothed, variation: SRTT and RTTVAR, 0 before the first measurement.
        timeout: RTO.
    """

    __slots__ = ("_settings", "smoothed", "timeout", "variation")

    def __init__(self, settings: TcpSettings) -> None:
        self._settings = settings
        self.smoothed = self.variation = 0
        self.timeout = settings.first_timeout

    def measure(self, taken: int) -> None:
        """A segment that was sent once was acknowledged after so long (2.2, 2.3)."""
        if not self.smoothed:
            self.smoothed, self.variation = taken, taken // 2
        else:
            self.variation += (abs(self.smoothed - taken) - self.variation) // 4
            self.smoothed += (taken - self.smoothed) // 8
        settings = self._settings
        timeout = self.smoothed + max(settings.granularity, 4 * self.variation)
        self.timeout = min(max(timeout, settings.least_timeout), settings.longest_timeout)

    def fall_back(self) -> None:
        """A SYN was sent again, so that its answer measures nothing (5.7)."""
        self.timeout = max(self.timeout, _FALLBACK)

    def back_off(self) -> None:
        """It has run out (5.5)."""
        self.timeout = min(self.timeout * 2, self._settings.longest_timeout)
