"""The connection table: entries that lead clients to a server that is drained or gone, and entries
that went too early.
"""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine
from lvslab.doctor.finding import Certainty, Finding
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection
from lvslab.ipvs.service import Protocol, RealServer, VirtualService
from lvslab.runs.words import plural

_SHOWN = 3
_LASTING = ("ESTABLISHED", "UDP")
"""States in which a client still counts on its connection."""


def _line(director: Machine, entry: Connection) -> str:
    return (
        f"{director.name}: ipvsadm -Lnc: {entry.protocol} {entry.client} -> {entry.virtual} ->"
        f" {entry.destination} {entry.state}"
    )


def _is(server: RealServer, entry: Connection) -> bool:
    return entry.destination.address == server.address and server.port in (entry.destination.port, 0)


def deleted_server_swallows(evidence: Evidence) -> Iterator[Finding]:
    """With expire_nodest_conn=0 packets of a connection whose server was deleted are dropped
    silently (ipvs-sysctl.rst).
    """
    for director in evidence.directors:
        ipvs = director.ipvs
        if not ipvs or director.sysctl("net.ipv4.vs.expire_nodest_conn", 1):
            continue
        servers = [server for service in ipvs.services for server in service.real_servers]
        lost = [
            entry
            for entry in ipvs.connections
            if not entry.is_template
            and entry.state in _LASTING
            and not any(_is(server, entry) for server in servers)
        ]
        if lost and servers:
            gone = sorted({str(entry.destination) for entry in lost})
            yield Finding(
                "deleted-server-swallows",
                f"{plural(len(lost), 'connection')} to {', '.join(gone)}, which is no longer in the table:"
                " their packets are dropped without a word, so the clients wait and wait.",
                (
                    f"{director.name}: net.ipv4.vs.expire_nodest_conn = 0",
                    *(_line(director, entry) for entry in lost[:_SHOWN]),
                ),
                (f"{director.name}# sysctl -w net.ipv4.vs.expire_nodest_conn=1",),
            )


def _belongs(entry: Connection, service: VirtualService) -> bool:
    """Whether an entry, or a template, is one of this service's."""
    if service.protocol is Protocol.FWMARK:
        return entry.protocol == "IP" and entry.fwmark == service.fwmark
    return (
        entry.protocol == service.protocol.label
        and entry.virtual.address == service.address
        and entry.virtual.port in (service.port, 0)
    )


def keeps_drained(evidence: Evidence) -> Iterator[Finding]:
    """A persistent client's template sends it back to its server whatever its weight, unless
    expire_quiescent_template=1 (ipvs-sysctl.rst).
    """
    for director in evidence.directors:
        ipvs = director.ipvs
        if not ipvs or director.sysctl("net.ipv4.vs.expire_quiescent_template", 1):
            continue
        for service in ipvs.services:
            for server in service.real_servers:
                templates = [
                    entry
                    for entry in ipvs.connections
                    if entry.is_template and _belongs(entry, service) and _is(server, entry)
                ]
                if server.weight or not templates or not service.persistence_timeout:
                    continue
                yield Finding(
                    "persistence-keeps-drained",
                    f"{server.name} has weight 0 and should run empty, but {service.name} is persistent:"
                    f" it goes on serving {plural(len(templates), 'remembered client')}, after each visit for"
                    f" another {service.persistence_timeout} s.",
                    (
                        f"{director.name}: net.ipv4.vs.expire_quiescent_template = 0",
                        f"{director.name}: {service.name} -> {server.name} weight 0",
                        *(_line(director, entry) for entry in templates[:_SHOWN]),
                    ),
                    (f"{director.name}# sysctl -w net.ipv4.vs.expire_quiescent_template=1",),
                )


def reused_port_pinned(evidence: Evidence) -> Iterator[Finding]:
    """With conn_reuse_mode=0 a new connection from a port that the table still knows goes where the
    old one went (ipvs-sysctl.rst).

    Since 5.16, and in stable trees that took the change, expire_nodest_conn=1 has such a connection
    scheduled anew where the server's weight is 0, whatever the mode (ip_vs_in, ip_vs_core.c).
    """
    for director in evidence.directors:
        ipvs = director.ipvs
        if not ipvs or director.sysctl("net.ipv4.vs.conn_reuse_mode", 1):
            continue
        expires = bool(director.sysctl("net.ipv4.vs.expire_nodest_conn"))
        if expires and not director.is_before(5, 16):
            continue
        for service in ipvs.services:
            for server in service.real_servers:
                pinned = [
                    entry
                    for entry in ipvs.connections
                    if not entry.is_template
                    and entry.protocol == "TCP"
                    and _belongs(entry, service)
                    and _is(server, entry)
                ]
                if server.weight or not pinned:
                    continue
                yield Finding(
                    "reused-port-pinned",
                    f"{server.name} has weight 0, but a client that comes again from a port of which an entry"
                    " is left, even of a closed connection, is sent to it once more, and that keeps the"
                    " entry alive.",
                    (
                        f"{director.name}: net.ipv4.vs.conn_reuse_mode = 0",
                        *(
                            [f"{director.name}: kernel {director.sysctls['kernel.osrelease']}"]
                            if expires
                            else ()
                        ),
                        f"{director.name}: {service.name} -> {server.name} weight 0",
                        *(_line(director, entry) for entry in pinned[:_SHOWN]),
                    ),
                    _unpinning(director, service, server),
                    Certainty.LIKELY if expires else Certainty.CERTAIN,
                )


def _unpinning(director: Machine, service: VirtualService, server: RealServer) -> tuple[str, ...]:
    """What lets clients go. Before 5.9 conn_reuse_mode=1 drops the first SYN from a reused port
    wherever connections are tracked, so the client waits a second (ip_vs_conn_uses_conntrack).
    """
    if not (director.is_before(5, 9) and director.sysctl("net.ipv4.vs.conntrack")):
        return (f"{director.name}# sysctl -w net.ipv4.vs.conn_reuse_mode=1",)
    return (
        f"{director.name}# sysctl -w net.ipv4.vs.expire_nodest_conn=1",
        f"{director.name}# ipvsadm -d {' '.join(service.selector)} -r {server.name}",
        "or a kernel from 5.16 on, which needs no more than expire_nodest_conn=1; conn_reuse_mode=1 would"
        " help, too, but before 5.9 with conntrack=1 every reused port then waits for a second",
    )


def idle_timeout(evidence: Evidence) -> Iterator[Finding]:
    """A connection that an end believes in and of which no director knows, silent for longer than
    an entry lives.

    An entry that went for another reason has not been idle for so long.
    """
    directors = [each for each in evidence.directors if each.ipvs and each.ipvs.timeouts]
    entries = [entry for each in directors if each.ipvs for entry in each.ipvs.connections]
    known = {(entry.client, end) for entry in entries for end in (entry.virtual, entry.destination)}
    for director in directors:
        assert director.ipvs and director.ipvs.timeouts
        limit = director.ipvs.timeouts.tcp
        services = [service for service in director.ipvs.services if service.protocol is Protocol.TCP]
        ends = {Endpoint(service.address, service.port) for service in services}
        ends |= {server.endpoint for service in services for server in service.real_servers}
        forgotten = [
            (machine, socket)
            for machine in evidence.machines
            if not machine.ipvs
            for socket in machine.sockets
            if socket.state == "ESTABLISHED" and socket.remote and (socket.idle or 0) > limit
            for client, service in ((socket.remote, socket.local), (socket.local, socket.remote))
            if service in ends and (client, service) not in known
        ]
        if forgotten:
            yield Finding(
                "idle-timeout",
                f"{plural(len(forgotten), 'connection')} idle for longer than the {limit} s that the director"
                " remembers one: it has forgotten, an end has not, and what that sends next is refused.",
                (
                    *(
                        f"{machine.name}: ss -tni: ESTAB {socket.local} {socket.remote}, idle for"
                        f" {socket.idle:.0f} s, and no director has an entry"
                        for machine, socket in forgotten[:_SHOWN]
                    ),
                    f"{director.name}: ipvsadm -L --timeout: tcp {limit} s",
                ),
                (
                    f"{director.name}# ipvsadm --set 7200 0 0",
                    (
                        "or have the programs send TCP keepalives more often than that (SO_KEEPALIVE;"
                        " net.ipv4.tcp_keepalive_time)"
                    ),
                ),
            )
