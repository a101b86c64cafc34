"""A wire to the director under test: frames go in, frames come out, every one a scapy packet."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import checksum

_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
_VNET_HEADER = struct.Struct("=BBHHHH")
"""struct virtio_net_hdr of linux/virtio_net.h before every frame: flags, GSO type, header length,
GSO size, csum_start, csum_offset.
"""
_NEEDS_CSUM = 1
_UDP_CHECKSUM = 6
"""Where UDP has its checksum; 0 there would mean that there is none."""
_BUFFER = 8 << 20


class Wire(Protocol):
    """One side of the director: what is sent here reaches the director alone; what comes out of it
    is received here.

    Attributes:
        name: "outside" or "inside".
        mac: the director's on this wire.
    """

    name: str
    mac: str

    def send(self, packet: Packet) -> None:
        """Send a scapy frame (or its bytes)."""

    def receive(self, wanted: Callable[[Packet], bool], timeout: float) -> tuple[Packet | None, list[Packet]]:
        """Frames as they come until one is wanted.

        Args:
            timeout: seconds, for all of it.

        Returns:
            The wanted frame, or None, and those that came before it.
        """

    def drain(self) -> list[Packet]:
        """What has come and was not received yet."""


class CableWire:
    """A `Wire` of a lab on this machine: the switch's end of the director's link, as a packet
    socket. Call it in the lab's own namespace.
    """

    def __init__(self, name: str, interface: str, mac: str) -> None:
        self.name, self.mac = name, mac
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        self._socket.bind((interface, _ETH_P_ALL))

    def __enter__(self) -> CableWire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, packet: Packet) -> None:
        """See `Wire.send`."""
        self._socket.send(bytes(_VNET_HEADER.size) + bytes(packet))

    def receive(self, wanted: Callable[[Packet], bool], timeout: float) -> tuple[Packet | None, list[Packet]]:
        """See `Wire.receive`."""
        deadline = time.monotonic() + timeout
        others: list[Packet] = []
        while (rest := deadline - time.monotonic()) > 0:
            frame = self._next(rest)
            if frame is None:
                continue
            if wanted(frame):
                return frame, others
            others.append(frame)
        return None, others

    def drain(self) -> list[Packet]:
        """See `Wire.drain`."""
        found = []
        while (frame := self._next(0)) is not None:
            found.append(frame)
        return found

    def _next(self, timeout: float) -> Packet | None:
        """The next frame from the director, or None; one whose checksum its kernel left to a card
        that does not exist gets it filled in.
        """
        if timeout > 0:
            self._socket.settimeout(timeout)
        else:
            self._socket.setblocking(False)
        while True:
            try:
                data, address = self._socket.recvfrom(1 << 17)
            except (BlockingIOError, TimeoutError):
                return None
            if address[2] == _PACKET_OUTGOING:
                continue
            flags, _, _, _, start, offset = _VNET_HEADER.unpack_from(data)
            data = data[_VNET_HEADER.size :]
            return Ether(with_checksum(data, start, offset) if flags & _NEEDS_CSUM else data)


def with_checksum(data: bytes, start: int, offset: int) -> bytes:
    """A frame whose kernel left a checksum to the card, with that checksum.

    Args:
        start: where what is summed up begins, to the end of the frame.
        offset: where in it the checksum belongs; there is already the sum of the pseudo-header, if
            there is one.
    """
    value = int(checksum(data[start:]))
    if value == 0 and offset == _UDP_CHECKSUM:
        value = 0xFFFF
    return data[: start + offset] + value.to_bytes(2, "big") + data[start + offset + 2 :]
