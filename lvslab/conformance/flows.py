"""Conversations through the director, played packet by packet: what a client and a real server
would say, with every sequence number right.

Also what the director must make of a packet: `at_server` and `at_client` are the frames that a real
server and a client must get, byte for byte. They restate what ip_vs_xmit.c and ip_vs_core.c of
Linux 6.1 do.
"""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, PORT, ROUTER_MAC, SERVER_PORT, SERVERS, server_mac
from lvslab.conformance.packets import changed, must_equal
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed

CLIENT_SEQ, SERVER_SEQ = 1000, 5_000_000
"""First sequence numbers of both sides."""


def ip_layer(version: int) -> type[Packet]:
    """scapy's class for the header of an IP version."""
    return IP if version == 4 else IPv6


def one_hop(packet: Packet) -> None:
    """Decrement the TTL or hop limit of an IP layer."""
    if packet.version == 4:
        packet.ttl -= 1
    else:
        packet.hlim -= 1


def outer_class(inner: int) -> int:
    """TOS or traffic class of a tunnel's outer header: the inner one, with ECT(0) for CE
    (INET_ECN_encapsulate, after RFC 3168).
    """
    return inner & ~1 if inner & 3 == 3 else inner


def server_number(bench: Bench, frame: Packet) -> int:
    """Which real server a frame on the inside wire is for: 1 to 8.

    Raises:
        CheckFailed: none of them.
    """
    for number in range(1, SERVERS + 1):
        if frame.dst == server_mac(number):
            return number
    raise CheckFailed("a frame inside goes to no real server", [frame.summary()])


def at_server(
    bench: Bench,
    sent: Packet,
    mode: str,
    number: int = 1,
    *,
    port: int = SERVER_PORT,
    seen: Packet | None = None,
) -> Packet:
    """The frame that a real server must get for a client's packet or frame.

    Args:
        sent: IP packet of the client to the VIP, or the frame with it.
        mode: nat, dr or tun (in tun with encapsulation ipip).
        port: the real server's, in nat.
        seen: in tun over IPv4 the frame that came: the identification of the outer header is taken
            from it, the kernel chooses it.
    """
    packet = sent.payload if isinstance(sent, Ether) else sent
    frame = bench.framed(packet, bench.inside.mac, server_mac(number))
    net = NETS[frame.payload.version]

    def forward(frame: Packet) -> None:
        one_hop(frame.payload)
        if mode == "nat":
            frame.payload.dst = net.server(number)
            for layer in (TCP, UDP):
                if layer in frame:
                    frame[layer].dport = port
            if frame.payload.payload.name == "SCTP":
                frame.payload.payload.dport = port

    frame = changed(frame, forward)
    if mode != "tun":
        return frame
    inner = frame.payload
    if net.version == 6:
        outer: Packet = IPv6(
            src=net.inner, dst=net.server(number), hlim=inner.hlim, tc=outer_class(inner.tc), nh=41
        )
    else:
        identification = seen[IP].id if seen is not None else 0
        outer = IP(
            src=net.inner,
            dst=net.server(number),
            ttl=inner.ttl,
            tos=outer_class(inner.tos),
            flags=int(inner.flags) & 2,
            id=identification,
        )
        outer.proto = 4
    return Ether(bytes(Ether(src=frame.src, dst=frame.dst) / outer / inner))


def at_client(bench: Bench, sent: Packet, *, port: int = PORT) -> Packet:
    """The frame that a client must get for a real server's packet or frame, in mode nat: the source
    is the VIP and its port.
    """
    packet = sent.payload if isinstance(sent, Ether) else sent
    frame = bench.framed(packet, bench.outside.mac, ROUTER_MAC)

    def forward(frame: Packet) -> None:
        one_hop(frame.payload)
        frame.payload.src = NETS[frame.payload.version].vip
        for layer in (TCP, UDP):
            if layer in frame:
                frame[layer].sport = port
        if frame.payload.payload.name == "SCTP":
            frame.payload.payload.sport = port

    return changed(frame, forward)


class Conversation:
    """One TCP connection through the director.

    The methods send the packet, judge byte for byte what comes out of the director, keep the
    sequence numbers of both sides and return the frame that came out. In dr and tun a reply does
    not pass the director: the numbers move on, nothing is sent, None is returned.

    Attributes:
        client, sport, vip, port: its four ends as the client sees them.
        server: number of the real server that got the SYN; 0 before.
        sequence: next sequence number of "client" and "server".
    """

    def __init__(
        self,
        bench: Bench,
        mode: str = "nat",
        version: int = 4,
        sport: int = 40000,
        *,
        client: str = "",
        vip: str = "",
        port: int = PORT,
        server_port: int = 0,
    ) -> None:
        """Prepare it; no packet is sent.

        Args:
            mode: of the service: nat, dr or tun.
            client: an address; a new one when left out. vip, server_port: the bench's own, port
                8080 in nat, when left out.
        """
        self.bench, self.mode, self.net = bench, mode, NETS[version]
        self.client, self.vip = client or bench.client(version), vip or self.net.vip
        self.sport, self.port, self.server_port = (
            sport,
            port,
            server_port or (SERVER_PORT if mode == "nat" else port),
        )
        self.server = 0
        self.sequence = {"client": CLIENT_SEQ, "server": SERVER_SEQ}

    def from_client(self, flags: str, data: bytes = b"", **fields: Any) -> Packet:
        """The client's next segment as an IP packet, not sent; `fields` of TCP."""
        ack = self.sequence["server"] if "A" in flags else 0
        header = {
            "sport": self.sport,
            "dport": self.port,
            "flags": flags,
            "seq": self.sequence["client"],
            "ack": ack,
            **fields,
        }
        packet = self.net.packet(self.client, self.vip) / TCP(**header)
        return packet / data if data else packet

    def from_server(self, flags: str, data: bytes = b"", **fields: Any) -> Packet:
        """The real server's next segment as an IP packet, as the server of the mode sends it; not
        sent.
        """
        ack = self.sequence["client"] if "A" in flags else 0
        header = {
            "sport": self.server_port,
            "dport": self.sport,
            "flags": flags,
            "seq": self.sequence["server"],
            "ack": ack,
            **fields,
        }
        source = self.net.server(self.server) if self.mode == "nat" else self.vip
        packet = self.net.packet(source, self.client) / TCP(**header)
        return packet / data if data else packet

    def send(self, side: str, flags: str, data: bytes = b"", **fields: Any) -> Seen:
        """Send a segment of the "client" or the "server", whatever the mode; sequence numbers move
        on; nothing is judged.
        """
        packet = (self.from_client if side == "client" else self.from_server)(flags, data, **fields)
        self._advance(side, flags, data)
        return (
            self.bench.from_client(packet)
            if side == "client"
            else self.bench.from_server(self.server, packet)
        )

    def syn(self) -> Packet:
        """The client's SYN; the frame at the real server. `server` is the one that got it."""
        packet = self.from_client("S", options=[("MSS", 1460)])
        frame = self.bench.from_client(packet).one("inside", "the client's SYN")
        self.server = server_number(self.bench, frame)
        self._advance("client", "S")
        must_equal(frame, self._at_server(packet, frame), "the client's SYN at the real server")
        return frame

    def syn_ack(self) -> Packet | None:
        """The server's SYN-ACK."""
        return self._from_server("SA", options=[("MSS", 1460)])

    def establish(self) -> Conversation:
        """The whole handshake."""
        self.syn()
        self.syn_ack()
        self._from_client("A")
        return self

    def request(self, data: bytes = b"GET /\r\n\r\n") -> Packet:
        """Data of the client."""
        return self._from_client("PA", data)

    def reply(self, data: bytes = b"HTTP/1.0 200 OK\r\n\r\n") -> Packet | None:
        """Data of the server."""
        return self._from_server("PA", data)

    def ack(self, side: str = "client") -> Packet | None:
        """A bare acknowledgement of "client" or "server"."""
        return self._from(side, "A")

    def fin(self, side: str = "client") -> Packet | None:
        """The FIN of "client" or "server"."""
        return self._from(side, "FA")

    def rst(self, side: str = "client") -> Packet | None:
        """A RST of "client" or "server"."""
        return self._from(side, "R")

    def close(self) -> None:
        """Both FINs, the client's first, and the last acknowledgement."""
        self.fin()
        self.fin("server")
        self.ack()

    def _from(self, side: str, flags: str) -> Packet | None:
        return self._from_client(flags) if side == "client" else self._from_server(flags)

    def _from_client(self, flags: str, data: bytes = b"") -> Packet:
        packet = self.from_client(flags, data)
        self._advance("client", flags, data)
        frame = self.bench.from_client(packet).one("inside", f"the client's {flags}")
        must_equal(
            frame, self._at_server(packet, frame), f"the client's {flags} at real server {self.server}"
        )
        return frame

    def _from_server(self, flags: str, data: bytes = b"", **fields: Any) -> Packet | None:
        packet = self.from_server(flags, data, **fields)
        self._advance("server", flags, data)
        if self.mode != "nat":
            return None
        frame = self.bench.from_server(self.server, packet).one("outside", f"the real server's {flags}")
        expected = at_client(self.bench, packet, port=self.port)
        if self.vip != self.net.vip:
            expected = changed(expected, lambda frame: setattr(frame.payload, "src", self.vip))
        must_equal(frame, expected, f"the real server's {flags} at the client")
        return frame

    def _at_server(self, packet: Packet, frame: Packet) -> Packet:
        return at_server(self.bench, packet, self.mode, self.server, port=self.server_port, seen=frame)

    def _advance(self, side: str, flags: str, data: bytes = b"") -> None:
        self.sequence[side] = (self.sequence[side] + len(data) + ("S" in flags) + ("F" in flags)) % 2**32
