"""The virtual services that a lab begins with."""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.ipvs.service import Protocol, RealServer, Scheduler, VirtualService
from lvslab.modes.base import Addresses, Mode

HTTP_PORT, HTTP_SERVER_PORT = 80, 8080
UDP_PORT, UDP_SERVER_PORT = 5300, 5301

THROUGHPUT_PORT = 5201
"""iperf3's own port; it opens two connections, which must reach the same real server, so this
service is persistent.
"""

_THROUGHPUT_PERSISTENCE = 300


def standard_services(
    mode: Mode,
    addresses: Addresses,
    scheduler: Scheduler,
    weights: Sequence[int] = (),
    persistence: int = 0,
    ops: bool = False,
) -> tuple[VirtualService, ...]:
    """The virtual services of a lab: HTTP, a UDP echo where the mode carries UDP, and iperf3."""

    def service(protocol: Protocol, port: int, server_port: int, **options: object) -> VirtualService:
        real_servers = tuple(
            RealServer(
                rip,
                server_port if mode.maps_ports else port,
                mode.packet_forwarding,
                weights[index] if index < len(weights) else 1,
            )
            for index, rip in enumerate(addresses.rips.values())
        )
        return VirtualService(
            protocol,
            addresses.vip,
            port,
            scheduler=scheduler,
            real_servers=real_servers,
            **options,  # type: ignore[arg-type]
        )

    services = [service(Protocol.TCP, HTTP_PORT, HTTP_SERVER_PORT, persistence_timeout=persistence)]
    if mode.carries_udp:
        services.append(service(Protocol.UDP, UDP_PORT, UDP_SERVER_PORT, ops=ops))
    services.append(
        service(Protocol.TCP, THROUGHPUT_PORT, THROUGHPUT_PORT, persistence_timeout=_THROUGHPUT_PERSISTENCE)
    )
    return tuple(services)
