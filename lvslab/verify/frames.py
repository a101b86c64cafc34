"""Captured frames read back with scapy, as plain records that the rest works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvslab.errors import LabError
from lvslab.runs.pcapng import CHECKSUM_PENDING

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
    import scapy.layers.inet
    import scapy.layers.l2
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
                    _decode(
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


def _decode(number: int, stamp: int, interface: str, sent: bool, raw: bytes, pending: bool) -> Frame:
    from scapy.layers.inet import IP
    from scapy.layers.l2 import ARP, Ether

    ether = Ether(raw)
    ip = arp = None
    if isinstance(ether.payload, IP):
        ip = _decode_ip(ether.payload, pending)
    elif isinstance(ether.payload, ARP):
        body = ether.payload
        arp = ArpMessage(
            {1: "who-has", 2: "is-at"}.get(body.op, str(body.op)), body.hwsrc, body.psrc, body.pdst
        )
    return Frame(number, stamp, interface, sent, ether.src, ether.dst, ip, arp, raw)


def _decode_ip(ip: Any, pending: bool) -> IpPacket:
    from scapy.layers.inet import ICMP, IP, TCP, UDP

    outer, right = None, _header_checksum_right(ip)
    if isinstance(ip.payload, IP):
        outer = Outer(ip.src, ip.dst, ip.proto, ip.ttl)
        ip = ip.payload
        right = right and _header_checksum_right(ip)
    body = ip.payload
    checksums = None if pending else right and _transport_checksum_right(ip)
    protocol, sport, dport, flags, seq, ack, options, note = str(ip.proto), 0, 0, "", 0, 0, b"", ""
    header = (body.dataofs or 5) * 4 if isinstance(body, TCP) else 8
    # short frames carry padding behind the packet
    payload = bytes(ip.original[ip.ihl * 4 + header : ip.len])
    if isinstance(body, TCP):
        protocol, sport, dport, flags = "TCP", body.sport, body.dport, str(body.flags)
        seq, ack, options = body.seq, body.ack, body.original[20 : (body.dataofs or 5) * 4]
    elif isinstance(body, UDP):
        protocol, sport, dport = "UDP", body.sport, body.dport
    elif isinstance(body, ICMP):
        protocol, note = "ICMP", body.sprintf("%ICMP.type%")
        if body.type in (0, 8):
            sport, dport, seq = body.id, body.id, body.seq
            note += f" id={body.id} seq={body.seq}"
        else:
            note += f" code={body.code}"
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
        payload,
        note,
        checksums,
        outer,
    )


def _header_checksum_right(ip: Any) -> bool:
    from scapy.utils import checksum

    return int(checksum(ip.original[: ip.ihl * 4])) == 0


def _transport_checksum_right(ip: Any) -> bool:
    """Whether the TCP, UDP or ICMP checksum fits; a UDP checksum of 0 means none (RFC 768)."""
    from scapy.layers.inet import ICMP, TCP, UDP, in4_chksum
    from scapy.utils import checksum

    segment = ip.original[ip.ihl * 4 : ip.len]
    if isinstance(ip.payload, ICMP):
        return int(checksum(segment)) == 0
    if isinstance(ip.payload, UDP) and ip.payload.chksum == 0:
        return True
    if isinstance(ip.payload, (TCP, UDP)):
        return int(in4_chksum(ip.proto, ip, segment)) == 0
    return True
