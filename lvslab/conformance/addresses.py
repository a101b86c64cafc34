"""The addresses of the bench's world: the director's, its real servers', its clients'."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

ROUTER_MAC = "02:00:00:fe:00:01"
SERVERS = 8
"""Real servers that the director knows: numbers 1 to 8."""

PORT, SERVER_PORT = 80, 8080


@dataclass(frozen=True)
class Net:
    """The bench's addresses in one IP version.

    Attributes:
        vip: virtual address. dip, inner: the director's own, outside and inside. router: the
            clients' way to it.
    """

    version: int
    vip: str
    dip: str
    inner: str
    router: str
    _server: str
    _client: str

    def server(self, number: int) -> str:
        """Address of real server 1, 2, …"""
        return _server_address(self._server, number)

    def client(self, number: int) -> str:
        """Address of client 1, 2, …, never used twice in one bench."""
        return str(ip_address(self._client) + number)

    def packet(self, source: str, destination: str, **fields: Any) -> Packet:
        """A scapy IP or IPv6 header."""
        return (IP if self.version == 4 else IPv6)(src=source, dst=destination, **fields)


@cache
def _server_address(first: str, number: int) -> str:
    return str(ip_address(first) + number)


V4 = Net(4, "10.0.0.10", "10.0.0.1", "10.0.1.1", "10.0.0.254", "10.0.1.10", "198.18.0.0")
V6 = Net(6, "2001:db8::10", "2001:db8::1", "2001:db8:1::1", "2001:db8::fe", "2001:db8:1::10", "2001:db8:c::")
NETS = {4: V4, 6: V6}


def server_mac(number: int) -> str:
    """MAC address of real server 1, 2, …"""
    return f"02:00:00:01:00:{number:02x}"
