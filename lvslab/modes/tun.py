"""LVS-TUN (`ipvsadm -i`, IP-in-IP tunnelling): real servers anywhere; each unwraps the packet and
answers the client straight.
"""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.ipvs.service import PacketForwarding, VirtualService
from lvslab.kernels.needs import Need
from lvslab.modes.base import QUIET_ARP, Addresses, Color, Ip, Mode, ReplyPath, Role, Step, Sysctl, vip_step
from lvslab.modes.contract import STRAIGHT_BACK, TO_DIRECTOR, Address, Contract, Leg, Party


class Tunnelling(Mode):
    name = "tun"
    title = "TUN"
    summary = (
        "the director wraps the packet in IP protocol 4; real servers in any network unwrap it and answer the"
        " client straight"
    )
    color = Color("#009e73", "#2fc79a")
    packet_forwarding = PacketForwarding.TUN
    vip_device = "tunl0"
    topology = "tun"
    needs = {Role.DIRECTOR: frozenset({Need.IP_VS}), Role.REAL_SERVER: frozenset({Need.IPIP})}
    reply_paths = frozenset({ReplyPath.DIRECT})
    why_reply_path = "in TUN the real servers themselves answer the client from the virtual address"
    contract = Contract(
        request=(
            TO_DIRECTOR,
            Leg(Party.DIRECTOR, Party.REAL_SERVER, Address.CIP, Address.VIP, tunnelled=True),
        ),
        reply=(STRAIGHT_BACK,),
        in_words=(
            "the real server sees DIP > RIP protocol 4 around CIP > VIP:vport; replies go straight to the"
            " client; nothing is rewritten"
        ),
    )

    def director(self, addresses: Addresses, services: Sequence[VirtualService]) -> tuple[Step, ...]:
        return (vip_step(addresses),)

    def real_server(self, addresses: Addresses) -> tuple[Step, ...]:
        receive = Step(
            "tunl0",
            "the fallback tunnel takes protocol 4 from any sender, and the virtual address on it makes the"
            " inner packet local",
            (Ip(f"address add {addresses.vip}/32 dev {self.vip_device}"), Ip("link set tunl0 up")),
        )
        # The larger of the two values counts (Documentation/networking/ip-sysctl.rst, rp_filter).
        believe = Step(
            "rp-filter",
            "the inner packet's source is not reached through the tunnel, so a strict reverse path filter"
            " would drop it",
            (Sysctl("net.ipv4.conf.all.rp_filter", 0), Sysctl("net.ipv4.conf.tunl0.rp_filter", 0)),
        )
        return (QUIET_ARP, receive, believe)
