"""A simulated network beside a real one: frames pass through a tap, and virtual time follows the
real clock. So a real kernel and real programs judge simulated hosts, and simulated clients real
servers.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from lvslab.host import linux
from lvslab.simulation.calendar import Calendar
from lvslab.simulation.endpoints import Host, Rack
from lvslab.simulation.network import Conditions, End, Link, Record, Switch
from lvslab.simulation.network.link import unplugged

_Answer = TypeVar("_Answer")

TAP = "sim0"
OWN, OWN6 = "10.9.0.1", "fd09::1"
PEER, PEER6 = "10.9.0.250", "fd09::fa"
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
_LONGEST_FRAME = 65536
_GLANCE = 0.05


class _Tap:
    """The end of a link that is a real interface, of the namespace in which it is made."""

    def __init__(self, own: str, own6: str) -> None:
        self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", TAP.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(self.descriptor, _TUNSETIFF, request)
        commands = (
            f"sysctl -qw net.ipv6.conf.{TAP}.disable_ipv6=0 net.ipv6.conf.{TAP}.accept_dad=0",
            f"ip addr add {own}/24 dev {TAP}",
            f"ip link set {TAP} up",
            f"ip addr add {own6}/64 dev {TAP} nodad",
        )
        for command in commands:
            subprocess.run(command.split(), check=True)
        self.transmit: Callable[[bytes], None] = unplugged

    def receive(self, frame: bytes) -> None:
        os.write(self.descriptor, frame)

    def read(self) -> None:
        """Send on what has come from the kernel."""
        while True:
            try:
                frame = os.read(self.descriptor, _LONGEST_FRAME)
            except BlockingIOError:
                return
            self.transmit(frame)


class _Sieve:
    """Loses chosen frames of those that an end sends."""

    def __init__(self, end: End, lose: Callable[[bytes], bool]) -> None:
        self._end, self._lose = end, lose
        self.transmit: Callable[[bytes], None] = unplugged
        end.transmit = self._sent

    def receive(self, frame: bytes) -> None:
        self._end.receive(frame)

    def _sent(self, frame: bytes) -> None:
        if not self._lose(frame):
            self.transmit(frame)


class RealTime:
    """Simulated hosts 10.9.0.N and fd09::N in the caller's network namespace, which is 10.9.0.1 and
    fd09::1 itself. Simulated objects belong to the thread that runs them: `do`.

    Attributes:
        lose: whether a frame on its way to the caller's namespace is lost; the record has it.
        namespace: of the peer.
    """

    def __init__(self, conditions: Conditions | None = None, *, peer: bool = False) -> None:
        """
        Args:
            conditions: of the link between both worlds.
            peer: a second real namespace, `PEER`, stands beside the simulated hosts.
        """
        linux.fresh_network()
        self.calendar = Calendar()
        self._tap, self.rack = _Tap(OWN, OWN6), Rack(self.calendar)
        self._taps = [self._tap]
        self.record = Record(self.calendar, keep=True)
        self.lose: Callable[[bytes], bool] = lambda frame: False
        beyond: End = self.rack
        if peer:
            switch = Switch(self.calendar)
            beyond = switch.port()
            self.namespace = linux.new_network()
            with linux.inside_network(self.namespace):
                self._taps.append(_Tap(PEER, PEER6))
            for end in (self.rack, self._taps[1]):
                Link(self.calendar, end, switch.port())
        sieve = _Sieve(self.record.tap("rack", beyond), lambda frame: self.lose(frame))
        self.link = Link(self.calendar, self._tap, sieve, conditions, seed=1)
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK)
        self._ending = False
        self._begin = time.monotonic_ns()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def host(self, number: int, **options: Any) -> Host:
        """A simulated host 10.9.0.NUMBER, fd09::NUMBER."""
        host = Host(self.calendar, f"s{number}", **options)
        card = host.plug(f"02:00:00:09:00:{number:02x}", f"10.9.0.{number}/24", f"fd09::{number}/64")
        self.rack.add(card)
        return host

    def __enter__(self) -> RealTime:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join()
        for tap in self._taps:
            os.close(tap.descriptor)
        if len(self._taps) > 1:
            os.close(self.namespace)

    def do(self, task: Callable[[], _Answer]) -> _Answer:
        """Do something in the simulated world, and return its answer."""
        future: Future[_Answer] = Future()
        self._tasks.put((task, future))
        os.eventfd_write(self._wake, 1)
        return future.result(30)

    def wait(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Until something holds in the simulated world."""
        end = time.monotonic() + seconds
        while not self.do(condition):
            assert time.monotonic() < end, "this did not come true in time"
            time.sleep(0.01)

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in (self._wake, *(tap.descriptor for tap in self._taps)):
            poll.register(descriptor, select.POLLIN)
        while not self._ending:
            self.calendar.run(time.monotonic_ns() - self._begin)
            rest = (self.calendar.due - self.calendar.now) / 1e6
            poll.poll(max(0.0, min(rest, _GLANCE * 1000)))
            self.calendar.run(time.monotonic_ns() - self._begin)
            for tap in self._taps:
                tap.read()
            self._work()

    def _work(self) -> None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        while not self._tasks.empty():
            task, future = self._tasks.get()
            try:
                future.set_result(task())
            except Exception as error:
                future.set_exception(error)
