"""Lines that a reader did not understand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unclear:
    """A line, or a part of one, that the result does not contain.

    Attributes:
        line: its number, from 1.
        text: as it stands there.
        why: what kept it from being understood.
        file: where it stands; "": in the text that was given.
    """

    line: int
    text: str
    why: str
    file: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file else f"line {self.line}"
        return f"{where}: '{self.text.strip()}': {self.why}"
