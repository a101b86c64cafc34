"""What a told connection does in the backup: it is bound to its real server and counts there, its
packets are forwarded, and what a master never says does no harm.

Sources: ip_vs_proc_conn, ip_vs_proc_sync_conn and IP_VS_CONN_F_BACKUP_MASK of Linux 6.1.
"""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import UDP
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, server_mac
from lvslab.conformance.check import check
from lvslab.conformance.checks.sync.templates import template
from lvslab.conformance.entries import listing, load, udp
from lvslab.conformance.packets import must
from lvslab.conformance.syncing import FLAGS, SPORT, Backup, entry, segments
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION, VERSIONS_PROTOCOLS
from lvslab.ipvs.service import Protocol, VirtualService
from lvslab.traffic.layers.sync.entries import SyncPeData, SyncPeName
from lvslab.traffic.layers.sync.words import ConnFlag

_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
_OPEN = {"tcp": 1, "udp": 0, "sctp": 8}
"""ESTABLISHED, or UDP's only state, as a message numbers it."""


def _counts(bench: Bench, service: VirtualService, number: int) -> tuple[int, int]:
    name = service.real_servers[number - 1].name
    line = next(each for each in listing(bench, service.selector) if each.server == name)
    return line.active, line.inactive


def _data(version: int, client: str, protocol: str, port: int) -> Packet:
    """A further packet of a connection, which makes none by itself in TCP and SCTP."""
    net = NETS[version]
    if protocol == "tcp":
        packet = segments(version, client, "PA")[0]
        packet.payload.dport = port
        return packet / b"data"
    if protocol == "udp":
        return net.packet(client, net.vip) / UDP(sport=SPORT, dport=port) / b"data"
    return net.packet(client, net.vip) / SCTP(sport=SPORT, dport=port, tag=2) / SCTPChunkData(data=b"data")


@check(
    "sync:bound:ipv{version}-{protocol}",
    "a told connection counts at its real server as active or, with that flag, as inactive, a later message"
    " moves it"
    " there and back, and its packets go to that server, not to round robin's",
    tags=("ipv{version}", "{protocol}"),
    each=VERSIONS_PROTOCOLS,
)
def bound(bench: Bench, version: int, protocol: str) -> None:
    port, client = bench.port(), bench.client(version)
    service = bench.service("dr", protocol=Protocol(protocol), port=port, version=version, weights=(1, 1))
    backup = Backup(bench)
    own: dict[str, Any] = {
        "protocol": _NUMBERS[protocol],
        "state": _OPEN[protocol],
        "vport": port,
        "dport": port,
    }
    flags = int(FLAGS["dr"])
    for told, wanted in ((flags, (1, 0)), (flags | ConnFlag.INACTIVE, (0, 1)), (flags, (1, 0))):
        backup.tell(entry("dr", client, version=version, **{**own, "flags": int(told), "timeout": 300}))
        backup.connections()
        seen = _counts(bench, service, 1)
        must(seen == wanted, f"active and inactive {wanted} expected at server 1, {seen} seen")
    must(_counts(bench, service, 2) == (0, 0), "the other server has connections")
    frame = bench.from_client(_data(version, client, protocol, port)).one(
        "inside", "a packet of the connection"
    )
    must(frame.dst == server_mac(1), "it went to another server", frame.summary())


@check(
    "sync:bound:fwmark:ipv{version}",
    "a told connection of a firewall mark counts at the server of that mark's service, one of another mark"
    " nowhere",
    tags=("fwmark", "ipv{version}"),
    each=EACH_VERSION,
)
def bound_by_mark(bench: Bench, version: int) -> None:
    mark, port = bench.mark(), bench.port()
    service = bench.service(
        "dr", protocol=Protocol.FWMARK, fwmark=mark, version=version, port=0, weights=(1,)
    )
    backup = Backup(bench)
    for number, count in ((mark + 1, 0), (mark, 1)):
        told = entry("dr", bench.client(version), version=version, vport=port, dport=port, fwmark=number)
        backup.tell(told)
        backup.connections()
        seen = _counts(bench, service, 1)
        must(seen == (count, 0), f"mark {number}: {count} active expected, {seen} seen")


_FLAGS = {
    "hashed": (int(ConnFlag.HASHED), 1),
    "sync": (int(ConnFlag.SYNC), 1),
    "one-packet": (int(ConnFlag.ONE_PACKET), 1),
    "nfct": (int(ConnFlag.NFCT), 1),
    "unknown-bits": (0xFFFC0000, 1),
    "hashed-version-0": (int(ConnFlag.HASHED), 0),
}


@check(
    "sync:flags:{name}",
    "flags that a master never sends ({name}) are passed over: the connection is in the table, and its"
    " packets go to its server; where the kernel refuses such an entry, nothing of it is left",
    tags=("hostile",),
    each=[{"name": name} for name in _FLAGS],
)
def hostile_flags(bench: Bench, name: str) -> None:
    flags, sync = _FLAGS[name]
    port, client = bench.port(), bench.client()
    service = bench.service("dr", port=port, weights=(1, 1))
    backup = Backup(bench)
    told = entry("dr", client, sync=sync, vport=port, dport=port)
    told.flags |= flags
    backup.tell(told, version=sync)
    count = len(backup.of(client))
    if flags & ConnFlag.ONE_PACKET and not count:
        # Later kernels refuse it (ip_vs_sync_validate_flags of 7.2). One that takes it as it is has
        # an entry that no listing shows, but that counts at its server.
        hidden = _counts(bench, service, 1)
        must(hidden == (0, 0), f"an entry that is not in the table counts at its server: {hidden}")
        return
    must(count == 1, f"{count} entries about the client, expected 1")
    for _ in range(2):
        frame = bench.from_client(_data(4, client, "tcp", port)).one("inside", "a packet of the connection")
        must(frame.dst == server_mac(1), "it went to another server", frame.summary())


@check(
    "sync:state:{protocol}",
    "an entry of {protocol} in a state one above the last is ignored, one in the last is taken",
    tags=("boundary", "{protocol}"),
    each=[{"protocol": "udp", "last": 0}, {"protocol": "sctp", "last": 13}],
)
def last_state(bench: Bench, protocol: str, last: int) -> None:
    port = bench.port()
    backup = Backup(bench)
    for state, count in ((last + 1, 0), (last, 1)):
        client = bench.client()
        own = {"protocol": _NUMBERS[protocol], "vport": port, "dport": port, "timeout": 60}
        backup.tell(entry("dr", client, state=state, **own))
        found = backup.of(client)
        must(len(found) == count, f"state {state}: {count} entries expected, {found} seen")


@check(
    "sync:backup:engine:{name}",
    "{what}",
    tags=("persistence", "sip"),
    each=[
        {
            "name": "sip",
            "what": "a template told with the SIP engine and a Call-ID keeps that call at its real server",
        },
        {"name": "other-call", "what": "such a template says nothing about another call"},
    ],
)
def engine(bench: Bench, name: str, what: str) -> None:
    load(bench, "ip_vs_pe_sip")
    port, client = bench.port(), bench.client()
    bench.service(
        "dr",
        protocol=Protocol.UDP,
        port=port,
        weights=(1, 1, 1),
        persistence_timeout=300,
        persistence_engine="sip",
    )
    backup = Backup(bench)
    options = [SyncPeData(pe_data=b"one@lvslab.example.org"), SyncPeName(pe_name=b"sip")]
    backup.tell(
        template(client, assured=True, number=1, protocol=17, vport=port, dport=port, options=options)
    )
    found = [each for each in backup.connections() if each.client.address == client]
    seen = [(each.pe_name, each.pe_data, each.destination.address) for each in found]
    must(seen == [("sip", "one@lvslab.example.org", NETS[4].server(1))], f"the table has {seen}")
    call = "one@lvslab.example.org" if name == "sip" else "two@lvslab.example.org"
    text = f"INVITE sip:a@example.org SIP/2.0\r\nCall-ID: {call}\r\n\r\n"
    frame = bench.from_client(udp(client, port, sport=5060, data=text.encode())).one("inside", "the call")
    # Round robin begins with the server that was added last.
    wanted = 1 if name == "sip" else 3
    must(frame.dst == server_mac(wanted), f"the call did not go to server {wanted}", frame.summary())


@check(
    "sync:template:told:ipv{version}",
    "a template told to a backup without its service is bound to no server, so the client is scheduled anew"
    " when the"
    " service is there; told again, it is bound, and the client follows it",
    tags=("persistence", "ipv{version}"),
    each=EACH_VERSION,
)
def template_without_server(bench: Bench, version: int) -> None:
    # ip_vs_proc_conn: ip_vs_try_bind_dest where the entry that it found has no server yet.
    port, clients = bench.port(), [bench.client(version) for _ in range(2)]
    backup = Backup(bench)
    told = [
        template(client, assured=True, version=version, number=1, vport=port, dport=port)
        for client in clients
    ]
    backup.tell(*told)
    must(len(backup.connections()) >= 2, "the templates are not in the table")
    bench.service("dr", port=port, version=version, weights=(1, 1, 1), persistence_timeout=300)
    backup.tell(told[1])
    backup.connections()
    # Round robin begins with the server that was added last.
    for client, wanted in zip(clients, (3, 1), strict=True):
        syn = segments(version, client, "S")[0]
        syn.payload.dport = port
        frame = bench.from_client(syn).one("inside", "the client's SYN")
        must(frame.dst == server_mac(wanted), f"the SYN did not go to server {wanted}", frame.summary())
