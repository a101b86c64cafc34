"""A flood of SYNs or SYN-ACKs from a client, as a context manager, made by the traffic engine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from lvslab.errors import UsageError
from lvslab.lab.lab import Lab
from lvslab.lab.nodes import LabHost
from lvslab.plan.services import HTTP_PORT
from lvslab.traffic.engine import Draw, Engine, Stream

MAX_RATE = 100_000
"""SYNs a second that one thread of the engine sends with room to spare, so that the rate holds also
beside busy guests.
"""

MAX_SECONDS = 120.0

SOURCES = "198.18.0.0/15"
"""Addresses for benchmarks (RFC 2544); nobody answers from them."""

MAX_FLOWS = 1 << 19
"""SYNs that differ; after these the first ones come again, as a client's second try would."""

_TOLERANCE = 0.01


@contextmanager
def syn_flood(
    lab: Lab,
    client: str,
    rate: float,
    seconds: float = MAX_SECONDS,
    port: int = HTTP_PORT,
    acknowledging: bool = False,
) -> Iterator[None]:
    """Flood the virtual service with SYNs from addresses that never answer, until the block is left
    or `seconds` have passed.

    Args:
        client: a client on the machine's own kernel; the flood goes out of its first interface.
        rate: SYNs a second. What was held is said at the end.
        acknowledging: SYN-ACKs, which belong to no connection, in place of SYNs.

    Raises:
        UsageError: a rate or duration that is not bounded, or no such client.
        LabError: the flood did not run.
    """
    if not 0 < rate <= MAX_RATE or not 0 < seconds <= MAX_SECONDS:
        raise UsageError(
            f"SYN flood: {rate:g}/s for {seconds:g} s; at most {MAX_RATE}/s for {MAX_SECONDS:g} s"
        )
    what = "SYN-ACK" if acknowledging else "SYN"
    node, planned = lab.node(client), lab.plan.node(client)
    if not isinstance(node, LabHost):
        raise UsageError(f"SYN flood: '{client}' is a guest; take a client on the machine's own kernel")
    interface = planned.interfaces[0]
    gateway = next(each for each in lab.plan.node(lab.master).interfaces if each.network == interface.network)
    frame = Ether(src=interface.mac, dst=gateway.mac) / IP(src="0.0.0.0", dst=lab.plan.addresses.vip)
    frame /= TCP(dport=port, flags="SA" if acknowledging else "S", window=64240, options=[("MSS", 1460)])
    vary = {"IP.src": Draw(SOURCES), "IP.id": Draw(), "TCP.sport": Draw(1024, 65535), "TCP.seq": Draw()}
    stream = Stream(
        frame, vary, flows=min(MAX_FLOWS, math.ceil(rate * seconds)), rate=rate, seconds=seconds, workers=1
    )
    with Engine(node, interface.name).start(stream) as sending:
        lab.tell("fault", f"{client}: {what} flood, {rate:g}/s from {SOURCES}", client)
        yield
        sending.check()
        sent = sending.stop()
    missed = abs(sent.rate / rate - 1) > _TOLERANCE
    lab.tell(
        "repair",
        f"{client}: {what} flood over, {sent.sent} {what}s,"
        f" {sent.rate:.0f}/s{', which is not the rate asked for' if missed else ''}",
        client,
    )
