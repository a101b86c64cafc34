"""A ring of frames shared with the kernel: packet(7), PACKET_RX_RING with TPACKET_V2
(Documentation/networking/packet_mmap.rst).

Version 2 has slots of one size, so that thousands of frames are looked at with a few array
operations; nobody is woken for a frame, the reader looks at the ring now and then.
"""

from __future__ import annotations

import mmap
import socket
import struct
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _PACKET_IGNORE_OUTGOING = (
    5,
    6,
    10,
    23,
)  # linux/if_packet.h
_TPACKET_V2 = 1
_TP_STATUS_USER = 1
# bytes of a slot before the frame, at most: TPACKET2_HDRLEN, aligned, plus room for the link
# layer's header
_OVERHEAD = 80
_BLOCK = 1 << 16
_MOST = 8192  # frames looked at in one go

HEADER = np.dtype(
    {  # struct tpacket2_hdr
        "names": ["status", "length", "captured", "mac", "seconds", "nanoseconds"],
        "formats": ["u4", "u4", "u4", "u2", "u4", "u4"],
        "offsets": [0, 4, 8, 12, 16, 20],
    }
)


class Ring:
    """Frames that come in at an interface, as a context manager. What leaves through it is not
    received.

    Attributes:
        slots: frames that it holds.
        room: bytes kept of each frame.
    """

    def __init__(self, interface: str, ethertype: int, slots: int, room: int) -> None:
        """
        Args:
            ethertype: of the frames to receive; 3 (ETH_P_ALL): all.
            slots: frames to hold at least, room: bytes to keep of each at least; both become powers
                of two.
        """
        self._size = 1 << max(8, (room + _OVERHEAD - 1).bit_length())
        self.room = self._size - _OVERHEAD
        self.slots = 1 << max(1, slots - 1).bit_length()
        total = self.slots * self._size
        block = max(min(_BLOCK, total), mmap.PAGESIZE)
        self.slots = max(self.slots, block // self._size)
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, 0
        )  # nothing comes before it is bound with a protocol
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            request = struct.pack("IIII", block, max(total, block) // block, self._size, self.slots)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            self._memory = mmap.mmap(self._socket.fileno(), self.slots * self._size)
            self._socket.bind((interface, ethertype))
        except BaseException:
            self._socket.close()
            raise
        self._bytes = np.frombuffer(self._memory, np.uint8).reshape(self.slots, self._size)
        self._headers = np.ndarray((self.slots,), HEADER, self._memory, strides=(self._size,))
        self._head = 0

    def __enter__(self) -> Ring:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()  # the memory goes with the last array that refers to it

    def take(self) -> tuple[NDArray[np.void], NDArray[np.uint8]] | None:
        """The frames that have come: their headers, and their bytes row by row; None when there are
        none. To be given back.
        """
        headers = self._headers[self._head : self._head + _MOST]
        ready = (headers["status"] & _TP_STATUS_USER) != 0
        count = len(ready) if ready.all() else int(ready.argmin())
        if not count:
            return None
        headers = headers[:count]
        begin = int(
            headers["mac"][0]
        )  # the same for every frame of a link layer whose headers have one length
        frames = self._bytes[self._head : self._head + count, begin : begin + self.room]
        if (headers["mac"] != begin).any():
            frames = np.stack(
                [
                    self._bytes[self._head + row, mac : mac + self.room]
                    for row, mac in enumerate(headers["mac"])
                ]
            )
        return headers, frames

    def give_back(self, count: int) -> None:
        """Let the kernel fill the oldest slots again."""
        self._headers["status"][self._head : self._head + count] = 0
        self._head = (self._head + count) % self.slots

    def statistics(self) -> tuple[int, int]:
        """Frames that came since the last call, those among them that found no room."""
        came, dropped = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        return came, dropped
