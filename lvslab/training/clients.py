"""Clients that an exam plays: HTTP connections from the examiner's node that are kept, come from
chosen addresses and ports, or come back.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from lvslab.plan.services import HTTP_PORT
from lvslab.training.nodes import examiner

if TYPE_CHECKING:
    from lvslab.training.exam import Exam

FIRST_HOST, MOST = 151, 49
"""Host numbers of the addresses that an exam may take in the clients' network: 10.0.0.151 to
10.0.0.199.
"""

_GLANCE = 0.02

Broken = (OSError, HTTPException)
"""What a request raises when it gets no answer: refused, reset, timed out, cut off."""


@dataclass(frozen=True)
class Reply:
    """An HTTP status, the body's text, and the headers, whose names are in small letters."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def server(self) -> str:
        """First word of the body: a real server says its name first."""
        return (self.text.split() or [""])[0]


class Client:
    """One connection of the examiner's to a virtual service; it lasts until it is closed.

    Attributes:
        port: the local port.
    """

    def __init__(
        self,
        exam: Exam,
        *,
        address: str | None = None,
        port: int = HTTP_PORT,
        source: tuple[str, int] = ("", 0),
        timeout: float = 2.0,
    ) -> None:
        """Connect.

        Args:
            address: of the service; the lab's VIP if not given.
            source: own address and port; "" and 0 leave the choice to the kernel.
            timeout: seconds for the connection, and for each answer.

        Raises:
            OSError: there is no connection to be had.
        """
        there = address or exam.vip
        self._http = HTTPConnection(there, port, timeout=timeout)
        until = time.monotonic() + timeout
        while True:
            try:
                self.socket = sock = _connected(exam, source, (there, port), timeout)
                break
            except OSError as error:
                # the port's last connection has not heard yet that its end has arrived (LAST_ACK)
                if error.errno != errno.EADDRNOTAVAIL or not source[1] or time.monotonic() > until:
                    raise
            time.sleep(_GLANCE)
        self.port: int = sock.getsockname()[1]
        self._http.auto_open = 0  # a connection that was cut stays cut
        self._http.sock = sock

    def get(self, path: str = "/", headers: dict[str, str] | None = None) -> Reply:
        """Ask over this connection.

        Raises:
            OSError, HTTPException: there was no answer (`Broken`).
        """
        self._http.request("GET", path, headers=headers or {})
        answer = self._http.getresponse()
        # The server may go on talking after a change of protocol; the answer proper is then over.
        text = "" if answer.status == 101 else answer.read().decode(errors="replace")
        return Reply(answer.status, text, {name.lower(): value for name, value in answer.getheaders()})

    def close(self) -> None:
        """End the connection."""
        self.socket.close()
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _connected(exam: Exam, source: tuple[str, int], there: tuple[str, int], timeout: float) -> socket.socket:
    from lvslab.host import linux

    with linux.network_of(exam.client.pid):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(timeout)
        sock.bind(source)
        sock.connect(there)
    except BaseException:
        sock.close()
        raise
    return sock


def ask(
    exam: Exam, path: str = "/", headers: dict[str, str] | None = None, **connection: object
) -> Reply | None:
    """One request over a connection of its own, which the server closes first (so that the port is
    free again); None if it failed.

    Args:
        connection: as `Client` takes it.
    """
    try:
        with Client(exam, **connection) as client, client.socket.dup() as held:  # type: ignore[arg-type]
            reply = client.get(path, {"Connection": "close", **(headers or {})})
            # Whoever closes first keeps the port for a minute. On a busy machine the answer is here
            # before the server's end, and reading it whole closes this side.
            with suppress(OSError):
                while held.recv(4096):
                    pass
            return reply
    except Broken:
        return None


@contextmanager
def many(
    exam: Exam, count: int, sources: Sequence[str] = ("",), **connection: object
) -> Iterator[tuple[Sequence[Client], str]]:
    """As many connections at the same time as can be had, up to `count`; and why the first one
    failed that did, or "".

    Args:
        sources: own addresses, taken in turns.
        connection: as `Client` takes it.
    """
    exam.disturb()
    with ExitStack() as stack:
        clients: list[Client] = []
        why = ""
        while len(clients) < count and not why:
            try:
                clients.append(
                    stack.enter_context(
                        Client(exam, source=(sources[len(clients) % len(sources)], 0), **connection)  # type: ignore[arg-type]
                    )
                )
            except OSError as error:
                why = error.strerror or str(error) or type(error).__name__
        yield clients, why


def take_addresses(exam: Exam, count: int) -> list[str]:
    """Give the examiner's client further addresses in the clients' network, so that it can play
    several clients.

    Raises:
        CommandError: it could not take them.
        ValueError: there are not so many.
    """
    if not 0 < count <= MOST:
        raise ValueError(f"{count} addresses: an exam may take 1 to {MOST}")
    planned = examiner(exam.plan)
    interface = planned.interfaces[0]
    network, _, prefix = (interface.address or "").rpartition("/")
    found = [f"{network.rpartition('.')[0]}.{FIRST_HOST + number}" for number in range(count)]
    lines = "\n".join(f"address replace {each}/{prefix} dev {interface.name}" for each in found)
    exam.client.run(f"ip -batch - <<'END'\n{lines}\nEND\n").check(exam.client.name, "ip address replace")
    return found
