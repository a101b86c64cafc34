"""The engine's receiver: a program of its own, run in a node's network namespace as
`python -I -m lvslab.traffic.engine.receive_program SPEC`.

SPEC is a JSON object: interface, ethertype, slots, room (see `ring.Ring`); quiet: seconds without a
frame that make the end; flows: whether to count by flow; sample: keep every n-th frame, 0: none;
descriptor: an inherited file for arrays too large for a line.

Standard output: "started" when frames are received. At the end of standard input it waits until
none has come for `quiet` seconds, writes flows and samples into the file (numpy's format, one array
after the other) and prints one JSON object: packets, total_bytes, dropped, other, first, last.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvslab.traffic.engine.flows import FlowTable, records_of
from lvslab.traffic.engine.ring import Ring
from lvslab.traffic.engine.send_program import watch_input

_LOOK = 0.001  # seconds between two looks at an empty ring
_MOST_SAMPLES = 100_000
_DRAIN = 5.0  # seconds after the end of standard input at most, if frames keep coming


class Counting:
    """What came so far; times in nanoseconds since the epoch."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.packets = self.bytes = 0
        self.first: int | None = None
        self.last: int | None = None
        self.table = FlowTable() if spec["flows"] else None
        self._every: int = spec["sample"]
        self.times: list[int] = []
        self.samples: list[bytes] = []

    def add(self, headers: NDArray[np.void], frames: NDArray[np.uint8]) -> None:
        """Count frames."""
        stamps = headers["seconds"].astype(np.int64) * 1_000_000_000 + headers["nanoseconds"]
        least, most = int(stamps.min()), int(stamps.max())
        self.first = least if self.first is None else min(self.first, least)
        self.last = most if self.last is None else max(self.last, most)
        if self._every:
            for row in range(-self.packets % self._every, len(frames), self._every):
                if len(self.samples) < _MOST_SAMPLES:
                    self.times.append(int(stamps[row]))
                    self.samples.append(bytes(frames[row, : headers["captured"][row]]))
        self.packets += len(frames)
        self.bytes += int(headers["length"].sum(dtype=np.int64))
        if self.table is not None:
            self.table.add(records_of(frames, headers["captured"]))


def receive(ring: Ring, counting: Counting, stopping: threading.Event, quiet: float) -> None:
    """Count until told to stop and nothing has come for a while."""
    last, end = time.monotonic(), None
    while True:
        taken = ring.take()
        if taken is not None:
            counting.add(*taken)
            ring.give_back(len(taken[0]))
            last = time.monotonic()
        if stopping.is_set():
            now = time.monotonic()
            end = end or now + _DRAIN
            if now >= end or (taken is None and now - last >= quiet):
                return
        if taken is None:
            time.sleep(_LOOK)


def main(arguments: list[str]) -> int:
    spec = json.loads(arguments[0])
    stopping = threading.Event()
    try:
        with Ring(spec["interface"], spec["ethertype"], spec["slots"], spec["room"]) as ring:
            threading.Thread(target=watch_input, args=(stopping,), daemon=True).start()
            counting = Counting(spec)
            print("started", flush=True)
            receive(ring, counting, stopping, spec["quiet"])
            dropped = ring.statistics()[1]
    except OSError as error:
        print(f"{spec['interface']}: {error.strerror}", file=sys.stderr)
        return 1
    with os.fdopen(spec["descriptor"], "wb", closefd=False) as file:
        if counting.table is not None:
            flows = counting.table.flows()
            np.save(file, flows.records)
            np.save(file, flows.counts)
        if spec["sample"]:
            np.save(file, np.array(counting.times, np.int64))
            np.save(file, np.array([len(each) for each in counting.samples], np.int64))
            np.save(file, np.frombuffer(b"".join(counting.samples), np.uint8))
    said = {
        "packets": counting.packets,
        "total_bytes": counting.bytes,
        "dropped": dropped,
        "other": counting.table.other if counting.table is not None else 0,
        "first": counting.first,
        "last": counting.last,
    }
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
