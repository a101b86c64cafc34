"""What sockets are watched for, and by whom."""

from __future__ import annotations

import select
from typing import Protocol

BLOCK = 4096
"""Bytes that are read at once."""

IN, OUT, EDGE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLET
ERROR, ENDED = select.EPOLLERR | select.EPOLLHUP, select.EPOLLRDHUP
WATCH_TCP = IN | OUT | ENDED | EDGE


class Owner(Protocol):
    """Whoever is told that a descriptor is ready, with epoll's mask."""

    def ready(self, mask: int) -> None: ...


class Watcher(Protocol):
    """The loop, as sockets know it.

    Attributes:
        target: address and port of the virtual service.
        servers: names whose answers are good.
        owners: who is told of which descriptor.
    """

    target: tuple[str, int]
    servers: frozenset[str]
    owners: dict[int, Owner]

    def watch(self, fd: int, owner: Owner, mask: int) -> None: ...
