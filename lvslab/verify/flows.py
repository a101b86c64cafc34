"""What is judged: a lab as the judge must know it, flows, and their hops with a verdict each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lvslab.modes.base import Role
from lvslab.modes.contract import Contract, Party
from lvslab.runs.records import StepVerdict
from lvslab.verify.path import Hop


@dataclass(frozen=True)
class Setting:
    """What the judge must know about a lab.

    Attributes:
        contract: of the mode.
        roles: node name → role.
        vip, dip: virtual address; the director's own address.
        rips: real server's name → address.
        lips: local addresses.
        ports: service port → port on the real servers.
        ttl_step: what the director takes off the TTL of a forwarded packet (1 since Linux 4.9).
    """

    contract: Contract
    roles: Mapping[str, Role]
    vip: str
    dip: str
    rips: Mapping[str, str]
    lips: tuple[str, ...]
    ports: Mapping[int, int]
    ttl_step: int = 1

    def party(self, node: str | None) -> Party | None:
        """The party of a node; None for routers and for nobody."""
        role = self.roles.get(node) if node else None
        return None if role in (None, Role.ROUTER) else Party(str(role))

    def server_of(self, address: str) -> str | None:
        """The real server that has an address."""
        return next((name for name, rip in self.rips.items() if rip == address), None)


@dataclass
class JudgedHop:
    """A hop with its verdict: "ok", "wrong" or "unjudged", and why it is wrong.

    `rewritten` names what differs from the previous hop of the same packet.
    """

    hop: Hop
    rewritten: tuple[str, ...] = ()
    verdict: StepVerdict = "ok"
    why: str = ""


@dataclass
class Flow:
    """A judged flow.

    Attributes:
        protocol, client, service: what it is: addresses with ports.
        hops: all its hops in order of time.
        server: name of the real server that got it, None if none did.
    """

    protocol: str
    client: tuple[str, int]
    service: tuple[str, int]
    hops: list[JudgedHop] = field(default_factory=list)
    server: str | None = None
    origin: str | None = None
    """Name of the client's node."""
    local: tuple[str, int] | None = None
    proved: bool = False
    """SYN proxy: the client's ACK has been seen."""
    shift: int | None = None
    """SYN proxy: real server's sequence numbers minus the cookie's."""

    @property
    def title(self) -> str:
        if self.protocol == "ICMP":
            return f"ICMP {self.client[0]} > {self.service[0]} id={self.client[1]}"
        return f"{self.protocol} {self.client[0]}:{self.client[1]} > {self.service[0]}:{self.service[1]}"

    @property
    def wrong(self) -> JudgedHop | None:
        """The first wrong hop."""
        return next((each for each in self.hops if each.verdict == "wrong"), None)


def fail(judged: JudgedHop, why: str) -> None:
    """Mark a hop wrong; the first reason stays."""
    if judged.verdict != "wrong":
        judged.verdict, judged.why = "wrong", why
