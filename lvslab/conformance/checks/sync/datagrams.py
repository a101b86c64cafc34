"""The master's datagrams: how long, when, to which group and port, in whose name."""

from __future__ import annotations

import time

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from lvslab.conformance.addresses import V4
from lvslab.conformance.check import check
from lvslab.conformance.checks.sync.templates import template
from lvslab.conformance.packets import must
from lvslab.conformance.syncing import (
    ANSWER_SECONDS,
    FLUSH_SECONDS,
    MARK_PORT,
    Master,
    entry,
    must_say,
    segments,
    udp,
)
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.ipvs.service import Protocol
from lvslab.runs.words import plural
from lvslab.traffic.layers.sync.entries import SyncPeData, SyncPeName
from lvslab.traffic.layers.sync.words import SYNC_GROUP, SYNC_PORT


@check(
    "sync:maxlen:{maxlen}",
    "with --sync-maxlen {maxlen} a datagram holds {entries} entries of 36 bytes behind its header of 8",
    each=[{"maxlen": 115, "entries": 2}, {"maxlen": 116, "entries": 3}, {"maxlen": 1, "entries": 1}],
)
def maxlen(bench: Bench, maxlen: int, entries: int) -> None:
    master = Master(bench, maxlen=maxlen)
    for _ in range(7):
        master.client(*master.mark()[1])
    sizes = [(message.nr_conns, len(bytes(message))) for message in (master.next(), master.next())]
    must(sizes == [(entries, 8 + 36 * entries)] * 2, f"datagrams with (entries, bytes) {sizes} came")


@check(
    "sync:flush",
    "a buffer that does not fill is sent two to three seconds after its first entry, with all entries until"
    " then in one datagram",
    spoilt_by=0.5,
)
def flush(bench: Bench) -> None:
    master = Master(bench, maxlen=0)
    began = time.monotonic()
    clients = []
    for _ in range(2):
        client, packets = master.mark()
        clients.append(client)
        master.client(*packets)
    must(not master.frames, "a sync datagram came at once")
    message = master.next()
    seconds = time.monotonic() - began
    must(
        [each.caddr for each in message.conns] == clients,
        f"the datagram tells about {message.conns!r}, expected {clients}",
    )
    least, most = FLUSH_SECONDS - 0.1, FLUSH_SECONDS + 2
    must(least < seconds < most, f"it came after {seconds:.2f} s, expected 2 to 3 s")


@check("sync:syncid:{syncid}", "datagrams carry sync id {syncid}", each=[{"syncid": 0}, {"syncid": 255}])
def syncid(bench: Bench, syncid: int) -> None:
    master = Master(bench, syncid=syncid)
    master.client(*master.mark()[1], *master.mark()[1])
    message = master.next()
    must(message.syncid == syncid, f"the datagram carries sync id {message.syncid}, expected {syncid}")


@check(
    "sync:group:ipv4",
    "--mcast-group, --mcast-port and --mcast-ttl say where datagrams go, and none goes to the default group",
)
def group(bench: Bench) -> None:
    options = "--mcast-group 239.1.2.3 --mcast-port 9000 --mcast-ttl 5"
    master = Master(bench, group="239.1.2.3", ports=[9000], options=options)
    client, packets = master.mark()
    seen = master.client(*packets, *master.mark()[1])
    if not master.frames:
        frame, others = bench.inside.receive(master.is_sync, ANSWER_SECONDS)
        if frame is None:
            raise CheckFailed("no datagram came to group 239.1.2.3, port 9000")
        master.frames.append(frame)
        seen.inside += others
    frame = master.frames[0]
    must(
        [told_entry.caddr for told_entry in master.message(frame).conns] == [client],
        "the datagram tells of another connection",
    )
    must(
        (frame.dst, frame[IP].ttl) == ("01:00:5e:01:02:03", 5),
        f"MAC address {frame.dst} and TTL {frame[IP].ttl}, expected TTL 5",
    )
    must(
        not any(IP in other and other[IP].dst == SYNC_GROUP for other in seen.inside),
        "a datagram went to the default group as well",
    )


@check("sync:group:ipv6", "with an IPv6 group the same datagrams go to it over IPv6", tags=("ipv6",))
def group_ipv6(bench: Bench) -> None:
    master = Master(bench, group="ff02::81", options="--mcast-group ff02::81")
    client, packets = master.mark()
    master.client(*packets, *master.mark()[1])
    if not master.frames:
        frame, _ = bench.inside.receive(master.is_sync, ANSWER_SECONDS)
        if frame is None:
            raise CheckFailed("no datagram came to group ff02::81")
        master.frames.append(frame)
    frame = master.frames[0]
    must(
        [each.caddr for each in master.message(frame).conns] == [client],
        "the datagram tells of another connection",
    )
    must(
        (frame.dst, frame[IPv6].hlim) == ("33:33:00:00:00:81", 1),
        f"MAC address {frame.dst}, hop limit {frame[IPv6].hlim}",
    )


@check(
    "sync:ports:2",
    "with sync_ports 2 two threads send to ports 8848 and 8849, each connection always through the same one",
    tags=("sysctl",),
)
def two_ports(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.sync_ports", 2)
    master = Master(bench, ports=(SYNC_PORT, SYNC_PORT + 1), threshold=(0, 1))
    clients = [bench.client() for _ in range(32)]
    line = [udp(4, client, MARK_PORT) for client in clients] * 2
    master.client(*line)  # the last entry of each thread stays in its buffer
    ports: dict[str, set[int]] = {}
    count, deadline = 0, time.monotonic() + ANSWER_SECONDS
    while count < len(line) - 2:
        if not master.frames:
            frame, _ = bench.inside.receive(master.is_sync, deadline - time.monotonic())
            if frame is None:
                raise CheckFailed(f"only {count} of {len(line) - 2} sync datagrams came")
            master.frames.append(frame)
        frame = master.frames.pop(0)
        count += 1
        for told_entry in master.message(frame).conns:
            ports.setdefault(told_entry.caddr, set()).add(frame[UDP].dport)
    # which thread: by the entry's place in memory (select_master_thread_id), so how many for each
    # cannot be foretold
    must(
        all(len(threads) == 1 for threads in ports.values()),
        f"a connection was told by both threads: {ports}",
    )


@check(
    "sync:stopped",
    "without a master daemon nothing is told, and what happened before it starts is not told later",
)
def stopped(bench: Bench) -> None:
    bench.service("dr", weights=(1,))
    client = bench.client()
    seen = bench.from_client(*segments(4, client, "S", "A", "A"))
    must(
        len(seen.inside) == 3 and not seen.outside,
        f"{plural(len(seen.inside), 'frame')} came for three packets",
        *map(str, seen.inside),
    )
    master = Master(bench)
    must_say(master.messages(), [], "a connection from before the start of the daemon")
    master.client(*segments(4, client, "FA"))
    must_say(master.messages(), [entry("dr", client, "FIN_WAIT")], "the same connection's FIN after it")


@check(
    "sync:pe:sip",
    "a template of the SIP persistence engine carries the Call-ID and the engine's name as options",
    tags=("persistence", "sip"),
)
def persistence_engine(bench: Bench) -> None:
    bench.service(
        "dr",
        protocol=Protocol.UDP,
        port=5060,
        weights=(1,),
        persistence_timeout=300,
        persistence_engine="sip",
    )
    master = Master(bench)
    client, call = bench.client(), b"3848276298220188511@lvslab"
    text = (
        b"INVITE sip:bob@lvslab SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nCall-ID: "
        + call
        + b"\r\nContent-Length: 0\r\n\r\n"
    )
    master.client(V4.packet(client, V4.vip) / UDP(sport=5060, dport=5060) / text)
    messages = master.messages()
    must(len(messages) == 1, f"one message with the template was expected, {len(messages)} came")
    told_template = messages[0].conns[0]
    # the template of an engine is hashed by its data; the client's address stands for nothing
    # (ip_vs_conn_fill_param_persist)
    options = [SyncPeData(pe_data=call), SyncPeName(pe_name=b"sip")]
    expected = template(
        client, assured=bool(told_template.state), protocol=17, vport=5060, dport=5060, options=options
    )
    must_say(messages, [expected], "the INVITE's template")
