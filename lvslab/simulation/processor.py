"""One processor for a world: who has the word changes with each packet, and a change from one
processor to another costs twice as much. Several worlds run side by side, one a processor.

The scheduling policy for batches keeps each process running until it waits: woken by the first
words of a message, the other one would take its place, and wait for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def on_one_processor(number: int | None = None) -> Iterator[int]:
    """Keep this process, and all that it starts meanwhile, on one processor; gives its number.

    Args:
        number: by default the one that this process is on now.
    """
    allowed, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    chosen = current_processor() if number is None else number
    os.sched_setaffinity(0, {chosen})
    if policy == os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield chosen
    finally:
        os.sched_setscheduler(0, policy, os.sched_getparam(0))
        os.sched_setaffinity(0, allowed)


def current_processor() -> int:
    """The processor that the calling thread runs on (proc(5), /proc/pid/stat, field 39)."""
    return int(Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()[36])
