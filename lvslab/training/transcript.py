"""What a shell showed, as asciinema writes it (asciicast v2, docs.asciinema.org): a head, then a
line for each piece of output ("o") and each new size of the window ("r").
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path

_MOST_BYTES = 64 << 20
"""Of all transcripts in a folder."""


class Transcript:
    """One shell's. A disk that is full costs the rest of it, not the shell."""

    def __init__(self, file: Path, title: str, size: tuple[int, int]) -> None:
        """Begin it; `size` in rows and columns."""
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._written = sum(other.stat().st_size for other in file.parent.glob("*.cast"))
        self._began = time.time()
        self._lock = threading.Lock()
        self._stream = file.open("a", encoding="utf-8", buffering=1)
        rows, columns = size
        head = {"version": 2, "width": columns, "height": rows}
        self._write({**head, "timestamp": int(self._began), "title": title})

    def show(self, data: bytes) -> None:
        """Something was shown."""
        self._event("o", data.decode(errors="replace"))

    def resize(self, rows: int, columns: int) -> None:
        """The window has another size."""
        self._event("r", f"{columns}x{rows}")

    def close(self) -> None:
        """Nothing more will come."""
        with self._lock, suppress(OSError):
            self._stream.close()

    def _event(self, kind: str, text: str) -> None:
        with self._lock:
            if self._written < _MOST_BYTES and not self._stream.closed:
                self._write([round(time.time() - self._began, 3), kind, text])

    def _write(self, entry: object) -> None:
        with suppress(OSError):
            self._written += self._stream.write(json.dumps(entry) + "\n")
