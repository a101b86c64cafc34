"""A writer of pcapng files with nanosecond stamps, named interfaces and directions
(draft-ietf-opsawg-pcapng).

scapy reads such files; its own writer keeps microseconds only, too coarse to order one packet's way
over three links.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

INBOUND, OUTBOUND = 1, 2
"""Direction of a frame at the interface (epb_flags, bits 0 and 1)."""

CHECKSUM_PENDING = "checksum not computed yet"
"""Comment on frames whose transport checksum the sender left to the network card, so that it must
not be judged.
"""

_SECTION_HEADER, _INTERFACE, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 6
_OPT_COMMENT, _IF_NAME, _IF_TSRESOL, _EPB_FLAGS = 1, 2, 9, 2
_LINKTYPE_ETHERNET, _SNAPLEN = 1, 262144


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _options(options: Sequence[tuple[int, bytes]]) -> bytes:
    if not options:
        return b""
    return b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options) + bytes(
        4
    )


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


class PcapngWriter:
    """One file; the interfaces are fixed at the start."""

    def __init__(self, path: Path, interfaces: Sequence[str]) -> None:
        """Create the file.

        Raises:
            OSError: it cannot be written.
        """
        self._file = path.open("wb")
        self._file.write(_block(_SECTION_HEADER, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)))
        for name in interfaces:
            options = _options([(_IF_NAME, name.encode()), (_IF_TSRESOL, b"\x09")])
            self._file.write(
                _block(_INTERFACE, struct.pack("<HHI", _LINKTYPE_ETHERNET, 0, _SNAPLEN) + options)
            )

    def __enter__(self) -> PcapngWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, interface: int, stamp_ns: int, frame: bytes, direction: int, comment: str = "") -> None:
        """Append a frame.

        Args:
            interface: index into the interfaces.
            stamp_ns: nanoseconds since the epoch.
            direction: INBOUND or OUTBOUND.
        """
        head = struct.pack("<IIIII", interface, stamp_ns >> 32, stamp_ns & 0xFFFFFFFF, len(frame), len(frame))
        options = [(_OPT_COMMENT, comment.encode())] if comment else []
        options.append((_EPB_FLAGS, struct.pack("<I", direction)))
        self._file.write(_block(_ENHANCED_PACKET, head + _padded(frame) + _options(options)))
