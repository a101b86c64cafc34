"""The traffic engine's compiler without a network: its frames are those that scapy would build."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

from lvslab.errors import UsageError
from lvslab.lab.nodes import GuestNode
from lvslab.traffic.engine import Draw, Engine, Span, Stream, Values
from lvslab.traffic.engine.compile import compile_stream
from lvslab.traffic.engine.stream import number_of
from tests.unit.engine_frames import ETHER, few, frames_of, templates

COMPUTED = ("chksum", "cksum")
_SEEMS_TO_BE_DNS = (
    ETHER
    / IPv6(src="::", dst="::")
    / UDP(sport=40000, dport=40000)
    / bytes.fromhex("00000000000100000000000001000100400000000000")
)


def rebuilt(frame: bytes) -> bytes:
    """The frame as scapy makes it when it computes every checksum itself.

    What a port carries stays octets: by a number such as 53 scapy would read a message of DNS, and
    write another one.
    """
    packet: Packet = Ether(frame)
    layer = packet
    while layer and layer.name != "NoPayload":
        for name in COMPUTED:
            if name in layer.fields:
                del layer.fields[name]
        if isinstance(layer, (TCP, UDP)) and layer.payload:
            octets = layer.payload.original
            layer.remove_payload()
            layer.add_payload(Raw(octets))
        layer.clear_cache()
        layer.raw_packet_cache = None
        layer = layer.payload
    return bytes(packet)


@few
@given(templates())
@example((_SEEMS_TO_BE_DNS, {"IPv6.src": Span(0, 0), "UDP.sport": Draw(0, 90)}))
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
        left: Packet = Ether(first)
        right: Packet = Ether(frame)
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
