"""Headers before the transport's: IPv6 extension headers and IPv4 options, with every protocol,
mode and direction.

Sources: ip_vs_fill_iph_skb_off in ip_vs.h (ipv6_find_hdr) and the protocols' *_snat_handler and
*_dnat_handler of Linux 6.1; RFC 8200 for the headers. A transmitter or checksum that takes the
transport to be right behind the fixed header writes into an option instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scapy.layers.inet import IP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, PadN
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import checksum

from lvslab.conformance.addresses import NETS, PORT, ROUTER_MAC, SERVER_PORT, server_mac
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import SPORT, answer, transport
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_MODE, MODES, PROTOCOLS
from lvslab.ipvs.service import Protocol

_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
_CHECKSUMS = {"tcp": 16, "udp": 6}
"""Where TCP and UDP have theirs; SCTP's does not cover the addresses."""

_CHAINS: Mapping[str, Sequence[tuple[int, type[Packet], Mapping[str, Any]]]] = {
    "hop-by-hop": [(0, IPv6ExtHdrHopByHop, {"options": [PadN(optdata=b"\0" * 4)]})],
    "destination": [(60, IPv6ExtHdrDestOpt, {"options": [PadN(optdata=b"\x50\x00" * 6)]})],
    "routing": [(43, IPv6ExtHdrRouting, {"addresses": [], "segleft": 0})],
    "several": [
        (0, IPv6ExtHdrHopByHop, {"options": [PadN(optdata=b"\0" * 4)]}),
        (43, IPv6ExtHdrRouting, {"addresses": [], "segleft": 0}),
        (60, IPv6ExtHdrDestOpt, {"options": [PadN(optdata=b"\0" * 4)]}),
    ],
}
"""Chains of headers in the order of RFC 8200, section 4.1: number, class, fields."""


def _chained(source: str, destination: str, hops: int, chain: str, protocol: str, body: Packet) -> Packet:
    """An IPv6 packet with the headers of a chain; the checksum of TCP and UDP is worked out
    here.
    """
    numbers = [number for number, _, _ in _CHAINS[chain]] + [_NUMBERS[protocol]]
    data = bytearray(bytes(body))
    if protocol in _CHECKSUMS:
        at = _CHECKSUMS[protocol]
        data[at : at + 2] = b"\0\0"
        addresses = IPv6(src=source, dst=destination)
        pseudo = bytes(addresses)[8:40] + len(data).to_bytes(4, "big") + bytes([0, 0, 0, numbers[-1]])
        value = checksum(pseudo + bytes(data)) or 0xFFFF
        data[at : at + 2] = value.to_bytes(2, "big")
    headers = b"".join(
        bytes(kind(nh=following, **fields))
        for (_, kind, fields), following in zip(_CHAINS[chain], numbers[1:], strict=True)
    )
    return IPv6(src=source, dst=destination, hlim=hops, nh=numbers[0]) / (headers + bytes(data))


def _framed(packet: Packet, source: str, destination: str) -> Packet:
    return Ether(bytes(Ether(src=source, dst=destination) / packet))


@check(
    "{mode}:extensions:{chain}-{protocol}",
    "{protocol} behind IPv6 extension headers ({chain}) is balanced by its ports, which stand behind them;"
    " in nat"
    " the reply behind such headers is translated as well, with the right checksum",
    tags=("forwarding", "ipv6", "{protocol}", "header", "extensions"),
    each=[
        {"mode": mode, "chain": chain, "protocol": protocol}
        for mode in MODES
        for chain in _CHAINS
        for protocol in PROTOCOLS
    ],
)
def extensions(bench: Bench, mode: str, chain: str, protocol: str) -> None:
    net, client = NETS[6], bench.client(6)
    bench.service(mode, protocol=Protocol(protocol), version=6, weights=(1,))
    sent = _chained(client, net.vip, 64, chain, protocol, transport(protocol, SPORT, PORT))
    must(len(sent) > 40 + 8 + 8, "the packet has no header before its transport")
    what = f"the client's packet with {chain}"
    frame = bench.from_client(sent).one("inside", what)
    port, destination = (SERVER_PORT, net.server(1)) if mode == "nat" else (PORT, net.vip)
    arrived = _chained(client, destination, 63, chain, protocol, transport(protocol, SPORT, port))
    if mode == "tun":
        arrived = IPv6(src=net.inner, dst=net.server(1), hlim=63, nh=41) / arrived
    must_equal(frame, _framed(arrived, bench.inside.mac, server_mac(1)), what)
    if mode != "nat":
        return
    what = f"the server's packet with {chain}"
    back = _chained(net.server(1), client, 64, chain, protocol, answer(protocol, SERVER_PORT, SPORT))
    frame = bench.from_server(1, back).one("outside", what)
    arrived = _chained(net.vip, client, 63, chain, protocol, answer(protocol, PORT, SPORT))
    must_equal(frame, _framed(arrived, bench.outside.mac, ROUTER_MAC), what)


_OPTIONS = [
    *(IPOption_NOP() for _ in range(4)),
    IPOption_Router_Alert(),
    *(IPOption_NOP() for _ in range(28)),
]
"""36 bytes: ports are at byte 56."""


def _with_options(source: str, destination: str, hops: int, body: Packet) -> Packet:
    return IP(src=source, dst=destination, ttl=hops, options=_OPTIONS) / body


@check(
    "{mode}:ip-options:{protocol}",
    "{protocol} behind 36 bytes of IPv4 options is balanced by its ports, which stand behind them; in nat the"
    " reply behind such options is translated as well, with the right checksum",
    tags=("forwarding", "ipv4", "{protocol}", "header"),
    each=[{**each, "protocol": protocol} for each in EACH_MODE for protocol in PROTOCOLS],
)
def options(bench: Bench, mode: str, protocol: str) -> None:
    net, client = NETS[4], bench.client()
    bench.service(mode, protocol=Protocol(protocol), weights=(1,))
    sent = IP(bytes(_with_options(client, net.vip, 64, transport(protocol, SPORT, PORT))))
    must(sent.ihl == 14, f"the packet has a header of {sent.ihl} words, not 14")
    what = "the client's packet with options"
    frame = bench.from_client(sent).one("inside", what)
    port, destination = (SERVER_PORT, net.server(1)) if mode == "nat" else (PORT, net.vip)
    arrived: Packet = IP(bytes(_with_options(client, destination, 63, transport(protocol, SPORT, port))))
    if mode == "tun":
        outer = IP(src=net.inner, dst=net.server(1), ttl=63, id=frame.payload.id, proto=4)
        arrived = outer / arrived
    must_equal(frame, _framed(arrived, bench.inside.mac, server_mac(1)), what)
    if mode != "nat":
        return
    what = "the server's packet with options"
    back = _with_options(net.server(1), client, 64, answer(protocol, SERVER_PORT, SPORT))
    frame = bench.from_server(1, back).one("outside", what)
    arrived = _with_options(net.vip, client, 63, answer(protocol, PORT, SPORT))
    must_equal(frame, _framed(arrived, bench.outside.mac, ROUTER_MAC), what)
