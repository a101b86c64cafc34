"""What a real server answers to a probe, and what an answer means."""

from __future__ import annotations

import re

ANSWER = "{name} {client} {port}\n"
"""On TCP and UDP alike: the server's name, and the client's address and port as it saw them."""

_NAME = re.compile(rb"[A-Za-z0-9._-]{1,64}(?= )")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r", re.IGNORECASE)


def body_of(answer: bytes) -> bytes | None:
    """The body of an HTTP answer, None while it is not whole. An answer without a length is whole
    when its last line is.
    """
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return None
    length = _LENGTH.search(head + b"\r")
    if length is None:
        return body if body.endswith(b"\n") else None
    return body[: int(length[1])] if len(body) >= int(length[1]) else None


def server_of(body: bytes) -> str:
    """The name that begins an answer; empty when it begins otherwise."""
    found = _NAME.match(body)
    return found[0].decode() if found else ""


def is_success(answer: bytes) -> bool:
    """Whether an HTTP answer has status 200."""
    return answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
