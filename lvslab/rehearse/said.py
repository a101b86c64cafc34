"""What daemons say of their files, for people: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

REFUSED = "refused: keepalived --config-test"
"""A line behind what keepalived's own test has said of a file that it does not take."""

_STARTS = "Starting Keepalived v"
"""What keepalived says first when it works; what its test says stands before that."""

_STAMP = re.compile(r"^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}: ")
_UNREAD = re.compile(r"Error \[\d+\] reading file (.*)")
_MOST = 20


def refusal(said: Iterable[str]) -> str:
    """Why a daemon that has ended did not take its file, in its own words; "" where it ended for
    another reason.
    """
    before: list[str] = []
    for line in said:
        if unread := _UNREAD.search(line):
            return unread[1].strip()
        if line == REFUSED:
            return before[-1] if before else "keepalived --config-test fails, and says nothing"
        if line.strip():
            before.append(_bare(line))
    return ""


def complaints(said: Iterable[str]) -> list[str]:
    """What keepalived's test has to say about a file that it takes, each once."""
    found: dict[str, None] = {}
    for line in said:
        if _STARTS in line:
            break
        if line.strip():
            found[_bare(line)] = None
    else:
        return []
    return list(found)[:_MOST]


def _bare(line: str) -> str:
    return _STAMP.sub("", line).strip()
