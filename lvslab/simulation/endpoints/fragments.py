"""Fragments put together again (RFC 791, 3.2; RFC 8200, 4.5)."""

from __future__ import annotations

from collections.abc import Hashable

from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints.base import SECOND

_PATIENCE = 30 * SECOND
"""As Linux's ipfrag_time."""


class _Heap:
    """The fragments of one packet."""

    __slots__ = ("head", "parts", "total")

    def __init__(self) -> None:
        self.head, self.total = b"", -1
        self.parts: dict[int, bytes] = {}


class Fragments:
    """Fragments that wait for the rest of their packets."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._heaps: dict[Hashable, _Heap] = {}

    def add(self, key: Hashable, head: bytes, offset: int, more: bool, part: bytes) -> tuple[bytes, bytes]:
        """Add a fragment; the answer is the header of the first one and the whole payload, both
        empty as long as it is not whole. Two parts that overlap make it useless (RFC 5722).

        Args:
            key: what the fragments of one packet have in common.
            offset: octets.
            more: whether fragments follow it.
        """
        heap = self._heaps.get(key)
        if heap is None:
            heap = self._heaps[key] = _Heap()
            self._calendar.after(_PATIENCE, self._drop, key, heap)
        heap.parts.setdefault(offset, part)
        if not offset:
            heap.head = head
        if not more:
            heap.total = offset + len(part)
        if heap.total < 0 or sum(map(len, heap.parts.values())) < heap.total:
            return b"", b""
        del self._heaps[key]
        payload = b"".join(part for _, part in sorted(heap.parts.items()))
        if len(payload) != heap.total or any(
            payload[start : start + len(part)] != part for start, part in heap.parts.items()
        ):
            return b"", b""
        return heap.head, payload

    def _drop(self, key: Hashable, heap: _Heap) -> None:
        if self._heaps.get(key) is heap:
            del self._heaps[key]
