"""What a world leaves for judgement: everything that invariants may look at, as frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lvslab.explore.schedule import Injection
from lvslab.ipvs.listings import Connection, ServiceStats
from lvslab.ipvs.service import VirtualService
from lvslab.runs.outage import Attempt, Beat

HTTP, UDP = "HTTP", "UDP"


class Frame(NamedTuple):
    """A frame that crossed a card.

    Attributes:
        t: seconds.
        node, card: whose card; its name.
        outbound: as the node sees it.
    """

    t: float
    node: str
    card: str
    outbound: bool
    octets: bytes


@dataclass(frozen=True)
class Net:
    """Who is who.

    Attributes:
        vip, port: the virtual address, and the port of the TCP service at it.
        client: the client's address.
        macs: MAC address → node.
        directors: names.
        servers: name → address.
        replies_pass: whether replies pass the director.
    """

    vip: str
    client: str
    macs: Mapping[bytes, str]
    directors: tuple[str, ...]
    servers: Mapping[str, str]
    replies_pass: bool = True
    port: int = 80


@dataclass(frozen=True)
class Promise:
    """What the configuration promises; seconds.

    Attributes:
        whole: after which the service is whole again, whatever single thing has failed or come
            back: the backup has taken over, a dead server has been noticed, a good one is back.
        formula: how that comes about, in words.
        timeout: of an attempt.
        synced: whether connections are synchronised.
    """

    whole: float
    formula: str
    timeout: float
    synced: bool


@dataclass(frozen=True)
class Happened:
    """A fault that was tried.

    Attributes:
        began, ended: seconds; `ended` is None for one that stayed.
        void: why nothing was done, or "".
    """

    injection: Injection
    began: float
    ended: float | None
    void: str = ""


@dataclass(frozen=True)
class Shot:
    """A director's tables at a time.

    Attributes:
        services: with their servers and weights.
        connections: templates included.
    """

    t: float
    director: str
    services: tuple[VirtualService, ...]
    connections: tuple[Connection, ...]


@dataclass(frozen=True)
class Counted:
    """A director's counters before and after a quiet stretch of load.

    Attributes:
        began, ended: seconds; around them there was no traffic.
    """

    director: str
    began: float
    ended: float
    before: tuple[ServiceStats, ...]
    after: tuple[ServiceStats, ...]


@dataclass(frozen=True)
class Record:
    """A world's.

    Attributes:
        began: when the load was begun.
        rested: when it was ended, long after the last fault.
        attempts: new connections, and datagrams of lasting UDP flows, by their services.
        beats: of lasting connections.
        asked: when the client asked who has the virtual address, for all to hear.
        shots: of the directors that are on: before an operator puts a server back, and at the end.
        consoles: what each director's kernel printed.
    """

    net: Net
    promise: Promise
    happened: tuple[Happened, ...]
    rested: float
    attempts: Mapping[str, tuple[Attempt, ...]] = field(default_factory=dict)
    beats: tuple[Beat, ...] = ()
    frames: tuple[Frame, ...] = ()
    asked: float = 0.0
    shots: tuple[Shot, ...] = ()
    counted: tuple[Counted, ...] = ()
    consoles: Mapping[str, str] = field(default_factory=dict)
    began: float = 0.0


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold.

    Attributes:
        invariant: its name.
        how: in which way, in a few words that are the same whenever it is the same failure.
        t: seconds, of the first sign.
        sentence: what was seen.
    """

    invariant: str
    how: str
    t: float
    sentence: str

    @property
    def fingerprint(self) -> str:
        """Equal for violations that are the same failure."""
        return f"{self.invariant}: {self.how}"
