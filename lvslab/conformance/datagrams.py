"""Single packets through the director: requests and answers, fragments, ICMP errors, and how what
comes out is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit, SCTPChunkInitAck
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, PORT, SERVER_PORT
from lvslab.conformance.flows import at_client, at_server, ip_layer, one_hop
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed

SPORT = 40000
"""Every client's port."""


def transport(protocol: str, sport: int, dport: int, payload: bytes = b"") -> Packet:
    """The first packet of a conversation: a SYN, a datagram, an INIT chunk."""
    if protocol == "tcp":
        return TCP(sport=sport, dport=dport, seq=1000, flags="S", options=[("MSS", 1460)])
    if protocol == "sctp":
        return SCTP(sport=sport, dport=dport, tag=0) / SCTPChunkInit(
            init_tag=0x1234, n_in_streams=3, n_out_streams=3, init_tsn=7
        )
    return UDP(sport=sport, dport=dport) / (payload or b"lvslab")


def answer(protocol: str, sport: int, dport: int, payload: bytes = b"") -> Packet:
    """A real server's first packet: a SYN-ACK, a datagram, an INIT-ACK chunk."""
    if protocol == "tcp":
        return TCP(sport=sport, dport=dport, seq=5000, ack=1001, flags="SA", options=[("MSS", 1460)])
    if protocol == "sctp":
        return SCTP(sport=sport, dport=dport, tag=0x1234) / SCTPChunkInitAck(init_tag=0x4321, init_tsn=9)
    return UDP(sport=sport, dport=dport) / (payload or b"answer")


def must_forward(bench: Bench, packet: Packet, mode: str, what: str, number: int = 1) -> Packet:
    """A client's packet must reach the real server as the mode has it, byte for byte; that frame.

    Raises:
        CheckFailed: it does not.
    """
    seen = bench.from_client(packet).one("inside", what)
    must_equal(seen, at_server(bench, packet, mode, number, seen=seen), what)
    return seen


def must_answer(bench: Bench, packet: Packet, what: str, number: int = 1) -> Packet:
    """A real server's packet must reach the client as mode nat has it, byte for byte; that frame.

    Raises:
        CheckFailed: it does not.
    """
    seen = bench.from_server(number, packet).one("outside", what)
    must_equal(seen, at_client(bench, packet), what)
    return seen


def datagram(
    bench: Bench, version: int, payload: bytes = b"lvslab", client: str = "", **fields: Any
) -> Packet:
    """A datagram of a client to the VIP, of a new client when none is given; `fields` of the IP
    header.
    """
    net = NETS[version]
    return (
        net.packet(client or bench.client(version), net.vip, **fields)
        / UDP(sport=SPORT, dport=PORT)
        / payload
    )


def answer_to(request: Packet, payload: bytes = b"answer", number: int = 1, **fields: Any) -> Packet:
    """What the real server of mode nat answers to a client's datagram."""
    net = NETS[request.version]
    return (
        net.packet(net.server(number), request.src, **fields)
        / UDP(sport=SERVER_PORT, dport=request[UDP].sport)
        / payload
    )


def field(name: str, value: Any) -> dict[str, Any]:
    """One field of a header, as keyword arguments."""
    return {name: value}


def routed(bench: Bench, packet: Packet, side: str, mac: str) -> Packet:
    """The frame that a plain router makes of a packet: one hop less, nothing else; it goes to `mac`
    on the wire `side`.
    """
    wire = bench.inside if side == "inside" else bench.outside
    return changed(bench.framed(packet, wire.mac, mac), lambda frame: one_hop(frame.payload))


def is_error(frame: Packet, version: int, kind: int, code: int, what: str) -> None:
    """The frame must carry this ICMP error.

    Raises:
        CheckFailed: it is something else.
    """
    packet = frame.payload
    if version == 4 and ICMP in packet:
        found = (packet[ICMP].type, packet[ICMP].code)
    else:
        found = (
            (getattr(packet.payload, "type", -1), getattr(packet.payload, "code", -1))
            if version == 6
            else (-1, -1)
        )
    if found != (kind, code) or ip_layer(version) not in frame:
        raise CheckFailed(f"{what}: ICMP type {kind} code {code} was expected", [f"seen: {frame.summary()}"])


def quoted(frame: Packet) -> bytes:
    """The packet that an ICMP error quotes."""
    packet = frame.payload
    return bytes(packet)[(packet.ihl * 4 if packet.version == 4 else 40) + 8 :]


def reassembled(frames: Sequence[Packet], what: str) -> Packet:
    """The frame that the fragments make up, without a fragment header.

    Raises:
        CheckFailed: pieces are missing or overlap, they are not of one packet, or one is longer
            than 1500 bytes.
    """
    pieces = []
    for frame in frames:
        packet = frame.payload
        if packet.version == 4:
            pieces.append((packet.frag * 8, bool(packet.flags & 1), bytes(packet.payload), packet.id, frame))
        elif IPv6ExtHdrFragment in packet:
            header = packet[IPv6ExtHdrFragment]
            pieces.append((header.offset * 8, bool(header.m), bytes(header.payload), header.id, frame))
        else:
            raise CheckFailed(f"{what}: fragments were expected", [piece.summary() for piece in frames])
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
    return Ether(bytes(Ether(src=first.src, dst=first.dst) / header / data))


def fragments(packet: Packet, size: int, identification: int = 0x4242) -> list[Packet]:
    """A packet cut into fragments with `size` bytes of payload each, a multiple of 8."""
    whole = type(packet)(bytes(packet))
    data, header = bytes(whole.payload), whole.copy()
    header.remove_payload()
    cut = []
    for offset in range(0, len(data), size):
        part, more = data[offset : offset + size], offset + size < len(data)
        piece = header.copy()
        if piece.version == 4:
            piece.id, piece.flags, piece.frag, piece.len, piece.chksum = (
                identification,
                int(more),
                offset // 8,
                None,
                None,
            )
        else:
            piece.plen = None
            piece.nh = 44
            piece = piece / IPv6ExtHdrFragment(
                nh=whole.nh, offset=offset // 8, m=int(more), id=identification
            )
        cut.append(type(packet)(bytes(piece / part)))
    return cut


def too_big(frame: Packet, sent: Packet, mtu: int, what: str, hops: int = 0) -> None:
    """The frame must tell the sender of a packet that it is too long, with this next-hop MTU.

    Args:
        hops: by how much the quoted TTL is below the packet's; IPVS counts its hop before it looks
            at the length.
    """
    version = sent.version
    is_error(frame, version, *((3, 4) if version == 4 else (2, 0)), what)
    packet = frame.payload
    seen = packet.payload.nexthopmtu if version == 4 else packet.payload.mtu
    must(seen == mtu, f"{what}: the MTU in it should be {mtu}, it is {seen}", frame.summary())
    must(packet.dst == sent.src, f"{what}: it does not go to the sender, {sent.src}", frame.summary())
    arrived = type(sent)(bytes(sent))
    for _ in range(hops):
        one_hop(arrived)
    whole = bytes(changed(arrived, lambda packet: None))
    quote = quoted(frame)
    must(
        len(quote) >= 28 and whole.startswith(quote),
        f"{what}: it does not quote the packet as it came",
        frame.summary(),
    )


def narrow(bench: Bench, destination: str, side: str, mtu: int) -> None:
    """Give the director a route to an address with a smaller MTU, until the end of the check."""
    device = bench.lab.plan.director.interfaces[0 if side == "outside" else 1].name
    family, bits = ("-6", 128) if ":" in destination else ("-4", 32)
    via = f"via {NETS[6 if ':' in destination else 4].router} " if side == "outside" else ""
    # IPv6 obeys a route's MTU in forwarding only where it is locked (ip6_dst_mtu_maybe_forward);
    # else the packet goes on, and ip6_fragment finds it too long after IPVS has changed it.
    lock = "lock " if ":" in destination else ""
    route = f"ip {family} route add {destination}/{bits} {via}dev {device} mtu {lock}{mtu}"
    bench.apply(route, f"ip {family} route del {destination}/{bits}")


def expect_refused(bench: Bench, packet: Packet, what: str) -> None:
    """The director itself must refuse a packet of a client: TCP with a RST, the rest with ICMP port
    unreachable, from where it went to.
    """
    frame = bench.from_client(packet).one("outside", what)
    answer = frame.payload
    if TCP in packet:
        reset = TCP in answer and "R" in str(answer[TCP].flags) and answer[TCP].sport == packet[TCP].dport
        must(reset, f"{what}: a RST was expected", frame.summary())
    else:
        is_error(frame, packet.version, *((3, 3) if packet.version == 4 else (1, 4)), what)
        must(quoted(frame) == bytes(packet), f"{what}: the error does not quote the packet", frame.summary())
    must(
        answer.dst == packet.src and answer.src == packet.dst,
        f"{what}: the answer's addresses are wrong",
        frame.summary(),
    )
