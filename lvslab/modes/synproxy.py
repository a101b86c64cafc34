"""SYNPROXY: the director answers SYNs with cookies itself and connects to a real server only when
the client has proved its address.

Mainline IPVS has no SYN proxy. It is composed here of LVS-NAT and netfilter's SYNPROXY target in
the same kernel (iptables-extensions(8), SYNPROXY; net/netfilter/nf_synproxy_core.c).
"""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.ipvs.service import Protocol, VirtualService
from lvslab.kernels.needs import Need
from lvslab.modes.base import (
    IP_FORWARD,
    TRACK_MANY,
    Addresses,
    Color,
    Iptables,
    Mode,
    ReplyPath,
    Role,
    Step,
    Sysctl,
    vip_step,
)
from lvslab.modes.contract import FROM_DIRECTOR, TO_DIRECTOR, Address, Contract, Leg, Party

_WINDOW_SCALE = 7
"""What the proxy announces to clients before it knows the real server: it must be the real server's
(iptables-extensions(8), SYNPROXY).
"""

_RECEIVE_BUFFER = "4096 131072 6291456"
"""A largest receive buffer for which Linux announces exactly that scale (tcp_select_initial_window
in net/ipv4/tcp_output.c).
"""


class SynProxy(Mode):
    name = "synproxy"
    title = "SYNPROXY"
    summary = (
        "NAT whose director answers SYNs with cookies; a real server sees a SYN only after the client's ACK"
        " (composed: NAT and SYNPROXY)"
    )
    color = Color("#56b4e9", "#8fd0f7")
    composed = True
    topology = "synproxy"
    needs = {Role.DIRECTOR: frozenset({Need.IP_VS, Need.SYNPROXY})}
    reply_paths = frozenset({ReplyPath.DIRECTOR})
    why_reply_path = "SYNPROXY needs every reply to pass the director, which translates the sequence numbers"
    maps_ports = True
    carries_udp = False
    # The proxy's sequence numbers live in connection tracking, which sync does not carry.
    survives_sync = False
    contract = Contract(
        request=(TO_DIRECTOR, Leg(Party.DIRECTOR, Party.REAL_SERVER, Address.CIP, Address.RIP)),
        reply=(Leg(Party.REAL_SERVER, Party.DIRECTOR, Address.RIP, Address.CIP), FROM_DIRECTOR),
        proxied=True,
        in_words=(
            "as NAT, but no SYN reaches a real server before the client's ACK proved the cookie; sequence"
            " numbers are translated"
        ),
    )

    def director(self, addresses: Addresses, services: Sequence[VirtualService]) -> tuple[Step, ...]:
        tcp = [service for service in services if service.protocol == Protocol.TCP]
        tracking = Step(
            "conntrack",
            "SYNPROXY lives in connection tracking; cookies carry their options in time stamps; an ACK"
            " without a connection stays invalid",
            (
                Sysctl("net.ipv4.vs.conntrack", 1),
                Sysctl("net.ipv4.tcp_syncookies", 1),
                Sysctl("net.ipv4.tcp_timestamps", 1),
                Sysctl("net.netfilter.nf_conntrack_tcp_loose", 0),
                *TRACK_MANY,
            ),
        )
        untracked = Step(
            "notrack",
            "SYNs to the service are not tracked, so that a flood of them costs no memory",
            tuple(
                Iptables(
                    f"-t raw -A PREROUTING -d {each.address} -p tcp --dport {each.port} --syn -j CT --notrack"
                )
                for each in tcp
            ),
        )
        proxy = Step(
            "synproxy",
            "untracked SYNs get a cookie from the director, and the ACK that brings it back opens the"
            " connection",
            (
                *(
                    Iptables(
                        f"-A INPUT -d {each.address} -p tcp --dport {each.port} -m state --state"
                        f" INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale {_WINDOW_SCALE}"
                        " --mss 1460"
                    )
                    for each in tcp
                ),
                Iptables(f"-A INPUT -d {addresses.vip} -p tcp -m state --state INVALID -j DROP"),
            ),
        )
        return (vip_step(addresses), IP_FORWARD, tracking, untracked, proxy)

    def real_server(self, addresses: Addresses) -> tuple[Step, ...]:
        scale = Step(
            "window-scale",
            f"the real server's window scale is the {_WINDOW_SCALE} that the proxy has announced for it",
            (Sysctl("net.ipv4.tcp_rmem", _RECEIVE_BUFFER),),
        )
        return (scale,)
