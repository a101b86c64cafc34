"""Captured frames read back, as plain records that the rest works on."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from socket import IPPROTO_ICMP, IPPROTO_IPIP, IPPROTO_TCP, IPPROTO_UDP, inet_ntoa
from typing import Any

from lvslab.errors import LabError
from lvslab.runs.pcapng import CHECKSUM_PENDING

_IPV4, _ARP = 0x0800, 0x0806  # types of Ethernet frames
_IP = struct.Struct("!BBHHHBBH4s4s")  # RFC 791, section 3.1
_TCP = struct.Struct("!HHLLH")  # RFC 9293, section 3.1, as far as the flags
_ARP_MESSAGE = struct.Struct("!6sH6s4s6x4s")  # RFC 826
_IPV4_ON_ETHERNET = bytes.fromhex("000108000604")
_PORTS = struct.Struct("!HH")
_PSEUDO = struct.Struct("!xBH")
_LEAST = {IPPROTO_TCP: 20, IPPROTO_UDP: 8, IPPROTO_ICMP: 8}
"""Octets of a header: what is shorter is none."""
_ICMP_TYPES = {
    0: "echo-reply",
    3: "dest-unreach",
    4: "source-quench",
    5: "redirect",
    8: "echo-request",
    11: "time-exceeded",
    12: "parameter-problem",
    13: "timestamp-request",
    14: "timestamp-reply",
}
"""Those of RFC 792, in scapy's words."""
_LETTERS = "FSRPAUECN"  # scapy's, from the lowest bit on
_FLAG_NAMES = (("SYN", "S"), ("FIN", "F"), ("RST", "R"), ("PSH", "P"), ("ACK", "A"), ("URG", "U"))


@dataclass(frozen=True)
class Outer:
    """The IP header around a tunnelled packet (RFC 2003)."""

    src: str
    dst: str
    protocol: int
    ttl: int


@dataclass(frozen=True)
class IpPacket:
    """An IPv4 packet as far as a contract looks at it; the inner one where it was tunnelled.

    Attributes:
        protocol: "TCP", "UDP", "ICMP" or the number.
        sport, dport: ports; for ICMP echo both are the identifier; 0 for others.
        flags: TCP flags as scapy's letters, for example "SA".
        options: TCP options, raw.
        payload: of the transport protocol.
        note: ICMP type and code in words.
        checksums: True when IP and transport checksums are right, False when one is wrong, None
            when the sender left it to the card.
    """

    src: str
    dst: str
    protocol: str
    ttl: int
    sport: int
    dport: int
    flags: str
    seq: int
    ack: int
    options: bytes
    payload: bytes
    note: str
    checksums: bool | None
    outer: Outer | None

    def describe(self) -> str:
        """The transport part in a few words, for example "SYN seq=17"."""
        if self.protocol == "TCP":
            names = [name for name, letter in _FLAG_NAMES if letter in self.flags]
            size = f" {len(self.payload)} bytes" if self.payload else ""
            return (
                f"{'-'.join(names) or 'no flags'} seq={self.seq}"
                + (f" ack={self.ack}" if "A" in self.flags else "")
                + size
            )
        if self.protocol == "UDP":
            return f"datagram, {len(self.payload)} bytes"
        return self.note or f"{len(self.payload)} bytes"


@dataclass(frozen=True)
class ArpMessage:
    """An ARP request ("who-has") or reply ("is-at"): who says what (RFC 826)."""

    operation: str
    sender_mac: str
    sender_ip: str
    target_ip: str


@dataclass(frozen=True)
class Frame:
    """One frame at one end of a link.

    Attributes:
        number: position in the file, from 1, as Wireshark counts.
        t: nanoseconds since the epoch.
        interface: of the node, for example "lvs-eth0".
        sent: True when the node sent it, False when it received it.
        raw: all bytes, which tell the same frame at two places.
    """

    number: int
    t: int
    interface: str
    sent: bool
    eth_src: str
    eth_dst: str
    ip: IpPacket | None
    arp: ArpMessage | None
    raw: bytes


def prepare_to_read() -> None:
    """Load what `read_frames` needs, ahead of the moment when it counts: on a busy machine it takes
    seconds.
    """
    import scapy.utils  # noqa: F401


def read_frames(path: Path) -> list[Frame]:
    """All frames of a capture, in the order of their time stamps.

    Raises:
        LabError: the file is missing or damaged.
    """
    from scapy.error import Scapy_Exception  # scapy takes a while to load
    from scapy.utils import RawPcapNgReader

    frames = []
    meta: Any  # scapy names a base class, without the fields of this format
    try:
        _check_whole(path)
        with RawPcapNgReader(str(path)) as reader:
            for number, (raw, meta) in enumerate(reader, start=1):
                stamp = ((meta.tshigh << 32) + meta.tslow) * 1_000_000_000 // meta.tsresol
                pending = any(CHECKSUM_PENDING.encode() in comment for comment in meta.comments or ())
                frames.append(
                    decode(
                        number, stamp, (meta.ifname or b"").decode(), meta.direction == 2, bytes(raw), pending
                    )
                )
    except (OSError, EOFError, Scapy_Exception) as error:
        raise LabError(f"{path}: cannot be read as a capture: {error}") from error
    return sorted(frames, key=lambda frame: frame.t)


def _check_whole(path: Path) -> None:
    """Walk over the blocks: scapy ends at a damaged one without a word.

    Raises:
        EOFError: the last block is not whole.
    """
    data = path.read_bytes()
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if length < 12 or position + length > len(data):
            raise EOFError(f"the block at byte {position} is not whole")
        position += length


def decode(number: int, stamp: int, interface: str, sent: bool, raw: bytes, pending: bool) -> Frame:
    """One frame; `pending` says that its sender left the checksum to the card."""
    kind = int.from_bytes(raw[12:14], "big")
    ip = _decode_ip(raw[14:], pending) if kind == _IPV4 and len(raw) >= 14 + _IP.size else None
    arp = _decode_arp(raw[14:]) if kind == _ARP else None
    return Frame(number, stamp, interface, sent, _mac(raw[6:12]), _mac(raw[:6]), ip, arp, raw)


def _mac(address: bytes) -> str:
    return address.hex(":")


def _decode_arp(message: bytes) -> ArpMessage | None:
    if len(message) < _ARP_MESSAGE.size:
        return None
    kinds, operation, mac, sender, target = _ARP_MESSAGE.unpack_from(message)
    if kinds != _IPV4_ON_ETHERNET:
        return None
    word = {1: "who-has", 2: "is-at"}.get(operation, str(operation))
    return ArpMessage(word, _mac(mac), inet_ntoa(sender), inet_ntoa(target))


@dataclass(frozen=True)
class _Ip:
    """An IPv4 packet, with whatever stands behind it (RFC 791).

    Attributes:
        whole: from its header on; short frames carry padding behind the packet.
        first: it is whole, or the fragment that has the next header.
    """

    whole: bytes
    header_length: int
    length: int
    first: bool
    ttl: int
    protocol: int
    src: str
    dst: str

    @property
    def segment(self) -> bytes:
        """What it carries."""
        return self.whole[self.header_length : self.length]

    @property
    def header_right(self) -> bool:
        """Whether its checksum fits."""
        return _checksum(self.whole[: self.header_length]) == 0


def _ip(whole: bytes) -> _Ip:
    version, _, length, _, fragment, ttl, protocol, _, src, dst = _IP.unpack_from(whole)
    words = inet_ntoa(src), inet_ntoa(dst)
    return _Ip(whole, (version & 0xF) * 4, length or len(whole), not fragment & 0x1FFF, ttl, protocol, *words)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): 0 over data with the right one in it."""
    from scapy.utils import checksum

    return int(checksum(data))


def _decode_ip(whole: bytes, pending: bool) -> IpPacket:
    """By hand and not by scapy's layers, which take fifty times as long: a capture has thousands of
    frames, and a test compares both.
    """
    outer, ip = None, _ip(whole)
    right = ip.header_right
    if ip.first and ip.protocol == IPPROTO_IPIP and len(ip.segment) >= _IP.size:
        outer = Outer(ip.src, ip.dst, ip.protocol, ip.ttl)
        ip = _ip(ip.segment)
        right = right and ip.header_right
    segment = ip.segment
    known = ip.first and len(segment) >= _LEAST.get(ip.protocol, 1 << 16)
    checksums = None if pending else right and (not known or _transport_checksum_right(ip))
    protocol, sport, dport, flags, seq, ack, options, note = str(ip.protocol), 0, 0, "", 0, 0, b"", ""
    header = 8
    if known and ip.protocol == IPPROTO_TCP:
        protocol = "TCP"
        sport, dport, seq, ack, word = _TCP.unpack_from(segment)
        header = (word >> 12 or 5) * 4
        flags = "".join(letter for bit, letter in enumerate(_LETTERS) if word >> bit & 1)
        options = segment[_LEAST[IPPROTO_TCP] : header]
    elif known and ip.protocol == IPPROTO_UDP:
        protocol = "UDP"
        sport, dport = _PORTS.unpack_from(segment)
    elif known:
        protocol, kind, code = "ICMP", segment[0], segment[1]
        note = _ICMP_TYPES.get(kind, str(kind))
        if kind in (0, 8):
            sport, seq = _PORTS.unpack_from(segment, 4)
            dport = sport
            note += f" id={sport} seq={seq}"
        else:
            note += f" code={code}"
    return IpPacket(
        ip.src,
        ip.dst,
        protocol,
        ip.ttl,
        sport,
        dport,
        flags,
        seq,
        ack,
        options,
        segment[header:],
        note,
        checksums,
        outer,
    )


def _transport_checksum_right(ip: _Ip) -> bool:
    """Whether the TCP, UDP or ICMP checksum fits; a UDP checksum of 0 means none (RFC 768)."""
    segment = ip.segment
    if ip.protocol == IPPROTO_ICMP:
        return _checksum(segment) == 0
    if ip.protocol == IPPROTO_UDP and segment[6:8] == bytes(2):
        return True
    if ip.header_length > _IP.size:  # a route in its options changes what the checksum is over
        from scapy.layers.inet import IP, in4_chksum

        return int(in4_chksum(ip.protocol, IP(ip.whole[: ip.length]), segment)) == 0
    return _checksum(ip.whole[12:20] + _PSEUDO.pack(ip.protocol, len(segment)) + segment) == 0
