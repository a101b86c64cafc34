"""The prober's loop: the schedule, what is due, and the records."""

from __future__ import annotations

import heapq
import select
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from lvslab.traffic.probing.attempts import Attempt, TcpAttempt, UdpFlow
from lvslab.traffic.probing.connection import Connection
from lvslab.traffic.probing.lines import ATTEMPTS_HEADER, BEATS_HEADER, Lines
from lvslab.traffic.probing.machine import SECOND, Timer, epoch_offset, now
from lvslab.traffic.probing.sockets import IN, Owner

_HEAD_START = 30_000_000  # from "ready" to the first attempt
_FLUSH_AFTER, _FLUSH_AT_LATEST = (
    100_000_000,
    180_000_000,
)  # age of the oldest line that is not in the file yet
_SLACK = 400_000  # formatting and writing wait for a moment in which nothing is due for this long …
_BATCH = 16  # … and format so many records at a time
_EVENTS = 16  # sockets that are served between two looks at the time


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
        self.watch(self.timer.fd, self.timer, IN)
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

    def run(self, tell_start: Callable[[float], None]) -> None:
        """Probe until told to stop and everything under way has ended.

        Args:
            tell_start: is told the time of the first attempt, seconds since the epoch.
        """
        # The first attempt falls on a whole millisecond of the epoch clock, for times that read
        # well.
        millisecond = SECOND // 1000
        t0 = (now() + self.offset + _HEAD_START) // millisecond * millisecond + millisecond - self.offset
        self.t0 = self.next_attempt = t0
        self.end = t0 + self.seconds
        for index, connection in enumerate(self.connections):
            connection.plan(t0 + index * self.stagger, t0 + index * self.heartbeat // len(self.connections))
        tell_start((t0 + self.offset) / SECOND)
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
