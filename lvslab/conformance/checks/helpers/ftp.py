"""FTP's data connections beside their control connection, in NAT with ip_vs_ftp.

Source: ip_vs_ftp.c of Linux 6.1 (ip_vs_ftp_in, ip_vs_ftp_out); commands and replies after RFC 959
and RFC 2428.
"""

from __future__ import annotations

from scapy.layers.inet import TCP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, ROUTER_MAC
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import routed
from lvslab.conformance.entries import entries, load, must_reset, tcp
from lvslab.conformance.flows import Conversation, at_client
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService

_CONTROL, _DATA = 21, 20
_LONG_VIP = "10.0.0.200"
"""Longer in text than the real servers' addresses, so that rewritten replies grow."""


def _control(bench: Bench, version: int, vip: str = "") -> Conversation:
    """A control connection through a service with two servers, which has a login behind it."""
    load(bench, "ip_vs_ftp")
    net = NETS[version]
    pool = tuple(RealServer(net.server(n), _CONTROL, PacketForwarding.MASQ) for n in (1, 2))
    bench.add(VirtualService(Protocol.TCP, vip or net.vip, _CONTROL, real_servers=pool))
    talk = Conversation(bench, "nat", version, port=_CONTROL, server_port=_CONTROL, vip=vip)
    talk.establish()
    talk.reply(b"220 lvslab\r\n")
    return talk


def _comma(address: str, port: int) -> str:
    return f"{address.replace('.', ',')},{port >> 8},{port & 255}"


def _says(talk: Conversation, said: bytes, becomes: bytes, what: str) -> None:
    """The server says something, and the client must hear it as `becomes`."""
    packet = talk.from_server("PA", said)
    frame = talk.bench.from_server(talk.server, packet).one("outside", what)
    heard = packet.copy()
    heard[TCP].remove_payload()
    expected = at_client(talk.bench, heard / becomes, port=_CONTROL)
    expected = changed(expected, lambda each: setattr(each.payload, "src", talk.vip))
    must_equal(frame, expected, what)
    talk.sequence["server"] += len(said)


def _data(talk: Conversation, port: int) -> Conversation:
    """The client's data connection to a port of the VIP, which no service has."""
    version = talk.net.version
    return Conversation(
        talk.bench, "nat", version, 41000, client=talk.client, vip=talk.vip, port=port, server_port=port
    )


def _must_carry(talk: Conversation, port: int) -> None:
    """A data connection to this port reaches the control connection's server, one to the next port
    nobody.
    """
    bench = talk.bench
    segment = tcp(talk.client, port + 1)
    segment.dst = talk.vip
    must_reset(bench.from_client(segment), "a connection to a port that the server did not name")
    data = _data(talk, port).establish()
    must(data.server == talk.server, f"the data connection went to server {data.server}, not {talk.server}")
    data.request(b"a file")
    data.reply(b"another file")
    talk.ack()


@check(
    "ftp:passive:{size}",
    "the address in a reply to PASV becomes the VIP, {what}; the data connection reaches the same real"
    " server, one"
    " to another port does not",
    tags=("ftp", "nat", "ipv4"),
    each=[
        {"size": "same", "what": "which is as long"},
        {
            "size": "longer",
            "what": "which is longer, so sequence numbers move from then on in both directions",
        },
    ],
)
def passive(bench: Bench, size: str, what: str) -> None:
    vip = _LONG_VIP if size == "longer" else NETS[4].vip
    if size == "longer":
        device = bench.lab.plan.director.interfaces[0].name
        bench.apply(f"ip address add {vip}/32 dev {device}", f"ip address del {vip}/32 dev {device}")
    talk, port = _control(bench, 4, vip), bench.port() + 30000
    talk.request(b"PASV\r\n")
    ours, theirs = _comma(vip, port), _comma(NETS[4].server(talk.server), port)
    reply = "227 Entering Passive Mode ({})\r\n"
    grown = len(ours) - len(theirs)
    must((grown > 0) == (size == "longer"), "the two addresses have not the lengths that this check is about")
    _says(talk, reply.format(theirs).encode(), reply.format(ours).encode(), "the reply to PASV")
    if size == "same":
        _must_carry(talk, port)
        return
    # The client acknowledges what it got, which is longer than what the server sent.
    segment = talk.from_client("PA", b"NOOP\r\n")
    segment[TCP].ack += grown
    frame = bench.from_client(segment).one("inside", "the next command")
    must(frame[TCP].ack == talk.sequence["server"], "the acknowledgement was not moved back", frame.summary())
    talk.sequence["client"] += 6
    packet = talk.from_server("PA", b"200 OK\r\n")
    frame = bench.from_server(talk.server, packet).one("outside", "the next reply")
    must(frame[TCP].seq == packet[TCP].seq + grown, "the sequence number was not moved on", frame.summary())


@check(
    "ftp:extended-passive:ipv{version}",
    "a reply to EPSV names a port alone and stays as it is; the data connection to that port of the VIP"
    " reaches the"
    " same real server, one to another port does not",
    tags=("ftp", "nat", "ipv{version}"),
    each=EACH_VERSION,
)
def extended_passive(bench: Bench, version: int) -> None:
    talk, port = _control(bench, version), bench.port() + 30000
    talk.request(b"EPSV\r\n")
    reply = f"229 Entering Extended Passive Mode (|||{port}|)\r\n".encode()
    _says(talk, reply, reply, "the reply to EPSV")
    _must_carry(talk, port)


def _active(version: int, client: str, port: int) -> bytes:
    if version == 4:
        return f"PORT {_comma(client, port)}\r\n".encode()
    return f"EPRT |2|{client}|{port}|\r\n".encode()


def _from_server(talk: Conversation, port: int) -> tuple[Packet, Packet]:
    """The SYN of the server's active data connection to a port of the client, and what came out."""
    net = talk.net
    syn = net.packet(net.server(talk.server), talk.client) / TCP(sport=_DATA, dport=port, flags="S", seq=7000)
    return syn, talk.bench.from_server(talk.server, syn).one("outside", "the server's SYN")


@check(
    "ftp:active:{command}",
    "after {command} the real server's data connection comes to the client from port 20 of the VIP and the"
    " answers"
    " reach that server; to a port that was not named it comes from the server's own address",
    tags=("ftp", "nat", "ipv{version}"),
    each=[
        {"command": "PORT", "version": 4},
        {"command": "EPRT-ipv4", "version": 4},
        {"command": "EPRT-ipv6", "version": 6},
    ],
)
def active(bench: Bench, command: str, version: int) -> None:
    talk, port = _control(bench, version), 50123
    text = _active(version, talk.client, port)
    if command == "EPRT-ipv4":
        text = f"EPRT |1|{talk.client}|{port}|\r\n".encode()
    talk.request(text)
    syn, frame = _from_server(talk, port)
    must_equal(frame, at_client(bench, syn, port=_DATA), "the server's SYN to the port that was named")
    back = talk.net.packet(talk.client, talk.vip) / TCP(sport=port, dport=_DATA, flags="SA", seq=1, ack=7001)
    frame = bench.from_client(back).one("inside", "the client's SYN-ACK")
    must(
        frame.payload.dst == talk.net.server(talk.server) and frame[TCP].dport == _DATA,
        "the client's SYN-ACK did not go to port 20 of the server",
        frame.summary(),
    )
    syn, frame = _from_server(talk, port + 1)
    must_equal(frame, routed(bench, syn, "outside", ROUTER_MAC), "the server's SYN to another port")


_WRONG = {
    "five-numbers": (4, b"PORT 198,18,0,1,5\r\n"),
    "no-digits": (4, b"PORT a,b,c,d,e,f\r\n"),
    "other-family": (6, b"EPRT |1|198.18.0.1|50123|\r\n"),
    "port-zero": (6, b"EPRT |2|2001:db8:c::1|0|\r\n"),
    "no-end": (6, b"EPRT |2|2001:db8:c::1|50123\r\n"),
    "wrong-command": (4, b"PART 198,18,0,1,195,203\r\n"),
}


@check(
    "ftp:wrong:{name}",
    "a command with a wrong address ({name}) passes as it is and opens nothing: there is no entry besides"
    " the control"
    " connection's; the right command makes one",
    tags=("ftp", "nat", "ipv{version}"),
    each=[{"name": name, "version": version} for name, (version, _) in _WRONG.items()],
)
def wrong(bench: Bench, name: str, version: int) -> None:
    talk = _control(bench, version)
    # Of the whole table: the wrong address is not the client's.
    before = {(each.client, each.virtual) for each in entries(bench)}
    talk.request(_WRONG[name][1])
    more = [each for each in entries(bench) if (each.client, each.virtual) not in before]
    must(not more, f"{len(more)} entries came besides the control connection's", *map(str, more))
    talk.request(_active(version, talk.client, 50123))
    must(len(entries(bench, talk.client)) == 2, "the right command made no entry for the data connection")


@check(
    "ftp:not-asked",
    "a reply that looks like one to PASV stays as it is when the client did not ask, and after PASV when it"
    " has five"
    " numbers only",
    tags=("ftp", "nat", "ipv4"),
)
def not_asked(bench: Bench) -> None:
    talk = _control(bench, 4)
    whole = f"227 Entering Passive Mode ({_comma(NETS[4].server(talk.server), 50000)})\r\n".encode()
    _says(talk, whole, whole, "a reply without PASV")
    talk.request(b"PASV\r\n")
    short = whole.replace(b",80)", b")")
    must(short != whole, "the short reply is the whole one")
    _says(talk, short, short, "a reply with five numbers")
    must(len(entries(bench, talk.client)) == 1, "an entry for a data connection was made")
