"""What a guest's console says of its kernel's trouble: a panic, an oops, a warning, a report of
KASAN or lockdep; each with a name that is the same whenever the same thing happens.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import GuestError
from lvslab.kernels import guestfiles

_REASON = re.compile(r"Kernel panic - not syncing: (.*)")
_FRAME = re.compile(r"\[<[0-9a-f]+>\] (?P<unsure>\? )?(?P<function>[\w.]+)\+0x|^\s*(?P<plain>[\w.]+)\+0x")
_LEVEL = re.compile(r"^(?:<\d>|\[\s*\d+\.\d+\]\s*)+")
_NOT_OF_THE_CAUSE = frozenset(
    {
        *("panic", "dump_stack", "dump_stack_lvl", "show_stack", "_printk", "printk", "vprintk"),
        *("__warn", "warn_slowpath_fmt", "__warn_printk", "report_bug", "handle_bug"),
        *("kasan_report", "print_report", "print_address_description", "ubsan_epilogue"),
        *("__ubsan_handle_out_of_bounds", "__ubsan_handle_shift_out_of_bounds"),
        *("print_circular_bug", "lockdep_rcu_suspicious", "print_usage_bug", "__might_resched"),
    }
)
"""What a trace goes through because it is a trace."""

_INIT_ENDED = "Attempted to kill init"
"""The panic of a kernel whose process 1 has ended (kernel/exit.c): why, that process may have said
itself.
"""

_NAMED_FRAMES = 3
_FINGERPRINT_FRAMES = 5
"""The callers beyond these say who happened to call, not what went wrong."""

_COMPLAINTS = (
    ("KASAN", re.compile(r"BUG: KASAN: .*")),
    ("UBSAN", re.compile(r"UBSAN: .*")),
    (
        "lockdep",
        re.compile(
            r"WARNING: (?:possible (?:circular|recursive|irq lock|deadlock)|inconsistent lock state|"
            r"suspicious RCU usage|bad unlock balance|lock held when|held lock freed|Nested lock|"
            r"SOFTIRQ-|HARDIRQ-).*"
        ),
    ),
    ("warning", re.compile(r"WARNING: CPU: .*")),
    (
        "oops",
        re.compile(
            r"BUG: (?:kernel NULL|unable to handle|sleeping function|scheduling while atomic|Bad page|"
            r"spinlock|workqueue leaked).*|kernel BUG at .*|Oops: .*|general protection fault.*"
        ),
    ),
    ("leak", re.compile(r"kmemleak: \d+ new suspected memory leaks.*")),
    ("leak", re.compile(r"unregister_netdevice: waiting for .* to become free.*")),
)
"""How kernels begin to complain (lib/bug.c, kernel/panic.c, mm/kasan/report.c, lib/ubsan.c,
kernel/locking/lockdep.c, mm/kmemleak.c, net/core/dev.c). What tells of time only (soft lockups, RCU
stalls) is not among them: a guest on a busy machine stands still without a fault of its own.
"""

_END_OF_TRACE = re.compile(r"---\[ end trace|^={20,}$")
_MOST_LINES = 120
"""Of one complaint."""

_END_BYTES = 1 << 20
"""Of the end of a console, where a panic is: its trace has some kilobytes."""


@dataclass(frozen=True)
class Report:
    """Something that a kernel says of its own trouble.

    Attributes:
        what: "panic", "oops", "warning", "lockdep", "KASAN", "UBSAN" or "leak".
        reason: the kernel's, in one line.
        functions: that the trace names, the innermost first; entries that the kernel itself marks
            as unsure ("?") are left out, unless there are no others.
        text: all lines of it.
    """

    what: str
    reason: str
    functions: tuple[str, ...]
    text: str

    @property
    def cause(self) -> tuple[str, ...]:
        """The functions without those that print."""
        return tuple(name for name in self.functions if name not in _NOT_OF_THE_CAUSE)

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits; equal for equal reasons and functions, wherever these lie in
        memory or in their files, and whatever the registers held.
        """
        words = "\n".join((_without_numbers(self.reason), *self.cause[:_FINGERPRINT_FRAMES]))
        return hashlib.sha256(words.encode()).hexdigest()[:8]

    def __str__(self) -> str:
        inner = self.cause[:_NAMED_FRAMES]
        place = f" in {' < '.join(inner)}" if inner else ""
        return f"{self.what} {self.fingerprint}: {self.reason}{place}"


def find_panic(console: str) -> Report | None:
    """The first panic that a console tells of, or None."""
    lines = _lines(console)
    for number, line in enumerate(lines):
        if reason := _REASON.search(line):
            return _report("panic", reason[1], lines[number:])
    return None


def find_complaints(console: str) -> list[Report]:
    """Everything short of a panic that a kernel complains of, in the order of the console."""
    lines = _lines(console)
    beginnings = [(number, *begun) for number, line in enumerate(lines) if (begun := _beginning(line))]
    found = []
    for place, (number, what, reason) in enumerate(beginnings):
        last = beginnings[place + 1][0] if place + 1 < len(beginnings) else len(lines)
        own = lines[number : min(last, number + _MOST_LINES)]
        end = next((at for at, line in enumerate(own) if at and _END_OF_TRACE.search(line)), len(own))
        found.append(_report(what, reason, own[:end]))
    return found


def _beginning(line: str) -> tuple[str, str] | None:
    """(what, reason) of a line with which a complaint begins."""
    for what, pattern in _COMPLAINTS:
        if match := pattern.search(line):
            return what, match[0]
    return None


def _report(what: str, reason: str, lines: Sequence[str]) -> Report:
    frames = [frame for frame in map(_FRAME.search, lines) if frame]
    sure = [frame for frame in frames if not frame["unsure"]] or frames
    functions = tuple(frame["function"] or frame["plain"] for frame in sure)
    return Report(what, reason.strip(), functions, "\n".join(lines))


def _lines(console: str) -> list[str]:
    return [_LEVEL.sub("", line) for line in console.splitlines()]


def _without_numbers(text: str) -> str:
    """Addresses, offsets, lines of source and processors differ from build to build."""
    return re.sub(r"0x[0-9a-f]+|\d+", "N", text)


def last_line(console: str) -> str | None:
    """The last line that is not empty."""
    lines = [line.strip() for line in console.splitlines() if line.strip()]
    return lines[-1] if lines else None


_LINES_BEFORE = 3
"""Of what process 1 said before it ended: its own words, and what the kernel said of the cause."""


def last_words(log: Path) -> str:
    """Why a guest is gone, as far as the file of its console tells; one line."""
    said = _end(log)
    panic = find_panic(said)
    words = str(panic or last_line(said) or "")
    if panic and panic.reason.startswith(_INIT_ENDED):
        before = [line for line in _lines(_before_panic(said)) if line.strip()][-_LINES_BEFORE:]
        words += f"; before that: {' / '.join(line.strip() for line in before) or 'nothing'}"
    return f"{f'it said: {words}' if words else 'its console is empty'} (console: {log})"


def _before_panic(console: str) -> str:
    """Whole lines."""
    match = _REASON.search(console)
    return console[: console.rfind("\n", 0, match.start()) + 1] if match else console


def panicked(log: Path) -> bool:
    """Whether the file of a console tells of a panic."""
    return find_panic(_end(log)) is not None


def _end(log: Path) -> str:
    try:
        return guestfiles.read_end(log, _END_BYTES)
    except GuestError:
        return ""


def complaints(log: Path) -> list[Report]:
    """What the last megabyte of a console tells of; nothing where it cannot be read."""
    return find_complaints(_end(log))
