"""Checks that no stand-in can satisfy, replaced in the files that a rehearsal installs: pure. Each
replacement is a sentence for the user.

keepalived compares a page with an MD5 digest, for which no page can be made; without it any 2xx
answer is good (keepalived.conf(5), url). ldirectord negotiates with databases, directories and mail
boxes; `checktype=connect` only connects (ldirectord(8)).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from lvslab.reading.configured import Pool
from lvslab.reading.ldirectord import Ldirectord

_DIGEST = re.compile(r"^(\s*)(digest\s+([0-9a-fA-F]{32})\b.*)$", re.MULTILINE)
_CHECKTYPE = re.compile(r"^(\s+checktype\s*=).*$")

NEGOTIATED = ("http", "https", "smtp", "submission", "dns", "none")
"""What a stand-in answers as ldirectord's checks want it."""

_CONNECTS = ("tcp", "ping", "script")
"""Kinds of checks by which nothing is negotiated."""


def without_digests(text: str, bodies: Iterable[str]) -> tuple[str, list[str]]:
    """A keepalived.conf whose digests are those of the pages that are given; the others stand in a
    comment.

    Args:
        bodies: pages that stand-ins have word by word.
    """
    known = {hashlib.md5(body.encode(), usedforsecurity=False).hexdigest() for body in bodies}
    removed: dict[str, int] = {}

    def comment(match: re.Match[str]) -> str:
        if match[3].lower() in known:
            return match[0]
        removed[match[3]] = removed.get(match[3], 0) + 1
        return f"{match[1]}# {match[2]}"

    changed = _DIGEST.sub(comment, text)
    return changed, [
        f"digest {digest}: no page can be made for it, so its check{' asks' if times == 1 else 's ask'} for"
        " any page; give the page in the plan to have it compared"
        for digest, times in removed.items()
    ]


def with_connects(text: str, read: Ldirectord) -> tuple[str, list[str]]:
    """An ldirectord.cf whose checks are those that a stand-in can satisfy."""
    lines, notes = text.splitlines(), []
    ends = [pool.line for pool in read.pools[1:]] + [len(lines) + 1]
    for pool, end in reversed(list(zip(read.pools, ends, strict=True))):
        kind = _unanswered(pool)
        if not kind:
            continue
        notes.append(
            f"virtual={pool.name}: no stand-in answers a check of {kind}, so it is asked with"
            " checktype=connect"
        )
        section = range(pool.line, end - 1)
        written = [number for number in section if _CHECKTYPE.match(lines[number])]
        for number in written:
            lines[number] = _CHECKTYPE.sub(r"\1connect", lines[number])
        if not written:
            lines.insert(pool.line, "\tchecktype=connect")
    return "\n".join(lines) + "\n", notes[::-1]


def _unanswered(pool: Pool) -> str:
    """The service of a check that negotiates what no stand-in speaks; "" without."""
    kinds = (check.kind for configured in pool.servers for check in configured.checks)
    return next((kind for kind in kinds if kind not in (*NEGOTIATED, *_CONNECTS)), "")
