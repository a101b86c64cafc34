"""The states of SCTP associations.

Facts: ip_vs_proto_sctp.c in Linux 6.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from scapy.layers import sctp
from scapy.layers.sctp import SCTP
from scapy.packet import Packet

from lvslab.conformance.addresses import SERVER_PORT, V4
from lvslab.conformance.check import check
from lvslab.conformance.entries import entry
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol

_SCTP_NAT: Sequence[tuple[str, str, str]] = (
    ("c", "INIT", "INIT1"),
    ("s", "INIT-ACK", "C-SENT"),
    ("c", "COOKIE-ECHO", "C-REPLIED"),
    ("s", "COOKIE-ACK", "ESTABLISHED"),
    ("c", "DATA", "ESTABLISHED"),
    ("c", "SHUTDOWN", "S-RECEIVED"),
    ("s", "SHUTDOWN-ACK", "S-ACK-SENT"),
    ("c", "SHUTDOWN-COMPLETE", "CLOSED"),
)
_SCTP_REFUSED: Sequence[tuple[str, str, str]] = (("c", "INIT", "INIT1"), ("s", "ABORT", "REJECTED"))
_SCTP_ABORTED: Sequence[tuple[str, str, str]] = (*_SCTP_NAT[:4], ("s", "ABORT", "CLOSED"))
_SCTP_ONE_WAY: Sequence[tuple[str, str, str]] = (
    ("c", "INIT", "INIT1"),
    ("c", "COOKIE-ECHO", "ESTABLISHED"),
    ("c", "SHUTDOWN", "S-RECEIVED"),
)


def client_chunk(client: str, port: int, kind: str) -> Packet:
    """A client's packet with one chunk, to the VIP."""
    return V4.packet(client, V4.vip) / SCTP(sport=40000, dport=port, tag=2) / _sctp(kind)


def server_chunk(client: str, kind: str) -> Packet:
    """Real server 1's packet with one chunk, to a client, as in NAT."""
    return V4.packet(V4.server(1), client) / SCTP(sport=SERVER_PORT, dport=40000, tag=1) / _sctp(kind)


def _sctp(kind: str) -> Packet:
    chunks = {
        "INIT": sctp.SCTPChunkInit(init_tag=1),
        "INIT-ACK": sctp.SCTPChunkInitAck(init_tag=2),
        "COOKIE-ECHO": sctp.SCTPChunkCookieEcho(cookie=b"lvs!"),
        "COOKIE-ACK": sctp.SCTPChunkCookieAck(),
        "DATA": sctp.SCTPChunkData(data=b"lvs!"),
        "SHUTDOWN": sctp.SCTPChunkShutdown(),
        "SHUTDOWN-ACK": sctp.SCTPChunkShutdownAck(),
        "SHUTDOWN-COMPLETE": sctp.SCTPChunkShutdownComplete(),
        "ABORT": sctp.SCTPChunkAbort(),
    }
    return chunks[kind]


@check(
    "states:sctp:{mode}:{story}",
    "an SCTP association of {mode} goes through the states that its chunks mean",
    tags=("sctp", "{mode}"),
    spoilt_by=2.0,  # INIT1 and REJECTED live 4 s
    each=[
        {"mode": "nat", "story": "whole", "steps": _SCTP_NAT},
        {"mode": "nat", "story": "refused", "steps": _SCTP_REFUSED},
        {"mode": "nat", "story": "aborted", "steps": _SCTP_ABORTED},
        {"mode": "dr", "story": "whole", "steps": _SCTP_ONE_WAY},
    ],
)
def sctp_states(bench: Bench, mode: str, story: str, steps: Sequence[tuple[str, str, str]]) -> None:
    port, client = bench.port(), bench.client()
    bench.service(mode, protocol=Protocol.SCTP, port=port, weights=(1,))
    seen = []
    for side, kind, _ in steps:
        if side == "c":
            bench.from_client(client_chunk(client, port, kind)).one("inside", f"the client's {kind}")
        else:
            bench.from_server(1, server_chunk(client, kind)).one("outside", f"the server's {kind}")
        seen.append(entry(bench, client, f"after {kind}").state)
    wrong = [
        f"after {kind} of the {'client' if side == 'c' else 'server'}: {wanted} expected, {state} seen"
        for (side, kind, wanted), state in zip(steps, seen, strict=True)
        if state != wanted
    ]
    must(not wrong, wrong[0] if wrong else "", *wrong)
