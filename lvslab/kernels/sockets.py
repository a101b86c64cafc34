"""The packet sockets behind a User-Mode Linux guest's NICs, tuned from outside.

A `raw` vector NIC (arch/um/drivers/vector_user.c) reads from one AF_PACKET socket and writes to
another. With the default 208 KiB the reading one drops bursts, which cost an untuned lab nine
tenths of its throughput; the writing one queues copies that nobody reads.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lvslab.host import linux

RECEIVE_BUFFER = 4 << 20
"""Bytes of receive buffer a NIC gets."""

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_ETH_P_ALL = 3
_BPF_RET_ZERO = struct.pack("=HBBI", 0x06, 0, 0, 0)  # "ret #0": keep nothing of any packet


def _borrowed(pid: int) -> Iterator[socket.socket]:
    """Duplicates of all sockets that process `pid` holds, the receiver's to close."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed between the listing and now
            if os.readlink(entry).startswith("socket:"):
                yield socket.socket(fileno=linux.borrow_descriptor(pid, int(entry.name)))


def incoming(pid: int) -> Iterator[tuple[int, int]]:
    """The sockets from which process `pid` reads frames, lines and commands, each with its number
    on the machine (its inode) and a duplicate of its descriptor, the receiver's to close.
    """
    for sock in _borrowed(pid):
        if sock.family == socket.AF_UNIX or (sock.family == socket.AF_PACKET and _receives(sock)):
            yield os.fstat(sock.fileno()).st_ino, sock.detach()
        else:
            sock.close()


def _receives(sock: socket.socket) -> bool:
    """Whether a packet socket is the one of a NIC's two that frames are read from."""
    return bool(sock.getsockname()[1] == _ETH_P_ALL)


@contextmanager
def _packet_sockets(pid: int) -> Iterator[list[socket.socket]]:
    """Duplicates of all AF_PACKET sockets that process `pid` holds."""
    found: list[socket.socket] = []
    try:
        for sock in _borrowed(pid):
            if sock.family == socket.AF_PACKET:
                found.append(sock)
            else:
                sock.close()
        yield found
    finally:
        for sock in found:
            sock.close()


def _enlarge(sock: socket.socket) -> None:
    """As root beyond the machine's limit (net.core.rmem_max), as an ordinary user up to it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _drop_everything(sock: socket.socket) -> None:
    program = ctypes.create_string_buffer(_BPF_RET_ZERO)
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


def tune(pid: int) -> int:
    """Give every NIC of guest `pid` room to receive and stop its sending sockets from queueing;
    returns how many were tuned.

    Only sockets of NICs that are up exist. Tuning again does no harm.
    """
    with _packet_sockets(pid) as sockets:
        for sock in sockets:
            if _receives(sock):
                _enlarge(sock)
                sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            else:
                _drop_everything(sock)
        return len(sockets)


@contextmanager
def deaf(pid: int) -> Iterator[None]:
    """Guest `pid` gets no frame while the block is entered, to the microsecond: a filter drops what
    its NICs would have received.
    """
    with _packet_sockets(pid) as found:
        receiving = [sock for sock in found if _receives(sock)]
        for sock in receiving:
            _drop_everything(sock)
        try:
            yield
        finally:
            for sock in receiving:
                sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
