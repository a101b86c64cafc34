"""Entries of a message, one a connection, and their parts."""

from __future__ import annotations

from typing import Any

from scapy.fields import (
    ByteEnumField,
    ByteField,
    ConditionalField,
    FieldLenField,
    IntField,
    IP6Field,
    IPField,
    LEIntField,
    MultiEnumField,
    PacketLenField,
    PacketListField,
    ShortField,
    StrLenField,
    XIntField,
    XShortField,
)
from scapy.packet import Packet

from lvslab.traffic.layers.sync.words import (
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    MAY_SKIP,
    PE_DATA,
    PE_NAME,
    SEQ,
    SEQ_DATA,
    SEQUENCE_FLAGS,
    SEQUENCES,
    SIZE_MASK,
    STATES,
    TEMPLATE,
    TYPE_INET6,
    ConnFlag,
    flags_text,
)

# -- fields ----------------------------------------------------------------------------------------


def _state_kind(entry: Packet | None) -> int:
    """Which table of `STATES` an entry's state is of."""
    assert entry is not None
    return TEMPLATE if entry.flags & ConnFlag.TEMPLATE else int(entry.protocol)


class _FlagsV1(XIntField):
    """All 32 bits as one number, shown by their names."""

    def i2repr(self, pkt: Packet | None, x: int) -> str:
        return f"{flags_text(x)} ({x:#x})"


class _FlagsV0(XShortField):
    """The low 16 bits as one number, shown by their names."""

    def i2repr(self, pkt: Packet | None, x: int) -> str:
        return f"{flags_text(x)} ({x:#x})"


class _Options(PacketListField):
    """Options of a version 1 entry up to the first that is not whole; what is left becomes the
    entry's payload.
    """

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[Any]]:
        found = []
        while len(s) > 2 and 0 < s[1] <= len(s) - 2:
            option, s = s[: 2 + s[1]], s[2 + s[1] :]
            found.append(_option_class(option)(option))
        return s, found


# -- parts of an entry -----------------------------------------------------------------------------


class IpVsSeq(Packet):
    """struct ip_vs_seq: how sequence numbers of one direction are shifted.

    Attributes:
        init_seq: from this sequence number on, delta is added.
        delta, previous_delta: shift of sequence numbers, now and before the packet that was resized
            last.
    """

    name = "ip_vs_seq"
    fields_desc = [IntField("init_seq", 0), IntField("delta", 0), IntField("previous_delta", 0)]


class IpVsSeqV0(Packet):
    """struct ip_vs_seq in a version 0 message: copied as it stands in the sender's memory, so
    little-endian on x86 and ARM.
    """

    name = "ip_vs_seq"
    fields_desc = [LEIntField("init_seq", 0), LEIntField("delta", 0), LEIntField("previous_delta", 0)]


def _sequence(name: str, kind: type[Packet]) -> PacketLenField:
    return PacketLenField(name, kind(), kind, length_from=lambda _: SEQ)


OPTION_TYPES = {
    number | optional: name + (" (optional)" if optional else "")
    for number, name in ((SEQ_DATA, "SEQ_DATA"), (PE_DATA, "PE_DATA"), (PE_NAME, "PE_NAME"))
    for optional in (0, MAY_SKIP)
}


class SyncOption(Packet):
    """An option of a kind unknown here. With bit 6 of the type set, a receiver that does not know
    it skips it.
    """

    name = "IPVS sync option"
    fields_desc = [
        ByteEnumField("type", 0, OPTION_TYPES),
        FieldLenField("length", None, fmt="B", length_of="data"),
        StrLenField("data", b"", length_from=lambda option: option.length),
    ]


class SyncSeqData(Packet):
    """IPVS_OPT_SEQ_DATA, struct ip_vs_sync_conn_options: for a connection whose payload an
    application helper changes.
    """

    name = "IPVS sync option: sequence numbers"
    fields_desc = [
        ByteEnumField("type", SEQ_DATA, OPTION_TYPES),
        ByteField("length", SEQUENCES),
        _sequence("in_seq", IpVsSeq),
        _sequence("out_seq", IpVsSeq),
    ]


class SyncPeData(Packet):
    """IPVS_OPT_PE_DATA: what a persistence engine recognises a client by, up to 255 bytes; with the
    SIP engine the Call-ID.
    """

    name = "IPVS sync option: persistence engine's data"
    fields_desc = [
        ByteEnumField("type", PE_DATA, OPTION_TYPES),
        FieldLenField("length", None, fmt="B", length_of="pe_data"),
        StrLenField("pe_data", b"", length_from=lambda option: option.length),
    ]


class SyncPeName(Packet):
    """IPVS_OPT_PE_NAME: name of the persistence engine, up to 16 bytes, with no zero at its end."""

    name = "IPVS sync option: persistence engine's name"
    fields_desc = [
        ByteEnumField("type", PE_NAME, OPTION_TYPES),
        FieldLenField("length", None, fmt="B", length_of="pe_name"),
        StrLenField("pe_name", b"", length_from=lambda option: option.length),
    ]


def _option_class(option: bytes) -> type[Packet]:
    kind = option[0] & ~MAY_SKIP
    if kind == SEQ_DATA and len(option) == 2 + SEQUENCES:
        return SyncSeqData
    return {PE_DATA: SyncPeData, PE_NAME: SyncPeName}.get(kind, SyncOption)


# -- entries ---------------------------------------------------------------------------------------

_PROTOCOLS = {0: "IP", IPPROTO_TCP: "TCP", IPPROTO_UDP: "UDP", IPPROTO_SCTP: "SCTP"}


class _Entry(Packet):
    """What the entries of version 1 share."""

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in ver_size.

        Raises:
            ValueError: the entry is too long for its 12 bits.
        """
        if self.ver_size is None:
            length = len(pkt) + len(pay)
            if length > SIZE_MASK:
                raise ValueError(f"a sync entry of {length} bytes; its size has 12 bits")
            pkt = pkt[:2] + length.to_bytes(2, "big") + pkt[4:]
        return pkt + pay


def _entry_fields(kind: int, address: Any, none: str) -> list[Any]:
    return [
        ByteEnumField("type", kind, {0: "INET", TYPE_INET6: "INET6"}),
        ByteEnumField("protocol", IPPROTO_TCP, _PROTOCOLS),
        XShortField("ver_size", None),
        _FlagsV1("flags", 0),
        MultiEnumField("state", 0, STATES, depends_on=_state_kind, fmt="H"),
        ShortField("cport", 0),
        ShortField("vport", 0),
        ShortField("dport", 0),
        XIntField("fwmark", 0),
        IntField("timeout", 0),
        address("caddr", none),
        address("vaddr", none),
        address("daddr", none),
        _Options("options", [], SyncOption),
    ]


class SyncConnV4(_Entry):
    """struct ip_vs_sync_v4 and its options.

    Attributes:
        ver_size: bytes of the entry, with its options, in the low 12 bits; computed.
        flags: `Forwarding` in the low three bits, and `ConnFlag`; of those, a backup takes over
            only IP_VS_CONN_F_BACKUP_MASK.
        state: number by protocol, or of a template: see STATES.
        cport, caddr: the client; port 0 in a template.
        vport, vaddr: the virtual service.
        dport, daddr: the real server.
        fwmark: of a firewall-mark service's connection, else 0.
        timeout: seconds that the connection lives without packets; 0: what the state's table says
            at the backup.
        options: SyncSeqData, SyncPeData, SyncPeName, SyncOption.
    """

    name = "IPVS sync connection"
    fields_desc = _entry_fields(0, IPField, "0.0.0.0")


class SyncConnV6(_Entry):
    """struct ip_vs_sync_v6 and its options; fields as in SyncConnV4."""

    name = "IPVS sync connection IPv6"
    fields_desc = _entry_fields(TYPE_INET6, IP6Field, "::")


def _has_sequences(entry: Packet) -> bool:
    return bool(entry.flags & SEQUENCE_FLAGS)


class SyncConnV0(Packet):
    """struct ip_vs_sync_conn_v0; in_seq and out_seq are there when flags have IN_SEQ or OUT_SEQ.
    Fields as in SyncConnV4.
    """

    name = "IPVS sync connection v0"
    fields_desc = [
        ByteField("reserved", 0),
        ByteEnumField("protocol", IPPROTO_TCP, _PROTOCOLS),
        ShortField("cport", 0),
        ShortField("vport", 0),
        ShortField("dport", 0),
        IPField("caddr", "0.0.0.0"),
        IPField("vaddr", "0.0.0.0"),
        IPField("daddr", "0.0.0.0"),
        _FlagsV0("flags", 0),
        MultiEnumField("state", 0, STATES, depends_on=_state_kind, fmt="H"),
        ConditionalField(_sequence("in_seq", IpVsSeqV0), _has_sequences),
        ConditionalField(_sequence("out_seq", IpVsSeqV0), _has_sequences),
    ]
