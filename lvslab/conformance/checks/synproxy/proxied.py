"""The proxy composed, and a client's connection through it with every number in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from lvslab.conformance.addresses import PORT, ROUTER_MAC, SERVER_PORT, V4, server_mac
from lvslab.conformance.director import print_file
from lvslab.conformance.flows import at_server
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.kernels.needs import Need

SPORT = 40000
CLIENT_ISN, SERVER_ISN = 1000, 3_000_000_000
CLIENT_WINDOW, SERVER_WINDOW = 4000, 28960
PROXY_SCALE, PROXY_MSS = 7, 1460
NEEDS = (Need.SYNPROXY,)
_COUNTERS = ("entries", "syn_received", "cookie_invalid", "cookie_valid", "cookie_retrans", "conn_reopened")


def compose(bench: Bench, *, rules: bool = True) -> None:
    """Service, parameters and rules that make a SYN proxy of NAT; without `rules` NAT alone."""
    bench.service("nat", weights=(1,))
    bench.sysctl("net.ipv4.vs.conntrack", 1)
    bench.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    if rules:
        match = f"-d {V4.vip} -p tcp --dport {PORT}"
        bench.rules(
            f"-t raw -A PREROUTING {match} --syn -j CT --notrack",
            f"-A INPUT {match} -m state --state INVALID,UNTRACKED "
            f"-j SYNPROXY --sack-perm --timestamp --wscale {PROXY_SCALE} --mss {PROXY_MSS}",
            f"-A INPUT -d {V4.vip} -p tcp -m state --state INVALID -j DROP",
        )


def counters(bench: Bench) -> dict[str, int]:
    """The proxy's counters, over all processors."""
    out = bench.run(print_file("/proc/net/stat/synproxy"))
    rows = [[int(word, 16) for word in line.split()] for line in out.splitlines()[1:]]
    return dict(zip(_COUNTERS, map(sum, zip(*rows, strict=True)), strict=True))


_FULL: tuple[tuple[str, Any], ...] = (
    ("MSS", 1460),
    ("SAckOK", b""),
    ("Timestamp", (7777, 0)),
    ("NOP", None),
    ("WScale", 5),
)


class Proxied:
    """One client's connection through the proxy, and the real server's end of it.

    Attributes:
        isn: the cookie, first sequence number that the client sees; stamp: the time stamp that came
            with it.
        next: next sequence number of "client" and of "server", each as it counts itself.
    """

    def __init__(
        self, bench: Bench, options: Sequence[tuple[str, Any]] = _FULL, client: str = "", sport: int = SPORT
    ) -> None:
        self.bench, self.options, self.sport = bench, list(options), sport
        self.client = client or bench.client()
        self.isn = self.stamp = 0
        self.stamps = any(name == "Timestamp" for name, _ in options)
        self.server_stamp = 900_000
        self.client_stamp = 7777
        self.next = {"client": CLIENT_ISN + 1, "server": SERVER_ISN + 1}

    def segment(self, flags: str, data: bytes = b"", **fields: Any) -> Packet:
        """The client's next segment, its acknowledgement in the proxy's numbers; not sent."""
        ack = (self.next["server"] - SERVER_ISN + self.isn) % 2**32
        values = {
            "flags": flags,
            "seq": self.next["client"],
            "ack": ack,
            "window": CLIENT_WINDOW,
            "options": self._stamp_option(),
        }
        packet = V4.packet(self.client, V4.vip) / TCP(sport=self.sport, dport=PORT, **{**values, **fields})
        return packet / data if data else packet

    def server_segment(self, flags: str, data: bytes = b"", **fields: Any) -> Packet:
        """The real server's next segment, in its own numbers; not sent."""
        options = (
            [("NOP", None), ("NOP", None), ("Timestamp", (self.server_stamp, self.client_stamp))]
            if self.stamps
            else []
        )
        values = {
            "flags": flags,
            "seq": self.next["server"],
            "ack": self.next["client"],
            "window": 500,
            "options": options,
        }
        packet = V4.packet(V4.server(1), self.client) / TCP(
            sport=SERVER_PORT, dport=self.sport, **{**values, **fields}
        )
        return packet / data if data else packet

    def _stamp_option(self) -> list[tuple[str, Any]]:
        return (
            [("NOP", None), ("NOP", None), ("Timestamp", (self.client_stamp, self.stamp))]
            if self.stamps
            else []
        )

    def syn_packet(self) -> Packet:
        """The client's SYN; not sent."""
        return self.segment("S", seq=CLIENT_ISN, ack=0, options=self.options, window=64000)

    def syn(self) -> Packet:
        """The client's SYN; the proxy's SYN-ACK as it came, with its cookie and time stamp
        noted.
        """
        frame = self.bench.from_client(self.syn_packet()).one("outside", "the client's SYN")
        must(str(frame[TCP].flags) == "SA", f"the SYN is answered with {frame.summary()}")
        self.isn = frame[TCP].seq
        stamps = dict(frame[TCP].options).get("Timestamp")
        self.stamp = stamps[0] if stamps else 0
        return frame

    def ack(self, data: bytes = b"", **fields: Any) -> Seen:
        """The ACK that brings the cookie back."""
        return self.bench.from_client(self.segment("PA" if data else "A", data, **fields))

    def server_syn_ack(self, window: int = SERVER_WINDOW) -> Seen:
        """The real server's answer to the proxy's SYN."""
        stamp = (
            [("SAckOK", b""), ("Timestamp", (self.server_stamp, self.client_stamp))] if self.stamps else []
        )
        scale = [("NOP", None), ("WScale", PROXY_SCALE)] if self.stamps else []
        options = [("MSS", 1460), *stamp, *scale]
        return self.bench.from_server(
            1, self.server_segment("SA", seq=SERVER_ISN, options=options, window=window)
        )

    def establish(self) -> Proxied:
        """All six packets.

        Raises:
            CheckFailed: one does not come.
        """
        self.syn()
        self.ack().one("inside", "the ACK with the cookie")
        seen = self.server_syn_ack()
        must(
            len(seen.inside) == len(seen.outside) == 1,
            "the server's SYN-ACK does not lead to one ACK on either side",
            *seen.summaries(),
        )
        return self

    # -- what must come out ------------------------------------------------------------------------

    def at_server(self, sent: Packet) -> Packet:
        """The frame that the real server must get for a segment of the client: acknowledgements in
        its own numbers and time stamps.
        """

        def translate(frame: Packet) -> None:
            frame[TCP].ack = (frame[TCP].ack - self.isn + SERVER_ISN) % 2**32
            frame[TCP].options = [self._translated(each, inbound=True) for each in frame[TCP].options]

        return changed(at_server(self.bench, sent, "nat"), translate)

    def at_client(self, sent: Packet) -> Packet:
        """The frame that the client must get for a segment of the real server."""

        def translate(frame: Packet) -> None:
            frame.payload.ttl -= 1
            frame.payload.src, frame[TCP].sport = V4.vip, PORT
            frame[TCP].seq = (frame[TCP].seq - SERVER_ISN + self.isn) % 2**32
            frame[TCP].options = [self._translated(each, inbound=False) for each in frame[TCP].options]

        return changed(self.bench.framed(sent, self.bench.outside.mac, ROUTER_MAC), translate)

    def must_pass(self, side: str, packet: Packet, what: str) -> None:
        """Send a segment of the "client" or the "server", made by `segment` or `server_segment`; it
        must reach the other side, translated.
        """
        if side == "client":
            seen = self.bench.from_client(packet).one("inside", what)
            must_equal(seen, self.at_server(packet), f"{what} at the server")
        else:
            seen = self.bench.from_server(1, packet).one("outside", what)
            must_equal(seen, self.at_client(packet), f"{what} at the client")

    def _translated(self, option: tuple[str, Any], inbound: bool) -> tuple[str, Any]:
        name, value = option
        offset = self.server_stamp - self.stamp  # the server's clock against the proxy's
        if name == "Timestamp":
            return name, (
                (value[0], (value[1] + offset) % 2**32)
                if inbound
                else (
                    (value[0] - offset) % 2**32,
                    value[1],
                )
            )
        if name == "SAck" and inbound:
            return name, tuple((edge - self.isn + SERVER_ISN) % 2**32 for edge in value)
        return option

    def made(self, inside: bool, **fields: Any) -> Packet:
        """A frame that the proxy makes itself: identification 0, DF, TTL 64, from which IPVS takes
        one off on the way to the server.
        """
        ends = (
            (self.client, V4.server(1), self.sport, SERVER_PORT)
            if inside
            else (V4.vip, self.client, PORT, self.sport)
        )
        macs = (self.bench.inside.mac, server_mac(1)) if inside else (self.bench.outside.mac, ROUTER_MAC)
        header = IP(src=ends[0], dst=ends[1], id=0, flags="DF", ttl=63 if inside else 64)
        return Ether(
            bytes(Ether(src=macs[0], dst=macs[1]) / header / TCP(sport=ends[2], dport=ends[3], **fields))
        )
