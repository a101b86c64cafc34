"""Flows crafted packet by packet with scapy: a TCP conversation, a UDP datagram and its answer, an
ICMP echo.

A `CraftedHost` is an IP host made of one packet socket in a client's namespace: it has an address
of its own, which the client's kernel does not know and therefore never answers for, and it answers
ARP requests for it. Every packet is written and read as a scapy packet.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Padding

from lvslab.host import linux

ANSWER_TIMEOUT = 1.0
"""Seconds to wait for an answer before a packet is sent again."""

TRIES = 2
_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_MAX_SEGMENTS = 1000


@dataclass
class Exchange:
    """What came of a crafted flow.

    Attributes:
        answer: payload that came back.
        error: why the flow failed, in one line; None when it succeeded.
        packets: scapy packets in order, each with its direction ("sent" or "received").
    """

    source: tuple[str, int]
    answer: bytes = b""
    error: str | None = None
    packets: list[tuple[str, Packet]] = field(default_factory=list)


class CraftedHost:
    """An IP host that lives on a client's network interface, as a context manager."""

    def __init__(self, node_pid: int, interface: str, mac: str, address: str) -> None:
        """
        Args:
            node_pid: process whose network namespace has the interface.
            interface, mac: the client's interface and its MAC address, which this host shares.
            address: IP address of this host; nobody else's.
        """
        self.address, self.mac = address, mac
        with linux.network_of(node_pid):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._socket.bind((interface, _ETH_P_ALL))
        self._number = random.randrange(1 << 16)

    def __enter__(self) -> CraftedHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    # -- packets -----------------------------------------------------------------------------------

    def send(self, packet: Packet) -> None:
        """Send a scapy frame."""
        self._socket.send(bytes(packet))

    def receive(self, wanted: Callable[[Packet], bool], timeout: float) -> Packet | None:
        """The next received frame that is wanted, or None after `timeout` seconds; answers ARP
        requests for this host meanwhile.
        """
        deadline = time.monotonic() + timeout
        while (rest := deadline - time.monotonic()) > 0:
            self._socket.settimeout(rest)
            try:
                raw, address = self._socket.recvfrom(65536)
            except TimeoutError:
                return None
            if address[2] == _PACKET_OUTGOING:
                continue
            frame = Ether(raw)
            self._answer_arp(frame)
            if wanted(frame):
                return frame
        return None

    def _answer_arp(self, frame: Packet) -> None:
        if ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst == self.address:
            reply = ARP(op=2, hwsrc=self.mac, psrc=self.address, hwdst=frame[ARP].hwsrc, pdst=frame[ARP].psrc)
            self.send(Ether(src=self.mac, dst=frame.src) / reply)

    def resolve(self, address: str) -> str | None:
        """MAC address of a neighbour by ARP, or None if nobody answers."""
        question = Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=1, hwsrc=self.mac, psrc=self.address, hwdst="00:00:00:00:00:00", pdst=address
        )
        for _ in range(TRIES):
            self.send(question)
            reply = self.receive(
                lambda frame: ARP in frame and frame[ARP].op == 2 and frame[ARP].psrc == address,
                ANSWER_TIMEOUT,
            )
            if reply is not None:
                return str(reply[ARP].hwsrc)
        return None

    def _ip(self, mac: str, destination: str) -> Packet:
        self._number = (self._number + 1) % (1 << 16)
        return Ether(src=self.mac, dst=mac) / IP(
            src=self.address, dst=destination, id=self._number, flags="DF"
        )

    # -- flows -------------------------------------------------------------------------------------

    def tcp(self, destination: str, port: int, source_port: int, request: bytes) -> Exchange:
        """A whole TCP conversation: handshake, request, answer, the server's FIN and ours."""
        exchange = Exchange((self.address, source_port))
        mac = self.resolve(destination)
        if mac is None:
            exchange.error = f"nobody answers ARP for {destination}"
            return exchange
        _TcpConversation(self, exchange, mac, destination, port).run(request)
        return exchange

    def udp(self, destination: str, port: int, source_port: int, payload: bytes) -> Exchange:
        """One datagram and its answer."""
        exchange = Exchange((self.address, source_port))
        mac = self.resolve(destination)
        if mac is None:
            exchange.error = f"nobody answers ARP for {destination}"
            return exchange

        def mine(frame: Packet) -> bool:
            if ICMP in frame and frame[IP].dst == self.address and frame[ICMP].type == 3:
                return True
            return UDP in frame and frame[IP].dst == self.address and frame[UDP].dport == source_port

        self._ask(exchange, self._ip(mac, destination) / UDP(sport=source_port, dport=port) / payload, mine)
        reply = exchange.packets[-1][1]
        if exchange.error is None and UDP in reply and ICMP not in reply:
            exchange.answer = bytes(reply[UDP].payload)
        elif exchange.error is None:
            exchange.error = reply.sprintf("ICMP %ICMP.type% %ICMP.code% from %IP.src%")
        return exchange

    def ping(self, destination: str, identifier: int) -> Exchange:
        """One ICMP echo request and its reply."""
        exchange = Exchange((self.address, identifier))
        mac = self.resolve(destination)
        if mac is None:
            exchange.error = f"nobody answers ARP for {destination}"
            return exchange
        request = self._ip(mac, destination) / ICMP(type=8, id=identifier, seq=1) / b"lvslab echo"
        self._ask(
            exchange,
            request,
            lambda frame: (
                ICMP in frame
                and frame[IP].dst == self.address
                and frame[ICMP].type == 0
                and frame[ICMP].id == identifier
            ),
        )
        if exchange.error is None:
            exchange.answer = bytes(exchange.packets[-1][1][ICMP].payload)
        return exchange

    def _ask(self, exchange: Exchange, packet: Packet, wanted: Callable[[Packet], bool]) -> None:
        for _ in range(TRIES):
            exchange.packets.append(("sent", packet))
            self.send(packet)
            reply = self.receive(wanted, ANSWER_TIMEOUT)
            if reply is not None:
                exchange.packets.append(("received", reply))
                return
        exchange.error = f"no answer within {TRIES * ANSWER_TIMEOUT:g} s"


class _TcpConversation:
    """The client's side of one TCP connection (RFC 9293), without congestion control: it asks once
    and reads one answer.
    """

    def __init__(self, host: CraftedHost, exchange: Exchange, mac: str, destination: str, port: int) -> None:
        self._host, self._exchange, self._mac, self._destination, self._port = (
            host,
            exchange,
            mac,
            destination,
            port,
        )
        self._seq = random.randrange(1 << 32)
        self._ack = 0
        self._peer_stamp = 0

    def run(self, request: bytes) -> None:
        answer = self._until(
            "S",
            b"",
            lambda tcp: (
                bool(tcp.flags.R)
                or (tcp.flags.value & 0x12 == 0x12 and tcp.ack == (self._seq + 1) % (1 << 32))
            ),
        )
        if answer is None:
            return self._failed("no SYN-ACK")
        if answer.flags.R:
            return self._failed("connection refused (RST)")
        self._seq = (self._seq + 1) % (1 << 32)
        self._ack = (answer.seq + 1) % (1 << 32)
        self._transmit("A", b"")
        # a SYN proxy holds the client back until the real server has answered
        if answer.window == 0:
            opened = self._next(
                lambda tcp: bool(tcp.flags.R) or (bool(tcp.flags.A) and tcp.window > 0 and not tcp.flags.S)
            )
            if opened is None or opened.flags.R:
                return self._failed("the window announced in the SYN-ACK was 0 and never opened")
        first = self._until(
            "PA", request, lambda tcp: bool(tcp.flags.R) or len(tcp.payload) > 0 or bool(tcp.flags.F)
        )
        if first is None:
            return self._failed("no answer to the request")
        self._seq = (self._seq + len(request)) % (1 << 32)
        segment: Packet | None = first
        for _ in range(_MAX_SEGMENTS):
            if segment is None:
                return self._failed("the server did not close the connection")
            if segment.flags.R:
                return self._failed("connection reset (RST)")
            if segment.seq == self._ack:  # what comes twice is acknowledged and passed over
                data = bytes(segment.payload)
                self._exchange.answer += data
                self._ack = (self._ack + len(data) + bool(segment.flags.F)) % (1 << 32)
                if segment.flags.F:
                    break
            self._transmit("A", b"")
            segment = self._next(lambda tcp: bool(tcp.flags.R) or len(tcp.payload) > 0 or bool(tcp.flags.F))
        last = self._until(
            "FA", b"", lambda tcp: bool(tcp.flags.A) and tcp.ack == (self._seq + 1) % (1 << 32)
        )
        if last is None:
            self._failed("our FIN was not acknowledged")

    def _failed(self, why: str) -> None:
        self._exchange.error = why

    def _until(self, flags: str, payload: bytes, wanted: Callable[[Packet], bool]) -> Packet | None:
        """Send a segment, again if need be, until a wanted one comes back."""
        for _ in range(TRIES):
            self._transmit(flags, payload)
            answer = self._next(wanted)
            if answer is not None:
                return answer
        return None

    def _transmit(self, flags: str, payload: bytes) -> None:
        stamp = ("Timestamp", (time.monotonic_ns() // 1_000_000 % (1 << 32), self._peer_stamp))
        options: list[Any] = [stamp]
        if flags == "S":
            options = [("MSS", 1460), ("SAckOK", b""), stamp, ("NOP", None), ("WScale", 7)]
        packet = self._host._ip(self._mac, self._destination) / TCP(
            sport=self._exchange.source[1],
            dport=self._port,
            seq=self._seq,
            ack=self._ack,
            flags=flags,
            window=64240,
            options=options,
        )
        packet = packet / payload if payload else packet
        self._exchange.packets.append(("sent", packet))
        self._host.send(packet)

    def _next(self, wanted: Callable[[Packet], bool]) -> Packet | None:
        """The next wanted segment of this connection, as scapy's TCP layer."""

        def mine(frame: Packet) -> bool:
            if TCP not in frame or frame[IP].src != self._destination or frame[IP].dst != self._host.address:
                return False
            tcp = frame[TCP]
            if (tcp.sport, tcp.dport) != (self._port, self._exchange.source[1]):
                return False
            if Padding in tcp:
                tcp[Padding].underlayer.remove_payload()
            self._peer_stamp = next(
                (value[0] for kind, value in tcp.options if kind == "Timestamp"), self._peer_stamp
            )
            self._exchange.packets.append(("received", frame))
            return wanted(tcp)

        frame = self._host.receive(mine, ANSWER_TIMEOUT)
        return None if frame is None else frame[TCP]
