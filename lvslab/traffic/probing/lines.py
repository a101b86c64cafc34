"""The two files that a prober writes."""

from __future__ import annotations

import os

from lvslab.traffic.probing.machine import now

ATTEMPTS_HEADER = "planned,start,connect,first_byte,end,local_port,server,outcome\n"
BEATS_HEADER = "connection,opened,local_port,planned,sent,answered,server,outcome\n"


class Lines:
    """A CSV file that grows by whole lines. Records are kept raw and made into text when there is
    time.
    """

    def __init__(self, path: str, header: str, offset: int) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._offset = offset
        self._text = [header]
        self.raw: list[tuple[int | str | None, ...]] = []
        self.oldest: int | None = now()
        self.stamped: frozenset[int] = frozenset()

    def add(self, *record: int | str | None) -> None:
        """A record: the columns in `stamped` are times, None is an empty field."""
        self.raw.append(record)
        if self.oldest is None:
            self.oldest = now()

    def format(self, count: int) -> None:
        """Make text of the oldest records."""
        offset, stamped = self._offset, self.stamped
        for record in self.raw[:count]:
            fields = []
            for column, value in enumerate(record):
                if value is None:
                    fields.append("")
                elif column in stamped:
                    microseconds = (value + offset) // 1000  # type: ignore[operator]
                    fields.append("%d.%06d" % divmod(microseconds, 1_000_000))  # noqa: UP031 - twice as fast as an f-string here
                else:
                    fields.append(str(value))
            self._text.append(",".join(fields) + "\n")
        del self.raw[:count]

    def flush(self) -> None:
        """Put everything into the file."""
        self.format(len(self.raw))
        data = "".join(self._text).encode()
        self._text.clear()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            raise OSError(error.errno, "write", self._path) from None
        self.oldest = None
