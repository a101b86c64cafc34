"""/proc/net/ip_vs: the table of virtual services that everybody may read, in the kernel's own words
(ip_vs_ctl.c, ip_vs_info_seq_show).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import replace

from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService

_FORWARDING = {"Masq": PacketForwarding.MASQ, "Tunnel": PacketForwarding.TUN}
"""The kernel says "Route" for the rest, also for a server on the director itself: no kernel since
2.6.37 sets the method that would be shown as "Local" (IP_VS_CONN_F_LOCALNODE, ip_vs_ctl.c).
"""


def read_table(lines: Iterable[str]) -> tuple[tuple[VirtualService, ...], dict[tuple[str, str], int]]:
    """The services, and the connections of all states at each server by (service name, server
    name).
    """
    services: list[VirtualService] = []
    active: dict[tuple[str, str], int] = {}
    for line in lines:
        words = line.split()
        if words[:1] == ["->"] and services and len(words) >= 6 and words[3].isdigit():
            address, port = endpoint(words[1])
            forwarding = _FORWARDING.get(words[2], PacketForwarding.DR)
            server = RealServer(address, port, forwarding, weight=min(int(words[3]), 65535))
            services[-1] = replace(services[-1], real_servers=(*services[-1].real_servers, server))
            active[services[-1].name, server.name] = int(words[4]) + int(words[5])
        elif words[:1] in (["TCP"], ["UDP"], ["SCTP"]) and len(words) >= 3:
            services.append(_service(words, Protocol[words[0]], *endpoint(words[1])))
        elif words[:1] == ["FWM"] and len(words) >= 3:
            services.append(_service(words, Protocol.FWMARK, "", 0, fwmark=int(words[1], 16)))
    return tuple(services), active


def read_weights(lines: Iterable[str]) -> dict[tuple[str, str], int]:
    """(service's name, server's name) → weight. A firewall mark's family is not told here: its
    servers stand under the names of both.
    """
    weights: dict[tuple[str, str], int] = {}
    names: list[str] = []
    for line in lines:
        words = line.split()
        if words[:1] == ["->"] and len(words) >= 4 and words[3].isdigit():
            server = str(Endpoint(*endpoint(words[1])))
            weights |= {(name, server): int(words[3]) for name in names}
        elif words[:1] in (["TCP"], ["UDP"], ["SCTP"]) and len(words) >= 3:
            names = [f"{words[0]} {Endpoint(*endpoint(words[1]))}"]
        elif words[:1] == ["FWM"] and len(words) >= 3:
            names = [f"FWM {int(words[1], 16)}", f"FWM {int(words[1], 16)} IPv6"]
    return weights


def _service(
    words: list[str], protocol: Protocol, address: str, port: int, fwmark: int = 0
) -> VirtualService:
    persistence = int(words[words.index("persistent") + 1]) if "persistent" in words else 0
    scheduler = Scheduler(words[2]) if words[2] in set(Scheduler) else Scheduler.WLC
    return VirtualService(
        protocol,
        address,
        port,
        fwmark=fwmark,
        scheduler=scheduler,
        persistence_timeout=persistence or (0 if port or fwmark else 1),
        ops="ops" in words,
    )


def endpoint(text: str) -> tuple[str, int]:
    """Address and port of "0A00000A:0050" or "[2001:…]:0050"; IPv6 addresses stay in full words."""
    ipv6 = re.fullmatch(r"\[(.+)\]:([0-9A-F]{4})", text)
    if ipv6:
        return ipv6[1], int(ipv6[2], 16)
    address, _, port = text.partition(":")
    return socket.inet_ntop(socket.AF_INET, bytes.fromhex(address)), int(port, 16)
