"""ICMP errors, made and expected: how they are built, quoted, and translated by the director."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded
from scapy.packet import Packet
from scapy.utils import checksum

from lvslab.conformance.addresses import NETS, ROUTER_MAC, server_mac
from lvslab.conformance.flows import ip_layer
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import VERSIONS

_KINDS = {
    4: {"port-unreachable": (3, 3), "prohibited": (3, 13), "too-big": (3, 4), "time-exceeded": (11, 0)},
    6: {
        "port-unreachable": (1, 4),
        "prohibited": (1, 1),
        "too-big": (2, 0),
        "time-exceeded": (3, 0),
        "parameter-problem": (4, 1),
    },
}
EACH_KIND = [{"version": version, "kind": kind} for version in VERSIONS for kind in _KINDS[version]]
_NEXT_HOP_MTU = 1290
ROUTERS = {4: ("203.0.113.1", "10.0.1.200"), 6: ("2001:db8:ffff::1", "2001:db8:1::200")}
"""A router on the clients' way, and one among the real servers."""


def error(source: str, destination: str, kind: str, quote: bytes, hops: int = 64) -> Packet:
    """An ICMP error as an IP packet."""
    version = 6 if ":" in source else 4
    number, code = _KINDS[version].get(kind, (12, 0))
    header = NETS[version].packet(source, destination, **{"ttl" if version == 4 else "hlim": hops})
    if version == 4:
        mtu = _NEXT_HOP_MTU if kind == "too-big" else 0
        packet = header / ICMP(type=number, code=code, nexthopmtu=mtu) / quote
    elif kind == "too-big":
        packet = header / ICMPv6PacketTooBig(mtu=_NEXT_HOP_MTU) / quote
    else:
        layer = {1: ICMPv6DestUnreach, 3: ICMPv6TimeExceeded, 4: ICMPv6ParamProblem}[number]
        packet = header / layer(code=code) / quote
    return type(header)(bytes(packet))


def requoted(quote: bytes, **fields: Any) -> bytes:
    """A quoted packet with other addresses and ports (src, dst, sport, dport); the checksum behind
    the ports stays as it was.

    The director leaves that checksum alone: nobody can check it in a quote that may be cut.
    """
    packet = ip_layer(quote[0] >> 4)(quote)
    for name in ("src", "dst"):
        if name in fields:
            setattr(packet, name, fields[name])
    if isinstance(packet, IP):
        del packet.chksum
        header = bytearray(bytes(packet)[:20])
        ports = 20
    else:
        header = bytearray(bytes(packet)[:40])
        ports = 40
    rest = bytearray(quote[ports:])
    for name, at in (("sport", 0), ("dport", 2)):
        if name in fields:
            rest[at : at + 2] = fields[name].to_bytes(2, "big")
    return bytes(header + rest)


def at(
    bench: Bench, side: str, number: int, source: str, destination: str, kind: str, quote: bytes
) -> Packet:
    """The frame with an ICMP error that the director passes on, one hop later: to the router
    outside, or to a real server inside.

    Built from its parts: a frame that is changed afterwards would get right checksums in the quoted
    packet too.
    """
    wire, mac = (bench.outside, ROUTER_MAC) if side == "outside" else (bench.inside, server_mac(number))
    return bench.framed(error(source, destination, kind, quote, hops=63), wire.mac, mac)


def without_pseudo_header(packet: Packet) -> Packet:
    """An ICMPv6 packet whose checksum is that of its bytes alone, as in IPv4: wrong after
    RFC 4443.
    """
    data = bytearray(bytes(packet))
    data[42:44] = b"\0\0"
    data[42:44] = checksum(bytes(data[40:])).to_bytes(2, "big")
    return type(packet)(bytes(data))


def send_error(bench: Bench, packet: Packet, number: int = 1) -> Seen:
    """Send an error of the servers' side about a connection of nat.

    handle_response_icmp verifies the checksum of an ICMPv6 error without the pseudo-header and so
    drops every right one, unless the network card has verified it (net/netfilter/ipvs/ip_vs_core.c;
    "ipvs: fix the checksum validations", lvs-devel, July 2026, mends it). On such a kernel the
    error is sent once more with the checksum that it takes for right: that the translation is right
    can be seen even so. The check icmp:from-server:checksum-ipv6 is about the defect itself.
    """
    seen = bench.from_server(number, packet)
    if packet.version == 4 or seen.outside or seen.inside:
        return seen
    return bench.from_server(number, without_pseudo_header(packet))


def damaged(packet: Packet) -> Packet:
    """The packet with its last byte changed, so that the ICMP checksum is wrong."""
    data = bytes(packet)
    return type(packet)(data[:-1] + bytes([data[-1] ^ 0xFF]))
