"""The network inside the measured kernel: addresses, names, flows; pure data."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

SERVICE_PORT, SERVER_PORT = 80, 8080
"""NAT rewrites the first to the second, so that a packet shows that it was rewritten."""

FIRST_SOURCE_PORT = 1024

GENERATOR_MAC, OUTER_MAC, INNER_MAC, SERVER_MAC = (f"02:00:00:00:00:{n:02x}" for n in (1, 2, 3, 4))
"""Hardware addresses of the generator's device, of the director's two, and of the servers'
device.
"""

SERVER_MAC_PREFIX = 0x0201
"""The neighbour entry of every real server begins with it: frames that carry it were meant for a
real server.
"""


@dataclass(frozen=True)
class Addresses:
    """One version of IP: client, virtual and server addresses, as text."""

    version: int
    first_client: str
    outer: str
    vip: str
    dip: str
    servers_net: str
    first_rip: str
    lips: tuple[str, str]
    """First and last local address of FullNAT."""

    def rip(self, index: int) -> str:
        """The address of a real server, counted from 0."""
        return str(ip_address(self.first_rip) + index)

    def source(self, group: int, index: int) -> str:
        """A source address: groups lie 256 apart, so that flows of different groups are
        distinct.
        """
        return str(ip_address(self.first_client) + 256 * group + index)

    @property
    def plain(self) -> int:
        """Prefix length of a single address."""
        return 32 if self.version == 4 else 128


IPV4 = Addresses(
    4,
    "10.0.1.1",
    "10.0.0.1/16",
    "10.0.0.10",
    "10.1.0.1/16",
    "10.1.0.0/16",
    "10.1.1.1",
    ("10.1.0.2", "10.1.0.5"),
)
IPV6 = Addresses(
    6, "fd00::1:1", "fd00::1/64", "fd00::10", "fd01::1/64", "fd01::/64", "fd01::1:1", ("fd01::2", "fd01::5")
)


def addresses(version: int) -> Addresses:
    """The addresses of IPv4 (4) or IPv6 (6)."""
    return IPV4 if version == 4 else IPV6


def words(address: str) -> tuple[int, ...]:
    """An address as 32-bit words, as filters match it."""
    packed = ip_address(address).packed
    return tuple(int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), 4))


def number(address: IPv4Address | IPv6Address) -> str:
    """The last 32 bits of an address as the last four bytes of a hardware address."""
    return ":".join(f"{byte:02x}" for byte in address.packed[-4:])


def server_mac(address: str) -> str:
    """The hardware address of a real server's neighbour entry: it carries the end of its IP
    address.
    """
    return f"{SERVER_MAC_PREFIX >> 8:02x}:{SERVER_MAC_PREFIX & 255:02x}:{number(ip_address(address))}"


@dataclass(frozen=True)
class Flows:
    """Source addresses and ports that make so many flows."""

    sources: int
    ports: int


def flows(connections: int, version: int) -> Flows:
    """How pktgen makes `connections` distinct flows.

    pktgen counts source address and source port on by one with every packet, each round for itself
    (net/core/pktgen.c, mod_cur_headers), so it goes through all pairs when the two numbers have no
    common divisor. With IPv6 it keeps one source address.

    Raises:
        ValueError: there are not enough ports for this number.
    """
    sources = connections & -connections if version == 4 else 1
    while connections % sources or sources > 64:
        sources //= 2
    found = Flows(sources, connections // sources)
    if found.ports > 60_000 or (found.sources > 1 and found.ports % 2 == 0):
        raise ValueError(
            f"{connections} flows over IPv{version}: not possible with the packet generator's counters"
        )
    return found
