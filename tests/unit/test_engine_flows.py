"""The traffic engine's receiver without a network: it reads flows from frames as scapy does."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether

from lvslab.traffic.engine import Flow, Flows, Received, Sent
from lvslab.traffic.engine.flows import RECORD, FlowTable, records_of
from tests.unit.engine_frames import ETHER, few, frames_of, templates


def counted(frames: list[bytes], room: int = 128) -> tuple[dict[Flow, int], int]:
    # what is behind a frame must not be looked at
    rows = np.full((len(frames), room), 0xAA, np.uint8)
    for row, frame in zip(rows, frames, strict=True):
        row[: len(frame[:room])] = np.frombuffer(frame[:room], np.uint8)
    table = FlowTable()
    table.add(records_of(rows, np.array([min(len(frame), room) for frame in frames])))
    return table.flows().table, table.other


def expected(frame: bytes) -> Flow:
    packet = Ether(frame)
    network = packet[IP] if IP in packet else packet[IPv6]
    version, protocol = (4, network.proto) if IP in packet else (6, network.nh)
    ports = (0, 0)
    for transport in (TCP, UDP):
        if transport in network:
            ports = network[transport].sport, network[transport].dport
    for echo in (ICMP, ICMPv6EchoRequest):
        if echo in network:
            ports = network[echo].id, 0
    source, destination = (str(ipaddress.ip_address(address)) for address in (network.src, network.dst))
    return Flow(version, protocol, source, ports[0], destination, ports[1])


@few
@given(st.lists(templates(), min_size=1, max_size=4))
def test_flows_are_read_from_frames_as_scapy_reads_them(cases: list[tuple[Any, dict[str, Any]]]) -> None:
    frames = [frame for template, vary in cases for frame in frames_of(template, vary, 7)]
    table, other = counted(frames)
    assert table == Counter(expected(frame) for frame in frames)
    assert other == 0


def test_what_has_no_ports_has_none() -> None:
    addresses = {"src": "10.0.0.1", "dst": "10.0.0.2"}
    option = bytes(ETHER / IP(**addresses, options=[b"\x94\x04\0\0"]) / UDP(sport=1, dport=2))
    frames = [
        option,
        bytes(ETHER / IP(**addresses, frag=3, proto=17) / b"12345678"),
        bytes(ETHER / IP(**addresses, proto=17) / b"1234"),
        bytes(ETHER / IP(**addresses) / ICMP(type=3) / bytes(40)),
        bytes(Ether(type=0x0806) / bytes(46)),
        bytes(Ether(type=0x0800)),
    ]
    table, other = counted(frames)
    assert table == {
        Flow(4, 17, "10.0.0.1", 1, "10.0.0.2", 2): 1,
        Flow(4, 17, "10.0.0.1", 0, "10.0.0.2", 0): 2,
        Flow(4, 1, "10.0.0.1", 0, "10.0.0.2", 0): 1,
    }
    assert other == 2


@few
@given(st.lists(st.lists(st.integers(0, 5), max_size=30), max_size=6))
def test_counts_add_up_over_many_looks(parts: list[list[int]]) -> None:
    table = FlowTable()
    for part in parts:
        rows = np.zeros((len(part), RECORD), np.uint8)
        rows[:, 0], rows[:, 9] = 4, part
        table.add(rows)
        table.flows()
    counts = Counter(number for part in parts for number in part)
    assert table.flows().table == {
        Flow(4, 0, f"0.{number}.0.0", 0, "0.0.0.0", 0): count for number, count in counts.items()
    }


# -- results ---------------------------------------------------------------------------------------


def test_rates_are_what_was_sent_and_what_arrived() -> None:
    sent = Sent(sent=990, planned=1000, seconds=1.0, wanted_rate=1000.0, late=0, worst_late=0.0, workers=1)
    assert sent.rate == 990 and sent.rate_error == pytest.approx(-0.01)
    assert Sent(0, None, 0.0, None, 0, 0.0, 1).rate == 0.0
    received = Received(packets=900, total_bytes=0, dropped=101, other=0, first=10.0, last=11.0)
    assert received.arrived == 1001 and received.rate == 1000
    assert Received(0, 0, 0, 0, None, None).rate == 0.0
    assert len(Flows(np.zeros((0, RECORD), np.uint8), np.zeros(0, np.int64))) == 0
