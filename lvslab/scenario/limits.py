"""How large a scenario's numbers may be: checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvslab.plan.topology import MAX_CLIENTS, MAX_SERVERS
from lvslab.traffic.prober import MAX_RATE


@dataclass(frozen=True)
class Limits:
    """The numbers from `low` to `high`; `above`: `low` itself is none of them."""

    low: float
    high: float
    above: bool = False

    def admit(self, number: float) -> bool:
        """Whether a number lies inside; one that is not a number (nan) does not."""
        return self.low <= number <= self.high and not (self.above and number == self.low)

    def __str__(self) -> str:
        most = f"{self.high:g}" if self.high < 1e6 else f"{self.high:.0f}"
        return f"more than {self.low:g}, at most {most}" if self.above else f"{self.low:g} to {most}"


_HOUR = 3600
_SECONDS = Limits(0.1, _HOUR)

USUAL: Mapping[str, Limits] = {
    "advert": Limits(0.01, 40.95),  # RFC 5798, section 5.2.7, in hundredths of a second
    "clients": Limits(1, MAX_CLIENTS),
    "connections": Limits(0, 1000),
    "delay": Limits(0, 5),
    "down": _SECONDS,
    "flaps": Limits(1, 1000),
    "flood": Limits(0, 1_000_000, above=True),
    "flows": Limits(1, 1000),
    "heartbeat": Limits(0, _HOUR, above=True),
    "interval": _SECONDS,
    "loss": Limits(0, 1),
    "rate": Limits(0, MAX_RATE, above=True),
    "repeat": Limits(1, 1000),
    "requests": Limits(1, 1_000_000),
    "seconds": Limits(1, _HOUR),  # iperf3 takes 0.x s for "without end"
    "servers": Limits(1, MAX_SERVERS),
    "share": Limits(0, 0.99, above=True),
    "threshold": Limits(0, 49),  # of the 50 packets after which sync comes again (ip_vs_ctl.c)
    "timeout": _SECONDS,
    "up": _SECONDS,
    "weights": Limits(0, 65535),
}
"""Of parameters with these names, in units of one: seconds, connections a second, parts of one.
A scenario whose own mean something else says so with `@scenario(limits={name: (low, high)})`.
"""
