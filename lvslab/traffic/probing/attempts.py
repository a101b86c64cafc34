"""Attempts: one try to be served each, over a new TCP connection or with one datagram."""

from __future__ import annotations

import errno
import socket
from typing import Protocol

from lvslab.runs.answers import body_of, is_success, server_of
from lvslab.traffic.probing.answers import abort, outcome_of
from lvslab.traffic.probing.machine import now
from lvslab.traffic.probing.sockets import BLOCK, EDGE, ENDED, ERROR, IN, OUT, WATCH_TCP, Watcher

# linux/in.h: a connected UDP socket hears of all ICMP errors, not only of closed ports
_IP_RECVERR = 11


class Attempting(Watcher, Protocol):
    """The loop, as attempts know it.

    Attributes:
        request: what a TCP attempt asks.
        ports: lowest and highest local port, None: the kernel chooses.
    """

    request: bytes
    ports: tuple[int, int] | None

    def next_port(self) -> int | None: ...

    def record(self, attempt: Attempt, end: int, server: str, outcome: str) -> None: ...


class Attempt:
    """One try to be served, over a new TCP connection or with one datagram."""

    __slots__ = ("connect", "done", "first", "planned", "port", "prober", "start")

    def __init__(self, prober: Attempting, planned: int, start: int, port: int | None) -> None:
        self.prober, self.planned, self.start, self.port = prober, planned, start, port
        self.connect: int | None = None
        self.first: int | None = None
        self.done = False

    def finish(self, outcome: str, server: str = "") -> None:
        """It ended just now."""
        self.done = True
        self.prober.record(self, now(), server, outcome)

    def expire(self) -> None:
        """Its time is over."""
        raise NotImplementedError


class TcpAttempt(Attempt):
    """Connect, ask, read to the end, close."""

    __slots__ = ("answer", "sock")

    def __init__(self, prober: Attempting, planned: int, start: int, port: int | None) -> None:
        super().__init__(prober, planned, start, port)
        self.answer = b""
        sock: socket.SocketType | None = None
        try:
            self.sock = sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if port is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("", port))
            problem = sock.connect_ex(prober.target)
            if problem not in (0, errno.EINPROGRESS):
                raise OSError(problem, "connect")
            if port is None:
                self.port = sock.getsockname()[1]
            prober.watch(sock.fileno(), self, WATCH_TCP)
        except OSError as error:
            if sock is not None:
                sock.close()
            self.finish(outcome_of(error.errno))

    def ready(self, mask: int) -> None:
        """The socket can be written to or read from, or has failed."""
        sock = self.sock
        try:
            if self.connect is None:
                if mask & ERROR and (problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    raise OSError(problem, "connect")
                if not mask & OUT:
                    return
                self.connect = now()
                sock.send(self.prober.request)
            if not mask & (IN | ENDED | ERROR):
                return
            while data := sock.recv(BLOCK):
                if self.first is None:
                    self.first = now()
                self.answer += data
                if len(data) < BLOCK and not mask & (ENDED | ERROR):
                    return  # less than asked for: no more is there, and epoll tells when more comes
        except BlockingIOError:
            return
        except OSError as error:
            self._end(outcome_of(error.errno))
        else:
            self._end("wrong")

    def _end(self, otherwise: str) -> None:
        """The connection has ended; without a whole answer the outcome is `otherwise`."""
        self._forget()
        self.sock.close()
        body = body_of(self.answer)
        if body is None:
            self.finish(otherwise)
            return
        server = server_of(body)
        good = server in self.prober.servers and is_success(self.answer)
        self.finish("ok" if good else "wrong", server)

    def expire(self) -> None:
        self._forget()
        if self.connect is None:
            self.sock.close()
        else:
            abort(self.sock)
        self.finish("timeout")

    def _forget(self) -> None:
        self.prober.owners.pop(self.sock.fileno(), None)


class UdpAttempt(Attempt):
    """A datagram and its answer."""

    __slots__ = ("flow",)

    def __init__(self, flow: UdpFlow, planned: int, start: int) -> None:
        super().__init__(flow.prober, planned, start, flow.port)
        self.flow = flow

    def expire(self) -> None:
        self.flow.settle(self, "timeout")


class UdpFlow:
    """A UDP socket: of one attempt (`index` None), or with a port of its own that is used again and
    again.

    An answer carries nothing that says which datagram it answers, so it belongs to the latest one
    that waits. ICMP errors likewise.
    """

    def __init__(self, prober: Attempting, index: int | None) -> None:
        self.prober, self.lasting = prober, index is not None
        self.waiting: list[UdpAttempt] = []
        self.port: int | None = None
        self.sock: socket.SocketType | None = None
        self.wanted = prober.ports[0] + index if prober.ports and index is not None else None

    def _open(self) -> socket.SocketType:
        if self.sock is not None:
            return self.sock
        sock = socket.SocketType(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            # A fixed port comes from the list; else the kernel chooses once and the flow keeps it.
            wanted = self.wanted if self.lasting else self.prober.next_port()
            if wanted is not None:
                self.port = wanted
                sock.bind(("", wanted))
            sock.connect(self.prober.target)
            self.port = sock.getsockname()[1]
            self.prober.watch(sock.fileno(), self, IN | EDGE)
        except OSError:
            sock.close()
            raise
        self.sock = sock
        return sock

    def ask(self, planned: int, start: int) -> UdpAttempt:
        """Send a datagram."""
        try:
            sock = self._open()
        except OSError as error:
            attempt = UdpAttempt(self, planned, start)
            attempt.finish(outcome_of(error.errno))
            return attempt
        try:
            sock.send(b"lvslab probe\n")
        except (
            OSError
        ) as error:  # perhaps what an earlier datagram met: send(2) reports that, and sends nothing
            self._empty_error_queue()
            try:
                sock.send(b"lvslab probe\n")
            except OSError as again:
                attempt = UdpAttempt(self, planned, start)
                self.waiting.append(attempt)
                self.settle(attempt, outcome_of(again.errno))
                return attempt
            self._fail(outcome_of(error.errno))
        attempt = UdpAttempt(self, planned, start)
        self.waiting.append(attempt)
        return attempt

    def ready(self, mask: int) -> None:
        """Datagrams or errors have come."""
        while self.sock is not None:
            try:
                data = self.sock.recv(BLOCK)
            except BlockingIOError:
                break
            except OSError as error:
                self._empty_error_queue()
                self._fail(outcome_of(error.errno))
                continue
            if self.waiting:
                attempt, server = self.waiting[-1], server_of(data)
                attempt.first = now()
                self.settle(attempt, "ok" if server in self.prober.servers else "wrong", server)

    def _empty_error_queue(self) -> None:
        while self.sock is not None:
            try:
                self.sock.recv(BLOCK, socket.MSG_ERRQUEUE)
            except OSError:
                return

    def _fail(self, outcome: str) -> None:
        if self.waiting:
            self.settle(self.waiting[-1], outcome)

    def settle(self, attempt: UdpAttempt, outcome: str, server: str = "") -> None:
        """An attempt of this flow has ended."""
        self.waiting.remove(attempt)
        if not self.lasting and self.sock is not None:
            self.prober.owners.pop(self.sock.fileno(), None)
            self.sock.close()
            self.sock = None
        attempt.finish(outcome, server)
