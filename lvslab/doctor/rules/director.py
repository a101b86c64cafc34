"""The director itself: its table, and whether packets for its virtual addresses reach IPVS
at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine, Part, alone
from lvslab.doctor.finding import Finding
from lvslab.doctor.rules.marks import is_met
from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import Protocol, VirtualService
from lvslab.reading.network import Link
from lvslab.runs.words import plural

_ADDRESS_MOVERS = frozenset({"keepalived", "pacemakerd", "heartbeat", "ucarp", "vrrpd"})
"""Programs that move addresses between directors."""


def no_service(evidence: Evidence) -> Iterator[Finding]:
    """No director has a virtual service."""
    directors = [each for each in evidence.directors if each.ipvs and Part.TABLE not in each.lacks]
    if directors and not any(each.ipvs.services for each in directors if each.ipvs):
        first = directors[0]
        yield Finding(
            "no-service",
            "The director has no virtual service: it balances nothing.",
            tuple(f"{each.name}: ipvsadm -S -n prints nothing" for each in directors),
            (
                f"{first.name}# ipvsadm -A -t VIP:PORT -s rr",
                f"{first.name}# ipvsadm -a -t VIP:PORT -r SERVER:PORT -m",
            ),
        )


def no_server(evidence: Evidence) -> Iterator[Finding]:
    """A service whose new connections have nowhere to go: no real server, or only such with weight
    0.
    """
    for director in evidence.directors:
        for service in director.ipvs.services if director.ipvs else ():
            if any(each.weight for each in service.real_servers):
                continue
            if service.real_servers:
                yield Finding(
                    "all-servers-quiescent",
                    f"All real servers of {service.name} have weight 0: new connections are refused.",
                    tuple(
                        f"{director.name}: {service.name} -> {each.name} weight 0"
                        for each in service.real_servers
                    ),
                    tuple(
                        f"{director.name}# ipvsadm -e {_selector(service)} -r {each.name}"
                        f" {each.forwarding.option} -w 1"
                        for each in service.real_servers
                    ),
                )
            elif service.protocol is not Protocol.FWMARK or is_met(director, service):
                yield Finding(
                    "no-real-server",
                    f"{service.name} has no real server: its connections are refused.",
                    tuple(f"{director.name}: {line}" for line in format_rules([service]).splitlines()),
                    (f"{director.name}# ipvsadm -a {_selector(service)} -r SERVER:PORT -m",),
                )


def vip_not_local(evidence: Evidence) -> Iterator[Finding]:
    """IPVS takes packets that are delivered locally (hook LOCAL_IN, ip_vs_core.c): others are
    routed past it, or dropped.

    The backup of a VRRP pair rightly lacks the address, so one director that has it is enough;
    alone under such a program it may be the backup.
    """
    directors = [each for each in evidence.directors if each.ipvs]
    if any(Part.LINKS in each.lacks for each in directors):
        return
    alone_with_vrrp = len(directors) == 1 and _moves_addresses(directors[0])
    for director in directors:
        assert director.ipvs
        for service in director.ipvs.services:
            if service.protocol is Protocol.FWMARK or alone_with_vrrp or _held(directors, service):
                continue
            if len(directors) > 1 and not any(_held(directors, each) for each in director.ipvs.services):
                yield _held_by_none(directors, service)
            else:
                others = [each for each in director.ipvs.services if each.address and _held(directors, each)]
                link = director.on_link(service.address)
                if others and link:
                    yield _nobodys(evidence, director, service, others[0], link)
                else:
                    yield _not_local(director, service)


def _moves_addresses(director: Machine) -> bool:
    """Whether it may lack an address because another machine has it just now."""
    return bool(director.programs & _ADDRESS_MOVERS) or bool(
        director.keepalived and director.keepalived.instances
    )


def _held(directors: list[Machine], service: VirtualService) -> bool:
    """Whether a director takes packets for the service's address."""
    return any(each.has(service.address) for each in directors)


def _held_by_none(directors: list[Machine], service: VirtualService) -> Finding:
    """A pair without its address: one of them must have it, and never both."""
    vip, first = service.address, directors[0]
    link = first.on_link(vip)
    movers = {each.name: sorted(each.programs & _ADDRESS_MOVERS) for each in directors}
    return Finding(
        "vip-held-by-none",
        f"No director has the virtual address {vip}, so nobody takes packets for it. Of several directors"
        " exactly one may have it at a time: VRRP sees to that.",
        tuple(
            f"{each.name}: no link has {vip}; "
            + (f"{movers[each.name][0]} runs" if movers[each.name] else "nothing that could move it runs")
            for each in directors
        ),
        (
            f"run VRRP on all of them, with {vip} among its addresses (lvslab train start director-pair)",
            f"until then, on one alone: {first.name}# ip address add {alone(vip)} dev"
            f" {link.name if link else 'LINK'}",
        ),
    )


def vip_held_twice(evidence: Evidence) -> Iterator[Finding]:
    """Two directors answer ARP for one address: each client believes the one that was last.

    A director that holds it on lo, as a real server does, keeps silent.
    """
    directors = [each for each in evidence.directors if each.ipvs]
    vips = {service.address for each in directors if each.ipvs for service in each.ipvs.services}
    for vip in sorted(vips - {""}):
        holders = [
            (director, link)
            for director in directors
            for link, address in director.addresses
            if address.ip == vip and link.name != "lo" and link.arp and link.kind != "dummy"
        ]
        if len({director.name for director, _ in holders}) < 2:
            continue
        first, *others = holders
        yield Finding(
            "vip-held-twice",
            f"{' and '.join(director.name for director, _ in holders)} have the virtual address {vip} at the"
            " same time: both answer for it, connections move from one to the other and break.",
            tuple(f"{director.name}: {link.name} has {vip}" for director, link in holders),
            (
                *(
                    f"{director.name}# ip address del {alone(vip)} dev {link.name}"
                    for director, link in others
                    if director is not first[0]
                ),
                "and let VRRP alone give the address: look whether the directors hear each other's"
                " advertisements (tcpdump -ni LINK vrrp)",
            ),
        )


def _nobodys(
    evidence: Evidence, director: Machine, service: VirtualService, other: VirtualService, link: Link
) -> Finding:
    """One of several virtual addresses of a network is nobody's: as when clients share several
    directors by DNS, and one of these is gone.
    """
    vip = service.address
    asking = [
        f"{each.name}: ip neigh: {vip} is {entry.state}: nobody answers for it"
        for each in evidence.machines
        for entry in each.neighbours
        if entry.ip == vip and not entry.mac
    ]
    return Finding(
        "balancer-dead",
        f"No director has the virtual address {vip}: the one that had it is gone, or it was never given to"
        f" one. Clients that know this address wait in vain; {director.name} has the service in its table and"
        " could take it over.",
        (
            f"{director.name}: {service.name} is in the table, and no link has {vip}",
            f"{director.name}: {other.name} is in the table, too, and {other.address} is its own",
            *asking,
        ),
        (
            f"{director.name}# ip address add {alone(vip)} dev {link.name}",
            f"{director.name}# arping -U -I {link.name} -c 3 {vip}",
            (
                "for good: VRRP, with each director master of one address and backup of the other (lvslab"
                " train start director-pair)"
            ),
        ),
    )


def _not_local(director: Machine, service: VirtualService) -> Finding:
    path = director.paths.get(("", service.address))
    how = f"would route them on to {path.via or path.link}" if path else "has no route for them"
    link = director.on_link(service.address)
    counters = director.ipvs.stats.get((service.name, "")) if director.ipvs else None
    near = (f"{director.name}# ip address add {alone(service.address)} dev {link.name if link else 'lo'}",)
    far = (
        f"or by a firewall mark, where the machine must not have the address: {director.name}# iptables -t"
        f" mangle -A PREROUTING -d {service.address} -p {service.protocol} --dport {service.port} -j MARK"
        " --set-mark 1; ip rule add fwmark 1 lookup 100; ip route add local default dev lo table 100; ipvsadm"
        f" -A -f 1 -s {service.scheduler}, and give that the real servers",
    )
    return Finding(
        "vip-not-local",
        f"The virtual address {service.address} is no address of the director: it does not take packets for"
        " it, so IPVS, which looks at locally delivered packets only, never sees them.",
        (
            f"{director.name}: no link has {service.address}; its routing {how}",
            *(
                [f"{director.name}: {service.name}: {plural(counters.conns, 'connection')}"]
                if counters
                else []
            ),
        ),
        near + far,
    )


def _selector(service: VirtualService) -> str:
    return " ".join(service.selector)
