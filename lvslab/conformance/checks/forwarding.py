"""What forwarding does to packets, in every mode, IP version and protocol, byte for byte: requests,
replies, headers, fragments.

What is expected is what net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_core.c and ip_vs_proto_*.c of Linux
6.1 say; where a rule has its place there, the check names the function.
"""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import TCP, UDP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, PadN
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP

from lvslab.conformance.check import check
from lvslab.conformance.datagrams import (
    SPORT,
    answer,
    answer_to,
    answered,
    datagram,
    expect_refused,
    field,
    forwarded,
    fragments,
    is_error,
    narrow,
    quoted,
    reassembled,
    routed,
    too_big,
    transport,
)
from lvslab.conformance.flows import Conversation, at_client, at_server, server_number
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import NETS, PORT, ROUTER_MAC, SERVER_PORT, Bench, server_mac
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService

MODES = ("nat", "dr", "tun")
VERSIONS = (4, 6)

_FRAGMENT_HEADER = 44
"""IPv6's next header for fragments (RFC 8200)."""

_MODES_VERSIONS = [{"mode": mode, "version": version} for mode in MODES for version in VERSIONS]
_EVERY = [{**each, "protocol": protocol} for each in _MODES_VERSIONS for protocol in ("tcp", "udp", "sctp")]
_NAT = [{"version": version} for version in VERSIONS]
_NAT_EVERY = [
    {"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "udp", "sctp")
]


# -- single packets --------------------------------------------------------------------------------


@check(
    "{mode}:request:ipv{version}-{protocol}",
    "a client's packet reaches the real server as {mode} has it, every byte as it must be",
    tags=("forwarding", "ipv{version}", "{protocol}"),
    each=_EVERY,
)
def request(bench: Bench, mode: str, version: int, protocol: str) -> None:
    net = NETS[version]
    bench.service(mode, protocol=Protocol(protocol), version=version, weights=(1,))
    forwarded(
        bench,
        net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT),
        mode,
        "the request at the server",
    )


@check(
    "nat:reply:ipv{version}-{protocol}",
    "a real server's reply from its port 8080 comes to the client from the VIP, port 80; from another port it"
    " is routed unchanged",
    tags=("forwarding", "ipv{version}", "{protocol}"),
    each=_NAT_EVERY,
)
def reply(bench: Bench, version: int, protocol: str) -> None:
    net, client = NETS[version], bench.client(version)
    bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    forwarded(
        bench,
        net.packet(client, net.vip) / transport(protocol, SPORT, PORT),
        "nat",
        "the request at the server",
    )
    answered(
        bench,
        net.packet(net.server(1), client) / answer(protocol, SERVER_PORT, SPORT),
        "the reply at the client",
    )
    other = net.packet(net.server(1), client) / answer(protocol, SERVER_PORT + 1, SPORT)
    seen = bench.from_server(1, other).one("outside", "a packet from the server's next port")
    must_equal(seen, routed(bench, other, "outside", ROUTER_MAC), "a packet from the server's next port")


@check(
    "{mode}:reply-past-director:ipv{version}",
    "a reply of a real server that comes to the director by mistake is dropped as a martian in IPv4 and"
    " merely routed in IPv6",
    tags=("forwarding", "ipv{version}", "boundary"),
    each=[{"mode": mode, "version": version} for mode in ("dr", "tun") for version in VERSIONS],
)
def reply_past_director(bench: Bench, mode: str, version: int) -> None:
    # The reply's source is the VIP, an address of the director's own: fib_validate_source
    # (net/ipv4/fib_frontend.c) refuses that whatever rp_filter says; IPv6 has no such test.
    bench.service(mode, version=version, weights=(1,))
    talk = Conversation(bench, mode, version)
    talk.syn()
    packet = talk.from_server("SA")
    seen = bench.from_server(1, packet)
    if version == 4:
        seen.nothing("a reply with the VIP as its source")
    else:
        frame = seen.one("outside", "a reply with the VIP as its source")
        must_equal(frame, routed(bench, packet, "outside", ROUTER_MAC), "a reply with the VIP as its source")


@check(
    "{mode}:tcp-conversation:ipv{version}",
    "handshake, data and both FINs of a TCP connection pass, every segment as it must be, all to one real"
    " server",
    tags=("forwarding", "ipv{version}", "tcp"),
    each=_MODES_VERSIONS,
)
def conversation(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version)
    talk = Conversation(bench, mode, version).establish()
    talk.request()
    talk.reply()
    talk.ack()
    talk.close()
    reset = Conversation(bench, mode, version).establish()
    must(reset.server != talk.server, "the second connection was not given to the other real server")
    reset.rst("server")
    reset.rst()


@check(
    "nat:ports:ipv{version}",
    "two services on two ports of the VIP lead to one real server's two ports, and each reply comes back from"
    " its own port",
    tags=("forwarding", "ipv{version}"),
    each=_NAT,
)
def ports(bench: Bench, version: int) -> None:
    net, client = NETS[version], bench.client(version)
    for port, server_port in ((81, 8081), (65535, 1)):
        server = RealServer(net.server(1), server_port, PacketForwarding.MASQ)
        bench.add(VirtualService(Protocol.TCP, net.vip, port, real_servers=(server,)))
    for port, server_port in ((81, 8081), (65535, 1)):
        talk = Conversation(
            bench, "nat", version, client=client, port=port, server_port=server_port
        ).establish()
        talk.reply()


@check(
    "{mode}:source-port:ipv{version}",
    "the client's port is kept, the lowest and the highest too, and two clients with one port do not mix",
    tags=("forwarding", "ipv{version}"),
    each=_MODES_VERSIONS,
)
def source_port(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version)
    talks = [Conversation(bench, mode, version, sport) for sport in (1, 65535, 65535)]
    for talk in talks:
        talk.establish()
    for talk in talks:
        talk.request(f"I am {talk.client}".encode())
        talk.reply(f"You are {talk.client}".encode())


# -- TTL -------------------------------------------------------------------------------------------


@check(
    "{mode}:ttl:ipv{version}",
    "a packet with TTL 2 reaches the real server with 1, one with TTL 1 is answered with time exceeded,"
    " quoting it as it came",
    tags=("forwarding", "ipv{version}", "ttl", "boundary"),
    each=_MODES_VERSIONS,
)
def ttl(bench: Bench, mode: str, version: int) -> None:
    # decrement_ttl of ip_vs_xmit.c: IPVS counts as a hop, in every mode.
    hops: dict[str, Any] = {"ttl": 2} if version == 4 else {"hlim": 2}
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    forwarded(bench, datagram(bench, version, **hops), mode, "a datagram with TTL 2")
    last = datagram(bench, version, **field("ttl" if version == 4 else "hlim", 1))
    frame = bench.from_client(last).one("outside", "the answer to a datagram with TTL 1")
    is_error(frame, version, 11 if version == 4 else 3, 0, "the answer to a datagram with TTL 1")
    must(frame.payload.dst == last.src, "time exceeded does not go to the client", frame.summary())
    must(
        quoted(frame) == bytes(last),
        "time exceeded does not quote the datagram as it came",
        frame.summary(),
        last.summary(),
    )


@check(
    "nat:ttl-of-reply:ipv{version}",
    "a reply with TTL 2 reaches the client with 1, one with TTL 1 is answered to the real server with time"
    " exceeded",
    tags=("forwarding", "ipv{version}", "ttl", "boundary"),
    each=_NAT,
)
def ttl_of_reply(bench: Bench, version: int) -> None:
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    sent = datagram(bench, version)
    forwarded(bench, sent, "nat", "the request")
    name = "ttl" if version == 4 else "hlim"
    answered(bench, answer_to(sent, **field(name, 2)), "a reply with TTL 2")
    last = answer_to(sent, **field(name, 1))
    frame = bench.from_server(1, last).one("inside", "the answer to a reply with TTL 1")
    is_error(frame, version, 11 if version == 4 else 3, 0, "the answer to a reply with TTL 1")
    must(frame.payload.dst == last.src, "time exceeded does not go to the real server", frame.summary())
    must(
        quoted(frame) == bytes(last),
        "time exceeded does not quote the reply as it came",
        frame.summary(),
        last.summary(),
    )


# -- headers kept ----------------------------------------------------------------------------------


@check(
    "{mode}:dscp-ecn:ipv{version}",
    "DSCP and ECN of a packet are kept; in tun the outer header has them too, with ECT(0) for congestion"
    " experienced",
    tags=("forwarding", "ipv{version}", "header"),
    each=_MODES_VERSIONS,
)
def dscp_ecn(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    client, name = bench.client(version), "tos" if version == 4 else "tc"
    for value in (0x01, 0x02, 0x03, 0x10, 0xB8, 0xFF):
        sent = datagram(bench, version, client=client, **field(name, value))
        forwarded(bench, sent, mode, f"a datagram with traffic class {value:#04x}")
        if mode == "nat":
            answered(bench, answer_to(sent, **field(name, value)), f"a reply with traffic class {value:#04x}")


@check(
    "{mode}:ip-id-and-df",
    "identification and DF of an IPv4 packet are kept; the outer header of tun has DF exactly when the packet"
    " has it",
    tags=("forwarding", "ipv4", "header"),
    each=[{"mode": mode} for mode in MODES],
)
def ip_id_and_df(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    client = bench.client()
    for identification in (0, 1, 0xFFFF):
        for flags in ("", "DF"):
            sent = datagram(bench, 4, client=client, id=identification, flags=flags)
            forwarded(
                bench, sent, mode, f"a datagram with identification {identification} and flags '{flags}'"
            )
            if mode == "nat":
                back = answer_to(sent, id=identification, flags=flags)
                answered(bench, back, f"a reply with identification {identification} and flags '{flags}'")


@check(
    "{mode}:flow-label",
    "the flow label of an IPv6 packet is kept; the outer header of tun has none",
    tags=("forwarding", "ipv6", "header"),
    each=[{"mode": mode} for mode in MODES],
)
def flow_label(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=6, weights=(1,))
    client = bench.client(6)
    for label in (1, 0xABCDE, 0xFFFFF):
        forwarded(
            bench, datagram(bench, 6, client=client, fl=label), mode, f"a datagram with flow label {label:#x}"
        )


@check(
    "{mode}:ip-options",
    "an IPv4 packet with options that ask nothing of a router (NOP, router alert) keeps them",
    tags=("forwarding", "ipv4", "header"),
    each=[{"mode": mode} for mode in MODES],
)
def ip_options(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    sent = datagram(
        bench,
        4,
        options=[IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_Router_Alert()],
    )
    forwarded(bench, sent, mode, "a datagram with IP options")


@check(
    "{mode}:extension-header",
    "an IPv6 packet with a destination options header before its ports is balanced like any other and keeps"
    " the header",
    tags=("forwarding", "ipv6", "header"),
    each=[{"mode": mode} for mode in MODES],
)
def extension_header(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=6, weights=(1,))
    net = NETS[6]
    header = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    sent = net.packet(bench.client(6), net.vip) / header / UDP(sport=SPORT, dport=PORT) / b"lvslab"
    forwarded(bench, sent, mode, "a datagram with destination options")


_TCP_OPTIONS: dict[str, list[Any]] = {
    "usual": [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (12345, 0)), ("NOP", None), ("WScale", 7)],
    "unknown": [("MSS", 536), (253, b"\x12\x34lvslab"), (254, b"\x1f\x90\xc0\x00\x02\x01")],
    "md5": [("MSS", 1460), (19, bytes(range(16))), ("NOP", None), ("NOP", None)],
    "fast-open": [("MSS", 1460), (34, b"cookie01"), ("NOP", None), ("NOP", None)],
    "none": [],
    "full": [("NOP", None)] * 40,
}


@check(
    "{mode}:tcp-options:ipv{version}",
    "the TCP options of a SYN are kept byte for byte: the usual ones, unknown kinds, MD5, fast open, none,"
    " and all 40 bytes",
    tags=("forwarding", "ipv{version}", "tcp", "header"),
    each=_MODES_VERSIONS,
)
def tcp_options(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version, weights=(1,))
    for name, options in _TCP_OPTIONS.items():
        talk = Conversation(bench, mode, version)
        forwarded(bench, talk.from_client("S", options=options), mode, f"a SYN with options '{name}'")
        if mode == "nat":
            talk.server, talk.sequence["client"] = 1, talk.sequence["client"] + 1
            answered(bench, talk.from_server("SA", options=options), f"a SYN-ACK with options '{name}'")


@check(
    "{mode}:tcp-sack:ipv{version}",
    "timestamps and SACK blocks in segments of an established connection are kept, as are urgent pointer,"
    " window and reserved bits",
    tags=("forwarding", "ipv{version}", "tcp", "header"),
    each=_MODES_VERSIONS,
)
def tcp_sack(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version, weights=(1,))
    talk = Conversation(bench, mode, version).establish()
    options = [
        ("NOP", None),
        ("NOP", None),
        ("Timestamp", (1, 2)),
        ("NOP", None),
        ("NOP", None),
        ("SAck", (5001, 6001, 7001, 8001)),
    ]
    fields = {"options": options, "window": 123, "urgptr": 77, "reserved": 5}
    forwarded(bench, talk.from_client("PAUEC", b"odd", **fields), mode, "a segment with SACK blocks")
    if mode == "nat":
        answered(bench, talk.from_server("PAUEC", b"odd", **fields), "a reply with SACK blocks")


# -- checksums -------------------------------------------------------------------------------------


@check(
    "{mode}:lengths:ipv{version}",
    "datagrams of every kind of length pass with right checksums: empty, odd, even, one below the MTU, and"
    " the MTU",
    tags=("forwarding", "ipv{version}", "checksum", "boundary"),
    each=[each for each in _MODES_VERSIONS if each["mode"] != "tun"],
)
def lengths(bench: Bench, mode: str, version: int) -> None:
    # In tun the largest datagram is smaller: see the checks of the tunnels.
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    client, most = bench.client(version), 1472 if version == 4 else 1452
    for length in (0, 1, 2, 3, 255, most - 1, most):
        payload = bytes(255 - at % 251 for at in range(length))
        sent = datagram(bench, version, payload, client=client)
        forwarded(bench, sent, mode, f"a datagram of {length} bytes")
        if mode == "nat":
            answered(bench, answer_to(sent, payload), f"a reply of {length} bytes")


@check(
    "nat:udp-zero-checksum:ipv{version}",
    "a datagram without a checksum gets one: nat computes it in full, on the way in and on the way out",
    tags=("forwarding", "ipv{version}", "checksum", "udp"),
    each=_NAT,
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
    each=[{"mode": mode, "version": version} for mode in ("dr", "tun") for version in VERSIONS],
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
    each=_NAT,
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


def _with_checksum(frame: Any, value: int) -> Any:
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
        for each in _MODES_VERSIONS
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
    each=_NAT,
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
    each=[{"mode": mode} for mode in MODES],
)
def wrong_ip_checksum(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    right = bench.framed(datagram(bench, 4), ROUTER_MAC, ROUTER_MAC).payload
    damaged = right.copy()
    damaged.chksum ^= 1
    bench.from_client(damaged).nothing("a packet with a wrong header checksum")
    too_long = datagram(bench, 4, len=100)
    bench.from_client(too_long).nothing("a packet that is shorter than its header says")
    forwarded(bench, right, mode, "the packet undamaged")


# -- fragments -------------------------------------------------------------------------------------


@check(
    "{mode}:fragments:ipv{version}",
    "a datagram in three fragments, in any order, reaches one real server complete, in fragments again,"
    " translated as a whole",
    tags=("forwarding", "ipv{version}", "fragments"),
    each=_MODES_VERSIONS,
)
def fragmented(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version)
    payload = bytes(at % 251 for at in range(3001))
    client = bench.client(version)
    identification = 0x4242
    for order in ((0, 1, 2), (2, 0, 1)):
        identification += 1
        whole = datagram(
            bench, version, payload, client=client, **({"id": identification} if version == 4 else {})
        )
        pieces = fragments(whole, 1208, identification)
        seen = bench.from_client(*(pieces[at] for at in order))
        what = f"a datagram in fragments, order {order}"
        must(
            not seen.outside,
            f"{what}: something came back outside",
            *(frame.summary() for frame in seen.outside),
        )
        joined = reassembled(seen.inside, what)
        must_equal(joined, at_server(bench, whole, mode, server_number(bench, joined), seen=joined), what)


@check(
    "nat:fragmented-reply:ipv{version}",
    "a real server's reply in fragments reaches the client complete, from the VIP and its port",
    tags=("forwarding", "ipv{version}", "fragments"),
    each=_NAT,
)
def fragmented_reply(bench: Bench, version: int) -> None:
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    request = datagram(bench, version)
    forwarded(bench, request, "nat", "the request")
    identification = 0x5151
    for order in ((0, 1, 2), (1, 2, 0)):
        identification += 1
        fields = {"id": identification} if version == 4 else {}
        whole = answer_to(request, bytes(at % 249 for at in range(3000)), **fields)
        pieces = fragments(whole, 1208, identification)
        seen = bench.from_server(1, *(pieces[at] for at in order))
        what = f"a reply in fragments, order {order}"
        must(not seen.inside, f"{what}: something came inside", *(frame.summary() for frame in seen.inside))
        must_equal(reassembled(seen.outside, what), at_client(bench, whole), what)


@check(
    "{mode}:lone-fragment:ipv{version}",
    "a later fragment alone does not reach a real server: it has no ports; with the first one after it"
    " both do",
    tags=("forwarding", "ipv{version}", "fragments", "boundary"),
    each=_MODES_VERSIONS,
)
def lone_fragment(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    whole = datagram(bench, version, bytes(1000), **field("id", 0x4242) if version == 4 else {})
    first, later = fragments(whole, 512)[:2]
    bench.from_client(later).nothing("a later fragment alone")
    seen = bench.from_client(first)
    what = "the datagram when its first fragment came last"
    must(bool(seen.inside) and not seen.outside, f"{what}: it did not reach the real server")
    # Reassembled it may go on in one piece, in several, or as an atomic fragment (RFC 6946): a
    # fragment header around all of it.
    in_pieces = len(seen.inside) > 1 or (version == 6 and seen.inside[0].payload.nh == _FRAGMENT_HEADER)
    joined = reassembled(seen.inside, what) if in_pieces else seen.inside[0]
    must_equal(joined, at_server(bench, whole, mode, seen=joined), what)


# -- path MTU --------------------------------------------------------------------------------------


@check(
    "{mode}:path-mtu:ipv{version}",
    "toward a server behind a path of 1400 bytes a packet of 1400 passes; one more byte is answered with"
    " fragmentation needed, MTU 1400",
    tags=("forwarding", "ipv{version}", "mtu", "boundary"),
    each=[each for each in _MODES_VERSIONS if each["mode"] != "tun"],
)
def path_mtu(bench: Bench, mode: str, version: int) -> None:
    narrow(bench, NETS[version].server(1), "inside", 1400)
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    client, room = bench.client(version), 1400 - (28 if version == 4 else 48)
    flags: dict[str, Any] = {"flags": "DF"} if version == 4 else {}
    forwarded(
        bench, datagram(bench, version, bytes(room), client=client, **flags), mode, "a packet of 1400 bytes"
    )
    long = datagram(bench, version, bytes(room + 1), client=client, **flags)
    frame = bench.from_client(long).one("outside", "the answer to a packet of 1401 bytes")
    too_big(frame, long, 1400, "the answer to a packet of 1401 bytes", hops=1)


@check(
    "{mode}:fragmentation",
    "an IPv4 packet of 1500 bytes without DF reaches a server behind a path of 1400 bytes in two fragments",
    tags=("forwarding", "ipv4", "mtu", "fragments"),
    each=[{"mode": "nat"}, {"mode": "dr"}],
)
def fragmentation(bench: Bench, mode: str) -> None:
    narrow(bench, NETS[4].server(1), "inside", 1400)
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    sent = datagram(bench, 4, bytes(at % 251 for at in range(1472)), id=0x7777)
    seen = bench.from_client(sent)
    must(
        len(seen.inside) == 2 and not seen.outside,
        "two fragments were expected inside",
        *(each.summary() for each in seen.inside),
    )
    must(
        len(seen.inside[0].payload) <= 1400,
        "the first fragment is longer than the path",
        seen.inside[0].summary(),
    )
    must_equal(
        reassembled(seen.inside, "the fragments"), at_server(bench, sent, mode), "the packet in two fragments"
    )


@check(
    "nat:path-mtu-of-reply:ipv{version}",
    "a reply of 1401 bytes to a client behind a path of 1400 is answered to the server with fragmentation"
    " needed, 1400; one of 1400 passes",
    tags=("forwarding", "ipv{version}", "mtu", "boundary"),
    each=_NAT,
)
def path_mtu_of_reply(bench: Bench, version: int) -> None:
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    sent, room = datagram(bench, version), 1400 - (28 if version == 4 else 48)
    narrow(bench, sent.src, "outside", 1400)
    forwarded(bench, sent, "nat", "the request")
    flags: dict[str, Any] = {"flags": "DF"} if version == 4 else {}
    answered(bench, answer_to(sent, bytes(room), **flags), "a reply of 1400 bytes")
    long = answer_to(sent, bytes(room + 1), **flags)
    frame = bench.from_server(1, long).one("inside", "the answer to a reply of 1401 bytes")
    too_big(frame, long, 1400, "the answer to a reply of 1401 bytes")


# -- what is not balanced --------------------------------------------------------------------------


@check(
    "forwarding:unserved-port:ipv{version}-{protocol}",
    "a port of the VIP without a service is the director's own affair: it refuses; the same port with a"
    " service is balanced",
    tags=("ipv{version}", "{protocol}", "boundary"),
    each=[{"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "udp")],
)
def unserved_port(bench: Bench, version: int, protocol: str) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    packet = net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT + 1)
    expect_refused(bench, packet, "a packet to port 81")
    other = "udp" if protocol == "tcp" else "tcp"
    packet = net.packet(bench.client(version), net.vip) / transport(other, SPORT, PORT)
    expect_refused(bench, packet, f"a {other} packet to the port of the {protocol} service")
    packet = net.packet(bench.client(version), net.dip) / transport(protocol, SPORT, PORT)
    expect_refused(bench, packet, "a packet to the director's own address")
    packet = net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT)
    forwarded(bench, packet, "nat", "a packet to the service's port")


@check(
    "forwarding:no-real-server:ipv{version}-{protocol}",
    "a service without a usable real server answers with ICMP port unreachable, TCP too; a weight above 0"
    " ends that",
    tags=("ipv{version}", "{protocol}", "boundary"),
    each=[{"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "udp")],
)
def no_real_server(bench: Bench, version: int, protocol: str) -> None:
    # ip_vs_leave of ip_vs_core.c: "we notify the client that the destination is unreachable".
    net = NETS[version]
    service = bench.service("nat", protocol=Protocol(protocol), version=version, weights=(0,))
    packet = net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT)
    frame = bench.from_client(packet).one("outside", "a packet to a service whose only server has weight 0")
    is_error(
        frame,
        version,
        *((3, 3) if version == 4 else (1, 4)),
        "a packet to a service whose only server has weight 0",
    )
    must(quoted(frame) == bytes(packet), "the error does not quote the packet", frame.summary())
    bench.ipvsadm.edit_server(service, RealServer(net.server(1), SERVER_PORT, PacketForwarding.MASQ, 1))
    forwarded(bench, packet, "nat", "the packet when the server has weight 1")


@check(
    "forwarding:stray-segment:ipv{version}",
    "a TCP segment without SYN and without a connection is not balanced: the director's own TCP answers with"
    " a RST, and not to a RST",
    tags=("ipv{version}", "tcp", "boundary"),
    each=_NAT,
)
def stray_segment(bench: Bench, version: int) -> None:
    bench.service("nat", version=version, weights=(1,))
    for flags in ("A", "PA", "FA"):
        expect_refused(
            bench,
            Conversation(bench, "nat", version).from_client(flags),
            f"a stray segment with flags {flags}",
        )
    bench.from_client(Conversation(bench, "nat", version).from_client("R")).nothing("a stray RST")


@check(
    "forwarding:routed:ipv{version}",
    "what is not for the VIP passes the director as a plain router, both ways, with services in the table",
    tags=("ipv{version}",),
    each=_NAT,
)
def plain_routing(bench: Bench, version: int) -> None:
    net = NETS[version]
    for protocol in ("tcp", "udp"):
        bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    client = bench.client(version)
    for protocol in ("tcp", "udp"):
        packet = net.packet(client, net.server(1)) / transport(protocol, SPORT, PORT)
        seen = bench.from_client(packet).one("inside", "a client's packet to a real server's own address")
        must_equal(
            seen,
            routed(bench, packet, "inside", server_mac(1)),
            "a client's packet to a real server's own address",
        )
        packet = net.packet(net.server(1), client) / transport(protocol, SERVER_PORT, SPORT)
        seen = bench.from_server(1, packet).one(
            "outside", "a real server's own packet from the service's port"
        )
        must_equal(
            seen,
            routed(bench, packet, "outside", ROUTER_MAC),
            "a real server's own packet from the service's port",
        )


@check(
    "{mode}:no-ip-forward:ipv{version}",
    "with forwarding off requests still reach the real server; in nat its replies no longer reach the client,"
    " with forwarding on they do",
    tags=("forwarding", "ipv{version}", "sysctl"),
    each=_MODES_VERSIONS,
)
def no_ip_forward(bench: Bench, mode: str, version: int) -> None:
    # Requests come in by LOCAL_IN and leave by the transmitters' own route; replies of nat cross
    # FORWARD, where ip_forward counts. Writing the key resets other keys of the interfaces
    # (devinet.c, inet_forward_change), so it is written and put back as it was.
    key = "net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding"
    bench.service(mode, version=version, weights=(1,))
    talk = Conversation(bench, mode, version).establish()
    path = f"/proc/sys/{key.replace('.', '/')}"
    bench.apply(f"echo 0 >{path}", f"echo 1 >{path}")
    talk.request(b"with forwarding off")
    Conversation(bench, mode, version).syn()
    if mode == "nat":
        bench.from_server(1, talk.from_server("PA", b"unheard")).nothing("a reply with forwarding off")
    bench.run(f"echo 1 >{path}")
    talk.reply(b"heard")


@check(
    "{mode}:vip-not-local:ipv{version}",
    "a VIP that is no address of the director's is not balanced; a local route to it is enough for that",
    tags=("forwarding", "ipv{version}"),
    each=_MODES_VERSIONS,
)
def vip_not_local(bench: Bench, mode: str, version: int) -> None:
    # IPVS takes requests at LOCAL_IN: what the director routes on does not come by there.
    vip = "10.0.0.99" if version == 4 else "2001:db8::99"
    net = NETS[version]
    port = SERVER_PORT if mode == "nat" else PORT
    kind = {"nat": PacketForwarding.MASQ, "dr": PacketForwarding.DR, "tun": PacketForwarding.TUN}[mode]
    bench.add(VirtualService(Protocol.TCP, vip, PORT, real_servers=(RealServer(net.server(1), port, kind),)))
    # Elsewhere than on its own link the director sends such a packet back to the router, which is
    # where we see that it was routed.
    bits = 32 if version == 4 else 128
    bench.apply(
        f"ip -{version} route add {vip}/{bits} via {net.router}",
        f"ip -{version} route del {vip}/{bits} via {net.router}",
    )
    packet = net.packet(bench.client(version), vip) / transport("tcp", SPORT, PORT)
    frame = bench.from_client(packet).one("outside", "a packet to a VIP that is not local")
    must_equal(frame, routed(bench, packet, "outside", ROUTER_MAC), "a packet to a VIP that is not local")
    bench.apply(
        f"ip -{version} route add local {vip}/{bits} dev lo",
        f"ip -{version} route del local {vip}/{bits} dev lo",
    )
    Conversation(bench, mode, version, vip=vip).establish().request()


@check(
    "{mode}:local-real-server:ipv{version}",
    "a real server that is the director itself gets the packet in its own stack, whose answer comes to the"
    " client from the VIP",
    tags=("forwarding", "ipv{version}"),
    each=[{"mode": mode, "version": version} for mode in ("nat", "dr") for version in VERSIONS],
)
def local_real_server(bench: Bench, mode: str, version: int) -> None:
    # Nothing listens there, so the answer is a RST. In dr the kernel shows such a server as Local;
    # in nat its answer is translated back at LOCAL_OUT.
    net, client = NETS[version], bench.client(version)
    kind, port = (PacketForwarding.MASQ, SERVER_PORT) if mode == "nat" else (PacketForwarding.DR, PORT)
    bench.add(VirtualService(Protocol.TCP, net.vip, PORT, real_servers=(RealServer(net.dip, port, kind),)))
    expect_refused(
        bench,
        net.packet(client, net.vip) / transport("tcp", SPORT, PORT),
        "a SYN to the director's own server",
    )
    entries = [entry for entry in bench.ipvsadm.list_connections() if entry.client.address == client]
    found = [(entry.state, entry.destination.address, entry.destination.port) for entry in entries]
    must(
        found == [("CLOSE", net.dip, port)],
        f"one connection to the director itself, state CLOSE, was expected: {found}",
    )


@check(
    "forwarding:edit-server:{mode}-ipv{version}",
    "a connection keeps the forwarding method it began with when the server's method is edited; a new"
    " connection has the new one",
    tags=("ipv{version}", "configuration"),
    each=[{"mode": mode, "version": version} for mode in ("dr", "tun") for version in VERSIONS],
)
def edit_server(bench: Bench, mode: str, version: int) -> None:
    net = NETS[version]
    service = bench.add(
        VirtualService(
            Protocol.TCP,
            net.vip,
            PORT,
            real_servers=(RealServer(net.server(1), PORT, PacketForwarding.MASQ),),
        )
    )
    talk = Conversation(bench, "nat", version, server_port=PORT).establish()
    kind = PacketForwarding.DR if mode == "dr" else PacketForwarding.TUN
    bench.ipvsadm.edit_server(service, RealServer(net.server(1), PORT, kind))
    # The new connection first: the route is cached with the server, and a packet of the old
    # connection would cache one that has no KNOWN_NH, with which dr asks by ARP for the VIP itself
    # (ip_vs_xmit.c, __ip_vs_get_out_rt; seen so on 6.1).
    Conversation(bench, mode, version).establish().request()
    talk.request()
    talk.reply()
