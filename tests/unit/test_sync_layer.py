"""Sync datagrams as they were recorded, and as the kernel's structures say by hand."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import IP, UDP

from lvslab.traffic.layers import (
    ConnFlag,
    Forwarding,
    IpVsSeq,
    IpVsSeqV0,
    SyncConnV0,
    SyncConnV4,
    SyncConnV6,
    SyncMessage,
    SyncMessageV0,
    SyncSeqData,
    decode,
    flags_text,
    state_name,
)
from tests.unit.layer_bytes import RECORDED_V0, RECORDED_V1, RECORDED_V6, raw, renewed


@pytest.mark.parametrize("data", [RECORDED_V1, RECORDED_V0, RECORDED_V6])
def test_recorded_datagrams_are_read_and_written(data: bytes) -> None:
    message = decode(data)
    assert bytes(message) == data
    assert renewed(message) == data


def test_recorded_v1_fields() -> None:
    message = decode(RECORDED_V1)
    assert isinstance(message, SyncMessage)
    assert (
        message.reserved,
        message.syncid,
        message.size,
        message.nr_conns,
        message.version,
        message.spare,
    ) == (
        0,
        1,
        609,
        15,
        1,
        0,
    )
    assert {type(each) for each in message.conns} == {SyncConnV4}
    first = message.conns[0]
    assert (first.type, first.protocol, first.ver_size, first.flags, first.state) == (0, 6, 36, 0, 1)
    assert (first.caddr, first.cport, first.vaddr, first.vport) == ("10.0.0.101", 57028, "10.0.0.10", 80)
    assert (first.daddr, first.dport, first.fwmark, first.timeout) == ("10.0.1.12", 8080, 0, 900)
    sip = message.conns[-1]
    assert sip.ver_size == 49
    assert [(option.type, option.length) for option in sip.options] == [(2, 6), (3, 3)]
    assert (sip.options[0].pe_data, sip.options[1].pe_name) == (b"a1@lvs", b"sip")
    assert (sip.flags, state_name(sip.protocol, sip.flags, sip.state)) == (
        ConnFlag.TEMPLATE | ConnFlag.INACTIVE,
        "NONE",
    )


def test_recorded_states_have_the_names_that_ipvsadm_showed() -> None:
    def names(data: bytes) -> list[str]:
        return [state_name(each.protocol, each.flags, each.state) for each in decode(data).conns]

    recorded = names(RECORDED_V1)
    assert recorded[:2] == ["ESTABLISHED", "ESTABLISHED"]
    assert (recorded[9], recorded[8], recorded[12], recorded[14]) == ("ASSURED", "TIME_WAIT", "UDP", "NONE")
    assert names(RECORDED_V0) == ["CLOSE_WAIT", "CLOSE_WAIT", "TIME_WAIT", "TIME_WAIT"]


def test_recorded_v6_fields() -> None:
    (entry,) = decode(RECORDED_V6).conns
    assert isinstance(entry, SyncConnV6)
    assert (entry.caddr, entry.vaddr, entry.daddr) == ("fd00::101", "fd00::10", "fd01::11")
    assert (entry.cport, entry.vport, entry.dport, entry.timeout, entry.ver_size) == (
        56820,
        80,
        8081,
        900,
        72,
    )


def test_udp_port_8848_is_read_in_either_version() -> None:
    for data, kind in ((RECORDED_V1, SyncMessage), (RECORDED_V0, SyncMessageV0)):
        packet = IP(bytes(IP(dst="224.0.0.81", ttl=1) / UDP(sport=59830, dport=8848) / data))
        assert type(packet[UDP].payload) is kind
    assert (IP() / UDP() / SyncMessage())[UDP].dport == (IP() / UDP() / SyncMessageV0())[UDP].dport == 8848


def test_people_see_names() -> None:
    shown = str(decode(RECORDED_V1).show(dump=True))
    for words in (
        "MASQ+INACTIVE+TEMPLATE (0x1100)",
        "state     = ASSURED",
        "state     = TIME_WAIT",
        "protocol  = UDP",
        "PE_DATA",
    ):
        assert words in shown


BY_HAND_V1 = raw(
    "00 07 0062 02 01 0000",  # reserved, syncid 7, size 98, nr_conns 2, version 1, spare
    "00",  # type: IPv4
    "06",  # protocol TCP
    "003e",  # ver_size: version 0, 36 + 26 bytes
    "00000600",  # flags MASQ, IN_SEQ and OUT_SEQ
    "0001",  # ESTABLISHED
    "9c41 0015 0015",  # cport 40001, vport 21, dport 21
    "0000002a",  # fwmark 42
    "00000384",  # timeout 900 s
    "0a000065 0a00000a 0a00010b",
    "01 18",  # IPVS_OPT_SEQ_DATA, 24 bytes
    "00000001 00000002 ffffffff",  # in_seq: init_seq, delta, previous_delta
    "80000000 00000004 00000005",  # out_seq
    "0000",  # 62 bytes: two of padding
)
BY_HAND_SECOND = raw(
    "00 84 0024",  # IPv4, SCTP, 36 bytes
    "00000083",  # DROUTE, NOOUTPUT
    # ESTABLISHED, ports 1 2 3, no timeout
    "0008 0001 0002 0003 00000000 00000000 0a000001 0a000002 0a000003",
)


def by_hand_v1() -> Any:
    seq = SyncSeqData(
        in_seq=IpVsSeq(init_seq=1, delta=2, previous_delta=0xFFFFFFFF),
        out_seq=IpVsSeq(init_seq=1 << 31, delta=4),
    )
    seq.out_seq.previous_delta = 5
    first = SyncConnV4(
        protocol="TCP",
        flags=Forwarding.MASQ | ConnFlag.IN_SEQ | ConnFlag.OUT_SEQ,
        state="ESTABLISHED",
        cport=40001,
        vport=21,
        dport=21,
        fwmark=42,
        timeout=900,
        caddr="10.0.0.101",
        vaddr="10.0.0.10",
        daddr="10.0.1.11",
        options=[seq],
    )
    second = SyncConnV4(
        protocol=132, flags=Forwarding.DROUTE | ConnFlag.NOOUTPUT, state=8, cport=1, vport=2, dport=3
    )
    second.caddr, second.vaddr, second.daddr = "10.0.0.1", "10.0.0.2", "10.0.0.3"
    return SyncMessage(syncid=7, conns=[first, second])


def test_v1_by_hand() -> None:
    whole = bytearray(BY_HAND_V1 + BY_HAND_SECOND)
    whole[2:4] = len(whole).to_bytes(2, "big")
    assert len(whole) == 8 + 62 + 2 + 36
    assert bytes(by_hand_v1()) == whole
    message = decode(bytes(whole))
    assert message.conns[0].options[0].out_seq.init_seq == 1 << 31
    assert message.conns[0].options[0].in_seq.previous_delta == 0xFFFFFFFF
    assert flags_text(message.conns[1].flags) == "DROUTE+NOOUTPUT"
    assert state_name(132, 0, message.conns[1].state) == "ESTABLISHED"


def test_v0_by_hand() -> None:
    data = raw(
        "02 05 004c",  # nr_conns 2, syncid 5, size 76
        # reserved, TCP, cport, vport, dport, caddr, vaddr, daddr
        "00 06 9c41 0050 1f90 0a000065 0a00000a 0a00010b",
        "0203 0001",  # flags DROUTE and OUT_SEQ, ESTABLISHED
        # in_seq and out_seq as x86 has them in memory
        "01000000 02000000 03000000 04000000 05000000 06000000",
        "00 11 9c42 0035 0035 0a000065 0a00000a 0a00010b 0102 0000",  # UDP, TUNNEL and INACTIVE
    )
    seqs = {
        "in_seq": IpVsSeqV0(init_seq=1, delta=2, previous_delta=3),
        "out_seq": IpVsSeqV0(init_seq=4, delta=5, previous_delta=6),
    }
    addresses = {"caddr": "10.0.0.101", "vaddr": "10.0.0.10", "daddr": "10.0.1.11"}
    first = SyncConnV0(flags=0x203, state=1, cport=40001, vport=80, dport=8080, **addresses, **seqs)
    second = SyncConnV0(protocol=17, flags=0x102, cport=40002, vport=53, dport=53, **addresses)
    assert bytes(SyncMessageV0(syncid=5, conns=[first, second])) == data
    message = decode(data)
    assert isinstance(message, SyncMessageV0)
    assert message.conns[0].out_seq.previous_delta == 6
    assert flags_text(message.conns[1].flags) == "TUNNEL+INACTIVE"


def test_an_empty_message_of_each_version() -> None:
    assert bytes(SyncMessage()) == raw("0000 0008 00 01 0000")
    assert bytes(SyncMessageV0()) == raw("0000 0004")
    assert decode(bytes(SyncMessage())).conns == decode(bytes(SyncMessageV0())).conns == []


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, "MASQ"),
        (3, "DROUTE"),
        (7, "method 7"),
        (0x1101, "LOCALNODE+INACTIVE+TEMPLATE"),
        (0x80000002, "TUNNEL+0x80000000"),
    ],
)
def test_flags_text(flags: int, text: str) -> None:
    assert flags_text(flags) == text


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        (6, "NONE ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK LISTEN SYNACK"),
        (17, "UDP"),
        (
            132,
            (
                "NONE INIT1 INIT C-SENT C-REPLIED C-WAIT COOKIE C-ECHOED ESTABLISHED S-SENT S-RECEIVED"
                " S-ACK-SENT REJECTED CLOSED"
            ),
        ),
    ],
)
def test_state_names(protocol: int, names: str) -> None:
    """As `ipvsadm -Lnc` showed them at backups, Linux 6.1.176 and 7.2.7, that were sent an entry in
    each state.
    """
    assert [state_name(protocol, 0, state) for state in range(len(names.split()))] == names.split()


def test_states_without_a_name_are_numbers() -> None:
    assert [state_name(6, 0, 10), state_name(6, 0, 11), state_name(50, 0, 0), state_name(0, 0x1000, 1)] == [
        "SYNACK",
        "11",
        "0",
        "ASSURED",
    ]
