"""The TOA option: read, written, and put into SYNs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, TCPOptions
from scapy.layers.inet6 import IPv6

from lvslab.traffic.layers import (
    Toa,
    find_toa,
    options_room,
    read_toa,
    register_toa,
    unregister_toa,
    with_toa,
)
from tests.unit.layer_bytes import U16, V4, V6, raw

TOA_IPV4 = raw(
    "fe 08",  # kind 254, length 8
    "9c41",  # port 40001
    "0a000065",  # 10.0.0.101
)
TOA_IPV6 = raw(
    "fd 14",  # kind 253, length 20
    "9c41",  # port 40001
    "fd000000000000000000000000000101",  # fd00::101
)
TOA_IPV6_DPVS = b"\xfe" + TOA_IPV6[1:]

TOAS = [
    (TOA_IPV4, Toa("10.0.0.101", 40001)),
    (TOA_IPV6, Toa("fd00::101", 40001, 253)),
    (TOA_IPV6_DPVS, Toa("fd00::101", 40001, 254)),
]
ANY_TOA = st.one_of(st.builds(Toa, V4, U16), st.builds(Toa, V6, U16, st.sampled_from([253, 254])))
SYN_OPTIONS = [
    ("MSS", 1460),
    ("SAckOK", b""),
    ("Timestamp", (1, 0)),
    ("NOP", None),
    ("WScale", 7),
]  # 20 bytes, as Linux sends


def syn(options: list[Any], **fields: Any) -> Any:
    return IP(src="10.0.1.1", dst="10.0.1.11") / TCP(
        sport=5001, dport=8080, flags="S", options=options, **fields
    )


def read(packet: Any) -> Any:
    """A packet as it comes back from the wire."""
    return type(packet)(bytes(packet))


@pytest.mark.parametrize(("option", "toa"), TOAS)
def test_toa_golden(option: bytes, toa: Toa) -> None:
    assert toa.pack() == option
    assert Toa.parse(option) == toa
    assert len(toa) == len(option)


@given(ANY_TOA)
def test_any_toa_comes_back(toa: Toa) -> None:
    assert Toa.parse(toa.pack()) == toa == read_toa(toa.pack())


@given(st.binary(max_size=40))
def test_no_bytes_upset_toa(data: bytes) -> None:
    read_toa(data)
    with contextlib.suppress(ValueError):
        assert Toa.parse(data).pack() == data


@given(ANY_TOA, st.data())
def test_a_truncated_toa_is_none(toa: Toa, data: st.DataObject) -> None:
    part = toa.pack()[: data.draw(st.integers(0, len(toa) - 1))]
    assert read_toa(part) is None
    with pytest.raises(ValueError, match="no whole TCP option"):
        Toa.parse(part)


@pytest.mark.parametrize(
    ("address", "port", "kind"),
    [
        ("10.0.0.101", 1, 253),  # kind 253 is for IPv6
        ("fd00::101", 1, 252),
        ("10.0.0.101", 65536, 254),
        ("10.0.0.101", -1, 254),
        ("fe80::1%eth0", 1, 254),
        ("client", 1, 254),
    ],
)
def test_what_is_no_toa_cannot_be_made(address: str, port: int, kind: int) -> None:
    with pytest.raises(ValueError):
        Toa(address, port, kind)


@pytest.mark.parametrize(
    "option",
    [b"\xfe\x04\xf9\x89", b"\xfd\x08" + TOA_IPV4[2:], b"\xfe\x0a" + bytes(8), b"\x08\x08" + bytes(6)],
)
def test_other_options_are_no_toa(option: bytes) -> None:
    """RFC 6994 experiments share kinds 253 and 254: the first is TCP Fast Open's old cookie
    request.
    """
    assert read_toa(option) is None
    with pytest.raises(ValueError, match="not a TOA option"):
        Toa.parse(option)
    assert read_toa(option + TOA_IPV4) == TOAS[0][1]  # the walk goes on behind it


@pytest.mark.parametrize(
    "before", [b"\x00", b"\x02\x01\x01\x01", b"\x02\x00\x01\x01", b"\x02\x29\x00\x00", b"\x02"]
)
def test_the_walk_ends_at_the_end_mark_and_at_broken_lengths(before: bytes) -> None:
    assert read_toa(before + TOA_IPV4) is None
    assert read_toa(TOA_IPV4 + before) == TOAS[0][1]


def test_the_announced_length_decides_where_scapy_sees_only_what_is_there() -> None:
    cut = bytearray(bytes(syn([(254, TOA_IPV4[2:])])))
    cut[41] = 20  # length of the option: beyond the header's end
    assert IP(bytes(cut))[TCP].options == [(254, TOA_IPV4[2:])]
    assert find_toa(IP(bytes(cut))) is None


@pytest.mark.parametrize(("option", "toa"), TOAS)
def test_toa_goes_before_all_other_options(option: bytes, toa: Toa) -> None:
    plain = read(syn(SYN_OPTIONS))
    done = read(with_toa(plain, toa))
    before, after = bytes(plain), bytes(done)
    assert after[40 : 40 + len(toa)] == option
    assert after[40 + len(toa) :] == before[40:]
    assert done[TCP].dataofs == plain[TCP].dataofs + len(toa) // 4
    assert done[IP].len == plain[IP].len + len(toa) == len(after)
    assert find_toa(done) == toa
    assert find_toa(plain) is None
    fresh = done.copy()
    del fresh[IP].chksum, fresh[TCP].chksum
    assert bytes(fresh) == after  # both checksums are those of the longer packet
    assert bytes(plain) == before


def test_toa_in_ipv6() -> None:
    plain = read(IPv6(src="fd00::1", dst="fd00::2") / TCP(options=[("MSS", 1440)]) / b"data")
    done = read(with_toa(plain, TOAS[2][1]))
    assert done.plen == plain.plen + 20
    assert find_toa(done) == TOAS[2][1]
    assert bytes(done[TCP].payload) == b"data"


@given(ANY_TOA, st.integers(0, 10))
def test_toa_fits_exactly_as_long_as_there_is_room(toa: Toa, words: int) -> None:
    full = read(syn([("NOP", None)] * 4 * words))
    assert options_room(full) == 40 - 4 * words
    if len(toa) <= 40 - 4 * words:
        assert find_toa(read(with_toa(full, toa))) == toa
    else:
        with pytest.raises(ValueError, match="do not fit"):
            with_toa(full, toa)
    assert find_toa(read(with_toa(full, toa, prune=True))) == toa


def test_padding_counts_as_used_as_in_the_data_offset() -> None:
    thirty_three = read(syn([(200, bytes(31))]))  # 33 bytes and three of padding
    assert options_room(thirty_three) == 4
    with pytest.raises(ValueError, match="8 bytes of TOA do not fit: 4 of 40"):
        with_toa(thirty_three, TOAS[0][1])


def test_pruning_takes_forged_options_but_not_real_ones() -> None:
    forged = read(
        syn(
            [
                *SYN_OPTIONS,
                (254, Toa("192.0.2.1", 1).pack()[2:]),
                (254, Toa("192.0.2.2", 2).pack()[2:]),
                ("NOP", None),
            ]
        )
    )
    done = read(with_toa(forged, TOAS[0][1], prune=True))
    assert [name for name, _ in done[TCP].options] == [254, "MSS", "SAckOK", "Timestamp", "WScale", "EOL"]
    assert find_toa(done) == TOAS[0][1]
    real = read(syn([(200, bytes(31))]))
    with pytest.raises(ValueError, match="do not fit"):
        with_toa(real, TOAS[0][1], prune=True)


def test_toa_needs_tcp() -> None:
    assert find_toa(IP() / UDP()) is None
    with pytest.raises(ValueError, match="not a TCP packet"):
        with_toa(IP() / UDP(), TOAS[0][1])


@pytest.fixture
def registered() -> Iterator[None]:
    register_toa()
    register_toa()  # twice is once
    yield
    unregister_toa()


def test_scapys_table_is_as_before_unless_asked() -> None:
    before = (dict(TCPOptions[0]), dict(TCPOptions[1]))
    assert 254 not in TCPOptions[0]
    register_toa()
    assert TCPOptions[1]["TOA"] == 254
    unregister_toa()
    unregister_toa()
    assert before == TCPOptions


def test_somebody_elses_entry_stays() -> None:
    TCPOptions[0][254] = ("Experiment", None)
    try:
        register_toa()
        assert TCPOptions[0][254] == ("Experiment", None)
        unregister_toa()
        assert TCPOptions[0][254] == ("Experiment", None)
    finally:
        del TCPOptions[0][254]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("toa", "shown"),
    [
        (TOAS[0][1], ("TOA", (40001, 10, 0, 0, 101))),
        (TOAS[1][1], ("TOA6", (40001, 0xFD00, 0, 0, 0, 0, 0, 0, 0x101))),
        (TOAS[2][1], ("TOA", TOA_IPV6[2:])),
    ],
)
def test_registered_toa_has_a_name_and_is_written_the_same(toa: Toa, shown: tuple[str, Any]) -> None:
    packet = read(with_toa(syn(SYN_OPTIONS[:1]), toa))
    assert packet[TCP].options[0] == shown
    assert find_toa(packet) == toa
    again = packet.copy()
    again[TCP].options = list(packet[TCP].options)
    assert bytes(again) == bytes(packet)
    other = Toa("10.0.0.102", 7)
    twice = read(with_toa(packet, other))
    assert find_toa(twice) == other  # the new one stands before the old
    assert len(twice[TCP].options) == len(packet[TCP].options) + 1
    full = read(with_toa(syn(SYN_OPTIONS), Toa("fd00::1", 1, toa.kind if len(toa) == 20 else 254)))
    pruned = read(with_toa(full, other, prune=True))
    assert [name for name, _ in pruned[TCP].options] == ["TOA", "MSS", "SAckOK", "Timestamp", "WScale", "EOL"]
