"""Records of worlds that never were: scripted, and everything is well unless a test says so."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from lvslab.explore.records import HTTP, Frame, Happened, Net, Promise, Record
from lvslab.explore.schedule import Injection
from lvslab.runs.outage import Attempt, Beat

CLIENT, VIP = "10.0.0.101", "10.0.0.10"
SERVERS = {"rs1": "10.0.1.11", "rs2": "10.0.1.12"}
NODES = ("c1", "lvs1", "lvs2", "rs1", "rs2")
MACS = {name: bytes((2, 0, 0, 0, place, 0)) for place, name in enumerate(NODES)}

NET = Net(VIP, CLIENT, {mac: name for name, mac in MACS.items()}, ("lvs1", "lvs2"), SERVERS)
PROMISE = Promise(whole=3.0, formula="as scripted", timeout=0.5, synced=True)

WHOLE = Record(NET, PROMISE, happened=(), rested=30.0, asked=30.0)
"""Nothing has happened, nobody has asked."""


def happened(kind: str, target: str, began: float, ended: float | None = None, **parameters: Any) -> Happened:
    """A fault that was done."""
    lasts = None if ended is None else ended - began
    return Happened(Injection(began, kind, target, lasts, parameters), began, ended)


def attempt(planned: float, outcome: str = "ok", port: int = 2000, server: str = "rs1") -> Attempt:
    """A new connection."""
    end = planned + (0.001 if outcome == "ok" else 0.5)
    return Attempt(planned, planned, planned, planned, end, port, server, outcome)


def beat(number: int, t: float, outcome: str = "ok", server: str = "rs1", opened: float = 1.0) -> Beat:
    """A heartbeat of a lasting connection, whose port is 40000 and its number."""
    answered = t + 0.001 if outcome == "ok" else None
    return Beat(number, opened, 40000 + number, t, t, answered, server, outcome)


def arp_reply(t: float, node: str, address: str = VIP) -> Frame:
    """A node says that it has an address."""
    mac = MACS[node]
    body = b"\0\1\x08\0\6\4\0\2" + mac + IPv4Address(address).packed + MACS["c1"] + IPv4Address(CLIENT).packed
    return Frame(t, node, f"{node}-eth0", True, MACS["c1"] + mac + b"\x08\x06" + body)


def segment(
    t: float,
    node: str,
    outbound: bool,
    ends: tuple[str, int, str, int],
    *,
    protocol: int = 6,
    flags: int = 0x10,
    to: str = "lvs1",
    data: bytes = b"",
) -> Frame:
    """A TCP segment or UDP datagram at a node's card; `ends`: source and port, target and port."""
    source, source_port, target, target_port = ends
    ports = struct.pack("!HH", source_port, target_port)
    rest = bytes(8) + bytes((0x50, flags)) + bytes(6) if protocol == 6 else bytes(4)
    body = ports + rest + data
    head = b"\x45\0" + (20 + len(body)).to_bytes(2, "big") + bytes(5) + bytes((protocol,)) + bytes(2)
    packet = head + IPv4Address(source).packed + IPv4Address(target).packed + body
    return Frame(t, node, f"{node}-eth0", outbound, MACS[to] + MACS[node] + b"\x08\0" + packet)


def with_attempts(*attempts: Attempt, record: Record = WHOLE, service: str = HTTP) -> Record:
    """The record with these attempts."""
    return replace(record, attempts={service: attempts})
