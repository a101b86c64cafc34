"""An HTTP server: each answer says which server gave it, and to whom."""

from __future__ import annotations

import re
from http import HTTPStatus

from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.servers.tcp import TcpServer
from lvslab.simulation.endpoints.tcp import Connection

_REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/(1\.[01])")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection: *([a-z-]+)", re.IGNORECASE)
_MOST_HEADERS = 8192


class HttpServer(TcpServer):
    """Answers every GET, HEAD or POST alike (RFC 9112), as the real labs' nginx does. A connection
    of HTTP/1.1 lasts until the client closes it.

    Attributes:
        status: of its answers.
        body: instead of its name and the client's address, if not None.
    """

    def __init__(self, host: Host, ports: tuple[int, ...] = (80,), name: str = "", *, think: int = 0) -> None:
        super().__init__(host, ports, name, think=think)
        self.status = HTTPStatus.OK
        self.body: bytes | None = None

    def _respond(self, connection: Connection, data: bytes) -> bytes:
        while True:
            head, blank, rest = data.partition(b"\r\n\r\n")
            if not blank:
                if len(data) > _MOST_HEADERS:
                    self._later(self._say, connection, self._page(connection, HTTPStatus.BAD_REQUEST), True)
                    return b""
                return data
            length = _LENGTH.search(head + b"\r")
            if length is not None and len(rest) < int(length[1]):
                return data
            data = rest[int(length[1]) :] if length is not None else rest
            request = _REQUEST.match(head)
            if request is None:
                self._later(self._say, connection, self._page(connection, HTTPStatus.BAD_REQUEST), True)
                return b""
            wish = _CONNECTION.search(head)
            word = wish[1].lower() if wish else b""
            last = word == b"close" or (request[3] == b"1.0" and word != b"keep-alive")
            page = self._page(connection, self.status, with_body=request[1] != b"HEAD", last=last)
            self._later(self._say, connection, page, last)
            if last:
                return b""

    def _page(
        self, connection: Connection, status: HTTPStatus, *, with_body: bool = True, last: bool = True
    ) -> bytes:
        body = self.body
        if body is None:
            body = self._answer(connection.wire.peer, connection.wire.peer_port)
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "Server: lvslab\r\n"
            "Content-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Connection: {'close' if last else 'keep-alive'}\r\n\r\n"
        )
        return head.encode() + (body if with_body else b"")
