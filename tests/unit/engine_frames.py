"""Templates with variations, as the tests of the traffic engine draw them."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from lvslab.traffic.engine import Draw, Span, Stream, Values
from lvslab.traffic.engine.compile import compile_stream

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def frames_of(template: Any, vary: dict[str, Any], flows: int = 20) -> list[bytes]:
    frames = compile_stream(Stream(template, vary, flows=flows))
    return [frames[number] for number in range(len(frames))]


v4 = st.integers(0, 2**32 - 1).map(lambda number: str(ipaddress.IPv4Address(number)))
v6 = st.integers(0, 2**128 - 1).map(lambda number: str(ipaddress.IPv6Address(number)))
port = st.integers(1, 65535)
word = st.integers(0, 2**32 - 1)
load = st.binary(min_size=8, max_size=64)
OPTIONS: list[list[Any]] = [
    [],
    [("MSS", 1460)],
    [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None), ("WScale", 7)],
]


@st.composite
def variations(draw: st.DrawFn, width: int) -> Any:
    top = (1 << 8 * width) - 1
    first = draw(st.integers(0, top))
    last = draw(st.integers(first, top))
    kind = draw(st.sampled_from(["span", "draw", "values"]))
    every = draw(st.integers(1, 4))
    if kind == "span":
        return Span(first, last, every, draw(st.integers(1, 300)))
    if kind == "draw":
        return Draw(first, last, draw(st.integers(0, 9)))
    return Values(draw(st.lists(st.integers(0, top), min_size=1, max_size=5)), every)


WIDTHS = {
    "IP.src": 4,
    "IP.dst": 4,
    "IP.id": 2,
    "IP.ttl": 1,
    "IP.tos": 1,
    "IPv6.src": 16,
    "IPv6.dst": 16,
    "IPv6.hlim": 1,
    "Ether.src": 6,
    "TCP.sport": 2,
    "TCP.dport": 2,
    "TCP.seq": 4,
    "TCP.window": 2,
    "UDP.sport": 2,
    "UDP.dport": 2,
    "ICMP.id": 2,
    "ICMP.seq": 2,
    "ICMPv6EchoRequest.id": 2,
    "ICMPv6EchoRequest.seq": 2,
    "payload[0:8]": 8,
    "payload[1:4]": 3,
    "payload[5:6]": 1,
}


@st.composite
def templates(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """A frame, and some of its fields with variations."""
    if draw(st.booleans()):
        network: Packet = IP(src=draw(v4), dst=draw(v4), id=draw(st.integers(0, 65535)), flags="DF")
        names = ["IP.src", "IP.dst", "IP.id", "IP.ttl", "IP.tos"]
        echo: Any = ICMP(type=8, id=draw(port), seq=draw(port))
    else:
        network = IPv6(src=draw(v6), dst=draw(v6))
        names = ["IPv6.src", "IPv6.dst", "IPv6.hlim"]
        echo = ICMPv6EchoRequest(id=draw(port), seq=draw(port))
    kind = draw(st.sampled_from(["TCP", "UDP", "echo"]))
    if kind == "TCP":
        transport: Packet = TCP(
            sport=draw(port),
            dport=draw(port),
            seq=draw(word),
            flags="S",
            options=draw(st.sampled_from(OPTIONS)),
        )
        names += ["TCP.sport", "TCP.dport", "TCP.seq", "TCP.window"]
    elif kind == "UDP":  # ports that scapy gives no meaning to, so that the payload stays one
        transport = UDP(sport=draw(st.integers(40000, 40100)), dport=draw(st.integers(40000, 40100)))
        names += ["UDP.sport", "UDP.dport"]
    else:
        transport = echo
        names += [f"{type(echo).__name__}.id", f"{type(echo).__name__}.seq"]
    packet = ETHER / network / transport
    if kind == "UDP" or (kind == "echo" and "IP.src" in names):
        packet /= Raw(draw(load))
        names += ["payload[0:8]", "payload[1:4]", "payload[5:6]"]
    chosen = draw(st.lists(st.sampled_from([*names, "Ether.src"]), unique=True, min_size=1, max_size=5))
    if sum(name.startswith("payload") for name in chosen) > 1:  # they would overlap
        chosen = [name for name in chosen if not name.startswith("payload")]
    return packet, {name: draw(variations(WIDTHS[name])) for name in chosen or ["Ether.src"]}
