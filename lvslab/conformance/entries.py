"""What several checks ask of a director: who got a packet, its connection entries, its listing; and
packets to ask with.

Every check here takes a port (or mark) that no other check of the run uses: connection entries,
templates and removed real servers stay in the kernel for minutes after their service is gone, and a
service made again at the same address and port finds them (ip_vs_ctl.c, ip_vs_trash_get_dest).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, SERVER_PORT
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed, CheckSkipped
from lvslab.ipvs.listings import Connection
from lvslab.ipvs.service import Protocol

_PATIENCE = 30.0
"""Seconds: far longer than anything takes that is awaited, because the machine may be busy."""

_READINGS = 20
"""Of the connection table, at most, until two in a row agree."""

_blocks = itertools.count(1)


def client_in_block(version: int) -> Callable[[int], str]:
    """Clients that are neighbours: a function from a number to an address, 0 at the start of an
    aligned block.

    A block has 1024 addresses in IPv4, where the bench has a /15 for clients, and 131072 in IPv6.
    """
    start = 0x8000 + 0x400 * next(_blocks) if version == 4 else 0x20000 * next(_blocks)
    return lambda number: NETS[version].client(start + number)


def tcp(
    client: str,
    dport: int,
    flags: str = "S",
    *,
    sport: int = 40000,
    seq: int = 1000,
    ack: int = 0,
    data: bytes = b"",
) -> Packet:
    """A client's segment to the VIP of its IP version."""
    net = NETS[6 if ":" in client else 4]
    packet = net.packet(client, net.vip) / TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack)
    return packet / data if data else packet


def udp(client: str, dport: int, *, sport: int = 40000, data: bytes = b"lvslab") -> Packet:
    """A client's datagram to the VIP of its IP version."""
    net = NETS[6 if ":" in client else 4]
    return net.packet(client, net.vip) / UDP(sport=sport, dport=dport) / data


def tcp_reply(
    number: int,
    client: str,
    flags: str = "SA",
    *,
    sport: int = SERVER_PORT,
    dport: int = 40000,
    seq: int = 5000,
    data: bytes = b"",
) -> Packet:
    """A real server's segment to a client, as in NAT."""
    net = NETS[6 if ":" in client else 4]
    packet = net.packet(net.server(number), client) / TCP(
        sport=sport, dport=dport, flags=flags, seq=seq, ack=1001
    )
    return packet / data if data else packet


def udp_reply(
    number: int, client: str, *, sport: int = SERVER_PORT, dport: int = 40000, data: bytes = b"answer"
) -> Packet:
    """A real server's datagram to a client, as in NAT."""
    net = NETS[6 if ":" in client else 4]
    return net.packet(net.server(number), client) / UDP(sport=sport, dport=dport) / data


def server_of(frame: Packet) -> int:
    """The real server that a frame on the inside wire is for, 1, 2, …; by its MAC address, which
    every mode sets.
    """
    return int(frame.dst.rpartition(":")[2], 16)


def chosen(bench: Bench, *packets: Packet, what: str = "the packets") -> list[int]:
    """Send packets of clients, each of which must reach some real server and cause nothing else;
    those servers, in order.

    Raises:
        CheckFailed: more or fewer came out inside, or something outside.
    """
    seen = bench.from_client(*packets)
    if len(seen.inside) != len(packets) or seen.outside:
        raise CheckFailed(
            f"{what}: {len(packets)} sent, {len(seen.inside)} reached a real server", shown(seen)
        )
    return [server_of(frame) for frame in seen.inside]


def shown(seen: Seen) -> list[str]:
    """Every frame in words, for the detail of a failed check."""
    return [f"outside: {each.summary()}" for each in seen.outside] + [
        f"inside, for server {server_of(each)}: {each.summary()}" for each in seen.inside
    ]


def must_choose(seen: Sequence[int], expected: Sequence[int], what: str) -> None:
    """The real servers must be these, in this order.

    Raises:
        CheckFailed: they are not.
    """
    if list(seen) != list(expected):
        raise CheckFailed(
            f"{what}: real servers {_numbers(expected)} expected, {_numbers(seen)} seen",
            [f"expected: {_numbers(expected)}", f"seen:     {_numbers(seen)}"],
        )


def _numbers(servers: Sequence[int]) -> str:
    return ", ".join(map(str, servers)) or "none"


def must_reset(seen: Seen, what: str) -> None:
    """The director's own TCP must have answered with RST, because IPVS left the packet to it, and
    nothing else came out.

    Raises:
        CheckFailed: something else came out.
    """
    frame = seen.one("outside", what)
    if TCP not in frame or "R" not in frame[TCP].flags:
        raise CheckFailed(f"{what}: a TCP RST of the director was expected", shown(seen))


def must_refuse(seen: Seen, what: str) -> None:
    """An ICMP "port unreachable" must have gone to the client, and nothing else came out.

    Raises:
        CheckFailed: something else came out.
    """
    if not is_port_unreachable(seen.one("outside", what)):
        raise CheckFailed(f"{what}: ICMP port unreachable was expected", shown(seen))


def is_port_unreachable(frame: Packet) -> bool:
    """Whether a frame is ICMP or ICMPv6 "port unreachable"."""
    if ICMP in frame:
        return bool(frame[ICMP].type == 3 and frame[ICMP].code == 3)
    return ICMPv6DestUnreach in frame and frame[ICMPv6DestUnreach].code == 4


# -- what the director says ------------------------------------------------------------------------


def entries(
    bench: Bench, *clients: str, port: int | None = None, templates: bool = False
) -> list[Connection]:
    """Connection entries of these clients, or else of one virtual port; or their templates
    instead.
    """
    return agreed(lambda: _listed(bench, *clients, port=port, templates=templates))


def _listed(bench: Bench, *clients: str, port: int | None, templates: bool) -> list[Connection]:
    return [
        each
        for each in bench.ipvsadm.list_connections()
        if each.is_template == templates
        and (not clients or each.client.address in clients)
        and (port is None or each.virtual.port == port)
    ]


def agreed(read: Callable[[], Sequence[Connection]]) -> list[Connection]:
    """The entries that two readings of the connection table in a row agree on.

    For each page of it the kernel counts to its place anew (ip_vs_conn_array in ip_vs_conn.c): an
    entry that goes after it was read makes it pass over another.

    Raises:
        CheckSkipped: no two readings agreed.
    """
    before = None
    for _ in range(_READINGS):
        listed = list(read())
        which = {(each.protocol, each.client, each.virtual, each.destination) for each in listed}
        if which == before:
            return listed
        before = which
    raise CheckSkipped(f"the connection table changed during each of {_READINGS} readings")


def entry(
    bench: Bench, client: str, what: str, *, port: int | None = None, template: bool = False
) -> Connection:
    """The only entry (or template) of a client.

    Raises:
        CheckFailed: there is none, or there are several.
    """
    found = _listed(bench, client, port=port, templates=template)
    if len(found) != 1:
        found = entries(bench, client, port=port, templates=template)
    if len(found) != 1:
        kind = "template" if template else "connection entry"
        raise CheckFailed(
            f"{what}: one {kind} of {client} was expected, there are {len(found)}",
            [str(each) for each in found],
        )
    return found[0]


@dataclass(frozen=True)
class Line:
    """A real server's line of `ipvsadm -L -n`."""

    server: str
    forward: str
    weight: int
    active: int
    inactive: int


def listing(bench: Bench, selector: Sequence[str]) -> list[Line]:
    """The real servers of one service as `ipvsadm -L -n` shows them."""
    lines = bench.run(f"ipvsadm -L -n {' '.join(selector)}").splitlines()
    words = [line.split() for line in lines if line.startswith("  -> ") and "RemoteAddress" not in line]
    return [Line(each[1], each[2], *map(int, each[3:6])) for each in words]


def awaited(condition: Callable[[], bool], seconds: float = _PATIENCE) -> bool:
    """Ask again and again whether something has come true; whether it did within the time, which is
    to be said only where the kernel promises one.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def load(bench: Bench, *modules: str) -> None:
    """Load kernel modules into the director, which keeps them.

    Raises:
        CheckSkipped: its kernel lacks one.
    """
    for module in modules:
        if bench.lab.director.run(f"modprobe {module}").code != 0:
            raise CheckSkipped(f"kernel {bench.release} has no module {module}")


def sip_service(bench: Bench, port: int, **options: Any) -> None:
    """A persistent UDP service of three servers whose clients are told apart by their Call-IDs.

    Args:
        options: further ones of `Bench.service`, or others in place of these.

    Raises:
        CheckSkipped: the kernel has no such engine.
    """
    load(bench, "ip_vs_pe_sip")
    persistent = {"persistence_timeout": 300, "persistence_engine": "sip"}
    bench.service(**{"protocol": Protocol.UDP, "port": port, "weights": (1, 1, 1), **persistent, **options})


def timeouts(bench: Bench, tcp_seconds: int = 0, tcpfin: int = 0, udp_seconds: int = 0) -> None:
    """Set the lifetimes of idle entries for this check; the kernel's own are 900, 120 and 300 s
    (ip_vs_proto_tcp.c, ip_vs_proto_udp.c).
    """
    bench.apply(f"ipvsadm --set {tcp_seconds} {tcpfin} {udp_seconds}", "ipvsadm --set 900 120 300")
