"""What forwarding changes in headers, the TTL, and all that it keeps."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import UDP, IPOption_NOP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, PadN
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, PORT
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import (
    SPORT,
    answer_to,
    datagram,
    field,
    is_error,
    must_answer,
    must_forward,
    quoted,
)
from lvslab.conformance.flows import Conversation
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_MODE, EACH_VERSION, MODES_VERSIONS
from lvslab.ipvs.service import Protocol

# -- TTL -------------------------------------------------------------------------------------------


@check(
    "{mode}:ttl:ipv{version}",
    "a packet with TTL 2 reaches the real server with 1, one with TTL 1 is answered with time exceeded,"
    " quoting it as it came",
    tags=("forwarding", "ipv{version}", "ttl", "boundary"),
    each=MODES_VERSIONS,
)
def ttl(bench: Bench, mode: str, version: int) -> None:
    # decrement_ttl of ip_vs_xmit.c: IPVS counts as a hop, in every mode.
    hops: dict[str, Any] = {"ttl": 2} if version == 4 else {"hlim": 2}
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    must_forward(bench, datagram(bench, version, **hops), mode, "a datagram with TTL 2")
    last = datagram(bench, version, **field("ttl" if version == 4 else "hlim", 1))
    frame = bench.from_client(last).one("outside", "the answer to a datagram with TTL 1")
    _is_time_exceeded(frame, last, "a datagram with TTL 1")


@check(
    "nat:ttl-of-reply:ipv{version}",
    "a reply with TTL 2 reaches the client with 1, one with TTL 1 is answered to the real server with time"
    " exceeded",
    tags=("forwarding", "ipv{version}", "ttl", "boundary"),
    each=EACH_VERSION,
)
def ttl_of_reply(bench: Bench, version: int) -> None:
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    sent = datagram(bench, version)
    must_forward(bench, sent, "nat", "the request")
    name = "ttl" if version == 4 else "hlim"
    must_answer(bench, answer_to(sent, **field(name, 2)), "a reply with TTL 2")
    last = answer_to(sent, **field(name, 1))
    frame = bench.from_server(1, last).one("inside", "the answer to a reply with TTL 1")
    _is_time_exceeded(frame, last, "a reply with TTL 1")


def _is_time_exceeded(frame: Packet, last: Packet, what: str) -> None:
    """Time exceeded (RFC 792, RFC 4443) goes to the sender and quotes the packet as it came."""
    version = last.version
    is_error(frame, version, 11 if version == 4 else 3, 0, f"the answer to {what}")
    must(frame.payload.dst == last.src, f"time exceeded does not go to the sender of {what}", frame.summary())
    must(
        quoted(frame) == bytes(last),
        f"time exceeded does not quote {what} as it came",
        frame.summary(),
        last.summary(),
    )


# -- headers kept ----------------------------------------------------------------------------------


@check(
    "{mode}:dscp-ecn:ipv{version}",
    "DSCP and ECN of a packet are kept; in tun the outer header has them too, with ECT(0) for congestion"
    " experienced",
    tags=("forwarding", "ipv{version}", "header"),
    each=MODES_VERSIONS,
)
def dscp_ecn(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    client, name = bench.client(version), "tos" if version == 4 else "tc"
    for value in (0x01, 0x02, 0x03, 0x10, 0xB8, 0xFF):
        sent = datagram(bench, version, client=client, **field(name, value))
        must_forward(bench, sent, mode, f"a datagram with traffic class {value:#04x}")
        if mode == "nat":
            must_answer(
                bench, answer_to(sent, **field(name, value)), f"a reply with traffic class {value:#04x}"
            )


@check(
    "{mode}:ip-id-and-df",
    "identification and DF of an IPv4 packet are kept; the outer header of tun has DF exactly when the packet"
    " has it",
    tags=("forwarding", "ipv4", "header"),
    each=EACH_MODE,
)
def ip_id_and_df(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    client = bench.client()
    for identification in (0, 1, 0xFFFF):
        for flags in ("", "DF"):
            sent = datagram(bench, 4, client=client, id=identification, flags=flags)
            must_forward(
                bench, sent, mode, f"a datagram with identification {identification} and flags '{flags}'"
            )
            if mode == "nat":
                back = answer_to(sent, id=identification, flags=flags)
                must_answer(bench, back, f"a reply with identification {identification} and flags '{flags}'")


@check(
    "{mode}:flow-label",
    "the flow label of an IPv6 packet is kept; the outer header of tun has none",
    tags=("forwarding", "ipv6", "header"),
    each=EACH_MODE,
)
def flow_label(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=6, weights=(1,))
    client = bench.client(6)
    for label in (1, 0xABCDE, 0xFFFFF):
        must_forward(
            bench, datagram(bench, 6, client=client, fl=label), mode, f"a datagram with flow label {label:#x}"
        )


@check(
    "{mode}:ip-options",
    "an IPv4 packet with options that ask nothing of a router (NOP, router alert) keeps them",
    tags=("forwarding", "ipv4", "header"),
    each=EACH_MODE,
)
def ip_options(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    sent = datagram(
        bench,
        4,
        options=[IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_Router_Alert()],
    )
    must_forward(bench, sent, mode, "a datagram with IP options")


@check(
    "{mode}:extension-header",
    "an IPv6 packet with a destination options header before its ports is balanced like any other and keeps"
    " the header",
    tags=("forwarding", "ipv6", "header"),
    each=EACH_MODE,
)
def extension_header(bench: Bench, mode: str) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=6, weights=(1,))
    net = NETS[6]
    header = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    sent = net.packet(bench.client(6), net.vip) / header / UDP(sport=SPORT, dport=PORT) / b"lvslab"
    must_forward(bench, sent, mode, "a datagram with destination options")


_TCP_OPTIONS: dict[str, list[Any]] = {
    "usual": [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (12345, 0)), ("NOP", None), ("WScale", 7)],
    "unknown": [("MSS", 536), (253, b"\x12\x34lvslab"), (254, b"\x1f\x90\xc0\x00\x02\x01")],
    "md5": [("MSS", 1460), (19, bytes(range(16))), ("NOP", None), ("NOP", None)],
    "fast-open": [("MSS", 1460), (34, b"cookie01"), ("NOP", None), ("NOP", None)],
    "none": [],
    "full": [("NOP", None)] * 40,
}


@check(
    "{mode}:tcp-options:ipv{version}",
    "the TCP options of a SYN are kept byte for byte: the usual ones, unknown kinds, MD5, fast open, none,"
    " and all 40 bytes",
    tags=("forwarding", "ipv{version}", "tcp", "header"),
    each=MODES_VERSIONS,
)
def tcp_options(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version, weights=(1,))
    for name, options in _TCP_OPTIONS.items():
        talk = Conversation(bench, mode, version)
        must_forward(bench, talk.from_client("S", options=options), mode, f"a SYN with options '{name}'")
        if mode == "nat":
            talk.server, talk.sequence["client"] = 1, talk.sequence["client"] + 1
            must_answer(bench, talk.from_server("SA", options=options), f"a SYN-ACK with options '{name}'")


@check(
    "{mode}:tcp-sack:ipv{version}",
    "timestamps and SACK blocks in segments of an established connection are kept, as are urgent pointer,"
    " window and reserved bits",
    tags=("forwarding", "ipv{version}", "tcp", "header"),
    each=MODES_VERSIONS,
)
def tcp_sack(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version, weights=(1,))
    talk = Conversation(bench, mode, version).establish()
    options = [
        ("NOP", None),
        ("NOP", None),
        ("Timestamp", (1, 2)),
        ("NOP", None),
        ("NOP", None),
        ("SAck", (5001, 6001, 7001, 8001)),
    ]
    fields = {"options": options, "window": 123, "urgptr": 77, "reserved": 5}
    must_forward(bench, talk.from_client("PAUEC", b"odd", **fields), mode, "a segment with SACK blocks")
    if mode == "nat":
        must_answer(bench, talk.from_server("PAUEC", b"odd", **fields), "a reply with SACK blocks")
