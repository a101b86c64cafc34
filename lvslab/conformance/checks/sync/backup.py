"""Connection sync: what a backup director makes of the messages that it gets."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import TCP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, PORT, SERVER_PORT, V4, server_mac
from lvslab.conformance.check import check
from lvslab.conformance.checks.sync.templates import template
from lvslab.conformance.flows import at_server
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.syncing import (
    FLAGS,
    SPORT,
    SYNC_ID,
    Backup,
    Master,
    entries_about,
    entry,
    must_say,
    segments,
)
from lvslab.conformance.testbed import Bench
from lvslab.runs.words import plural
from lvslab.traffic.layers.sync.entries import IpVsSeq, IpVsSeqV0, SyncOption, SyncSeqData
from lvslab.traffic.layers.sync.messages import SyncMessage
from lvslab.traffic.layers.sync.words import SYNC_PORT, ConnFlag


@check(
    "sync:backup:{mode}-ipv{version}-v{sync}",
    "a connection told by the other director is in the table, and its packets go to its own server, though"
    " round robin says another",
    tags=("{mode}", "ipv{version}"),
    spoilt_by=2.0,
    each=[
        {"mode": "dr", "version": 4, "sync": 1},
        {"mode": "nat", "version": 4, "sync": 1},
        {"mode": "tun", "version": 4, "sync": 1},
        {"mode": "dr", "version": 6, "sync": 1},
        {"mode": "nat", "version": 6, "sync": 1},
        {"mode": "nat", "version": 4, "sync": 0},
    ],
)
def backup_forwards(bench: Bench, mode: str, version: int, sync: int) -> None:
    net = NETS[version]
    bench.service(mode, version=version)
    backup = Backup(bench)
    client = bench.client(version)
    data = segments(version, client, "PA")[0] / b"data"
    backup.tell(entry(mode, client, version=version, sync=sync, number=1), version=sync)
    port = SERVER_PORT if mode == "nat" else PORT
    brackets = (f"[{net.vip}]", f"[{net.server(1)}]") if version == 6 else (net.vip, net.server(1))
    expected = [f"TCP ESTABLISHED {SPORT} {brackets[0]}:{PORT} > {brackets[1]}:{port}"]
    found = [each for each in backup.connections() if each.client.address == client]
    shown = [
        f"{each.protocol} {each.state} {each.client.port} {each.virtual} > {each.destination}"
        for each in found
    ]
    must(shown == expected, f"the table has {shown} about the client, expected {expected}")
    must(895 <= found[0].expires <= 900, f"the entry expires in {found[0].expires} s, expected 900")
    frame = bench.from_client(data).one("inside", "data of the connection")
    must_equal(frame, at_server(bench, data, mode, 1, seen=frame), "data of the connection at real server 1")


@check(
    "sync:backup:not-told",
    "without the message the same packet belongs to no connection: the director itself answers with RST, no"
    " server sees it",
)
def backup_reverse(bench: Bench) -> None:
    bench.service("dr")
    Backup(bench)
    data = segments(4, bench.client(), "PA")[0] / b"data"
    frame = bench.from_client(data).one("outside", "data of an unknown connection")
    must(TCP in frame and str(frame[TCP].flags) == "R", f"a RST was expected, {frame.summary()} came")


@check(
    "sync:backup:timeout",
    "an entry lives for the seconds that its message says; with 0 for those of the state's own timeout",
    spoilt_by=2.0,
)
def backup_timeout(bench: Bench) -> None:
    bench.service("dr")
    backup = Backup(bench)
    clients = [bench.client() for _ in range(2)]
    backup.tell(entry("dr", clients[0], timeout=77), entry("dr", clients[1], "FIN_WAIT", timeout=0))
    expires = {each.client.address: each.expires for each in backup.connections()}
    for client, wanted in zip(clients, (77, 120), strict=True):
        must(
            wanted - 3 <= expires.get(client, -1) <= wanted,
            f"an entry expires in {expires.get(client)} s, expected {wanted}",
        )


@check(
    "sync:backup:template",
    "a client whose template was told goes to the template's server, a new client to where round robin says",
    tags=("persistence",),
)
def backup_template(bench: Bench) -> None:
    bench.service("dr", weights=(1, 1, 1), persistence_timeout=300)
    backup = Backup(bench)
    client, other = bench.client(), bench.client()
    backup.tell(template(client, assured=True, number=1))
    found = backup.of(client)
    expected = [f"TCP ASSURED 0 {V4.vip}:{PORT} > {V4.server(1)}:{PORT}"]
    must(found == expected, f"the table has {found} about the client, expected {expected}")
    for sport in (SPORT, SPORT + 1):
        syn = segments(4, client, "S")[0]
        syn.payload.sport = sport
        frame = bench.from_client(syn).one("inside", "the client's SYN")
        must_equal(frame, at_server(bench, syn, "dr", 1), "the client's SYN at real server 1")
    syn = segments(4, other, "S")[0]
    frame = bench.from_client(syn).one("inside", "another client's SYN")
    must(
        frame.dst == server_mac(3),
        f"another client went to {frame.dst}; round robin begins with the server added last, 3",
    )


@check(
    "sync:backup:update",
    "a second message about a connection changes its state and timeout; there is still one entry",
    spoilt_by=2.0,
)
def backup_update(bench: Bench) -> None:
    bench.service("dr")
    backup = Backup(bench)
    client = bench.client()
    backup.tell(entry("dr", client, number=2))
    backup.tell(entry("dr", client, "FIN_WAIT", number=2, timeout=33))
    found = [each for each in backup.connections() if each.client.address == client]
    must(len(found) == 1, f"{plural(len(found), 'entry', 'entries')} about one connection")
    must(
        found[0].state == "FIN_WAIT" and 30 <= found[0].expires <= 33,
        f"state {found[0].state}, expires in {found[0].expires} s",
    )


@check(
    "sync:backup:moved",
    "a message that gives a known connection another server replaces the old entry",
)
def backup_moved(bench: Bench) -> None:
    bench.service("dr")
    backup = Backup(bench)
    client = bench.client()
    backup.tell(entry("dr", client, number=1))
    backup.tell(entry("dr", client, number=2))
    backup.connections()
    data = segments(4, client, "PA")[0] / b"data"
    frame = bench.from_client(data).one("inside", "data of the connection")
    must_equal(frame, at_server(bench, data, "dr", 2), "data of the connection at its new server")


@check(
    "sync:backup:several",
    "entries of both IP versions and of any length, each at a multiple of four bytes, are taken from one"
    " message",
)
def backup_several(bench: Bench) -> None:
    bench.service("dr")
    backup = Backup(bench)
    clients = [bench.client(), bench.client(6), bench.client(), bench.client()]
    odd = SyncOption(type=0x40 | 9, data=b"x" * 3)
    sequences = SyncSeqData(in_seq=IpVsSeq(init_seq=1, delta=2), out_seq=IpVsSeq())
    backup.tell(
        entry("dr", clients[0], options=[odd]),
        entry("dr", clients[1], version=6),
        entry("dr", clients[2], options=[sequences]),
        entry("dr", clients[3]),
    )
    there = {each.client.address for each in backup.connections()}
    must(set(clients) <= there, f"entries about {sorted(set(clients) - there)} are missing")


def _bad() -> list[dict[str, Any]]:
    """Messages that must be ignored, by what is wrong with them: changes to the bytes of a message
    with one IPv4 entry.
    """
    return [
        {"name": "syncid", "what": "another sync id", "change": lambda data: data[:1] + b"\x08" + data[2:]},
        {"name": "short-header", "what": "a message of three bytes", "change": lambda data: data[:3]},
        {"name": "empty", "what": "an empty datagram", "change": lambda data: b""},
        {
            "name": "truncated",
            "what": "a message cut off in its entry, its size unchanged",
            "change": lambda data: data[:30],
        },
        {
            "name": "entry-cut-off",
            "what": "a message cut off in its entry, its size right",
            "change": lambda data: data[:2] + b"\x00\x1e" + data[4:30],
        },
        {
            "name": "size-above",
            "what": "a size one above the length",
            "change": lambda data: data[:3] + b"\x2d" + data[4:],
        },
        {
            "name": "garbage",
            "what": "44 bytes of garbage",
            "change": lambda data: b"\xff\x07\x00\x2c" + b"\xa5" * 40,
        },
        {
            "name": "entry-version",
            "what": "an entry of version 1",
            "change": lambda data: data[:10] + b"\x10" + data[11:],
        },
        {
            "name": "entry-type",
            "what": "an entry of type 2",
            "change": lambda data: data[:8] + b"\x02" + data[9:],
        },
        {
            "name": "entry-size-above",
            "what": "an entry whose size is beyond the end",
            "change": lambda data: data[:11] + b"\x28" + data[12:],
        },
        {
            "name": "protocol",
            "what": "an entry of protocol 200",
            "change": lambda data: data[:9] + b"\xc8" + data[10:],
        },
        {
            "name": "state",
            "what": "an entry in state 11, one above the last",
            "change": lambda data: data[:16] + b"\x00\x0b" + data[18:],
        },
        {
            "name": "option",
            "what": "an unknown option that must be understood",
            "change": lambda data: (
                data[:3] + b"\x30" + data[4:11] + b"\x28" + data[12:] + b"\x09\x02\x00\x00"
            ),
        },
        {
            "name": "option-length",
            "what": "an option longer than the entry",
            "change": lambda data: (
                data[:3] + b"\x30" + data[4:11] + b"\x28" + data[12:] + b"\x01\x18\x00\x00"
            ),
        },
    ]


@check("sync:backup:ignored:{name}", "{what} is ignored without harm: the next message is taken", each=_bad())
def backup_ignored(bench: Bench, name: str, what: str, change: Any) -> None:
    backup = Backup(bench)
    client = bench.client()
    good = bytes(SyncMessage(syncid=SYNC_ID, conns=[entry("dr", client)]))
    backup.inject(change(good))
    found = backup.of(client)
    must(not found, f"{what} was taken: {found}")


@check(
    "sync:backup:boundary",
    "what is ignored one step further is taken: the last state, an option that need not be understood, bytes"
    " behind the last entry",
)
def backup_boundary(bench: Bench) -> None:
    backup = Backup(bench)
    clients = [bench.client() for _ in range(3)]
    backup.tell(entry("dr", clients[0], state=10, timeout=60))
    backup.tell(entry("dr", clients[1], options=[SyncOption(type=0x40 | 9, data=b"ab")]))
    data = bytearray(bytes(SyncMessage(syncid=SYNC_ID, conns=[entry("dr", clients[2])])) + b"\xff" * 8)
    data[2:4] = len(data).to_bytes(2, "big")
    backup.inject(bytes(data))
    found = {each.client.address: each.state for each in backup.connections()}
    must(
        found.get(clients[0]) == "SYNACK",
        f"the entry in the last state, SYNACK, is {found.get(clients[0], 'missing')}",
    )
    must(clients[1] in found, "the entry with an option that may be skipped is missing")
    must(clients[2] in found, "the entry before further bytes is missing")


@check("sync:backup:syncid-0", "a backup with sync id 0 takes messages of every sync id")
def backup_syncid_0(bench: Bench) -> None:
    backup = Backup(bench, syncid=0)
    clients = [bench.client() for _ in range(2)]
    backup.tell(entry("dr", clients[0]), syncid=1)
    backup.tell(entry("dr", clients[1]), syncid=255)
    there = {each.client.address for each in backup.connections()}
    must(set(clients) <= there, f"entries about {sorted(set(clients) - there)} are missing")


@check("sync:backup:elsewhere", "messages on another interface, or to another port, are not taken")
def backup_elsewhere(bench: Bench) -> None:
    backup = Backup(bench)
    clients = [bench.client() for _ in range(2)]
    messages = [bytes(SyncMessage(syncid=SYNC_ID, conns=[entry("dr", each)])) for each in clients]
    backup.inject(messages[0], wire="outside")
    backup.inject(messages[1], port=SYNC_PORT + 1)
    there = {each.client.address for each in backup.connections()}
    must(clients[0] not in there, "a message on the outside wire was taken, the daemon listens inside")
    must(clients[1] not in there, "a message to port 8849 was taken")


@check(
    "sync:backup-only:{value}",
    "with backup_only {value} a director that is only backup {word}",
    tags=("sysctl",),
    each=[
        {"value": 0, "word": "balances"},
        {"value": 1, "word": "does not balance: the SYN is its own, refused"},
    ],
)
def backup_only(bench: Bench, value: int, word: str) -> None:
    bench.sysctl("net.ipv4.vs.backup_only", value)
    bench.service("dr")
    Backup(bench)
    syn = segments(4, bench.client(), "S")[0]
    frame = bench.from_client(syn).one("outside" if value else "inside", "a SYN")
    if value:
        must(str(frame[TCP].flags) == "RA", f"a RST was expected, {frame.summary()} came")
    else:
        must_equal(frame, at_server(bench, syn, "dr", 2), "the SYN at real server 2, the one added last")


_SEQUENCES = {
    "in_seq": (0x01020304, 0xFFFFFFFC, 8),
    "out_seq": (0xA1A2A3A4, 16, 0xFFFFFFF0),
}


def _relay(bench: Bench, sync: int) -> tuple[str, int, list[Packet]]:
    """Tell a director, which is backup and master, about a connection with sequence numbers:
    client, flags, what it says itself then.

    The kernel's own application helper, ip_vs_ftp, leaves sequence numbers to connection tracking,
    so a master never makes them by itself: it can only pass on what it was told.
    """
    bench.service("dr", weights=(1,))
    master = Master(bench, version=sync, threshold=(0, 1))
    backup = Backup(bench)
    client = bench.client()
    flags = int(FLAGS["dr"] | ConnFlag.IN_SEQ | ConnFlag.OUT_SEQ)
    sequences: dict[str, Any] = {
        name: IpVsSeq(init_seq=a, delta=b, previous_delta=c) for name, (a, b, c) in _SEQUENCES.items()
    }
    backup.tell(entry("dr", client, flags=flags, options=[SyncSeqData(**sequences)]))
    backup.connections()
    master.client(*segments(4, client, "PA"))
    return client, flags | ConnFlag.SYNC, master.messages()


@check(
    "sync:relay:sequence-numbers-v0",
    "a director that is backup and master passes a connection's sequence numbers on in version 0 as it got"
    " them",
)
def relay_v0(bench: Bench) -> None:
    client, flags, messages = _relay(bench, 0)
    sequences: dict[str, Any] = {
        name: IpVsSeqV0(init_seq=a, delta=b, previous_delta=c) for name, (a, b, c) in _SEQUENCES.items()
    }
    must_say(
        messages,
        [entry("dr", client, sync=0, flags=flags, **sequences)],
        "the connection with sequence numbers",
        version=0,
    )


@check(
    "sync:relay:sequence-numbers-v1",
    "in version 1 it sends an option of 24 bytes for them; their values are not judged, because the kernel"
    " does not fill them in",
)
def relay_v1(bench: Bench) -> None:
    # Mainline's ip_vs_sync_conn calls hton_seq(to, from), but the function is hton_seq(from, to):
    # the option keeps what was in the buffer before, and the connection's own numbers are
    # overwritten. On 6.1 other values than those that were told came out.
    client, flags, messages = _relay(bench, 1)
    found = entries_about(messages, client)
    must(
        len(found) == 1 and len(found[0].options) == 1,
        f"one entry with one option was expected, {found!r} came",
    )
    option = found[0].options[0]
    must(
        isinstance(option, SyncSeqData) and option.length == 24,
        f"an option of sequence numbers was expected, {option!r} came",
    )
    must_say(
        messages, [entry("dr", client, flags=flags, options=[option])], "the connection with sequence numbers"
    )
