"""The calendar's page: memory that it shares with a guest, in which kernels from 6.11 on look
instead of asking (struct um_timetravel_schedshm, version 2, in include/uapi/linux/um_timetravel.h).

Its descriptor goes with the answer to START; older kernels ignore it.
"""

from __future__ import annotations

import mmap
import os
import struct

_VERSION = 2
_HEADER = struct.Struct("<IIQQHH")  # version, length, free_until, current_time, running_id, max_clients
_CLIENTS = 4096  # offset of the first client
_CLIENT = struct.Struct("<IIQ")  # capabilities, flags, request
_CLIENT_SIZE = 128

_FREE_UNTIL, _NOW = 1, 2  # words of eight octets
_RUNNING = 12  # word of two octets
_CAN_SHARE = 1
_WANTS_RUN = 1

_CALENDAR, _GUEST = 0, 1
"""The two clients: each guest has a page of its own, and sees of the others only when they are
due.
"""


class SharedTime:
    """A page for one guest. Its words are written whole, each with one store: a guest that has been
    interrupted may look into it at any moment (struct.pack_into writes zeros first).

    Attributes:
        descriptors: for the guest: of the memory, and of a log that nobody reads.
    """

    def __init__(self) -> None:
        size = _CLIENTS + 2 * _CLIENT_SIZE
        memory = os.memfd_create("calendar")
        os.ftruncate(memory, size)
        self.descriptors: tuple[int, ...] = (memory, os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))
        self._page = mmap.mmap(memory, size)
        _HEADER.pack_into(self._page, 0, _VERSION, size, 0, 0, _CALENDAR, 2)
        self._page[_CLIENTS] = _CAN_SHARE
        self._long = memoryview(self._page).cast("Q")
        self._short = memoryview(self._page).cast("H")

    @property
    def number(self) -> int:
        """The guest's in this page, which it is told in the answer to START."""
        return _GUEST

    @property
    def used(self) -> bool:
        """Whether the guest has said that it looks here."""
        return bool(self._page[_CLIENTS + _CLIENT_SIZE * _GUEST] & _CAN_SHARE)

    @property
    def now(self) -> int:
        """How late it is, as whoever runs has written."""
        return self._long[_NOW]

    @property
    def request(self) -> int | None:
        """When the guest wants to run, or None where it has not asked since its last turn."""
        _, flags, time = _CLIENT.unpack_from(self._page, _CLIENTS + _CLIENT_SIZE * _GUEST)
        return time if flags & _WANTS_RUN else None

    def let_run(self, now: int, free_until: int) -> None:
        """It is the guest's turn."""
        self._turn(now, free_until, _GUEST)

    def hold(self, now: int, free_until: int) -> None:
        """It is not."""
        self._turn(now, free_until, _CALENDAR)

    def _turn(self, now: int, free_until: int, client: int) -> None:
        self._long[_FREE_UNTIL] = free_until
        self._long[_NOW] = now
        self._short[_RUNNING] = client

    def limit(self, free_until: int) -> None:
        """The guest, who runs, may run less far than was said."""
        self._long[_FREE_UNTIL] = free_until

    def close(self) -> None:
        """Release it; the guest's own map stays."""
        descriptors, self.descriptors = self.descriptors, ()
        for descriptor in descriptors:
            os.close(descriptor)
        self._long.release()
        self._short.release()
        self._page.close()
