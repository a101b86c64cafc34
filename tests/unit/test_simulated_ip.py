"""Simulated hosts: ARP and neighbour discovery, IPv4 and IPv6, ICMP, UDP; scapy as the judge of
what they send.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.utils import checksum as scapy_checksum

from lvslab.errors import UsageError
from lvslab.simulation.endpoints.addresses import Network, address, mac_address, text_of
from lvslab.simulation.endpoints.base import Problem
from lvslab.simulation.endpoints.checksums import checksum, transport_checksum
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.interface import Rack
from lvslab.simulation.endpoints.udp import Datagram
from lvslab.simulation.network import Conditions, Link, Record
from tests.unit.simulated import SECOND, Lan, Pair

FAMILIES = pytest.mark.parametrize("family", [4, 6])


class Sink:
    """A UDP port that remembers, and answers if it shall."""

    def __init__(self, host: Host, answer: bytes = b"") -> None:
        self.host, self.answer = host, answer
        self.data: list[bytes] = []
        self.problems: list[Problem] = []

    def received(self, datagram: Datagram) -> None:
        self.data.append(datagram.data)
        if self.answer:
            self.host.udp.send(
                datagram.destination, datagram.port, datagram.source, datagram.source_port, self.answer
            )

    def failed(self, peer: bytes, peer_port: int, problem: Problem) -> None:
        self.problems.append(problem)


def _addresses(family: int) -> tuple[bytes, bytes]:
    return (
        (address("10.0.0.1"), address("10.0.0.2"))
        if family == 4
        else (address("fd00::1"), address("fd00::2"))
    )


def _ping(host: Host, source: bytes, target: bytes, data: bytes = b"x" * 56) -> list[tuple[int, bytes]]:
    """The list gets (time, data) of each reply."""
    replies: list[tuple[int, bytes]] = []
    icmp = host.icmp if len(target) == 4 else host.icmpv6
    icmp.replies[7] = lambda _source, _sequence, answer: replies.append((host.calendar.now, answer))
    icmp.ping(source, target, 7, 1, data)
    return replies


def _seen(record: Record, kind: Any) -> list[Any]:
    return [packet for packet in (Ether(each.frame) for each in record.kept) if kind in packet]


# -- addresses and checksums -----------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=200).filter(any))
def test_the_checksum_is_that_of_scapy(data: bytes) -> None:
    assert checksum(data) == scapy_checksum(data)


@given(st.binary(min_size=8, max_size=99), st.booleans())
def test_data_with_its_own_checksum_sums_to_nothing(data: bytes, wide: bool) -> None:
    source, destination = (bytes(range(16)), bytes(range(1, 17))) if wide else (b"\n\0\0\1", b"\n\0\0\2")
    blank = data[:6] + b"\0\0" + data[8:]
    right = transport_checksum(source, destination, 17, blank)
    filled = data[:6] + right.to_bytes(2, "big") + data[8:]
    assert transport_checksum(source, destination, 17, filled) == 0


def test_networks_contain_their_addresses() -> None:
    assert address("10.0.0.255") in Network.parse("10.0.0.1/24")
    assert address("10.0.1.0") not in Network.parse("10.0.0.1/24")
    assert address("10.0.0.1") not in Network.parse("::/0")
    assert address("fd00::ffff") in Network.parse("fd00::1/64")
    assert text_of(address("fd00::1")) == "fd00::1"


@pytest.mark.parametrize("wrong", ["10.0.0", "fd00::g", ""])
def test_wrong_addresses_are_named(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"'{wrong}'"):
        address(wrong)
    with pytest.raises(UsageError, match=f"'{wrong}'"):
        mac_address(wrong)


# -- echo and neighbours ---------------------------------------------------------------------------


@FAMILIES
def test_an_echo_takes_four_delays_with_the_question_for_the_address(family: int) -> None:
    pair = Pair(Conditions(delay=7_000_123))
    replies = _ping(pair.a, *_addresses(family))
    pair.run(1)
    assert replies == [(4 * 7_000_123, b"x" * 56)]
    assert len(pair.record.kept) == 8  # each frame at both cards


def test_scapy_agrees_with_every_checksum() -> None:
    pair = Pair()
    for family in (4, 6):
        _ping(pair.a, *_addresses(family), b"odd")
        pair.a.udp.send(_addresses(family)[0], 999, _addresses(family)[1], 53, b"question")
    pair.run(1)
    assert len(pair.record.kept) == 2 * 12
    for each in pair.record.kept:
        packet = Ether(each.frame)
        again = packet.copy()
        for layer in (IP, ICMP, UDP):
            if layer in again:
                del again[layer].chksum
        if IPv6 in again:
            for name in ("cksum", "chksum"):
                inner = again[IPv6].payload
                while inner:
                    if name in inner.fields:
                        inner.delfieldval(name)
                    inner = inner.payload
        assert bytes(again) == each.frame, packet.show(dump=True)


@FAMILIES
def test_a_neighbour_that_does_not_answer_is_given_up_after_three_questions(family: int) -> None:
    pair = Pair()
    pair.b.power_off()
    source, target = _addresses(family)
    sink = Sink(pair.a)
    port = pair.a.udp.bind_any(sink)
    pair.a.udp.send(source, port, target, 53, b"hello")
    pair.run(2.999)
    assert sink.problems == []
    pair.run(0.002)
    assert sink.problems == [Problem.HOST_UNREACHABLE]
    assert [each.time for each in pair.record.kept if each.card == 0] == [0, SECOND, 2 * SECOND]


@FAMILIES
def test_a_stale_neighbour_is_asked_again_and_its_successor_found(family: int) -> None:
    """The client's own way back when a failed router's address moves and nobody announces it."""
    lan = Lan()
    a, old, new = lan.host(1), lan.host(2), lan.host(3)
    source, target = _addresses(family)
    _ping(a, source, target)
    lan.run(60)  # stale now
    old.power_off()
    new.assign(new.interfaces[0], f"{text_of(target)}/{24 if family == 4 else 64}")
    begin = lan.calendar.now
    times = []
    for _ in range(20):
        replies = _ping(a, source, target)
        lan.run(1)
        times += [time - begin for time, _ in replies]
    # used for 5 s, asked for 3 s at its address, then everywhere
    assert times[0] == 8 * SECOND


def test_gratuitous_arp_moves_an_address_at_once() -> None:
    lan = Lan()
    a, old, new = lan.host(1), lan.host(2), lan.host(3)
    source, target = _addresses(4)
    _ping(a, source, target)
    lan.run(1)
    old.power_off()
    new.assign(new.interfaces[0], "10.0.0.2/24")
    new.interfaces[0].announce(target)
    lan.run(0.001)
    replies = _ping(a, source, target)
    lan.run(0.1)
    assert len(replies) == 1 and a.interfaces[0].arp.neighbours.mac_of(target) == new.interfaces[0].mac


def test_gratuitous_arp_teaches_nobody_who_does_not_care() -> None:
    lan = Lan()
    a, b = lan.host(1), lan.host(2)
    b.interfaces[0].announce(address("10.0.0.2"))
    lan.run(1)
    assert address("10.0.0.2") not in a.interfaces[0].arp.neighbours


# -- the settings of DR servers --------------------------------------------------------------------


@pytest.mark.parametrize(("arp_ignore", "answers"), [(0, 2), (1, 1), (2, 1), (8, 0)])
def test_arp_ignore_decides_who_answers_for_a_loopback_address(arp_ignore: int, answers: int) -> None:
    lan = Lan()
    client, server = lan.host(1), lan.host(2, arp_ignore=arp_ignore)
    server.own("10.0.0.100")
    for target in ("10.0.0.100", "10.0.0.2"):
        _ping(client, address("10.0.0.1"), address(target))
    lan.run(0.5)
    replies = [packet for packet in _seen(lan.record, ARP) if packet[ARP].op == 2]
    assert len(replies) == 2 * answers  # seen at both cards


@pytest.mark.parametrize(("arp_announce", "asks_as"), [(0, "10.0.0.100"), (1, "10.0.0.2"), (2, "10.0.0.2")])
def test_arp_announce_decides_with_which_source_a_server_asks(arp_announce: int, asks_as: str) -> None:
    lan = Lan()
    server = lan.host(2, arp_ignore=1, arp_announce=arp_announce)
    lan.host(1)
    server.own("10.0.0.100")
    server.icmp.ping(address("10.0.0.100"), address("10.0.0.1"), 1, 1, b"")
    lan.run(0.5)
    assert {packet.psrc for packet in _seen(lan.record, ARP) if packet.hwsrc[-1] == "2"} == {asks_as}


# -- routers, sizes, errors ------------------------------------------------------------------------


def _routed() -> tuple[Lan, Host, Host, Host]:
    """h0-1 – router – h1-1."""
    lan = Lan()
    a, b, router = lan.host(1, 0), lan.host(1, 1), Host(lan.calendar, "router", forwarding=True)
    for network, host in ((0, a), (1, b)):
        lan.attach(router, 254, network)
        host.route("0.0.0.0/0", f"10.0.{network}.254")
        host.route("::/0", f"fd00:0:0:{network}::254")
    return lan, a, b, router


@FAMILIES
def test_a_router_sends_on_and_counts_down(family: int) -> None:
    lan, a, _, _ = _routed()
    source, target = (
        (address("10.0.0.1"), address("10.0.1.1"))
        if family == 4
        else (address("fd00::1"), address("fd00:0:0:1::1"))
    )
    replies = _ping(a, source, target)
    lan.run(1)
    assert len(replies) == 1
    if family == 4:
        echoes = _seen(lan.record, ICMP)
        assert sorted({packet.ttl for packet in echoes}) == [63, 64]
        assert all(checksum(bytes(packet[IP])[:20]) == 0 for packet in echoes)


def test_a_router_tells_what_does_not_fit_and_the_sender_makes_it_smaller() -> None:
    lan, a, b, router = _routed()
    narrow = router.interfaces[1]
    narrow.mtu = 1000
    sink = Sink(b)
    b.udp.bind(53, sink)
    for _ in range(2):
        a.udp.send(address("10.0.0.1"), 999, address("10.0.1.1"), 53, b"x" * 1200)
        lan.run(1)
    assert sink.data == [b"x" * 1200]  # the first was lost, the second went in two fragments
    path = a.path(address("10.0.1.1"))
    assert path is not None and path.mtu == 1000
    lan.run(600)
    assert path.mtu == 1500


@FAMILIES
def test_long_datagrams_are_put_together_from_their_fragments(family: int) -> None:
    pair = Pair(Conditions(delay=1000, jitter=1000, duplicate=0.3))
    sink = Sink(pair.b)
    pair.b.udp.bind(53, sink)
    data = bytes(range(256)) * 30
    pair.a.udp.send(_addresses(family)[0], 999, _addresses(family)[1], 53, data)
    pair.run(1)
    assert sink.data[0] == data
    assert len(_seen(pair.record, IP if family == 4 else IPv6)) >= 12


@FAMILIES
def test_a_fragment_that_is_missing_loses_the_datagram(family: int) -> None:
    pair = Pair(Conditions(mtu=1500))
    sink = Sink(pair.b)
    pair.b.udp.bind(53, sink)
    _ping(pair.a, *_addresses(family))
    pair.run(1)
    pair.a.udp.send(_addresses(family)[0], 999, _addresses(family)[1], 53, bytes(4000))
    first_two = pair.record.frames
    pair.link.forth.conditions = Conditions(mtu=1400)  # the last fragment alone is short enough
    pair.a.udp.send(_addresses(family)[0], 999, _addresses(family)[1], 53, bytes(4000))
    pair.run(40)
    assert len(sink.data) == 1 and pair.record.frames > first_two


@FAMILIES
def test_a_closed_port_is_refused_six_times_at_once_and_then_once_a_second(family: int) -> None:
    pair = Pair()
    source, target = _addresses(family)
    sink = Sink(pair.a)
    port = pair.a.udp.bind_any(sink)
    for _ in range(40):
        pair.a.udp.send(source, port, target, 53, b"hello")
        pair.run(0.1)
    assert set(sink.problems) == {Problem.PORT_UNREACHABLE} and len(sink.problems) == 6 + 3


@FAMILIES
def test_datagrams_are_answered_from_the_address_that_was_asked(family: int) -> None:
    pair = Pair()
    source, _ = _addresses(family)
    virtual = "10.9.9.9" if family == 4 else "fd99::9"
    pair.b.own(virtual)
    pair.a.route("0.0.0.0/0", "10.0.0.2")
    pair.a.route("::/0", "fd00::2")
    pair.b.udp.bind(53, Sink(pair.b, b"answer"))
    sink = Sink(pair.a)
    port = pair.a.udp.bind_any(sink)
    pair.a.udp.send(source, port, address(virtual), 53, b"hello")
    pair.run(1)
    assert sink.data == [b"answer"]


def test_a_wrong_checksum_is_dropped() -> None:
    pair = Pair()
    sink = Sink(pair.b)
    pair.b.udp.bind(53, sink)
    card = pair.b.interfaces[0]
    good = bytes(
        Ether(dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=53) / Raw(b"data")
    )
    for place in (len(good) - 1, 24):  # in the payload, in the IP header's checksum
        card.receive(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    assert sink.data == []
    card.receive(good + bytes(4))  # with padding
    assert sink.data == [b"data"]


@given(st.binary(max_size=120), st.sampled_from(["0800", "0806", "86dd"]))
def test_no_frame_upsets_a_host(data: bytes, kind: str) -> None:
    pair = Pair()
    pair.b.interfaces[0].receive(pair.b.interfaces[0].mac + b"\x02\0\0\0\0\1" + bytes.fromhex(kind) + data)
    pair.run(1)


# -- racks -----------------------------------------------------------------------------------------


def test_a_thousand_hosts_stand_behind_one_port() -> None:
    lan = Lan()
    client = lan.host(1)
    rack = Rack(lan.calendar)
    Link(lan.calendar, rack, lan.switch.port())
    hosts = []
    for number in range(1000):
        host = Host(lan.calendar, f"s{number}")
        high, low = divmod(number, 250)
        rack.add(host.plug(f"02:00:00:01:{high:02x}:{low:02x}", f"10.0.{4 + high}.{low + 1}/16"))
        hosts.append(host)
    client.assign(client.interfaces[0], "10.0.0.9/16")
    answers = 0

    def count(source: bytes, sequence: int, data: bytes) -> None:
        nonlocal answers
        answers += 1

    client.icmp.replies[1] = count
    for number in range(1000):
        high, low = divmod(number, 250)
        client.icmp.ping(address("10.0.0.9"), address(f"10.0.{4 + high}.{low + 1}"), 1, 1, b"")
    lan.run(2)
    assert answers == 1000
    replies = _ping(hosts[3], address("10.0.4.4"), address("10.0.7.250"))  # within the rack
    lan.run(1)
    assert len(replies) == 1
    assert not any(
        address("10.0.7.250") in host.interfaces[0].arp.neighbours for host in hosts if host is not hosts[3]
    )
