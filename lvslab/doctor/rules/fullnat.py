"""FullNAT: the director's local addresses and their ports, and the connection tracking that it
lives in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.doctor.finding import Finding
from lvslab.doctor.netfilter import Rule, rules, source_addresses, source_nat, translated_ports
from lvslab.reading.network import Link
from lvslab.runs.words import plural

_FULL = 0.9
_SHOWN = 3


def local_address_missing(evidence: Evidence) -> Iterator[Finding]:
    """Source NAT to an address that no director has: the real servers ask for it by ARP, and nobody
    answers.
    """
    for director in evidence.directors:
        if Part.LINKS in director.lacks:
            continue
        for rule in rules(director, "nat", "POSTROUTING"):
            absent = [
                ip
                for ip in source_addresses(rule)
                if not any(each.has(ip) for each in evidence.directors if each.ipvs)
            ]
            if rule.target != "SNAT" or not absent or "--vaddr" not in rule.options:
                continue
            link = director.on_link(absent[0])
            yield Finding(
                "local-address-missing",
                f"Connections are given the source address {absent[0]}, which the director does not have: the"
                " real servers' replies to it reach nobody.",
                (
                    f"{director.name}: {rule.text}",
                    *(f"{director.name}: no link has {ip}" for ip in absent[:_SHOWN]),
                ),
                tuple(
                    f"{director.name}# ip address add {ip}/{_prefix(link)} dev"
                    f" {link.name if link else 'LINK'}"
                    for ip in absent[:_SHOWN]
                ),
            )


def _prefix(link: Link | None) -> int:
    return next((address.prefix for address in link.addresses if address.prefix < 31), 24) if link else 24


def local_ports_exhausted(evidence: Evidence) -> Iterator[Finding]:
    """A local address has each port once for each real server's address and port: when all are
    taken, new connections are dropped.
    """
    for director in evidence.directors:
        ipvs = director.ipvs
        if not ipvs:
            continue
        at = Counter(entry.destination for entry in ipvs.connections if not entry.is_template)
        for service in ipvs.services:
            for server in service.real_servers:
                client = next(
                    (each.client.address for each in ipvs.connections if each.destination == server.endpoint),
                    None,
                )
                rule = source_nat(director, service, client, server.address) if client else None
                room = translated_ports(rule) if rule else None
                if rule is None or room is None or at[server.endpoint] < _FULL * room:
                    continue
                yield Finding(
                    "local-ports-exhausted",
                    f"The director has {plural(room, 'local port')} for connections to {server.name}, and"
                    f" {at[server.endpoint]} are in the table: new connections find no free one.",
                    (
                        f"{director.name}: {rule.text}",
                        (
                            f"{director.name}: ipvsadm -Lnc:"
                            f" {plural(at[server.endpoint], 'connection')} to {server.name}"
                        ),
                        (
                            f"{director.name}: conntrack -S:"
                            f" insert_failed={director.counts.get('insert_failed', 0)}"
                            f" drop={director.counts.get('drop', 0)}"
                        ),
                    ),
                    (
                        *_without_port_range(director, rule),
                        "or, where other programs need those ports: more local addresses on the director,"
                        " and a range of them in the rule (--to-source FIRST-LAST:PORTS)",
                    ),
                )


def _without_port_range(director: Machine, rule: Rule) -> tuple[str, ...]:
    """The rule again, with all ports to choose from, and then the old one away."""
    _, _, old = rule.text.partition(" -A ")
    new = re.sub(r"(--to-source \S+?):[0-9-]+|--to-ports [0-9-]+", lambda found: found[1] or "", old)
    return (
        f"{director.name}# iptables -t nat -A {' '.join(new.split())}",
        f"{director.name}# iptables -t nat -D {old}",
    )


def tracking_full(evidence: Evidence) -> Iterator[Finding]:
    """New connections are dropped when the table of tracked ones is full (nf_conntrack_core.c,
    "table full, dropping packet").
    """
    for director in evidence.directors:
        count, most = (
            director.counts.get("nf_conntrack_count", 0),
            director.sysctl("net.netfilter.nf_conntrack_max"),
        )
        if director.ipvs and most and count >= most:
            yield Finding(
                "conntrack-full",
                f"The director's connection tracking is full ({count} of {most}): packets of new connections"
                " are dropped.",
                (
                    f"{director.name}: net.netfilter.nf_conntrack_count = {count}",
                    f"{director.name}: net.netfilter.nf_conntrack_max = {most}",
                    f"{director.name}: conntrack -S: drop={director.counts.get('drop', 0)}",
                ),
                (f"{director.name}# sysctl -w net.netfilter.nf_conntrack_max={4 * most}",),
            )
