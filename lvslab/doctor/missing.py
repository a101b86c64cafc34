"""What could not be concluded, because nobody has given what it takes."""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.ipvs.service import PacketForwarding, Protocol
from lvslab.runs.words import plural

_OPEN: dict[Part, str] = {
    Part.TABLE: "what is balanced",
    Part.CONNECTIONS: "whether connections are stuck, kept at drained servers, or lost",
    Part.SYSCTLS: "what becomes of connections whose server is drained or deleted, and whether it forwards",
    Part.RELEASE: "how its kernel behaves where releases differ (conn_reuse_mode, expire_nodest_conn)",
    Part.LINKS: "whether it has the virtual addresses",
    Part.RULES: "which packets get a firewall mark, are translated, or dropped",
}
"""Of a director; what else is missing only adds certainty."""


def missing(evidence: Evidence) -> list[str]:
    """Lines for people: what was not given, of whom, and what stays open without it."""
    of_machines: dict[str, list[str]] = {}
    for name, line in _directors(evidence):
        of_machines.setdefault(line, []).append(name)
    lines = [f"{', '.join(dict.fromkeys(names))}: {line}" for line, names in of_machines.items()]
    return [*lines, *_servers(evidence)]


def _directors(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """(name of a machine, what was not given of it)."""
    for director in evidence.directors:
        marked = director.ipvs and any(
            service.protocol is Protocol.FWMARK for service in director.ipvs.services
        )
        for part, consequence in _OPEN.items():
            needed = part is not Part.RULES or marked or _masquerades(director)
            if part in director.lacks and needed:
                yield director.name, f"no `{part}`: it stays open {consequence}"
        yield from ((director.name, line) for line in _parameters(director))
    pair = [each for each in evidence.directors if each.ipvs]
    if len(pair) > 1:
        for director in pair:
            if Part.DAEMONS in director.lacks:
                yield director.name, f"no `{Part.DAEMONS}`: it stays open whether it synchronises"


def _parameters(director: Machine) -> Iterator[str]:
    """Parameters that count here and that the ones which were given leave out."""
    services = director.ipvs.services if director.ipvs else ()
    if not director.lacks or Part.SYSCTLS in director.lacks:
        return
    drained = any(not server.weight for service in services for server in service.real_servers)
    persistent = drained and any(service.persistence_timeout for service in services)
    wanted = {
        "net.ipv4.vs.expire_nodest_conn": bool(director.ipvs and director.ipvs.connections),
        "net.ipv4.vs.conn_reuse_mode": drained,
        "net.ipv4.vs.expire_quiescent_template": persistent,
        "net.ipv4.ip_forward": _masquerades(director),
    }
    for key, counts in wanted.items():
        if counts and key not in director.sysctls:
            yield f"no `sysctl {key}`, on which it depends what becomes of connections"


def _masquerades(director: Machine) -> bool:
    services = director.ipvs.services if director.ipvs else ()
    return any(
        server.forwarding is PacketForwarding.MASQ for service in services for server in service.real_servers
    )


def _servers(evidence: Evidence) -> Iterator[str]:
    """Real servers of which nothing was given: the faults of servers show there alone."""
    unread: dict[str, str] = {}
    for each in evidence.destinations():
        if each.machine is None and each.director.lacks:
            ways = (
                "its way back to the clients"
                if each.masquerades
                else "whether it has the virtual address, keeps it out of ARP and answers by itself"
            )
            unread.setdefault(each.server.address, ways)
    for ways in dict.fromkeys(unread.values()):
        addresses = [address for address, way in unread.items() if way == ways]
        shown = ", ".join(addresses[:3]) + (", …" if len(addresses) > 3 else "")
        yield (
            f"{plural(len(addresses), 'real server')} ({shown}) not read: it stays open, of each, {ways}, and"
            " whether a program listens on its port"
        )
