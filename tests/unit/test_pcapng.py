"""Capture files: what is written is read back to the nanosecond, and frames are decoded as what
they are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from lvslab.errors import LabError
from lvslab.runs.pcapng import CHECKSUM_PENDING, INBOUND, OUTBOUND, PcapngWriter
from lvslab.verify.frames import Frame, Outer, read_frames

T = 1_795_426_111_123_456_789
ETHER = Ether(src="02:00:00:00:01:00", dst="02:00:00:00:02:00")
SYN = IP(src="10.0.0.201", dst="10.0.0.10") / TCP(
    sport=40001,
    dport=80,
    seq=4294967295,
    flags="S",
    options=[("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)],
)


def written(path: Path, *packets: Any, comment: str = "") -> Path:
    with PcapngWriter(path, ["c1-eth0", "lvs-eth0"]) as file:
        for number, packet in enumerate(packets):
            file.write(0, T + number, bytes(packet), OUTBOUND, comment)
    return path


@pytest.fixture
def one(tmp_path: Path) -> Callable[..., Frame]:
    """Writes one packet and reads it back."""

    def go(packet: Any, comment: str = "") -> Frame:
        (frame,) = read_frames(written(tmp_path / "one.pcapng", packet, comment=comment))
        return frame

    return go


# -- the file --------------------------------------------------------------------------------------


def test_time_interface_direction_and_bytes_are_read_back(tmp_path: Path) -> None:
    raw = bytes(ETHER / SYN)
    with PcapngWriter(tmp_path / "a.pcapng", ["c1-eth0", "lvs-eth0"]) as file:
        file.write(0, T, raw, OUTBOUND)
        file.write(1, T + 1, raw, INBOUND)
    found = read_frames(tmp_path / "a.pcapng")
    assert [(each.number, each.t, each.interface, each.sent) for each in found] == [
        (1, T, "c1-eth0", True),
        (2, T + 1, "lvs-eth0", False),
    ]
    assert all(each.raw == raw for each in found)
    assert (found[0].eth_src, found[0].eth_dst) == ("02:00:00:00:01:00", "02:00:00:00:02:00")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 2**63 - 1), st.binary(min_size=14, max_size=70), st.booleans()
        ),
        max_size=6,
    )
)
def test_any_frames_come_back_in_the_order_of_time_with_their_numbers(
    tmp_path: Path, frames: list[tuple[int, int, bytes, bool]]
) -> None:
    names = ["a", "long-name-eth12", "b-eth0"]
    with PcapngWriter(tmp_path / "any.pcapng", names) as file:
        for interface, stamp, data, sent in frames:
            # EtherType 0x88b5 is set aside for experiments: nothing in there is decoded
            file.write(
                interface,
                stamp,
                data[:12] + b"\x88\xb5" + data[14:],
                OUTBOUND if sent else INBOUND,
                "a comment" if sent else "",
            )
    wanted = [
        (number, stamp, names[interface], sent, len(data))
        for number, (interface, stamp, data, sent) in enumerate(frames, start=1)
    ]
    found = read_frames(tmp_path / "any.pcapng")
    assert [(each.number, each.t, each.interface, each.sent, len(each.raw)) for each in found] == sorted(
        wanted, key=lambda each: each[1]
    )


def test_a_capture_without_frames_is_empty_and_no_error(tmp_path: Path) -> None:
    assert read_frames(written(tmp_path / "none.pcapng")) == []


@pytest.mark.parametrize("content", [b"", b"not a capture at all, but long enough", b"\x0a\x0d\x0d\x0a"])
def test_a_file_that_is_no_capture_is_an_error_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pcapng").write_bytes(content)
    with pytest.raises(LabError, match=r"bad\.pcapng: cannot be read as a capture"):
        read_frames(tmp_path / "bad.pcapng")


def test_a_missing_capture_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"gone\.pcapng: cannot be read as a capture: .*No such file"):
        read_frames(tmp_path / "gone.pcapng")


def test_other_programs_find_the_file_well_formed(tmp_path: Path) -> None:
    data = written(tmp_path / "a.pcapng", ETHER / SYN, ETHER / SYN / b"x", comment="odd").read_bytes()
    kinds, position = [], 0
    while position < len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        assert length % 4 == 0 and data[position + length - 4 : position + length] == length.to_bytes(
            4, "little"
        )
        kinds.append(int.from_bytes(data[position : position + 4], "little"))
        position += length
    assert kinds == [0x0A0D0D0A, 1, 1, 6, 6]


# -- what is in a frame ----------------------------------------------------------------------------


def test_a_tcp_segment_is_decoded(one: Callable[..., Frame]) -> None:
    packet = one(ETHER / SYN).ip
    assert packet is not None
    assert (packet.src, packet.sport, packet.dst, packet.dport) == ("10.0.0.201", 40001, "10.0.0.10", 80)
    assert (packet.protocol, packet.flags, packet.seq, packet.ttl, packet.payload, packet.outer) == (
        "TCP",
        "S",
        4294967295,
        64,
        b"",
        None,
    )
    assert packet.options == bytes.fromhex("020405b4 0402 01 030307 00") + b"" or packet.options[
        :4
    ] == bytes.fromhex("020405b4")
    assert packet.describe() == "SYN seq=4294967295"


@pytest.mark.parametrize(
    ("flags", "payload", "words"),
    [
        ("SA", b"", "SYN-ACK seq=1 ack=2"),
        ("PA", b"hello", "PSH-ACK seq=1 ack=2 5 bytes"),
        ("R", b"", "RST seq=1"),
        ("FA", b"", "FIN-ACK seq=1 ack=2"),
        ("", b"", "no flags seq=1"),
    ],
)
def test_a_segment_is_described_in_a_few_words(
    one: Callable[..., Frame], flags: str, payload: bytes, words: str
) -> None:
    packet = one(
        ETHER
        / IP(src="10.0.0.1", dst="10.0.0.2")
        / TCP(sport=1, dport=2, seq=1, ack=2, flags=flags)
        / payload
    ).ip
    assert packet is not None and packet.describe() == words and packet.payload == payload


def test_a_datagram_is_decoded(one: Callable[..., Frame]) -> None:
    packet = one(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", ttl=7) / UDP(sport=5300, dport=40001) / b"rs1").ip
    assert packet is not None
    assert (packet.protocol, packet.sport, packet.dport, packet.payload, packet.ttl) == (
        "UDP",
        5300,
        40001,
        b"rs1",
        7,
    )
    assert packet.describe() == "datagram, 3 bytes"


def test_an_echo_has_its_identifier_in_place_of_ports(one: Callable[..., Frame]) -> None:
    packet = one(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=8, id=40001, seq=3) / b"ping").ip
    assert packet is not None
    assert (packet.protocol, packet.sport, packet.dport, packet.seq, packet.payload) == (
        "ICMP",
        40001,
        40001,
        3,
        b"ping",
    )
    assert packet.describe() == "echo-request id=40001 seq=3"


def test_an_icmp_error_says_what_it_is(one: Callable[..., Frame]) -> None:
    packet = one(ETHER / IP(src="10.0.0.1", dst="10.0.0.201") / ICMP(type=3, code=1) / SYN).ip
    assert (
        packet is not None
        and packet.describe() == "dest-unreach code=1"
        and (packet.sport, packet.dport) == (0, 0)
    )


def test_a_tunnelled_packet_is_the_inner_one_with_its_outer_header(one: Callable[..., Frame]) -> None:
    packet = one(ETHER / IP(src="10.0.0.1", dst="10.0.2.11", ttl=63) / SYN).ip
    assert packet is not None
    assert packet.outer == Outer("10.0.0.1", "10.0.2.11", 4, 63)
    assert (packet.src, packet.dst, packet.protocol, packet.dport, packet.ttl) == (
        "10.0.0.201",
        "10.0.0.10",
        "TCP",
        80,
        64,
    )


@pytest.mark.parametrize(("operation", "word"), [(1, "who-has"), (2, "is-at"), (3, "3")])
def test_an_arp_message_is_decoded(one: Callable[..., Frame], operation: int, word: str) -> None:
    frame = one(ETHER / ARP(op=operation, hwsrc="02:00:00:00:05:00", psrc="10.0.0.10", pdst="10.0.0.201"))
    assert frame.ip is None and frame.arp is not None
    assert (frame.arp.operation, frame.arp.sender_mac, frame.arp.sender_ip, frame.arp.target_ip) == (
        word,
        "02:00:00:00:05:00",
        "10.0.0.10",
        "10.0.0.201",
    )


def test_frames_of_other_protocols_are_kept_and_not_decoded(one: Callable[..., Frame]) -> None:
    frame = one(ETHER / IPv6(src="fe80::1", dst="fe80::2") / UDP())
    assert (frame.ip, frame.arp, frame.number) == (None, None, 1)


def test_the_padding_of_a_short_frame_is_no_payload(one: Callable[..., Frame]) -> None:
    packet = one(bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(flags="A")) + bytes(6)).ip
    assert packet is not None and packet.payload == b"" and packet.checksums is True


# -- checksums -------------------------------------------------------------------------------------

BODIES = {
    "TCP": SYN,
    "TCP with data": SYN / b"data",
    "UDP": IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"hello",
    "ICMP": IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=1) / b"ping",
    "tunnel": IP(src="10.0.0.1", dst="10.0.2.11") / SYN,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_right_checksums_are_right(one: Callable[..., Frame], body: Any) -> None:
    packet = one(ETHER / body).ip
    assert packet is not None and packet.checksums is True


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_damaged_transport_part_has_a_wrong_checksum(one: Callable[..., Frame], body: Any) -> None:
    raw = bytearray(bytes(ETHER / body))
    raw[-1] ^= 0xFF
    packet = one(bytes(raw)).ip
    assert packet is not None and packet.checksums is False


@pytest.mark.parametrize(
    ("where", "body"), [(14 + 8, SYN), (14 + 8, BODIES["tunnel"]), (14 + 20 + 8, BODIES["tunnel"])]
)
def test_a_damaged_header_has_a_wrong_checksum(one: Callable[..., Frame], where: int, body: Any) -> None:
    raw = bytearray(bytes(ETHER / body))
    raw[where] ^= 0x01  # the TTL of the outer or the inner header
    packet = one(bytes(raw)).ip
    assert packet is not None and packet.checksums is False


@pytest.mark.parametrize("damaged", [False, True])
def test_a_checksum_that_was_left_to_the_card_is_not_judged(one: Callable[..., Frame], damaged: bool) -> None:
    raw = bytearray(bytes(ETHER / SYN))
    raw[-1] ^= 0xFF * damaged
    packet = one(bytes(raw), CHECKSUM_PENDING).ip
    assert packet is not None and packet.checksums is None
    other = one(bytes(raw), "another comment").ip
    assert other is not None and other.checksums is not damaged


def test_a_datagram_without_checksum_is_right(one: Callable[..., Frame]) -> None:
    packet = one(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2, chksum=0) / b"hello").ip
    assert packet is not None and packet.checksums is True


@given(position=st.integers(14, 14 + 20 + 24 + 3), bit=st.integers(0, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_flipped_bit_in_a_packet_passes_for_the_right_one(tmp_path: Path, position: int, bit: int) -> None:
    raw = bytearray(bytes(ETHER / SYN / b"data"))
    raw[position] ^= 1 << bit
    (frame,) = read_frames(written(tmp_path / "flip.pcapng", bytes(raw)))
    assert frame.ip is None or frame.ip.checksums is False


# -- truncated -------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [1, 30, 100])
def test_a_truncated_capture_is_an_error(tmp_path: Path, missing: int) -> None:
    path = written(tmp_path / "cut.pcapng", ETHER / SYN, ETHER / SYN)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(LabError, match="cannot be read as a capture"):
        read_frames(path)
