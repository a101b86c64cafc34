"""The prober: a program of its own, run in a client's namespace; needs nothing but the standard
library.

usage: python -m lvslab.traffic.probe_program SPEC ATTEMPTS.csv BEATS.csv   (SPEC: JSON, see
`lvslab.traffic.prober.ProbeSpec`)

It asks a virtual service at a fixed rate over a new connection (TCP) or datagram (UDP) each, and
keeps long-lived connections busy with heartbeats. The loop is open: attempt k is planned at t0 + k
* interval whatever the answers do. When the program itself is late it starts all overdue attempts
  at once, and the records show both the planned and the real start.

It runs until standard input is closed or a line "stop" arrives, until SIGTERM, or until `seconds`
have passed; then it begins nothing new, waits for what is under way (each attempt and heartbeat is
bounded by its own timeout), writes everything and exits with 0. Standard output: "started T0"
before the first attempt, one JSON object with totals at the end.

Outcomes: ok; refused (RST to the SYN, or ICMP port unreachable); reset (RST before the whole
answer); timeout; wrong (not an expected server's answer, or an orderly end before the whole of it);
unreachable (ICMP, no route, or a neighbour that is known to be missing; a first search for a
neighbour takes 3 s, which is a timeout); local (this machine could not start it); closed (only
long-lived connections: an orderly end before a byte of an answer). After a whole answer an RST
counts as its end; an end that never comes is a timeout.

An attempt's timeout should stay below 1 s, after which TCP sends a lost SYN again: then a lost SYN
is a failed attempt, not a slow one. A connection that timed out after it was established is reset,
so that it does not hold its port.

All times are readings of CLOCK_MONOTONIC plus one offset to the epoch taken at the start, so they
never jump.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import heapq
import json
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, Protocol

ATTEMPTS_HEADER = "planned,start,connect,first_byte,end,local_port,server,outcome\n"
BEATS_HEADER = "connection,opened,local_port,planned,sent,answered,server,outcome\n"

SECOND = 1_000_000_000
"""All times in here are integers in nanoseconds."""

_HEAD_START = 30_000_000  # from "ready" to the first attempt
_FLUSH_AFTER, _FLUSH_AT_LATEST = (
    100_000_000,
    180_000_000,
)  # age of the oldest line that is not in the file yet
_SLACK = 400_000  # formatting and writing wait for a moment in which nothing is due for this long …
_BATCH = 16  # … and format so many records at a time
_EVENTS = 16  # sockets that are served between two looks at the time
_BLOCK = 4096

_IN, _OUT, _EDGE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLET
_ERROR, _ENDED = select.EPOLLERR | select.EPOLLHUP, select.EPOLLRDHUP
_WATCH_TCP = _IN | _OUT | _ENDED | _EDGE
# linux/in.h: a connected UDP socket hears of all ICMP errors, not only of closed ports
_IP_RECVERR = 11
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

now = time.monotonic_ns


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


# -- the machine -----------------------------------------------------------------------------------


class _TimerSpec(ctypes.Structure):
    """struct itimerspec on a 64-bit machine: interval and value, each in seconds and
    nanoseconds.
    """

    _fields_ = [
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    ]


class Timer:
    """A timerfd(2), which Python 3.11 does not wrap: epoll's own timeout is rounded up to whole
    milliseconds.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._settime, self._spec, self._at = libc.timerfd_settime, _TimerSpec(), 0
        self._arguments = (self.fd, 1, ctypes.byref(self._spec), None)  # 1: TFD_TIMER_ABSTIME

    def set(self, at: int) -> None:
        """Become readable at a time of CLOCK_MONOTONIC; a time in the past: at once."""
        if at != self._at:
            self._at = at
            self._spec.value_s, self._spec.value_ns = divmod(at, SECOND)
            self._settime(*self._arguments)

    def ready(self, mask: int) -> None:
        """It went off; the loop looks at the clock anyway. Setting it anew makes it unreadable, so
        it need not be read.
        """
        self._at = 0


def prefer_me() -> str:
    """Ask for prompt wake-ups; returns what was granted: "fifo" (real time), "nice" (higher
    priority) or "normal".
    """
    libc = ctypes.CDLL(None)
    libc.prctl(29, ctypes.c_ulong(1), 0, 0, 0)  # PR_SET_TIMERSLACK: 1 ns instead of 50 µs
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return "fifo"
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        return "nice"
    except OSError:
        return "normal"


def epoch_offset() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the quickest of some readings."""
    best, offset = SECOND, 0
    for _ in range(20):
        before, real, after = now(), time.time_ns(), now()
        if after - before < best:
            best, offset = after - before, real - (before + after) // 2
    return offset


class Lines:
    """A CSV file that grows by whole lines. Records are kept raw and made into text when there is
    time.
    """

    def __init__(self, path: str, header: str, offset: int) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._offset = offset
        self._text = [header]
        self.raw: list[tuple[int | str | None, ...]] = []
        self.oldest: int | None = now()
        self.stamped: frozenset[int] = frozenset()

    def add(self, *record: int | str | None) -> None:
        """A record: the columns in `stamped` are times, None is an empty field."""
        self.raw.append(record)
        if self.oldest is None:
            self.oldest = now()

    def format(self, count: int) -> None:
        """Make text of the oldest records."""
        offset, stamped = self._offset, self.stamped
        for record in self.raw[:count]:
            fields = []
            for column, value in enumerate(record):
                if value is None:
                    fields.append("")
                elif column in stamped:
                    microseconds = (value + offset) // 1000  # type: ignore[operator]
                    fields.append("%d.%06d" % divmod(microseconds, 1_000_000))  # noqa: UP031 - twice as fast as an f-string here
                else:
                    fields.append(str(value))
            self._text.append(",".join(fields) + "\n")
        del self.raw[:count]

    def flush(self) -> None:
        """Put everything into the file."""
        self.format(len(self.raw))
        data = "".join(self._text).encode()
        self._text.clear()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            raise OSError(error.errno, "write", self._path) from None
        self.oldest = None


# -- the loop --------------------------------------------------------------------------------------


class Owner(Protocol):
    """Whoever is told that a descriptor is ready, with epoll's mask."""

    def ready(self, mask: int) -> None: ...


class Prober:
    """The loop, the schedule and the records."""

    def __init__(self, spec: dict[str, Any], attempts_path: str, beats_path: str) -> None:
        self.target = (spec["address"], spec["port"])
        self.servers = frozenset(spec["servers"])
        self.timeout, self.beat_timeout = (
            round(spec["timeout"] * SECOND),
            round(spec["beat_timeout"] * SECOND),
        )
        self.interval = round(spec["interval"] * SECOND) if spec["interval"] else None
        self.seconds, self.heartbeat = round(spec["seconds"] * SECOND), round(spec["heartbeat"] * SECOND)
        self.ports: tuple[int, int] | None = (spec["ports"][0], spec["ports"][1]) if spec["ports"] else None
        host = spec["address"].encode()
        self.request = b"GET / HTTP/1.0\r\nHost: " + host + b"\r\n\r\n"
        self.beat_request = b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        self.offset = epoch_offset()
        self.attempts = Lines(attempts_path, ATTEMPTS_HEADER, self.offset)
        self.attempts.stamped = frozenset(range(5))
        self.beats = Lines(beats_path, BEATS_HEADER, self.offset)
        self.beats.stamped = frozenset((1, 3, 4, 5))
        self.epoll = select.epoll()
        self.owners: dict[int, Owner] = {}
        self.timer = Timer()
        self.watch(self.timer.fd, self.timer, _IN)
        self.count = self.under_way = self.busy_connections = self.beat_count = self.worst = 0
        self.pending: deque[Attempt] = (
            deque()
        )  # in the order of their starts, so the first is the next to run out of time
        self.agenda: list[tuple[int, int, Connection]] = []
        self.outcomes: Counter[str] = Counter()
        self.stopping = False
        self.t0 = self.next_attempt = self.end = 0
        self.connections = [Connection(self, number) for number in range(spec["connections"])]
        self.stagger = round(spec["stagger"] * SECOND)
        self.flows = (
            [UdpFlow(self, index) for index in range(spec["flows"])] if spec["protocol"] == "udp" else []
        )
        self.begin: Callable[[int, int], Attempt] = self._udp if spec["protocol"] == "udp" else self._tcp

    def watch(self, fd: int, owner: Owner, mask: int) -> None:
        """Tell an owner when its descriptor is ready; closing the descriptor ends that."""
        self.epoll.register(fd, mask)
        self.owners[fd] = owner

    def stop(self) -> None:
        """Begin nothing new."""
        self.stopping = True
        for connection in self.connections:
            connection.rest()

    def run(self) -> None:
        """Probe until told to stop and everything under way has ended."""
        # The first attempt falls on a whole millisecond of the epoch clock, for times that read
        # well.
        millisecond = SECOND // 1000
        t0 = (now() + self.offset + _HEAD_START) // millisecond * millisecond + millisecond - self.offset
        self.t0 = self.next_attempt = t0
        self.end = t0 + self.seconds
        for index, connection in enumerate(self.connections):
            connection.plan(t0 + index * self.stagger, t0 + index * self.heartbeat // len(self.connections))
        say(f"started {(t0 + self.offset) / SECOND:.6f}")
        try:
            self._loop()
        finally:
            self.attempts.flush()
            self.beats.flush()

    def _loop(self) -> None:
        poll, owners = self.epoll.poll, self.owners
        while True:
            self._due()
            if self.stopping and not self.under_way and not self.busy_connections:
                break
            writing = self._text_waits()
            self.timer.set(self._next_deadline(writing))
            events = poll(0 if writing else None, _EVENTS)
            if not events:
                self._write()
                continue
            for fd, mask in events:
                owner = owners.get(fd)
                if owner is not None:
                    owner.ready(mask)
                if self.next_attempt <= now():
                    self._start_attempts()

    def _due(self) -> None:
        """Do what is due by now."""
        moment = now()
        if self.next_attempt <= moment:
            self._start_attempts()
        pending, limit = self.pending, moment - self.timeout
        while pending and (pending[0].done or pending[0].start <= limit):
            attempt = pending.popleft()
            if not attempt.done:
                attempt.expire()
        while self.agenda and self.agenda[0][0] <= moment:
            at, _, connection = heapq.heappop(self.agenda)
            if connection.wake == at:
                connection.due(at)
        if moment >= self.end and not self.stopping:
            self.stop()

    def _start_attempts(self) -> None:
        """Start every attempt whose time has come."""
        interval = self.interval
        if interval is None:
            self.next_attempt = self.end + SECOND * 10**6
            return
        while not self.stopping and self.next_attempt < self.end:
            start = now()
            planned = self.next_attempt
            if planned > start:
                return
            self.worst = max(self.worst, start - planned)
            attempt = self.begin(planned, start)
            self.count += 1
            self.next_attempt = self.t0 + self.count * interval
            if not attempt.done:
                self.pending.append(attempt)
        self.next_attempt = self.end + SECOND * 10**6

    def _tcp(self, planned: int, start: int) -> Attempt:
        self.under_way += 1
        return TcpAttempt(self, planned, start, self.next_port())

    def _udp(self, planned: int, start: int) -> Attempt:
        self.under_way += 1
        flow = self.flows[self.count % len(self.flows)] if self.flows else UdpFlow(self, None)
        return flow.ask(planned, start)

    def next_port(self) -> int | None:
        """The fixed local port of the attempt that is being started, None for the kernel's
        choice.
        """
        if self.ports is None:
            return None
        low, high = self.ports
        return low + self.count % (high - low + 1)

    def _next_deadline(self, writing: bool) -> int:
        """When the next thing is due, if no packet comes before. While `writing` the text itself
        needs no deadline.
        """
        deadline = self.next_attempt
        if not self.stopping:
            deadline = min(deadline, self.end)
        if self.pending:
            deadline = min(deadline, self.pending[0].start + self.timeout)
        if self.agenda:
            deadline = min(deadline, self.agenda[0][0])
        if not writing:
            moment = now()
            for lines in (self.attempts, self.beats):
                if lines.oldest is not None:
                    soon = lines.oldest + _FLUSH_AFTER
                    deadline = min(deadline, soon if soon > moment else lines.oldest + _FLUSH_AT_LATEST)
        return deadline

    # -- records -----------------------------------------------------------------------------------

    def _text_waits(self) -> bool:
        """Whether there is something to write, and time for it before the next attempt (or the text
        has waited too long).
        """
        moment = now()
        oldest = min(lines.oldest or moment for lines in (self.attempts, self.beats))
        if moment - oldest >= _FLUSH_AT_LATEST:
            return True
        if self.next_attempt - moment < _SLACK:
            return False
        return len(self.attempts.raw) >= _BATCH or moment - oldest >= _FLUSH_AFTER

    def _write(self) -> None:
        moment = now()
        for lines in (self.attempts, self.beats):
            if lines.oldest is not None and moment - lines.oldest >= _FLUSH_AFTER:
                lines.flush()
            elif len(lines.raw) >= _BATCH:
                lines.format(_BATCH)

    def record(self, attempt: Attempt, end: int, server: str, outcome: str) -> None:
        """An attempt has ended."""
        self.under_way -= 1
        self.outcomes[outcome] += 1
        self.attempts.add(
            attempt.planned, attempt.start, attempt.connect, attempt.first, end, attempt.port, server, outcome
        )

    def record_beat(self, connection: Connection, answered: int | None, server: str, outcome: str) -> None:
        """A heartbeat has ended, or a connection between two of them."""
        self.beat_count += 1
        self.beats.add(
            connection.number,
            connection.opened,
            connection.port,
            connection.planned,
            connection.sent,
            answered,
            server,
            outcome,
        )


# -- attempts --------------------------------------------------------------------------------------


class Attempt:
    """One try to be served, over a new TCP connection or with one datagram."""

    __slots__ = ("connect", "done", "first", "planned", "port", "prober", "start")

    def __init__(self, prober: Prober, planned: int, start: int, port: int | None) -> None:
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

    def __init__(self, prober: Prober, planned: int, start: int, port: int | None) -> None:
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
            prober.watch(sock.fileno(), self, _WATCH_TCP)
        except OSError as error:
            if sock is not None:
                sock.close()
            self.finish(outcome_of(error.errno))

    def ready(self, mask: int) -> None:
        """The socket can be written to or read from, or has failed."""
        sock = self.sock
        try:
            if self.connect is None:
                if mask & _ERROR and (problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    raise OSError(problem, "connect")
                if not mask & _OUT:
                    return
                self.connect = now()
                sock.send(self.prober.request)
            if not mask & (_IN | _ENDED | _ERROR):
                return
            while data := sock.recv(_BLOCK):
                if self.first is None:
                    self.first = now()
                self.answer += data
                if len(data) < _BLOCK and not mask & (_ENDED | _ERROR):
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

    def __init__(self, prober: Prober, index: int | None) -> None:
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
            self.prober.watch(sock.fileno(), self, _IN | _EDGE)
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
                data = self.sock.recv(_BLOCK)
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
                self.sock.recv(_BLOCK, socket.MSG_ERRQUEUE)
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


# -- long-lived connections ------------------------------------------------------------------------


class Connection:
    """A connection that asks again and again, one request at a time; every outcome but "ok" is its
    end and its last line.

    Its heartbeats are planned on a grid of its own, so that the connections take turns. A time of
    the grid that passes while an answer is awaited is left out: the wait shows as one long
    heartbeat.
    """

    def __init__(self, prober: Prober, index: int) -> None:
        self.prober, self.number = prober, index + 1
        self.state = "waiting"  # then opening, idle, asking, dead
        self.opened: int | None = None
        self.port: int | None = None
        self.planned = self.sent = self.grid = 0
        self.wake: int | None = None
        self.answer = b""
        self.sock: socket.SocketType | None = None

    def plan(self, opening: int, grid: int) -> None:
        """When to open, and a time of the grid of heartbeats."""
        self.grid = grid
        self._wake_at(opening)

    def _wake_at(self, at: int | None) -> None:
        self.wake = at
        if at is not None:
            heapq.heappush(self.prober.agenda, (at, self.number, self))

    def _change(self, state: str) -> None:
        busy = ("opening", "asking")
        self.prober.busy_connections += (state in busy) - (self.state in busy)
        self.state = state

    def due(self, at: int) -> None:
        """Its time has come: to open, to ask, or to give up."""
        if self.state == "waiting":
            self._open(at)
        elif self.state == "idle":
            self._ask(at)
        else:
            self._die("timeout")

    def rest(self) -> None:
        """Begin nothing new."""
        if self.state in ("waiting", "idle"):
            self._close()

    def _open(self, planned: int) -> None:
        self.planned, self.sent = planned, now()
        self._change("opening")
        try:
            self.sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            problem = self.sock.connect_ex(self.prober.target)
            if problem not in (0, errno.EINPROGRESS):
                raise OSError(problem, "connect")
            self.port = self.sock.getsockname()[1]
            self.prober.watch(self.sock.fileno(), self, _WATCH_TCP)
        except OSError as error:
            self._die(outcome_of(error.errno))
            return
        self._wake_at(self.sent + self.prober.beat_timeout)

    def _ask(self, planned: int) -> None:
        assert self.sock is not None
        self.planned, self.sent, self.answer = planned, now(), b""
        self._change("asking")
        try:
            self.sock.send(self.prober.beat_request)
        except OSError as error:
            self._die(outcome_of(error.errno))
            return
        self._wake_at(self.sent + self.prober.beat_timeout)

    def _idle(self) -> None:
        """Wait for the next time of the grid."""
        self._change("idle")
        if self.prober.stopping:
            self._close()
            return
        heartbeat = self.prober.heartbeat
        self._wake_at(self.grid + max(0, -(-(now() - self.grid) // heartbeat)) * heartbeat)

    def ready(self, mask: int) -> None:
        """The socket can be written to or read from, or has failed."""
        sock = self.sock
        if sock is None:
            return
        try:
            if self.state == "opening":
                if mask & _ERROR and (problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    raise OSError(problem, "connect")
                if not mask & _OUT:
                    return
                self.opened = now()
                self._idle()
            while self.sock is not None and mask & (_IN | _ENDED | _ERROR):
                data = sock.recv(_BLOCK)
                self._take(data)
        except BlockingIOError:
            return
        except OSError as error:
            self._die(outcome_of(error.errno))

    def _take(self, data: bytes) -> None:
        """Bytes of an answer; none: the other side has closed."""
        if not data:
            self._die("wrong" if self.answer else "closed")
            return
        if self.state != "asking":  # nobody asked
            self._die("wrong")
            return
        self.answer += data
        body = body_of(self.answer)
        if body is None:
            return
        server = server_of(body)
        if server not in self.prober.servers or not is_success(self.answer):
            self._die("wrong", server)
            return
        self.prober.record_beat(self, now(), server, "ok")
        self.answer = b""
        self._idle()

    def _die(self, outcome: str, server: str = "") -> None:
        """It has ended, and this is its last line. Between two heartbeats the line's times are
        those of the end.
        """
        if self.state == "idle":
            self.planned = self.sent = now()
        self.prober.record_beat(self, None, server, outcome)
        self._close(outcome == "timeout" and self.opened is not None)

    def _close(self, by_reset: bool = False) -> None:
        self._change("dead")
        self._wake_at(None)
        if self.sock is not None:
            self.prober.owners.pop(self.sock.fileno(), None)
            if by_reset:
                abort(self.sock)
            else:
                self.sock.close()
            self.sock = None


# -- the program -----------------------------------------------------------------------------------


class StandardInput:
    """Stops the prober at its end and at a line "stop"."""

    def __init__(self, prober: Prober) -> None:
        self._prober, self._text = prober, b""
        with suppress(
            PermissionError
        ):  # epoll watches no files, /dev/null among them: then `seconds` or a signal is the end
            prober.watch(0, self, _IN)
            os.set_blocking(0, False)

    def ready(self, mask: int) -> None:
        try:
            data = os.read(0, _BLOCK)
        except BlockingIOError:
            return
        self._text += data
        if not data or b"stop" in self._text.splitlines():
            self._prober.epoll.unregister(0)
            self._prober.stop()


class Signals:
    """Stops the prober at SIGTERM and SIGINT."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        prober.watch(self._read, self, _IN)

    def ready(self, mask: int) -> None:
        os.read(self._read, _BLOCK)
        self._prober.stop()


def say(line: str) -> None:
    """A line for whoever started this; that he has gone is no reason to lose records."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the program's life


def fail(message: str) -> NoReturn:
    """End with a message."""
    print(f"prober: {message}", file=sys.stderr)
    raise SystemExit(1)


def main(arguments: list[str]) -> None:
    if len(arguments) != 3:
        fail("usage: probe_program SPEC ATTEMPTS.csv BEATS.csv")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        prober = Prober(json.loads(arguments[0]), arguments[1], arguments[2])
        Signals(prober)
        StandardInput(prober)
        scheduling = prefer_me()
        gc.disable()
        gc.freeze()
        prober.run()
    except OSError as error:
        fail(f"{error.filename or error.strerror}: {os.strerror(error.errno or 0)}")
    totals = {
        "attempts": prober.count,
        "outcomes": dict(prober.outcomes),
        "beats": prober.beat_count,
        "opened": sum(connection.opened is not None for connection in prober.connections),
        "scheduling": scheduling,
        "worst_start_error": prober.worst / SECOND,
        "cpu_seconds": time.process_time(),
    }
    say(json.dumps(totals))


if __name__ == "__main__":
    main(sys.argv[1:])
