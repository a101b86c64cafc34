"""The users of a rehearsal: who is asked how often, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lvslab.ipvs.service import Protocol
from lvslab.lab.nodes import LabHost
from lvslab.lab.program import NodeProgram
from lvslab.rehearse.director import Door
from lvslab.runs.outage import Attempt, Beat
from lvslab.runs.probes import read_probes

RATE_EACH, RATE_SUM = 20.0, 150.0
"""New connections a second: to one service, and to all together at most. More, and the director's
guest answers its own checks late: keepalived waits for the end of each connection (SO_LINGER), one
after the other.
"""

_BEATS_SUM = 300.0
"""Heartbeats a second on all lasting connections together, at most."""

RATE_IN_GUESTS = 5.0
"""The same to one service, where real servers stand on directors: a program in a guest is slow."""

ATTEMPT_SECONDS = 0.9
"""Below 1 s, after which TCP sends a lost SYN again: a lost SYN is a failed attempt."""

BEAT_SECONDS = 3.0
"""So long an answer on a lasting connection may take."""

_HEARTBEAT_SECONDS = 0.5
_STOP_SECONDS = 60.0


@dataclass(frozen=True)
class Ask:
    """What users do at one door.

    Attributes:
        speaks: "http", "smtp", "ftp", "dns", "udp" or "tcp".
        path: of the page.
        host: name of the web site.
    """

    door: Door
    speaks: str
    tls: bool = False
    path: str = "/"
    host: str = "rehearsal"


class Users:
    """A running `users_program`, as a context manager; its records are whole afterwards.

    Attributes:
        interval: seconds between two attempts at one door, which no outage can be finer than.
    """

    def __init__(
        self,
        node: LabHost,
        asks: Sequence[Ask],
        sources: Sequence[str],
        folder: Path,
        rate: float,
        *,
        seconds: float = 3600.0,
        connections: int = 0,
    ) -> None:
        """Prepare them.

        Args:
            sources: their addresses.
            rate: new users a second at each door.
            connections: lasting ones to each door that speaks TCP; their heartbeats come more
                seldom where they are many.
        """
        self._node, self._asks, self._folder, self._seconds = node, tuple(asks), folder, seconds
        self._sources = tuple(sources)
        self._connections = connections
        self._rate = rate
        self.interval = 1 / rate
        self._program: NodeProgram | None = None

    def __enter__(self) -> Users:
        self._folder.mkdir(parents=True)
        lasting = sum(self._connections for ask in self._asks if ask.door.protocol is Protocol.TCP)
        heartbeat = max(_HEARTBEAT_SECONDS, lasting / _BEATS_SUM)
        services = [
            {
                "address": ask.door.address,
                "sources": [own for own in self._sources if (":" in own) == ask.door.is_ipv6],
                "port": ask.door.port,
                "protocol": ask.door.protocol.value,
                "speaks": ask.speaks,
                "tls": ask.tls,
                "path": ask.path,
                "host": ask.host,
                "rate": self._rate,
                "timeout": ATTEMPT_SECONDS,
                "connections": self._connections if ask.door.protocol is Protocol.TCP else 0,
                "heartbeat": heartbeat,
                "beat_timeout": BEAT_SECONDS,
                "attempts": f"{number}.csv",
                "beats": f"{number}.beats.csv",
            }
            for number, ask in enumerate(self._asks)
        ]
        plan = self._folder / "users.json"
        plan.write_text(json.dumps({"seconds": self._seconds, "services": services}))
        self._program = NodeProgram(
            "users of the rehearsal", "lvslab.rehearse.users_program", [str(plan.resolve())], self._node
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        program, self._program = self._program, None
        if program is None:
            return
        try:
            if error is None:
                program.tell_to_end()
                program.totals(_STOP_SECONDS)
        finally:
            program.close()

    def check(self) -> None:
        """Raise LabError if the program has ended by itself."""
        if self._program is not None and not self._program.running:
            raise self._program.broken("ended")

    def records(self) -> Mapping[Door, tuple[Sequence[Attempt], Sequence[Beat]]]:
        """Every attempt and heartbeat at each door; within the block those that are over by now."""
        found: dict[Door, tuple[Sequence[Attempt], Sequence[Beat]]] = {}
        for number, ask in enumerate(self._asks):
            beats = self._folder / f"{number}.beats.csv"
            probes = read_probes(self._folder / f"{number}.csv", beats if beats.exists() else None)
            found[ask.door] = (probes.attempts, probes.beats)
        return found
