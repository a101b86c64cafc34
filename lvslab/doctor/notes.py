"""What looks odd and is right, or depends on what a person wants: no fault, so no finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.doctor.rules.files import pools
from lvslab.ipvs.listings import Connection
from lvslab.ipvs.service import PacketForwarding, Protocol, VirtualService

_MOST = 20
"""Entries that are looked at: the twenty-first tells no more."""
_SYNCED_STATES = ("ESTABLISHED", "FIN_WAIT", "CLOSE", "CLOSE_WAIT", "TIME_WAIT")
"""TCP's states in which an entry is told to the backup (ip_vs_sync_conn_needed, ip_vs_sync.c)."""
_FTP = 21


def notes(evidence: Evidence) -> list[str]:
    """Lines for people, each with the machine that it is about."""
    return list(dict.fromkeys(line for note in _NOTES for line in note(evidence)))


def entries_not_at_the_backup(evidence: Evidence) -> Iterator[str]:
    """Why an entry of the master is missing at the backup though both daemons run."""
    directors = [each for each in evidence.directors if each.ipvs and Part.CONNECTIONS not in each.lacks]
    masters = [each for each in directors if _runs(each, "master")]
    backups = [each for each in directors if each not in masters and _may_back_up(each)]
    for master in masters[:1]:
        for backup in backups:
            yield from _missing_at(master, backup)


def _runs(machine: Machine, role: str) -> bool:
    return machine.ipvs is not None and any(each.role == role for each in machine.ipvs.daemons)


def _may_back_up(machine: Machine) -> bool:
    return Part.DAEMONS in machine.lacks or _runs(machine, "backup")


def _missing_at(master: Machine, backup: Machine) -> Iterator[str]:
    assert master.ipvs and backup.ipvs
    there = {(entry.client, entry.virtual) for entry in backup.ipvs.connections}
    for entry in master.ipvs.connections[:_MOST]:
        if entry.is_template or entry.protocol != "TCP" or (entry.client, entry.virtual) in there:
            continue
        yield (
            f"{backup.name}: the entry {entry.client} -> {entry.virtual} ({entry.state} at {master.name}) is"
            f" not there: {_why(master, entry)}"
        )


def _why(master: Machine, entry: Connection) -> str:
    """Why the sync has not told an entry (ipvs-sysctl.rst: sync_threshold, sync_refresh_period)."""
    if entry.state not in _SYNCED_STATES:
        return f"TCP is told from ESTABLISHED on, {entry.state} never"
    words = master.sysctls.get("net.ipv4.vs.sync_threshold", "3 50").split()
    threshold, period = (words + ["3", "50"][len(words) :])[:2]
    refresh = master.sysctl("net.ipv4.vs.sync_refresh_period")
    again = (
        f"again every {refresh} s"
        if refresh
        else f"again {period} packets later, and never while it is idle (sync_refresh_period = 0)"
    )
    return (
        f"an established one is told with its packet number {threshold}, {again}; within 2 s, and to those"
        " who listen then: a backup that starts later gets no copy of the table"
    )


def local_server_says_route(evidence: Evidence) -> Iterator[str]:
    """A director that is its own real server, as in two boxes that are everything."""
    for each in evidence.destinations():
        own = each.machine is each.director
        if own and each.server.forwarding is PacketForwarding.DR:
            yield (
                f"{each.director.name}: {each.service.name} -> {each.server.name} is this machine itself:"
                " that it says Route, not Local, is right on every kernel since 2.6.37"
            )


def expired_with_the_next_packet(evidence: Evidence) -> Iterator[str]:
    """What expire_nodest_conn=1 does with entries of deleted servers, by release."""
    for director in evidence.directors:
        ipvs = director.ipvs
        if not ipvs or not director.sysctl("net.ipv4.vs.expire_nodest_conn"):
            continue
        servers = {
            (server.address, server.port) for service in ipvs.services for server in service.real_servers
        }
        left = [
            entry
            for entry in ipvs.connections
            if not entry.is_template
            and (entry.destination.address, entry.destination.port) not in servers
            and (entry.destination.address, 0) not in servers
        ]
        if not left or not servers:
            continue
        old = director.is_before(5, 9)
        if old is None:
            when = "since 5.9 they go within a second of the deletion, before with their next packet"
        elif old:
            first = director.sysctl("net.ipv4.vs.conntrack")
            dropped = ", which is dropped; the one after it is scheduled anew (conntrack = 1)"
            when = f"they go with their next packet{dropped if first else ''} (at once since 5.9)"
        else:
            when = "they go within a second of the deletion (at once since 5.9)"
        yield (
            f"{director.name}: {len(left)} of its entries lead to servers that are no longer in the table;"
            f" with expire_nodest_conn = 1 {when}"
        )


def settings_of_ldirectord(evidence: Evidence) -> Iterator[str]:
    """What settings of ldirectord.cf do that their names do not say (ldirectord 4.12)."""
    for director in evidence.directors:
        if director.ldirectord is None:
            continue
        for pool in director.ldirectord.pools:
            where = f"{director.name}: {pool.file}:{pool.line}: {pool.name}"
            sorry, methods = pool.sorry, {each.server.forwarding for each in pool.servers}
            if sorry and sorry.forwarding is PacketForwarding.DR and not sorry.address.startswith("127."):
                yield (
                    f"{where}: the fallback {sorry.name} is reached by direct routing (gate), as every"
                    " fallback without a method: it must hold the virtual address and keep it out of ARP"
                )
            connected = any(service.protocol is not Protocol.UDP for service in pool.services)
            inhibits = any(each.inhibits for each in pool.servers)
            if connected and inhibits and PacketForwarding.MASQ not in methods:
                yield (
                    f"{where}: quiescent=yes keeps the entries of a dead server: its clients hang until their"
                    " own time-out; quiescent=no with expire_nodest_conn=1 ends them with the next packet"
                )
            for service in pool.services:
                if service.persistence_timeout == 1:
                    yield f"{where}: persistent=1 is one second: it binds hardly any client to a server"


def ftp_by_masquerading(evidence: Evidence) -> Iterator[str]:
    """Active and passive data connections of FTP need a helper in NAT."""
    for director in evidence.directors:
        wanted = [service for _, pool in pools(director) for service in pool.services]
        present = list(director.ipvs.services) if director.ipvs else []
        for service in dict.fromkeys(each.name for each in wanted + present if _is_masked_ftp(each)):
            yield (
                f"{director.name}: {service}: FTP by masquerading works with the module ip_vs_ftp alone,"
                " which finds the addresses in PORT, PASV, EPRT and EPSV (the last two since 4.18)"
            )


def _is_masked_ftp(service: VirtualService) -> bool:
    return (
        service.protocol is Protocol.TCP
        and service.port == _FTP
        and any(server.forwarding is PacketForwarding.MASQ for server in service.real_servers)
    )


def counters_stand_still(evidence: Evidence) -> Iterator[str]:
    """Without the estimator the sums that `ipvsadm --stats` shows are not brought up to date
    (estimation_timer, ip_vs_est.c of 6.1; ipvs-sysctl.rst).
    """
    for director in evidence.directors:
        if not director.sysctl("net.ipv4.vs.run_estimation", 1):
            yield (
                f"{director.name}: net.ipv4.vs.run_estimation = 0: what ipvsadm --stats and --rate show"
                " stands still, and nothing is said here that only counters tell"
            )


_NOTES: tuple[Callable[[Evidence], Iterable[str]], ...] = (
    entries_not_at_the_backup,
    local_server_says_route,
    expired_with_the_next_packet,
    settings_of_ldirectord,
    ftp_by_masquerading,
    counters_stand_still,
)
