"""Lines of a program, each stamped on arrival. What is done with a line, such as noting it in the
run's record, may wait for a busy disk: the stamp of the next one does not.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO

_MOST_WAITING = 10_000
"""Lines that are held; a program that says more is held up itself."""

Stamped = Iterator[tuple[float, bytes]]
"""Times when lines arrived, in seconds since the epoch, and the lines."""


def take_lines(
    name: str, stream: IO[bytes], longest: int, take: Callable[[Stamped], None]
) -> threading.Thread:
    """Read a stream to its end and close it, while another thread takes its lines.

    Args:
        name: of the threads.
        longest: octets after which a line is cut into several.
        take: gets the lines as they come. A line that it leaves is lost, and holds nobody up.

    Returns:
        The thread that takes them: it ends behind the last one.
    """
    waiting: queue.Queue[tuple[float, bytes] | None] = queue.Queue(_MOST_WAITING)

    def read() -> None:
        with suppress(OSError, ValueError), stream:  # closed by whoever gave it
            for line in iter(lambda: stream.readline(longest), b""):
                waiting.put((time.time(), line))
        waiting.put(None)

    def hand_on() -> None:
        lines = iter(waiting.get, None)
        try:
            take(lines)
        finally:
            for _ in lines:
                pass

    taker = threading.Thread(target=hand_on, name=name, daemon=True)
    taker.start()
    threading.Thread(target=read, name=f"{name}-stamps", daemon=True).start()
    return taker
