"""Firewall-mark services. Facts from ipvsadm(8), ip_vs_ctl.c (ip_vs_service_find asks for the mark
first) and ip-rule(8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from scapy.layers.inet import TCP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, ROUTER_MAC, SERVER_PORT, server_mac
from lvslab.conformance.check import check
from lvslab.conformance.entries import (
    chosen,
    client_in_block,
    entries,
    entry,
    must_choose,
    must_refuse,
    must_reset,
    server_of,
    shown,
    tcp,
    tcp_reply,
    udp,
)
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION, MODES_VERSIONS
from lvslab.conformance.verdict import CheckSkipped
from lvslab.ipvs.service import Protocol

_TABLE = 4711
"""A routing table that nothing else uses."""
_CLOUD = {4: "192.0.2.10", 6: "2001:db8:f::10"}
"""Virtual addresses that are no addresses of the director."""


def _mark(bench: Bench, version: int, mark: int, *matches: str, table: str = "mangle") -> None:
    """Mark what clients send: one rule each for these matches."""
    for match in matches:
        arguments = f"-t {table} -A PREROUTING {match} -j MARK --set-mark {mark}"
        if version == 4:
            bench.rule(arguments)
            continue
        program = bench.iptables.replace("iptables", "ip6tables")
        if bench.lab.director.run(f"{program} -t {table} -L -n >/dev/null").code != 0:
            raise CheckSkipped(f"kernel {bench.release} has no {program} table {table}")
        bench.apply(f"{program} {arguments}", f"{program} {arguments.replace('-A ', '-D ', 1)}")


def _ports(version: int, protocol: str, ports: Sequence[int]) -> list[str]:
    return [f"-d {NETS[version].vip} -p {protocol} --dport {port}" for port in ports]


@check(
    "fwmark:several-ports:{mode}:ipv{version}",
    "one mark makes several ports and protocols one service: round robin goes on from one port to the next",
    tags=("{mode}", "ipv{version}"),
    each=MODES_VERSIONS,
)
def several_ports(bench: Bench, mode: str, version: int) -> None:
    mark, first, second = bench.mark(), bench.port(), bench.port()
    _mark(bench, version, mark, *_ports(version, "tcp", (first, second)), *_ports(version, "udp", (first,)))
    bench.service(mode, protocol=Protocol.FWMARK, fwmark=mark, version=version, port=0, weights=(1, 1, 1))
    client = bench.client(version)
    servers = chosen(
        bench, tcp(client, first), tcp(client, second), udp(client, first), tcp(client, second, sport=40001)
    )
    must_choose(
        servers,
        [servers[0], *(1 + (servers[0] - 1 - step) % 3 for step in (1, 2, 3))],
        "four connections in turn",
    )
    must_reset(bench.from_client(tcp(client, second + 1)), "a port without a mark")


@check(
    "fwmark:real-server-port:{port}",
    "in NAT a real server with port {port} gets the packets of a mark on {where}",
    each=[
        {"port": 0, "where": "the port that the client asked for"},
        {"port": SERVER_PORT, "where": "its own port"},
    ],
)
def real_port(bench: Bench, port: int, where: str) -> None:
    mark, asked, client = bench.mark(), (bench.port(), bench.port()), bench.client()
    _mark(bench, 4, mark, *_ports(4, "tcp", asked))
    bench.service(protocol=Protocol.FWMARK, fwmark=mark, port=port and 80, weights=(1,))
    frames = bench.from_client(*(tcp(client, asked_port) for asked_port in asked)).inside
    ports = [frame[TCP].dport for frame in frames]
    must(
        ports == [port or asked_port for asked_port in asked],
        f"the packets come on {where}",
        f"asked: {asked}",
        f"seen: {ports}",
    )
    # Replies find their connection by the real server's port and the client's, and go back to the
    # port that was asked.
    clients = [bench.client(), bench.client()]
    bench.from_client(*(tcp(who, asked_port) for who, asked_port in zip(clients, asked, strict=True)))
    replies = [
        tcp_reply(1, who, sport=port or asked_port) for who, asked_port in zip(clients, asked, strict=True)
    ]
    back = [frame[TCP].sport for frame in bench.from_server(1, *replies).outside]
    must(
        back == list(asked), "replies come from the ports that were asked", f"asked: {asked}", f"seen: {back}"
    )


@check(
    "fwmark:other-mark",
    "a packet with another mark, one off, is not the service's; without a service by address the director"
    " answers itself",
)
def other_mark(bench: Bench) -> None:
    mark, port, other = bench.mark(), bench.port(), bench.port()
    bench.mark()
    _mark(bench, 4, mark, *_ports(4, "tcp", (port,)))
    _mark(bench, 4, mark + 1, *_ports(4, "tcp", (other,)))
    bench.service(protocol=Protocol.FWMARK, fwmark=mark)
    chosen(bench, tcp(bench.client(), port), what="the marked port")
    must_reset(bench.from_client(tcp(bench.client(), other)), "the port with another mark")


@check(
    "fwmark:before-address", "a packet with the mark of one service and the address of another is the mark's"
)
def before_address(bench: Bench) -> None:
    mark, port, plain = bench.mark(), bench.port(), bench.port()
    bench.service(port=port, weights=(1,))
    bench.service(port=plain, weights=(1,))
    bench.service(protocol=Protocol.FWMARK, fwmark=mark, weights=(0, 1))
    must_choose(chosen(bench, tcp(bench.client(), port)), [1], "before the rule")
    _mark(bench, 4, mark, *_ports(4, "tcp", (port,)))
    must_choose(
        chosen(bench, tcp(bench.client(), port), tcp(bench.client(), plain)),
        [2, 1],
        "the marked and the plain port",
    )


@check(
    "fwmark:family:ipv{version}",
    "IPv4 and IPv6 services with the same mark are two services",
    tags=("ipv{version}",),
    each=EACH_VERSION,
)
def family(bench: Bench, version: int) -> None:
    mark, port = bench.mark(), bench.port()
    _mark(bench, version, mark, *_ports(version, "tcp", (port,)))
    other = 10 - version
    bench.service(protocol=Protocol.FWMARK, fwmark=mark, version=other, weights=(1,))
    must_reset(bench.from_client(tcp(bench.client(version), port)), f"with a service for IPv{other} only")
    bench.service(protocol=Protocol.FWMARK, fwmark=mark, version=version, weights=(0, 1))
    must_choose(chosen(bench, tcp(bench.client(version), port)), [2], f"with a service for IPv{version} too")


@check("fwmark:largest", "the largest mark, 4294967295, is a service like every other")
def largest(bench: Bench) -> None:
    port = bench.port()
    _mark(bench, 4, 2**32 - 1, *_ports(4, "tcp", (port,)))
    service = bench.service(protocol=Protocol.FWMARK, fwmark=2**32 - 1)
    chosen(bench, tcp(bench.client(), port), what="the marked port")
    must(
        bench.ipvsadm.save() == (service,),
        "ipvsadm shows the service as it was made",
        f"seen: {bench.ipvsadm.save()}",
    )


@check(
    "fwmark:no-server:ipv{version}",
    "a mark without real servers answers port unreachable",
    tags=("ipv{version}", "icmp"),
    each=EACH_VERSION,
)
def no_server(bench: Bench, version: int) -> None:
    mark, port = bench.mark(), bench.port()
    _mark(bench, version, mark, *_ports(version, "tcp", (port,)))
    bench.service(protocol=Protocol.FWMARK, fwmark=mark, version=version, weights=())
    must_refuse(bench.from_client(tcp(bench.client(version), port)), "a connection to no real server")


@check(
    "fwmark:persistent:ipv{version}",
    "a persistent mark binds a client to one real server on all its ports and protocols; its template holds"
    " the mark",
    tags=("ipv{version}", "persistence"),
    each=EACH_VERSION,
)
def persistent(bench: Bench, version: int) -> None:
    mark, first, second, client = bench.mark(), bench.port(), bench.port(), bench.client(version)
    _mark(bench, version, mark, *_ports(version, "tcp", (first, second)), *_ports(version, "udp", (first,)))
    bench.service(
        protocol=Protocol.FWMARK,
        fwmark=mark,
        version=version,
        port=0,
        weights=(1, 1, 1),
        persistence_timeout=300,
    )
    servers = chosen(bench, tcp(client, first), tcp(client, second), udp(client, first))
    must_choose(servers, servers[:1] * 3, "three connections of one client")
    found = entry(bench, client, "after them", template=True)
    must(found.protocol == "IP" and found.fwmark == mark, f"the template holds mark {mark}", f"seen: {found}")
    must(len(entries(bench, client)) == 3, "and there are three connection entries")


@check(
    "fwmark:persistent:netmask",
    "a persistent mark with -M binds a whole network of clients and not its neighbour",
    tags=("persistence",),
)
def persistent_netmask(bench: Bench) -> None:
    mark, port, client = bench.mark(), bench.port(), client_in_block(4)
    _mark(bench, 4, mark, *_ports(4, "tcp", (port,)))
    bench.service(
        protocol=Protocol.FWMARK, fwmark=mark, persistence_timeout=300, persistence_netmask="255.255.255.0"
    )
    servers = chosen(bench, *(tcp(client(number), port) for number in (1, 255, 256)))
    must_choose(
        servers, [servers[0], servers[0], 3 - servers[0]], "clients 1 and 255 of a /24, and the next address"
    )


# -- virtual addresses that are no addresses of the director ---------------------------------------


def _cloud(packet: Packet, version: int) -> Packet:
    """The same packet to the address that is not the director's."""

    def readdress(it: Packet) -> None:
        it.dst = _CLOUD[version]

    return changed(packet, readdress)


def _deliver(bench: Bench, version: int, mark: int) -> None:
    """Have marked packets delivered locally, where IPVS looks (the hook is LOCAL_IN,
    ip_vs_core.c).
    """
    bench.apply(
        f"ip -{version} rule add fwmark {mark} lookup {_TABLE} && ip -{version} route add local default dev"
        f" lo table {_TABLE}",
        f"ip -{version} rule del fwmark {mark} lookup {_TABLE}; ip -{version} route flush table {_TABLE}",
    )


@check(
    "fwmark:foreign-address:{mode}:ipv{version}",
    "a virtual address that is not the director's works with a mark and `ip rule fwmark` to a local route; "
    "without them the packet is routed on past IPVS",
    tags=("{mode}", "ipv{version}", "cloud"),
    each=MODES_VERSIONS,
)
def foreign(bench: Bench, mode: str, version: int) -> None:
    net, mark, port, client = NETS[version], bench.mark(), bench.port(), bench.client(version)
    _mark(bench, version, mark, f"-d {_CLOUD[version]} -p tcp --dport {port}")
    bench.service(mode, protocol=Protocol.FWMARK, fwmark=mark, version=version, port=0, weights=(1,))
    sent = bench.framed(_cloud(tcp(client, port), version), ROUTER_MAC, bench.outside.mac)

    def routed(frame: Packet) -> None:
        frame.src, frame.dst = bench.outside.mac, ROUTER_MAC
        _hop(frame.payload)

    past = bench.from_client(sent.payload)
    must_equal(
        past.one("outside", "a marked packet without the local route"),
        changed(sent, routed),
        "it is routed on",
    )
    _deliver(bench, version, mark)
    frame = bench.from_client(sent.payload).one("inside", "a marked packet with the local route")

    def forwarded(it: Packet) -> None:
        it.src, it.dst = bench.inside.mac, server_mac(1)
        _hop(it.payload)
        if mode == "nat":
            it.payload.dst = net.server(1)

    expected = changed(sent, forwarded)
    if mode == "tun":
        must(frame.dst == server_mac(1), "the packet goes to real server 1", *shown(past))
        inner = frame.payload.payload
        while inner.name not in ("IP", "IPv6"):
            inner = inner.payload
        must_equal(inner, expected.payload, "the inner packet")
    else:
        must_equal(frame, expected, "the packet at the real server")
    if mode != "nat":
        return
    reply = tcp_reply(1, client, sport=port)
    back = bench.from_server(1, reply).one("outside", "the real server's reply")
    must(
        back.payload.src == _CLOUD[version],
        f"the reply comes from {_CLOUD[version]}",
        f"seen: {back.summary()}",
    )
    must(back[TCP].sport == port, f"the reply comes from port {port}", f"seen: {back.summary()}")


def _hop(packet: Packet) -> None:
    if packet.name == "IP":
        packet.ttl -= 1
    else:
        packet.hlim -= 1


@check(
    "fwmark:foreign-address:by-address",
    "a service by address takes a foreign address as well once it is delivered locally: the mark is needed"
    " for the route only",
    tags=("cloud",),
)
def foreign_by_address(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    service = bench.service(port=port, weights=(1,))
    bench.add(replace(service, address=_CLOUD[4]))
    packet = _cloud(tcp(client, port), 4)
    must(
        not bench.from_client(packet).inside,
        "the packet came to a real server before anything delivered it locally",
    )
    bench.apply(f"ip route add local {_CLOUD[4]} dev lo", f"ip route del local {_CLOUD[4]} dev lo")
    must_choose(
        [server_of(bench.from_client(packet).one("inside", "with a local route"))], [1], "with a local route"
    )
