"""NAT: the replies of the real servers must come back through the director, which must route them
on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace

from lvslab.doctor.evidence import Destination, Evidence, Machine, Part
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.netfilter import rules, source_nat
from lvslab.doctor.rules.traffic import one_way, used
from lvslab.reading.network import Route


def ip_forward_off(evidence: Evidence) -> Iterator[Finding]:
    """Replies of masqueraded servers pass the director's FORWARD path (ip_vs_core.c, hook FORWARD),
    which ip_forward opens.
    """
    for director in evidence.directors:
        ours = [each for each in evidence.destinations() if each.director is director and each.masquerades]
        closed = sorted({key for each in ours for key in _closed(director, each.server.address)})
        if not closed:
            continue
        family = "IPv6" if all("ipv6" in key for key in closed) else "IPv4"
        opening = dict.fromkeys(key if "ipv6" in key else "net.ipv4.ip_forward" for key in closed)
        yield Finding(
            "ip-forward-off",
            f"The director does not forward {family} packets: connections are counted in, but the real"
            " servers' replies, which it would have to route on to the clients, end there.",
            (*(f"{director.name}: {key} = 0" for key in closed), *one_way(director)),
            tuple(f"{director.name}# sysctl -w {opened}=1" for opened in opening),
        )


def _closed(director: Machine, server: str) -> list[str]:
    """The parameter that keeps the director from forwarding what comes from a real server: the
    receiving link's own counts.
    """
    if ":" in server:
        key = "net.ipv6.conf.all.forwarding"
        return [key] if director.sysctls.get(key) == "0" else []
    if "net.ipv4.ip_forward" not in director.sysctls:
        return []
    link = director.on_link(server)
    key = f"net.ipv4.conf.{link.name}.forwarding" if link else ""
    if key in director.sysctls:
        if director.sysctl(key):
            return []
        return [key] if director.sysctl("net.ipv4.ip_forward") else ["net.ipv4.ip_forward"]
    return [] if director.sysctl("net.ipv4.ip_forward") else ["net.ipv4.ip_forward"]


def tracking_off(evidence: Evidence) -> Iterator[Finding]:
    """netfilter sees balanced packets only with net.ipv4.vs.conntrack=1 (ipvs-sysctl.rst): its
    source NAT needs that.
    """
    for director in evidence.directors:
        if (
            not director.ipvs
            or "net.ipv4.vs.conntrack" not in director.sysctls
            or director.sysctl("net.ipv4.vs.conntrack")
        ):
            continue
        meant = [
            rule
            for rule in (*rules(director, "nat", "POSTROUTING"), *rules(director, "filter"))
            if "--vaddr" in rule.options
            or "--vport" in rule.options
            or "--ipvs" in rule.options
            or rule.target == "SYNPROXY"
        ]
        if meant:
            yield Finding(
                "conntrack-off",
                "netfilter has rules for balanced connections, but IPVS does not have connections tracked, so"
                " the rules never match.",
                (
                    f"{director.name}: net.ipv4.vs.conntrack = 0",
                    *(f"{director.name}: {rule.text}" for rule in meant),
                ),
                (f"{director.name}# sysctl -w net.ipv4.vs.conntrack=1",),
            )


def return_path(evidence: Evidence) -> Iterator[Finding]:
    """Each masqueraded server's way back to each client must lead to the director, or the client
    gets replies from a stranger.
    """
    if any(Part.LINKS in director.lacks for director in evidence.directors):
        return
    rips = {each.server.address for each in evidence.destinations()}
    clients = [
        each
        for each in evidence.clients()
        if each not in rips and not any(one.has(each) for one in evidence.directors)
    ]
    seen: set[tuple[str, str, Route | None]] = set()
    for each in evidence.destinations():
        if not each.masquerades or each.machine is None:
            continue
        for client in clients:
            if (":" in client) != (":" in each.server.address):
                continue
            finding = _bypass(evidence, each, client)
            path = each.machine.paths.get((each.server.address, client))
            key = (
                (finding.fault, each.machine.name, replace(path, destination="") if path else None)
                if finding
                else None
            )
            if finding and key and key not in seen:
                seen.add(key)
                # a rule that translates sources would bring the replies back
                unsure = Part.RULES in each.director.lacks
                yield replace(finding, certainty=Certainty.LIKELY) if unsure else finding


def _bypass(evidence: Evidence, each: Destination, client: str) -> Finding | None:
    machine, rip, director = each.machine, each.server.address, each.director
    assert machine is not None
    if (
        (rip, client) not in machine.paths
        or source_nat(director, each.service, client, rip)
        or _beside_the_point(each, client)
    ):
        return None
    path = machine.paths[rip, client]
    if path and path.via and any(one.has(path.via) for one in evidence.directors):
        return None
    gateway = _gateway(evidence, director, machine, rip)
    ip = "ip -6" if ":" in rip else "ip"
    asked = f"{machine.name}: ip route get {client} from {rip}"
    if path is None or path.kind not in ("unicast", "local"):
        return Finding(
            "wrong-gateway",
            f"{machine.name} has no route back to the clients, so its replies never leave it.",
            (f"{asked}: no route", *one_way(director)),
            (f"{machine.name}# {ip} route replace default via {gateway}",),
        )
    if path.kind == "local":
        return None
    own = next((link for link, address in machine.addresses if address.ip == rip), None)
    way = f"via {path.via}" if path.via else "on the link"
    seen = f"{asked}: {way}, dev {path.link}"
    if own and path.link != own.name:
        return Finding(
            "reply-bypasses-director",
            f"{machine.name} has a way of its own to the clients: its replies leave by {path.link}, past the"
            " director, which therefore cannot put the virtual address back in; clients reset what comes"
            " from a stranger.",
            (seen, f"{machine.name}: {rip} is on {own.name}, where the director is", *one_way(director)),
            (
                f"{machine.name}# {ip} route add default via {gateway} table 100",
                f"{machine.name}# {ip} rule add from {rip} lookup 100",
            ),
        )
    if not path.via:
        return Finding(
            "client-beside-servers",
            f"The client {client} is in {machine.name}'s own network: the reply goes straight to it, past the"
            " director, with the real server's address as source, and the client resets it.",
            (seen, *one_way(director)),
            (
                f"{director.name}# sysctl -w net.ipv4.vs.conntrack=1",
                (
                    f"{director.name}# iptables -t nat -A POSTROUTING -m ipvs --vaddr {each.service.address}"
                    " -j MASQUERADE"
                ),
                (
                    f"or, on each real server, send its own network through the director: {machine.name}# ip"
                    f" route replace {_network(machine, rip)} via {gateway} (and on the director: sysctl -w"
                    " net.ipv4.conf.all.send_redirects=0)"
                ),
            ),
        )
    return Finding(
        "wrong-gateway",
        f"{machine.name}'s route to the clients does not lead to the director: its replies go past it with"
        " the real server's address as source, or nowhere.",
        (seen, f"{director.name}: its address in that network is {gateway}", *one_way(director)),
        (f"{machine.name}# {ip} route replace default via {gateway}",),
    )


def _beside_the_point(each: Destination, client: str) -> bool:
    """Whether nobody uses the service, on a director that translates the connections of others:
    those are what it is for.
    """
    services = each.director.ipvs.services if each.director.ipvs else ()
    translated = any(source_nat(each.director, other, client, each.server.address) for other in services)
    return translated and not used(each.director, each.service)


def _gateway(evidence: Evidence, director: Machine, machine: Machine, rip: str) -> str:
    """The director's address in the real server's network; of a pair one that moves, if there is
    one.
    """
    reachable = [
        address.ip
        for link, address in director.addresses
        if link.name != "lo" and machine.on_link(address.ip)
    ]
    moving = [
        ip for ip in reachable if any(ip == one.ip and one.prefix == 32 for _, one in director.addresses)
    ]
    vips = {service.address for each in evidence.directors if each.ipvs for service in each.ipvs.services}
    return next((ip for ip in [*moving, *reachable] if ip not in vips), "DIRECTOR")


def _network(machine: Machine, rip: str) -> str:
    prefix = next((address.prefix for _, address in machine.addresses if address.ip == rip), 24)
    return str(ipaddress.ip_network(f"{rip}/{prefix}", strict=False))


def hairpin(evidence: Evidence) -> Iterator[Finding]:
    """A real server as client of its own service: the chosen server answers it directly, past the
    director, or itself.
    """
    for director in evidence.directors:
        if not director.ipvs:
            continue
        for each in evidence.destinations():
            if each.director is not director or not each.masquerades:
                continue
            rips = {server.address for server in each.service.real_servers}
            stuck = [
                entry
                for entry in director.ipvs.entries_at(each.server)
                if entry.client.address in rips and entry.state == "SYN_RECV"
            ]
            if stuck and not source_nat(director, each.service, stuck[0].client.address, each.server.address):
                entry = stuck[0]
                yield Finding(
                    "hairpin",
                    "A real server asks for the virtual address itself: the chosen server's reply goes"
                    " straight to it inside their network, past the director, with the wrong source address.",
                    tuple(
                        f"{director.name}: ipvsadm -Lnc: {one.client} -> {one.virtual} -> {one.destination}"
                        f" {one.state}"
                        for one in stuck[:4]
                    ),
                    (
                        f"{director.name}# sysctl -w net.ipv4.vs.conntrack=1",
                        *(  # each of them may ask
                            f"{director.name}# iptables -t nat -A POSTROUTING -s {rip} -m ipvs --vaddr"
                            f" {entry.virtual.address} -j MASQUERADE"
                            for rip in sorted(rips)
                        ),
                    ),
                )
