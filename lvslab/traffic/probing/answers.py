"""What an answer, an error number and an end of a connection mean."""

from __future__ import annotations

import errno
import re
import socket
import struct

_ABORT = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close(2) sends RST and forgets the connection

_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTDOWN: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.ENOPROTOOPT: "unreachable",  # ICMP protocol unreachable
}
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,64}(?= )")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r", re.IGNORECASE)


def outcome_of(number: int | None) -> str:
    """The outcome that an errno stands for; what no network can cause is the machine's own
    fault.
    """
    return _OUTCOMES.get(number or 0, "local")


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
    """The name that begins an answer "NAME CLIENT-ADDRESS CLIENT-PORT"; empty when it begins
    otherwise.
    """
    found = _NAME.match(body)
    return found[0].decode() if found else ""


def is_success(answer: bytes) -> bool:
    """Whether an HTTP answer has status 200."""
    return answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))


def abort(sock: socket.SocketType) -> None:
    """Close a connection with RST, at once and without leaving anything behind."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    sock.close()
