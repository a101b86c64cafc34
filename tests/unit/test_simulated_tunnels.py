"""Simulated real servers of the modes DR and TUN: packets as a director sends them, from scapy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.packet import Raw

from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.servers import UdpServer
from lvslab.simulation.endpoints.tunnels import Tunnels
from lvslab.traffic.layers.gue import Gue
from tests.unit.simulated import Lan

FRAGMENT: Any = fragment
VIP, VIP6 = "10.0.0.100", "fd00::100"


def _server(lan: Lan) -> tuple[Host, Tunnels, UdpServer]:
    host = lan.host(2, arp_ignore=1, arp_announce=2)
    for text in (VIP, VIP6):
        host.own(text)
    server = UdpServer(host, [5300], "s")
    server.start()
    return host, Tunnels(host), server


def _inner(family: int) -> Any:
    head = IP(src="10.0.0.1", dst=VIP) if family == 4 else IPv6(src="fd00::1", dst=VIP6)
    return head / UDP(sport=999, dport=5300) / Raw(b"question")


def _remote(inner: Any) -> Any:
    """As IPVS leaves it with --tun-remcsum: the checksum is that of the pseudo-header alone."""
    whole = bytes(inner)
    pseudo = (
        sum(int.from_bytes(whole[12 + at : 14 + at], "big") for at in range(0, 8, 2)) + 17 + len(whole) - 20
    )
    pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    return IP(whole[:26] + pseudo.to_bytes(2, "big") + whole[28:])


OUTER: dict[int, Any] = {
    4: lambda: IP(src="10.0.0.9", dst="10.0.0.2"),
    6: lambda: IPv6(src="fd00::9", dst="fd00::2"),
}
WAYS: dict[str, Any] = {
    "ipip": lambda inner: inner,
    "gre": lambda inner: GRE() / inner,
    "gre with checksum": lambda inner: GRE(chksum_present=1) / inner,
    "gre with key and sequence": lambda inner: GRE(key_present=1, seqnum_present=1, key=7) / inner,
    "gue": lambda inner: UDP(sport=777, dport=6080) / Gue(proto_ctype=4 if IP in inner else 41) / inner,
    "gue version 1": lambda inner: UDP(sport=777, dport=6080) / inner,
    "gue without checksum": lambda inner: (
        UDP(sport=777, dport=6080, chksum=0) / Gue(proto_ctype=4 if IP in inner else 41) / inner
    ),
}


def _tunnelled(lan: Lan, host: Host, packet: Any) -> list[Any]:
    """What a server sends when this packet comes, ARP aside."""
    before = lan.record.frames
    frame = bytes(Ether(dst=host.interfaces[0].mac, src="02:00:00:00:00:09") / packet)
    lan.calendar.after(0, host.interfaces[0].receive, frame)
    lan.run(0.1)
    frames = [Ether(each.frame) for each in lan.record.kept[before:] if each.direction == 2]
    return [packet for packet in frames if UDP in packet and packet[UDP].sport == 5300]


@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("way", WAYS)
def test_a_tunnelled_question_is_answered_past_the_director(way: str, outer: int, inner: int) -> None:
    lan = Lan()
    host, tunnels, server = _server(lan)
    lan.host(1)
    (answer,) = _tunnelled(lan, host, OUTER[outer]() / WAYS[way](_inner(inner)))
    head = answer[IP] if inner == 4 else answer[IPv6]
    assert (head.src, head.dst) == ((VIP, "10.0.0.1") if inner == 4 else (VIP6, "fd00::1"))
    client = "10.0.0.1" if inner == 4 else "fd00::1"
    assert bytes(answer[UDP].payload) == f"s {client} 999\n".encode()
    assert (tunnels.received, server.served) == (1, 1)


def test_a_checksum_left_to_the_server_is_computed() -> None:
    lan = Lan()
    host, _, _ = _server(lan)
    lan.host(1)
    private = {"flags": 1, "private_flags": 1 << 31, "csum_start": 20, "csum_offset": 26, "hlen": 2}
    gue = IP(src="10.0.0.9", dst="10.0.0.2") / UDP(sport=777, dport=6080)
    assert not _tunnelled(lan, host, gue / Gue(proto_ctype=4) / _remote(_inner(4)))  # a wrong one
    assert _tunnelled(lan, host, gue / Gue(proto_ctype=4, **private) / _remote(_inner(4)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: GRE(chksum_present=1, chksum=7) / _inner(4),
        lambda: GRE(version=1) / _inner(4),
        lambda: GRE(proto=0x86DD) / _inner(4),
        lambda: UDP(dport=6080) / Gue(control=1) / _inner(4),
        lambda: UDP(dport=6080) / Gue(proto_ctype=41) / _inner(4),
        lambda: UDP(dport=6080) / Gue(flags=2, proto_ctype=4) / _inner(4),
    ],
)
def test_what_no_tunnel_says_is_dropped(wrong: Any) -> None:
    lan = Lan()
    host, tunnels, _ = _server(lan)
    lan.host(1)
    assert _tunnelled(lan, host, IP(src="10.0.0.9", dst="10.0.0.2") / wrong()) == []
    assert tunnels.received == 0


def test_a_server_without_tunnels_refuses_the_protocol() -> None:
    lan = Lan()
    host = lan.host(2)
    lan.host(9)
    before = lan.record.frames
    assert not _tunnelled(lan, host, IP(src="10.0.0.9", dst="10.0.0.2") / _inner(4))
    errors = [Ether(each.frame) for each in lan.record.kept[before:]]
    assert any("ICMP" in packet and packet["ICMP"].code == 2 for packet in errors)


def test_tunnels_are_opened_again_after_a_power_cut() -> None:
    lan = Lan()
    host, tunnels, server = _server(lan)
    lan.host(1)
    host.power_off()
    host.power_on()
    server.start()
    tunnels.open()
    assert _tunnelled(lan, host, OUTER[4]() / WAYS["gue"](_inner(4)))


def test_a_direct_server_answers_with_the_virtual_address() -> None:
    """DR: the director only changes the MAC address."""
    lan = Lan()
    host, _, _ = _server(lan)
    lan.host(1)
    (answer,) = _tunnelled(lan, host, _inner(4))
    assert answer[IP].src == VIP and answer.dst == "02:00:00:00:00:01"


def test_a_long_segment_in_a_tunnel_arrives_in_fragments() -> None:
    lan = Lan()
    host, tunnels, _ = _server(lan)
    inner = IP(src="10.0.0.1", dst=VIP) / TCP(sport=999, dport=81) / Raw(bytes(1460))
    for part in FRAGMENT(IP(src="10.0.0.9", dst="10.0.0.2", id=7) / inner, 1480):
        frame = bytes(Ether(dst=host.interfaces[0].mac, src="02:00:00:00:00:09") / part)
        host.interfaces[0].receive(frame)
    assert tunnels.received == 1


@given(st.binary(max_size=80), st.sampled_from([4, 41, 47, 17]))
def test_no_tunnelled_packet_upsets_a_server(data: bytes, protocol: int) -> None:
    lan = Lan()
    host, _, _ = _server(lan)
    body: Any = UDP(dport=6080) / Raw(data) if protocol == 17 else Raw(data)
    packet = IP(src="10.0.0.9", dst="10.0.0.2", proto=protocol) / body
    host.interfaces[0].receive(bytes(Ether(dst=host.interfaces[0].mac, src="02:00:00:00:00:09") / packet))
    assert address(VIP) in host.addresses
