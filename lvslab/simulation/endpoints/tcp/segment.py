"""TCP segments as octets and back (RFC 9293, 3.1), with the options that are in use."""

from __future__ import annotations

import struct
from collections.abc import Sequence

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
HEADER = struct.Struct("!HHIIBBHHH")
_STAMPS = struct.Struct("!II")
_STAMP_OPTION = b"\x01\x01\x08\x0a"
_END, _NOTHING, _MSS, _SCALE, _SACK_PERMITTED, _SACK, _TIMESTAMP = 0, 1, 2, 3, 4, 5, 8


class Segment:
    """A segment that came.

    Attributes:
        mss, scale: None without that option.
        stamp: the timestamp's value and echo, None without.
        sacks: blocks of sequence numbers, the end of each not included.
    """

    __slots__ = (
        "acknowledgement",
        "data",
        "flags",
        "mss",
        "sack_permitted",
        "sacks",
        "scale",
        "sequence",
        "stamp",
        "window",
    )

    def __init__(self, sequence: int, acknowledgement: int, flags: int, window: int, data: bytes) -> None:
        self.sequence, self.acknowledgement, self.flags = sequence, acknowledgement, flags
        self.window, self.data = window, data
        self.mss: int | None = None
        self.scale: int | None = None
        self.sack_permitted = False
        self.stamp: tuple[int, int] | None = None
        self.sacks: Sequence[tuple[int, int]] = ()

    @property
    def length(self) -> int:
        """Sequence numbers that it takes."""
        return len(self.data) + bool(self.flags & SYN) + (self.flags & FIN)


def parse(octets: bytes) -> Segment | None:
    """A segment, None if its header is none."""
    if len(octets) < 20:
        return None
    _, _, sequence, acknowledgement, offset, flags, window, _, _ = HEADER.unpack_from(octets)
    start = offset >> 4 << 2
    if not 20 <= start <= len(octets):
        return None
    segment = Segment(sequence, acknowledgement, flags, window, octets[start:])
    if start == 32 and octets[20:24] == _STAMP_OPTION:
        segment.stamp = _STAMPS.unpack_from(octets, 24)
    elif start > 20:
        _parse_options(segment, octets[20:start])
    return segment


def _parse_options(segment: Segment, options: bytes) -> None:
    """What is malformed ends the options, as in Linux (tcp_parse_options)."""
    place, end = 0, len(options)
    while place < end and (kind := options[place]) != _END:
        if kind == _NOTHING:
            place += 1
            continue
        length = options[place + 1] if place + 1 < end else 0
        if length < 2 or place + length > end:
            return
        value = options[place + 2 : place + length]
        if kind == _MSS and length == 4:
            segment.mss = int.from_bytes(value, "big")
        elif kind == _SCALE and length == 3:
            segment.scale = min(value[0], 14)
        elif kind == _SACK_PERMITTED and length == 2:
            segment.sack_permitted = True
        elif kind == _TIMESTAMP and length == 10:
            segment.stamp = _STAMPS.unpack(value)
        elif kind == _SACK and length >= 10 and not (length - 2) % 8:
            segment.sacks = tuple(_STAMPS.iter_unpack(value))
        place += length


def stamp_option(value: int, echo: int) -> bytes:
    """Timestamps with their padding."""
    return _STAMP_OPTION + _STAMPS.pack(value, echo)


def sack_option(blocks: Sequence[tuple[int, int]]) -> bytes:
    """Blocks that were received, with padding."""
    return bytes((_NOTHING, _NOTHING, _SACK, 2 + 8 * len(blocks))) + b"".join(
        _STAMPS.pack(start, end) for start, end in blocks
    )


def syn_options(mss: int, sack: bool, stamp: tuple[int, int] | None, scale: int | None) -> bytes:
    """The options of a SYN, in Linux's order (tcp_options_write)."""
    options = struct.pack("!BBH", _MSS, 4, mss)
    if stamp is not None:
        head = bytes((_SACK_PERMITTED, 2)) if sack else bytes((_NOTHING, _NOTHING))
        options += head + bytes((_TIMESTAMP, 10)) + _STAMPS.pack(*stamp)
    elif sack:
        options += bytes((_NOTHING, _NOTHING, _SACK_PERMITTED, 2))
    if scale is not None:
        options += bytes((_NOTHING, _SCALE, 3, scale))
    return options
