"""The encapsulations toward real servers in tunnel mode, in ipvsadm(8)'s words."""

from __future__ import annotations

from enum import StrEnum


class TunnelType(StrEnum):
    """Encapsulation toward a real server in tunnel mode, `--tun-type`. GUE needs Linux 5.2, GRE
    5.3.
    """

    IPIP = "ipip"
    GUE = "gue"
    GRE = "gre"


class TunnelChecksum(StrEnum):
    """Checksum of the encapsulation: none, full, or GUE's remote checksum offload."""

    NOCSUM = "nocsum"
    CSUM = "csum"
    REMCSUM = "remcsum"

    @property
    def option(self) -> str:
        """ipvsadm's option for it."""
        return f"--tun-{self.value}"
