"""What the proxy makes of a client's options and numbers, from the SYN to the last FIN.

What it does is in nf_synproxy_core.c of Linux 6.1; the cookie's table of segment sizes is msstab in
net/ipv4/syncookies.c.
"""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import TCP

from lvslab.conformance.check import check
from lvslab.conformance.checks.synproxy.proxied import (
    CLIENT_ISN,
    CLIENT_WINDOW,
    NEEDS,
    PROXY_MSS,
    PROXY_SCALE,
    SERVER_ISN,
    SERVER_WINDOW,
    Proxied,
    compose,
)
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench


def _options(names: str) -> tuple[tuple[str, Any], ...]:
    """A SYN's options by their letters: Mss, Sack, Time stamp, Window scale."""
    made: dict[str, list[tuple[str, Any]]] = {
        "M": [("MSS", 1460)],
        "S": [("SAckOK", b"")],
        "T": [("Timestamp", (7777, 0))],
        "W": [("NOP", None), ("WScale", 5)],
    }
    return tuple(option for letter in names for option in made[letter])


_VARIANTS = [
    {"name": "all", "letters": "MSTW", "words": "MSS, SACK, time stamps and a window scale"},
    {"name": "no-sack", "letters": "MTW", "words": "no SACK"},
    {"name": "no-scale", "letters": "MST", "words": "no window scale"},
    {
        "name": "no-timestamps",
        "letters": "MSW",
        "words": "no time stamps, so a cookie cannot remember SACK and window scale",
    },
    {"name": "mss-only", "letters": "M", "words": "an MSS alone"},
    {"name": "none", "letters": "", "words": "no options"},
]


def _kept(letters: str) -> str:
    """The options that the proxy can take up: without time stamps only the segment size."""
    return letters if "T" in letters else letters.replace("S", "").replace("W", "")


@check(
    "synproxy:syn-ack:{name}",
    "a SYN with {words} is answered by the director with a cookie and what it can keep of them; the server"
    " sees nothing",
    needs=NEEDS,
    each=_VARIANTS,
)
def syn_ack(bench: Bench, name: str, letters: str, words: str) -> None:
    compose(bench)
    talk = Proxied(bench, _options(letters))
    frame = talk.syn()
    kept = _kept(letters)
    options: list[tuple[str, Any]] = [("MSS", PROXY_MSS)] if "M" in kept else []
    if "T" in kept:
        options += [("SAckOK", b"")] if "S" in kept else [("NOP", None), ("NOP", None)]
        options += [("Timestamp", (talk.stamp, 7777))]
        # low six bits of the time stamp: the client's window scale (15: none), SACK, ECN
        bits = (5 if "W" in kept else 15) | (16 if "S" in kept else 0)
        must(
            talk.stamp & 0x3F == bits,
            f"the time stamp remembers {talk.stamp & 0x3F:#x}, expected {bits:#x}",
            frame.summary(),
        )
    if "W" in kept:
        options += [("NOP", None), ("WScale", PROXY_SCALE)]
    fields = {"flags": "SA", "seq": frame[TCP].seq, "ack": CLIENT_ISN + 1, "window": 0, "options": options}
    must_equal(frame, talk.made(inside=False, **fields), "the SYN-ACK at the client")


@check(
    "synproxy:server-syn:{name}",
    "after the client's ACK the server gets a SYN with the client's first number and what the cookie"
    " remembered: {words}",
    needs=NEEDS,
    each=_VARIANTS,
)
def server_syn(bench: Bench, name: str, letters: str, words: str) -> None:
    compose(bench)
    talk = Proxied(bench, _options(letters))
    talk.syn()
    frame = talk.ack().one("inside", "the ACK with the cookie")
    kept = _kept(letters)
    # without an MSS the cookie holds the least of its table that is not above 536
    options: list[tuple[str, Any]] = [("MSS", 1460 if "M" in kept else 536)]
    if "T" in kept:
        options += [("SAckOK", b"")] if "S" in kept else [("NOP", None), ("NOP", None)]
        options += [("Timestamp", (talk.client_stamp, talk.stamp))]
    if "W" in kept:
        options += [("NOP", None), ("WScale", 5)]
    # the acknowledgement of this SYN means nothing; in it the proxy carries the cookie to its own
    # hook (synproxy_send_server_syn)
    fields = {"flags": "S", "seq": CLIENT_ISN, "ack": talk.isn, "window": CLIENT_WINDOW, "options": options}
    must_equal(frame, talk.made(inside=True, **fields), "the SYN at the server")


@check(
    "synproxy:mss:{sent}",
    "a client's MSS of {sent} reaches the server as {kept}, the largest of 536, 1300, 1440 and 1460 that is"
    " not above it",
    needs=NEEDS,
    each=[
        {"sent": 535, "kept": 536},
        {"sent": 1299, "kept": 536},
        {"sent": 1300, "kept": 1300},
        {"sent": 1459, "kept": 1440},
        {"sent": 9000, "kept": 1460},
    ],
)
def mss(bench: Bench, sent: int, kept: int) -> None:
    compose(bench)
    talk = Proxied(bench, (("MSS", sent),))
    talk.syn()
    frame = talk.ack().one("inside", "the ACK with the cookie")
    must(
        dict(frame[TCP].options).get("MSS") == kept,
        f"the server's SYN has options {frame[TCP].options}, expected MSS {kept}",
    )


@check(
    "synproxy:handshake",
    "the director answers the server's SYN-ACK (its time stamp echoed wrongly), and an ACK opens the client's"
    " window, in the cookie's numbers",
    needs=NEEDS,
)
def handshake(bench: Bench) -> None:
    compose(bench)
    talk = Proxied(bench)
    talk.syn()
    talk.ack().one("inside", "the ACK with the cookie")
    seen = talk.server_syn_ack()
    must(
        len(seen.inside) == len(seen.outside) == 1,
        "the server's SYN-ACK does not lead to one ACK on either side",
        *seen.summaries(),
    )
    stamp = [("NOP", None), ("NOP", None)]
    # The echoed time stamp is the server's, and then goes through synproxy_tstamp_adjust like a
    # client's, which adds the difference of the two clocks though it is the server's clock already
    # (send_server_ack leaves by POST_ROUTING): a number the server never sent.
    echoed = (2 * talk.server_stamp - talk.stamp) % 2**32
    back = [*stamp, ("Timestamp", (talk.client_stamp, echoed))]
    # td_maxwin is the client's largest window unscaled (nf_conntrack_proto_tcp.c), of which the
    # proxy announces it as it stands
    window = seen.inside[0][TCP].window
    expected = talk.made(
        inside=True, flags="A", seq=CLIENT_ISN + 1, ack=SERVER_ISN + 1, window=window, options=back
    )
    must_equal(seen.inside[0], expected, "the ACK at the server")
    must(window > 0, "the ACK at the server has window 0")
    update = [*stamp, ("Timestamp", (talk.stamp, talk.client_stamp))]
    fields = {
        "flags": "A",
        "seq": talk.isn + 1,
        "ack": CLIENT_ISN + 1,
        "window": SERVER_WINDOW >> PROXY_SCALE,
        "options": update,
    }
    must_equal(seen.outside[0], talk.made(inside=False, **fields), "the window update at the client")


@check(
    "synproxy:conversation:{name}",
    "through data, acknowledgements and both FINs every number is translated both ways, byte for byte",
    needs=NEEDS,
    each=[{"name": "timestamps", "letters": "MSTW"}, {"name": "no-timestamps", "letters": "M"}],
)
def conversation(bench: Bench, name: str, letters: str) -> None:
    compose(bench)
    talk = Proxied(bench, _options(letters)).establish()
    steps = [
        ("client", "PA", b"GET /\r\n\r\n"),
        ("server", "A", b""),
        ("server", "PA", b"x" * 1000),
        ("client", "A", b""),
        ("client", "FA", b""),
        ("server", "FA", b""),
        ("client", "A", b""),
    ]
    for side, flags, data in steps:
        what = f"the {side}'s {flags}"
        make = talk.segment if side == "client" else talk.server_segment
        talk.must_pass(side, make(flags, data), what)
        talk.next[side] += len(data) + ("F" in flags)


@check(
    "synproxy:sack",
    "the edges in a client's SACK option are translated as its acknowledgement is",
    needs=NEEDS,
)
def sack(bench: Bench) -> None:
    compose(bench)
    talk = Proxied(bench).establish()
    for number in range(3):
        packet = talk.server_segment("PA", b"d" * 100, seq=SERVER_ISN + 1 + 100 * number)
        talk.must_pass("server", packet, "data")
    edges = tuple((talk.isn + 1 + offset) % 2**32 for offset in (200, 300))
    packet = talk.segment("A", options=[*talk._stamp_option(), ("NOP", None), ("NOP", None), ("SAck", edges)])
    talk.must_pass("client", packet, "an ACK with SACK")
