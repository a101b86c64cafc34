"""Checksums that the director computes anew, keeps, or finds wrong."""

from __future__ import annotations

from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, PORT, ROUTER_MAC
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import SPORT, answer_to, datagram, must_answer, must_forward, transport
from lvslab.conformance.flows import at_client, at_server
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import DIRECT_VERSIONS, EACH_MODE, EACH_VERSION, MODES_VERSIONS
from lvslab.ipvs.service import Protocol


@check(
    "{mode}:lengths:ipv{version}",
    "datagrams of every kind of length pass with right checksums: empty, odd, even, one below the MTU, and"
    " the MTU",
    tags=("forwarding", "ipv{version}", "checksum", "boundary"),
    each=[each for each in MODES_VERSIONS if each["mode"] != "tun"],
)
def lengths(bench: Bench, mode: str, version: int) -> None:
    # In tun the largest datagram is smaller: see the checks of the tunnels.
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    client, most = bench.client(version), 1472 if version == 4 else 1452
    for length in (0, 1, 2, 3, 255, most - 1, most):
        payload = bytes(255 - at % 251 for at in range(length))
        sent = datagram(bench, version, payload, client=client)
        must_forward(bench, sent, mode, f"a datagram of {length} bytes")
        if mode == "nat":
            must_answer(bench, answer_to(sent, payload), f"a reply of {length} bytes")


@check(
    "nat:udp-zero-checksum:ipv{version}",
    "a datagram without a checksum gets one: nat computes it in full, on the way in and on the way out",
    tags=("forwarding", "ipv{version}", "checksum", "udp"),
    each=EACH_VERSION,
)
def udp_zero_checksum_nat(bench: Bench, version: int) -> None:
    # udp_dnat_handler and udp_snat_handler: the incremental update is for a checksum that is not 0;
    # else "full checksum calculation".
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    for payload in (b"even", b"odd"):
        request = datagram(bench, version, payload)
        without = request.copy()
        without[UDP].chksum = 0
        seen = bench.from_client(without).one("inside", "a request without a checksum")
        must_equal(seen, at_server(bench, request, "nat"), "a request without a checksum")
        back = answer_to(request, payload)
        without = back.copy()
        without[UDP].chksum = 0
        seen = bench.from_server(1, without).one("outside", "a reply without a checksum")
        must_equal(seen, at_client(bench, back), "a reply without a checksum")


@check(
    "{mode}:udp-zero-checksum:ipv{version}",
    "a datagram without a checksum stays without one",
    tags=("forwarding", "ipv{version}", "checksum", "udp"),
    each=DIRECT_VERSIONS,
)
def udp_zero_checksum(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    request = datagram(bench, version)
    request[UDP].chksum = 0
    seen = bench.from_client(request).one("inside", "a datagram without a checksum")
    must_equal(
        seen, _with_checksum(at_server(bench, request, mode, seen=seen), 0), "a datagram without a checksum"
    )


@check(
    "nat:udp-checksum-ffff:ipv{version}",
    "a checksum that comes out as 0 is written as ffff, because 0 would mean none",
    tags=("forwarding", "ipv{version}", "checksum", "udp", "boundary"),
    each=EACH_VERSION,
)
def udp_checksum_ffff(bench: Bench, version: int) -> None:
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    request = datagram(bench, version, b"\0\0")
    sum_now = at_server(bench, request, "nat")[UDP].chksum
    request[UDP].payload.load = sum_now.to_bytes(2, "big")
    expected = at_server(bench, request, "nat")
    must(
        expected[UDP].chksum == 0xFFFF,
        "the check is wrong: the datagram's checksum at the server is not ffff",
        expected.summary(),
    )
    must_equal(
        bench.from_client(request).one("inside", "the request"),
        expected,
        "a datagram whose sum is 0 at the server",
    )


def _with_checksum(frame: Packet, value: int) -> Packet:
    """The frame with the transport layer's checksum overwritten, nothing else recomputed."""
    copy = frame.copy()
    layer = next(layer for layer in (TCP, UDP) if layer in copy)
    copy[layer].chksum = value
    return Ether(bytes(copy))


@check(
    "{mode}:wrong-checksum:ipv{version}-{protocol}",
    "a packet with a wrong checksum passes and its checksum is wrong by as much as before: the director does"
    " not mend it",
    tags=("forwarding", "ipv{version}", "checksum", "{protocol}"),
    each=[
        {**each, "protocol": protocol}
        for each in MODES_VERSIONS
        for protocol in ("tcp", "udp")
        if each["mode"] != "tun"
    ],
)
def wrong_checksum(bench: Bench, mode: str, version: int, protocol: str) -> None:
    # tcp_fast_csum_update, udp_fast_csum_update: what changes is added to the checksum, nothing is
    # verified unless an application helper (ftp) looks at the payload.
    layer, net = TCP if protocol == "tcp" else UDP, NETS[version]
    bench.service(mode, protocol=Protocol(protocol), version=version, weights=(1,))
    packet = bench.framed(
        net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT), ROUTER_MAC, ROUTER_MAC
    ).payload
    right = at_server(bench, packet, mode)[layer].chksum
    wrong_by = 0x1111
    packet[layer].chksum = _sum(packet[layer].chksum, wrong_by)
    seen = bench.from_client(packet).one("inside", "a packet with a wrong checksum")
    must_equal(
        seen,
        _with_checksum(at_server(bench, packet, mode), _sum(right, wrong_by)),
        "a packet with a wrong checksum",
    )


def _sum(one: int, other: int) -> int:
    """Ones' complement sum of 16 bits."""
    total = one + other
    return (total & 0xFFFF) + (total >> 16)


@check(
    "nat:wrong-checksum:ipv{version}-sctp",
    "an SCTP packet with a wrong checksum gets a right one where its port changes: nat computes CRC32c anew",
    tags=("forwarding", "ipv{version}", "checksum", "sctp"),
    each=EACH_VERSION,
)
def wrong_checksum_sctp(bench: Bench, version: int) -> None:
    # sctp_dnat_handler calls sctp_nat_csum whenever the port changes; a CRC cannot be updated by
    # the difference. The damage that the sender's checksum would have shown is thereby hidden.
    net = NETS[version]
    bench.service("nat", protocol=Protocol.SCTP, version=version, weights=(1,))
    right = net.packet(bench.client(version), net.vip) / transport("sctp", SPORT, PORT)
    wrong = bench.framed(right, ROUTER_MAC, ROUTER_MAC).payload
    wrong[SCTP].chksum ^= 0x01010101
    seen = bench.from_client(wrong).one("inside", "an SCTP packet with a wrong checksum")
    must_equal(seen, at_server(bench, right, "nat"), "an SCTP packet with a wrong checksum")


@check(
    "{mode}:wrong-ip-checksum",
    "an IPv4 packet with a wrong header checksum is dropped, one with a wrong length too; the same packet"
    " undamaged passes",
    tags=("forwarding", "ipv4", "checksum"),
    each=EACH_MODE,
)
def wrong_ip_checksum(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    right = bench.framed(datagram(bench, 4), ROUTER_MAC, ROUTER_MAC).payload
    damaged = right.copy()
    damaged.chksum ^= 1
    bench.from_client(damaged).nothing("a packet with a wrong header checksum")
    too_long = datagram(bench, 4, len=100)
    bench.from_client(too_long).nothing("a packet that is shorter than its header says")
    must_forward(bench, right, mode, "the packet undamaged")
