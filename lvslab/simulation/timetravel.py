"""What a kernel in virtual time and its calendar say to each other over a socket
(include/uapi/linux/um_timetravel.h; the kernel's side: arch/um/kernel/time.c).

Every message is acknowledged by one with the same sequence number, RUN and WAIT of a kernel that
uses the shared page (sharedtime.py) excepted.
"""

from __future__ import annotations

import struct
from enum import IntEnum


class Operation(IntEnum):
    """What a message says; the comment names the side that says it."""

    ACK = 0  # both
    START = 1  # the kernel, once: its number
    REQUEST = 2  # the kernel: when it wants to run
    WAIT = 3  # the kernel: it has stopped until RUN
    GET = 4  # the kernel: what time is it?
    UPDATE = 5  # the kernel: it is as late as this
    RUN = 6  # the calendar
    FREE_UNTIL = 7  # the calendar: up to there it needs not ask
    GET_TOD = 8  # the kernel: what date is it?
    BROADCAST = 9  # a kernel of 6.11 and later, to others


MESSAGE = struct.Struct("<IIQ")
"""Operation, sequence number, time in nanoseconds."""
