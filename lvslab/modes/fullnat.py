"""FullNAT: both addresses rewritten both ways, so real servers need no route to the client.

Mainline IPVS has no FullNAT. It is composed here of LVS-NAT with connection tracking and
netfilter's source NAT of balanced packets, as Simon Horman described on lvs-devel in 2013. Missing
beside Alibaba's: the TOA option, the time-stamp removal, the ISN rewrite.
"""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.ipvs.service import VirtualService
from lvslab.kernels.needs import Need
from lvslab.modes.base import (
    IP_FORWARD,
    TRACK_MANY,
    Addresses,
    Color,
    Ip,
    Iptables,
    Mode,
    ReplyPath,
    Role,
    Step,
    Sysctl,
    vip_step,
)
from lvslab.modes.contract import FROM_DIRECTOR, TO_DIRECTOR, Address, Contract, Leg, Party


class FullNat(Mode):
    name = "fullnat"
    title = "FullNAT"
    summary = (
        "the director rewrites both addresses both ways; real servers need no route to the client (composed:"
        " NAT and SNAT)"
    )
    color = Color("#b5529b", "#d884c2")
    composed = True
    uses_local_addresses = True
    topology = "fullnat"
    needs = {Role.DIRECTOR: frozenset({Need.IP_VS, Need.IPVS_SNAT})}
    reply_paths = frozenset({ReplyPath.NONE, ReplyPath.DIRECTOR})
    why_reply_path = "FullNAT needs local addresses of the director in the real servers' network"
    maps_ports = True
    contract = Contract(
        request=(TO_DIRECTOR, Leg(Party.DIRECTOR, Party.REAL_SERVER, Address.LIP, Address.RIP)),
        reply=(Leg(Party.REAL_SERVER, Party.DIRECTOR, Address.RIP, Address.LIP), FROM_DIRECTOR),
        in_words=(
            "the real server sees LIP > RIP:rport; replies go to the LIP, and the director puts VIP:vport and"
            " CIP back in"
        ),
    )

    def director(self, addresses: Addresses, services: Sequence[VirtualService]) -> tuple[Step, ...]:
        first, last = addresses.lips[0], addresses.lips[-1]
        pool = first if first == last else f"{first}-{last}"
        local = Step(
            "local-addresses",
            "the pool of source addresses towards the real servers",
            tuple(
                Ip(f"address add {lip}/{addresses.inner_prefix} dev {addresses.inner}")
                for lip in addresses.lips
            ),
        )
        tracking = Step(
            "conntrack",
            "balanced connections are tracked, so that netfilter can translate them",
            (Sysctl("net.ipv4.vs.conntrack", 1), *TRACK_MANY),
        )
        translate = Step(
            "snat",
            "the real server sees a local address of the director instead of the client's",
            tuple(
                Iptables(
                    f"-t nat -A POSTROUTING -m ipvs --vproto {service.protocol} --vaddr {service.address} "
                    f"--vport {service.port} -j SNAT --to-source {pool}"
                )
                for service in services
            ),
        )
        return (vip_step(addresses), IP_FORWARD, local, tracking, translate)
