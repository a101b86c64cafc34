"""What forwarding does to a single packet, in every mode, IP version and protocol, byte for byte."""

from __future__ import annotations

from typing import Any

from lvslab.conformance.bench import NETS, PORT, ROUTER_MAC, SERVER_PORT, Bench, server_mac
from lvslab.conformance.check import check
from lvslab.conformance.packets import changed, must_equal
from lvslab.service import Protocol

_EVERY = [
    {"mode": mode, "version": version, "protocol": protocol}
    for mode in ("nat", "dr", "tun")
    for version in (4, 6)
    for protocol in ("tcp", "udp")
]


def transport(protocol: str, sport: int, dport: int, payload: bytes = b"") -> Any:
    """A SYN, or a datagram."""
    from scapy.layers.inet import TCP, UDP

    if protocol == "tcp":
        return TCP(sport=sport, dport=dport, seq=1000, flags="S", options=[("MSS", 1460)])
    return UDP(sport=sport, dport=dport) / (payload or b"lvslab")


@check(
    "{mode}:ipv{version}:{protocol}:request",
    "a client's packet reaches the real server as {mode} has it, every byte as it must be",
    tags=("forwarding", "ipv{version}", "{protocol}"),
    each=_EVERY,
)
def request(bench: Bench, mode: str, version: int, protocol: str) -> None:
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    net, layer = NETS[version], IP if version == 4 else IPv6
    bench.service(mode, protocol=Protocol(protocol), version=version, weights=(1,))
    client = bench.client(version)
    sent = bench.framed(net.packet(client, net.vip) / transport(protocol, 40000, PORT), ROUTER_MAC, bench.outside.mac)
    seen = bench.from_client(sent.payload).one("inside", "the request")

    def as_mode(frame: Any) -> None:
        frame.src, frame.dst = bench.inside.mac, server_mac(1)
        inner = frame[layer]
        if version == 4:
            inner.ttl -= 1
        else:
            inner.hlim -= 1
        if mode == "nat":
            inner.dst = net.server(1)
            inner.payload.dport = SERVER_PORT

    expected = changed(sent, as_mode)
    if mode == "tun":
        outer = seen[layer].copy()
        outer.remove_payload()
        expected = changed(Ether(src=expected.src, dst=expected.dst) / outer / expected[layer], lambda frame: None)
    must_equal(seen, expected, "the request at the real server")
