"""FullNAT as it is composed here: NAT, vs.conntrack and source NAT of balanced packets
(lvslab/modes/fullnat.py).

The real server sees a local address of the director instead of the client's. Which port goes with
it is up to netfilter (nf_nat_core.c): the client's own if it is free for that server, else another
one of its range.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import checksum

from lvslab.conformance.addresses import PORT, ROUTER_MAC, SERVER_PORT, V4
from lvslab.conformance.check import check
from lvslab.conformance.flows import Conversation, at_client, at_server
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.ipvs.service import Protocol
from lvslab.kernels.needs import Need
from lvslab.runs.words import plural

SPORT = 40000
_NEEDS = (Need.IPVS_SNAT,)


def _addresses() -> Iterator[str]:
    """Local addresses, each for one check alone: tracked connections outlive it and keep ports
    taken.
    """
    number = 0
    while True:
        yield f"10.0.1.{100 + number % 120}"
        number += 1


_LOCAL = _addresses()


def compose(
    bench: Bench,
    *,
    protocol: str = "tcp",
    servers: int = 1,
    lips: int = 1,
    ports: str = "",
    rule: bool = True,
    conntrack: bool = True,
) -> list[str]:
    """Service, local addresses and the rule that makes FullNAT of NAT.

    Args:
        lips: how many local addresses. ports: range that the rule allows, for example
            "40000-40003".
        rule, conntrack: False leaves one of the two out.

    Returns:
        The local addresses.
    """
    bench.service("nat", protocol=Protocol(protocol), weights=(1,) * servers)
    pool = [next(_LOCAL) for _ in range(lips)]
    interface = bench.lab.plan.director.interfaces[1].name
    lines = [f"address add {local}/24 dev {interface}" for local in pool]
    script = "ip -batch - <<'END'\n{}\nEND"
    bench.apply(
        script.format("\n".join(lines)),
        script.format("\n".join(lines).replace("add", "delete")),
    )
    if conntrack:
        bench.sysctl("net.ipv4.vs.conntrack", 1)
    if rule:
        source = pool[0] if len(pool) == 1 else f"{pool[0]}-{pool[-1]}"
        bench.rules(
            f"-t nat -A POSTROUTING -p {protocol} -m ipvs --vproto {protocol} --vaddr {V4.vip} --vport {PORT}"
            f" -j SNAT --to-source {source}{f':{ports}' if ports else ''}"
        )
    return pool


def request(
    client: str, sport: int = SPORT, protocol: str = "tcp", flags: str = "S", **fields: Any
) -> Packet:
    """A client's packet to the VIP."""
    if protocol == "udp":
        return V4.packet(client, V4.vip) / UDP(sport=sport, dport=PORT) / b"lvslab"
    return V4.packet(client, V4.vip) / TCP(sport=sport, dport=PORT, flags=flags, seq=1000, **fields)


def inside(bench: Bench, sent: Packet, local: str, port: int, number: int = 1) -> Packet:
    """The frame that a real server must get for a client's packet: source is the local address."""

    def translate(frame: Packet) -> None:
        frame.payload.src = local
        frame.payload.payload.sport = port

    return changed(at_server(bench, sent, "nat", number), translate)


def outside(bench: Bench, sent: Packet, client: str, port: int) -> Packet:
    """The frame that a client must get for a real server's packet to the local address."""

    def translate(frame: Packet) -> None:
        frame.payload.dst = client
        frame.payload.payload.dport = port

    return changed(at_client(bench, sent), translate)


def reply(frame: Packet, number: int = 1, flags: str = "SA") -> Packet:
    """The real server's answer to a frame that it got."""
    header = frame.payload
    back = V4.packet(header.dst, header.src)
    if UDP in frame:
        return back / UDP(sport=header.dport, dport=header.sport) / b"answer"
    return back / TCP(sport=header.dport, dport=header.sport, flags=flags, seq=7000, ack=header.seq + 1)


def source(frame: Packet) -> tuple[str, int]:
    """Address and port that a frame comes from."""
    return frame.payload.src, frame.payload.payload.sport


@check(
    "fullnat:conversation:tcp",
    "a whole TCP conversation, byte for byte: source LIP at the server, VIP at the client, the client's port"
    " kept",
    tags=("tcp",),
    needs=_NEEDS,
)
def conversation(bench: Bench) -> None:
    (lip,) = compose(bench)
    talk = Conversation(bench)
    talk.server = 1
    steps = [
        ("client", "S", b""),
        ("server", "SA", b""),
        ("client", "A", b""),
        ("client", "PA", b"GET /\r\n"),
        ("server", "PA", b"x" * 1200),
        ("client", "FA", b""),
        ("server", "FA", b""),
        ("client", "A", b""),
    ]
    for side, flags, data in steps:
        options = {"options": [("MSS", 1460), ("SAckOK", b"")]} if "S" in flags else {}
        what = f"the {side}'s {flags}"
        if side == "client":
            packet = talk.from_client(flags, data, **options)
            seen = bench.from_client(packet).one("inside", what)
            must_equal(seen, inside(bench, packet, lip, talk.sport), f"{what} at the real server")
        else:
            packet = talk.from_server(flags, data, **options)
            packet.dst = lip
            seen = bench.from_server(1, packet).one("outside", what)
            must_equal(seen, outside(bench, packet, talk.client, talk.sport), f"{what} at the client")
        talk.sequence[side] += len(data) + ("S" in flags) + ("F" in flags)


@check(
    "fullnat:conversation:udp",
    "datagrams both ways: source LIP at the server, VIP at the client",
    tags=("udp",),
    needs=_NEEDS,
)
def datagrams(bench: Bench) -> None:
    (lip,) = compose(bench, protocol="udp")
    client = bench.client()
    packet = request(client, protocol="udp")
    for _ in range(2):
        seen = bench.from_client(packet).one("inside", "a datagram")
        must_equal(seen, inside(bench, packet, lip, SPORT), "a datagram at the real server")
        answer = reply(seen)
        back = bench.from_server(1, answer).one("outside", "the answer")
        must_equal(back, outside(bench, answer, client, SPORT), "the answer at the client")


@check(
    "fullnat:without:{what}",
    "without {words} the real server sees the client's own address",
    needs=_NEEDS,
    each=[
        {"what": "rule", "words": "the rule"},
        {"what": "conntrack", "words": "vs.conntrack, though the rule is there,"},
    ],
)
def without(bench: Bench, what: str, words: str) -> None:
    compose(bench, rule=what != "rule", conntrack=what != "conntrack")
    packet = request(bench.client())
    must_equal(
        bench.from_client(packet).one("inside", "a SYN"),
        at_server(bench, packet, "nat"),
        "a SYN at the real server",
    )


@check(
    "fullnat:other-service",
    "the rule names its service: a connection of another one keeps the client's address",
    needs=_NEEDS,
)
def other_service(bench: Bench) -> None:
    compose(bench)
    bench.service("nat", weights=(1,), port=PORT + 1)
    packet = request(bench.client())
    packet.payload.dport = PORT + 1
    expected = at_server(bench, packet, "nat")
    must_equal(
        bench.from_client(packet).one("inside", "a SYN"),
        expected,
        "a SYN of the other service at the real server",
    )


@check(
    "fullnat:several-addresses",
    "with a pool of two local addresses both are used, and nothing else",
    needs=_NEEDS,
)
def several(bench: Bench) -> None:
    # which one: by a hash of both ends with a random seed (find_best_ips_proto); with 40 clients
    # one is left out once in 2^39 runs
    pool = compose(bench, lips=2)
    packets = [request(bench.client()) for _ in range(40)]
    seen = bench.from_client(*packets)
    must(
        len(seen.inside) == 40 and not seen.outside,
        f"{plural(len(seen.inside), 'frame')} came inside for 40 SYNs, {len(seen.outside)} outside",
    )
    used = {source(frame)[0] for frame in seen.inside}
    must(used == set(pool), f"sources {sorted(used)} were used, expected {pool}")
    ends = {source(frame) for frame in seen.inside}
    must(len(ends) == 40, f"40 connections have only {len(ends)} different local ends at the server")


@check(
    "fullnat:port-taken:{name}",
    "a second client with the same port {sport} gets another port from {low} to {high}, and replies find"
    " their way to each",
    needs=_NEEDS,
    each=[
        {"name": "ordinary", "sport": 40000, "low": 1024, "high": 65535},
        {"name": "privileged", "sport": 700, "low": 600, "high": 1023},
        {"name": "low", "sport": 300, "low": 1, "high": 511},
    ],
)
def port_taken(bench: Bench, name: str, sport: int, low: int, high: int) -> None:
    # the ranges: nf_nat_l4proto_unique_tuple in nf_nat_core.c
    (lip,) = compose(bench)
    clients = [bench.client(), bench.client()]
    frames = [bench.from_client(request(each, sport)).one("inside", "a SYN") for each in clients]
    must(
        source(frames[0]) == (lip, sport),
        f"the first client's source is {source(frames[0])}, expected {lip} and its own port {sport}",
    )
    second = source(frames[1])
    must(
        second[0] == lip and low <= second[1] <= high,
        f"the second client's source is {second}, expected {lip}, port {low} to {high}",
    )
    must(second[1] != sport, f"both clients have {lip}:{sport} at the same server")
    for client, frame in zip(reversed(clients), reversed(frames), strict=True):
        answer = reply(frame)
        back = bench.from_server(1, answer).one("outside", "a SYN-ACK")
        must_equal(back, outside(bench, answer, client, sport), "the SYN-ACK at its client")


@check(
    "fullnat:same-connection",
    "a SYN sent again belongs to its connection: same local address and port, no further port is taken",
    needs=_NEEDS,
)
def same_connection(bench: Bench) -> None:
    (lip,) = compose(bench, ports="40000-40001")
    client = bench.client()
    for _ in range(3):
        packet = request(client)
        must_equal(
            bench.from_client(packet).one("inside", "a SYN"),
            inside(bench, packet, lip, SPORT),
            "the same SYN",
        )


def _fill(bench: Bench, count: int) -> list[Packet]:
    """SYNs of so many clients, one frame inside for each.

    Raises:
        CheckFailed: one is missing.
    """
    seen = bench.from_client(*[request(bench.client(), 50000) for _ in range(count)])
    if len(seen.inside) != count or seen.outside:
        raise CheckFailed(
            f"{len(seen.inside)} of {count} SYNs came through, {plural(len(seen.outside), 'frame')} outside",
            [frame.summary() for frame in (*seen.inside, *seen.outside)],
        )
    return seen.inside


@check(
    "fullnat:range:used-up",
    "a range of four ports carries four connections, on exactly these ports; the fifth is dropped without a"
    " word",
    needs=_NEEDS,
)
def used_up(bench: Bench) -> None:
    (lip,) = compose(bench, ports="40000-40003")
    ends = sorted(source(frame) for frame in _fill(bench, 4))
    must(
        ends == [(lip, 40000 + number) for number in range(4)],
        f"local ends {ends}, expected {lip} with ports 40000 to 40003",
    )
    bench.from_client(request(bench.client(), 50000)).nothing("the fifth connection")


@check(
    "fullnat:range:freed",
    "a port that a closed connection gave back is used again: then the fifth client gets through with that"
    " port",
    needs=_NEEDS,
    spoilt_by=1.0,
)
def freed(bench: Bench) -> None:
    # a RST leads to state CLOSE, whose time-out is 10 s by default
    bench.sysctl("net.netfilter.nf_conntrack_tcp_timeout_close", 1)
    compose(bench, ports="40000-40003")
    frames = _fill(bench, 4)
    fifth = request(bench.client(), 50000)
    bench.from_client(fifth).nothing("the fifth connection")
    given_back = source(frames[2])
    reset = reply(frames[2], flags="RA")
    bench.from_server(1, reset).one("outside", "the server's RST")
    deadline, seen = time.monotonic() + 4, Seen()
    while not seen.inside and time.monotonic() < deadline:
        seen = bench.from_client(fifth)
    must(bool(seen.inside), "the fifth connection did not get through within 4 s of the reset of another one")
    must(
        source(seen.inside[0]) == given_back,
        f"it has source {source(seen.inside[0])}, expected {given_back}, which was given back",
    )


@check(
    "fullnat:range:each-server",
    "a port is taken for one server only: two servers carry one connection each on a single local port, a"
    " third is dropped",
    needs=_NEEDS,
)
def each_server(bench: Bench) -> None:
    (lip,) = compose(bench, ports="40000-40000", servers=2)
    frames = _fill(bench, 2)
    ends = [(*source(frame), frame.payload.dst) for frame in frames]
    expected = {(lip, 40000, V4.server(number)) for number in (1, 2)}
    must(set(ends) == expected, f"connections {ends}, expected {sorted(expected)}")
    bench.from_client(request(bench.client(), 50000)).nothing("the third connection")


@check(
    "fullnat:icmp:from-server",
    "a server's ICMP error reaches the client: from the VIP, quoting the packet as the client sent it",
    tags=("icmp",),
    needs=_NEEDS,
)
def icmp_from_server(bench: Bench) -> None:
    (lip,) = compose(bench, protocol="udp")
    client = bench.client()
    frame = bench.from_client(request(client, protocol="udp")).one("inside", "a datagram")
    must(source(frame) == (lip, SPORT), f"the server sees {source(frame)}, expected {lip}:{SPORT}")
    quoted = frame[IP]
    error = V4.packet(V4.server(1), quoted.src) / ICMP(type=3, code=3) / bytes(quoted)
    seen = bench.from_server(1, error).one("outside", "the server's ICMP error")

    # Connection tracking corrects the quoted UDP checksum for its own change, LIP to client; IPVS,
    # which puts the VIP back in, leaves it alone (ip_vs_nat_icmp in ip_vs_core.c): it is that of
    # the packet to the real server.
    inner = quoted.copy()
    inner.src, inner[UDP].sport = client, SPORT
    wanted = changed(inner, lambda packet: None)
    ends, left = wanted.copy(), wanted[UDP].chksum
    ends.dst, ends[UDP].dport = V4.vip, PORT
    wanted = changed(ends, lambda packet: None)
    wanted[UDP].chksum = left
    outer = changed(error, lambda packet: None)
    expected = Ether(src=bench.outside.mac, dst=ROUTER_MAC) / IP(
        src=V4.vip, dst=client, ttl=outer.ttl - 1, id=outer.id
    )
    expected = Ether(bytes(expected / ICMP(type=3, code=3) / bytes(wanted)))
    must_equal(seen, expected, "the server's ICMP error at the client")


@check(
    "fullnat:icmp:from-client",
    "'fragmentation needed' of a router on the client's side reaches the server, quoting the packet as the"
    " server sent it",
    tags=("icmp",),
    needs=_NEEDS,
)
def icmp_from_client(bench: Bench) -> None:
    (lip,) = compose(bench)
    client = bench.client()
    frame = bench.from_client(request(client)).one("inside", "a SYN")
    answer = reply(frame)
    back = bench.from_server(1, answer).one("outside", "the SYN-ACK")
    error = V4.packet(V4.router, V4.vip) / ICMP(type=3, code=4, nexthopmtu=1400) / bytes(back[IP])
    seen = bench.from_client(error).one("inside", "the router's ICMP error")
    quoted = seen[ICMP].payload
    ends = (seen[IP].dst, quoted.src, quoted.sport, quoted.dst, quoted.dport, seen[ICMP].nexthopmtu)
    expected = (V4.server(1), V4.server(1), SERVER_PORT, lip, SPORT, 1400)
    must(
        ends == expected, f"destination, quoted ends and MTU are {ends}, expected {expected}", seen.summary()
    )
    must(seen[IP].src in (lip, V4.router), f"the error's source is {seen[IP].src}", seen.summary())
    header, message = bytes(seen[IP])[: seen[IP].ihl * 4], bytes(seen[ICMP])
    must(checksum(header) == 0 and checksum(message) == 0, "a checksum is wrong", seen.summary())
