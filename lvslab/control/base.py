"""What health control is: descriptions only, nothing here touches a node.

A health control is a program in the director that checks the real servers and changes the
director's table of virtual services. Each has a generator of its configuration, `files`, which is a
pure function, and says what it promises: `bound`.
"""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import ClassVar

from lvslab.errors import UsageError
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService

CHECK_SCRIPT = "check"
"""Name of the program that `Check.MISC` runs."""


class Check(StrEnum):
    """How a real server is asked."""

    TCP = "tcp"
    """A connection is established and closed."""
    HTTP = "http"
    """`GET /` is answered with status 200."""
    MISC = "misc"
    """A program of one's own is run; here a script that asks with curl."""


@dataclass(frozen=True)
class HealthSettings:
    """What is checked and how often.

    Attributes:
        check: how a real server is asked.
        interval: seconds between two checks of a server.
        timeout: seconds that a server has for an answer.
        retries: failed checks in a row that take a server out.
        quiescent: a failed server gets weight 0 instead of being removed: its connections stay.
        quorum: sum of weights below which a service counts as down.
        sorry_server: `ADDRESS:PORT` of the server that answers when too few are left, or None.
        ports: virtual ports of the TCP services that are checked; all others are put into the table
            unchecked.

    Raises:
        UsageError: a value that makes no sense with any program.
    """

    check: Check = Check.TCP
    interval: float = 1.0
    timeout: float = 1.0
    retries: int = 1
    quiescent: bool = False
    quorum: int = 1
    sorry_server: str | None = None
    ports: tuple[int, ...] = (80,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "check", Check(self.check))
        for name, value in (("interval", self.interval), ("timeout", self.timeout)):
            if not 0.1 <= value <= 3600:
                raise UsageError(f"health: {name} {value:g} s is outside 0.1..3600; choose one inside")
        for name, number in (("retries", self.retries), ("quorum", self.quorum)):
            if not 1 <= number <= 1000:
                raise UsageError(f"health: {name} {number} is outside 1..1000; choose one inside")
        if self.sorry_server is not None:
            object.__setattr__(self, "sorry_server", str(Endpoint.parse(self.sorry_server)))

    @property
    def sorry(self) -> Endpoint | None:
        """The sorry server's address and port."""
        return Endpoint.parse(self.sorry_server) if self.sorry_server else None

    def checks(self, service: VirtualService) -> bool:
        """Whether the real servers of a service are checked."""
        return service.protocol == Protocol.TCP and service.port in self.ports


@dataclass(frozen=True)
class ControlFile:
    """A file that a program reads or runs."""

    text: str
    executable: bool = False


class HealthControl(ABC):
    """One health control."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One sentence for people."""
    programs: ClassVar[tuple[str, ...]]
    """What must be installed."""
    builds_table: ClassVar[bool]
    """Whether the program puts the virtual services into the table itself; else it edits those that
    are there.
    """

    @abstractmethod
    def files(
        self, services: Sequence[VirtualService], settings: HealthSettings, directory: PurePath
    ) -> Mapping[str, ControlFile]:
        """What lies in the program's folder: file name → file. `directory`: the folder, as the node
        sees it.

        Raises:
            UsageError: what `refuse` says.
        """

    @abstractmethod
    def command(self, directory: PurePath) -> str:
        """The line for /bin/sh that runs the program in the foreground, talking on standard output
        or error.
        """

    @abstractmethod
    def ready(self, services: Sequence[VirtualService], settings: HealthSettings) -> tuple[str, ...]:
        """Regular expressions of the lines that the program has said when it watches the real
        servers and the table is complete.

        One that is there twice is found in two lines.
        """

    @abstractmethod
    def bound(self, settings: HealthSettings) -> tuple[float, str]:
        """The longest time from a real server's fault to the change of the table in seconds, and
        how it comes about, in words.

        It holds for one fault at a time in a director that is not short of processor time.
        """

    @abstractmethod
    def _refuse(self, services: Sequence[VirtualService], settings: HealthSettings) -> str | None:
        """What the program cannot do, when `refuse` has found nothing."""

    def refuse(self, services: Sequence[VirtualService], settings: HealthSettings) -> str | None:
        """Why the program cannot do it, or None if it can."""
        if not any(settings.checks(service) and service.real_servers for service in services):
            ports = ", ".join(map(str, settings.ports))
            return (
                f"there is no TCP service with a real server on port {ports}, so nothing can be checked;"
                " choose other ports"
            )
        sorry = settings.sorry
        for service in services:
            if sorry and settings.checks(service):
                try:
                    sorry_server(service, sorry)
                except UsageError as error:
                    return f"sorry server: {error}"
        return self._refuse(services, settings)

    def _require(self, services: Sequence[VirtualService], settings: HealthSettings) -> None:
        refused = self.refuse(services, settings)
        if refused:
            raise UsageError(f"control '{self.name}': {refused}")


def sorry_server(service: VirtualService, endpoint: Endpoint) -> RealServer:
    """The sorry server as a real server of a service, reached as the others are.

    On the director itself (127.0.0.0/8) it is reached by DR whatever they use: the packet keeps its
    destination and is delivered there, while the kernel drops what would be translated to a
    loopback address (ip_vs_nat_xmit).

    Raises:
        UsageError: it does not fit the service, for example another port with DR.
    """
    here = ipaddress.ip_address(endpoint.address).is_loopback
    forwarding = PacketForwarding.DR if here else service.real_servers[0].forwarding
    server = RealServer(endpoint.address, endpoint.port, forwarding)
    VirtualService(
        service.protocol, service.address, service.port, persistence_timeout=1, real_servers=(server,)
    )
    return server


def whole_seconds(program: str, settings: HealthSettings) -> str | None:
    """What to say where a program counts in whole seconds and the settings do not."""
    for name, value in (("interval", settings.interval), ("timeout", settings.timeout)):
        if value != int(value) or value < 1:
            return f"{program} counts in whole seconds, and {name} is {value:g} s; choose 1, 2, … s"
    return None


def checked(
    services: Sequence[VirtualService], settings: HealthSettings
) -> tuple[tuple[VirtualService, RealServer], ...]:
    """The pairs of service and real server that are checked, in the table's order."""
    return tuple(
        (service, server)
        for service in services
        if settings.checks(service)
        for server in service.real_servers
    )


def check_script(settings: HealthSettings) -> ControlFile:
    """The program of `Check.MISC`: `check ADDRESS PORT` succeeds when a web server answers there
    with a status below 400.
    """
    seconds = f"{settings.timeout:g}"
    return ControlFile(
        "#!/bin/sh\n"
        "# check ADDRESS PORT: does a web server answer there?\n"
        f"exec curl --silent --fail --noproxy '*' --output /dev/null --max-time {seconds}"
        ' "http://$1:$2/"\n',
        executable=True,
    )
