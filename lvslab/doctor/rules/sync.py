"""Connection sync of a pair: a master that sends and a backup that listens to it."""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.doctor.finding import Finding
from lvslab.reading.ipvs import SyncDaemon
from lvslab.runs.words import plural


def _daemons(evidence: Evidence, role: str) -> list[tuple[Machine, SyncDaemon]]:
    return [
        (each, daemon)
        for each in evidence.directors
        if each.ipvs
        for daemon in each.ipvs.daemons
        if daemon.role == role
    ]


def _is_pair(evidence: Evidence) -> bool:
    return sum(each.ipvs is not None for each in evidence.directors) > 1


def sync_off(evidence: Evidence) -> Iterator[Finding]:
    """One half of the sync runs and the other does not: what is sent nobody hears, or
    nobody sends.
    """
    masters, backups = _daemons(evidence, "master"), _daemons(evidence, "backup")
    unknown = any(Part.DAEMONS in each.lacks for each in evidence.directors if each.ipvs)
    if unknown or not _is_pair(evidence) or not (masters or backups):
        return
    machine, daemon = (masters or backups)[0]
    others = [each for each in evidence.directors if each is not machine]
    idle = [each for each in others if each.ipvs and not each.ipvs.daemons]
    if bool(masters) == bool(backups):
        yield from _left_out(machine, daemon, idle)
        return
    other = (idle or others)[0]
    missing = "backup" if masters else "master"
    yield Finding(
        "sync-off",
        f"Connection sync runs by half: {machine.name} has a {daemon.role} daemon, but no director has a"
        f" {missing} daemon, so nothing of the connection table gets across.",
        (
            f"{machine.name}: ipvsadm -L --daemon: {daemon.role}, {daemon.link}, syncid {daemon.syncid}",
            f"{other.name}: ipvsadm -L --daemon: no {missing}",
        ),
        (
            f"{other.name}# ipvsadm --start-daemon {missing} --mcast-interface"
            f" {_link_beside(machine, daemon, other)} --syncid {daemon.syncid}",
        ),
    )


def _left_out(machine: Machine, daemon: SyncDaemon, idle: list[Machine]) -> Iterator[Finding]:
    """Of three directors and more one that hears nothing, though it has the same services."""
    own = {service.name for service in machine.ipvs.services} if machine.ipvs else set()
    for other in idle:
        shared = sorted(own & {service.name for service in other.ipvs.services}) if other.ipvs else []
        if not shared:
            continue
        yield Finding(
            "sync-off",
            f"{other.name} has {shared[0]} as the others have, and neither of the sync daemons: it takes over"
            " without their connections.",
            (
                f"{machine.name}: ipvsadm -L --daemon: {daemon.role}, {daemon.link}, syncid {daemon.syncid}",
                f"{other.name}: ipvsadm -L --daemon: none",
            ),
            (
                f"{other.name}# ipvsadm --start-daemon backup --mcast-interface"
                f" {_link_beside(machine, daemon, other)} --syncid {daemon.syncid}",
            ),
        )


def sync_mismatch(evidence: Evidence) -> Iterator[Finding]:
    """A backup takes messages of its own syncid only, on the link where it listens
    (ip_vs_sync.c).
    """
    masters, backups = _daemons(evidence, "master"), _daemons(evidence, "backup")
    if not _is_pair(evidence) or not masters or not backups:
        return
    pairs = [(one, other) for one in masters for other in backups if one[0] is not other[0]]
    deaf = [
        (one, other)
        for one, other in pairs
        if not any(_fits(each, other) for each, same in pairs if same is other)
    ]
    if not deaf:
        return
    (sender, master), (receiver, backup) = deaf[0]
    link = _link_beside(sender, master, receiver)
    same_id = master.syncid == backup.syncid
    why = (
        "listens on a link where the master does not send"
        if same_id
        else "has another syncid, so it drops the master's messages"
    )
    yield Finding(
        "sync-mismatch",
        "Connection sync runs on both directors, but they do not understand each other: the backup daemon"
        f" {why}.",
        (
            f"{sender.name}: ipvsadm -L --daemon: master, {master.link}, syncid {master.syncid}",
            f"{receiver.name}: ipvsadm -L --daemon: backup, {backup.link}, syncid {backup.syncid}",
            (
                f"{receiver.name}: {plural(receiver.ipvs.synced if receiver.ipvs else 0, 'connection')}"
                " of its table came by sync"
            ),
        ),
        (
            f"{receiver.name}# ipvsadm --stop-daemon backup",
            (
                f"{receiver.name}# ipvsadm --start-daemon backup --mcast-interface {link} --syncid"
                f" {master.syncid}"
            ),
        ),
    )


def _fits(one: tuple[Machine, SyncDaemon], other: tuple[Machine, SyncDaemon]) -> bool:
    (sender, master), (receiver, backup) = one, other
    unknown = any(Part.LINKS in machine.lacks for machine in (sender, receiver))
    same_link = unknown or _link_beside(sender, master, receiver) == backup.link
    return backup.syncid in (0, master.syncid) and same_link


def _link_beside(sender: Machine, daemon: SyncDaemon, receiver: Machine) -> str:
    """The receiver's link in the network on which the sender's daemon sends."""
    link = sender.link(daemon.link)
    for address in link.addresses if link else ():
        found = receiver.on_link(address.ip) if address.prefix < 31 else None
        if found:
            return found.name
    return "LINK"
