"""What a proxy is: a description only, nothing here touches a node.

A proxy is a program in the director that accepts the clients' connections itself, on the virtual
address, and makes connections of its own to the real servers. Its configuration is generated from
the virtual service, in the words of `lvslab.ipvs.service`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import ClassVar

from lvslab.control.base import ControlFile
from lvslab.errors import UsageError
from lvslab.ipvs.service import Protocol, Scheduler, VirtualService

BACKLOG = 4096
"""Connections that may wait to be accepted: as many as the real servers let wait
(`lvslab.lab.servers`).
"""


class Proxy(ABC):
    """One proxy.

    Attributes:
        name: as `--contenders` takes it.
        title: as people write it.
        summary: one sentence for people.
        schedulers: IPVS scheduler → the proxy's word for it; others are refused.
        most_weight: the largest weight of a real server.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    schedulers: ClassVar[Mapping[Scheduler, str]]
    most_weight: ClassVar[int]

    @abstractmethod
    def require(self) -> None:
        """Make sure that the program is here.

        Raises:
            CannotError: it is not; the message says how to get it.
        """

    def bring(self, folder: Path) -> None:  # noqa: B027
        """Put the program itself into its folder, where the node would not find it on the machine;
        `folder` as the machine sees it.
        """

    @abstractmethod
    def command(self, directory: PurePath) -> str:
        """The line for /bin/sh that becomes the program, in the foreground, talking on standard
        output or error.
        """

    @abstractmethod
    def _files(self, service: VirtualService, directory: PurePath) -> Mapping[str, ControlFile]:
        """As `files`, for a service that is not refused."""

    def refuse(self, service: VirtualService) -> str | None:
        """Why the proxy cannot serve a virtual service as IPVS does, or None if it can."""
        if service.protocol != Protocol.TCP:
            return f"it serves TCP, and {service.name} is {service.protocol.upper()}"
        if not service.real_servers:
            return f"{service.name} has no real server"
        if service.scheduler not in self.schedulers:
            known = ", ".join(self.schedulers)
            return f"it has nothing like scheduler '{service.scheduler}'; choose from: {known}"
        if service.persistence_timeout:
            return (
                "persistence is IPVS's; a proxy sticks to a server by other means, such as the scheduler sh"
            )
        heavy = next((server for server in service.real_servers if server.weight > self.most_weight), None)
        if heavy:
            return (
                f"weight {heavy.weight} of {heavy.name} is above its largest, {self.most_weight}; scale the"
                " weights down"
            )
        return None

    def files(self, service: VirtualService, directory: PurePath) -> Mapping[str, ControlFile]:
        """What lies in the program's folder: file name → file.

        Args:
            directory: the folder, as the node sees it.

        Raises:
            UsageError: what `refuse` says.
        """
        refused = self.refuse(service)
        if refused:
            raise UsageError(f"proxy '{self.name}': {refused}")
        return self._files(service, directory)


def listens(sockets: str, address: str, port: int) -> bool:
    """Whether /proc/net/tcp shows a listening socket for an IPv4 address and port.

    Addresses stand there as hexadecimal numbers in the machine's own order of bytes, little-endian
    here; state 0A is LISTEN (net/ipv4/tcp_ipv4.c, get_tcp4_sock; include/net/tcp_states.h).
    """
    number = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    wanted = {f"{each}:{port:04X}" for each in (number, "00000000")}
    rows = (line.split() for line in sockets.splitlines()[1:])
    return any(len(row) > 3 and row[1] in wanted and row[3] == "0A" for row in rows)
