"""What forwarding does to packets, in every mode, IP version and protocol, byte for byte: requests, replies, headers, fragments.

What is expected is what net/netfilter/ipvs/ip_vs_xmit.c, ip_vs_core.c and ip_vs_proto_*.c of Linux 6.1 say; where a rule has its place
there, the check names the function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lvslab.conformance.bench import NETS, PORT, ROUTER_MAC, SERVER_PORT, Bench, server_mac
from lvslab.conformance.check import CheckFailed, check
from lvslab.conformance.flows import Conversation, at_client, at_server, ip_layer, one_hop
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.service import PacketForwarding, Protocol, RealServer, VirtualService

MODES = ("nat", "dr", "tun")
VERSIONS = (4, 6)

_MODES_VERSIONS = [{"mode": mode, "version": version} for mode in MODES for version in VERSIONS]
_EVERY = [{**each, "protocol": protocol} for each in _MODES_VERSIONS for protocol in ("tcp", "udp", "sctp")]
_NAT = [{"version": version} for version in VERSIONS]
_NAT_EVERY = [{"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "udp", "sctp")]

SPORT = 40000


def transport(protocol: str, sport: int, dport: int, payload: bytes = b"") -> Any:
    """The first packet of a conversation: a SYN, a datagram, an INIT chunk."""
    from scapy.layers.inet import TCP, UDP
    from scapy.layers.sctp import SCTP, SCTPChunkInit

    if protocol == "tcp":
        return TCP(sport=sport, dport=dport, seq=1000, flags="S", options=[("MSS", 1460)])
    if protocol == "sctp":
        return SCTP(sport=sport, dport=dport, tag=0) / SCTPChunkInit(init_tag=0x1234, n_in_streams=3, n_out_streams=3, init_tsn=7)
    return UDP(sport=sport, dport=dport) / (payload or b"lvslab")


def answer(protocol: str, sport: int, dport: int, payload: bytes = b"") -> Any:
    """A real server's first packet: a SYN-ACK, a datagram, an INIT-ACK chunk."""
    from scapy.layers.inet import TCP, UDP
    from scapy.layers.sctp import SCTP, SCTPChunkInitAck

    if protocol == "tcp":
        return TCP(sport=sport, dport=dport, seq=5000, ack=1001, flags="SA", options=[("MSS", 1460)])
    if protocol == "sctp":
        return SCTP(sport=sport, dport=dport, tag=0x1234) / SCTPChunkInitAck(init_tag=0x4321, init_tsn=9)
    return UDP(sport=sport, dport=dport) / (payload or b"answer")


def forwarded(bench: Bench, packet: Any, mode: str, what: str, number: int = 1) -> Any:
    """Send a client's packet, judge the frame that the real server gets, byte for byte; that frame."""
    seen = bench.from_client(packet).one("inside", what)
    must_equal(seen, at_server(bench, packet, mode, number, seen=seen), what)
    return seen


def answered(bench: Bench, packet: Any, what: str, number: int = 1) -> Any:
    """Send a real server's packet in mode nat, judge the frame that the client gets, byte for byte; that frame."""
    seen = bench.from_server(number, packet).one("outside", what)
    must_equal(seen, at_client(bench, packet), what)
    return seen


def datagram(bench: Bench, version: int, payload: bytes = b"lvslab", client: str = "", **fields: Any) -> Any:
    """A datagram of a client to the VIP, of a new client when none is given; `fields` of the IP header."""
    from scapy.layers.inet import UDP

    net = NETS[version]
    return net.packet(client or bench.client(version), net.vip, **fields) / UDP(sport=SPORT, dport=PORT) / payload


def answer_to(request: Any, payload: bytes = b"answer", number: int = 1, **fields: Any) -> Any:
    """What the real server of mode nat answers to a client's datagram."""
    from scapy.layers.inet import UDP

    net = NETS[request.version]
    return net.packet(net.server(number), request.src, **fields) / UDP(sport=SERVER_PORT, dport=request[UDP].sport) / payload


def routed(bench: Bench, packet: Any, side: str, mac: str) -> Any:
    """The frame that a plain router makes of a packet: one hop less, nothing else; it goes to `mac` on the wire `side`."""
    wire = bench.inside if side == "inside" else bench.outside
    return changed(bench.framed(packet, wire.mac, mac), lambda frame: one_hop(frame.payload))


def is_error(frame: Any, version: int, kind: int, code: int, what: str) -> None:
    """The frame must carry this ICMP error.

    Raises:
        CheckFailed: it is something else.
    """
    from scapy.layers.inet import ICMP

    packet = frame.payload
    if version == 4 and ICMP in packet:
        found = (packet[ICMP].type, packet[ICMP].code)
    else:
        found = (getattr(packet.payload, "type", -1), getattr(packet.payload, "code", -1)) if version == 6 else (-1, -1)
    if found != (kind, code) or ip_layer(version) not in frame:
        raise CheckFailed(f"{what}: ICMP type {kind} code {code} was expected", [f"seen: {frame.summary()}", repr(frame)])


def quoted(frame: Any) -> bytes:
    """The packet that an ICMP error quotes."""
    packet = frame.payload
    return bytes(packet)[(packet.ihl * 4 if packet.version == 4 else 40) + 8 :]


def reassembled(frames: Sequence[Any], what: str) -> Any:
    """The frame that the fragments make up, without a fragment header.

    Raises:
        CheckFailed: pieces are missing or overlap, they are not of one packet, or one is longer than 1500 bytes.
    """
    from scapy.layers.inet6 import IPv6ExtHdrFragment
    from scapy.layers.l2 import Ether

    pieces = []
    for frame in frames:
        packet = frame.payload
        if packet.version == 4:
            pieces.append((packet.frag * 8, bool(packet.flags & 1), bytes(packet.payload), packet.id, frame))
        elif IPv6ExtHdrFragment in packet:
            header = packet[IPv6ExtHdrFragment]
            pieces.append((header.offset * 8, bool(header.m), bytes(header.payload), header.id, frame))
        else:
            raise CheckFailed(f"{what}: fragments were expected", [each.summary() for each in frames])
    pieces.sort(key=lambda piece: piece[0])
    data, shown = b"", [f"offset {piece[0]}, {len(piece[2])} bytes: {piece[4].summary()}" for piece in pieces]
    for offset, more, content, identification, frame in pieces:
        good = offset == len(data) and more == (frame is not pieces[-1][4]) and identification == pieces[0][3]
        must(good, f"{what}: the fragments do not fit together", *shown)
        must(len(frame.payload) <= 1500, f"{what}: a fragment is longer than 1500 bytes", *shown)
        data += content
    first = pieces[0][4]
    header = first.payload.copy()
    header.remove_payload()
    if header.version == 4:
        header.flags, header.frag, header.len, header.chksum = header.flags & ~1, 0, None, None
    else:
        header.nh, header.plen = first.payload[IPv6ExtHdrFragment].nh, None
    return Ether(bytes(Ether(src=first.src, dst=first.dst) / header) + b"").__class__(
        bytes(Ether(src=first.src, dst=first.dst) / header / data)
    )


def fragments(packet: Any, size: int, identification: int = 0x4242) -> list[Any]:
    """A packet cut into fragments with `size` bytes of payload each, a multiple of 8."""
    from scapy.layers.inet6 import IPv6ExtHdrFragment

    whole = type(packet)(bytes(packet))
    data, header = bytes(whole.payload), whole.copy()
    header.remove_payload()
    cut = []
    for offset in range(0, len(data), size):
        part, more = data[offset : offset + size], offset + size < len(data)
        piece = header.copy()
        if piece.version == 4:
            piece.id, piece.flags, piece.frag, piece.len, piece.chksum = identification, int(more), offset // 8, None, None
        else:
            piece.plen = None
            piece.nh = 44
            piece = piece / IPv6ExtHdrFragment(nh=whole.nh, offset=offset // 8, m=int(more), id=identification)
        cut.append(type(packet)(bytes(piece / part)))
    return cut


# -- single packets ----------------------------------------------------------------------------------------------------------------------


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
        bench, net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT), mode, "the request at the server"
    )


@check(
    "nat:reply:ipv{version}-{protocol}",
    "a real server's reply from its port 8080 comes to the client from the VIP, port 80; from another port it is routed unchanged",
    tags=("forwarding", "ipv{version}", "{protocol}"),
    each=_NAT_EVERY,
)
def reply(bench: Bench, version: int, protocol: str) -> None:
    net, client = NETS[version], bench.client(version)
    bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    forwarded(bench, net.packet(client, net.vip) / transport(protocol, SPORT, PORT), "nat", "the request at the server")
    answered(bench, net.packet(net.server(1), client) / answer(protocol, SERVER_PORT, SPORT), "the reply at the client")
    other = net.packet(net.server(1), client) / answer(protocol, SERVER_PORT + 1, SPORT)
    seen = bench.from_server(1, other).one("outside", "a packet from the server's next port")
    must_equal(seen, routed(bench, other, "outside", ROUTER_MAC), "a packet from the server's next port")


@check(
    "{mode}:reply-past-director:ipv{version}",
    "a reply of a real server that comes to the director by mistake is dropped as a martian in IPv4 and merely routed in IPv6",
    tags=("forwarding", "ipv{version}", "boundary"),
    each=[{"mode": mode, "version": version} for mode in ("dr", "tun") for version in VERSIONS],
)
def reply_past_director(bench: Bench, mode: str, version: int) -> None:
    # The reply's source is the VIP, an address of the director's own: fib_validate_source (net/ipv4/fib_frontend.c) refuses that
    # whatever rp_filter says; IPv6 has no such test.
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
    "handshake, data and both FINs of a TCP connection pass, every segment as it must be, all to one real server",
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
    "two services on two ports of the VIP lead to one real server's two ports, and each reply comes back from its own port",
    tags=("forwarding", "ipv{version}"),
    each=_NAT,
)
def ports(bench: Bench, version: int) -> None:
    net, client = NETS[version], bench.client(version)
    for port, server_port in ((81, 8081), (65535, 1)):
        server = RealServer(net.server(1), server_port, PacketForwarding.MASQ)
        bench.add(VirtualService(Protocol.TCP, net.vip, port, real_servers=(server,)))
    for port, server_port in ((81, 8081), (65535, 1)):
        talk = Conversation(bench, "nat", version, client=client, port=port, server_port=server_port).establish()
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


# -- TTL -------------------------------------------------------------------------------------------------------------------------------


@check(
    "{mode}:ttl:ipv{version}",
    "a packet with TTL 2 reaches the real server with 1, one with TTL 1 is answered with time exceeded, quoting it as it came",
    tags=("forwarding", "ipv{version}", "ttl", "boundary"),
    each=_MODES_VERSIONS,
)
def ttl(bench: Bench, mode: str, version: int) -> None:
    # decrement_ttl of ip_vs_xmit.c: unlike a plain director of old kernels, IPVS counts as a hop since Linux 4.1.
    hops = {"ttl": 2} if version == 4 else {"hlim": 2}
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    forwarded(bench, datagram(bench, version, **hops), mode, "a datagram with TTL 2")
    last = datagram(bench, version, **dict.fromkeys(hops, 1))
    frame = bench.from_client(last).one("outside", "the answer to a datagram with TTL 1")
    is_error(frame, version, 11 if version == 4 else 3, 0, "the answer to a datagram with TTL 1")
    must(frame.payload.dst == last.src, "time exceeded does not go to the client", frame.summary())
    must(quoted(frame) == bytes(last), "time exceeded does not quote the datagram as it came", repr(frame), repr(last))


@check(
    "nat:ttl-of-reply:ipv{version}",
    "a reply with TTL 2 reaches the client with 1, one with TTL 1 is answered to the real server with time exceeded",
    tags=("forwarding", "ipv{version}", "ttl", "boundary"),
    each=_NAT,
)
def ttl_of_reply(bench: Bench, version: int) -> None:
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    sent = datagram(bench, version)
    forwarded(bench, sent, "nat", "the request")
    name = "ttl" if version == 4 else "hlim"
    answered(bench, answer_to(sent, **{name: 2}), "a reply with TTL 2")
    last = answer_to(sent, **{name: 1})
    frame = bench.from_server(1, last).one("inside", "the answer to a reply with TTL 1")
    is_error(frame, version, 11 if version == 4 else 3, 0, "the answer to a reply with TTL 1")
    must(frame.payload.dst == last.src, "time exceeded does not go to the real server", frame.summary())
    must(quoted(frame) == bytes(last), "time exceeded does not quote the reply as it came", repr(frame), repr(last))


# -- headers kept ----------------------------------------------------------------------------------------------------------------------


@check(
    "{mode}:dscp-ecn:ipv{version}",
    "DSCP and ECN of a packet are kept, in tun in the outer header too",
    tags=("forwarding", "ipv{version}", "header"),
    each=_MODES_VERSIONS,
)
def dscp_ecn(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    client, name = bench.client(version), "tos" if version == 4 else "tc"
    for value in (0x01, 0x02, 0x03, 0x10, 0xB8, 0xFF):
        sent = datagram(bench, version, client=client, **{name: value})
        forwarded(bench, sent, mode, f"a datagram with traffic class {value:#04x}")
        if mode == "nat":
            answered(bench, answer_to(sent, **{name: value}), f"a reply with traffic class {value:#04x}")


@check(
    "{mode}:ip-id-and-df",
    "identification and DF of an IPv4 packet are kept; the outer header of tun has DF exactly when the packet has it",
    tags=("forwarding", "ipv4", "header"),
    each=[{"mode": mode} for mode in MODES],
)
def ip_id_and_df(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    client = bench.client()
    for identification in (0, 1, 0xFFFF):
        for flags in ("", "DF"):
            sent = datagram(bench, 4, client=client, id=identification, flags=flags)
            forwarded(bench, sent, mode, f"a datagram with identification {identification} and flags '{flags}'")
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
        forwarded(bench, datagram(bench, 6, client=client, fl=label), mode, f"a datagram with flow label {label:#x}")


@check(
    "{mode}:ip-options",
    "an IPv4 packet with options that ask nothing of a router (NOP, router alert) keeps them",
    tags=("forwarding", "ipv4", "header"),
    each=[{"mode": mode} for mode in MODES],
)
def ip_options(bench: Bench, mode: str) -> None:
    from scapy.layers.inet import IPOption_NOP, IPOption_Router_Alert

    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    sent = datagram(bench, 4, options=[IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_Router_Alert()])
    forwarded(bench, sent, mode, "a datagram with IP options")


@check(
    "{mode}:extension-header",
    "an IPv6 packet with a destination options header before its ports is balanced like any other and keeps the header",
    tags=("forwarding", "ipv6", "header"),
    each=[{"mode": mode} for mode in MODES],
)
def extension_header(bench: Bench, mode: str) -> None:
    from scapy.layers.inet import UDP
    from scapy.layers.inet6 import IPv6ExtHdrDestOpt, PadN

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
    "the TCP options of a SYN are kept byte for byte: the usual ones, unknown kinds, MD5, fast open, none, and all 40 bytes",
    tags=("forwarding", "ipv{version}", "tcp", "header"),
    each=_MODES_VERSIONS,
)
def tcp_options(bench: Bench, mode: str, version: int) -> None:
    net = NETS[version]
    bench.service(mode, version=version, weights=(1,))
    for name, options in _TCP_OPTIONS.items():
        talk = Conversation(bench, mode, version)
        forwarded(bench, talk.from_client("S", options=options), mode, f"a SYN with options '{name}'")
        if mode == "nat":
            talk.server, talk.sequence["client"] = 1, talk.sequence["client"] + 1
            answered(bench, talk.from_server("SA", options=options), f"a SYN-ACK with options '{name}'")
    assert net.version == version


@check(
    "{mode}:tcp-sack:ipv{version}",
    "timestamps and SACK blocks in segments of an established connection are kept, as are urgent pointer, window and reserved bits",
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


# -- checksums ---------------------------------------------------------------------------------------------------------------------------


@check(
    "{mode}:lengths:ipv{version}",
    "datagrams of every kind of length pass with right checksums: empty, odd, even, one below the MTU, and the MTU",
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
    # udp_dnat_handler and udp_snat_handler: the incremental update is for a checksum that is not 0; else "full checksum calculation".
    from scapy.layers.inet import UDP

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
    from scapy.layers.inet import UDP

    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    request = datagram(bench, version)
    request[UDP].chksum = 0
    seen = bench.from_client(request).one("inside", "a datagram without a checksum")
    must_equal(seen, _with_checksum(at_server(bench, request, mode, seen=seen), 0), "a datagram without a checksum")


@check(
    "nat:udp-checksum-ffff:ipv{version}",
    "a checksum that comes out as 0 is written as ffff, because 0 would mean none",
    tags=("forwarding", "ipv{version}", "checksum", "udp", "boundary"),
    each=_NAT,
)
def udp_checksum_ffff(bench: Bench, version: int) -> None:
    from scapy.layers.inet import UDP

    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    request = datagram(bench, version, b"\0\0")
    sum_now = at_server(bench, request, "nat")[UDP].chksum
    request[UDP].payload.load = sum_now.to_bytes(2, "big")
    expected = at_server(bench, request, "nat")
    must(expected[UDP].chksum == 0xFFFF, "the check is wrong: the datagram's checksum at the server is not ffff", repr(expected))
    must_equal(bench.from_client(request).one("inside", "the request"), expected, "a datagram whose sum is 0 at the server")


def _with_checksum(frame: Any, value: int, of: Any = None) -> Any:
    """The frame with the transport layer's checksum overwritten, nothing else recomputed."""
    from scapy.layers.inet import TCP, UDP
    from scapy.layers.l2 import Ether

    copy = frame.copy()
    layer = next(layer for layer in (TCP, UDP) if layer in copy)
    copy[layer].chksum = value
    return Ether(bytes(copy))


@check(
    "{mode}:wrong-checksum:ipv{version}-{protocol}",
    "a packet with a wrong checksum passes and its checksum is wrong by as much as before: the director does not mend it",
    tags=("forwarding", "ipv{version}", "checksum", "{protocol}"),
    each=[{**each, "protocol": protocol} for each in _MODES_VERSIONS for protocol in ("tcp", "udp") if each["mode"] != "tun"],
)
def wrong_checksum(bench: Bench, mode: str, version: int, protocol: str) -> None:
    # tcp_fast_csum_update, udp_fast_csum_update: what changes is added to the checksum, nothing is verified unless an application
    # helper (ftp) looks at the payload.
    from scapy.layers.inet import TCP, UDP

    layer, net = TCP if protocol == "tcp" else UDP, NETS[version]
    bench.service(mode, protocol=Protocol(protocol), version=version, weights=(1,))
    packet = bench.framed(
        net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT), ROUTER_MAC, ROUTER_MAC
    ).payload
    right = at_server(bench, packet, mode)[layer].chksum
    wrong_by = 0x1111
    packet[layer].chksum = _sum(packet[layer].chksum, wrong_by)
    seen = bench.from_client(packet).one("inside", "a packet with a wrong checksum")
    must_equal(seen, _with_checksum(at_server(bench, packet, mode), _sum(right, wrong_by)), "a packet with a wrong checksum")


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
    # sctp_dnat_handler calls sctp_nat_csum whenever the port changes; a CRC cannot be updated by the difference. The damage that the
    # sender's checksum would have shown is thereby hidden.
    from scapy.layers.sctp import SCTP

    net = NETS[version]
    bench.service("nat", protocol=Protocol.SCTP, version=version, weights=(1,))
    right = net.packet(bench.client(version), net.vip) / transport("sctp", SPORT, PORT)
    wrong = bench.framed(right, ROUTER_MAC, ROUTER_MAC).payload
    wrong[SCTP].chksum ^= 0x01010101
    seen = bench.from_client(wrong).one("inside", "an SCTP packet with a wrong checksum")
    must_equal(seen, at_server(bench, right, "nat"), "an SCTP packet with a wrong checksum")


@check(
    "{mode}:wrong-ip-checksum",
    "an IPv4 packet with a wrong header checksum is dropped, one with a wrong length too",
    tags=("forwarding", "ipv4", "checksum"),
    each=[{"mode": mode} for mode in MODES],
)
def wrong_ip_checksum(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    damaged = bench.framed(datagram(bench, 4), ROUTER_MAC, ROUTER_MAC).payload
    damaged.chksum ^= 1
    bench.from_client(damaged).nothing("a packet with a wrong header checksum")
    too_long = datagram(bench, 4, len=100)
    bench.from_client(too_long).nothing("a packet that is shorter than its header says")


# -- fragments -------------------------------------------------------------------------------------------------------------------------


@check(
    "{mode}:fragments:ipv{version}",
    "a datagram in three fragments, in any order, reaches one real server complete, in fragments again, translated as a whole",
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
        whole = datagram(bench, version, payload, client=client, **({"id": identification} if version == 4 else {}))
        pieces = fragments(whole, 1208, identification)
        seen = bench.from_client(*(pieces[at] for at in order))
        what = f"a datagram in fragments, order {order}"
        must(not seen.outside, f"{what}: something came back outside", *(frame.summary() for frame in seen.outside))
        if mode == "tun":
            _tunnelled_fragments(bench, whole, seen.inside, what)
        else:
            must_equal(reassembled(seen.inside, what), at_server(bench, whole, mode), what)


def _tunnelled_fragments(bench: Bench, whole: Any, frames: Sequence[Any], what: str) -> None:
    """The whole packet must be in the tunnel, whether the inner or the outer packet is in fragments."""
    net = NETS[whole.version]
    layer = ip_layer(whole.version)
    must(len(frames) > 1, f"{what}: fragments were expected inside", *(frame.summary() for frame in frames))
    must(all(frame.payload.dst == net.server(1) for frame in frames), f"{what}: not all go to real server 1", repr(frames))
    outer = reassembled(frames, what)
    must(layer in outer.payload.payload, f"{what}: no packet is in the tunnel", outer.summary())
    must_equal(outer, at_server(bench, whole, "tun", seen=outer), what)


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
    "a later fragment alone does not reach a real server: it has no ports; with the first one after it both do",
    tags=("forwarding", "ipv{version}", "fragments", "boundary"),
    each=_MODES_VERSIONS,
)
def lone_fragment(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    whole = datagram(bench, version, bytes(1000))
    first, later = fragments(whole, 512)[:2]
    bench.from_client(later).nothing("a later fragment alone")
    seen = bench.from_client(first)
    must(bool(seen.inside) and not seen.outside, "the completed datagram did not reach the real server")
