"""Connections played side by side by their stories, and what became of their entries."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from lvslab.conformance.addresses import SERVER_PORT
from lvslab.conformance.checks.states.tables import Story
from lvslab.conformance.entries import entries, tcp, tcp_reply
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.listings import Connection


def play(
    bench: Bench, client: str, port: int, stories: Sequence[Story], server_port: int = SERVER_PORT
) -> list[Connection | None]:
    """Play connections side by side, each from a port of its own; their entries afterwards."""
    tell(bench, client, port, stories, server_port)
    by_port = {connection.client.port: connection for connection in entries(bench, client, port=port)}
    return [by_port.get(40000 + number) for number in range(len(stories))]


def tell(
    bench: Bench, client: str, port: int, stories: Sequence[Story], server_port: int = SERVER_PORT
) -> None:
    """Send the packets of connections, step by step: first what the clients do, then what the
    server does, so that few exchanges carry many connections.
    """
    for step in range(max(map(len, stories))):
        events = [(40000 + number, story[step]) for number, story in enumerate(stories) if step < len(story)]
        ours = [
            tcp(client, port, event[2:], sport=sport, ack=0 if event == "c:S" else 5001)
            for sport, event in events
            if event[0] == "c"
        ]
        theirs = [
            tcp_reply(1, client, event[2:], sport=server_port, dport=sport)
            for sport, event in events
            if event[0] == "s"
        ]
        if ours:
            bench.from_client(*ours)
        if theirs:
            bench.from_server(1, *theirs)


def service_of(bench: Bench, table: str, version: int = 4) -> int:
    """The port of a new service for one of the `TABLES`, whose name says mode and secure_tcp."""
    port = bench.port()
    if table.endswith("-secure"):
        bench.sysctl("net.ipv4.vs.secure_tcp", 3)
    bench.service(table.partition("-")[0], port=port, version=version, weights=(1,))
    return port


def lives(connection: Connection | None, seconds: int, since: float) -> bool:
    """Whether an entry has got this lifetime since a moment of time.monotonic(): what is shown is
    what is left of it, rounded down, so the time that has passed may be missing, and a second.
    """
    least = seconds - 1 - math.ceil(time.monotonic() - since)
    return connection is not None and least <= connection.expires <= seconds
