"""Both ends of connection sync as a check plays them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, PORT, SERVER_PORT, V4, server_mac
from lvslab.conformance.entries import agreed
from lvslab.conformance.flows import CLIENT_SEQ, SERVER_SEQ
from lvslab.conformance.packets import must
from lvslab.conformance.seen import Logged, Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.ipvs.listings import Connection
from lvslab.runs.words import plural
from lvslab.traffic.layers.sync.entries import SyncConnV0, SyncConnV4, SyncConnV6
from lvslab.traffic.layers.sync.messages import SyncMessage, SyncMessageV0, decode
from lvslab.traffic.layers.sync.words import SYNC_GROUP, SYNC_PORT, ConnFlag, Forwarding

SYNC_ID = 7


SPORT = 40000


PEER = "10.0.1.250"
"""The other director, on the inside wire."""


MARK_PORT = 9


ANSWER_SECONDS = 30.0
"""A message that must come is awaited for so long: far longer than it takes, because the machine
may be busy.
"""

_LOOKS = 200
"""At a director's table, at most, until a message has been taken in."""


# IPVS_SYNC_FLUSH_TIME; the buffer is looked at once a second (IPVS_SYNC_CHECK_PERIOD)
FLUSH_SECONDS = 2.0


STATES = {
    "NONE": 0,
    "ESTABLISHED": 1,
    "SYN_SENT": 2,
    "SYN_RECV": 3,
    "FIN_WAIT": 4,
    "TIME_WAIT": 5,
    "CLOSE": 6,
    "CLOSE_WAIT": 7,
    "LAST_ACK": 8,
    "LISTEN": 9,
    "SYNACK": 10,
}


_TIMEOUTS = {"ESTABLISHED": 900, "FIN_WAIT": 120, "TIME_WAIT": 120, "CLOSE": 10, "CLOSE_WAIT": 60}
"""Seconds, tcp_timeouts in ip_vs_proto_tcp.c."""


FLAGS = {
    "nat": int(Forwarding.MASQ),
    "dr": Forwarding.DROUTE | ConnFlag.NOOUTPUT,
    "tun": Forwarding.TUNNEL | ConnFlag.NOOUTPUT,
}
"""Of an active connection (__ip_vs_update_dest and ip_vs_bind_dest): only in NAT do replies pass
the director.
"""


class Master:
    """A running master daemon, and what it has said so far.

    Attributes:
        frames: datagrams that have not been looked at yet.
    """

    def __init__(
        self,
        bench: Bench,
        *,
        version: int = 1,
        syncid: int = SYNC_ID,
        maxlen: int = 1,
        threshold: tuple[int, int] = (3, 50),
        group: str = SYNC_GROUP,
        ports: Sequence[int] = (SYNC_PORT,),
        options: str = "",
    ) -> None:
        """Start it.

        Args:
            version: of the datagrams.
            maxlen: bytes of a datagram, 0 for the default.
            threshold: net.ipv4.vs.sync_threshold.
            options: further words of ipvsadm --start-daemon.
        """
        self.bench, self._group, self._ports = bench, group, ports
        self.frames: list[Packet] = []
        self._per_mark = threshold[0] or threshold[1]
        self._marks: set[str] = set()
        if version != 1:
            bench.sysctl("net.ipv4.vs.sync_version", version)
        if threshold != (3, 50):
            bench.sysctl("net.ipv4.vs.sync_threshold", f"{threshold[0]} {threshold[1]}")
        words = f"--mcast-interface {bench.lab.plan.director.interfaces[1].name} --syncid {syncid}"
        words += (f" --sync-maxlen {maxlen}" if maxlen else "") + (f" {options}" if options else "")
        bench.apply(
            f"ipvsadm -R <<'END'\n-A -u {V4.vip}:{MARK_PORT} -s rr\n-a -u {V4.vip}:{MARK_PORT} -r"
            f" {V4.server(8)}:{MARK_PORT} -g\nEND\nipvsadm --start-daemon master {words}",
            "ipvsadm --stop-daemon master",
        )

    def client(self, *packets: Packet) -> Seen:
        """As `Bench.from_client`; sync datagrams are kept apart."""
        return self._sorted(self.bench.from_client(*packets))

    def server(self, *packets: Packet) -> Seen:
        """As `Bench.from_server` with server 1; sync datagrams are kept apart."""
        return self._sorted(self.bench.from_server(1, *packets))

    def mark(self) -> tuple[str, list[Packet]]:
        """A new client and its datagrams, the last of which makes the director sync its
        connection.
        """
        client = self.bench.client()
        self._marks.add(client)
        return client, [udp(4, client, MARK_PORT) for _ in range(self._per_mark)]

    def messages(self) -> list[Packet]:
        """All that the director has to say about what was sent since the last call: the messages
        before a mark's.

        Raises:
            CheckFailed: the mark's own message does not come.
        """
        first, packets = self.mark()
        self.client(*packets, *self.mark()[1])
        return self.until(first)

    def until(self, client: str) -> list[Packet]:
        """The messages before the one about a client, other marks' left out; that one and those
        before it are taken away.

        Raises:
            CheckFailed: it does not come in time.
        """
        earlier: list[Packet] = []
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            while self.frames:
                message = self.message(self.frames.pop(0))
                if any(entry.caddr == client for entry in message.conns):
                    return earlier
                if not any(entry.caddr in self._marks for entry in message.conns):
                    earlier.append(message)
            frame, _ = self.bench.inside.receive(self.is_sync, deadline - time.monotonic())
            if frame is None:
                raise CheckFailed(
                    "no sync datagram about a connection that must be synced came within"
                    f" {ANSWER_SECONDS:g} s",
                    [f"before it came: {message.summary()}" for message in earlier],
                )
            self._keep(frame)

    def next(self) -> Packet:
        """The next message, awaited.

        Raises:
            CheckFailed: none comes in time.
        """
        if not self.frames:
            frame, _ = self.bench.inside.receive(self.is_sync, ANSWER_SECONDS)
            if frame is None:
                raise CheckFailed(f"no sync datagram came within {ANSWER_SECONDS:g} s")
            self._keep(frame)
        return self.message(self.frames.pop(0))

    @staticmethod
    def message(frame: Packet) -> Packet:
        """The message in a frame, read as strictly as a backup reads it.

        Raises:
            CheckFailed: it is none.
        """
        udp = frame[UDP]
        try:
            return decode(bytes(udp.original[8 : udp.len]))
        except ValueError as error:
            raise CheckFailed(
                f"a sync datagram that no backup would take: {error}", [frame.summary()]
            ) from None

    def _sorted(self, seen: Seen) -> Seen:
        self.frames += [frame for frame in seen.inside if self.is_sync(frame)]
        seen.inside = [frame for frame in seen.inside if not self.is_sync(frame)]
        return seen

    def _keep(self, frame: Packet) -> None:
        self.frames.append(frame)
        self.bench.log.append(Logged(self.bench.lab.now(), "inside", False, frame))

    def is_sync(self, frame: Packet) -> bool:
        """Whether a frame is a datagram of this daemon."""
        return UDP in frame and frame.payload.dst == self._group and frame[UDP].dport in self._ports


def udp(version: int, client: str, port: int = PORT, data: bytes = b"lvslab") -> Packet:
    """A datagram of a client to the VIP."""
    net = NETS[version]
    return net.packet(client, net.vip) / UDP(sport=SPORT, dport=port) / data


def segments(version: int, client: str, *flags: str) -> list[Packet]:
    """A client's segments to the VIP, one for each word of flags, as if a server that sends no data
    answered properly.
    """
    net, sequence, packets = NETS[version], CLIENT_SEQ, []
    for each in flags:
        ack = SERVER_SEQ + 1 if "A" in each else 0
        packets.append(
            net.packet(client, net.vip) / TCP(sport=SPORT, dport=PORT, flags=each, seq=sequence, ack=ack)
        )
        sequence += ("S" in each) + ("F" in each)
    return packets


def entry(
    mode: str,
    client: str,
    state: str | int = "ESTABLISHED",
    *,
    version: int = 4,
    sync: int = 1,
    number: int = 1,
    **fields: Any,
) -> Packet:
    """The entry of a TCP connection to the VIP's port 80; `fields` override its own."""
    net = NETS[version]
    port = SERVER_PORT if mode == "nat" else PORT
    flags = int(FLAGS[mode]) | (0 if state == "ESTABLISHED" else ConnFlag.INACTIVE)
    values = {
        "protocol": 6,
        "flags": flags,
        "state": STATES[state] if isinstance(state, str) else state,
        "cport": SPORT,
        "vport": PORT,
        "dport": port,
        "caddr": client,
        "vaddr": net.vip,
        "daddr": net.server(number),
    }
    if sync == 0:
        return SyncConnV0(**{**values, **fields})
    return (SyncConnV4 if version == 4 else SyncConnV6)(
        **{**values, "timeout": _TIMEOUTS.get(str(state), 0), **fields}
    )


def entries_about(messages: Sequence[Packet], client: str) -> list[Packet]:
    """The entries about a client."""
    return [each for message in messages for each in message.conns if each.caddr == client]


def must_say(
    messages: Sequence[Packet],
    expected: Sequence[Packet],
    what: str,
    *,
    version: int = 1,
    syncid: int = SYNC_ID,
) -> None:
    """The messages must be exactly these entries, one in each.

    Raises:
        CheckFailed: they are not.
    """
    shown = [f"seen: {message.summary()}: {message.conns!r}" for message in messages]
    must(
        len(messages) == len(expected),
        f"{what}: {plural(len(expected), 'sync message')} expected, {len(messages)} came",
        *shown,
    )
    for message, wanted in zip(messages, expected, strict=True):
        whole = (SyncMessage if version else SyncMessageV0)(syncid=syncid, conns=[wanted])
        _must_equal_message(message, whole, what)


def _must_equal_message(message: Packet, expected: Packet, what: str) -> None:
    """Byte for byte; field by field where they differ."""
    again = SyncMessage(bytes(expected))
    if bytes(message) == bytes(again):
        return
    lines = []
    for left, right in zip([again, *again.conns], [message, *message.conns], strict=False):
        for field in left.fields_desc:
            if field.name == "conns" or not isinstance(right, type(left)):
                continue
            here, there = left.getfieldval(field.name), right.getfieldval(field.name)
            if bytes(left) != bytes(right) and here != there:
                lines.append(
                    f"{field.name}: expected {field.i2repr(left, here)}, seen {field.i2repr(right, there)}"
                )
    lines = lines or ["the bytes differ"]
    raise CheckFailed(
        f"{what}: {lines[0]}",
        [*lines, f"expected: {bytes(again).hex(' ', 4)}", f"seen:     {bytes(message).hex(' ', 4)}"],
    )


class Backup:
    """A running backup daemon."""

    def __init__(self, bench: Bench, *, syncid: int = SYNC_ID) -> None:
        self.bench, self._syncid = bench, syncid or SYNC_ID
        interface = bench.lab.plan.director.interfaces[1].name
        bench.apply(
            f"ipvsadm --start-daemon backup --mcast-interface {interface} --syncid {syncid}",
            "ipvsadm --stop-daemon backup",
        )

    def tell(self, *conns: Packet, version: int = 1, **fields: Any) -> None:
        """Send a sync message with these entries; `fields` of the message."""
        made = (SyncMessage if version else SyncMessageV0)(
            **{"syncid": self._syncid, "conns": list(conns), **fields}
        )
        self.inject(bytes(made))

    def inject(self, data: bytes, *, port: int = SYNC_PORT, wire: str = "inside") -> None:
        """Send a datagram of the other director."""
        side = self.bench.inside if wire == "inside" else self.bench.outside
        packet = (
            IP(src=PEER if wire == "inside" else V4.router, dst=SYNC_GROUP, ttl=1)
            / UDP(sport=SPORT, dport=port)
            / data
        )
        frame = self.bench.framed(packet, server_mac(9), "01:00:5e:00:00:51")
        side.send(frame)
        self.bench.log.append(Logged(self.bench.lab.now(), wire, True, frame))

    def connections(self) -> list[Connection]:
        """The connection table when everything that was sent before has been taken in: until a mark
        sent behind it is there.

        Raises:
            CheckFailed: the mark was not taken.
        """
        client = self.bench.client()
        self.tell(entry("dr", client, "CLOSE"))
        word = f"{int(ip_address(client)):08X}"
        self.bench.run(
            f"n=0; until grep -q {word} /proc/net/ip_vs_conn || [ $n = {_LOOKS} ]; do n=$((n+1)); done"
        )
        found = agreed(self.bench.ipvsadm.list_connections)
        must(
            any(each.client.address == client for each in found),
            f"a good sync message was not taken within {_LOOKS} looks",
        )
        return [each for each in found if each.client.address != client]

    def of(self, client: str) -> list[str]:
        """What the table has about a client, as text: state, virtual and destination endpoint,
        protocol.
        """
        return [
            f"{each.protocol} {each.state} {each.client.port} {each.virtual} > {each.destination}"
            for each in self.connections()
            if each.client.address == client
        ]
