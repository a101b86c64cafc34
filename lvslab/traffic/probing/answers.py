"""What an error number means, and how a connection is ended at once."""

from __future__ import annotations

import errno
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


def outcome_of(number: int | None) -> str:
    """The outcome that an errno stands for; what no network can cause is the machine's own
    fault.
    """
    return _OUTCOMES.get(number or 0, "local")


def abort(sock: socket.SocketType) -> None:
    """Close a connection with RST, at once and without leaving anything behind."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    sock.close()
