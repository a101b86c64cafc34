"""The traffic engine without a network: what it compiles is what scapy would build, what it decodes
is what scapy reads.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw

from lvslab.errors import UsageError
from lvslab.lab.nodes import GuestNode
from lvslab.traffic.engine import Draw, Engine, Flow, Flows, Received, Sent, Span, Stream, Values
from lvslab.traffic.engine.compile import compile_stream
from lvslab.traffic.engine.flows import RECORD, FlowTable, records_of
from lvslab.traffic.engine.stream import number_of

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
COMPUTED = ("chksum", "cksum")
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rebuilt(frame: bytes) -> bytes:
    """The frame as scapy makes it when it computes every checksum itself."""
    packet = layer = Ether(frame)
    while layer and layer.name != "NoPayload":
        for name in COMPUTED:
            if name in layer.fields:
                del layer.fields[name]
        layer.clear_cache()
        layer.raw_packet_cache = None
        layer = layer.payload
    return bytes(packet)


def frames_of(template: Any, vary: dict[str, Any], flows: int = 20) -> list[bytes]:
    frames = compile_stream(Stream(template, vary, flows=flows))
    return [frames[number] for number in range(len(frames))]


# -- strategies ------------------------------------------------------------------------------------

v4 = st.integers(0, 2**32 - 1).map(lambda number: str(ipaddress.IPv4Address(number)))
v6 = st.integers(0, 2**128 - 1).map(lambda number: str(ipaddress.IPv6Address(number)))
port = st.integers(1, 65535)
word = st.integers(0, 2**32 - 1)
load = st.binary(min_size=8, max_size=64)
OPTIONS: list[list[Any]] = [
    [],
    [("MSS", 1460)],
    [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None), ("WScale", 7)],
]


@st.composite
def variations(draw: st.DrawFn, width: int) -> Any:
    top = (1 << 8 * width) - 1
    first = draw(st.integers(0, top))
    last = draw(st.integers(first, top))
    kind = draw(st.sampled_from(["span", "draw", "values"]))
    every = draw(st.integers(1, 4))
    if kind == "span":
        return Span(first, last, every, draw(st.integers(1, 300)))
    if kind == "draw":
        return Draw(first, last, draw(st.integers(0, 9)))
    return Values(draw(st.lists(st.integers(0, top), min_size=1, max_size=5)), every)


WIDTHS = {
    "IP.src": 4,
    "IP.dst": 4,
    "IP.id": 2,
    "IP.ttl": 1,
    "IP.tos": 1,
    "IPv6.src": 16,
    "IPv6.dst": 16,
    "IPv6.hlim": 1,
    "Ether.src": 6,
    "TCP.sport": 2,
    "TCP.dport": 2,
    "TCP.seq": 4,
    "TCP.window": 2,
    "UDP.sport": 2,
    "UDP.dport": 2,
    "ICMP.id": 2,
    "ICMP.seq": 2,
    "ICMPv6EchoRequest.id": 2,
    "ICMPv6EchoRequest.seq": 2,
    "payload[0:8]": 8,
    "payload[1:4]": 3,
    "payload[5:6]": 1,
}


@st.composite
def templates(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """A frame, and some of its fields with variations."""
    if draw(st.booleans()):
        network = IP(src=draw(v4), dst=draw(v4), id=draw(st.integers(0, 65535)), flags="DF")
        names = ["IP.src", "IP.dst", "IP.id", "IP.ttl", "IP.tos"]
        echo: Any = ICMP(type=8, id=draw(port), seq=draw(port))
    else:
        network = IPv6(src=draw(v6), dst=draw(v6))
        names = ["IPv6.src", "IPv6.dst", "IPv6.hlim"]
        echo = ICMPv6EchoRequest(id=draw(port), seq=draw(port))
    kind = draw(st.sampled_from(["TCP", "UDP", "echo"]))
    if kind == "TCP":
        transport = TCP(
            sport=draw(port),
            dport=draw(port),
            seq=draw(word),
            flags="S",
            options=draw(st.sampled_from(OPTIONS)),
        )
        names += ["TCP.sport", "TCP.dport", "TCP.seq", "TCP.window"]
    elif kind == "UDP":  # ports that scapy gives no meaning to, so that the payload stays one
        transport = UDP(sport=draw(st.integers(40000, 40100)), dport=draw(st.integers(40000, 40100)))
        names += ["UDP.sport", "UDP.dport"]
    else:
        transport = echo
        names += [f"{type(echo).__name__}.id", f"{type(echo).__name__}.seq"]
    packet = ETHER / network / transport
    if kind == "UDP" or (kind == "echo" and "IP.src" in names):
        packet /= Raw(draw(load))
        names += ["payload[0:8]", "payload[1:4]", "payload[5:6]"]
    chosen = draw(st.lists(st.sampled_from([*names, "Ether.src"]), unique=True, min_size=1, max_size=5))
    if sum(name.startswith("payload") for name in chosen) > 1:  # they would overlap
        chosen = [name for name in chosen if not name.startswith("payload")]
    return packet, {name: draw(variations(WIDTHS[name])) for name in chosen or ["Ether.src"]}


# -- compiling -------------------------------------------------------------------------------------


@few
@given(templates())
def test_every_checksum_of_every_flow_is_the_one_that_scapy_computes(
    case: tuple[Any, dict[str, Any]],
) -> None:
    template, vary = case
    for frame in frames_of(template, vary):
        assert frame[:12] + rebuilt(frame)[12:] == frame


@few
@given(templates())
def test_nothing_but_the_named_fields_and_the_checksums_differs_from_the_template(
    case: tuple[Any, dict[str, Any]],
) -> None:
    template, vary = case
    first = bytes(template)
    names = {name.partition(".")[2] for name in vary if not name.startswith("payload")} | set(COMPUTED)
    for frame in frames_of(template, vary):
        assert len(frame) == len(first)
        left, right = Ether(first), Ether(frame)
        while left.name != "NoPayload" and left.name != "Raw":
            assert type(left) is type(right)
            for name, value in left.fields.items():
                assert name in names or right.fields[name] == value, name
            left, right = left.payload, right.payload


@few
@given(st.integers(0, 2**128 - 1), st.integers(0, 2**70), st.integers(1, 9), st.integers(1, 2**40))
def test_a_span_counts_through_and_begins_again(first: int, length: int, every: int, step: int) -> None:
    last = min(first + length, 2**128 - 1)
    size = min(last - first + 1, 1 << 63)
    frames = frames_of(
        ETHER / IPv6(src="::", dst="::1") / UDP(), {"IPv6.src": Span(first, last, every, step)}, 30
    )
    for number, frame in enumerate(frames):
        assert int(ipaddress.IPv6Address(Ether(frame)[IPv6].src)) == first + (number // every) * step % size


def test_spans_take_networks_and_addresses_and_combine_to_distinct_flows() -> None:
    vary = {
        "IP.src": Span("10.1.0.0/24"),
        "UDP.sport": Span(1000, 1003, every=256),
        "Ether.src": Span("02:00:00:00:01:00", "02:00:00:00:01:0f"),
    }
    frames = [
        Ether(frame)
        for frame in frames_of(ETHER / IP(src="1.2.3.4", dst="10.0.0.1") / UDP(dport=53), vary, 1024)
    ]
    assert len({(frame[IP].src, frame[UDP].sport) for frame in frames}) == 1024
    assert (
        frames[0][IP].src == "10.1.0.0"
        and frames[255][IP].src == "10.1.0.255"
        and frames[256][IP].src == "10.1.0.0"
    )
    assert frames[256][UDP].sport == 1001
    assert [frames[number].src for number in (0, 15, 16)] == [
        "02:00:00:00:01:00",
        "02:00:00:00:01:0f",
        "02:00:00:00:01:00",
    ]


def test_draws_are_the_same_in_every_run_and_stay_within_bounds() -> None:
    template = ETHER / IP(src="1.2.3.4", dst="10.0.0.1") / TCP()
    vary = {"IP.src": Draw("198.18.0.0/15"), "TCP.sport": Draw(1024, 65535), "TCP.seq": Draw()}
    frames = frames_of(template, vary, 500)
    assert frames == frames_of(template, vary, 500)
    assert frames != frames_of(template, {**vary, "TCP.seq": Draw(seed=1)}, 500)
    seen = [Ether(frame) for frame in frames]
    assert all(ipaddress.ip_address(each[IP].src) in ipaddress.ip_network("198.18.0.0/15") for each in seen)
    assert all(each[TCP].sport >= 1024 for each in seen)
    assert len({each[IP].src for each in seen}) > 400


def test_a_conversation_is_shifted_as_a_whole() -> None:
    mine, other = ({"src": "10.0.0.1", "dst": "10.0.0.9"}, {"src": "10.0.0.9", "dst": "10.0.0.1"})
    back = Ether(src=ETHER.dst, dst=ETHER.src)
    talk = [
        ETHER / IP(**mine, id=5) / TCP(sport=1000, dport=80, seq=100, flags="S"),
        back / IP(**other, id=9) / TCP(sport=80, dport=1000, seq=700, ack=101, flags="SA"),
        ETHER / IP(**mine, id=6) / TCP(sport=1000, dport=80, seq=101, ack=701, flags="A"),
        ETHER / IP(**mine, id=7) / TCP(sport=1000, dport=80, seq=101, ack=701, flags="PA") / b"GET",
        back / IP(**other, id=10) / TCP(sport=80, dport=1000, seq=701, ack=104, flags="RA"),
    ]
    vary = {
        "IP.src": Values(["192.0.2.7"]),
        "TCP.sport": Values([4000]),
        "TCP.seq": Values([2**32 - 1]),
        "TCP.ack": Values([50]),
        "IP.id": Values([65535]),
        "Ether.src": Values(["02:00:00:00:00:77"]),
    }
    frames = frames_of(talk, vary, 3)
    assert frames[:5] == frames[5:10] == frames[10:]
    seen = [Ether(frame) for frame in frames[:5]]
    assert [(each[IP].src, each[IP].dst) for each in seen[:2]] == [
        ("192.0.2.7", "10.0.0.9"),
        ("10.0.0.9", "192.0.2.7"),
    ]
    assert [(each[TCP].sport, each[TCP].dport) for each in seen[:2]] == [(4000, 80), (80, 4000)]
    assert [(each[TCP].seq, each[TCP].ack) for each in seen] == [
        (2**32 - 1, 0),
        (50, 0),
        (0, 51),
        (0, 51),
        (51, 3),
    ]
    assert [each[IP].id for each in seen] == [65535, 3, 0, 1, 4]
    assert [(each.src, each.dst)[each.dst == "02:00:00:00:00:77"] for each in seen] == [
        "02:00:00:00:00:77"
    ] * 5
    assert all(rebuilt(frame) == frame for frame in frames)


def test_what_an_icmp_error_quotes_varies_with_it_and_both_checksums_are_right() -> None:
    quoted = IP(src="10.0.0.9", dst="10.0.0.1", id=7) / UDP(sport=40000, dport=40001) / b"12345678"
    template = ETHER / IP(src="10.0.0.1", dst="10.0.0.9") / ICMP(type=3, code=3) / quoted
    vary = {
        "IP.src": Span("10.1.0.0/16"),
        "IPerror.dst": Span("10.1.0.0/16"),
        "UDPerror.dport": Span(1, 9),
        "payload[0:2]": Draw(),
    }
    for number, frame in enumerate(frames_of(template, vary)):
        seen = Ether(frame)
        assert seen[IP].src == seen["IPerror"].dst and seen["UDPerror"].dport == number % 9 + 1
        assert rebuilt(frame) == frame


@pytest.mark.parametrize(
    ("template", "vary"),
    [
        (
            ETHER / IP(src="1.1.1.1", dst="2.2.2.2") / IP(src="3.3.3.3", dst="4.4.4.4") / TCP(),
            {"IP:2.src": Draw(), "TCP.seq": Draw()},
        ),
        (
            ETHER
            / IP(src="1.1.1.1", dst="2.2.2.2")
            / GRE(chksum_present=1)
            / IP(src="3.3.3.3", dst="4.4.4.4")
            / UDP(),
            {"IP:2.dst": Draw()},
        ),
        (
            ETHER / IPv6(src="fd00::1", dst="fd00::2") / IP(src="3.3.3.3", dst="4.4.4.4") / TCP(),
            {"IP.src": Draw(), "IPv6.src": Draw()},
        ),
        (
            ETHER / Dot1Q(vlan=5) / IP(src="1.1.1.1", dst="2.2.2.2") / TCP(),
            {"IP.src": Draw(), "TCP.dport": Draw()},
        ),
    ],
)
def test_tunnels_and_tags(template: Any, vary: dict[str, Any]) -> None:
    frames = frames_of(template, vary)
    assert len(set(frames)) == len(frames)
    assert all(rebuilt(frame) == frame for frame in frames)


def test_a_checksum_that_is_wrong_on_purpose_stays_wrong_by_as_much() -> None:
    template = ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(flags="S")
    good = Ether(bytes(template))[TCP].chksum
    template[TCP].chksum = (good + 5) % 0xFFFF
    for frame in frames_of(template, {"TCP.sport": Draw(), "IP.src": Draw()}):
        right = Ether(rebuilt(frame))[TCP].chksum
        assert (Ether(frame)[TCP].chksum - right) % 0xFFFF == 5


def test_udp_over_ipv4_without_checksum_stays_so_and_a_computed_0_is_written_as_ffff() -> None:
    template = (
        ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=40000, dport=40001, chksum=0) / b"12345678"
    )
    assert all(Ether(frame)[UDP].chksum == 0 for frame in frames_of(template, {"UDP.sport": Draw()}))
    del template[UDP].chksum
    every = frames_of(template, {"payload[0:2]": Span(0, 65535)}, 65536)
    found = [Ether(frame)[UDP].chksum for frame in every if frame[40:42] in (b"\xff\xff", b"\0\0")]
    assert found == [0xFFFF]


def test_a_first_fragment_keeps_a_checksum_over_what_it_does_not_have() -> None:
    whole = Ether(
        bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=40000, dport=40001) / bytes(range(64)))
    )
    whole[IP].src, whole[UDP].sport = "10.0.0.1", 40000
    first = ETHER / IP(src="10.0.0.1", dst="10.0.0.2", flags="MF", proto=17) / Raw(bytes(whole[UDP])[:32])
    frame = frames_of(Ether(bytes(first)), {"IP.src": Values(["10.9.8.7"]), "UDP.sport": Values([77])}, 1)[0]
    del whole[UDP].chksum
    whole[IP].src, whole[UDP].sport = "10.9.8.7", 77
    assert Ether(frame)[UDP].chksum == Ether(bytes(whole))[UDP].chksum


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ({"IP.src": Span("fd00::/64")}, "do not hold"),
        ({"TCP.sport": Span(1, 65536)}, "do not hold"),
        ({"UDP.sport": Draw()}, "no frame of the template has a field"),
        ({"TCP.flags": Draw()}, "cannot vary"),
        ({"nonsense": Draw()}, "not of the form"),
        ({"payload[0:9]": Draw()}, "1 to 8 bytes"),
        ({"payload[0:4]": Draw()}, "no frame of the template has a field"),
        ({"IP:2.src": Draw()}, "no frame of the template has a field"),
    ],
)
def test_a_variation_that_cannot_be_is_refused(vary: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        frames_of(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(), vary)


def test_sctp_varies_in_its_addresses_only() -> None:
    template = ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / SCTP(sport=1, dport=2) / SCTPChunkInit()
    assert len(set(frames_of(template, {"IP.src": Span("10.1.0.0/16")}))) == 20
    with pytest.raises(UsageError, match="SCTP"):
        frames_of(template, {"SCTP.sport": Draw()})


@pytest.mark.parametrize(
    "options",
    [
        {"flows": 0},
        {"flows": 1 << 21},
        {"count": 0},
        {"rate": 0.0},
        {"rate": float("inf")},
        {"seconds": 0},
        {"seconds": 1e6},
        {"workers": 0},
    ],
)
def test_a_stream_has_bounds(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Stream(ETHER, **options)


def test_too_many_long_packets_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        compile_stream(
            Stream(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / bytes(1400), flows=1 << 20)
        )


@pytest.mark.parametrize(
    "make", [lambda: Span(5, 4), lambda: Span(1, 2, every=0), lambda: Values([]), lambda: number_of("10.0.0")]
)
def test_values_that_are_none(make: Any) -> None:
    with pytest.raises(UsageError):
        make()


def test_what_a_stream_plans() -> None:
    assert Stream([ETHER, ETHER], flows=10).planned == 20
    assert Stream(ETHER, count=7, seconds=1.0).planned == 7
    assert Stream(ETHER, rate=100.0, seconds=2.5).planned == 250
    assert Stream(ETHER, seconds=1.0).planned is None


def test_a_guest_is_refused() -> None:
    guest = object.__new__(GuestNode)
    guest.name = "lvs"
    with pytest.raises(UsageError, match="machine's own kernel"):
        Engine(guest, "lvs-eth0")


# -- decoding --------------------------------------------------------------------------------------


def counted(frames: list[bytes], room: int = 128) -> tuple[dict[Flow, int], int]:
    # what is behind a frame must not be looked at
    rows = np.full((len(frames), room), 0xAA, np.uint8)
    for row, frame in zip(rows, frames, strict=True):
        row[: len(frame[:room])] = np.frombuffer(frame[:room], np.uint8)
    table = FlowTable()
    table.add(records_of(rows, np.array([min(len(frame), room) for frame in frames])))
    return table.flows().table, table.other


def expected(frame: bytes) -> Flow:
    packet = Ether(frame)
    network = packet[IP] if IP in packet else packet[IPv6]
    version, protocol = (4, network.proto) if IP in packet else (6, network.nh)
    ports = (0, 0)
    for layer in (TCP, UDP):
        if layer in network:
            ports = network[layer].sport, network[layer].dport
    for layer in (ICMP, ICMPv6EchoRequest):
        if layer in network:
            ports = network[layer].id, 0
    source, destination = (str(ipaddress.ip_address(address)) for address in (network.src, network.dst))
    return Flow(version, protocol, source, ports[0], destination, ports[1])


@few
@given(st.lists(templates(), min_size=1, max_size=4))
def test_flows_are_read_from_frames_as_scapy_reads_them(cases: list[tuple[Any, dict[str, Any]]]) -> None:
    frames = [frame for template, vary in cases for frame in frames_of(template, vary, 7)]
    table, other = counted(frames)
    assert table == Counter(expected(frame) for frame in frames)
    assert other == 0


def test_what_has_no_ports_has_none() -> None:
    addresses = {"src": "10.0.0.1", "dst": "10.0.0.2"}
    option = bytes(ETHER / IP(**addresses, options=[b"\x94\x04\0\0"]) / UDP(sport=1, dport=2))
    frames = [
        option,
        bytes(ETHER / IP(**addresses, frag=3, proto=17) / b"12345678"),
        bytes(ETHER / IP(**addresses, proto=17) / b"1234"),
        bytes(ETHER / IP(**addresses) / ICMP(type=3) / bytes(40)),
        bytes(Ether(type=0x0806) / bytes(46)),
        bytes(Ether(type=0x0800)),
    ]
    table, other = counted(frames)
    assert table == {
        Flow(4, 17, "10.0.0.1", 1, "10.0.0.2", 2): 1,
        Flow(4, 17, "10.0.0.1", 0, "10.0.0.2", 0): 2,
        Flow(4, 1, "10.0.0.1", 0, "10.0.0.2", 0): 1,
    }
    assert other == 2


@few
@given(st.lists(st.lists(st.integers(0, 5), max_size=30), max_size=6))
def test_counts_add_up_over_many_looks(parts: list[list[int]]) -> None:
    table = FlowTable()
    for part in parts:
        rows = np.zeros((len(part), RECORD), np.uint8)
        rows[:, 0], rows[:, 9] = 4, part
        table.add(rows)
        table.flows()
    counts = Counter(number for part in parts for number in part)
    assert table.flows().table == {
        Flow(4, 0, f"0.{number}.0.0", 0, "0.0.0.0", 0): count for number, count in counts.items()
    }


# -- results ---------------------------------------------------------------------------------------


def test_rates_are_what_was_sent_and_what_arrived() -> None:
    sent = Sent(sent=990, planned=1000, seconds=1.0, wanted_rate=1000.0, late=0, worst_late=0.0, workers=1)
    assert sent.rate == 990 and sent.rate_error == pytest.approx(-0.01)
    assert Sent(0, None, 0.0, None, 0, 0.0, 1).rate == 0.0
    received = Received(packets=900, total_bytes=0, dropped=101, other=0, first=10.0, last=11.0)
    assert received.arrived == 1001 and received.rate == 1000
    assert Received(0, 0, 0, 0, None, None).rate == 0.0
    assert len(Flows(np.zeros((0, RECORD), np.uint8), np.zeros(0, np.int64))) == 0
