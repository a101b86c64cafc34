"""Split virtqueues in a guest's memory (Virtual I/O Device 1.2, 2.7), from the device's side.

Only one side touches them at a time: a guest that sends waits for the answer, and nothing is put in
while it runs. So no memory barrier matters.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_DESCRIPTOR = struct.Struct("<QIHH")  # address, length, flags, next
_DESCRIPTOR_SIZE = 16
_NEXT = 1
_WRAP = 0xFFFF
_FLAGS, _INDEX, _ENTRIES = 0, 1, 2
"""Words of 16 bits at the beginning of both tables."""

NO_NOTICE = 1
"""In the flags of either table: its reader does not want to be told (VRING_USED_F_NO_NOTIFY,
VRING_AVAIL_F_NO_INTERRUPT).
"""


class Ring:
    """One virtqueue, once the guest has said where it is.

    Attributes:
        size: buffers, a power of two.
    """

    def __init__(self) -> None:
        self.size = self._seen = self._done = 0

    def start_at(self, index: int) -> None:
        """Both sides count from here on."""
        self._seen = self._done = index

    def place(self, memory: memoryview, base: int, descriptors: int, available: int, used: int) -> None:
        """Its tables' addresses in the guest.

        Args:
            memory: the guest's, writable.
            base: a guest's address plus this is its place in the memory.

        Raises:
            ValueError: they do not lie in there.
        """
        self._memory, self._base = memory, base
        self._descriptors = base + descriptors
        self._available = _part(memory, base + available, 4 + 2 * self.size).cast("H")
        self._used = _part(memory, base + used, 4).cast("H")
        self._elements = _part(memory, base + used + 4, 8 * self.size).cast("I")

    # -- the guest's buffers -----------------------------------------------------------------------

    def take(self) -> list[bytes]:
        """What the guest has put in since the last time; its buffers are given back."""
        available, mask = self._available, self.size - 1
        end, seen = available[_INDEX], self._seen
        packets: list[bytes] = []
        while seen != end:
            head = available[_ENTRIES + (seen & mask)]
            packets.append(self._read(head))
            self._give_back(head, 0)
            seen = (seen + 1) & _WRAP
        self._seen = seen
        return packets

    def put(self, packet: bytes) -> bool:
        """Give the guest a packet; returns whether there was a buffer large enough for it. One that
        is too small is given back empty.
        """
        available = self._available
        if self._seen == available[_INDEX]:
            return False
        head = available[_ENTRIES + (self._seen & (self.size - 1))]
        self._seen = (self._seen + 1) & _WRAP
        length = len(packet)
        written = 0
        for start, room in self._parts(head):
            part = packet[written : written + room]
            self._memory[start : start + len(part)] = part
            written += len(part)
            if written == length:
                break
        fits = written == length
        self._give_back(head, length if fits else 0)
        return fits

    # -- who is to be told -------------------------------------------------------------------------

    @property
    def wants_interrupts(self) -> bool:
        """Whether the guest wants to hear of buffers that were given back."""
        return not self._available[_FLAGS] & NO_NOTICE

    def want_kicks(self, wanted: bool) -> None:
        """Whether the guest is to tell when it puts something in."""
        self._used[_FLAGS] = 0 if wanted else NO_NOTICE

    # -- memory ------------------------------------------------------------------------------------

    def _read(self, head: int) -> bytes:
        memory = self._memory
        address, length, flags, _ = _DESCRIPTOR.unpack_from(
            memory, self._descriptors + _DESCRIPTOR_SIZE * head
        )
        start = self._base + address
        if not flags & _NEXT:
            return bytes(memory[start : start + length])
        return b"".join(memory[start : start + length] for start, length in self._parts(head))

    def _parts(self, head: int) -> Iterator[tuple[int, int]]:
        """Place and length of each part of a buffer; a chain has no more parts than the ring."""
        for _ in range(self.size):
            address, length, flags, following = _DESCRIPTOR.unpack_from(
                self._memory, self._descriptors + _DESCRIPTOR_SIZE * head
            )
            yield self._base + address, length
            if not flags & _NEXT:
                return
            head = following

    def _give_back(self, head: int, length: int) -> None:
        place = 2 * (self._done & (self.size - 1))
        self._elements[place] = head
        self._elements[place + 1] = length
        self._done = (self._done + 1) & _WRAP
        self._used[_INDEX] = self._done


def _part(memory: memoryview, start: int, length: int) -> memoryview:
    part = memory[start : start + length]
    if start < 0 or len(part) != length:
        raise ValueError(f"{length} octets at {start} lie outside of the guest's memory")
    return part
