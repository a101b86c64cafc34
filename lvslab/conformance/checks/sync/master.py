"""When the director as master tells of a connection, and what."""

from __future__ import annotations

from scapy.layers.inet import IP, UDP

from lvslab.conformance.addresses import PORT, V4
from lvslab.conformance.check import check
from lvslab.conformance.flows import Conversation
from lvslab.conformance.packets import must
from lvslab.conformance.syncing import FLAGS, STATES, Master, entries_about, entry, must_say, segments, udp
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION, MODES_VERSIONS
from lvslab.ipvs.service import Protocol
from lvslab.traffic.layers.sync.words import SYNC_GROUP, SYNC_PORT, ConnFlag


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
    flags = FLAGS["dr"] | ConnFlag.INACTIVE
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
    found = tuple(
        number for number, mark in enumerate(marks, start=1) if entries_about(master.until(mark), client)
    )
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
    names = {number: name for name, number in STATES.items()}
    groups = " ".join(steps).split("|")
    rest = segments(4, client, *(step for step in steps if step != "|"))
    for number, group in enumerate(groups):
        count = len(group.split())
        master.client(*rest[:count])
        rest = rest[count:]
        found += ["|"] * bool(number) + [
            names[each.state] for each in entries_about(master.messages(), client)
        ]
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
    must(len(entries_about(master.messages(), other)) == 1, "without -o a datagram was not told")
