"""Frames are read by hand, for speed, and as scapy reads them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, in4_chksum
from scapy.layers.l2 import Ether
from scapy.utils import checksum

from lvslab.verify.frames import IpPacket, Outer, decode

ENDS = {"src": "10.0.0.201", "dst": "10.0.0.10"}
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)]
DATA = b"GET / HTTP/1.0\r\n\r\n"
PACKETS = [
    Ether() / IP(**ENDS) / TCP(sport=40001, dport=80, flags="S", options=OPTIONS),
    Ether() / IP(**ENDS, ttl=3) / TCP(sport=40001, dport=80, seq=9, ack=7, flags="FPAECN") / DATA,
    Ether() / IP(**ENDS) / UDP(sport=53, dport=4000) / DATA,
    Ether() / IP(**ENDS) / UDP(sport=4000, dport=53, chksum=0) / DATA,
    Ether() / IP(**ENDS) / ICMP(id=7, seq=9) / DATA,
    Ether() / IP(**ENDS) / ICMP(type=3, code=4) / IP(**ENDS) / UDP() / DATA,
    *(Ether() / IP(**ENDS) / ICMP(type=kind) / DATA for kind in (0, 4, 5, 11, 12, 13, 14, 200)),
    Ether() / IP(src="1.1.1.1", dst="2.2.2.2") / IP(**ENDS) / TCP(dport=80, flags="S"),
    Ether() / IP(src="1.1.1.1", dst="2.2.2.2") / IP(**ENDS) / UDP(dport=80) / DATA,
    Ether() / IP(**ENDS, options=IPOption_LSRR(routers=["10.0.0.1", "10.0.0.9"])) / TCP(dport=80) / DATA,
    Ether() / IP(**ENDS, frag=5) / TCP(dport=80) / DATA,
    Ether() / IP(**ENDS, flags="MF") / UDP(dport=80) / DATA,
    Ether() / IP(**ENDS, proto=132) / DATA,
    Ether() / IP(**ENDS) / TCP(dport=80) / DATA / (b"\0" * 3),
]


PLACES = st.integers(18, 33) | st.integers(38, 90)
"""Octets that are damaged: not how long a header or a packet says that it is; what lies there is
undefined, and scapy guesses.
"""


def both(frame: bytes, pending: bool = False) -> tuple[IpPacket | None, IpPacket | None]:
    mine = decode(1, 0, "eth0", True, frame, pending).ip
    layer = Ether(frame).payload
    return mine, by_scapy(layer, pending) if isinstance(layer, IP) else None


def test_every_kind_of_packet_is_read_as_scapy_reads_it() -> None:
    for packet in PACKETS:
        for padding in (b"", b"\x55" * 9):
            mine, scapys = both(bytes(packet) + padding)
            assert mine == scapys and mine is not None, packet
            assert mine.checksums is True or mine.protocol in ("6", "17"), packet


@given(
    st.sampled_from([bytes(each) for each in PACKETS]),
    st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=1)), max_size=4),
    st.booleans(),
)
def test_damaged_packets_are_read_as_scapy_reads_them(
    frame: bytes, damage: list[tuple[int, bytes]], pending: bool
) -> None:
    damaged = bytearray(frame)
    for place, octet in damage:
        if place < len(damaged):
            damaged[place : place + 1] = octet
    mine, scapys = both(bytes(damaged), pending)
    assert mine == scapys


def test_what_is_cut_off_is_no_packet() -> None:
    for length in range(14, 34):
        assert both(bytes(PACKETS[0])[:length]) == (None, None)


# -- the reference ---------------------------------------------------------------------------------


def by_scapy(ip: Any, pending: bool) -> IpPacket:
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
    return int(checksum(ip.original[: ip.ihl * 4])) == 0


def _transport_checksum_right(ip: Any) -> bool:
    """Whether the TCP, UDP or ICMP checksum fits; a UDP checksum of 0 means none (RFC 768)."""
    from scapy.layers.inet import ICMP, TCP, UDP

    segment = ip.original[ip.ihl * 4 : ip.len]
    if isinstance(ip.payload, ICMP):
        return int(checksum(segment)) == 0
    if isinstance(ip.payload, UDP) and ip.payload.chksum == 0:
        return True
    if isinstance(ip.payload, (TCP, UDP)):
        return int(in4_chksum(ip.proto, ip, segment)) == 0
    return True
