"""A case carried out in a world: load, faults at their times, rest, and the records of it all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lvslab.errors import LabError
from lvslab.explore.kinds import KINDS
from lvslab.explore.labs import ATTEMPT_SECONDS, net_of, promise_of
from lvslab.explore.records import HTTP, UDP, Counted, Frame, Happened, Record, Shot
from lvslab.explore.schedule import Injection
from lvslab.ipvs.listings import ServiceStats
from lvslab.ipvs.service import Protocol
from lvslab.modes.base import Role
from lvslab.runs.pcapng import OUTBOUND
from lvslab.simulation.calendar import MILLISECOND, SECOND
from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.endpoints.clients import Prober, Probing
from lvslab.simulation.errors import (
    GuestGoneError,
    GuestHangsError,
    GuestPanicError,
    GuestSpinsError,
    ProtocolError,
)
from lvslab.simulation.labs.lab import VirtualLab

LOAD_SECONDS = 20.0
"""From the beginning of the load to the last moment at which a fault may be put back."""

REST_SECONDS = 16.0
"""Of load after the last fault, more than the bounds: time for connections to send so many packets
that sync has told of each.
"""

_PORTS, _LAST_PORTS = (1024, 49999), (50000, 60999)
"""Of the load, and of what is counted at the end: a port that came back would meet the entry of its
old connection, and begin no new one (scenarios/port_reuse.py).
"""

_ATTEMPTS = SECOND // 5
_DATAGRAMS, _FLOWS = SECOND // 5, 5
_CONNECTIONS, _STAGGER = 10, 1500 * MILLISECOND
_HEARTBEAT, _BEAT_TIMEOUT = SECOND // 2, 5 * SECOND
_ANSWER_SECONDS = 0.5
_QUIET_SECONDS = 3.0
"""After which everything that was under way has ended, and counters are up to date: kernels up to
6.1 do that every two seconds (ip_vs_est.c).
"""

_COUNTED_SECONDS = 1.0
_DEADLY = (GuestPanicError, GuestGoneError, GuestSpinsError, GuestHangsError, ProtocolError)


def play(lab: VirtualLab, schedule: Sequence[Injection]) -> Record:
    """Let faults happen in a lab that is running.

    Raises:
        LabError: a kernel died that was not to, or time does not pass.
    """
    lab.wiring.record.keep()
    return _Play(lab, schedule).record()


class _Play:
    def __init__(self, lab: VirtualLab, schedule: Sequence[Injection]) -> None:
        self._lab, self._schedule = lab, schedule
        self._net = net_of(lab.plan)
        self._host = lab.wiring.hosts[lab.plan.of_role(Role.CLIENT)[0].name]
        self._probers: dict[str, Prober] = {}
        self._taken: list[Shot] = []

    def record(self) -> Record:
        lab, promise = self._lab, promise_of(self._lab.plan)
        if lab.plan.keepalived:  # nobody has waited for their daemons
            lab.clock.sleep(promise.whole)
        began = lab.now()
        with self._load():
            happened = self._faults()
            lab.clock.sleep(REST_SECONDS)
            asked = self._ask()
            rested = lab.now()
            self._taken += self._shots()
        counted = tuple(self._counted())
        attempts = {name: tuple(prober.attempts) for name, prober in self._probers.items()}
        return Record(
            net=self._net,
            promise=promise,
            happened=happened,
            rested=rested,
            began=began,
            attempts=attempts,
            beats=tuple(self._probers[HTTP].beats),
            frames=tuple(self._frames()),
            asked=asked,
            shots=tuple(self._taken),
            counted=counted,
            consoles={name: lab.console(name) for name in self._net.directors},
        )

    # -- load --------------------------------------------------------------------------------------

    @contextmanager
    def _load(self) -> Iterator[None]:
        """New connections, lasting ones that open one after the other, and UDP flows."""
        self._probers[HTTP] = Prober(self._host, self._probing(self._net.port, connections=_CONNECTIONS))
        services = self._lab.plan.services
        udp = next((service.port for service in services if service.protocol == Protocol.UDP), None)
        if udp is not None:
            self._probers[UDP] = Prober(self._host, self._probing(udp, udp=True))
        for prober in self._probers.values():
            prober.start()
        yield
        for prober in self._probers.values():
            prober.stop()
        patience = (_BEAT_TIMEOUT + SECOND) / SECOND
        self._lab.clock.wait(lambda: all(prober.finished for prober in self._probers.values()), patience, 0.1)

    def _probing(
        self, port: int, *, udp: bool = False, connections: int = 0, ports: tuple[int, int] = _PORTS
    ) -> Probing:
        return Probing(
            self._net.vip,
            port,
            frozenset(self._net.servers),
            protocol="udp" if udp else "tcp",
            interval=_DATAGRAMS if udp else _ATTEMPTS,
            timeout=round(ATTEMPT_SECONDS * SECOND),
            ports=None if udp else ports,
            flows=_FLOWS if udp else 0,
            connections=connections,
            stagger=_STAGGER,
            heartbeat=_HEARTBEAT,
            beat_timeout=_BEAT_TIMEOUT,
        )

    # -- faults ------------------------------------------------------------------------------------

    def _faults(self) -> tuple[Happened, ...]:
        """Every fault at its time, or later if the one before took so long; each is put back."""
        began: dict[int, float] = {}
        ended: dict[int, float] = {}
        void: dict[int, str] = {}
        schedule = self._schedule
        steps = [(injection.at, 1, number) for number, injection in enumerate(schedule)]
        steps += [
            (injection.end, 0, number)
            for number, injection in enumerate(schedule)
            if injection.duration is not None
        ]
        start = self._lab.now()
        for at, begins, number in sorted(steps):
            self._lab.clock.sleep(max(0.0, start + at - self._lab.now()))
            injection, kind = schedule[number], KINDS[schedule[number].kind]
            if begins:
                began[number] = self._lab.now()
                void[number] = self._do(kind.begin, injection)
                if kind.end is None:
                    ended[number] = self._lab.now()
            elif kind.end and not void[number]:
                self._taken += self._shots() if kind.drains else ()
                self._do(kind.end, injection)
                ended[number] = self._lab.now()
        self._lab.clock.sleep(max(0.0, start + LOAD_SECONDS - self._lab.now()))
        return tuple(
            Happened(injection, began[number], ended.get(number), void[number])
            for number, injection in enumerate(schedule)
        )

    def _do(self, deed: object, injection: Injection) -> str:
        """Do or undo a fault; what cannot be done now is left, with the reason."""
        assert callable(deed)
        try:
            deed(self._lab, injection)
        except _DEADLY:
            raise
        except LabError as problem:
            return str(problem)
        return ""

    # -- afterwards --------------------------------------------------------------------------------

    def _ask(self) -> float:
        """The client asks everybody who has the virtual address (RFC 826)."""
        asked, card = self._lab.now(), self._host.interfaces[0]
        ours = card.mac + address(self._net.client)
        question = b"\0\1\x08\0\6\4\0\1" + ours + bytes(6) + address(self._net.vip)
        card.transmit(b"\xff" * 6 + card.mac + b"\x08\x06" + question)
        self._lab.clock.sleep(_ANSWER_SECONDS)
        return asked

    def _shots(self) -> Iterator[Shot]:
        for director in self._net.directors:
            if self._lab.is_on(director):
                table = self._lab.table(director)
                yield Shot(self._lab.now(), director, table.save(), table.list_connections())

    def _counted(self) -> Iterator[Counted]:
        """A short load between two silences; counters before and after."""
        clock = self._lab.clock
        clock.sleep(_QUIET_SECONDS)
        began, before = self._lab.now(), self._counters()
        prober = Prober(self._host, self._probing(self._net.port, ports=_LAST_PORTS))
        prober.start()
        clock.sleep(_COUNTED_SECONDS)
        prober.stop()
        clock.wait(lambda: prober.finished, ATTEMPT_SECONDS + 1, 0.1)
        clock.sleep(_QUIET_SECONDS)
        ended, after = self._lab.now(), self._counters()
        for director, numbers in before.items():
            yield Counted(director, began, ended, numbers, after[director])

    def _counters(self) -> dict[str, tuple[ServiceStats, ...]]:
        on = (name for name in self._net.directors if self._lab.is_on(name))
        return {name: self._lab.table(name).list_stats() for name in on}

    def _frames(self) -> Iterator[Frame]:
        record = self._lab.wiring.record
        names = [(card.rpartition("-")[0], card) for card in record.cards]
        began = self._lab.clock.began
        for time, card, direction, octets in record.kept:
            yield Frame((began + time) / SECOND, *names[card], direction == OUTBOUND, octets)
