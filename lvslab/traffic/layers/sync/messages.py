"""Messages of both versions, read leniently and strictly."""

from __future__ import annotations

from typing import Any

from scapy.config import conf
from scapy.fields import ByteField, PacketListField, ShortField, SignedByteField, XShortField
from scapy.layers.inet import UDP
from scapy.packet import Packet, Raw, bind_bottom_up, bind_top_down

from lvslab.runs.words import plural
from lvslab.traffic.layers.sync.entries import OPTION_TYPES, SyncConnV0, SyncConnV4, SyncConnV6
from lvslab.traffic.layers.sync.words import (
    ENTRY_V0,
    ENTRY_V4,
    ENTRY_V6,
    HEADER,
    HEADER_V0,
    MAY_SKIP,
    PE_DATA,
    PE_NAME,
    PE_NAME_MAX,
    SEQ_DATA,
    SEQUENCE_FLAGS,
    SEQUENCES,
    SIZE_MASK,
    SYNC_PORT,
    TYPE_INET6,
)


class _Entries(PacketListField):
    """Entries of a version 1 message up to the first that is not whole; what is left becomes the
    message's payload.
    """

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[Any]]:
        found: list[Any] = []
        begin = end = 0
        while len(found) < pkt.nr_conns and not _fault(s[begin:]):
            end = begin + _size(s[begin:])
            found.append((SyncConnV6 if s[begin] & TYPE_INET6 else SyncConnV4)(s[begin:end]))
            begin = _aligned(end)
        return s[end:], found

    def addfield(self, pkt: Packet, s: bytes, val: Any) -> bytes:
        entries = b""
        for each in val:
            entries += bytes(_aligned(len(entries)) - len(entries)) + bytes(each)
        return s + entries


class _EntriesV0(PacketListField):
    """Entries of a version 0 message up to the first that is not whole; what is left becomes the
    message's payload.
    """

    def getfield(self, pkt: Packet, s: bytes) -> tuple[bytes, list[Any]]:
        found: list[Any] = []
        while len(found) < pkt.nr_conns and len(s) >= (length := _length_v0(s)):
            found.append(SyncConnV0(s[:length]))
            s = s[length:]
        return s, found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _size(entry: bytes) -> int:
    """The size that a version 1 entry says it has."""
    return int.from_bytes(entry[2:4], "big") & SIZE_MASK


def _fault(data: bytes) -> str:
    """Why no version 1 entry can be read here, "" if one can: the tests of ip_vs_process_message
    and ip_vs_proc_sync_conn.
    """
    if len(data) < ENTRY_V4:
        return f"{len(data)} bytes are left for an entry"
    if data[2] >> 4:
        return f"unknown version {data[2] >> 4}"
    if data[0] and not data[0] & TYPE_INET6:
        return f"unknown type {data[0]}"
    if _size(data) > len(data):
        return f"its size {_size(data)} is beyond the end of the message"
    if _size(data) < (least := ENTRY_V6 if data[0] & TYPE_INET6 else ENTRY_V4):
        return f"its size {_size(data)} is less than {least}"
    return ""


def _length_v0(data: bytes) -> int:
    """Bytes of a version 0 entry: 24, or 48 with sequence structures."""
    return ENTRY_V0 + (SEQUENCES if int.from_bytes(data[20:22], "big") & SEQUENCE_FLAGS else 0)


def _completed(message: Packet, pkt: bytes, pay: bytes, count_at: int) -> bytes:
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


class SyncMessage(Packet):
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
        if len(_pkt) < HEADER_V0:
            return conf.raw_layer
        is_v1 = len(_pkt) >= HEADER and _pkt[0] == 0 and _pkt[5] == 1 and _pkt[6:8] == bytes(2)
        return cls if is_v1 else SyncMessageV0

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in size and nr_conns. Raises ValueError: more than the header can say."""
        return _completed(self, pkt, pay, 4)

    def mysummary(self) -> str:
        """One line for people."""
        return f"IPVS sync v1 id {self.syncid}: {plural(len(self.conns), 'connection')}"


class SyncMessageV0(Packet):
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
    if len(data) < HEADER_V0:
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


def _options_fault(entry: Packet) -> str:
    """What is wrong with an entry's options, "" if nothing is (ip_vs_proc_sync_conn)."""
    if Raw in entry:
        return f"{len(entry[Raw].load)} bytes at its end are no whole option"
    seen = set()
    for option in entry.options:
        kind = option.type & ~MAY_SKIP
        if kind not in (SEQ_DATA, PE_DATA, PE_NAME):
            if not option.type & MAY_SKIP:
                return f"unknown option {option.type} that must be understood"
            continue
        if kind in seen:
            return f"option {OPTION_TYPES[kind]} found twice"
        seen.add(kind)
        if kind == SEQ_DATA and option.length != SEQUENCES:
            return f"option SEQ_DATA of {option.length} bytes"
        if kind == PE_NAME and option.length > PE_NAME_MAX:
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
