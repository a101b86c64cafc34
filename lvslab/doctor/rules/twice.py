"""Directors that are real servers of each other: a packet that one has forwarded is balanced again
by the next.
"""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.netfilter import rules
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.runs.words import plural


def scheduled_twice(evidence: Evidence) -> Iterator[Finding]:
    """DR and TUN leave the destination alone: at a server that has the virtual address and the
    service in a table of its own, IPVS schedules the packet once more (ip_vs_in, hook LOCAL_IN).

    Since 2.6.39 backup_only=1 keeps a machine from it that runs a backup sync daemon
    (ipvs-sysctl.rst).
    """
    seen: set[tuple[str, str]] = set()
    for director, service, server, other in _crossed(evidence):
        if _is_guarded(other, service) or (other.name, service.name) in seen:
            continue
        seen.add((other.name, service.name))
        lasting = " Persistence makes an unlucky choice last." if service.persistence_timeout else ""
        yield Finding(
            "scheduled-twice",
            f"{other.name} is a real server of {service.name} and has that service in its own table: what"
            f" {director.name} forwards to it, it balances again, maybe back to where it came from, until the"
            f" packet's time to live is used up. Some clients are never answered.{lasting}",
            (
                f"{director.name}: {service.name} -> {server.name} {server.forwarding.value} weight"
                f" {server.weight}",
                f"{other.name}: {service.name} is in its table, too, with"
                f" {plural(len(service.real_servers), 'real server')}",
                *_holds(other, service),
                f"{other.name}: net.ipv4.vs.backup_only ="
                f" {other.sysctl('net.ipv4.vs.backup_only')}; {_daemon(other)}",
            ),
            (
                f"on every director that is not the active one: {other.name}# sysctl -w"
                " net.ipv4.vs.backup_only=1",
                f"which counts only while a backup sync daemon runs, and no master daemon beside it:"
                f" {other.name}# ipvsadm --start-daemon backup --mcast-interface {_link(other)}",
                "keepalived's lvs_sync_daemon with the name of a VRRP instance swaps the two daemons with the"
                " state; or mark packets unless they come from another director's MAC address, and make the"
                " service one of that mark",
            ),
            Certainty.LIKELY if Part.LINKS in other.lacks else Certainty.CERTAIN,
        )


def _crossed(evidence: Evidence) -> Iterator[tuple[Machine, VirtualService, RealServer, Machine]]:
    """(director, its service, a server of it, the other director that this server is), where the
    other one would take the packets and has the service, too.
    """
    for each in evidence.destinations():
        other = each.machine
        if each.masquerades or other is None or other is each.director or not other.ipvs:
            continue
        own = next((service for service in other.ipvs.services if service.name == each.service.name), None)
        if own is None or not any(server.weight for server in own.real_servers):
            continue
        if each.service.address and Part.LINKS not in other.lacks and not other.has(each.service.address):
            continue
        if _is_active(other, each.service):
            continue
        away = [server for server in own.real_servers if not other.has(server.address)]
        if away and all(server.forwarding is not PacketForwarding.MASQ for server in away):
            yield each.director, each.service, each.server, other


def _is_active(other: Machine, service: VirtualService) -> bool:
    """Whether clients' packets come to it first: it has the address where others can ask for it."""
    return any(
        address.ip == service.address and link.name != "lo" and link.arp and link.kind != "dummy"
        for link, address in other.addresses
    )


def _is_guarded(other: Machine, service: VirtualService) -> bool:
    """Whether its IPVS lets packets of another director pass."""
    backup = Part.DAEMONS in other.lacks or (
        other.ipvs is not None and [each.role for each in other.ipvs.daemons] == ["backup"]
    )
    if other.sysctl("net.ipv4.vs.backup_only") and backup:
        return True
    if service.protocol is not Protocol.FWMARK:
        return False
    marking = [rule for rule in rules(other, "mangle") if rule.target == "MARK"]
    return Part.RULES in other.lacks or all("! --mac-source" in rule.options for rule in marking)


def _holds(other: Machine, service: VirtualService) -> list[str]:
    return [
        f"{other.name}: {link.name} has {address.ip}"
        for link, address in other.addresses
        if address.ip == service.address
    ]


def _daemon(other: Machine) -> str:
    roles = [each.role for each in other.ipvs.daemons] if other.ipvs else []
    return f"sync daemons: {', '.join(roles) or 'none'}"


def _link(machine: Machine) -> str:
    """A link on which directors can hear each other."""
    links = [link.name for link in machine.links if link.name != "lo" and link.arp and link.addresses]
    return links[0] if links else "LINK"
