"""The line from a page to one shell: what is shown goes to the page, what is typed comes back."""

from __future__ import annotations

import codecs
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lvslab.errors import LvslabError
from lvslab.training.line import DATA, END, SIZE, Line
from lvslab.training.session import Session, answer

_SIZE = 24, 80
"""Rows and columns of a window whose size is not known."""

_LARGEST = 500


class Relay:
    """Joined to a shell until it ends, or the page does. The shell itself goes on."""

    def __init__(
        self,
        session: Session,
        *,
        show: Callable[[str], None],
        sized: Callable[[int, int], None],
        ended: Callable[[str], None],
        read_only: bool = False,
    ) -> None:
        """`show`, `sized` and `ended` are called from a thread of the relay's: with what the shell
        shows, with how many rows and columns it has, and with why it is over.
        """
        self._session, self._show, self._sized, self._ended = session, show, sized, ended
        self.read_only = read_only
        self._line: Line | None = None
        self._size: tuple[int, int] | None = None
        self.shell = ""
        self.node = ""

    def open(self, node: str) -> None:
        """Start a shell on a node.

        Raises:
            LvslabError: there is no such node, or no shell is to be had.
        """
        rows, columns = self._size or _SIZE
        self._join({"do": "shell", "node": node, "lasting": True, "rows": rows, "columns": columns})

    def attach(self, shell: str) -> None:
        """Join one that runs. It takes this window's size, if that is known and may be written to.

        Raises:
            LvslabError: it does not run.
        """
        size = {} if self._size is None else dict(zip(("rows", "columns"), self._size, strict=True))
        self._join({"do": "attach", "shell": shell, **size})

    def _join(self, request: dict[str, Any]) -> None:
        asked, line = self._size, self._session.line()
        try:
            line.send({**request, "terminal": "xterm-256color", "read_only": self.read_only})
            joined = answer(line, lambda text: None, self._session)
        except (OSError, LvslabError):
            line.close()
            raise
        self.shell, self.node = joined["shell"], joined["node"]
        self._line = line
        threading.Thread(target=self._listen, args=(line,), daemon=True).start()
        if self._size is not None and self._size != asked:
            self.resize(*self._size)

    def _listen(self, line: Line) -> None:
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        why = "lost"
        with suppress(OSError, ValueError):
            for kind, data in line.frames():
                if kind == DATA:
                    self._show(decode(data))
                elif kind == SIZE:
                    self._sized(*struct.unpack("!HH", data))
                elif kind == END:
                    why = "ended"
                    break
        if self._line is not None:
            self._ended(why)

    def type(self, text: str) -> None:
        """Type something; nothing where it may only be read, or the line is gone."""
        if self._line is not None and not self.read_only:
            with suppress(OSError):
                self._line.send_frame(DATA, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Say how large this window is; before it is joined, too. The shell takes that size, and
        `sized` hears of it when it has.
        """
        self._size = min(max(rows, 2), _LARGEST), min(max(columns, 2), _LARGEST)
        if self._line is not None and not self.read_only:
            with suppress(OSError):
                self._line.send_frame(SIZE, struct.pack("!HH", *self._size))

    def close(self) -> None:
        """Leave; the shell goes on."""
        line, self._line = self._line, None
        if line is not None:
            with suppress(OSError):
                line.socket.shutdown(2)
            line.close()
