"""Fragments of requests and replies, and packets that are too long for the way."""

from __future__ import annotations

from typing import Any

from lvslab.conformance.addresses import NETS
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import (
    answer_to,
    datagram,
    field,
    fragments,
    must_answer,
    must_forward,
    narrow,
    reassembled,
    too_big,
)
from lvslab.conformance.flows import at_client, at_server, server_number
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION, MODES_VERSIONS
from lvslab.ipvs.service import Protocol

_FRAGMENT_HEADER = 44
"""IPv6's next header for fragments (RFC 8200)."""


# -- fragments -------------------------------------------------------------------------------------


@check(
    "{mode}:fragments:ipv{version}",
    "a datagram in three fragments, in any order, reaches one real server complete, in fragments again,"
    " translated as a whole",
    tags=("forwarding", "ipv{version}", "fragments"),
    each=MODES_VERSIONS,
)
def fragmented(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version)
    payload = bytes(at % 251 for at in range(3001))
    client = bench.client(version)
    identification = 0x4242
    for order in ((0, 1, 2), (2, 0, 1)):
        identification += 1
        whole = datagram(
            bench, version, payload, client=client, **({"id": identification} if version == 4 else {})
        )
        pieces = fragments(whole, 1208, identification)
        seen = bench.from_client(*(pieces[at] for at in order))
        what = f"a datagram in fragments, order {order}"
        must(
            not seen.outside,
            f"{what}: something came back outside",
            *(frame.summary() for frame in seen.outside),
        )
        joined = reassembled(seen.inside, what)
        must_equal(joined, at_server(bench, whole, mode, server_number(bench, joined), seen=joined), what)


@check(
    "nat:fragmented-reply:ipv{version}",
    "a real server's reply in fragments reaches the client complete, from the VIP and its port",
    tags=("forwarding", "ipv{version}", "fragments"),
    each=EACH_VERSION,
)
def fragmented_reply(bench: Bench, version: int) -> None:
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    request = datagram(bench, version)
    must_forward(bench, request, "nat", "the request")
    identification = 0x5151
    for order in ((0, 1, 2), (1, 2, 0)):
        identification += 1
        fields = {"id": identification} if version == 4 else {}
        whole = answer_to(request, bytes(at % 249 for at in range(3000)), **fields)
        pieces = fragments(whole, 1208, identification)
        seen = bench.from_server(1, *(pieces[at] for at in order))
        what = f"a reply in fragments, order {order}"
        must(not seen.inside, f"{what}: something came inside", *(frame.summary() for frame in seen.inside))
        must_equal(reassembled(seen.outside, what), at_client(bench, whole), what)


@check(
    "{mode}:lone-fragment:ipv{version}",
    "a later fragment alone does not reach a real server: it has no ports; with the first one after it"
    " both do",
    tags=("forwarding", "ipv{version}", "fragments", "boundary"),
    each=MODES_VERSIONS,
)
def lone_fragment(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    whole = datagram(bench, version, bytes(1000), **field("id", 0x4242) if version == 4 else {})
    first, later = fragments(whole, 512)[:2]
    bench.from_client(later).nothing("a later fragment alone")
    seen = bench.from_client(first)
    what = "the datagram when its first fragment came last"
    must(bool(seen.inside) and not seen.outside, f"{what}: it did not reach the real server")
    # Reassembled it may go on in one piece, in several, or as an atomic fragment (RFC 6946): a
    # fragment header around all of it.
    in_pieces = len(seen.inside) > 1 or (version == 6 and seen.inside[0].payload.nh == _FRAGMENT_HEADER)
    joined = reassembled(seen.inside, what) if in_pieces else seen.inside[0]
    must_equal(joined, at_server(bench, whole, mode, seen=joined), what)


# -- path MTU --------------------------------------------------------------------------------------


@check(
    "{mode}:path-mtu:ipv{version}",
    "toward a server behind a path of 1400 bytes a packet of 1400 passes; one more byte is answered with"
    " fragmentation needed, MTU 1400",
    tags=("forwarding", "ipv{version}", "mtu", "boundary"),
    each=[each for each in MODES_VERSIONS if each["mode"] != "tun"],
)
def path_mtu(bench: Bench, mode: str, version: int) -> None:
    narrow(bench, NETS[version].server(1), "inside", 1400)
    bench.service(mode, protocol=Protocol.UDP, version=version, weights=(1,))
    client, room = bench.client(version), 1400 - (28 if version == 4 else 48)
    flags: dict[str, Any] = {"flags": "DF"} if version == 4 else {}
    must_forward(
        bench, datagram(bench, version, bytes(room), client=client, **flags), mode, "a packet of 1400 bytes"
    )
    long = datagram(bench, version, bytes(room + 1), client=client, **flags)
    frame = bench.from_client(long).one("outside", "the answer to a packet of 1401 bytes")
    too_big(frame, long, 1400, "the answer to a packet of 1401 bytes", hops=1)


@check(
    "{mode}:fragmentation",
    "an IPv4 packet of 1500 bytes without DF reaches a server behind a path of 1400 bytes in two fragments",
    tags=("forwarding", "ipv4", "mtu", "fragments"),
    each=[{"mode": "nat"}, {"mode": "dr"}],
)
def fragmentation(bench: Bench, mode: str) -> None:
    narrow(bench, NETS[4].server(1), "inside", 1400)
    bench.service(mode, protocol=Protocol.UDP, weights=(1,))
    sent = datagram(bench, 4, bytes(at % 251 for at in range(1472)), id=0x7777)
    seen = bench.from_client(sent)
    must(
        len(seen.inside) == 2 and not seen.outside,
        "two fragments were expected inside",
        *(each.summary() for each in seen.inside),
    )
    must(
        len(seen.inside[0].payload) <= 1400,
        "the first fragment is longer than the path",
        seen.inside[0].summary(),
    )
    must_equal(
        reassembled(seen.inside, "the fragments"), at_server(bench, sent, mode), "the packet in two fragments"
    )


@check(
    "nat:path-mtu-of-reply:ipv{version}",
    "a reply of 1401 bytes to a client behind a path of 1400 is answered to the server with fragmentation"
    " needed, 1400; one of 1400 passes",
    tags=("forwarding", "ipv{version}", "mtu", "boundary"),
    each=EACH_VERSION,
)
def path_mtu_of_reply(bench: Bench, version: int) -> None:
    bench.service("nat", protocol=Protocol.UDP, version=version, weights=(1,))
    sent, room = datagram(bench, version), 1400 - (28 if version == 4 else 48)
    narrow(bench, sent.src, "outside", 1400)
    must_forward(bench, sent, "nat", "the request")
    flags: dict[str, Any] = {"flags": "DF"} if version == 4 else {}
    must_answer(bench, answer_to(sent, bytes(room), **flags), "a reply of 1400 bytes")
    long = answer_to(sent, bytes(room + 1), **flags)
    frame = bench.from_server(1, long).one("inside", "the answer to a reply of 1401 bytes")
    too_big(frame, long, 1400, "the answer to a reply of 1401 bytes")
