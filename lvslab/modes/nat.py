"""LVS-NAT (`ipvsadm -m`, masquerading): the director rewrites the destination inwards and the
source outwards.
"""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.ipvs.service import VirtualService
from lvslab.kernels.needs import Need
from lvslab.modes.base import IP_FORWARD, Addresses, Color, Mode, ReplyPath, Role, Step, vip_step
from lvslab.modes.contract import FROM_DIRECTOR, TO_DIRECTOR, Address, Contract, Leg, Party


class Nat(Mode):
    name = "nat"
    title = "NAT"
    summary = "the director rewrites the destination address inwards and the source address outwards"
    color = Color("#0072b2", "#4aa8e0")
    topology = "nat"
    needs = {Role.DIRECTOR: frozenset({Need.IP_VS})}
    reply_paths = frozenset({ReplyPath.DIRECTOR})
    why_reply_path = "NAT needs every reply to pass the director, which must put the virtual address back in"
    maps_ports = True
    contract = Contract(
        request=(TO_DIRECTOR, Leg(Party.DIRECTOR, Party.REAL_SERVER, Address.CIP, Address.RIP)),
        reply=(Leg(Party.REAL_SERVER, Party.DIRECTOR, Address.RIP, Address.CIP), FROM_DIRECTOR),
        in_words=(
            "the real server sees CIP > RIP:rport; replies pass the director, which puts VIP:vport back in as"
            " source"
        ),
    )

    def director(self, addresses: Addresses, services: Sequence[VirtualService]) -> tuple[Step, ...]:
        return (vip_step(addresses), IP_FORWARD)
