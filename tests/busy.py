"""A machine whose processors are all busy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def busy_processors(loops: int = 1) -> Iterator[None]:
    """Busy loops, so many for each processor: who shares it with them waits most of the time.

    Each has a session of its own: the machine's scheduler may give sessions equal shares, and all
    loops of one would count as one (sched(7), autogroup).
    """
    processes = [
        subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"], start_new_session=True)
        for _ in range(loops * len(os.sched_getaffinity(0)))
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
