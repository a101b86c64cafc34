"""Texts that a command is given, from files or standard input."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lvslab.errors import UsageError

if TYPE_CHECKING:
    from lvslab.doctor.dump import Given

_MOST_BYTES = 64 * 2**20


def given(argument: str) -> Given:
    """The text that FILE or NAME=FILE stands for; "-" is standard input.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    from lvslab.doctor.dump import Given

    named = re.fullmatch(r"([A-Za-z0-9_.-]+)=(.+)", argument)
    machine, file = (named[1], named[2]) if named and not Path(argument).exists() else ("", argument)
    return Given("stdin" if file == "-" else file, _text(file), machine)


def _text(file: str) -> str:
    try:
        raw = sys.stdin.buffer.read(_MOST_BYTES) if file == "-" else _bytes(Path(file))
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    if b"\0" in raw:
        raise UsageError(f"{file}: is no text; give what a terminal shows, or a text file")
    if not raw.strip():
        raise UsageError(f"{file}: is empty; give what the script of --print-script has printed")
    return raw.decode(errors="replace")


def _bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_MOST_BYTES)
