"""An address with a port, in the form that ipvsadm(8) reads and prints."""

from __future__ import annotations

from dataclasses import dataclass

from lvslab.errors import UsageError
from lvslab.ipvs.words import check_range, numeric_address, split_endpoint


@dataclass(frozen=True, order=True)
class Endpoint:
    """A numeric address with a port; prints as ipvsadm does, with brackets around IPv6.

    Raises:
        UsageError: the address is no IP address, or the port is outside 0..65535.
    """

    address: str
    port: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", numeric_address(self.address, "endpoint"))
        check_range(self.port, 0, 65535, "endpoint", "port")

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.ipv6 else f"{self.address}:{self.port}"

    @property
    def ipv6(self) -> bool:
        """Whether the address is an IPv6 one."""
        return ":" in self.address

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `10.0.0.1:80` or `[fd00::1]:80`.

        Raises:
            UsageError: it is neither.
        """
        address, port = split_endpoint(text)
        if port is None:
            raise UsageError(f"endpoint '{text}': the port is missing; write ADDRESS:PORT or [IPV6]:PORT")
        return cls(address, port)
