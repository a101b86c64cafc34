"""How a machine would send, worked out from its routing tables as `ip route` and `ip rule` show
them (ip-rule(8), ip-route(8)): what `ip route get` would answer there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from lvslab.reading.network import Route, RoutingRule

_USUAL = (RoutingRule(0, table="local"), RoutingRule(32766), RoutingRule(32767, table="default"))


def route_to(
    routes: Sequence[Route], rules: Sequence[RoutingRule], source: str, destination: str
) -> Route | None:
    """The way of a packet without a firewall mark that a program of the machine sends; None: there
    is none. A rule that asks for more than addresses is passed over.
    """
    ipv6 = ":" in destination
    own = [rule for rule in rules if rule.ipv6 == ipv6] or _USUAL
    for rule in sorted(own, key=lambda rule: rule.priority):
        if rule.mark or rule.conditional or not _in(destination, rule.destination):
            continue
        if rule.source != "all" and not (source and _in(source, rule.source)):
            continue
        way = _longest([route for route in routes if route.table == rule.table], destination)
        if way is not None and way.kind != "throw":
            return replace(way, destination=destination)
    return None


def _longest(routes: Sequence[Route], destination: str) -> Route | None:
    """The route with the longest prefix, of those the one with the lowest metric."""
    fitting = [
        (-network.prefixlen, route.metric, number)
        for number, route in enumerate(routes)
        if route.kind not in ("broadcast", "multicast")
        and (network := _network(route)) is not None
        and ip_address(destination) in network
    ]
    return routes[min(fitting)[2]] if fitting else None


def _network(route: Route) -> IPv4Network | IPv6Network | None:
    if route.destination == "default":
        return IPv6Network("::/0") if route.ipv6 else IPv4Network("0.0.0.0/0")
    try:
        return ip_network(route.destination, strict=False)
    except ValueError:
        return None


def _in(ip: str, network: str) -> bool:
    if network in ("all", "default"):
        return True
    try:
        return ip_address(ip) in ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False
