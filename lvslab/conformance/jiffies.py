"""When a kernel's timer goes off, to the jiffy.

A timer that is armed in one jiffy for so many more does not go off then but at the end of the
bucket of the timer wheel into which it falls (calc_wheel_index and calc_index in
kernel/time/timer.c, the same in Linux 6.1, 6.12 and 7.2): the farther away it is, the wider the
bucket. IPVS sets all of its lifetimes this way, with mod_timer().
"""

from __future__ import annotations

_FIRST = 63
"""Jiffies, less than which a timer is on the innermost level (LVL_START(1))."""

_STEP_BITS = 3
"""Each level's buckets are eight times as wide as those of the level before (LVL_CLK_SHIFT)."""

_LEVELS = 8
"""With 100 jiffies a second (LVL_DEPTH)."""


def granularity(timeout: int) -> int:
    """Width of the bucket, in jiffies, for a timer so many jiffies away; by so many it may be late,
    and by one at least.
    """
    level = 0
    while level < _LEVELS - 1 and timeout >= _FIRST << (_STEP_BITS * level):
        level += 1
    return 1 << (_STEP_BITS * level)


def goes_off(armed: int, timeout: int) -> int:
    """The jiffy in which a timer goes off that was armed in the jiffy `armed` for so many more."""
    width = granularity(timeout)
    return ((armed + timeout) // width + 1) * width
