"""The terminal: progress on standard error, results on standard output. Only this module and the
command line print.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lvslab.events import Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


def result_console() -> Console:
    """Rich's console on standard output; in a pipe it neither colours nor folds lines."""
    from rich.console import Console

    class Plain(Console):
        """Leaves a reader that has gone away to the command: Rich would end the process."""

        def on_broken_pipe(self) -> None:
            raise

    return Plain(width=None if sys.stdout.isatty() else 10_000, highlight=False, emoji=False)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table on standard output; PASS, FAIL and SKIP are coloured on a terminal."""
    from rich.markup import escape
    from rich.table import Table

    colours = {"PASS": "green", "FAIL": "bold red", "SKIP": "yellow"}
    console = result_console()
    columns = list(zip(headers, *rows, strict=True))
    least = [_longest_word(column) for column in columns]
    room = console.width - _GAP * (len(columns) - 1)
    if sum(least) > room:
        print_lines([title] * bool(title) + records(headers, rows, console.width))
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for header, width in zip(
        headers, shared_out(room, least, [max(map(len, each)) for each in columns]), strict=True
    ):
        table.add_column(header, overflow="fold", width=width)
    for row in rows:
        table.add_row(*(f"[{colours[cell]}]{cell}[/]" if cell in colours else escape(cell) for cell in row))
    console.print(table)


_GAP = 2
"""Columns between two columns of a table."""


def shared_out(room: int, least: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Widths of a table's columns: at least what breaks no word, and whoever lacks most gets what
    room there is.
    """
    widths = [min(pair) for pair in zip(least, wanted, strict=True)]
    while sum(widths) < min(room, sum(wanted)):
        lacks = [want - width for want, width in zip(wanted, widths, strict=True)]
        widths[lacks.index(max(lacks))] += 1
    return widths


def _longest_word(texts: Sequence[str]) -> int:
    return max((len(word) for text in texts for word in text.split()), default=0)


def records(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A table that is too wide for the terminal: each row's cells below each other, words whole."""
    lines = []
    for first, *cells in rows:
        lines += wrapped(first, width)
        for header, cell in zip(headers[1:], cells, strict=True):
            if cell:
                lines += wrapped(f"{header}: {cell}" if header else cell, width, "  ")
    return lines


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Prose in lines of a width; what follows the first line is indented a little more. A word that
    is longer stays whole, so that it can be copied.
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent else "",
        break_long_words=False,
        break_on_hyphens=False,
    )


_PROMPT = re.compile(r"(^|\s)(?=[\w.-]+# )")


def remedies(lines: Sequence[str], width: int, indent: str) -> list[str]:
    """What mends a fault: prose in lines of a width, and each command, which stands behind a
    machine's prompt, in a line of its own, to be copied.
    """
    shown = []
    for line in lines:
        prose, command = line, ""
        if prompt := _PROMPT.search(line):
            prose, command = line[: prompt.start()], line[prompt.end() :]
        shown += wrapped(prose, width, indent)
        if command:
            shown.append(f"{indent}{'  ' if prose else ''}{command}")
    return shown


def fitting(picture: Sequence[str]) -> list[str]:
    """A picture made of letters as it is; on a terminal that would break its lines, how wide it
    is.
    """
    width, needed = result_console().width, max(map(len, picture), default=0)
    if needed <= width:
        return list(picture)
    return [f"(the packets' path is {needed} columns wide, this terminal {width}: the report has it, too)"]


def print_json(data: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def print_lines(lines: Sequence[str]) -> None:
    """Lines as they are, on standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_error(message: str) -> None:
    """The one-line error, on standard error."""
    sys.stderr.write(f"lvslab: {message}\n")


class Progress:
    """Shows events on standard error: one live line on a terminal, one plain line an event
    elsewhere.
    """

    def __init__(self) -> None:
        self._status: Status | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True, highlight=False, emoji=False).status(
                "starting", spinner="dots"
            )
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()
            self._status = None

    def say(self, line: str) -> None:
        """A line that stays, on standard error."""
        if self._status is None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        else:
            from rich.markup import escape

            self._status.console.print(escape(line))

    def pause(self) -> None:
        """Take the live line away, so that something can be printed."""
        if self._status:
            self._status.stop()

    def go_on(self) -> None:
        """Show the live line again."""
        if self._status:
            self._status.start()

    def __call__(self, event: Event) -> None:
        """Take an event."""
        where = f"{event.lab}: " if event.lab else ""
        if self._status is None:
            sys.stderr.write(f"{where}{event.text}\n")
            sys.stderr.flush()
            return
        from rich.markup import escape

        if event.kind in ("verdict", "note", "job", "fault", "repair", "vrrp"):
            self._status.console.print(f"{escape(where)}{escape(event.text)}")
        else:
            self._status.update(f"{escape(where)}{escape(event.text)}")
