"""The SYN proxy as it is composed here: NAT, vs.conntrack and netfilter's SYNPROXY target
(lvslab/modes/synproxy.py).

What it does is in nf_synproxy_core.c of Linux 6.1; the cookie's table of segment sizes is msstab in
net/ipv4/syncookies.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from lvslab.conformance.check import check
from lvslab.conformance.flows import at_server
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.testbed import NETS, PORT, ROUTER_MAC, SERVER_PORT, V4, Bench, Seen, server_mac
from lvslab.conformance.verdict import CheckFailed
from lvslab.ipvs.service import Protocol
from lvslab.kernels.needs import Need

SPORT = 40000
CLIENT_ISN, SERVER_ISN = 1000, 3_000_000_000
CLIENT_WINDOW, SERVER_WINDOW = 4000, 28960
_PROXY_SCALE, _PROXY_MSS = 7, 1460
_NEEDS = (Need.SYNPROXY,)
_COUNTERS = ("entries", "syn_received", "cookie_invalid", "cookie_valid", "cookie_retrans", "conn_reopened")

_SYSCTLS = {
    "net/ipv4/vs/conntrack": (1, 0),
    "net/netfilter/nf_conntrack_tcp_loose": (0, 1),
}
"""What a check sets, and what it was."""


def compose(bench: Bench, *, rules: bool = True) -> None:
    """Service, parameters and rules that make a SYN proxy of NAT; without `rules` NAT alone."""
    bench.service("nat", weights=(1,))
    new, old = (
        "\n".join(f"echo {pair[which]} >/proc/sys/{key}" for key, pair in _SYSCTLS.items())
        for which in (0, 1)
    )
    bench.apply(new, old)
    if rules:
        match = f"-d {V4.vip} -p tcp --dport {PORT}"
        bench.rules(
            f"-t raw -A PREROUTING {match} --syn -j CT --notrack",
            f"-A INPUT {match} -m state --state INVALID,UNTRACKED "
            f"-j SYNPROXY --sack-perm --timestamp --wscale {_PROXY_SCALE} --mss {_PROXY_MSS}",
            f"-A INPUT -d {V4.vip} -p tcp -m state --state INVALID -j DROP",
        )


def counters(bench: Bench) -> dict[str, int]:
    """The proxy's counters, over all processors."""
    out = bench.run("while read -r line; do echo $line; done </proc/net/stat/synproxy")
    rows = [[int(word, 16) for word in line.split()] for line in out.splitlines()[1:]]
    return dict(zip(_COUNTERS, map(sum, zip(*rows, strict=True)), strict=True))


_FULL: tuple[tuple[str, Any], ...] = (
    ("MSS", 1460),
    ("SAckOK", b""),
    ("Timestamp", (7777, 0)),
    ("NOP", None),
    ("WScale", 5),
)


class Proxied:
    """One client's connection through the proxy, and the real server's end of it.

    Attributes:
        isn: the cookie, first sequence number that the client sees; stamp: the time stamp that came
            with it.
        next: next sequence number of "client" and of "server", each as it counts itself.
    """

    def __init__(
        self, bench: Bench, options: Sequence[tuple[str, Any]] = _FULL, client: str = "", sport: int = SPORT
    ) -> None:
        self.bench, self.options, self.sport = bench, list(options), sport
        self.client = client or bench.client()
        self.isn = self.stamp = 0
        self.stamps = any(name == "Timestamp" for name, _ in options)
        self.server_stamp = 900_000
        self.client_stamp = 7777
        self.next = {"client": CLIENT_ISN + 1, "server": SERVER_ISN + 1}

    def segment(self, flags: str, data: bytes = b"", **fields: Any) -> Any:
        """The client's next segment, its acknowledgement in the proxy's numbers; not sent."""
        ack = (self.next["server"] - SERVER_ISN + self.isn) % 2**32
        values = {
            "flags": flags,
            "seq": self.next["client"],
            "ack": ack,
            "window": CLIENT_WINDOW,
            "options": self._stamp_option(),
        }
        packet = V4.packet(self.client, V4.vip) / TCP(sport=self.sport, dport=PORT, **{**values, **fields})
        return packet / data if data else packet

    def server_segment(self, flags: str, data: bytes = b"", **fields: Any) -> Any:
        """The real server's next segment, in its own numbers; not sent."""
        options = (
            [("NOP", None), ("NOP", None), ("Timestamp", (self.server_stamp, self.client_stamp))]
            if self.stamps
            else []
        )
        values = {
            "flags": flags,
            "seq": self.next["server"],
            "ack": self.next["client"],
            "window": 500,
            "options": options,
        }
        packet = V4.packet(V4.server(1), self.client) / TCP(
            sport=SERVER_PORT, dport=self.sport, **{**values, **fields}
        )
        return packet / data if data else packet

    def _stamp_option(self) -> list[Any]:
        return (
            [("NOP", None), ("NOP", None), ("Timestamp", (self.client_stamp, self.stamp))]
            if self.stamps
            else []
        )

    def syn_packet(self) -> Any:
        """The client's SYN; not sent."""
        return self.segment("S", seq=CLIENT_ISN, ack=0, options=self.options, window=64000)

    def syn(self) -> Any:
        """The client's SYN; the proxy's SYN-ACK as it came, with its cookie and time stamp
        noted.
        """
        frame = self.bench.from_client(self.syn_packet()).one("outside", "the client's SYN")
        must(str(frame[TCP].flags) == "SA", f"the SYN is answered with {frame.summary()}")
        self.isn = frame[TCP].seq
        stamps = dict(frame[TCP].options).get("Timestamp")
        self.stamp = stamps[0] if stamps else 0
        return frame

    def ack(self, data: bytes = b"", **fields: Any) -> Seen:
        """The ACK that brings the cookie back."""
        return self.bench.from_client(self.segment("PA" if data else "A", data, **fields))

    def server_syn_ack(self, window: int = SERVER_WINDOW) -> Seen:
        """The real server's answer to the proxy's SYN."""
        stamp = (
            [("SAckOK", b""), ("Timestamp", (self.server_stamp, self.client_stamp))] if self.stamps else []
        )
        scale = [("NOP", None), ("WScale", _PROXY_SCALE)] if self.stamps else []
        options = [("MSS", 1460), *stamp, *scale]
        return self.bench.from_server(
            1, self.server_segment("SA", seq=SERVER_ISN, options=options, window=window)
        )

    def establish(self) -> Proxied:
        """All six packets.

        Raises:
            CheckFailed: one does not come.
        """
        self.syn()
        self.ack().one("inside", "the ACK with the cookie")
        seen = self.server_syn_ack()
        must(
            len(seen.inside) == len(seen.outside) == 1,
            "the server's SYN-ACK does not lead to one ACK on either side",
            *_shown(seen),
        )
        return self

    # -- what must come out ------------------------------------------------------------------------

    def at_server(self, sent: Any) -> Any:
        """The frame that the real server must get for a segment of the client: acknowledgements in
        its own numbers and time stamps.
        """

        def translate(frame: Any) -> None:
            frame[TCP].ack = (frame[TCP].ack - self.isn + SERVER_ISN) % 2**32
            frame[TCP].options = [self._translated(each, inbound=True) for each in frame[TCP].options]

        return changed(at_server(self.bench, sent, "nat"), translate)

    def at_client(self, sent: Any) -> Any:
        """The frame that the client must get for a segment of the real server."""

        def translate(frame: Any) -> None:
            frame.payload.ttl -= 1
            frame.payload.src, frame[TCP].sport = V4.vip, PORT
            frame[TCP].seq = (frame[TCP].seq - SERVER_ISN + self.isn) % 2**32
            frame[TCP].options = [self._translated(each, inbound=False) for each in frame[TCP].options]

        return changed(self.bench.framed(sent, self.bench.outside.mac, ROUTER_MAC), translate)

    def _translated(self, option: tuple[str, Any], inbound: bool) -> tuple[str, Any]:
        name, value = option
        offset = self.server_stamp - self.stamp  # the server's clock against the proxy's
        if name == "Timestamp":
            return name, (
                (value[0], (value[1] + offset) % 2**32)
                if inbound
                else (
                    (value[0] - offset) % 2**32,
                    value[1],
                )
            )
        if name == "SAck" and inbound:
            return name, tuple((edge - self.isn + SERVER_ISN) % 2**32 for edge in value)
        return option

    def made(self, inside: bool, **fields: Any) -> Any:
        """A frame that the proxy makes itself: identification 0, DF, TTL 64, from which IPVS takes
        one off on the way to the server.
        """
        ends = (
            (self.client, V4.server(1), self.sport, SERVER_PORT)
            if inside
            else (V4.vip, self.client, PORT, self.sport)
        )
        macs = (self.bench.inside.mac, server_mac(1)) if inside else (self.bench.outside.mac, ROUTER_MAC)
        header = IP(src=ends[0], dst=ends[1], id=0, flags="DF", ttl=63 if inside else 64)
        return Ether(
            bytes(Ether(src=macs[0], dst=macs[1]) / header / TCP(sport=ends[2], dport=ends[3], **fields))
        )


def _shown(seen: Seen) -> list[str]:
    return [f"outside: {each.summary()}" for each in seen.outside] + [
        f"inside: {each.summary()}" for each in seen.inside
    ]


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
    needs=_NEEDS,
    each=_VARIANTS,
)
def syn_ack(bench: Bench, name: str, letters: str, words: str) -> None:
    compose(bench)
    talk = Proxied(bench, _options(letters))
    frame = talk.syn()
    kept = _kept(letters)
    options: list[tuple[str, Any]] = [("MSS", _PROXY_MSS)] if "M" in kept else []
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
        options += [("NOP", None), ("WScale", _PROXY_SCALE)]
    fields = {"flags": "SA", "seq": frame[TCP].seq, "ack": CLIENT_ISN + 1, "window": 0, "options": options}
    must_equal(frame, talk.made(inside=False, **fields), "the SYN-ACK at the client")


@check(
    "synproxy:server-syn:{name}",
    "after the client's ACK the server gets a SYN with the client's first number and what the cookie"
    " remembered: {words}",
    needs=_NEEDS,
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
    needs=_NEEDS,
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
    needs=_NEEDS,
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
        *_shown(seen),
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
        "window": SERVER_WINDOW >> _PROXY_SCALE,
        "options": update,
    }
    must_equal(seen.outside[0], talk.made(inside=False, **fields), "the window update at the client")


@check(
    "synproxy:conversation:{name}",
    "through data, acknowledgements and both FINs every number is translated both ways, byte for byte",
    needs=_NEEDS,
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
        if side == "client":
            packet = talk.segment(flags, data)
            must_equal(
                bench.from_client(packet).one("inside", what), talk.at_server(packet), f"{what} at the server"
            )
        else:
            packet = talk.server_segment(flags, data)
            must_equal(
                bench.from_server(1, packet).one("outside", what),
                talk.at_client(packet),
                f"{what} at the client",
            )
        talk.next[side] += len(data) + ("F" in flags)


@check(
    "synproxy:sack",
    "the edges in a client's SACK option are translated as its acknowledgement is",
    needs=_NEEDS,
)
def sack(bench: Bench) -> None:
    compose(bench)
    talk = Proxied(bench).establish()
    for number in range(3):
        packet = talk.server_segment("PA", b"d" * 100, seq=SERVER_ISN + 1 + 100 * number)
        must_equal(
            bench.from_server(1, packet).one("outside", "data"), talk.at_client(packet), "data at the client"
        )
    edges = tuple((talk.isn + 1 + offset) % 2**32 for offset in (200, 300))
    packet = talk.segment("A", options=[*talk._stamp_option(), ("NOP", None), ("NOP", None), ("SAck", edges)])
    must_equal(
        bench.from_client(packet).one("inside", "an ACK with SACK"),
        talk.at_server(packet),
        "an ACK with SACK at the server",
    )


@check(
    "synproxy:refused:{name}",
    "an ACK with {words} gets no answer, reaches no server and counts as an invalid cookie",
    needs=_NEEDS,
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
    needs=_NEEDS,
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
    needs=_NEEDS,
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
    needs=_NEEDS,
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
    needs=_NEEDS,
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
        not any(bytes(each[TCP].payload) for each in seen.inside),
        "data reached the server by itself",
        *_shown(seen),
    )
    packet = talk.segment("PA", b"GET /\r\n")
    must_equal(
        bench.from_client(packet).one("inside", "the data sent again"),
        talk.at_server(packet),
        "the data at the server",
    )


@check(
    "synproxy:reset:{side}",
    "in an established connection the {side}'s RST passes, its numbers translated",
    needs=_NEEDS,
    each=[{"side": "client"}, {"side": "server"}],
)
def reset(bench: Bench, side: str) -> None:
    compose(bench)
    talk = Proxied(bench).establish()
    if side == "client":
        packet = talk.segment("RA")
        must_equal(
            bench.from_client(packet).one("inside", "the client's RST"),
            talk.at_server(packet),
            "the RST at the server",
        )
    else:
        packet = talk.server_segment("RA")
        must_equal(
            bench.from_server(1, packet).one("outside", "the server's RST"),
            talk.at_client(packet),
            "the RST at the client",
        )


@check(
    "synproxy:reset:before-ack",
    "a RST, a FIN and a SYN-ACK of a client that has no connection get no answer and reach no server",
    needs=_NEEDS,
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
    needs=_NEEDS,
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
    needs=_NEEDS,
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
        f"{len(seen.outside)} SYN-ACKs and {len(seen.inside)} frames inside came for 200 SYNs",
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
    found = bench.run(f"grep -c {int(ip_address(talk.client)):08X} /proc/net/ip_vs_conn").strip()
    must(found == "1", f"{found} IPVS entries about the client with the right ACK, expected 1")


@check(
    "synproxy:without-rules", "without the rules a SYN reaches the server at once, as in NAT", needs=_NEEDS
)
def without_rules(bench: Bench) -> None:
    compose(bench, rules=False)
    packet = Proxied(bench).syn_packet()
    must_equal(
        bench.from_client(packet).one("inside", "a SYN"),
        at_server(bench, packet, "nat"),
        "the SYN at the server",
    )


@check("synproxy:other-port", "a service that the rules do not name gets its SYNs at once", needs=_NEEDS)
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


@check("synproxy:udp", "UDP of the same address and port is balanced as ever", tags=("udp",), needs=_NEEDS)
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
    needs=_NEEDS,
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
