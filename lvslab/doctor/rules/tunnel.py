"""TUN: the real server must unwrap, believe what it unwraps, and large packets must fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lvslab.doctor.evidence import Destination, Evidence, Machine, alone
from lvslab.doctor.finding import Finding
from lvslab.doctor.netfilter import Rule, rules
from lvslab.doctor.rules.traffic import shown
from lvslab.ipvs.tunnels import TunnelType
from lvslab.reading.network import Link

_STRICT = 1
"""rp_filter 1: a packet is dropped unless the way back to its source leads out of the link on which
it came (RFC 3704).
"""


@dataclass(frozen=True)
class _Kind:
    """What unwraps IP in IP: a module, its first link, the kind of its links (ip-link(8)), and the
    bytes that the outer header takes.
    """

    module: str
    link: str
    kind: str
    overhead: int = 20


_KINDS = {
    (False, False): _Kind("ipip", "tunl0", "ipip"),  # protocol 4 in IPv4 (RFC 2003)
    (True, False): _Kind("sit", "sit0", "sit"),  # protocol 41 in IPv4 (RFC 4213)
    (False, True): _Kind("ip6_tunnel", "ip6tnl0", "ip6tnl", 40),
    (True, True): _Kind("ip6_tunnel", "ip6tnl0", "ip6tnl", 40),  # RFC 2473
}
"""(virtual address is IPv6, real server's address is IPv6) → what unwraps."""

_FRAGMENTATION_NEEDED = ("fragmentation-needed", "3/4", "3", "destination-unreachable", "any", "")
"""Values of --icmp-type that take "fragmentation needed", type 3 code 4, in."""


def _kind(each: Destination) -> _Kind:
    return _KINDS[each.service.is_ipv6, each.server.endpoint.ipv6]


def _tunnels(machine: Machine, kind: _Kind) -> list[Link]:
    return [link for link in machine.links if kind.kind == link.kind or kind.link == link.name]


def tunnel_link(each: Destination) -> str:
    """The link of a real server on which what is tunnelled to it comes out."""
    return _kind(each).link


def _tunnelled(evidence: Evidence) -> Iterator[Destination]:
    """The real servers that are reached by IP-in-IP, each once for each director and family."""
    seen: set[tuple[str, str, bool]] = set()
    for each in evidence.destinations():
        key = (each.director.name, each.server.address, each.service.is_ipv6)
        if each.tunnels and each.server.tun_type is TunnelType.IPIP and key not in seen:
            seen.add(key)
            yield each


def no_tunnel(evidence: Evidence) -> Iterator[Finding]:
    """Without an IP-in-IP link of the families' kind that is up, the server's kernel answers with
    ICMP "protocol unreachable".
    """
    for each in _tunnelled(evidence):
        machine = each.machine
        if machine is None or not machine.links:
            continue
        kind = _kind(each)
        links, vip = _tunnels(machine, kind), each.service.address
        if any(link.up for link in links):
            continue
        state = f"{links[0].name} is down" if links else f"there is no {kind.kind} link"
        address = (
            [f"{machine.name}# ip address add {alone(vip)} dev {kind.link}"]
            if vip and not machine.has(vip)
            else []
        )
        yield Finding(
            "tunnel-down",
            f"{machine.name} does not unwrap the director's packets: it has no IP-in-IP link that is up.",
            (f"{machine.name}: {state}", shown(each)),
            (
                *(() if links else (f"{machine.name}# modprobe {kind.module}",)),
                *address,
                f"{machine.name}# ip link set {links[0].name if links else kind.link} up",
            ),
        )


def reverse_path_filter(evidence: Evidence) -> Iterator[Finding]:
    """The inner packet's source is the client, which is not reached through the tunnel: the strict
    filter drops it (ip-sysctl.rst).
    """
    for each in _tunnelled(evidence):
        machine = each.machine
        if machine is None or each.service.is_ipv6:  # IPv6 has no such filter of its own
            continue
        for link in _tunnels(machine, _kind(each)):
            if not link.up or machine.per_link("rp_filter", link.name) != _STRICT:
                continue
            back = next(
                (
                    path
                    for (here, _), path in machine.paths.items()
                    if here and path and path.link != link.name
                ),
                None,
            )
            if back is None:
                continue
            where = [f"net.ipv4.conf.{name}.rp_filter" for name in ("all", link.name)]
            yield Finding(
                "tunnel-rp-filter",
                f"{machine.name} unwraps the packets and drops them at once: its strict reverse path filter"
                f" does not believe that clients are behind {link.name}.",
                (
                    *(
                        f"{machine.name}: {key} = {machine.sysctl(key)} (the larger of the two counts)"
                        for key in where
                    ),
                    (
                        f"{machine.name}: the way back to {back.destination} leads out of {back.link}, not of"
                        f" {link.name}"
                    ),
                    shown(each),
                ),
                (f"{machine.name}# sysctl -w {where[0]}=0 {where[1]}=0",),
            )


def mtu(evidence: Evidence) -> Iterator[Finding]:
    """Wrapped packets are 20 bytes longer: who sends full-sized ones must hear of it by ICMP
    "fragmentation needed", or send shorter ones.
    """
    for each in _tunnelled(evidence):
        director, machine = each.director, each.machine
        path = director.paths.get(("", each.server.address))
        out = director.link(path.link) if path else None
        if path is None or out is None or not director.sysctl("net.ipv4.vs.pmtu_disc", 1):
            continue
        name = machine.name if machine else each.server.address
        overhead = _kind(each).overhead
        room = (path.mtu or out.mtu) - overhead
        if _segments_fit(machine, room) or _clamped(director, room):
            continue
        muzzled = [(one, rule) for one in evidence.machines for rule in _drops_icmp(one)]
        for one, rule in muzzled:
            yield Finding(
                "tunnel-mtu",
                f"Large transfers stall: wrapped in the tunnel, packets of more than {room} bytes do not fit,"
                " and the ICMP message that would "
                f'tell the sender so ("fragmentation needed") is dropped at {one.name}.',
                (
                    f"{one.name}: {rule.text}",
                    (
                        f"{director.name}: {out.name}: MTU {out.mtu}; less {overhead} bytes for the"
                        " outer header"
                    ),
                    shown(each),
                ),
                (
                    (
                        f"{one.name}# iptables -t {rule.table} -I {rule.chain} -p icmp --icmp-type"
                        " fragmentation-needed -j ACCEPT"
                    ),
                    (
                        f"or have the real servers ask for shorter segments: {name}# ip route change ROUTE"
                        f" advmss {room - 40}"
                    ),
                ),
            )


def _segments_fit(machine: Machine | None, room: int) -> bool:
    """Whether the real server announces segments to clients that fit into the tunnel."""
    if machine is None:
        return False
    ways = [path for (here, _), path in machine.paths.items() if here and path]
    links = {link.name: link.mtu for link in machine.links}
    return bool(ways) and all(
        (way.advmss or (way.mtu or links.get(way.link, 1500)) - 40) <= room - 40 for way in ways
    )


def _clamped(director: Machine, room: int) -> bool:
    return any(
        rule.target == "TCPMSS" and ("--clamp-mss-to-pmtu" in rule.options or _mss(rule) <= room - 40)
        for rule in rules(director, "mangle")
    )


def _mss(rule: Rule) -> int:
    text = rule.options.get("--set-mss", "")
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) else 65535


def _drops_icmp(machine: Machine) -> Iterator[Rule]:
    """Rules that drop "fragmentation needed" before another one has let it pass."""
    passed: set[str] = set()
    for table in ("raw", "mangle", "filter"):
        for rule in rules(machine, table):
            if (
                rule.protocol not in ("icmp", "")
                or rule.options.get("--icmp-type", "") not in _FRAGMENTATION_NEEDED
            ):
                continue
            if rule.target == "ACCEPT" and rule.protocol == "icmp":
                passed.add(f"{table} {rule.chain}")
            elif (
                rule.target in ("DROP", "REJECT")
                and rule.protocol == "icmp"
                and f"{table} {rule.chain}" not in passed
            ):
                yield rule
