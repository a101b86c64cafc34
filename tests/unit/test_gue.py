"""GUE: recorded packets, both versions, options, checksums."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from lvslab.traffic.layers import Gue, remote_checksum
from tests.unit.layer_bytes import GUE_PLAIN, GUE_REMCSUM, U8, U16, U32, raw


def checksums_hold(packet: Any) -> bool:
    """Whether a packet has the checksums that scapy computes."""
    fresh = packet.copy()
    for layer in (IP, UDP, TCP):
        if layer in fresh:
            del fresh[layer].chksum
    return bytes(fresh) == bytes(packet)


def test_recorded_gue() -> None:
    packet = IP(GUE_PLAIN)
    gue = packet[Gue]
    assert (gue.version, gue.control, gue.hlen, gue.proto_ctype, int(gue.flags)) == (0, 0, 0, 4, 0)
    assert (gue.payload.src, gue.payload.dst, gue.payload[TCP].dport) == ("10.0.0.101", "10.0.0.10", 84)
    assert remote_checksum(gue) is None
    assert checksums_hold(gue.payload)
    assert checksums_hold(packet)
    assert bytes(Gue() / gue.payload) == GUE_PLAIN[28:]


def test_recorded_gue_with_remote_checksum_offload() -> None:
    gue = IP(GUE_REMCSUM)[Gue]
    assert (gue.hlen, str(gue.flags), gue.private_flags, gue.csum_start, gue.csum_offset) == (
        2,
        "PRIV",
        1 << 31,
        20,
        36,
    )
    written = Gue(flags="PRIV", private_flags=1 << 31, csum_start=20, csum_offset=36) / gue.payload
    assert bytes(written) == GUE_REMCSUM[28:]
    assert not checksums_hold(gue.payload)
    done = gue.payload.copy()
    done[TCP].chksum = remote_checksum(gue)
    assert checksums_hold(done)


def test_remote_checksum_outside_the_payload() -> None:
    for start, offset in ((5, 0), (0, 3)):
        gue = Gue(
            bytes(
                Gue(control=1, flags="PRIV", private_flags=1 << 31, csum_start=start, csum_offset=offset)
                / b"abcd"
            )
        )
        with pytest.raises(ValueError, match="of a payload of 4 bytes"):
            remote_checksum(gue)


@pytest.mark.parametrize(
    "inner", [IP(src="10.0.0.1", dst="10.0.0.2") / UDP(), IPv6(src="fd00::1", dst="fd00::2") / UDP()]
)
def test_gue_versions_0_and_1(inner: Any) -> None:
    data = bytes(inner)
    version0 = bytes(Gue() / inner)
    assert version0[:4] == raw("00 04 0000" if IP in inner else "00 29 0000")
    assert bytes(Gue(version0).payload) == data
    direct = UDP(bytes(UDP(sport=1, dport=6080, chksum=1) / inner))  # version 1: no header
    assert type(direct.payload) is type(inner)
    assert bytes(direct.payload) == data


@pytest.mark.parametrize(
    "data",
    [
        raw("00 04 00"),  # shorter than a header
        raw("01 04 0000 000000"),  # hlen 1, three bytes of options
        raw("50 00 0000"),  # version 1 around no IP
        raw("70 00 0000"),
        raw("80 04 0000"),  # versions 2 and 3
        raw("c0 04 0000"),
    ],
)
def test_what_is_no_gue_stays_raw(data: bytes) -> None:
    assert isinstance(Gue(data), Raw)
    assert bytes(Gue(data)) == data


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (
            raw("02 3b 8001 11111111 22222222"),
            raw("11111111 22222222"),
        ),  # an unknown flag: its field may come first
        (raw("00 3b 0001"), b""),  # PRIV, but no words of options: Linux drops it
        (raw("01 3b 0001 80000000"), b""),  # REMCSUM, but no words for it
        (raw("02 3b 0001 c0000000 22222222"), raw("22222222")),  # an unknown private flag
        (raw("01 3b 0000 33333333"), raw("33333333")),  # surplus options
        (raw("03 3b 0001 80000000 00140024 44444444"), raw("44444444")),
    ],
)  # protocol 59: nothing that scapy would read
def test_options_that_are_not_known_stay_as_they_are(data: bytes, rest: bytes) -> None:
    gue = Gue(data + b"\xff" * 4)
    assert gue.rest == rest
    gue.clear_cache()
    assert bytes(gue) == data + b"\xff" * 4


def test_control_messages_have_no_packet_inside() -> None:
    gue = Gue(raw("20 04 0000 45000000"))
    assert gue.control == 1
    assert isinstance(gue.payload, Raw)


def test_options_fill_at_most_31_words() -> None:
    assert bytes(Gue(control=1, rest=bytes(124)))[0] == 0x3F
    for length in (125, 128):
        with pytest.raises(ValueError, match="at most 124"):
            bytes(Gue(rest=bytes(length)))


@given(st.booleans(), U8, U32, U16, U16, st.integers(0, 29), st.binary(max_size=20))
def test_any_gue_comes_back(
    remote: bool, protocol: int, word: int, start: int, offset: int, words: int, payload: bytes
) -> None:
    more = (
        {"flags": 1, "private_flags": 1 << 31, "csum_start": start, "csum_offset": offset} if remote else {}
    )
    data = bytes(Gue(control=1, proto_ctype=protocol, rest=word.to_bytes(4, "big") * words, **more) / payload)
    gue = Gue(data)
    assert (gue.control, gue.proto_ctype, gue.hlen, len(gue.rest)) == (
        1,
        protocol,
        words + 2 * remote,
        4 * words,
    )
    assert bytes(gue.payload) == payload
    if remote:
        assert (gue.csum_start, gue.csum_offset) == (start, offset)
    gue.clear_cache()
    assert bytes(gue) == data


@given(
    st.binary(max_size=80).filter(
        lambda data: not data or (data[0] >> 6 != 1 and not (len(data) > 1 and data[1] in (4, 41)))
    )
)
def test_no_bytes_upset_gue(data: bytes) -> None:
    """But for what scapy's own IP layers make of an inner packet."""
    gue = Gue(data)
    assert bytes(gue) == data or not data
    gue.show(dump=True)
    if data and isinstance(gue, Gue):
        with contextlib.suppress(ValueError):
            remote_checksum(gue)
