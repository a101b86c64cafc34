"""ARP in DR and TUN: only the director may answer for the virtual address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine
from lvslab.doctor.finding import Finding
from lvslab.doctor.netfilter import rules
from lvslab.reading.network import Link

_ANSWERS_SUBNET = (1, 2)
"""arp_ignore 1: answer only for an address of the receiving link; 2: and only to its subnet
(ip-sysctl.rst).
"""
_ANSWERS_NO_HOST_SCOPE = 3
_ANSWERS_NOTHING = 8
_ANNOUNCES_BEST = 2
"""arp_announce 2: the source of a request is an address of the target's subnet, not the
packet's.
"""


def arp_flux(evidence: Evidence) -> Iterator[Finding]:
    """A real server that has the virtual address and stands in its network must neither answer nor
    ask with it in ARP.

    The larger of the values of "all" and of the receiving link counts; a value set on `lo` alone
    changes nothing (ip-sysctl.rst, arp_ignore).
    """
    for machine in evidence.servers:
        vips = {
            each.service.address
            for each in evidence.destinations()
            if each.machine is machine and not each.masquerades
        }
        for vip in sorted(vips):
            holder = next((link for link, address in machine.addresses if address.ip == vip), None)
            if holder is None or ":" in vip:
                continue
            for link in _beside(evidence, machine, vip):
                wrong = _loud(machine, link, holder, vip)
                if wrong:
                    yield _finding(evidence, machine, link, vip, wrong)


def _beside(evidence: Evidence, machine: Machine, vip: str) -> list[Link]:
    """The links by which the server is in the network where the director has the virtual
    address.
    """
    found = []
    for director in evidence.directors:
        for outer, address in director.addresses:
            if outer.name == "lo" or address.prefix >= 31 or ":" in address.ip:
                continue
            if not _in_network(vip, address.ip, address.prefix):
                continue
            link = machine.on_link(address.ip)
            if link and link.arp and link not in found:
                found.append(link)
    return found


def _in_network(ip: str, member: str, prefix: int) -> bool:
    return ipaddress.ip_address(ip) in ipaddress.ip_network(f"{member}/{prefix}", strict=False)


def _loud(machine: Machine, link: Link, holder: Link, vip: str) -> list[str]:
    """What makes the server speak up for the address on a link; empty: it is silent."""
    if f"net.ipv4.conf.{link.name}.arp_ignore" not in machine.sysctls:
        return []
    ignore, announce = machine.per_link("arp_ignore", link.name), machine.per_link("arp_announce", link.name)
    scope = next(address.scope for address in holder.addresses if address.ip == vip)
    filtered = [
        rule for rule in rules(machine, "arp") if rule.target in ("DROP", "mangle") and vip in rule.text
    ]
    silent = (
        ignore == _ANSWERS_NOTHING
        or (ignore in _ANSWERS_SUBNET and holder.name != link.name)
        or (ignore == _ANSWERS_NO_HOST_SCOPE and scope == "host")
        or any(rule.chain == "INPUT" for rule in filtered)
    )
    discreet = announce >= _ANNOUNCES_BEST or any(rule.chain == "OUTPUT" for rule in filtered)
    wrong = []
    if not silent:
        wrong.append(f"arp_ignore = {ignore}: it answers ARP requests for {vip} (on {holder.name})")
    if not discreet:
        wrong.append(f"arp_announce = {announce}: its own ARP requests carry {vip} as sender")
    return wrong


def _finding(evidence: Evidence, machine: Machine, link: Link, vip: str, wrong: list[str]) -> Finding:
    macs = {one.mac: each.name for each in evidence.servers for one in each.links if one.mac}
    misled = [
        f"{each.name}: ip neigh: {vip} is at {entry.mac}, which is {macs[entry.mac]}"
        for each in evidence.machines
        for entry in each.neighbours
        if entry.ip == vip and entry.mac in macs
    ]
    on_lo = machine.sysctl("net.ipv4.conf.lo.arp_ignore")
    note = (
        [f"{machine.name}: arp_ignore is {on_lo} on lo, which does not count: requests arrive on {link.name}"]
        if on_lo
        else []
    )
    return Finding(
        "arp-flux",
        "Real servers take part in ARP for the virtual address: clients send to whichever answers first, past"
        " the director.",
        (*(f"{machine.name}: {link.name}: {each}" for each in wrong), *note, *misled),
        (f"{machine.name}# sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",),
        afterwards=(
            *(
                f"{each.name}# ip neigh flush to {vip}"
                for each in evidence.machines
                if any(entry.ip == vip and entry.mac in macs for entry in each.neighbours)
            ),
            f"then have all clients (or their router) forget the wrong address: ip neigh flush to {vip}",
        ),
    )
