"""The end of a prober's file of attempts, read while it is written."""

from __future__ import annotations

from pathlib import Path


class Tail:
    """Follows the attempts as they are written.

    Attributes:
        last_ok, last_failure: planned times of the latest attempts of either kind that have ended.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._position = file, 0
        self.last_ok = self.last_failure = 0.0

    def read(self) -> None:
        with self._file.open("rb") as stream:
            stream.seek(self._position)
            text = stream.read()
        whole = text.rfind(b"\n") + 1
        self._position += whole
        for line in text[:whole].splitlines():
            planned, outcome = line.partition(b",")[0], line.rpartition(b",")[2]
            if planned == b"planned":
                continue
            if outcome == b"ok":
                self.last_ok = max(self.last_ok, float(planned))
            else:
                self.last_failure = max(self.last_failure, float(planned))
