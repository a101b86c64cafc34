"""The bench in virtual time: the same director between the same wires, but its clock moves only
when a check lets it, and both ends of the wires are in this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from lvslab.conformance.runner import Lateness
from lvslab.conformance.testbed import Bench
from lvslab.errors import LabError
from lvslab.events import nobody
from lvslab.plan.layout import Interface
from lvslab.plan.plan import LabPlan
from lvslab.simulation.calendar import SECOND, Calendar
from lvslab.simulation.cards import Card
from lvslab.simulation.labs.lab import VirtualLab
from lvslab.simulation.processor import on_one_processor

HZ = 100
"""Jiffies a second of User-Mode Linux (arch/um/Kconfig)."""

JIFFY = SECOND // HZ
"""Nanoseconds."""

_SEED = 1
_MARGIN = JIFFY // 20


class CardWire:
    """A `lvslab.conformance.wire.Wire` to a card of a guest in virtual time, without delay."""

    def __init__(self, name: str, card: Card, mac: str, calendar: Calendar) -> None:
        """Take the card off its cable."""
        self.name, self.mac = name, mac
        self._card, self._calendar = card, calendar
        self._came: list[Packet] = []
        card.transmit = self._enter

    def _enter(self, frame: bytes) -> None:
        """As an event, before which the guest does not run on: it would be later than its world."""
        self._calendar.after(0, self._hear, frame)

    def _hear(self, frame: bytes) -> None:
        self._came.append(Ether(frame))
        self._calendar.stop()

    def send(self, packet: Packet) -> None:
        """See `Wire.send`."""
        self._card.receive(bytes(packet))

    def receive(self, wanted: Callable[[Packet], bool], timeout: float) -> tuple[Packet | None, list[Packet]]:
        """See `Wire.receive`; the seconds are virtual."""
        end = self._calendar.now + round(timeout * SECOND)
        others: list[Packet] = []
        while True:
            for place, frame in enumerate(self._came):
                if wanted(frame):
                    others += self._came[:place]
                    del self._came[: place + 1]
                    return frame, others
            others += self.drain()
            if self._calendar.now >= end:
                return None, others
            self._calendar.run(end)

    def drain(self) -> list[Packet]:
        """See `Wire.drain`."""
        came, self._came = self._came, []
        return came


class VirtualBench(Bench):
    """A bench in a lab in virtual time: it knows the director's jiffies, and goes into each."""

    def __init__(self, lab: VirtualLab) -> None:
        super().__init__(lab)
        self._calendar = lab.calendar
        self._cards = lab.wiring.cards[lab.plan.director.name]
        self._first = 0

    def __enter__(self) -> VirtualBench:
        super().__enter__()
        try:
            self._find_jiffies()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _wire(self, name: str, interface: Interface, stack: ExitStack) -> CardWire:
        """See `Bench._wire`."""
        place = self.lab.plan.director.interfaces.index(interface)
        return CardWire(name, self._cards[place], interface.mac, self._calendar)

    def _find_jiffies(self) -> None:
        """Which jiffy it is, and that they begin where and as often as is taken for granted here.

        Raises:
            LabError: they do not.
        """
        self._first = self._shown() - self._calendar.now // JIFFY
        for jiffy in (self.jiffy + 1, self.jiffy + 2 * HZ):
            for moment, wanted in ((-_MARGIN, jiffy - 1), (_MARGIN, jiffy)):
                self._run_to((jiffy - self._first) * JIFFY + moment)
                if (shown := self._shown()) != wanted or self.jiffy != wanted:
                    raise LabError(
                        f"{self.lab.plan.director.name}: jiffy {shown} where {wanted} was expected: its"
                        f" kernel has not {HZ} of them a second, or they begin elsewhere"
                    )

    def _shown(self) -> int:
        """The present jiffy, as the kernel says itself (timer_list_show_tickdevices_header and
        print_cpu in kernel/time/timer_list.c).
        """
        return int(self.run("grep -m 1 '^jiffies:' /proc/timer_list").split()[1])

    def _run_to(self, moment: int) -> None:
        while self._calendar.now < moment:
            self._calendar.run(moment)

    @property
    def jiffy(self) -> int:
        """The present one, as the director's kernel counts them."""
        return self._first + self._calendar.now // JIFFY

    def go_to(self, jiffy: int) -> None:
        """Let time pass until the middle of a jiffy, if that is not past.

        Raises:
            LabError: the jiffy is past.
        """
        if jiffy < self.jiffy:
            raise LabError(f"jiffy {jiffy} is past: it is {self.jiffy}")
        self._run_to((jiffy - self._first) * JIFFY + JIFFY // 2)

    def next_jiffy(self) -> int:
        """Let time pass until the middle of the next jiffy, which is told."""
        self.go_to(self.jiffy + 1)
        return self.jiffy


@contextmanager
def bench_in_virtual_time(plan: LabPlan, logs: Path, number: int) -> Iterator[tuple[Bench, Lateness]]:
    """The bench of a shard, on a processor of its own; nothing is late in its world."""
    processors = sorted(os.sched_getaffinity(0))
    with (
        on_one_processor(processors[(number - 1) % len(processors)]),
        VirtualLab(plan, logs, nobody, seed=_SEED) as lab,
        VirtualBench(lab) as bench,
    ):
        yield bench, lambda since, until: 0.0
