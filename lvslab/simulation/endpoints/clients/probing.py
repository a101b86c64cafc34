"""What a simulated prober shall do: the same words as the real one's, in nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lvslab.errors import UsageError
from lvslab.simulation.endpoints.base import MILLISECOND, SECOND


@dataclass(frozen=True, slots=True)
class Probing:
    """What a prober does. Times are nanoseconds.

    Attributes:
        address, port: the virtual service, IPv4 or IPv6.
        servers: names whose answers are good.
        protocol: "tcp" or "udp", of the attempts.
        interval: between two attempts; None: no attempts.
        timeout: of one attempt.
        ports: lowest and highest local port; the attempts go round in this range. None: the host
            chooses.
        flows: UDP only: this many ports take turns; 0: a new one for each datagram. With `ports`
            they are the range's first.
        connections: lasting TCP connections, never opened again when they end.
        stagger: between their openings.
        heartbeat: between two requests on one connection, of which one at a time is under way.
        beat_timeout: after which a connection without an answer (or not established) is given up.

    Raises:
        UsageError: there is nothing to do, or values that do not go together.
    """

    address: str
    port: int
    servers: frozenset[str]
    protocol: Literal["tcp", "udp"] = "tcp"
    interval: int | None = MILLISECOND
    timeout: int = SECOND // 2
    ports: tuple[int, int] | None = None
    flows: int = 0
    connections: int = 0
    stagger: int = 10 * MILLISECOND
    heartbeat: int = SECOND // 5
    beat_timeout: int = 5 * SECOND

    def __post_init__(self) -> None:
        problems = [
            (
                self.interval is None and not self.connections,
                "neither attempts nor connections: nothing to do",
            ),
            (
                self.interval is not None and self.interval <= 0,
                f"interval {self.interval} ns is not positive",
            ),
            (self.protocol == "udp" and self.connections > 0, "lasting connections need protocol 'tcp'"),
            (self.protocol == "tcp" and self.flows > 0, "flows are for protocol 'udp'"),
            (
                self.ports is not None and not 1 <= self.ports[0] <= self.ports[1] <= 65535,
                f"ports {self.ports} are no range within 1 and 65535",
            ),
            (not 1 <= self.port <= 65535, f"port {self.port} is not between 1 and 65535"),
        ]
        problem = next((text for failed, text in problems if failed), None)
        if problem:
            raise UsageError(f"prober: {problem}")

    @property
    def host_header(self) -> bytes:
        """The address as HTTP's Host names it (RFC 9110, 7.2)."""
        return (f"[{self.address}]" if ":" in self.address else self.address).encode()
