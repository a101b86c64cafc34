"""What may begin a connection, and what defends the director: sloppy_tcp and sloppy_sctp,
drop_packet, drop_entry.
"""

from __future__ import annotations

from itertools import pairwise

from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit

from lvslab.conformance.addresses import NETS
from lvslab.conformance.check import check
from lvslab.conformance.entries import chosen, entries, entry, must_reset, shown, tcp
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol

# -- what may begin a connection -------------------------------------------------------------------


@check(
    "sysctl:sloppy_tcp:{value}:{flags}",
    "with sloppy_tcp={value} a {flags} segment of an unknown connection {does}",
    tags=("tcp",),
    each=[
        {"value": value, "flags": flags, "does": "begins one" if taken else "is not scheduled"}
        for value, flags, taken in (
            (0, "A", False),
            (0, "FA", False),
            (0, "R", False),
            (0, "S", True),
            (0, "SA", True),
            (1, "A", True),
            (1, "FA", True),
            (1, "R", False),
            (1, "S", True),
        )
    ],
)
def sloppy_tcp(bench: Bench, value: int, flags: str, does: str) -> None:
    # tcp_conn_schedule: "(sysctl_sloppy_tcp && !rst) || syn"; there is no look at ACK, so that
    # active FTP's SYN-ACK is taken.
    bench.sysctl("net.ipv4.vs.sloppy_tcp", value)
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    seen = bench.from_client(tcp(client, port, flags, ack=5001))
    if does == "begins one":
        seen.one("inside", f"a {flags} segment")
        states = {"A": "ESTABLISHED", "FA": "CLOSE", "S": "SYN_RECV", "SA": "SYN_RECV"}
        state = entry(bench, client, "afterwards").state
        must(state == states[flags], f"its entry is in {states[flags]}", f"seen: {state}")
        return
    if flags == "R":
        seen.nothing("a RST")
    else:
        must_reset(seen, f"a {flags} segment")
    must(not entries(bench, client), "there is a connection entry")


@check(
    "sysctl:sloppy_sctp:{mode}",
    "with sloppy_sctp={value} a DATA chunk of an unknown association {does}",
    tags=("sctp",),
    each=[
        {"mode": "off", "value": 0, "does": "is not scheduled"},
        {"mode": "on", "value": 1, "does": "begins one"},
    ],
)
def sloppy_sctp(bench: Bench, mode: str, value: int, does: str) -> None:
    bench.sysctl("net.ipv4.vs.sloppy_sctp", value)
    port, client, net = bench.port(), bench.client(), NETS[4]
    bench.service(protocol=Protocol.SCTP, port=port)
    packet = net.packet(client, net.vip) / SCTP(sport=40000, dport=port, tag=2)
    must(
        bool(bench.from_client(packet / SCTPChunkData(data=b"lvs!")).inside) == bool(value),
        f"the DATA chunk {does}",
    )
    other = (
        net.packet(bench.client(), net.vip) / SCTP(sport=40000, dport=port, tag=0) / SCTPChunkInit(init_tag=1)
    )
    bench.from_client(other).one("inside", "an INIT chunk")


# -- defence ---------------------------------------------------------------------------------------


@check(
    "sysctl:drop_packet:rate-{rate}",
    "with drop_packet=3 exactly every {rate}th new connection is dropped (am_droprate) and no packet of an"
    " existing one; with 0 none",
    each=[{"rate": 1}, {"rate": 3}, {"rate": 5}],
)
def drop_packet(bench: Bench, rate: int) -> None:
    # ip_vs_todrop counts down from drop_rate; update_defense_level sets it when the parameter is
    # written.
    port, old, number = bench.port(), bench.client(), 15
    bench.service(port=port, weights=(1,))
    chosen(bench, tcp(old, port))
    bench.sysctl("net.ipv4.vs.am_droprate", rate)
    bench.sysctl("net.ipv4.vs.drop_packet", 3)
    clients = [bench.client() for _ in range(number)]
    seen = bench.from_client(*(tcp(client, port) for client in clients))
    must(not seen.outside, "a dropped connection is not answered", *shown(seen))
    passed = {frame.payload.src for frame in seen.inside}
    dropped = [place for place, client in enumerate(clients) if client not in passed]
    must(
        len(dropped) == number // rate,
        f"{number // rate} of {number} connections must be dropped, {len(dropped)} were",
        f"dropped: {dropped}",
    )
    must(
        all(after - before == rate for before, after in pairwise(dropped)),
        f"every {rate}th connection must be dropped, not others",
        f"dropped: {dropped}",
    )
    chosen(bench, *[tcp(old, port, "A")] * 4, what="segments of an existing connection")
    bench.sysctl("net.ipv4.vs.drop_packet", 0)
    chosen(bench, *(tcp(bench.client(), port) for _ in range(5)), what="new connections with drop_packet=0")


@check(
    "sysctl:drop_packet:auto",
    "drop_packet=1 drops nothing while memory suffices; with too little of it (amemthresh) it drops new"
    " connections and shows itself as 2",
)
def drop_packet_auto(bench: Bench) -> None:
    # update_defense_level: drop_rate = amemthresh / (amemthresh - available), which is 1 when
    # amemthresh is far above what is there.
    port = bench.port()
    bench.service(port=port)
    bench.sysctl("net.ipv4.vs.amemthresh", 1)
    bench.sysctl("net.ipv4.vs.drop_packet", 1)
    chosen(bench, *(tcp(bench.client(), port) for _ in range(5)), what="new connections with enough memory")
    bench.sysctl("net.ipv4.vs.drop_packet", 0)
    bench.sysctl("net.ipv4.vs.amemthresh", 1000000000)
    bench.sysctl("net.ipv4.vs.drop_packet", 1)
    bench.from_client(*(tcp(bench.client(), port) for _ in range(5))).nothing(
        "new connections with too little memory"
    )
    value = bench.value("net.ipv4.vs.drop_packet")
    must(value == "2", "drop_packet must go from 1 to 2", f"seen: {value}")
