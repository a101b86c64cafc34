"""The TOA TCP option ("address of TCP option"): a FullNAT director tells the real server who the
client is.

    IPv4  kind 254, length 8:   kind(1) length(1) port(2) address(4)     Alibaba LVS (toa.h), DPVS
    IPv6  kind 253, length 20:  kind(1) length(1) port(2) address(16)    Alibaba LVS
    IPv6  kind 254, length 20:  the same                                 DPVS (tcp_in_add_toa in ip_vs_proto_tcp.c)

Port and address are the client's, in network byte order. The option stands directly after the fixed
TCP header, before all others, and its length is a multiple of four, so that the data offset grows
by 2 or by 5 and the options behind it stay aligned. Kinds 253 and 254 are set aside for experiments
(RFC 4727), so other experiments may look alike (RFC 6994); only kind and length tell TOA from them.

scapy reads options of these kinds as `(254, b"…")`, and everything here works on that.
`register_toa` gives them names in scapy's table.
"""  # noqa: E501, W505

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from scapy.layers.inet import IP, TCP, TCPOptions
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet

TOA_KIND = 254
"""IPv4, and IPv6 as DPVS writes it."""

TOA_KIND_IPV6 = 253
"""IPv6 as Alibaba LVS writes it."""

OPTIONS_MAX = 40
"""Bytes of a TCP header after the fixed 20: the data offset counts at most 15 words of four bytes
(RFC 9293, 3.1).
"""

_EOL, _NOP = 0, 1
_LENGTHS = {(4, TOA_KIND): 8, (6, TOA_KIND): 20, (6, TOA_KIND_IPV6): 20}

# A format of struct for each kind. One kind has one format in scapy's table, so the 20 bytes of
# kind 254 stay raw under the name.
_SCAPY_ENTRIES = {TOA_KIND: ("TOA", "!HBBBB"), TOA_KIND_IPV6: ("TOA6", "!H8H")}


@dataclass(frozen=True)
class Toa:
    """A client's address and port.

    Attributes:
        address: IPv4 or IPv6 address in its usual spelling.
        port: 0 to 65535.
        kind: option kind: 254, or 253 for IPv6 as Alibaba LVS writes it.
    """

    address: str
    port: int
    kind: int = TOA_KIND

    def __post_init__(self) -> None:
        """Raises ValueError for what is no address, no port, or a kind that the address family does
        not have.
        """
        parsed = ip_address(self.address)
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
            raise ValueError(f"{self.address}: an option has no room for a scope")
        if (parsed.version, self.kind) not in _LENGTHS:
            raise ValueError(f"no TOA option of kind {self.kind} carries an IPv{parsed.version} address")
        if not 0 <= self.port <= 0xFFFF:
            raise ValueError(f"{self.port} is not a port")
        object.__setattr__(self, "address", str(parsed))

    def __len__(self) -> int:
        """Bytes of the option, kind and length included: 8 or 20."""
        return _LENGTHS[ip_address(self.address).version, self.kind]

    def pack(self) -> bytes:
        """The option as it stands in the header."""
        return struct.pack("!BBH", self.kind, len(self), self.port) + ip_address(self.address).packed

    @staticmethod
    def parse(option: bytes) -> Toa:
        """Read one whole option.

        Raises:
            ValueError: it is not a TOA option, or not all of it.
        """
        if len(option) < 4 or option[1] != len(option):
            raise ValueError(f"no whole TCP option: {option.hex()}")
        version = {8: 4, 20: 6}.get(len(option))
        if version is None or (version, option[0]) not in _LENGTHS:
            raise ValueError(f"kind {option[0]} with length {len(option)} is not a TOA option")
        address = IPv4Address(option[4:]) if version == 4 else IPv6Address(option[4:])
        return Toa(str(address), int.from_bytes(option[2:4], "big"), option[0])


# -- in a header -----------------------------------------------------------------------------------


def _split(area: bytes) -> tuple[list[bytes], bytes]:
    """The options of a header one by one, and what cannot be read as such: from the end mark, or a
    broken length, to the end.
    """
    found = []
    while area and area[0] != _EOL:
        length = 1 if area[0] == _NOP else area[1] if len(area) > 1 else 0
        if length < 1 or (length < 2 and area[0] != _NOP) or length > len(area):
            break
        found.append(area[:length])
        area = area[length:]
    return found, area


def read_toa(area: bytes) -> Toa | None:
    """The first TOA option among raw TCP options, read as a real server's toa module does; None if
    there is none. Never raises.

    The walk ends at an end-of-list mark and at an option with a length that cannot be (get_toa_data
    in toa.c).
    """
    for option in _split(area)[0]:
        if option[0] in (TOA_KIND, TOA_KIND_IPV6):
            try:
                return Toa.parse(option)
            except ValueError:
                continue
    return None


def _area(tcp: Packet) -> bytes:
    """Options of a scapy TCP layer as bytes, padded to whole words; as they were on the wire unless
    somebody changed them.
    """
    return bytes(tcp.self_build()[20:])


def find_toa(packet: Packet) -> Toa | None:
    """The first TOA option of a scapy packet with a TCP layer, None if it has none."""
    return read_toa(_area(packet[TCP])) if TCP in packet else None


def options_room(packet: Packet) -> int:
    """How many bytes of options still fit into the header of a scapy packet's TCP layer: 0 to 40,
    in steps of four.

    Padding counts as used, as for the directors: they compare 60 with the data offset.
    """
    return max(0, OPTIONS_MAX - len(_area(packet[TCP])))


def with_toa(packet: Packet, toa: Toa, *, prune: bool = False) -> Packet:
    """A copy of a scapy packet with a TOA option in front of its TCP options.

    Lengths, data offset and checksums are left for scapy to compute again.

    Args:
        prune: where the 40 bytes are too few, take out padding and TOA options that are already
            there, and try again.

    Raises:
        ValueError: it does not fit, not even so. A director then forwards the segment without it,
            and the real server sees the director's local address (`fullnat_add_toa_fail_len` and
            `_head_full` of Alibaba LVS count that). Or it has no TCP layer.
    """
    if TCP not in packet:
        raise ValueError("not a TCP packet")
    options = list(packet[TCP].options or [])
    if options_room(packet) < len(toa) and prune:
        options = [each for each in options if not _is_spare(each)]
    changed = packet.copy()
    tcp = changed[TCP]
    tcp.options = [(toa.kind, toa.pack()[2:]), *options]
    tcp.dataofs = tcp.chksum = None
    if len(_area(tcp)) > OPTIONS_MAX:
        raise ValueError(
            f"{len(toa)} bytes of TOA do not fit: {options_room(packet)} of {OPTIONS_MAX} bytes of options"
            " are free"
        )
    for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",))):
        if layer in changed:
            for field in fields:
                changed[layer].delfieldval(field)
    return changed


def _is_spare(option: tuple[Any, Any]) -> bool:
    """Whether an option may go to make room: padding, or a TOA option."""
    name, value = option
    if name in ("NOP", "EOL", _NOP, _EOL, "TOA", "TOA6"):
        return True
    return name in (TOA_KIND, TOA_KIND_IPV6) and read_toa(bytes([name, len(value) + 2]) + value) is not None


# -- scapy's table ---------------------------------------------------------------------------------


def register_toa() -> None:
    """Give the options names in scapy's table of TCP options, for all of the process, until
    `unregister_toa`.

    Packets then show ("TOA", (40001, 10, 0, 0, 101)) instead of (254, b"…"): port and the bytes of
    the address; ("TOA6", …) for kind 253: port and the eight groups of the address, in decimal; and
    ("TOA", b"…") for the 20 bytes of kind 254, since scapy knows one format for each kind. All of
    these can be sent again as they are. The table is scapy's own: entries are only added where it
    has none, so that another meaning that somebody gave these experimental kinds stays. Packets
    read before are not changed.
    """
    formats, numbers = TCPOptions
    for kind, (name, layout) in _SCAPY_ENTRIES.items():
        if kind not in formats and name not in numbers:
            formats[kind] = (name, layout)
            numbers[name] = kind


def unregister_toa() -> None:
    """Take out of scapy's table what `register_toa` put in."""
    formats, numbers = TCPOptions
    for kind, entry in _SCAPY_ENTRIES.items():
        if formats.get(kind) == entry and numbers.get(entry[0]) == kind:
            del formats[kind], numbers[entry[0]]
