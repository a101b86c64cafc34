"""Connection sync: what a master tells its backups, byte for byte, and what a backup makes of it
(net/netfilter/ipvs/ip_vs_sync.c).

A master collects entries in a buffer, which it sends when the next entry does not fit, or two to
three seconds after the first one. The checks make the buffer as small as can be (--sync-maxlen 1:
one entry a datagram), so a further entry, a "mark", pushes out what is before it, and what comes
before the mark is everything that the director had to say: also nothing is seen without waiting.
"""

from __future__ import annotations

import time
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from lvslab.conformance.check import check
from lvslab.conformance.flows import Conversation
from lvslab.conformance.packets import must
from lvslab.conformance.syncing import (
    _ANSWER_SECONDS,
    _FLAGS,
    _FLUSH_SECONDS,
    _MARK_PORT,
    _STATES,
    SPORT,
    Master,
    entry,
    must_say,
    segments,
    told,
    udp,
)
from lvslab.conformance.testbed import PORT, V4, Bench
from lvslab.conformance.variants import EACH_VERSION, MODES_VERSIONS
from lvslab.ipvs.service import Protocol
from lvslab.traffic.layers.sync import (
    SYNC_GROUP,
    SYNC_PORT,
    ConnFlag,
    SyncPeData,
    SyncPeName,
)

# -- the director as master ------------------------------------------------------------------------


@check(
    "sync:master:tcp-{mode}-ipv{version}",
    "an established connection is told in one version 1 entry whose every field is right, from the director's"
    " own address with TTL 1",
    tags=("{mode}", "ipv{version}"),
    each=MODES_VERSIONS,
)
def master_fields(bench: Bench, mode: str, version: int) -> None:
    bench.service(mode, version=version, weights=(1,))
    master = Master(bench)
    client = bench.client(version)
    if mode == "nat":
        talk = Conversation(bench, mode, version, client=client).establish()
        master.client(talk.from_client("PA", b"GET /"))
    else:
        master.client(*segments(version, client, "S", "A", "PA"))
    first, marks = master.mark()
    master.client(*marks, *master.mark()[1])
    messages = master.until(first) if not master.frames else None
    frame = None
    if messages is None:
        frame = master.frames[0]
        messages = master.until(first)
    must_say(messages, [entry(mode, client, version=version)], "an established connection")
    if frame is not None:
        ip = frame[IP]
        seen = (frame.src, frame.dst, ip.src, ip.dst, ip.ttl, frame[UDP].dport)
        must(
            seen == (bench.inside.mac, "01:00:5e:00:00:51", V4.inner, SYNC_GROUP, 1, SYNC_PORT),
            f"the sync datagram's MAC addresses, addresses, TTL and port are {seen}",
        )


@check(
    "sync:master:udp-ipv{version}",
    "the third datagram of a UDP connection makes the director tell about it: state UDP, inactive, its"
    " timeout",
    tags=("udp", "ipv{version}"),
    each=EACH_VERSION,
)
def master_udp(bench: Bench, version: int) -> None:
    bench.service("dr", protocol=Protocol.UDP, version=version, weights=(1,))
    master = Master(bench)
    client = bench.client(version)
    master.client(*[udp(version, client)] * 2)
    must_say(master.messages(), [], "two datagrams, one less than sync_threshold")
    master.client(udp(version, client))
    # UDP connections count as inactive all their life (ip_vs_bind_dest)
    flags = _FLAGS["dr"] | ConnFlag.INACTIVE
    expected = entry("dr", client, version=version, protocol=17, state=0, timeout=300, flags=flags)
    must_say(master.messages(), [expected], "the third datagram")


@check(
    "sync:master:version-0",
    "with sync_version 0 the same connection is told in a version 0 entry of 24 bytes, without timeout and"
    " mark",
)
def master_v0(bench: Bench) -> None:
    bench.service("nat", weights=(1,))
    master = Master(bench, version=0)
    talk = Conversation(bench).establish()
    master.client(talk.from_client("A"))
    messages = master.messages()
    must_say(messages, [entry("nat", talk.client, sync=0)], "an established connection", version=0)
    must(
        len(bytes(messages[0])) == 28,
        f"a version 0 message with one entry has 28 bytes, this one {len(bytes(messages[0]))}",
    )


@check(
    "sync:master:version-0-ipv6",
    "version 0 cannot tell about IPv6 connections: nothing is said",
    tags=("ipv6",),
)
def master_v0_ipv6(bench: Bench) -> None:
    bench.service("dr", version=6, weights=(1,))
    master = Master(bench, version=0)
    master.client(*segments(6, bench.client(6), "S", "A", "A", "FA"))
    must_say(master.messages(), [], "an IPv6 connection", version=0)


@check(
    "sync:master:fwmark",
    "the entry of a connection of a firewall-mark service carries the mark",
    tags=("fwmark",),
)
def master_fwmark(bench: Bench) -> None:
    bench.rule(f"-t mangle -A PREROUTING -d {V4.vip} -p tcp --dport {PORT} -j MARK --set-mark 305419896")
    bench.service("dr", protocol=Protocol.FWMARK, fwmark=305419896, port=0, weights=(1,))
    master = Master(bench)
    client = bench.client()
    master.client(*segments(4, client, "S", "A", "A"))
    must_say(master.messages(), [entry("dr", client, fwmark=0x12345678)], "a connection with mark 0x12345678")


@check(
    "sync:master:conntrack",
    "with vs.conntrack on, the flags of a NAT connection also have NFCT, which a backup ignores",
    tags=("conntrack",),
)
def master_conntrack(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.conntrack", 1)
    bench.service("nat", weights=(1,))
    master = Master(bench)
    talk = Conversation(bench).establish()
    master.client(talk.from_client("A"))
    must_say(master.messages(), [entry("nat", talk.client, flags=int(ConnFlag.NFCT))], "a tracked connection")


@check(
    "sync:threshold:{threshold}-{period}",
    "with sync_threshold '{threshold} {period}' exactly packets {expected} of the first {packets} make the"
    " director tell",
    each=[
        {"threshold": 3, "period": 50, "packets": 53, "expected": (3, 53)},
        {"threshold": 2, "period": 5, "packets": 12, "expected": (2, 7, 12)},
        {"threshold": 0, "period": 3, "packets": 7, "expected": (3, 6)},
        {"threshold": 2, "period": 0, "packets": 8, "expected": (2,)},
        {"threshold": 0, "period": 1, "packets": 4, "expected": (1, 2, 3, 4)},
    ],
)
def threshold(bench: Bench, threshold: int, period: int, packets: int, expected: tuple[int, ...]) -> None:
    bench.service("dr", protocol=Protocol.UDP, weights=(1,))
    master = Master(bench, threshold=(threshold, period))
    client = bench.client()
    marks, line = [], []
    for _ in range(packets):
        mark, datagrams = master.mark()
        marks.append(mark)
        line += [udp(4, client), *datagrams]
    master.client(*line, *master.mark()[1])
    found = tuple(number for number, mark in enumerate(marks, start=1) if told(master.until(mark), client))
    must(
        found == expected, f"packets {found} made the director tell about the connection, expected {expected}"
    )


@check(
    "sync:states:{name}",
    "{expects_text}",
    tags=("states",),
    each=[
        {
            "name": "syn-recv-never",
            "expects_text": (
                "a connection in SYN_RECV is never told, not even with its third and its 53rd SYN"
            ),
            "steps": ("S",) * 53,
            "expected": (),
        },
        {
            "name": "established-at-third-packet",
            "expects_text": (
                "becoming ESTABLISHED is told with the third packet, not with the second that brings it about"
            ),
            "steps": ("S", "A", "|", "A"),
            "expected": ("|", "ESTABLISHED"),
        },
        {
            "name": "fin-at-once",
            "expects_text": "FIN_WAIT is told at once, whatever the threshold",
            "steps": ("S", "A", "A", "|", "FA"),
            "expected": ("ESTABLISHED", "|", "FIN_WAIT"),
        },
        {
            "name": "fin-once",
            "expects_text": "a repeated FIN changes no state and is not told again",
            "steps": ("S", "A", "A", "FA", "|", "FA", "FA"),
            "expected": ("ESTABLISHED", "FIN_WAIT", "|"),
        },
        {
            "name": "reset-at-once",
            "expects_text": "CLOSE after a RST is told at once, whatever the threshold",
            "steps": ("S", "A", "A", "|", "R"),
            "expected": ("ESTABLISHED", "|", "CLOSE"),
        },
        {
            # tcp_states in ip_vs_proto_tcp.c: a client's RST leaves SYN_RECV as it is
            "name": "reset-in-syn-recv",
            "expects_text": "a RST in SYN_RECV closes nothing, so nothing is told",
            "steps": ("S", "R", "R"),
            "expected": (),
        },
    ],
)
def states(
    bench: Bench, name: str, expects_text: str, steps: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    bench.service("dr", weights=(1,))
    master = Master(bench)
    client = bench.client()
    found: list[str] = []
    names = {number: name for name, number in _STATES.items()}
    groups = " ".join(steps).split("|")
    rest = segments(4, client, *(step for step in steps if step != "|"))
    for number, group in enumerate(groups):
        count = len(group.split())
        master.client(*rest[:count])
        rest = rest[count:]
        found += ["|"] * bool(number) + [names[each.state] for each in told(master.messages(), client)]
    must(
        tuple(found) == expected,
        f"after packets {steps} the director told states {tuple(found)}, expected {expected}",
    )


@check(
    "sync:states:nat-server-closes",
    "in NAT the server's FIN is told as FIN_WAIT, but only with the client's next packet; the client's FIN"
    " behind it as TIME_WAIT",
    tags=("states", "nat"),
)
def states_server_closes(bench: Bench) -> None:
    # ip_vs_sync_conn is called for packets of clients alone (ip_vs_in)
    bench.service("nat", weights=(1,))
    master = Master(bench)
    talk = Conversation(bench).establish()
    master.client(talk.from_client("A"))
    must_say(master.messages(), [entry("nat", talk.client)], "the third packet of the client")
    master.server(talk.from_server("FA"))
    must_say(master.messages(), [], "the server's FIN, which no client's packet follows")
    talk.sequence["server"] += 1
    master.client(talk.from_client("A"))
    must_say(
        master.messages(), [entry("nat", talk.client, "FIN_WAIT")], "the client's ACK of the server's FIN"
    )
    master.client(talk.from_client("FA"))
    must_say(master.messages(), [entry("nat", talk.client, "TIME_WAIT")], "the client's FIN")


@check(
    "sync:states:nat-client-closes",
    "in NAT the client's FIN is told at once as CLOSE_WAIT, its last ACK, behind the server's FIN, as"
    " TIME_WAIT",
    tags=("states", "nat"),
)
def states_client_closes(bench: Bench) -> None:
    bench.service("nat", weights=(1,))
    master = Master(bench)
    talk = Conversation(bench).establish()
    master.client(talk.from_client("FA"))
    talk.sequence["client"] += 1
    master.server(talk.from_server("FA"))
    talk.sequence["server"] += 1
    master.client(talk.from_client("A"))
    expected = [entry("nat", talk.client, "CLOSE_WAIT"), entry("nat", talk.client, "TIME_WAIT")]
    must_say(master.messages(), expected, "the end of a connection")


@check(
    "sync:ops-never",
    "connections of a one-packet service are never told; without -o the same datagrams are",
    tags=("ops",),
)
def ops_never(bench: Bench) -> None:
    service = bench.service("dr", protocol=Protocol.UDP, weights=(1,), ops=True)
    master = Master(bench, threshold=(0, 1))
    client, other = bench.client(), bench.client()
    master.client(*[udp(4, client)] * 6)
    must_say(master.messages(), [], "six datagrams of a one-packet service")
    bench.run(f"ipvsadm -E -u {service.address}:{service.port} -s rr")
    master.client(udp(4, other))
    must(len(told(master.messages(), other)) == 1, "without -o a datagram was not told")


# -- templates -------------------------------------------------------------------------------------


def template(client: str, *, assured: bool, number: int = 1, **fields: Any) -> Any:
    """The entry of a persistent client's template, with a timeout of 300 seconds, in dr."""
    flags = _FLAGS["dr"] | ConnFlag.INACTIVE | ConnFlag.TEMPLATE
    return entry(
        "dr",
        client,
        **{
            "flags": int(flags),
            "state": int(assured),
            "cport": 0,
            "timeout": 300,
            "number": number,
            **fields,
        },
    )


@check(
    "sync:template:fields",
    "a persistent client's template is told behind its connection: port 0, flag TEMPLATE, ASSURED, the"
    " persistence timeout",
    tags=("persistence",),
)
def template_fields(bench: Bench) -> None:
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench)
    client = bench.client()
    master.client(*segments(4, client, "S", "A"))
    master.messages()
    master.client(segments(4, client, "A")[0])
    expected = [entry("dr", client), template(client, assured=True)]
    must_say(master.messages(), expected, "the third packet of a persistent client")


@check(
    "sync:template:every-packet",
    "the template itself is told with every packet of its connections, the SYN included: thresholds do not"
    " hold for templates",
    tags=("persistence",),
)
def template_every_packet(bench: Bench) -> None:
    # ip_vs_sync_conn goes on to the controlling template also when the connection itself is not to
    # be told (label "control"), and ip_vs_sync_conn_needed passes over the period for templates
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench)
    client = bench.client()
    syn, ack = segments(4, client, "S", "A")
    master.client(syn)
    must_say(master.messages(), [template(client, assured=False)], "the SYN of a persistent client")
    master.client(ack)
    must_say(master.messages(), [template(client, assured=True)], "its ACK")


@check(
    "sync:template:version-0",
    "in version 0 the template is told only together with its connection",
    tags=("persistence",),
)
def template_v0(bench: Bench) -> None:
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench, version=0)
    client = bench.client()
    syn, ack, third = segments(4, client, "S", "A", "A")
    master.client(syn, ack)
    must_say(master.messages(), [], "two packets of a persistent client", version=0)
    master.client(third)
    flags = int(_FLAGS["dr"] | ConnFlag.INACTIVE | ConnFlag.TEMPLATE)
    expected = [entry("dr", client, sync=0), entry("dr", client, sync=0, flags=flags, state=1, cport=0)]
    must_say(master.messages(), expected, "the third packet", version=0)


@check(
    "sync:template:refresh-period",
    "sync_refresh_period reduces the rate of templates: one in the period, not one with every packet",
    tags=("persistence", "sysctl"),
)
def template_refresh(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.sync_refresh_period", 10)
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench)
    client = bench.client()
    master.client(*segments(4, client, "S", "S", "S", "S"))
    must_say(master.messages(), [template(client, assured=False)], "four SYNs of a persistent client")


@check(
    "sync:persist-mode:{value}",
    "with sync_persist_mode {value} connections of a persistent client are {word}, its template is",
    tags=("persistence", "sysctl"),
    each=[{"value": 0, "word": "told as well"}, {"value": 1, "word": "not told"}],
)
def persist_mode(bench: Bench, value: int, word: str) -> None:
    bench.sysctl("net.ipv4.vs.sync_persist_mode", value)
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench)
    client = bench.client()
    master.client(*segments(4, client, "S", "A", "A"))
    seen = [each.cport for each in told(master.messages(), client)]
    must(seen.count(0) == 3, f"three packets told the template {seen.count(0)} times, expected 3")
    wanted = 1 - value
    must(
        seen.count(SPORT) == wanted,
        f"the connection itself was told {seen.count(SPORT)} times, expected {wanted}",
    )


@check(
    "sync:refresh-period:{value}",
    "with sync_refresh_period {value} four datagrams at once are told {times} time(s)",
    tags=("sysctl",),
    each=[{"value": 0, "times": 4}, {"value": 10, "times": 1}],
)
def refresh_period(bench: Bench, value: int, times: int) -> None:
    bench.sysctl("net.ipv4.vs.sync_refresh_period", value)
    bench.service("dr", protocol=Protocol.UDP, weights=(1,))
    master = Master(bench, threshold=(0, 1))
    client = bench.client()
    master.client(*[udp(4, client)] * 4)
    found = len(told(master.messages(), client))
    must(found == times, f"four datagrams were told {found} times, expected {times}")


@check(
    "sync:refresh-period:retries",
    "with sync_retries 1 a connection is told once more an eighth of sync_refresh_period later, and then not"
    " until the period is over",
    tags=("sysctl",),
)
def refresh_retries(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.sync_refresh_period", 8)
    bench.sysctl("net.ipv4.vs.sync_retries", 1)
    bench.service("dr", protocol=Protocol.UDP, weights=(1,))
    master = Master(bench, threshold=(0, 1))
    client = bench.client()
    master.client(*[udp(4, client)] * 3)
    began = time.monotonic()
    must(len(told(master.messages(), client)) == 1, "three datagrams at once were not told exactly once")
    again = 0.0
    while not again and time.monotonic() < began + 3:
        master.client(udp(4, client))
        if told(master.messages(), client):
            again = time.monotonic() - began
    must(
        0.8 < again < 2.0,
        f"told again after {again:.2f} s (0: not at all), expected after 1 s, an eighth of 8 s",
    )
    master.client(*[udp(4, client)] * 3)
    must(not told(master.messages(), client), "told a third time, though sync_retries is 1")


# -- datagrams -------------------------------------------------------------------------------------


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
    must(
        _FLUSH_SECONDS - 0.1 < seconds < _ANSWER_SECONDS, f"it came after {seconds:.2f} s, expected 2 to 3 s"
    )


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
        frame, others = bench.inside.receive(master._is_sync, _ANSWER_SECONDS)
        must(frame is not None, "no datagram came to group 239.1.2.3, port 9000")
        master.frames.append(frame)
        seen.inside += others
    frame = master.frames[0]
    must(
        [each.caddr for each in master.message(frame).conns] == [client],
        "the datagram tells of another connection",
    )
    must(
        (frame.dst, frame[IP].ttl) == ("01:00:5e:01:02:03", 5),
        f"MAC address {frame.dst} and TTL {frame[IP].ttl}, expected TTL 5",
    )
    must(
        not any(IP in each and each[IP].dst == SYNC_GROUP for each in seen.inside),
        "a datagram went to the default group as well",
    )


@check("sync:group:ipv6", "with an IPv6 group the same datagrams go to it over IPv6", tags=("ipv6",))
def group_ipv6(bench: Bench) -> None:
    master = Master(bench, group="ff02::81", options="--mcast-group ff02::81")
    client, packets = master.mark()
    master.client(*packets, *master.mark()[1])
    if not master.frames:
        frame, _ = bench.inside.receive(master._is_sync, _ANSWER_SECONDS)
        must(frame is not None, "no datagram came to group ff02::81")
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
    line = [udp(4, each, _MARK_PORT) for each in clients] * 2
    master.client(*line)  # the last entry of each thread stays in its buffer
    ports: dict[str, set[int]] = {}
    count, deadline = 0, time.monotonic() + _ANSWER_SECONDS
    while count < len(line) - 2:
        if not master.frames:
            frame, _ = bench.inside.receive(master._is_sync, deadline - time.monotonic())
            must(frame is not None, f"only {count} of {len(line) - 2} sync datagrams came")
            master.frames.append(frame)
        frame = master.frames.pop(0)
        count += 1
        for each in master.message(frame).conns:
            ports.setdefault(each.caddr, set()).add(frame[UDP].dport)
    # which thread: by the entry's place in memory (select_master_thread_id), so how many for each
    # cannot be foretold
    must(all(len(each) == 1 for each in ports.values()), f"a connection was told by both threads: {ports}")


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
        f"{len(seen.inside)} frames came for three packets",
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
    found = messages[0].conns[0]
    # the template of an engine is hashed by its data; the client's address stands for nothing
    # (ip_vs_conn_fill_param_persist)
    options = [SyncPeData(pe_data=call), SyncPeName(pe_name=b"sip")]
    expected = template(
        client, assured=bool(found.state), protocol=17, vport=5060, dport=5060, options=options
    )
    must_say(messages, [expected], "the INVITE's template")


# -- the director as backup ------------------------------------------------------------------------
