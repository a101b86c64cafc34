"""LVS-DR (`ipvsadm -g`, direct routing): the director changes the MAC address only; real servers
answer the client straight.
"""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.ipvs.service import PacketForwarding, VirtualService
from lvslab.kernels.needs import Need
from lvslab.modes.base import QUIET_ARP, Addresses, Color, Ip, Mode, ReplyPath, Role, Step, vip_step
from lvslab.modes.contract import STRAIGHT_BACK, TO_DIRECTOR, Address, Contract, Leg, Party


class DirectRouting(Mode):
    name = "dr"
    title = "DR"
    summary = (
        "the director changes only the MAC address; real servers in the same LAN answer the client straight"
    )
    color = Color("#e69f00", "#f0b429")
    packet_forwarding = PacketForwarding.DR
    vip_device = "lo"
    topology = "dr"
    needs = {Role.DIRECTOR: frozenset({Need.IP_VS})}
    reply_paths = frozenset({ReplyPath.DIRECT})
    why_reply_path = "in DR the real servers themselves answer the client from the virtual address"
    contract = Contract(
        request=(TO_DIRECTOR, Leg(Party.DIRECTOR, Party.REAL_SERVER, Address.CIP, Address.VIP)),
        reply=(STRAIGHT_BACK,),
        in_words=(
            "the real server sees CIP > VIP:vport in a frame to its own MAC; replies go straight to the"
            " client; only MACs and TTL change"
        ),
    )

    def director(self, addresses: Addresses, services: Sequence[VirtualService]) -> tuple[Step, ...]:
        return (vip_step(addresses),)

    def real_server(self, addresses: Addresses) -> tuple[Step, ...]:
        accept = Step(
            "vip-on-lo",
            "the real server accepts packets for the virtual address",
            (Ip(f"address add {addresses.vip}/32 dev {self.vip_device}"),),
        )
        return (QUIET_ARP, accept)
