"""Any sync message comes back as it was, and no bytes upset its reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.config import conf
from scapy.layers.inet import UDP

from lvslab.traffic.layers import (
    IpVsSeq,
    SyncConnV0,
    SyncConnV4,
    SyncConnV6,
    SyncMessage,
    SyncMessageV0,
    SyncOption,
    SyncPeData,
    SyncPeName,
    SyncSeqData,
    decode,
)
from tests.unit.layer_bytes import RECORDED_V0, RECORDED_V1, RECORDED_V6, U8, U16, U32, V4, V6, raw, renewed

OPTION = st.one_of(
    st.builds(lambda i, o: SyncSeqData(in_seq=IpVsSeq(init_seq=i), out_seq=IpVsSeq(delta=o)), U32, U32),
    st.builds(lambda data: SyncPeData(pe_data=data), st.binary(min_size=1, max_size=255)),
    st.builds(lambda data: SyncPeName(pe_name=data), st.binary(min_size=1, max_size=16)),
    st.builds(
        lambda kind, data: SyncOption(type=kind | 0x40, data=data),
        st.integers(4, 63),
        st.binary(min_size=1, max_size=255),
    ),
)
NUMBERS = {"protocol": U8, "state": U16, "cport": U16, "vport": U16, "dport": U16}
TIMES = {"flags": U32, "fwmark": U32, "timeout": U32, "options": st.lists(OPTION, max_size=3, unique_by=type)}


def entries(kind: Any, address: Any, **more: Any) -> Any:
    return st.fixed_dictionaries(
        {**NUMBERS, "caddr": address, "vaddr": address, "daddr": address, **more}
    ).map(lambda all_: kind(**all_))


CONNS = st.lists(st.one_of(entries(SyncConnV4, V4, **TIMES), entries(SyncConnV6, V6, **TIMES)), max_size=5)
CONNS_V0 = st.lists(entries(SyncConnV0, V4, flags=U16), max_size=5)


def values(entry: Any) -> dict[str, Any]:
    """Fields of an entry that somebody chooses."""
    computed = ("ver_size", "options", "in_seq", "out_seq")
    found = {
        field.name: entry.getfieldval(field.name) for field in entry.fields_desc if field.name not in computed
    }
    return {**found, "options": [bytes(option) for option in getattr(entry, "options", [])]}


@given(U8, CONNS)
def test_any_v1_message_comes_back(syncid: int, conns: list[Any]) -> None:
    data = bytes(SyncMessage(syncid=syncid, conns=conns))
    message = decode(data)
    assert message.syncid == syncid
    assert [type(each) for each in message.conns] == [type(each) for each in conns]
    assert [values(each) for each in message.conns] == [values(each) for each in conns]
    assert renewed(message) == data
    padded = sum((each.ver_size + 3) & ~3 for each in message.conns)
    assert len(data) <= 8 + padded < len(data) + 4  # only the last entry is not padded


@given(U8, CONNS_V0)
def test_any_v0_message_comes_back(syncid: int, conns: list[Any]) -> None:
    data = bytes(SyncMessageV0(syncid=syncid, conns=conns))
    if conns and data[5:8] == b"\x01\0\0":  # cannot be: byte 0 counts the entries
        assert data[0]
    message = decode(data)
    assert isinstance(message, SyncMessageV0)
    assert [values(each) for each in message.conns] == [values(each) for each in conns]
    assert renewed(message) == data


@pytest.fixture(autouse=True)
def strict_scapy() -> Iterator[None]:
    """scapy raises what it would otherwise hide when it reads a payload."""
    before, conf.debug_dissector = conf.debug_dissector, True
    yield
    conf.debug_dissector = before


def harmless(data: bytes) -> None:
    """Any bytes can be read, nothing of them is lost, and `decode` says ValueError or nothing."""
    assert not data or bytes(SyncMessage(data)) == data
    packet = UDP(bytes(UDP(sport=1, dport=8848, chksum=1) / data))
    assert bytes(packet.payload) == data
    packet.show(dump=True)
    try:
        message = decode(data)
    except ValueError:
        return
    assert len(message.conns) == message.nr_conns


@given(st.binary(max_size=200))
def test_no_bytes_upset_sync(data: bytes) -> None:
    harmless(data)


@given(
    st.sampled_from([RECORDED_V1, RECORDED_V0, RECORDED_V6]),
    st.lists(st.tuples(st.integers(0, 608), U8), max_size=4),
    st.data(),
)
def test_no_damage_upsets_sync(recorded: bytes, changes: list[tuple[int, int]], draw: st.DataObject) -> None:
    data = bytearray(recorded[: draw.draw(st.integers(0, len(recorded)))])
    for position, value in changes:
        if position < len(data):
            data[position] = value
    if len(data) >= 4 and draw.draw(st.booleans()):
        data[2:4] = len(data).to_bytes(2, "big")
    harmless(bytes(data))


@pytest.mark.parametrize("cut", range(len(RECORDED_V6)))
def test_every_truncation_is_refused(cut: int) -> None:
    data = bytearray(RECORDED_V6[:cut])
    with pytest.raises(ValueError):
        decode(bytes(data))
    if cut >= 8:
        data[2:4] = cut.to_bytes(2, "big")
        with pytest.raises(ValueError, match="entry 1 of 1"):
            decode(bytes(data))


def changed(position: int, value: str, more: bytes = b"") -> bytes:
    """RECORDED_V6 with other bytes at a position, bytes behind it, and the right size."""
    data = bytearray(RECORDED_V6)
    data[position : position + len(raw(value))] = raw(value)
    data += more
    data[2:4] = len(data).to_bytes(2, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0\0\0", "3 bytes are no sync message"),
        (RECORDED_V6 + b"\0", "says it has 80 bytes, but has 81"),
        (changed(8, "02"), "unknown type 2"),
        (changed(10, "1048"), "unknown version 1"),
        (changed(10, "0049"), "beyond the end"),
        (changed(10, "0047"), "less than 72"),
        (changed(4, "02"), "entry 2 of 2: 0 bytes are left"),
        (changed(4, "02", RECORDED_V6[8:16]), "entry 2 of 2: 8 bytes are left"),
        (changed(10, "0049", b"\1"), "1 bytes at its end are no whole option"),
        (changed(10, "004a", b"\2\0"), "2 bytes at its end are no whole option"),
        (changed(10, "004b", b"\2\2a"), "3 bytes at its end are no whole option"),
        (changed(10, "004b", b"\4\1a"), "unknown option 4"),
        (changed(10, "004b", b"\1\1a"), "SEQ_DATA of 1 bytes"),
        (changed(10, "005b", b"\3\x11" + bytes(17)), "PE_NAME of 17 bytes"),
        (changed(10, "004e", b"\2\1a\2\1b"), "PE_DATA found twice"),
        (raw("01 00 0004"), "entry 1 of 1: 0 bytes"),
        (RECORDED_V0[:3] + b"\x63" + RECORDED_V0[4:-1], "entry 4 of 4: 23 bytes"),
    ],
)
def test_what_a_backup_drops_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    """Sent to backups, Linux 6.1.176 and 7.2.7: for a wrong size, an unknown type and an option
    found twice they dropped the message from there on, for an unknown option that must be
    understood they left out the entry.
    """
    with pytest.raises(ValueError, match=reason):
        decode(data)
    assert bytes(SyncMessage(data)) == data


def test_what_a_backup_accepts() -> None:
    assert (
        decode(changed(10, "004b", b"\x44\1a")).conns[0].options[0].data == b"a"
    )  # unknown, but may be skipped
    assert (
        bytes(decode(RECORDED_V6[:2] + b"\0\x52" + RECORDED_V6[4:] + b"\0\0").payload) == b"\0\0"
    )  # bytes behind the last entry
    assert isinstance(
        SyncMessage(changed(6, "0001")), SyncMessageV0
    )  # spare is not 0: taken as version 0, with no entries
    assert isinstance(SyncMessage(changed(5, "02")), SyncMessageV0)


def test_what_the_header_cannot_say_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="256 entries"):
        bytes(SyncMessage(conns=[SyncConnV4()] * 256))
    assert decode(bytes(SyncMessage(conns=[SyncConnV4()] * 255))).nr_conns == 255
    with pytest.raises(ValueError, match="12 bits"):
        bytes(SyncConnV4(options=[SyncOption(type=64, data=bytes(255))] * 16))
    with pytest.raises(ValueError, match="at most 65535"):
        bytes(SyncMessage() / bytes(65528))
    assert len(bytes(SyncMessage() / bytes(65527))) == 65535
