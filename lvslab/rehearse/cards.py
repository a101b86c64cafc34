"""Set-up of the servers' node and of the guest that unwraps for those behind tunnels: pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lvslab.ipvs.service import PacketForwarding
from lvslab.modes.base import Ip, Iptables, Step, Sysctl
from lvslab.rehearse.network import Network
from lvslab.rehearse.seats import BEHIND_SUBNETS, TUNNELS, Seat

BEHIND_ROUTER, BEHIND_GUEST = (
    {version: str(subnet[number]) for version, subnet in BEHIND_SUBNETS.items()}
    for number in (0xFFFD, 0xFFFC)
)
"""The router and the guest in the network of the servers behind tunnels, by version of IP."""

_REPLY_TABLE, _TUNNEL_TABLE = 1000, 20000
"""Routing tables: of a server's replies through a director, of what comes out of a tunnel; one
each, counted up.
"""

_GUEST_HOST = 0x7E
"""Host number of the guest in a network of which the files have no address."""


def address(text: str, device: str) -> Ip:
    """`ip address add`; one of IPv6 is usable at once."""
    return Ip(f"address add {text} dev {device}{' nodad' if ':' in text else ''}")


def default_route(gateway: str, device: str | None = None, metric: int = 0, table: int = 0) -> Ip:
    """`ip route add default`. With a device the gateway is not looked up: the kernel knows a
    network of IPv6 only when its link has a carrier (addrconf_notify, net/ipv6/addrconf.c).
    """
    words = [f"route add default via {gateway}"]
    words += [f"dev {device} onlink"] if device else []
    words += [f"table {table}"] if table else []
    words += [f"metric {metric}"] if metric else []
    return Ip(" ".join(words))


def families(ipv6: bool, devices: Iterable[str]) -> tuple[Step, ...]:
    """IPv6 on, where the files have any: labs are otherwise without it."""
    if not ipv6:
        return ()
    keys = ["all", "default", "lo", *devices]
    return (
        Step(
            "ipv6",
            "the files use it",
            tuple(
                Sysctl(f"net.ipv6.conf.{key.replace('.', '/')}.{name}", 0)
                for key in keys
                for name in ("accept_dad", "disable_ipv6")
            ),
        ),
    )


def quiet(devices: Iterable[str]) -> Step:
    """A correct server's ARP settings, with as many cards in one network as there are servers."""
    return Step(
        "arp",
        "each card answers for its own address only, and never for a virtual one",
        (
            Sysctl("net.ipv4.conf.all.arp_ignore", 1),
            Sysctl("net.ipv4.conf.all.arp_announce", 2),
            Sysctl("net.ipv4.conf.all.rp_filter", 0),
            Sysctl("net.ipv4.conf.default.rp_filter", 0),
            *(Sysctl(f"net.ipv4.conf.{device}.rp_filter", 0) for device in devices),
        ),
    )


@dataclass(frozen=True)
class Card:
    """One server's card: where its packets come from, and where its replies go.

    Attributes:
        addresses: each "address/length".
        routers: for replies from a virtual address.
        reply: address → gateway, for replies from that address.
    """

    device: str
    addresses: tuple[str, ...]
    routers: tuple[str, ...]
    reply: Mapping[str, str]


def card_of(seat: Seat, network: Network, ipv6: bool, gateway: Callable[[Seat], str | None]) -> Card:
    """A server's card.

    Args:
        gateway: of a server that is reached by NAT.
    """
    versions = (4, 6) if ipv6 else (4,)
    if seat.tunnel:
        return Card(
            str(seat.device),
            tuple(f"{seat.behind[version]}/{BEHIND_SUBNETS[version].prefixlen}" for version in versions),
            tuple(BEHIND_ROUTER[version] for version in versions),
            {seat.behind[version]: BEHIND_GUEST[version] for version in versions},
        )
    own = ipaddress.ip_address(seat.address)
    subnet = network.nets[seat.net].of_family(own.version)
    length = subnet.prefixlen if subnet else own.max_prefixlen
    through = gateway(seat) if seat.forwarding is PacketForwarding.MASQ else None
    return Card(
        str(seat.device),
        (f"{own}/{length}",),
        (router,) if (router := network.router(seat.net, own.version)) else (),
        {seat.address: through} if through else {},
    )


def server_steps(cards: Sequence[Card], virtual: Iterable[str], ipv6: bool) -> tuple[Step, ...]:
    """Set-up of the servers' node.

    Args:
        virtual: addresses that servers take packets for though they are not theirs, each
            "address/length".
    """
    actions: list[Ip] = []
    rules: list[Ip] = []
    for number, card in enumerate(cards, start=1):
        actions += [address(text, card.device) for text in card.addresses]
        actions.append(Ip(f"link set {card.device} up"))
        actions += [default_route(router, card.device, metric=number) for router in card.routers]
        for own, gateway in card.reply.items():
            rules += [
                default_route(gateway, card.device, table=_REPLY_TABLE + number),
                Ip(f"rule add from {own} lookup {_REPLY_TABLE + number}", ipv6=":" in own),
            ]
    actions += [address(text, "lo") for text in virtual]
    devices = [card.device for card in cards]
    ways = "replies of NAT servers pass the director, answers to checks the guest that unwraps"
    return (
        *families(ipv6, devices),
        quiet(devices),
        Step("addresses", "a card for each server", tuple(actions)),
        *([Step("gateway", ways, tuple(rules))] if rules else []),
    )


def unwrapping_steps(
    seats: Sequence[Seat], nets: Sequence[str], network: Network, ipv6: bool
) -> tuple[Step, ...]:
    """Set-up of the guest that unwraps for the servers behind tunnels.

    Args:
        nets: the networks of its interfaces; the one of the servers comes last.
    """
    devices = {net: f"{TUNNELS}-eth{number}" for number, net in enumerate(nets)}
    behind = f"{TUNNELS}-eth{len(nets)}"
    versions = (4, 6) if ipv6 else (4,)
    actions = [Ip(f"link set {device} up") for device in (*devices.values(), behind)]
    for version in versions:
        actions.append(address(f"{BEHIND_GUEST[version]}/{BEHIND_SUBNETS[version].prefixlen}", behind))
    for number, (net, device) in enumerate(devices.items(), start=1):
        held = {ipaddress.ip_address(seat.address).version for seat in seats if seat.net == net}
        for version in versions:
            subnet, router = network.nets[net].of_family(version), network.router(net, version)
            if subnet and version not in held:
                actions.append(address(f"{subnet[_GUEST_HOST]}/{subnet.prefixlen}", device))
            for seat in seats:
                if subnet and seat.net == net and ipaddress.ip_address(seat.address) in subnet:
                    actions.append(address(f"{seat.address}/{subnet.prefixlen}", device))
            if router:
                actions.append(default_route(router, device, metric=number))
    rules: list[Iptables] = []
    for number, seat in enumerate(seats, start=1):
        actions += _tunnels(seat, ipv6, behind, _TUNNEL_TABLE + number)
        if ":" not in seat.address:
            rules += [
                Iptables(
                    f"-t nat -A PREROUTING -d {seat.address} -p {protocol} -j DNAT"
                    f" --to-destination {seat.behind[4]}"
                )
                for protocol in ("tcp", "udp")
            ]
    forwarding = [Sysctl("net.ipv4.ip_forward", 1)] + (
        [Sysctl("net.ipv6.conf.all.forwarding", 1)] if ipv6 else []
    )
    return (
        *families(ipv6, (*devices.values(), behind)),
        quiet((*devices.values(), behind)),
        Step("forwarding", "what is unwrapped goes on", tuple(forwarding)),
        Step(
            "tunnels",
            "the servers' addresses, a tunnel for each, and where its packets go on",
            tuple(actions),
        ),
        *(
            [Step("checks", "what asks at a server's address reaches its card", tuple(rules))]
            if rules
            else []
        ),
    )


def _tunnels(seat: Seat, ipv6: bool, behind: str, table: int) -> list[Ip]:
    """A server's tunnels, one for each family that may come out, and their routes."""
    own = ipaddress.ip_address(seat.address)
    if own.version == 6:
        made = {4: (seat.tunnel, "type ip6tnl mode any remote ::")}
    else:
        made = {4: (seat.tunnel, "type ipip"), **({6: (f"{seat.tunnel}s", "type sit")} if ipv6 else {})}
    actions: list[Ip] = []
    for device, kind in made.values():
        actions += [
            Ip(f"link add {device} {kind} local {own}"),
            Ip(f"link set {device} up"),
        ]
    for version in (4, 6) if ipv6 else (4,):
        device = made.get(version, made[4])[0]
        actions.append(default_route(seat.behind[version], behind, table=table))
        actions.append(Ip(f"rule add iif {device} lookup {table}", ipv6=version == 6))
    return actions


def links_of(seats: Sequence[Seat], cards: Sequence[Card], behind: str) -> list[tuple[str, str]]:
    """The servers' node's links: (network, first address)."""
    return [
        (behind if seat.tunnel else seat.net, card.addresses[0])
        for seat, card in zip(seats, cards, strict=True)
    ]
