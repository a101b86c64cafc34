"""The datagram by which an IPVS master tells its backups about connections, versions 0 and 1.

From net/netfilter/ipvs/ip_vs_sync.c of Linux.

Version 1, the default (`net.ipv4.vs.sync_version`): struct ip_vs_sync_mesg, then nr_conns times
struct ip_vs_sync_v4 or ip_vs_sync_v6:

    | reserved = 0  |    syncid     |             size              |   size: bytes of the whole message
    |   nr_conns    |    version    |           spare = 0           |

    |     type      |   protocol    |           ver_size            |   ver_size: 4 bits of version (0), 12 of the entry's size
    |                             flags                             |
    |             state             |             cport             |
    |             vport             |             dport             |
    |                            fwmark                             |
    |                      timeout (seconds)                        |
    |              caddr, vaddr, daddr: 4 or 16 bytes each          |
    |  options: type (1), length of the data (1), data              |

Each entry begins at a multiple of four bytes; the zeros before it belong to no entry, and nothing
is padded behind the last one.

Version 0: struct ip_vs_sync_mesg_v0, then nr_conns times struct ip_vs_sync_conn_v0, IPv4 only,
without timeout and firewall mark:

    |   nr_conns    |    syncid     |             size              |

    |   reserved    |   protocol    |             cport             |
    |             vport             |             dport             |
    |                     caddr, vaddr, daddr                       |
    |             flags             |             state             |
    |  two ip_vs_seq, 24 bytes, with flags IN_SEQ or OUT_SEQ        |   in the byte order of the sender

Both go to UDP port 8848 and multicast address 224.0.0.81 by default; with `net.ipv4.vs.sync_ports`
n, to the n ports from there. A receiver takes a message as version 1 if version is 1 and reserved
and spare are 0, else as version 0 (ip_vs_process_message).
"""  # noqa: E501, W505

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

from scapy.config import conf
from scapy.fields import (
    ByteEnumField,
    ByteField,
    ConditionalField,
    FieldLenField,
    IntField,
    IPField,
    LEIntField,
    MultiEnumField,
    PacketLenField,
    PacketListField,
    ShortField,
    SignedByteField,
    StrLenField,
    XIntField,
    XShortField,
)
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IP6Field
from scapy.packet import Packet, Raw, bind_bottom_up, bind_top_down

from lvslab.runs.words import plural

SYNC_GROUP = "224.0.0.81"
"""IP_VS_SYNC_GROUP."""

SYNC_PORT = 8848
"""IP_VS_SYNC_PORT."""

_HEADER, _HEADER_V0 = 8, 4
_ENTRY_V4, _ENTRY_V6, _ENTRY_V0 = 36, 72, 24
_SEQ, _SEQUENCES = 12, 24
_SIZE_MASK = 0x0FFF
_PE_NAME_MAX = 16  # IP_VS_PENAME_MAXLEN
_TYPE_INET6 = 1 << 0  # STYPE_F_INET6
_SEQ_DATA, _PE_DATA, _PE_NAME = 1, 2, 3  # IPVS_OPT_*
_MAY_SKIP = 1 << 6  # IPVS_OPT_F_PARAM
_TCP, _UDP, _SCTP = 6, 17, 132


class Forwarding(IntEnum):
    """How a connection's packets are forwarded: the low three bits of its flags
    (include/uapi/linux/ip_vs.h).
    """

    MASQ = 0
    LOCALNODE = 1
    TUNNEL = 2
    DROUTE = 3
    BYPASS = 4


class ConnFlag(IntFlag):
    """The other flags of a connection, IP_VS_CONN_F_* (include/uapi/linux/ip_vs.h). A sender leaves
    out HASHED.
    """

    SYNC = 0x0020
    HASHED = 0x0040
    NOOUTPUT = 0x0080
    INACTIVE = 0x0100
    OUT_SEQ = 0x0200
    IN_SEQ = 0x0400
    NO_CPORT = 0x0800
    TEMPLATE = 0x1000
    ONE_PACKET = 0x2000
    NFCT = 0x10000


FORWARDING_MASK = 0x0007
"""IP_VS_CONN_F_FWD_MASK."""

SEQUENCE_FLAGS = ConnFlag.IN_SEQ | ConnFlag.OUT_SEQ
"""IP_VS_CONN_F_SEQ_MASK: with one of these an entry carries both sequence structures."""

_TCP_STATES = (
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "SYNACK",
)
_SCTP_STATES = (
    "NONE",
    "INIT1",
    "INIT",
    "C-SENT",
    "C-REPLIED",
    "C-WAIT",
    "COOKIE",
    "C-ECHOED",
    "ESTABLISHED",
    "S-SENT",
    "S-RECEIVED",
    "S-ACK-SENT",
    "REJECTED",
    "CLOSED",
)

STATES: dict[int | str, dict[int, str]] = {
    _TCP: dict(enumerate(_TCP_STATES)),
    _UDP: {0: "UDP"},
    _SCTP: dict(enumerate(_SCTP_STATES)),
    "template": {0: "NONE", 1: "ASSURED"},
}
"""States by IP protocol (6, 17, 132) and of templates, numbered as in include/net/ip_vs.h, named as
`ipvsadm -Lnc` shows them (the state_name tables of ip_vs_proto_tcp.c, ip_vs_proto_udp.c and
ip_vs_proto_sctp.c; ip_vs_state_name in ip_vs_proto.c).
"""


def flags_text(flags: int) -> str:
    """A connection's flags for people: forwarding method, then the names of the bits; unknown ones
    as one number.
    """
    method = flags & FORWARDING_MASK
    words = [Forwarding(method).name if method in list(Forwarding) else f"method {method}"]
    words += [str(each.name) for each in ConnFlag if flags & each]
    rest = flags & ~FORWARDING_MASK & ~sum(ConnFlag)
    return "+".join([*words, *([hex(rest)] if rest else [])])


def state_name(protocol: int, flags: int, state: int) -> str:
    """A state as `ipvsadm -Lnc` shows it; a number where it has no name."""
    kind = "template" if flags & ConnFlag.TEMPLATE else protocol
    return STATES.get(kind, {}).get(state, str(state))


# -- fields ----------------------------------------------------------------------------------------


def _state_kind(entry: Any) -> int | str:
    return "template" if entry.flags & ConnFlag.TEMPLATE else int(entry.protocol)


class _FlagsV1(XIntField):  # type: ignore[misc]
    """All 32 bits as one number, shown by their names."""

    def i2repr(self, pkt: Any, x: int) -> str:
        return f"{flags_text(x)} ({x:#x})"


class _FlagsV0(XShortField):  # type: ignore[misc]
    """The low 16 bits as one number, shown by their names."""

    def i2repr(self, pkt: Any, x: int) -> str:
        return f"{flags_text(x)} ({x:#x})"


class _Options(PacketListField):  # type: ignore[misc]
    """Options of a version 1 entry up to the first that is not whole; what is left becomes the
    entry's payload.
    """

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, list[Any]]:
        found = []
        while len(s) > 2 and 0 < s[1] <= len(s) - 2:
            option, s = s[: 2 + s[1]], s[2 + s[1] :]
            found.append(_option_class(option)(option))
        return s, found


class _Entries(PacketListField):  # type: ignore[misc]
    """Entries of a version 1 message up to the first that is not whole; what is left becomes the
    message's payload.
    """

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, list[Any]]:
        found: list[Any] = []
        begin = end = 0
        while len(found) < pkt.nr_conns and not _fault(s[begin:]):
            end = begin + _size(s[begin:])
            found.append((SyncConnV6 if s[begin] & _TYPE_INET6 else SyncConnV4)(s[begin:end]))
            begin = _aligned(end)
        return s[end:], found

    def addfield(self, pkt: Any, s: bytes, val: Any) -> bytes:
        entries = b""
        for each in val:
            entries += bytes(_aligned(len(entries)) - len(entries)) + bytes(each)
        return s + entries


class _EntriesV0(PacketListField):  # type: ignore[misc]
    """Entries of a version 0 message up to the first that is not whole; what is left becomes the
    message's payload.
    """

    def getfield(self, pkt: Any, s: bytes) -> tuple[bytes, list[Any]]:
        found: list[Any] = []
        while len(found) < pkt.nr_conns and len(s) >= (length := _length_v0(s)):
            found.append(SyncConnV0(s[:length]))
            s = s[length:]
        return s, found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _size(entry: bytes) -> int:
    """The size that a version 1 entry says it has."""
    return int.from_bytes(entry[2:4], "big") & _SIZE_MASK


def _fault(data: bytes) -> str:
    """Why no version 1 entry can be read here, "" if one can: the tests of ip_vs_process_message
    and ip_vs_proc_sync_conn.
    """
    if len(data) < _ENTRY_V4:
        return f"{len(data)} bytes are left for an entry"
    if data[2] >> 4:
        return f"unknown version {data[2] >> 4}"
    if data[0] and not data[0] & _TYPE_INET6:
        return f"unknown type {data[0]}"
    if _size(data) > len(data):
        return f"its size {_size(data)} is beyond the end of the message"
    if _size(data) < (least := _ENTRY_V6 if data[0] & _TYPE_INET6 else _ENTRY_V4):
        return f"its size {_size(data)} is less than {least}"
    return ""


def _length_v0(data: bytes) -> int:
    """Bytes of a version 0 entry: 24, or 48 with sequence structures."""
    return _ENTRY_V0 + (_SEQUENCES if int.from_bytes(data[20:22], "big") & SEQUENCE_FLAGS else 0)


# -- parts of an entry -----------------------------------------------------------------------------


class IpVsSeq(Packet):  # type: ignore[misc]
    """struct ip_vs_seq: how sequence numbers of one direction are shifted.

    Attributes:
        init_seq: from this sequence number on, delta is added.
        delta, previous_delta: shift of sequence numbers, now and before the packet that was resized
            last.
    """

    name = "ip_vs_seq"
    fields_desc = [IntField("init_seq", 0), IntField("delta", 0), IntField("previous_delta", 0)]


class IpVsSeqV0(Packet):  # type: ignore[misc]
    """struct ip_vs_seq in a version 0 message: copied as it stands in the sender's memory, so
    little-endian on x86 and ARM.
    """

    name = "ip_vs_seq"
    fields_desc = [LEIntField("init_seq", 0), LEIntField("delta", 0), LEIntField("previous_delta", 0)]


def _sequence(name: str, kind: type[Packet]) -> PacketLenField:
    return PacketLenField(name, kind(), kind, length_from=lambda _: _SEQ)


_OPTION_TYPES = {
    number | optional: name + (" (optional)" if optional else "")
    for number, name in ((_SEQ_DATA, "SEQ_DATA"), (_PE_DATA, "PE_DATA"), (_PE_NAME, "PE_NAME"))
    for optional in (0, _MAY_SKIP)
}


class SyncOption(Packet):  # type: ignore[misc]
    """An option of a kind unknown here. With bit 6 of the type set, a receiver that does not know
    it skips it.
    """

    name = "IPVS sync option"
    fields_desc = [
        ByteEnumField("type", 0, _OPTION_TYPES),
        FieldLenField("length", None, fmt="B", length_of="data"),
        StrLenField("data", b"", length_from=lambda option: option.length),
    ]


class SyncSeqData(Packet):  # type: ignore[misc]
    """IPVS_OPT_SEQ_DATA, struct ip_vs_sync_conn_options: for a connection whose payload an
    application helper changes.
    """

    name = "IPVS sync option: sequence numbers"
    fields_desc = [
        ByteEnumField("type", _SEQ_DATA, _OPTION_TYPES),
        ByteField("length", _SEQUENCES),
        _sequence("in_seq", IpVsSeq),
        _sequence("out_seq", IpVsSeq),
    ]


class SyncPeData(Packet):  # type: ignore[misc]
    """IPVS_OPT_PE_DATA: what a persistence engine recognises a client by, up to 255 bytes; with the
    SIP engine the Call-ID.
    """

    name = "IPVS sync option: persistence engine's data"
    fields_desc = [
        ByteEnumField("type", _PE_DATA, _OPTION_TYPES),
        FieldLenField("length", None, fmt="B", length_of="pe_data"),
        StrLenField("pe_data", b"", length_from=lambda option: option.length),
    ]


class SyncPeName(Packet):  # type: ignore[misc]
    """IPVS_OPT_PE_NAME: name of the persistence engine, up to 16 bytes, with no zero at its end."""

    name = "IPVS sync option: persistence engine's name"
    fields_desc = [
        ByteEnumField("type", _PE_NAME, _OPTION_TYPES),
        FieldLenField("length", None, fmt="B", length_of="pe_name"),
        StrLenField("pe_name", b"", length_from=lambda option: option.length),
    ]


def _option_class(option: bytes) -> type[Packet]:
    kind = option[0] & ~_MAY_SKIP
    if kind == _SEQ_DATA and len(option) == 2 + _SEQUENCES:
        return SyncSeqData
    return {_PE_DATA: SyncPeData, _PE_NAME: SyncPeName}.get(kind, SyncOption)


# -- entries ---------------------------------------------------------------------------------------

_PROTOCOLS = {0: "IP", _TCP: "TCP", _UDP: "UDP", _SCTP: "SCTP"}


class _Entry(Packet):  # type: ignore[misc]
    """What the entries of version 1 share."""

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in ver_size.

        Raises:
            ValueError: the entry is too long for its 12 bits.
        """
        if self.ver_size is None:
            length = len(pkt) + len(pay)
            if length > _SIZE_MASK:
                raise ValueError(f"a sync entry of {length} bytes; its size has 12 bits")
            pkt = pkt[:2] + length.to_bytes(2, "big") + pkt[4:]
        return pkt + pay


def _entry_fields(kind: int, address: Any, none: str) -> list[Any]:
    return [
        ByteEnumField("type", kind, {0: "INET", _TYPE_INET6: "INET6"}),
        ByteEnumField("protocol", _TCP, _PROTOCOLS),
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
    fields_desc = _entry_fields(_TYPE_INET6, IP6Field, "::")


def _has_sequences(entry: Any) -> bool:
    return bool(entry.flags & SEQUENCE_FLAGS)


class SyncConnV0(Packet):  # type: ignore[misc]
    """struct ip_vs_sync_conn_v0; in_seq and out_seq are there when flags have IN_SEQ or OUT_SEQ.
    Fields as in SyncConnV4.
    """

    name = "IPVS sync connection v0"
    fields_desc = [
        ByteField("reserved", 0),
        ByteEnumField("protocol", _TCP, _PROTOCOLS),
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


# -- messages --------------------------------------------------------------------------------------


def _completed(message: Any, pkt: bytes, pay: bytes, count_at: int) -> bytes:
    """Fill in size and number of entries. Raises ValueError: more than the header can say."""
    if message.nr_conns is None:
        if len(message.conns) > 0xFF:
            raise ValueError(f"{len(message.conns)} entries in a sync message; at most 255")
        pkt = pkt[:count_at] + bytes([len(message.conns)]) + pkt[count_at + 1 :]
    if message.size is None:
        length = len(pkt) + len(pay)
        if length > 0xFFFF:
            raise ValueError(f"a sync message of {length} bytes; at most 65535")
        pkt = pkt[:2] + length.to_bytes(2, "big") + pkt[4:]
    return pkt + pay


class SyncMessage(Packet):  # type: ignore[misc]
    """struct ip_vs_sync_mesg and its entries, version 1.

    `SyncMessage(data)` reads a UDP payload of either version and never raises: entries up to the
    first one that is broken, what is left as Raw behind them; a version 0 message as SyncMessageV0;
    what is too short for a header as Raw. No data at all is scapy's way to ask for a new message.
    `decode` is strict.

    Attributes:
        syncid: which group of directors it is for; a backup with syncid 0 takes all.
        size: bytes of the whole message; computed.
        nr_conns: number of entries; computed.
        conns: SyncConnV4 and SyncConnV6.
    """

    name = "IPVS sync"
    fields_desc = [
        ByteField("reserved", 0),
        ByteField("syncid", 0),
        ShortField("size", None),
        ByteField("nr_conns", None),
        SignedByteField("version", 1),
        XShortField("spare", 0),
        _Entries("conns", [], SyncConnV4),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *args: Any, **kargs: Any) -> Any:
        """What to read bytes as."""
        if not _pkt:
            return cls
        if len(_pkt) < _HEADER_V0:
            return conf.raw_layer
        is_v1 = len(_pkt) >= _HEADER and _pkt[0] == 0 and _pkt[5] == 1 and _pkt[6:8] == bytes(2)
        return cls if is_v1 else SyncMessageV0

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in size and nr_conns. Raises ValueError: more than the header can say."""
        return _completed(self, pkt, pay, 4)

    def mysummary(self) -> str:
        """One line for people."""
        return f"IPVS sync v1 id {self.syncid}: {plural(len(self.conns), 'connection')}"


class SyncMessageV0(Packet):  # type: ignore[misc]
    """struct ip_vs_sync_mesg_v0 and its entries, SyncConnV0. Bytes are read through SyncMessage or
    `decode`.
    """

    name = "IPVS sync v0"
    fields_desc = [
        ByteField("nr_conns", None),
        ByteField("syncid", 0),
        ShortField("size", None),
        _EntriesV0("conns", [], SyncConnV0),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in size and nr_conns. Raises ValueError: more than the header can say."""
        return _completed(self, pkt, pay, 0)

    def mysummary(self) -> str:
        """One line for people."""
        return f"IPVS sync v0 id {self.syncid}: {plural(len(self.conns), 'connection')}"


def decode(data: bytes) -> SyncMessage | SyncMessageV0:
    """Read a datagram as strictly as a backup does; bytes behind the last entry are allowed, as
    there.

    Not tested are protocols and states, of which a backup skips the ones that its kernel does not
    have.

    Raises:
        ValueError: a backup would drop the message, or the rest of it, or skip an entry; says why.
    """
    if len(data) < _HEADER_V0:
        raise ValueError(f"{len(data)} bytes are no sync message")
    if (size := int.from_bytes(data[2:4], "big")) != len(data):
        raise ValueError(f"the sync message says it has {size} bytes, but has {len(data)}")
    message: Any = SyncMessage(data)
    number = len(message.conns)
    if number < message.nr_conns:
        rest = bytes(message.payload)
        if isinstance(message, SyncMessage):
            end = len(data) - len(rest)
            reason = _fault(data[_aligned(end) :])
        else:
            reason = f"{len(rest)} bytes are left for an entry"
        raise ValueError(f"entry {number + 1} of {message.nr_conns}: {reason}")
    if isinstance(message, SyncMessage):
        for number, entry in enumerate(message.conns, start=1):
            if reason := _options_fault(entry):
                raise ValueError(f"entry {number} of {message.nr_conns}: {reason}")
    return message  # type: ignore[no-any-return]


def _options_fault(entry: Any) -> str:
    """What is wrong with an entry's options, "" if nothing is (ip_vs_proc_sync_conn)."""
    if Raw in entry:
        return f"{len(entry[Raw].load)} bytes at its end are no whole option"
    seen = set()
    for option in entry.options:
        kind = option.type & ~_MAY_SKIP
        if kind not in (_SEQ_DATA, _PE_DATA, _PE_NAME):
            if not option.type & _MAY_SKIP:
                return f"unknown option {option.type} that must be understood"
            continue
        if kind in seen:
            return f"option {_OPTION_TYPES[kind]} found twice"
        seen.add(kind)
        if kind == _SEQ_DATA and option.length != _SEQUENCES:
            return f"option SEQ_DATA of {option.length} bytes"
        if kind == _PE_NAME and option.length > _PE_NAME_MAX:
            return f"option PE_NAME of {option.length} bytes"
    return ""


def bind_sync(port: int) -> None:
    """Let scapy read what goes to a UDP port as sync messages, for all of the process: for
    `sync_ports`, or another base port.
    """
    bind_bottom_up(UDP, SyncMessage, dport=port)  # which chooses the version


bind_sync(SYNC_PORT)
bind_top_down(UDP, SyncMessage, dport=SYNC_PORT)
bind_top_down(UDP, SyncMessageV0, dport=SYNC_PORT)
