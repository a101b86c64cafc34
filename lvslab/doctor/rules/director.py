"""The director itself: its table, and whether packets for its virtual addresses reach IPVS
at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Link, Machine
from lvslab.doctor.finding import Finding
from lvslab.doctor.netfilter import rules
from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import Protocol, VirtualService
from lvslab.runs.words import plural

_ADDRESS_MOVERS = frozenset({"keepalived", "pacemakerd", "heartbeat", "ucarp", "vrrpd"})
"""Programs that move addresses between directors."""


def no_service(evidence: Evidence) -> Iterator[Finding]:
    """No director has a virtual service."""
    directors = [each for each in evidence.directors if each.ipvs]
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
                first = service.real_servers[0]
                yield Finding(
                    "all-servers-quiescent",
                    f"All real servers of {service.name} have weight 0: new connections are refused.",
                    tuple(
                        f"{director.name}: {service.name} -> {each.name} weight 0"
                        for each in service.real_servers
                    ),
                    (
                        (
                            f"{director.name}# ipvsadm -e {_selector(service)} -r {first.name}"
                            f" {first.forwarding.option} -w 1"
                        ),
                    ),
                )
            else:
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
    alone_with_vrrp = len(directors) == 1 and bool(directors[0].programs & _ADDRESS_MOVERS)
    for director in directors:
        assert director.ipvs
        for service in director.ipvs.services:
            if service.protocol is Protocol.FWMARK:
                yield from _marked(director, service)
            elif not alone_with_vrrp and not _held(directors, service):
                others = [each for each in director.ipvs.services if each.address and _held(directors, each)]
                link = director.on_link(service.address)
                if others and link:
                    yield _nobodys(evidence, director, service, others[0], link)
                else:
                    yield _not_local(director, service)


def _held(directors: list[Machine], service: VirtualService) -> bool:
    """Whether a director takes packets for the service's address."""
    return any(each.has(service.address) for each in directors)


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
            f"{director.name}# ip address add {vip}/32 dev {link.name}",
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
    near = (f"{director.name}# ip address add {service.address}/32 dev {link.name if link else 'lo'}",)
    far = (
        (
            f"or by a firewall mark, where the machine must not have the address: {director.name}# iptables"
            f" -t mangle -A PREROUTING -d {service.address} -p {service.protocol} --dport {service.port} -j"
            " MARK --set-mark 1"
        ),
        f"{director.name}# ip rule add fwmark 1 lookup 100",
        f"{director.name}# ip route add local default dev lo table 100",
        f"and make the service one of the mark: {director.name}# ipvsadm -A -f 1 -s {service.scheduler}",
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


def _marked(director: Machine, service: VirtualService) -> Iterator[Finding]:
    """A service on a firewall mark: somebody must set the mark."""
    setters = [
        rule
        for rule in rules(director, "mangle")
        if rule.target == "MARK"
        and any(
            _number(rule.options.get(key, "").partition("/")[0]) == service.fwmark
            for key in ("--set-xmark", "--set-mark")
        )
    ]
    readable = not any("iptables" in line for line in director.unread)
    if not setters and readable and not _has_nft(director):
        yield Finding(
            "mark-not-set",
            f"No rule sets the firewall mark {service.fwmark}, so no packet meets the service"
            f" {service.name}.",
            (f"{director.name}: iptables-save shows no MARK rule with {service.fwmark}",),
            (
                (
                    f"{director.name}# iptables -t mangle -A PREROUTING -d VIP -p tcp --dport PORT -j MARK"
                    f" --set-mark {service.fwmark}"
                ),
            ),
        )


def _has_nft(director: Machine) -> bool:
    """Rules of nft(8) alone do not show in iptables-save: then nothing is known of marks."""
    return any(line.startswith("nft ") for line in director.rules)


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _selector(service: VirtualService) -> str:
    return " ".join(service.selector)
