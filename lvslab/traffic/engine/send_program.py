"""The engine's sender: a program of its own, run in a node's network namespace as
`python -I -m lvslab.traffic.engine.send_program SPEC`.

SPEC is a JSON object: interface; descriptor (an inherited one of the memory with the frames),
stride, lengths (see `compile.Frames`); count (or null), rate (or null), seconds, workers (see
`sender.Sender`).

It sends until everything was sent, `seconds` have passed, standard input is closed, or SIGTERM
comes. Standard output: "started" before the first packet, one JSON object at the end: sent,
seconds, late, worst_late, errors.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import sys
import threading
from contextlib import suppress

import numpy as np

from lvslab.traffic.engine.sender import Sender


def watch_input(stopping: threading.Event) -> None:
    """Set the event at the end of standard input."""
    with suppress(OSError):
        while os.read(0, 4096):
            pass
    stopping.set()


def main(arguments: list[str]) -> int:
    spec = json.loads(arguments[0])
    descriptor = spec.pop("descriptor")
    memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size, mmap.MAP_PRIVATE)
    try:
        sender = Sender(buffer=np.frombuffer(memory, np.uint8), **spec)
        signal.signal(signal.SIGTERM, lambda _number, _frame: sender.stopping.set())
        threading.Thread(target=watch_input, args=(sender.stopping,), daemon=True).start()
        print("started", flush=True)
        tally = sender.run()
    except OSError as error:
        print(f"{spec['interface']}: {error.strerror}", file=sys.stderr)
        return 1
    seconds = max(0.0, tally.ended - sender.began)
    if (
        spec["rate"] is not None
    ):  # the last packet's interval belongs to the time, unless that was late anyway
        seconds = max(seconds, tally.sent / spec["rate"])
    said = {
        "sent": tally.sent,
        "seconds": seconds,
        "late": tally.late,
        "worst_late": tally.worst_late,
        "errors": dict(tally.errors),
    }
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
