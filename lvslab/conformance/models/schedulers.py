"""The schedulers, each with its memory."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd

from lvslab.conformance.models.hashing import dh_table, mh_slot, mh_table, sh_slot, sh_table
from lvslab.conformance.models.servers import Flow, Server, least_loaded, shortest_delay, twos_choices
from lvslab.ipvs.service import Scheduler, SchedulerFlag


class Algorithm:
    """One scheduler with its memory. `servers` is always the service's list, in the
    kernel's order.
    """

    def changed(self, servers: Sequence[Server]) -> None:
        """Told when a server was added, edited or removed."""

    def removing(self, servers: Sequence[Server], server: Server) -> None:
        """Told before a server leaves the list."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        """The server of a new connection, or None when it is refused."""
        raise NotImplementedError


class RoundRobin(Algorithm):
    """The next usable server after the last one that was chosen; weights other than 0 count for
    nothing.
    """

    def __init__(self) -> None:
        self._last: Server | None = None

    def removing(self, servers: Sequence[Server], server: Server) -> None:
        if self._last is server:
            index = servers.index(server)
            self._last = servers[index - 1] if index else None

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        start = servers.index(self._last) + 1 if self._last else 0
        for server in (*servers[start:], *servers[:start]):
            if server.usable:
                self._last = server
                return server
        return None


class WeightedRoundRobin(Algorithm):
    """Rounds with a falling bar: the first round takes servers of the highest weight only, the last
    one all; then from the start.

    A change of any server restarts the list but keeps the bar where it was, as far as that is
    possible.
    """

    def __init__(self) -> None:
        self._position = -1
        self._step, self._top, self._bar = 1, 0, 0

    def changed(self, servers: Sequence[Server]) -> None:
        weights = [each.weight for each in servers]
        self._position = -1
        self._step = gcd(*weights) or 1
        self._top = max(weights, default=0) - (self._step - 1)
        if self._bar > self._top or self._bar == 0:
            self._bar = self._top
        elif self._step > 1:
            self._bar = self._bar // self._step * self._step + 1

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        if self._top == 0:
            return None
        start, last_round, again, stop = self._position, False, False, -1
        while True:
            for index in range(self._position + 1, len(servers)):
                if not servers[index].overloaded and servers[index].weight >= self._bar:
                    self._position = index
                    return servers[index]
                if index == stop:
                    self._position = index
                    return None
            self._position = -1
            self._bar -= self._step
            if self._bar <= 0:
                self._bar = self._top
                if last_round or start < 0:
                    return None
                again = True
            last_round = self._bar <= self._step
            if last_round and again and start >= 0:
                stop = start


class LeastConnection(Algorithm):
    """The fewest connections (an active one counts as 256 inactive ones), whatever the weights,
    unless 0.
    """

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        return min((each for each in servers if each.usable), key=lambda each: each.overhead, default=None)


class WeightedLeastConnection(Algorithm):
    """The fewest connections (an active one counts as 256 inactive ones) for its weight."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        return least_loaded(servers)


class ShortestExpectedDelay(Algorithm):
    """The smallest (active + 1) / weight; inactive connections do not count."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        return shortest_delay(servers)


class NeverQueue(Algorithm):
    """The first server without active connections, else as sed."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        idle = next((each for each in servers if each.usable and each.active == 0), None)
        return idle or shortest_delay(servers)


class WeightedFailover(Algorithm):
    """All to the highest weight."""

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        return max((each for each in servers if each.usable), key=lambda each: each.weight, default=None)


class WeightedOverflow(Algorithm):
    """All to the highest weight until it has more active connections than its weight, then to the
    next one.
    """

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        having_room = (each for each in servers if each.usable and each.active <= each.weight)
        return max(having_room, key=lambda each: each.weight, default=None)


class Hashing(Algorithm):
    """sh, dh or mh: a table of servers, remade at every change, and a slot for every client or
    destination.

    Without fallback a slot whose server is quiescent or overloaded refuses; with it further slots
    are tried, found by an offset.
    """

    def __init__(self, scheduler: Scheduler, flags: Sequence[SchedulerFlag] = ()) -> None:
        self._scheduler, self.flags = scheduler, tuple(flags)
        self.table: list[Server] = []

    def changed(self, servers: Sequence[Server]) -> None:
        make = {Scheduler.SH: sh_table, Scheduler.DH: dh_table, Scheduler.MH: mh_table}[self._scheduler]
        self.table = make(servers)

    def slot(self, flow: Flow, offset: int = 0) -> int:
        """Where a flow is looked up."""
        if self._scheduler is Scheduler.DH:
            return sh_slot(flow.destination)
        port = flow.port if {SchedulerFlag.SH_PORT, SchedulerFlag.MH_PORT} & set(self.flags) else 0
        return (sh_slot if self._scheduler is Scheduler.SH else mh_slot)(flow.source, port, offset)

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        if not self.table:
            return None
        first = self.slot(flow)
        server = self.table[first]
        if server.usable and server.available:
            return server
        if not {SchedulerFlag.SH_FALLBACK, SchedulerFlag.MH_FALLBACK} & set(self.flags):
            return None
        for offset in range(len(self.table)):
            server = self.table[self.slot(flow, (offset + first) % len(self.table))]
            if server.usable:
                return server
        return None


def too_busy(server: Server, servers: Sequence[Server]) -> bool:
    """lblc's and lblcr's own idea of overload: more active connections than weight, and another
    below half its weight.
    """
    return server.active > server.weight and any(each.active * 2 < each.weight for each in servers)


class LocalityBased(Algorithm):
    """lblc: a destination stays with its server until that is quiescent, gone or too busy; then the
    least loaded takes over.

    The threshold of a server does not end this: the flag that it sets is asked for only when a
    destination has no server yet.
    """

    def __init__(self) -> None:
        self._home: dict[str, Server] = {}

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        home = self._home.get(flow.destination)
        if home and home.available and home.weight > 0 and not too_busy(home, servers):
            return home
        server = least_loaded(servers)
        if server:
            self._home[flow.destination] = server
        return server


class LocalityBasedReplicated(Algorithm):
    """lblcr: a destination has a set of servers, its least loaded one serves; if that is too busy,
    the least loaded of all joins.

    The set loses its busiest member only after `lblcr_expiration`, a day by default; here it never
    does, see `expire`.
    """

    def __init__(self) -> None:
        self._homes: dict[str, list[Server]] = {}

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        homes = self._homes.get(flow.destination, [])
        server = least_loaded([each for each in homes if each.available])
        if server and not too_busy(server, servers):
            return server
        server = least_loaded(servers)
        if server and server not in homes:
            self._homes[flow.destination] = [server, *homes]
        return server

    def expire(self, destination: str) -> None:
        """The set of a destination loses the member with the most load for its weight."""
        homes = self._homes.get(destination, [])
        weighted = [each for each in homes if each.weight > 0]
        if len(homes) > 1 and weighted:
            homes.remove(max(weighted, key=lambda each: Fraction(each.overhead, each.weight)))


class TwoRandomChoices(Algorithm):
    """twos: any of `twos_choices`. The model cannot know the draw: it follows what `drawn` says, as
    far as that is possible.
    """

    def __init__(self) -> None:
        self.drawn: int | None = None

    def choose(self, servers: Sequence[Server], flow: Flow) -> Server | None:
        possible = twos_choices(servers)
        number = self.drawn if self.drawn in possible else min(possible, default=None)
        return next((each for each in servers if each.number == number), None)


def algorithm(scheduler: Scheduler, flags: Sequence[SchedulerFlag] = ()) -> Algorithm:
    """The model of a scheduler."""
    if scheduler in (Scheduler.SH, Scheduler.DH, Scheduler.MH):
        return Hashing(scheduler, flags)
    return {
        Scheduler.RR: RoundRobin,
        Scheduler.WRR: WeightedRoundRobin,
        Scheduler.LC: LeastConnection,
        Scheduler.WLC: WeightedLeastConnection,
        Scheduler.SED: ShortestExpectedDelay,
        Scheduler.NQ: NeverQueue,
        Scheduler.FO: WeightedFailover,
        Scheduler.OVF: WeightedOverflow,
        Scheduler.LBLC: LocalityBased,
        Scheduler.LBLCR: LocalityBasedReplicated,
        Scheduler.TWOS: TwoRandomChoices,
    }[scheduler]()
