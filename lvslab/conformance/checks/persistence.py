"""Persistence: a client comes back to its real server. Facts from ipvsadm(8) and ip_vs_core.c,
ip_vs_sched_persist.
"""

from __future__ import annotations

from dataclasses import replace

from scapy.layers.inet import TCP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.entries import (
    chosen,
    client_in_block,
    entries,
    entry,
    must_choose,
    must_reset,
    server_of,
    sip_service,
    tcp,
    tcp_reply,
    udp,
    udp_reply,
)
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION
from lvslab.ipvs.service import Protocol

_MODES = [
    {"mode": mode, "version": version, "protocol": protocol}
    for mode, version, protocol in (
        ("nat", 4, "tcp"),
        ("nat", 4, "udp"),
        ("nat", 6, "tcp"),
        ("nat", 6, "udp"),
        ("dr", 4, "tcp"),
        ("dr", 6, "udp"),
        ("tun", 4, "udp"),
        ("tun", 6, "tcp"),
    )
]
_GROUPS = [
    {"version": 4, "mask": "255.255.255.0", "inside": 255, "outside": 256},
    {"version": 4, "mask": "255.255.255.252", "inside": 3, "outside": 4},
    {"version": 4, "mask": "", "inside": 0, "outside": 1},
    {"version": 6, "mask": "112", "inside": 65535, "outside": 65536},
    {"version": 6, "mask": "126", "inside": 3, "outside": 4},
    {"version": 6, "mask": "", "inside": 0, "outside": 1},
]


def _first(protocol: str, client: str, port: int, sport: int) -> Packet:
    return tcp(client, port, sport=sport) if protocol == "tcp" else udp(client, port, sport=sport)


@check(
    "persistence:same-client:{mode}:ipv{version}:{protocol}",
    "in a persistent service all connections of a client go to one real server and its port, whatever the"
    " scheduler would choose",
    tags=("{mode}", "ipv{version}", "{protocol}"),
    each=_MODES,
)
def same_client(bench: Bench, mode: str, version: int, protocol: str) -> None:
    port = bench.port()
    bench.service(
        mode,
        protocol=Protocol(protocol),
        port=port,
        version=version,
        weights=(1, 1, 1),
        persistence_timeout=300,
    )
    one, other = bench.client(version), bench.client(version)
    servers = chosen(bench, *(_first(protocol, one, port, 40000 + number) for number in range(4)))
    must_choose(servers, servers[:1] * 4, "four connections of one client")
    following = chosen(bench, *(_first(protocol, other, port, 40000 + number) for number in range(2)))
    must_choose(following, following[:1] * 2, "two connections of another client")
    must(
        following[0] != servers[0],
        f"the second client was not scheduled by round robin: both have server {servers[0]}",
    )
    frame = bench.from_client(_first(protocol, one, port, 40004)).one("inside", "a fifth connection")
    arrived, wanted = frame.payload.payload.dport, SERVER_PORT if mode == "nat" else port
    must(arrived == wanted, f"a fifth connection has port {arrived} at the server, not {wanted}")


@check("persistence:off", "without persistence the scheduler chooses anew for every connection of a client")
def without(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    servers = chosen(bench, *(tcp(client, port, sport=40000 + number) for number in range(4)))
    must_choose(servers, [servers[0], 3 - servers[0]] * 2, "four connections of one client with round robin")


@check(
    "persistence:per-service",
    "a client's real server in one service says nothing about another service at the same address",
)
def per_service(bench: Bench) -> None:
    first, second, client = bench.port(), bench.port(), bench.client()
    bench.service(port=first, persistence_timeout=300)
    bench.service(port=second, persistence_timeout=300)
    start = chosen(bench, tcp(client, first))[0]
    # The second service's round robin is moved on by one, so that the same start would give the
    # other server.
    chosen(bench, tcp(bench.client(), second))
    must_choose(chosen(bench, tcp(client, second)), [3 - start], "the same client at the second service")
    must_choose(
        chosen(bench, tcp(client, first, sport=40001)), [start], "the client back at the first service"
    )


@check(
    "persistence:netmask:ipv{version}:{mask}",
    "-M groups clients: the first and the last address inside the mask share a real server, the next address"
    " does not",
    tags=("ipv{version}",),
    each=[{**values, "mask": values["mask"] or "default"} for values in _GROUPS],
)
def netmask(bench: Bench, version: int, mask: str, inside: int, outside: int) -> None:
    port, client = bench.port(), client_in_block(version)
    wanted = "" if mask == "default" else mask
    bench.service(
        port=port, version=version, weights=(1, 1, 1), persistence_timeout=300, persistence_netmask=wanted
    )
    start = chosen(bench, tcp(client(0), port))[0]
    must_choose(
        chosen(bench, tcp(client(inside), port, sport=40001)),
        [start],
        f"the client {client(inside)} inside the mask",
    )
    neighbour = chosen(bench, tcp(client(outside), port))[0]
    must(
        neighbour != start, f"the client {client(outside)} outside the mask has the same real server {start}"
    )
    clients = [template.client.address for template in entries(bench, port=port, templates=True)]
    must(
        sorted(clients) == sorted({client(0), client(outside)}),
        "the templates must hold the masked addresses",
        f"seen: {clients}",
    )


@check(
    "persistence:port-zero:ipv{version}",
    "a persistent service with port 0 takes every port of its address that no other service has, all with one"
    " real server",
    tags=("ipv{version}",),
    each=EACH_VERSION,
)
def port_zero(bench: Bench, version: int) -> None:
    special, client = bench.port(), bench.client(version)
    bench.service(port=0, version=version, persistence_timeout=1, weights=(1, 1, 1))
    seen = bench.from_client(*(tcp(client, port) for port in (1, 80, 65535)))
    must(bool(seen.inside), "ports 1, 80, 65535: no packet reached a real server", *seen.summaries())
    must_choose(
        [server_of(each) for each in seen.inside], [server_of(seen.inside[0])] * 3, "ports 1, 80, 65535"
    )
    ports = [each[TCP].dport for each in seen.inside]
    must(ports == [1, 80, 65535], f"NAT keeps the port when the real server has port 0, seen: {ports}")
    bench.service(port=special, version=version, weights=(0, 0, 0, 1))
    must_choose(chosen(bench, tcp(client, special, sport=40001)), [4], "a port that has a service of its own")
    # Another protocol of the same address has no service; the director's own UDP answers.
    must(
        not bench.from_client(udp(client, 80)).inside, "a UDP datagram went to a real server of a TCP service"
    )


@check(
    "persistence:ftp:port-{port}",
    "a persistent service with port 21 takes port 20 and the unprivileged ports (1024 and up) as well, but"
    " not {other}",
    each=[{"port": 20, "other": 19}, {"port": 1024, "other": 1023}, {"port": 65535, "other": 22}],
)
def ftp(bench: Bench, port: int, other: int) -> None:
    # ip_vs_service_find: FTPPORT for FTPDATA and for ports from PROT_SOCK on; the template then has
    # port 0.
    client = bench.client()
    service = bench.service(port=21, persistence_timeout=1, weights=(1, 1, 1))
    start = chosen(bench, tcp(client, 21))[0]
    frame = bench.from_client(tcp(client, port, sport=40001)).one("inside", f"port {port}")
    must_choose([server_of(frame)], [start], f"the data connection to port {port}")
    must(frame[TCP].dport == port, f"the data connection keeps port {port}, seen: {frame[TCP].dport}")
    must_reset(bench.from_client(tcp(client, other, sport=40002)), f"port {other}")
    bench.ipvsadm.edit_service(replace(service, persistence_timeout=0))
    must_reset(
        bench.from_client(tcp(client, port, sport=40003)),
        f"port {port} of the same service without persistence",
    )


@check(
    "persistence:ftp:from-port-20",
    "what comes from client port 20 is never scheduled: IPVS takes it for a real server's active FTP data;"
    " port 19 and 21 are",
)
def ftp_data(bench: Bench) -> None:
    # ip_vs_schedule, FTPDATA; for every service, not only those on port 21, and for UDP as well.
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    must_reset(bench.from_client(tcp(client, port, sport=20)), "a SYN from port 20")
    chosen(bench, tcp(client, port, sport=19), tcp(client, port, sport=21))
    bench.service(protocol=Protocol.UDP, port=port)
    must(not bench.from_client(udp(client, port, sport=20)).inside, "a datagram from port 20 was scheduled")
    chosen(bench, udp(client, port, sport=19), udp(client, port, sport=21))


@check(
    "persistence:template:{protocol}",
    "-Lnc shows a template with client port 0, state NONE and, once a reply proves a connection, ASSURED",
    tags=("{protocol}",),
    spoilt_by=1.0,
    each=[{"protocol": "tcp"}, {"protocol": "udp"}],
)
def template(bench: Bench, protocol: str) -> None:
    # ip_vs_control_assure_ct: TCP on ESTABLISHED, UDP on the first reply.
    port, client, net = bench.port(), bench.client(), NETS[4]
    bench.service(protocol=Protocol(protocol), port=port, weights=(1,), persistence_timeout=100)
    chosen(bench, _first(protocol, client, port, 40000))
    found = entry(bench, client, "after the first packet", template=True)
    seen = (found.protocol, found.state, found.client.port, str(found.virtual), str(found.destination))
    wanted = (protocol.upper(), "NONE", 0, f"{net.vip}:{port}", f"{net.server(1)}:{SERVER_PORT}")
    must(seen == wanted, "the template is not as expected", f"expected: {wanted}", f"seen:     {seen}")
    must(
        98 <= found.expires <= 100,
        f"the template expires after the persistence timeout of 100 s, seen: {found.expires}",
    )
    if protocol == "tcp":
        bench.from_server(1, tcp_reply(1, client))
        bench.from_client(tcp(client, port, "A", seq=1001, ack=5001))
    else:
        bench.from_server(1, udp_reply(1, client))
    state = entry(bench, client, "after the reply", template=True).state
    must(state == "ASSURED", f"the template must be ASSURED after the reply, seen: {state}")


@check("persistence:template:none", "without persistence there is a connection entry and no template")
def no_template(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    chosen(bench, tcp(client, port))
    entry(bench, client, "after the SYN")
    must(not entries(bench, client, templates=True), "there is a template")


@check(
    "persistence:quiescent:{mode}",
    "a persistent client {does} to a real server of weight 0 with expire_quiescent_template={value}",
    tags=("sysctl",),
    each=[
        {"mode": "off", "value": 0, "does": "still goes"},
        {"mode": "on", "value": 1, "does": "does not go"},
    ],
)
def quiescent(bench: Bench, mode: str, value: int, does: str) -> None:
    bench.sysctl("net.ipv4.vs.expire_quiescent_template", value)
    port, client = bench.port(), bench.client()
    service = bench.service(port=port, persistence_timeout=300)
    start = chosen(bench, tcp(client, port))[0]
    bench.ipvsadm.edit_server(service, replace(service.real_servers[start - 1], weight=0))
    must_choose(chosen(bench, tcp(bench.client(), port)), [3 - start], "a new client")
    wanted = 3 - start if value else start
    must_choose(
        chosen(bench, tcp(client, port, sport=40001)), [wanted], "the persistent client's next connection"
    )
    must_choose(chosen(bench, tcp(client, port, "A")), [start], "a packet of its first connection")


@check(
    "persistence:server-removed",
    "a template of a removed real server counts no longer: the client's next connection goes to another",
)
def removed(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    service = bench.service(port=port, persistence_timeout=300)
    start = chosen(bench, tcp(client, port))[0]
    bench.ipvsadm.delete_server(service, service.real_servers[start - 1])
    must_choose(chosen(bench, tcp(client, port, sport=40001)), [3 - start], "the next connection")
    bench.ipvsadm.add_server(service, service.real_servers[start - 1])
    must_choose(
        chosen(bench, tcp(client, port, sport=40002)),
        [3 - start],
        "a connection after the server has come back",
    )


@check(
    "persistence:sip",
    "with the SIP engine a client's calls with one Call-ID go to one real server, its other calls and other"
    " clients are scheduled anew",
    tags=("udp",),
)
def sip(bench: Bench) -> None:
    # ip_vs_pe_sip.c, ip_vs_sip_ct_match: the Call-ID is a key beside the (masked) client address,
    # not instead of it.
    port, client, other = bench.port(), bench.client(), bench.client()
    sip_service(bench, port)
    servers = chosen(bench, *(_invite(client, port, 5060 + number, "one@lvslab") for number in range(3)))
    must_choose(servers, servers[:1] * 3, "three datagrams of one client with the same Call-ID")
    others = chosen(
        bench, _invite(client, port, 5070, "two@lvslab"), _invite(other, port, 5060, "one@lvslab")
    )
    must(
        sorted([servers[0], *others]) == [1, 2, 3],
        "round robin gives another Call-ID and another client a real server of their own",
        f"the client's first call: server {servers[0]}; its second: {others[0]}; the other client's:"
        f" {others[1]}",
    )
    engines = {(template.pe_name, template.pe_data) for template in entries(bench, port=port, templates=True)}
    must(
        engines == {("sip", "one@lvslab"), ("sip", "two@lvslab")},
        "-Lnc shows the Call-IDs",
        f"seen: {sorted(engines)}",
    )


@check(
    "persistence:sip:netmask",
    "with the SIP engine and -M a call keeps its real server when the client changes its address inside the"
    " mask, and not outside",
    tags=("udp",),
)
def sip_netmask(bench: Bench) -> None:
    port, client = bench.port(), client_in_block(4)
    sip_service(bench, port, persistence_netmask="255.255.255.0")
    first = chosen(bench, _invite(client(1), port, 5060, "one@lvslab"))[0]
    must_choose(
        chosen(bench, _invite(client(255), port, 5060, "one@lvslab")),
        [first],
        "the call from inside the mask",
    )
    outside = chosen(bench, _invite(client(256), port, 5060, "one@lvslab"))[0]
    must(outside != first, f"the call from outside the mask has the same real server {first}")


@check(
    "persistence:sip:no-call-id",
    "with the SIP engine a datagram without a Call-ID is dropped without a word",
    tags=("udp",),
)
def sip_without(bench: Bench) -> None:
    # ip_vs_sip_fill_param returns -EINVAL, ip_vs_sched_persist then asks for NF_DROP.
    port, client = bench.port(), bench.client()
    sip_service(bench, port)
    bench.from_client(udp(client, port, data=b"no call")).nothing("the datagram without a Call-ID")
    chosen(bench, _invite(client, port, 5060, "one@lvslab"), what="the datagram with a Call-ID")


def _invite(client: str, port: int, sport: int, call: str) -> Packet:
    text = (
        f"INVITE sip:a@example.org SIP/2.0\r\nVia: SIP/2.0/UDP {client}\r\nCall-ID: {call}\r\nCSeq: 1"
        " INVITE\r\n\r\n"
    )
    return udp(client, port, sport=sport, data=text.encode())
