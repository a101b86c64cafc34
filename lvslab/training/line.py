"""The line between `lvslab train …` and the keeper of a running lab: one JSON request, JSON
answers, and for a shell frames both ways.

request   {"do": "check"}                                   a line
answers   {"event": "…"} …, then {"done": …} or {"error": "…", "code": 2}     a line each
shell     after {"done": …}: frames of one kind byte, four bytes of length, data: what is typed,
what is shown, the window's size (both ways), the end
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DATA, SIZE, END = b"d", b"w", b"x"
_HEAD = struct.Struct("!cI")
_LONGEST = 1 << 20


class Line:
    """One connection, at either end."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._stream = sock.makefile("rb", buffering=0)

    def send(self, message: Any) -> None:
        """Send a JSON message."""
        self.socket.sendall(json.dumps(message, ensure_ascii=False).encode() + b"\n")

    def receive(self) -> Any:
        """The next JSON message, or None at the end of the line.

        Raises:
            ValueError: this is no JSON.
        """
        text = bytearray()
        while not text.endswith(b"\n"):
            data = self._stream.read(1)  # not more: frames may follow
            if not data or len(text) > _LONGEST:
                return None
            text += data
        return json.loads(text)

    def send_frame(self, kind: bytes, data: bytes) -> None:
        """Send a frame."""
        self.socket.sendall(_HEAD.pack(kind, len(data)) + data)

    def frames(self) -> Iterator[tuple[bytes, bytes]]:
        """Frames until the end of the line."""
        while True:
            head = self._exactly(_HEAD.size)
            if head is None:
                return
            kind, length = _HEAD.unpack(head)
            data = self._exactly(length) if length <= _LONGEST else None
            if data is None:
                return
            yield kind, data

    def _exactly(self, count: int) -> bytes | None:
        data = bytearray()
        while len(data) < count:
            try:
                more = self._stream.read(count - len(data))
            except OSError:
                return None
            if not more:
                return None
            data += more
        return bytes(data)

    def close(self) -> None:
        """End the line; the other side sees the end of its stream."""
        self._stream.close()
        self.socket.close()


@contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """A name for a socket that fits into the 108 bytes of unix(7), however deep its
    directory lies.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """A socket that listens at a path; one that was left over there goes."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short_path(path) as short:
        sock.bind(short)
    path.chmod(0o600)
    sock.listen(16)
    return sock


def connect(path: Path) -> Line:
    """The line to whoever listens at a path.

    Raises:
        OSError: nobody does.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_path(path) as short:
            sock.connect(short)
    except BaseException:
        sock.close()
        raise
    return Line(sock)
