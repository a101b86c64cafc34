"""What the console of a dead guest says: the reason of its panic, and a name that is the same
whenever the same thing happens.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_REASON = re.compile(r"Kernel panic - not syncing: (.*)")
_FRAME = re.compile(r"\[<[0-9a-f]+>\] (?P<unsure>\? )?(?P<function>[\w.]+)\+0x|^\s*(?P<plain>[\w.]+)\+0x")
_LEVEL = re.compile(r"^(?:<\d>|\[\s*\d+\.\d+\]\s*)+")
_NOT_OF_THE_CAUSE = frozenset(
    {"panic", "dump_stack", "dump_stack_lvl", "show_stack", "_printk", "printk", "vprintk"}
)
_NAMED_FRAMES = 3


@dataclass(frozen=True)
class Panic:
    """A kernel's end by its own word.

    Attributes:
        reason: the kernel's, in one line.
        functions: that the trace names, the innermost first; entries that the kernel itself marks
            as unsure ("?") are left out, unless there are no others.
        text: all lines from the reason to the end of the console.
    """

    reason: str
    functions: tuple[str, ...]
    text: str

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits; equal for equal reasons and functions, wherever these lie in
        memory and whatever the registers held.
        """
        words = "\n".join((re.sub(r"0x[0-9a-f]+|\d+", "N", self.reason), *self.functions))
        return hashlib.sha256(words.encode()).hexdigest()[:8]

    def __str__(self) -> str:
        inner = [name for name in self.functions if name not in _NOT_OF_THE_CAUSE][:_NAMED_FRAMES]
        place = f" in {' < '.join(inner)}" if inner else ""
        return f"panic {self.fingerprint}: {self.reason}{place}"


def find_panic(console: str) -> Panic | None:
    """The first panic that a console tells of, or None."""
    lines = [_LEVEL.sub("", line) for line in console.splitlines()]
    for number, line in enumerate(lines):
        if reason := _REASON.search(line):
            rest = lines[number:]
            frames = [frame for frame in map(_FRAME.search, rest) if frame]
            sure = [frame for frame in frames if not frame["unsure"]] or frames
            functions = tuple(frame["function"] or frame["plain"] for frame in sure)
            return Panic(reason[1].strip(), functions, "\n".join(rest))
    return None


def last_line(console: str) -> str | None:
    """The last line that is not empty."""
    lines = [line.strip() for line in console.splitlines() if line.strip()]
    return lines[-1] if lines else None
