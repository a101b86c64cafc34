"""What the proxy refuses, keeps from the server, or leaves alone."""

from __future__ import annotations

from ipaddress import ip_address

from scapy.layers.inet import TCP, UDP

from lvslab.conformance.addresses import NETS, PORT, V4
from lvslab.conformance.check import check
from lvslab.conformance.checks.synproxy.proxied import (
    CLIENT_ISN,
    NEEDS,
    SPORT,
    Proxied,
    compose,
    counters,
)
from lvslab.conformance.flows import at_server
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.ipvs.service import Protocol
from lvslab.runs.words import plural


@check(
    "synproxy:refused:{name}",
    "an ACK with {words} gets no answer, reaches no server and counts as an invalid cookie",
    needs=NEEDS,
    each=[
        {
            "name": "wrong-number",
            "words": "a number one above the cookie's",
            "shift": 1,
            "port": 0,
            "other": False,
            "step": 0,
        },
        {
            "name": "no-syn",
            "words": "a number that no SYN-ACK had",
            "shift": 123456789,
            "port": 0,
            "other": False,
            "step": 0,
        },
        {
            "name": "another-port",
            "words": "the cookie of another port of the client",
            "shift": 0,
            "port": 1,
            "other": False,
            "step": 0,
        },
        {
            "name": "another-client",
            "words": "the cookie of another client",
            "shift": 0,
            "port": 0,
            "other": True,
            "step": 0,
        },
        {
            "name": "sequence",
            "words": "the right cookie, but another sequence number",
            "shift": 0,
            "port": 0,
            "other": False,
            "step": 9,
        },
    ],
)
def refused(bench: Bench, name: str, words: str, shift: int, port: int, other: bool, step: int) -> None:
    compose(bench)
    talk = Proxied(bench)
    talk.syn()
    before = counters(bench)
    if other:
        talk.client = bench.client()
    talk.sport += port
    ack = (talk.isn + 1 + shift) % 2**32
    talk.ack(ack=ack, seq=CLIENT_ISN + 1 + step).nothing(f"an ACK with {words}")
    after = counters(bench)
    must(after["cookie_invalid"] == before["cookie_invalid"] + 1, f"cookie_invalid was {before}, is {after}")
    must(after["cookie_valid"] == before["cookie_valid"], f"cookie_valid was {before}, is {after}")


@check(
    "synproxy:retransmitted:syn",
    "a SYN sent again gets a SYN-ACK again, and still nothing reaches the server; either cookie is good",
    needs=NEEDS,
)
def syn_again(bench: Bench) -> None:
    compose(bench)
    talk = Proxied(bench)
    before = counters(bench)
    talk.syn()
    first = (talk.isn, talk.stamp)
    talk.syn()
    after = counters(bench)
    must(after["syn_received"] == before["syn_received"] + 2, f"syn_received was {before}, is {after}")
    talk.isn, talk.stamp = first
    talk.ack().one("inside", "the ACK with the first cookie")


@check(
    "synproxy:retransmitted:ack",
    "while the server has not answered, the ACK sent again makes the director send the same SYN again",
    needs=NEEDS,
)
def ack_again(bench: Bench) -> None:
    compose(bench)
    talk = Proxied(bench)
    talk.syn()
    before = counters(bench)
    first = talk.ack().one("inside", "the ACK with the cookie")
    must_equal(talk.ack().one("inside", "the ACK sent again"), first, "the SYN at the server, sent again")
    after = counters(bench)
    must(after["cookie_valid"] == before["cookie_valid"] + 2, f"cookie_valid was {before}, is {after}")


@check(
    "synproxy:retransmitted:keep-alive",
    "while the server has not answered, a keep-alive of the client is dropped as an invalid cookie: no"
    " second SYN",
    needs=NEEDS,
)
def keep_alive(bench: Bench) -> None:
    # Alone, the proxy takes such a keep-alive for a request to send the SYN again
    # (ipv4_synproxy_hook, counter cookie_retrans). Here it refuses the cookie, probably because
    # IPVS comes first and has put the real server's address in, for which the cookie does not hold.
    compose(bench)
    talk = Proxied(bench)
    talk.syn()
    talk.ack().one("inside", "the ACK with the cookie")
    before = counters(bench)
    talk.ack(seq=CLIENT_ISN).nothing("a keep-alive, one sequence number back")
    after = counters(bench)
    must(after["cookie_invalid"] == before["cookie_invalid"] + 1, f"cookie_invalid was {before}, is {after}")
    must(after["cookie_retrans"] == before["cookie_retrans"], f"cookie_retrans was {before}, is {after}")


@check(
    "synproxy:ack-with-data",
    "data in the ACK proves the cookie but does not reach the server with it; sent again after the window"
    " update it does",
    needs=NEEDS,
)
def ack_with_data(bench: Bench) -> None:
    compose(bench)
    talk = Proxied(bench)
    talk.syn()
    frame = talk.ack(b"GET /\r\n").one("inside", "an ACK with data")
    must(
        str(frame[TCP].flags) == "S" and not bytes(frame[TCP].payload),
        f"a SYN without data was expected, {frame.summary()} came",
    )
    seen = talk.server_syn_ack()
    must(
        not any(bytes(segment[TCP].payload) for segment in seen.inside),
        "data reached the server by itself",
        *seen.summaries(),
    )
    talk.must_pass("client", talk.segment("PA", b"GET /\r\n"), "the data sent again")


@check(
    "synproxy:reset:{side}",
    "in an established connection the {side}'s RST passes, its numbers translated",
    needs=NEEDS,
    each=[{"side": "client"}, {"side": "server"}],
)
def reset(bench: Bench, side: str) -> None:
    compose(bench)
    talk = Proxied(bench).establish()
    packet = talk.segment("RA") if side == "client" else talk.server_segment("RA")
    talk.must_pass(side, packet, f"the {side}'s RST")


@check(
    "synproxy:reset:before-ack",
    "a RST, a FIN and a SYN-ACK of a client that has no connection get no answer and reach no server",
    needs=NEEDS,
)
def reset_before(bench: Bench) -> None:
    compose(bench)
    talk = Proxied(bench)
    talk.syn()
    for flags in ("R", "RA", "FA", "SA"):
        bench.from_client(talk.segment(flags)).nothing(f"a {flags} before the ACK")


@check(
    "synproxy:reset:refused-by-server",
    "a server that answers the SYN with RST: the client gets a RST with the number that it waits for, the"
    " cookie's next",
    needs=NEEDS,
)
def refused_by_server(bench: Bench) -> None:
    compose(bench)
    talk = Proxied(bench)
    talk.syn()
    talk.ack().one("inside", "the ACK with the cookie")
    packet = talk.server_segment("RA", seq=0, ack=CLIENT_ISN + 1, options=[], window=0)
    frame = bench.from_server(1, packet).one("outside", "the server's RST")
    ends = (frame.payload.src, frame[TCP].sport, str(frame[TCP].flags), frame[TCP].ack)
    must(
        ends == (V4.vip, PORT, "RA", CLIENT_ISN + 1),
        f"{frame.summary()} came, acknowledging {frame[TCP].ack}",
    )
    must(
        frame[TCP].seq == (talk.isn + 1) % 2**32,
        f"the RST has number {frame[TCP].seq}, the client waits for {talk.isn + 1}",
    )


@check(
    "synproxy:flood",
    "two hundred SYNs of two hundred clients make no entry, neither in IPVS nor in connection tracking; one"
    " right ACK makes one in each",
    needs=NEEDS,
)
def flood(bench: Bench) -> None:
    def entries() -> tuple[int, int]:
        """Tracked connections, and those of IPVS."""
        shown = bench.run("cat /proc/sys/net/netfilter/nf_conntrack_count\ngrep -c . /proc/net/ip_vs_conn")
        tracked, balanced = shown.split()
        return int(tracked), int(balanced)

    compose(bench)
    before = counters(bench)
    first = entries()
    seen = bench.from_client(*[Proxied(bench).syn_packet() for _ in range(200)])
    must(
        len(seen.outside) == 200 and not seen.inside,
        f"{plural(len(seen.outside), 'SYN-ACK')} and {plural(len(seen.inside), 'frame')} inside came"
        " for 200 SYNs",
    )
    then = entries()  # others may have ended meanwhile
    must(
        then[0] <= first[0] and then[1] <= first[1],
        f"entries of connection tracking and IPVS were {first}, are {then}",
    )
    after = counters(bench)
    must(after["syn_received"] == before["syn_received"] + 200, f"syn_received was {before}, is {after}")
    talk = Proxied(bench)
    talk.syn()
    talk.ack().one("inside", "the ACK with the cookie")
    must(counters(bench)["cookie_valid"] == before["cookie_valid"] + 1, "cookie_valid did not grow by 1")
    count = bench.run(f"grep -c {int(ip_address(talk.client)):08X} /proc/net/ip_vs_conn").strip()
    must(count == "1", f"{count} IPVS entries about the client with the right ACK, expected 1")


@check("synproxy:without-rules", "without the rules a SYN reaches the server at once, as in NAT", needs=NEEDS)
def without_rules(bench: Bench) -> None:
    compose(bench, rules=False)
    packet = Proxied(bench).syn_packet()
    must_equal(
        bench.from_client(packet).one("inside", "a SYN"),
        at_server(bench, packet, "nat"),
        "the SYN at the server",
    )


@check("synproxy:other-port", "a service that the rules do not name gets its SYNs at once", needs=NEEDS)
def other_port(bench: Bench) -> None:
    compose(bench)
    bench.service("nat", weights=(1,), port=PORT + 1)
    packet = Proxied(bench).syn_packet()
    packet.payload.dport = PORT + 1
    must_equal(
        bench.from_client(packet).one("inside", "a SYN"),
        at_server(bench, packet, "nat"),
        "the SYN at the server",
    )


@check("synproxy:udp", "UDP of the same address and port is balanced as ever", tags=("udp",), needs=NEEDS)
def udp(bench: Bench) -> None:
    compose(bench)
    bench.service("nat", protocol=Protocol.UDP, weights=(1,))
    net = NETS[4]
    packet = net.packet(bench.client(), net.vip) / UDP(sport=SPORT, dport=PORT) / b"lvslab"
    must_equal(
        bench.from_client(packet).one("inside", "a datagram"),
        at_server(bench, packet, "nat"),
        "the datagram at the server",
    )


@check(
    "synproxy:checksum",
    "a SYN with a wrong checksum gets no cookie",
    needs=NEEDS,
)
def wrong_checksum(bench: Bench) -> None:
    compose(bench)
    packet = Proxied(bench).syn_packet()
    packet[TCP].chksum = 0x1234
    before = counters(bench)
    bench.from_client(packet).nothing("a SYN with a wrong checksum")
    after = counters(bench)
    if after["syn_received"] != before["syn_received"]:
        raise CheckFailed(f"syn_received was {before['syn_received']}, is {after['syn_received']}")
