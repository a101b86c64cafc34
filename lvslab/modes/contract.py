"""Packet contracts: what a forwarding mode does to every packet, as data that a judge can apply.

A contract is the chain of legs that a request takes from client to real server and the chain that a
reply takes back. Between two legs only what the contract says may change: the addresses given by
the legs, MAC addresses, the TTL, and checksums that follow from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Party(StrEnum):
    """Who sends or receives a leg; routers between them are passed over."""

    CLIENT = "client"
    DIRECTOR = "director"
    REAL_SERVER = "real server"


class Address(StrEnum):
    """The field's names for the addresses in play."""

    CIP = "CIP"
    """Client address, with the client's port."""
    VIP = "VIP"
    """Virtual address, with the service's port."""
    RIP = "RIP"
    """Address of the chosen real server, with the real server's port."""
    LIP = "LIP"
    """Local address of the director's pool, with any port (FullNAT)."""


@dataclass(frozen=True)
class Leg:
    """One leg: who hands the packet to whom, and the addresses it must carry on the way.

    Attributes:
        tunnelled: the packet travels inside IP protocol 4 from the director's to the real server's
            address (RFC 2003).
    """

    sender: Party
    receiver: Party
    source: Address
    destination: Address
    tunnelled: bool = False

    def __str__(self) -> str:
        inner = f"{self.source} > {self.destination}"
        return f"{self.sender} to {self.receiver}: " + (
            f"DIP > RIP protocol 4 around {inner}" if self.tunnelled else inner
        )


@dataclass(frozen=True)
class Contract:
    """All legs of a mode.

    Attributes:
        request: from the client to the real server.
        reply: from the real server to the client.
        proxied: the director itself answers the client's handshake and opens its own to the real
            server once the client has proved its address; sequence numbers of the two differ by a
            constant.
        in_words: the contract in one sentence, for reports.
    """

    request: tuple[Leg, ...]
    reply: tuple[Leg, ...]
    in_words: str
    proxied: bool = False


TO_DIRECTOR = Leg(Party.CLIENT, Party.DIRECTOR, Address.CIP, Address.VIP)
"""The first leg of every mode."""

FROM_DIRECTOR = Leg(Party.DIRECTOR, Party.CLIENT, Address.VIP, Address.CIP)
"""The last leg of every mode whose replies pass the director."""

STRAIGHT_BACK = Leg(Party.REAL_SERVER, Party.CLIENT, Address.VIP, Address.CIP)
"""The only reply leg of the modes whose real servers answer for the virtual address themselves."""
