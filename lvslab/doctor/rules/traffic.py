"""What counters and connection tables say about traffic; shared by the rules."""

from __future__ import annotations

from collections import Counter

from lvslab.doctor.evidence import Destination, Machine
from lvslab.ipvs.service import VirtualService
from lvslab.runs.words import plural

_MOST = 3


def one_way(director: Machine) -> tuple[str, ...]:
    """Lines on services whose packets were counted in and none out, and on connections that are
    stuck half-open.
    """
    if not director.ipvs:
        return ()
    lines = [
        f"{director.name}: ipvsadm -Ln --stats: {service}: {plural(each.conns, 'connection')},"
        f" {plural(each.in_packets, 'packet')} in, {each.out_packets} out"
        for (service, server), each in director.ipvs.stats.items()
        if not server and each.in_packets and not each.out_packets
    ]
    half = Counter(str(each.virtual) for each in director.ipvs.connections if each.state == "SYN_RECV")
    lines += [
        f"{director.name}: ipvsadm -Lnc: {plural(count, 'connection')} to {where} in SYN_RECV"
        for where, count in half.most_common(_MOST)
    ]
    return tuple(lines[: 2 * _MOST])


def used(director: Machine, service: VirtualService) -> bool:
    """Whether clients have come to a service, as far as is still known."""
    if not director.ipvs:
        return False
    counters = director.ipvs.stats.get((service.name, ""))
    if counters and counters.conns:
        return True
    if any(count for (name, _), count in director.ipvs.active.items() if name == service.name):
        return True
    return any(
        _of(service, each.virtual.address, each.virtual.port, each.protocol)
        for each in director.ipvs.connections
    )


def _of(service: VirtualService, address: str, port: int, protocol: str) -> bool:
    return (service.address, service.port, service.protocol.label) == (address, port, protocol)


def shown(each: Destination) -> str:
    """A line on a real server in a table, as ipvsadm lists it."""
    server = each.server
    return (
        f"{each.director.name}: {each.service.name} -> {server.name} {server.forwarding.value} weight"
        f" {server.weight}"
    )
