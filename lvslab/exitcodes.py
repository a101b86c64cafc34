"""The exit codes of every `lvslab` command: an interface that scripts rely on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What a finished `lvslab` process says to the shell."""

    OK = 0
    """Everything that was expected held."""
    FAILED = 1
    """An expectation failed, or a comparison found a regression."""
    USAGE = 2
    """Wrong usage or input; nothing was started."""
    CANNOT = 4
    """Skipped: this machine cannot do it, or was too busy for something to be judged; the message
    says why. The number is the kernel selftests' code for a skip.
    """
    LAB_BROKE = 69
    """The lab itself broke, for example a guest died unasked (EX_UNAVAILABLE of sysexits.h)."""
    INTERRUPTED = 130
    """Interrupted by a signal; everything was cleaned up (128 + SIGINT)."""
    READER_GONE = 141
    """Whoever read the output has gone away, as in `lvslab list | head` (128 + SIGPIPE)."""


_WEIGHT = (ExitCode.OK, ExitCode.CANNOT, ExitCode.FAILED, ExitCode.LAB_BROKE, ExitCode.USAGE)
"""Exit codes by how much they say."""


def gravest(codes: Iterable[ExitCode]) -> ExitCode:
    """Of the exit codes of several parts of a command the one that says most: skips count before
    success, failures before skips.
    """
    return max(codes, key=_WEIGHT.index, default=ExitCode.OK)
