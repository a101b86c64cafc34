"""What IPVS's schedulers must do, as exact models: who gets the next connection, and who is moved
when servers change.

Everything here is pure. The facts are those of Linux 6.1, net/netfilter/ipvs: the schedulers' own
files ip_vs_rr.c, ip_vs_wrr.c and so on, ip_vs_ctl.c (list order, last_weight, trash, thresholds)
and ip_vs_conn.c (binding and thresholds). Hash seeds are constants there, so even the hashing
schedulers are exact. Only `twos` draws random numbers: its model gives the servers that it may
choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from ipaddress import ip_address
from itertools import cycle, islice
from math import gcd

from lvslab.conformance.ways import EARLY, Ways
from lvslab.ipvs.service import Scheduler, SchedulerFlag

_U32 = 0xFFFFFFFF
_U64 = 0xFFFFFFFFFFFFFFFF

SH_SLOTS = 256
"""Size of the tables of sh and dh: CONFIG_IP_VS_SH_TAB_BITS and CONFIG_IP_VS_DH_TAB_BITS are 8 by
default.
"""
MH_SLOTS = 4093
"""Size of the table of mh: CONFIG_IP_VS_MH_TAB_INDEX is 12 by default, which is the prime 4093."""
_MH_WEIGHT_BITS = 6
_MH_KEY_1, _MH_KEY_2 = 2654435761, 2654446892


# -- what differs between kernels ------------------------------------------------------------------


# -- hash functions --------------------------------------------------------------------------------


def folded(address: str) -> int:
    """An address as the 32 bits that are hashed: IPv6 is the exclusive or of its four words."""
    packed = ip_address(address).packed
    value = 0
    for start in range(0, len(packed), 4):
        value ^= int.from_bytes(packed[start : start + 4], "big")
    return value


def hash_32(value: int, bits: int) -> int:
    """The kernel's multiplicative hash, linux/hash.h: the upper bits of the product with the golden
    ratio.
    """
    return ((value * 0x61C88647) & _U32) >> (32 - bits)


def hsiphash(value: int, key: int) -> int:
    """The kernel's hsiphash of a 32-bit word, the key being twice `key`; on 64-bit kernels
    SipHash-1-3, its lower 32 bits.
    """
    v0, v1 = 0x736F6D6570736575 ^ key, 0x646F72616E646F6D ^ key
    v2, v3 = 0x6C7967656E657261 ^ key, 0x7465646279746573 ^ key
    word = 4 << 56 | value & _U32

    def turn() -> None:
        nonlocal v0, v1, v2, v3
        v0 = (v0 + v1) & _U64
        v1 = _rotated(v1, 13) ^ v0
        v0 = _rotated(v0, 32)
        v2 = (v2 + v3) & _U64
        v3 = _rotated(v3, 16) ^ v2
        v0 = (v0 + v3) & _U64
        v3 = _rotated(v3, 21) ^ v0
        v2 = (v2 + v1) & _U64
        v1 = _rotated(v1, 17) ^ v2
        v2 = _rotated(v2, 32)

    v3 ^= word
    turn()
    v0 ^= word
    v2 ^= 0xFF
    for _ in range(3):
        turn()
    return (v0 ^ v1 ^ v2 ^ v3) & _U32


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _U64


def sh_slot(address: str, port: int = 0, offset: int = 0) -> int:
    """Where sh (source) and dh (destination, no port) look an address up."""
    return (offset + hash_32((port + folded(address)) & _U32, 8)) % SH_SLOTS


def mh_slot(address: str, port: int = 0, offset: int = 0) -> int:
    """Where mh looks a source up."""
    return hsiphash(offset + port + folded(address), _MH_KEY_1) % MH_SLOTS


# -- connections and servers -----------------------------------------------------------------------


@dataclass(frozen=True)
class Flow:
    """A client's connection: its address and port, and the address that it calls."""

    source: str
    port: int
    destination: str


@dataclass(eq=False)
class Server:
    """A real server as the kernel keeps it.

    Attributes:
        last_weight: the latest weight that was not 0 (or the one it was added with): what mh builds
            its table from.
        active, inactive: its connections. overloaded: the upper threshold was reached and the lower
            one not yet undercut.
        available: it belongs to the service; else it is in the trash, where its connections keep
            it.
        ways: of its kernel.
    """

    number: int
    address: str
    port: int
    weight: int = 1
    upper: int = 0
    lower: int = 0
    last_weight: int = 0
    active: int = 0
    inactive: int = 0
    overloaded: bool = False
    available: bool = True
    ways: Ways = EARLY

    @property
    def total(self) -> int:
        """All its connections."""
        return self.active + self.inactive

    @property
    def overhead(self) -> int:
        """Its load as lc, wlc, lblc, lblcr and twos count it."""
        return self.active * self.ways.active_cost + self.inactive

    @property
    def usable(self) -> bool:
        """Whether it may get a new connection."""
        return self.weight > 0 and not self.overloaded

    def bound(self) -> None:
        """The upper threshold is looked at when a connection comes, after it was counted."""
        if self.upper and self.total >= self.upper:
            self.overloaded = True

    def unbound(self) -> None:
        """The lower threshold is looked at when a connection has gone; without one, three quarters
        of the upper one.
        """
        if self.ways.edits_count and not self.upper:
            free = True
        elif self.lower:
            free = self.total < self.lower
        elif self.upper:
            free = self.total * 4 < self.upper * 3
        else:
            free = True
        if free:
            self.overloaded = False


def least_loaded(servers: Sequence[Server]) -> Server | None:
    """The usable server with the least overhead for its weight, the first of equals: wlc, lblc and
    lblcr.
    """
    return min(
        (each for each in servers if each.usable),
        key=lambda each: Fraction(each.overhead, each.weight),
        default=None,
    )


def shortest_delay(servers: Sequence[Server]) -> Server | None:
    """The usable server where (active connections + 1) / weight is smallest, the first of
    equals.
    """
    return min(
        (each for each in servers if each.usable),
        key=lambda each: Fraction(each.active + 1, each.weight),
        default=None,
    )


def twos_choices(servers: Sequence[Server]) -> set[int]:
    """The numbers of the servers that twos may choose: of two usable ones (or twice one), the less
    loaded for its weight.
    """
    usable = [each for each in servers if each.usable]
    return {
        second.number if first.overhead * second.weight > second.overhead * first.weight else first.number
        for first in usable
        for second in usable
    }


# -- schedulers ------------------------------------------------------------------------------------


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


def sh_table(servers: Sequence[Server]) -> list[Server]:
    """sh's table: servers in turn, each in as many slots in a row as its weight; one of weight 0
    has one slot all the same.
    """
    turn = [server for server in servers for _ in range(max(server.weight, 1))]
    return list(islice(cycle(turn), SH_SLOTS)) if turn else []


def dh_table(servers: Sequence[Server]) -> list[Server]:
    """dh's table: servers in turn, whatever their weights."""
    return list(islice(cycle(servers), SH_SLOTS)) if servers else []


def mh_table(servers: Sequence[Server]) -> list[Server]:
    """mh's table after Maglev: in turn, each server takes the next free slots of its own
    permutation, as many as its weight.

    The weights are the last ones that were not 0, divided by their greatest common divisor, the
    largest cut to six bits.
    """
    step = gcd(*(each.last_weight for each in servers))
    if step == 0:
        return []
    shift = max((max(each.last_weight for each in servers) // step).bit_length() - _MH_WEIGHT_BITS, 0)
    takers = [each for each in servers if each.last_weight]
    turns = [(each.last_weight // step >> shift) or 1 for each in takers]
    names = [each.port + folded(each.address) for each in takers]
    places = [hsiphash(name, _MH_KEY_1) % MH_SLOTS for name in names]
    skips = [hsiphash(name, _MH_KEY_2) % (MH_SLOTS - 1) + 1 for name in names]
    table: list[Server | None] = [None] * MH_SLOTS
    free = MH_SLOTS
    for taker in cycle(range(len(takers))):
        for _ in range(min(turns[taker], free)):
            while table[places[taker]] is not None:
                places[taker] = (places[taker] + skips[taker]) % MH_SLOTS
            table[places[taker]] = takers[taker]
            free -= 1
        if not free:
            break
    return [each for each in table if each is not None]


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


# -- a service -------------------------------------------------------------------------------------


@dataclass
class Model:
    """A virtual service with its servers and connections.

    Attributes:
        scheduler, flags: as the service has them.
        counts_active: whether an open connection is an active one: TCP's are from the SYN on, UDP's
            never are.
        ways: of the kernel.
        servers: in the kernel's order: the server that was added last comes first.
    """

    scheduler: Scheduler
    flags: tuple[SchedulerFlag, ...] = ()
    counts_active: bool = True
    ways: Ways = EARLY
    servers: list[Server] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._trash: dict[int, Server] = {}
        self._flows: dict[Flow, Server] = {}
        self.algorithm = algorithm(self.scheduler, self.flags)
        self.algorithm.changed(self.servers)

    def add(
        self, number: int, address: str, port: int, weight: int = 1, *, upper: int = 0, lower: int = 0
    ) -> None:
        """Add a server; one that was removed comes back from the trash with its connections."""
        server = self._trash.pop(number, None) or Server(number, address, port, ways=self.ways)
        server.last_weight = server.weight = weight
        server.available = True
        self._set_thresholds(server, upper, lower)
        self.servers.insert(0, server)
        self.algorithm.changed(self.servers)

    def edit(self, number: int, *, weight: int, upper: int = 0, lower: int = 0) -> None:
        """Give a server another weight and thresholds; it keeps its connections."""
        server = self.server(number)
        server.weight = weight
        server.last_weight = weight or server.last_weight
        self._set_thresholds(server, upper, lower)
        self.algorithm.changed(self.servers)

    def _set_thresholds(self, server: Server, upper: int, lower: int) -> None:
        """A higher upper threshold (or none) ends an overload; early kernels do not start one
        before the next connection.
        """
        different = (server.upper, server.lower) != (upper, lower)
        raised = upper == 0 or upper > server.upper
        server.upper, server.lower = upper, lower
        if self.ways.edits_count and different:
            server.unbound()
            server.bound()
        elif not self.ways.edits_count and raised:
            server.overloaded = False

    def remove(self, number: int) -> None:
        """Take a server out of the service; its connections keep it in the trash."""
        server = self.server(number)
        self.algorithm.removing(self.servers, server)
        self.servers.remove(server)
        server.available = False
        self._trash[number] = server
        self.algorithm.changed(self.servers)

    def edit_service(self, scheduler: Scheduler, flags: Sequence[SchedulerFlag] = ()) -> None:
        """Another scheduler starts with an empty memory; the same one keeps what it knows and obeys
        new flags at once.
        """
        if scheduler is not self.scheduler:
            self.algorithm = algorithm(scheduler, flags)
            self.algorithm.changed(self.servers)
        elif isinstance(self.algorithm, Hashing):
            self.algorithm.flags = tuple(flags)
        self.scheduler, self.flags = scheduler, tuple(flags)

    def server(self, number: int) -> Server:
        """A server of the service by its number."""
        return next(each for each in self.servers if each.number == number)

    def connect(self, flow: Flow) -> int | None:
        """A new connection: the number of its server, or None when nobody can take it."""
        server = self.algorithm.choose(self.servers, flow)
        if server is None:
            return None
        if self.counts_active:
            server.active += 1
        else:
            server.inactive += 1
        server.bound()
        self._flows[flow] = server
        return server.number

    def knows(self, flow: Flow) -> bool:
        """Whether a connection was served and has not expired."""
        return flow in self._flows

    def serving(self, flow: Flow) -> int:
        """The number of the server that an open connection has."""
        return self._flows[flow].number

    def settle(self, flow: Flow) -> int:
        """An open connection closes: it counts as inactive until its entry expires. The number of
        its server.
        """
        server = self._flows[flow]
        server.active, server.inactive = server.active - 1, server.inactive + 1
        return server.number

    def expire(self, flow: Flow) -> None:
        """The entry of an inactive connection goes."""
        server = self._flows.pop(flow)
        server.inactive -= 1
        server.unbound()
