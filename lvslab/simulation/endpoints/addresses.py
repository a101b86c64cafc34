"""Addresses as octets, the form in which they stand in packets: 4 are IPv4, 16 are IPv6, 6 a MAC
address.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from lvslab.errors import UsageError

BROADCAST = b"\xff" * 6
IPV4, IPV6, ARP = b"\x08\x00", b"\x86\xdd", b"\x08\x06"
"""EtherTypes as they stand in a frame."""


def address(text: str) -> bytes:
    """The octets of an IPv4 or IPv6 address.

    Raises:
        UsageError: it is none.
    """
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        raise UsageError(
            f"address '{text}' is neither IPv4 nor IPv6; write it as 10.0.0.1 or fd00::1"
        ) from None


def text_of(octets: bytes) -> str:
    """An IPv4 or IPv6 address as text."""
    return socket.inet_ntop(socket.AF_INET if len(octets) == 4 else socket.AF_INET6, octets)


def mac_address(text: str) -> bytes:
    """The octets of a MAC address.

    Raises:
        UsageError: it is none.
    """
    try:
        octets = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != 6:
        raise UsageError(f"MAC address '{text}' is none; write it as 02:00:00:00:00:01")
    return octets


def link_local(mac: bytes) -> bytes:
    """The IPv6 address that a card has of itself (RFC 4291, appendix A)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def solicited_node(target: bytes) -> bytes:
    """The multicast group in which an IPv6 address is asked for (RFC 4291, 2.7.1)."""
    return b"\xff\x02" + bytes(9) + b"\x01\xff" + target[-3:]


def group_mac(group: bytes) -> bytes:
    """The MAC address of an IPv6 multicast group (RFC 2464, 7)."""
    return b"\x33\x33" + group[-4:]


@dataclass(frozen=True, slots=True)
class Network:
    """A prefix, and what it contains."""

    address: bytes
    length: int

    @classmethod
    def parse(cls, text: str) -> Network:
        """From "10.0.0.7/24": host bits stay, so that an interface's address can be written so.

        Raises:
            UsageError: it is no prefix.
        """
        try:
            parsed = ipaddress.ip_interface(text)
        except ValueError:
            raise UsageError(f"network '{text}' is none; write it as 10.0.0.0/24 or fd00::/64") from None
        return cls(parsed.ip.packed, parsed.network.prefixlen)

    def __contains__(self, target: bytes) -> bool:
        if len(target) != len(self.address):
            return False
        differing = int.from_bytes(target, "big") ^ int.from_bytes(self.address, "big")
        return not differing >> (len(target) * 8 - self.length)
