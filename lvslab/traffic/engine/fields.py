"""Where a packet has its fields and its checksums: byte positions found by walking a scapy packet's
layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lvslab.errors import UsageError

# (offset in the layer, width), both in bytes. RFC 791 (IP), 8200 (IPv6), 9293 (TCP), 768 (UDP), 792
# (ICMP), 4443 (ICMPv6), 9260 (SCTP).
_FIELDS: dict[str, dict[str, tuple[int, int]]] = {
    "Ether": {"dst": (0, 6), "src": (6, 6)},
    "IP": {"tos": (1, 1), "id": (4, 2), "ttl": (8, 1), "src": (12, 4), "dst": (16, 4)},
    "IPv6": {"hlim": (7, 1), "src": (8, 16), "dst": (24, 16)},
    "TCP": {
        "sport": (0, 2),
        "dport": (2, 2),
        "seq": (4, 4),
        "ack": (8, 4),
        "window": (14, 2),
        "urgptr": (18, 2),
    },
    "UDP": {"sport": (0, 2), "dport": (2, 2)},
    "ICMP": {"id": (4, 2), "seq": (6, 2)},
    "ICMPv6EchoRequest": {"id": (4, 2), "seq": (6, 2)},
    "ICMPv6EchoReply": {"id": (4, 2), "seq": (6, 2)},
    "SCTP": {"sport": (0, 2), "dport": (2, 2), "tag": (4, 4)},
}
_ALIASES = {"IPerror": "IP", "IPerror6": "IPv6", "TCPerror": "TCP", "UDPerror": "UDP", "ICMPerror": "ICMP"}
_OPPOSITE = {"src": "dst", "dst": "src", "sport": "dport", "dport": "sport", "seq": "ack", "ack": "seq"}
_CHECKSUMS = {"TCP": 16, "UDP": 6, "ICMP": 2}
_NAME = re.compile(
    r"(?P<layer>\w+)(?::(?P<which>[1-9]))?\.(?P<field>\w+)|payload\[(?P<start>\d+):(?P<end>\d+)\]"
)
_ACK = 0x10


@dataclass(frozen=True)
class Place:
    """Where a field lies in a frame: first byte and width."""

    offset: int
    width: int

    @property
    def positions(self) -> range:
        return range(self.offset, self.offset + self.width)


@dataclass(frozen=True)
class Checksum:
    """An Internet checksum (RFC 1071) in a frame.

    Attributes:
        offset: of its two bytes.
        covers: ranges of bytes that it covers, those of the pseudo header among them; each begins
            with the high byte of a word.
        never_zero: 0 is written as 0xffff (UDP, RFC 768).
    """

    offset: int
    covers: tuple[range, ...]
    never_zero: bool = False


@dataclass(frozen=True)
class _Layer:
    kind: str
    offset: int
    packet: Any
    network: _Layer | None  # the IP header that it is directly or indirectly in


class Frame:
    """A scapy packet as it is on the wire.

    Attributes:
        data: its bytes.
        checksums: inner ones first, so that each can be computed from what lies in it.
    """

    def __init__(self, packet: Any) -> None:
        self.data = bytes(packet)
        self._layers = list(_layers_of(type(packet)(self.data)))
        self.checksums = [each for layer in reversed(self._layers) for each in self._checksums_of(layer)]

    def find(self, name: str, first: Frame) -> Place | None:
        """Where a field of `Stream.vary` lies here, or None if there is none.

        Args:
            first: the first frame of the conversation; in a frame of the other direction the
                opposite field is meant.

        Raises:
            UsageError: there can be no such field.
        """
        match = _NAME.fullmatch(name)
        if not match:
            raise UsageError(
                f"stream: field '{name}' is not of the form LAYER.FIELD, LAYER:2.FIELD or payload[FROM:TO]"
            )
        if match["layer"] is None:
            return self._payload(name, int(match["start"]), int(match["end"]))
        kind, which = match["layer"], int(match["which"] or 1)
        known = _FIELDS.get(_ALIASES.get(kind, kind))
        if known is None or match["field"] not in known:
            possible = ", ".join(f"{layer}.{each}" for layer, fields in _FIELDS.items() for each in fields)
            raise UsageError(f"stream: field '{name}' cannot vary; these can: {possible}, payload[FROM:TO]")
        layer = self._layer(kind, which)
        if layer is None:
            return None
        field = match["field"]
        if field in _OPPOSITE and self._is_reply(layer, first._layer(kind, which)):
            field = _OPPOSITE[field]
        if field == "ack" and not int(layer.packet.flags) & _ACK:
            return None
        offset, width = known[field]
        place = Place(layer.offset + offset, width)
        return place if place.positions.stop <= len(self.data) else None

    def number(self, place: Place) -> int:
        """The value of a field."""
        return int.from_bytes(self.data[place.offset : place.positions.stop], "big")

    def refuse_sctp(self, positions: Sequence[int]) -> None:
        """SCTP's checksum is a CRC-32c (RFC 9260), which is not carried along.

        Raises:
            UsageError: a byte that varies lies in an SCTP packet.
        """
        starts = [layer.offset for layer in self._layers if layer.kind == "SCTP"]
        if starts and any(position >= starts[0] for position in positions):
            raise UsageError(
                "stream: nothing within an SCTP packet can vary, its checksum is not computed; vary its"
                " addresses"
            )

    def _layer(self, kind: str, which: int) -> _Layer | None:
        found = [layer for layer in self._layers if layer.kind == kind]
        return found[which - 1] if len(found) >= which else None

    def _payload(self, name: str, start: int, end: int) -> Place | None:
        layer = next((each for each in reversed(self._layers) if each.kind == "Raw"), None)
        if not start < end <= start + 8:
            raise UsageError(f"stream: field '{name}': 1 to 8 bytes are possible")
        if layer is None or end > len(layer.packet.load):
            return None
        return Place(layer.offset + start, end - start)

    def _is_reply(self, layer: _Layer, first: _Layer | None) -> bool:
        """Whether a layer goes the other way than the same layer of the conversation's
        first frame.
        """
        if layer.kind not in ("Ether", "IP", "IPv6", "IPerror", "IPerror6"):
            if layer.network is None or first is None or first.network is None:
                return False
            return self._is_reply(layer.network, first.network)
        if first is None:
            return False
        here, there = (layer.packet.src, layer.packet.dst), (first.packet.src, first.packet.dst)
        return here != there and here == (there[1], there[0])

    def _checksums_of(self, layer: _Layer) -> Iterator[Checksum]:
        kind = _ALIASES.get(layer.kind, layer.kind)
        if kind == "IP":
            yield Checksum(layer.offset + 10, (range(layer.offset, layer.offset + 4 * layer.packet.ihl),))
        elif layer.network is not None:
            names = {each.name for each in layer.packet.fields_desc}
            if kind in _CHECKSUMS:
                offset = layer.offset + _CHECKSUMS[kind]
            elif kind.startswith("ICMPv6") and "cksum" in names:
                offset = layer.offset + 2
            elif kind == "GRE" and layer.packet.chksum_present:
                offset = layer.offset + 4
            else:
                return
            v6 = _ALIASES.get(layer.network.kind, layer.network.kind) == "IPv6"
            # RFC 768: no checksum
            if kind == "UDP" and not v6 and self.data[offset : offset + 2] == b"\0\0":
                return
            if offset + 2 > len(self.data):  # an ICMP error quotes only the beginning
                return
            start = layer.network.offset
            covers = [range(layer.offset, self._end(layer.network))]
            if kind not in ("ICMP", "GRE"):
                covers.append(range(start + 8, start + 40) if v6 else range(start + 12, start + 20))
            yield Checksum(offset, tuple(covers), kind == "UDP")

    def _end(self, network: _Layer) -> int:
        """Where the packet of an IP header ends."""
        v6 = _ALIASES.get(network.kind, network.kind) == "IPv6"
        length = 40 + int(network.packet.plen) if v6 else int(network.packet.len)
        return min(network.offset + length, len(self.data))


def _layers_of(packet: Any) -> Iterator[_Layer]:
    offset, network = 0, None
    while packet and packet.name != "NoPayload":
        layer = _Layer(type(packet).__name__, offset, packet, network)
        yield layer
        if _ALIASES.get(layer.kind, layer.kind) in ("IP", "IPv6"):
            network = layer
        offset += len(packet) - len(packet.payload)
        packet = packet.payload
