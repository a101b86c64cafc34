"""A virtual service with its servers and connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lvslab.conformance.models.schedulers import Hashing, algorithm
from lvslab.conformance.models.servers import Flow, Server
from lvslab.conformance.ways import EARLY, Ways
from lvslab.ipvs.service import Scheduler, SchedulerFlag


@dataclass
class Model:
    """A virtual service with its servers and connections.

    Attributes:
        scheduler, flags: as the service has them.
        counts_active: whether an open connection is an active one: TCP's are from the SYN on, UDP's
            never are.
        ways: of the kernel.
        version: IP version of the service.
        servers: in the kernel's order: the server that was added last comes first.
    """

    scheduler: Scheduler
    flags: tuple[SchedulerFlag, ...] = ()
    counts_active: bool = True
    ways: Ways = EARLY
    version: int = 4
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
        server = self._trash.pop(number, None) or Server(
            number, address, port, ways=self.ways, service_version=self.version
        )
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
