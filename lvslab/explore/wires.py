"""What frames say, read as far as invariants need it: Ethernet, ARP, IPv4 with TCP and UDP, also in
IPIP, and connection sync.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from lvslab.explore.records import Frame

_ARP, _IPV4 = b"\x08\x06", b"\x08\0"
_ARP_REPLY = 2
IPIP, TCP, UDP = 4, 6, 17
SYN, RST, ACK = 0x02, 0x04, 0x10
_SYNC_PORT = 8848
_SYNC_ENTRY = struct.Struct("!xxHxxxxHH")
_SYNC_HEADER, _SYNC_SIZE = 8, 0x0FFF


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment or a UDP datagram of a frame.

    Attributes:
        frame: in which it was seen.
        protocol: TCP or UDP.
        source, target: addresses; inside of a tunnel the inner ones.
        flags: of TCP.
        size: octets of the (outer) IP packet.
    """

    frame: Frame
    protocol: int
    source: str
    target: str
    source_port: int
    target_port: int
    flags: int
    size: int


def segments(frames: Iterable[Frame]) -> Iterator[Segment]:
    """All that frames carry of TCP and UDP."""
    for frame in frames:
        segment = segment_of(frame)
        if segment is not None:
            yield segment


def segment_of(frame: Frame) -> Segment | None:
    """What a frame carries of TCP or UDP; None where it carries neither."""
    octets = frame.octets
    if octets[12:14] != _IPV4:
        return None
    size = int.from_bytes(octets[16:18], "big")
    at = 14
    if octets[at + 9] == IPIP:
        at += 4 * (octets[at] & 15)
    protocol = octets[at + 9]
    transport = at + 4 * (octets[at] & 15)
    if protocol not in (TCP, UDP) or len(octets) < transport + 8:
        return None
    source_port, target_port = struct.unpack_from("!HH", octets, transport)
    flags = octets[transport + 13] if protocol == TCP and len(octets) > transport + 13 else 0
    source, target = (str(IPv4Address(octets[at + place : at + place + 4])) for place in (12, 16))
    return Segment(frame, protocol, source, target, source_port, target_port, flags, size)


def arp_answers(frames: Iterable[Frame], address: str) -> Iterator[Frame]:
    """ARP replies that nodes send and that say who has an address."""
    wanted = IPv4Address(address).packed
    for frame in frames:
        octets = frame.octets
        if frame.outbound and octets[12:14] == _ARP and octets[21] == _ARP_REPLY and octets[28:32] == wanted:
            yield frame


def next_hop(frame: Frame) -> bytes:
    """The MAC address that a frame is for."""
    return frame.octets[:6]


def sync_ports(frame: Frame) -> list[int]:
    """The clients' ports in a datagram of connection sync, version 1; empty for all other frames
    (struct ip_vs_sync_v4 in net/netfilter/ipvs/ip_vs_sync.c).
    """
    segment = segment_of(frame)
    if segment is None or segment.protocol != UDP or segment.target_port != _SYNC_PORT:
        return []
    at = 14 + 4 * (frame.octets[14] & 15) + 8
    body = frame.octets[at:]
    if len(body) < _SYNC_HEADER or body[0]:
        return []
    ports, place = [], _SYNC_HEADER
    for _ in range(body[4]):
        if place + _SYNC_ENTRY.size > len(body):
            break
        size, _, port = _SYNC_ENTRY.unpack_from(body, place)
        ports.append(port)
        place += (size & _SYNC_SIZE) + -(size & _SYNC_SIZE) % 4
    return ports
