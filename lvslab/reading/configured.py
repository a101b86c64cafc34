"""What a configuration file wants balanced, whichever daemon reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from lvslab.errors import UsageError
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService, check_fit


@dataclass(frozen=True)
class Page:
    """A page that a check asks for.

    Attributes:
        host: the name in the Host header, "": the daemon's choice.
        status: numbers and ranges that are right, as written; empty: the daemon's choice.
        digest: of its content, as genhash(1) prints it; "": not compared.
        contains: a text or pattern that must be in it; "": none.
    """

    path: str = "/"
    host: str = ""
    status: tuple[str, ...] = ()
    digest: str = ""
    contains: str = ""


@dataclass(frozen=True)
class ServerCheck:
    """How a daemon finds out whether a real server is well.

    Attributes:
        kind: "tcp", "http", "https", "smtp", "dns", "udp", "ping", "script", "bfd", "file", "none",
            or the service that ldirectord names: "ftp", "mysql", "ldap", …
        address, port: where it asks; "" and 0 where it asks nobody.
        source: the director's own address that it asks from; "": any.
        pages: what it asks for by HTTP.
        script: the command that it runs.
        interval: seconds between two checks.
        timeout: seconds that one may take.
        retries: how many more failures it waits for before it acts.
        retry_interval: seconds between those.
        words: its other settings, as written.
    """

    kind: str
    address: str = ""
    port: int = 0
    source: str = ""
    pages: tuple[Page, ...] = ()
    script: str = ""
    interval: float = 0.0
    timeout: float = 0.0
    retries: int = 0
    retry_interval: float = 0.0
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ConfiguredServer:
    """A real server of a pool.

    Attributes:
        server: as it stands in the file; its port in the table may differ (`Pool.services`).
        checks: all must be content; empty: it is never looked at.
        inhibits: whether a failure sets its weight to 0 instead of removing it.
    """

    server: RealServer
    checks: tuple[ServerCheck, ...] = ()
    inhibits: bool = False


@dataclass(frozen=True)
class Pool:
    """Real servers, and the virtual services that share them.

    Attributes:
        name: as the file calls it.
        services: those that stand in the table when all servers are well, with their servers.
        servers: with their checks.
        sorry: who serves when no other does, as it would stand in the table.
        quorum: the sum of weights below which the sorry server comes in.
        line, file: where it begins.
    """

    name: str
    services: tuple[VirtualService, ...] = ()
    servers: tuple[ConfiguredServer, ...] = ()
    sorry: RealServer | None = None
    quorum: int = 1
    line: int = 0
    file: str = ""


@dataclass(frozen=True)
class Script:
    """A program that the daemon runs.

    Attributes:
        purpose: the word in front of it: "notify_master", "misc_path", "checkcommand".
        owner: what it belongs to, in the file's words: "vrrp_instance VI_1".
        command: with its arguments.
    """

    purpose: str
    owner: str
    command: str
    line: int = 0
    file: str = ""


def with_servers(
    service: VirtualService, servers: Iterable[RealServer], refuse: Callable[[str], None]
) -> VirtualService:
    """A service with the servers that it can have, as they stand in its table: DR and TUN leave the
    port alone, so there it is the service's own (ipvsadm(8), -r). `refuse` hears of the others.
    """
    fitting: dict[str, RealServer] = {}
    for server in servers:
        if service.protocol is not Protocol.FWMARK and server.forwarding is not PacketForwarding.MASQ:
            server = replace(server, port=service.port)
        try:
            check_fit(service, server)
        except UsageError as error:
            refuse(str(error))
            continue
        if server.name in fitting:
            refuse(f"real server {server.name} is there twice")
        fitting[server.name] = server
    return replace(service, real_servers=tuple(fitting.values()))
