"""The real ipvsadm in a node: put a table in, read it back, read its counters, rates and
connections.

The parsers are pure functions over what ipvsadm(8) 1.31 prints with `-n` and `--exact`; `Ipvsadm`
does the I/O. Every method costs one command in the node, because a fork is slow in a guest kernel.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Protocol as Interface

from lvslab.errors import CommandError, LabError, UsageError
from lvslab.host.completed import Completed
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.rules import format_rules, parse_rules
from lvslab.ipvs.service import TIMEOUT_MAX, RealServer, VirtualService, unsigned_mark

_SPLIT = "==== lvslab ===="
"""Stands between the outputs of two commands of one script; ipvsadm never prints it."""


class Runner(Interface):
    """A node that can run a script."""

    @property
    def name(self) -> str:
        """The node's name, for messages."""

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script to its end, for at most `timeout` seconds."""


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What IPVS has counted since the service or server was added, or since `ipvsadm -Z`.

    Attributes:
        conns: connections that were scheduled.
        in_packets, in_bytes: from clients; bytes are those of the IP packets.
        out_packets, out_bytes: toward clients; 0 where replies do not pass IPVS: DR, TUN,
            one-packet scheduling.
    """

    conns: int
    in_packets: int
    out_packets: int
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True, kw_only=True)
class ServerStats(Counters):
    """Counters of a real server; `server` is `RealServer.name`: `10.0.1.11:80`."""

    server: str


@dataclass(frozen=True, kw_only=True)
class ServiceStats(Counters):
    """Counters of a virtual service; `service` is `VirtualService.name`: `TCP 10.0.0.10:80`,
    `FWM 1 IPv6`.
    """

    service: str
    servers: tuple[ServerStats, ...]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates that the kernel estimates every two seconds, as moving averages (ip_vs_est.c); whole
    numbers.

    Attributes:
        cps: new connections a second.
        in_pps, out_pps: packets a second.
        in_bps, out_bps: bytes (not bits) a second.
    """

    cps: int
    in_pps: int
    out_pps: int
    in_bps: int
    out_bps: int


@dataclass(frozen=True, kw_only=True)
class ServerRates(Rates):
    """Rates of a real server; `server` is `RealServer.name`."""

    server: str


@dataclass(frozen=True, kw_only=True)
class ServiceRates(Rates):
    """Rates of a virtual service; `service` is `VirtualService.name`."""

    service: str
    servers: tuple[ServerRates, ...]


@dataclass(frozen=True)
class Connection:
    """An entry of the connection table.

    Attributes:
        protocol: "TCP", "UDP", "SCTP"; "IP" for the template of a firewall-mark service.
        expires: seconds until the entry goes.
        state: "ESTABLISHED", "SYN_RECV", "TIME_WAIT", "UDP", …; templates have "NONE" or "ASSURED".
        client: CIP and port; in a template the address is masked by the persistence netmask and the
            port is 0.
        virtual: VIP and port; with protocol "IP" the firewall mark stands here, see `fwmark`.
        destination: the real server.
        pe_name, pe_data: persistence engine and its key, for SIP the Call-ID; "" without one.
    """

    protocol: str
    expires: int
    state: str
    client: Endpoint
    virtual: Endpoint
    destination: Endpoint
    pe_name: str = ""
    pe_data: str = ""

    @property
    def is_template(self) -> bool:
        """Whether the entry is no connection but remembers a persistent client."""
        return self.client.port == 0

    @property
    def fwmark(self) -> int:
        """The firewall mark of a template with protocol "IP", else 0.

        The kernel keeps the mark in the first four bytes of the address: 1 is `0.0.0.1`, and
        `[0:1::]` in an IPv6 service.
        """
        return (
            int.from_bytes(ip_address(self.virtual.address).packed[:4], "big") if self.protocol == "IP" else 0
        )


@dataclass(frozen=True)
class Timeouts:
    """Lifetimes of idle connection entries in seconds; the kernel starts with 900, 120, 300."""

    tcp: int
    tcpfin: int
    udp: int


def parse_stats(text: str) -> tuple[ServiceStats, ...]:
    """Read `ipvsadm -L -n --stats --exact`.

    Raises:
        LabError: a line is not what ipvsadm prints with `--exact`.
    """
    services: list[ServiceStats] = []
    for name, is_server, line in _entries(text, "--stats"):
        conns, in_packets, out_packets, in_bytes, out_bytes = _five(line, "--stats")
        counters = Counters(
            conns=conns,
            in_packets=in_packets,
            out_packets=out_packets,
            in_bytes=in_bytes,
            out_bytes=out_bytes,
        )
        if is_server:
            server = ServerStats(server=name, **vars(counters))
            services[-1] = replace(services[-1], servers=(*services[-1].servers, server))
        else:
            services.append(ServiceStats(service=name, servers=(), **vars(counters)))
    return tuple(services)


def parse_rates(text: str) -> tuple[ServiceRates, ...]:
    """Read `ipvsadm -L -n --rate --exact`.

    Raises:
        LabError: a line is not what ipvsadm prints with `--exact`.
    """
    services: list[ServiceRates] = []
    for name, is_server, line in _entries(text, "--rate"):
        cps, in_pps, out_pps, in_bps, out_bps = _five(line, "--rate")
        rates = Rates(cps=cps, in_pps=in_pps, out_pps=out_pps, in_bps=in_bps, out_bps=out_bps)
        if is_server:
            server = ServerRates(server=name, **vars(rates))
            services[-1] = replace(services[-1], servers=(*services[-1].servers, server))
        else:
            services.append(ServiceRates(service=name, servers=(), **vars(rates)))
    return tuple(services)


def parse_thresholds(text: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Read `ipvsadm -L -n --thresholds`: (service name, server name) → (upper threshold, lower
    threshold).

    Raises:
        LabError: a line is not what ipvsadm prints.
    """
    thresholds: dict[tuple[str, str], tuple[int, int]] = {}
    service = ""
    for name, is_server, line in _entries(text, "--thresholds"):
        if not is_server:
            service = name
            continue
        numbers = line.split()[2:]
        if len(numbers) != 4 or not all(map(_is_digits, numbers)):
            raise _unreadable("-L -n --thresholds", line)
        thresholds[service, name] = int(numbers[0]), int(numbers[1])
    return thresholds


def parse_connections(text: str) -> tuple[Connection, ...]:
    """Read `ipvsadm -L -n -c`, with or without `--persistent-conn`.

    Raises:
        LabError: a line is not what ipvsadm prints.
    """
    lines = text.splitlines()
    if lines[:1] != ["IPVS connection entries"] or not lines[1:] or not lines[1].startswith("pro expire"):
        raise _unreadable("-L -n -c", lines[0] if lines else "")
    return tuple(_connection(line) for line in lines[2:])


def parse_timeouts(text: str) -> Timeouts:
    """Read `ipvsadm -L -n --timeout`.

    Raises:
        LabError: it is not what ipvsadm prints.
    """
    match = re.fullmatch(r"Timeout \(tcp tcpfin udp\): ([0-9]+) ([0-9]+) ([0-9]+)\s*", text)
    if match is None:
        raise _unreadable("-L --timeout", text.strip())
    return Timeouts(*map(int, match.groups()))


class Ipvsadm:
    """ipvsadm in one node.

    Each method raises CommandError, with what ipvsadm said, when the command failed, and LabError
    when ipvsadm printed something that lvslab does not know.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def restore(self, services: Iterable[VirtualService]) -> None:
        """Add services with their real servers to the table by one `ipvsadm -R`, and make sure that
        they are in it.

        What the table held before stays; `clear` first for a table that holds nothing else.
        `ipvsadm -R` goes on after a rule that the kernel refuses and exits with the status of the
        last rule alone, so its status proves nothing: standard error must be empty and the table,
        read back by the same script, must contain every rule.

        Raises:
            UsageError: a service is there twice.
            CommandError: a rule was refused; the first one that is missing is named. Rules before
                and after it may be in.
        """
        wanted = tuple(services)
        rules = format_rules(wanted)
        if not rules:
            return
        completed = self._runner.run(
            f"ipvsadm -R <<'RULES'\n{rules}RULES\ncode=$?\necho '{_SPLIT}'\nipvsadm -S -n\nexit $code\n"
        )
        said, _, table = completed.out.partition(f"{_SPLIT}\n")
        complaint = "; ".join(line.strip() for line in (said + completed.err).splitlines() if line.strip())
        missing = _missing(wanted, self._parse(table))
        if completed.code == 0 and not complaint and not missing:
            return
        first = (
            f"first rule that is not in the table: {missing[0]}" if missing else "all rules are in the table"
        )
        raise CommandError(
            self._runner.name, "ipvsadm -R", completed.code, f"{complaint or 'no message'} ({first})"
        )

    def save(self) -> tuple[VirtualService, ...]:
        """The whole table, in ipvsadm's order. Thresholds come from `-L --thresholds`, because
        `ipvsadm -S` leaves them out.
        """
        out = self._run_script(
            f"ipvsadm -S -n && echo '{_SPLIT}' && ipvsadm -L -n --thresholds", "ipvsadm -S -n"
        )
        rules, _, listing = out.partition(f"{_SPLIT}\n")
        thresholds = parse_thresholds(listing)
        return tuple(_with_thresholds(service, thresholds) for service in self._parse(rules))

    def clear(self) -> None:
        """Remove all services (`-C`). Connection entries stay until they expire."""
        self._run("-C")

    def add_service(self, service: VirtualService) -> None:
        """Add a service with its real servers."""
        self.restore((service,))

    def edit_service(self, service: VirtualService) -> None:
        """Make a service's options exactly those given (`-E`), resetting what is left out. Real
        servers stay.
        """
        self._run("-E", *service.selector, *service.options)

    def delete_service(self, service: VirtualService) -> None:
        """Remove a service with its real servers (`-D`)."""
        self._run("-D", *service.selector)

    def add_server(self, service: VirtualService, server: RealServer) -> None:
        """Add a real server (`-a`)."""
        self._run("-a", *_checked(service, server).selector, "-r", server.name, *server.options)

    def edit_server(self, service: VirtualService, server: RealServer) -> None:
        """Make a real server's options exactly those given (`-e`): weight, forwarding, thresholds,
        tunnel; its address stays.
        """
        self._run("-e", *_checked(service, server).selector, "-r", server.name, *server.options)

    def delete_server(self, service: VirtualService, server: RealServer) -> None:
        """Remove a real server (`-d`). Its connections' entries stay, their packets are dropped."""
        self._run("-d", *service.selector, "-r", server.name)

    def zero(self, service: VirtualService | None = None) -> None:
        """Set counters and rates to zero (`-Z`), of one service or of all."""
        self._run("-Z", *(service.selector if service else ()))

    def set_timeouts(self, tcp: int = 0, tcpfin: int = 0, udp: int = 0) -> None:
        """Set the lifetimes of idle connection entries in seconds (`--set`); 0 leaves one as it is.

        Raises:
            UsageError: a value is outside 0..2678400, 31 days.
        """
        for name, value in (("tcp", tcp), ("tcpfin", tcpfin), ("udp", udp)):
            if not 0 <= value <= TIMEOUT_MAX:
                raise UsageError(
                    f"{self._runner.name}: {name} timeout {value} s is outside 0..{TIMEOUT_MAX}; choose one"
                    " inside"
                )
        self._run("--set", str(tcp), str(tcpfin), str(udp))

    def timeouts(self) -> Timeouts:
        """The lifetimes of idle connection entries."""
        return parse_timeouts(self._run("-L", "-n", "--timeout"))

    def list_stats(self) -> tuple[ServiceStats, ...]:
        """Counters of all services and real servers."""
        return parse_stats(self._run("-L", "-n", "--stats", "--exact"))

    def list_rates(self) -> tuple[ServiceRates, ...]:
        """Rates of all services and real servers."""
        return parse_rates(self._run("-L", "-n", "--rate", "--exact"))

    def list_connections(self) -> tuple[Connection, ...]:
        """The connection table, templates included."""
        return parse_connections(self._run("-L", "-n", "-c", "--persistent-conn"))

    def _run(self, *arguments: str) -> str:
        command = shlex.join(("ipvsadm", *arguments))
        return self._run_script(command, command)

    def _run_script(self, script: str, shown: str) -> str:
        return self._runner.run(script).check(self._runner.name, shown)

    def _parse(self, rules: str) -> tuple[VirtualService, ...]:
        """Rules that ipvsadm printed: what lvslab cannot read there is no mistake of the user's."""
        try:
            return parse_rules(rules)
        except UsageError as error:
            raise LabError(
                f"{self._runner.name}: 'ipvsadm -S -n' printed what lvslab cannot describe: {error}"
            ) from error


def _checked(service: VirtualService, server: RealServer) -> VirtualService:
    """The service with this real server alone: raises UsageError when the two do not fit."""
    return replace(service, real_servers=(server,))


def _missing(wanted: Iterable[VirtualService], table: Iterable[VirtualService]) -> list[str]:
    """The rules of `wanted` that the table lacks; thresholds are not compared, `ipvsadm -S` does
    not print them.
    """
    found = set(format_rules(table).splitlines())
    return [
        line
        for line in format_rules(_with_thresholds(service, {}) for service in wanted).splitlines()
        if line not in found
    ]


def _with_thresholds(
    service: VirtualService, thresholds: Mapping[tuple[str, str], tuple[int, int]]
) -> VirtualService:
    servers = []
    for server in service.real_servers:
        upper, lower = thresholds.get((service.name, server.name), (0, 0))
        servers.append(replace(server, upper_threshold=upper, lower_threshold=lower))
    return replace(service, real_servers=tuple(servers))


def _entries(text: str, option: str) -> Iterator[tuple[str, bool, str]]:
    """The entries of a listing: (name of the service or server, whether it is a server,
    the line).
    """
    lines = text.splitlines()
    if (
        len(lines) < 3
        or not lines[0].startswith("IP Virtual Server version")
        or not lines[1].startswith("Prot ")
    ):
        raise _unreadable(f"-L -n {option}", lines[0] if lines else "")
    in_service = False
    for line in lines[3:]:
        words = line.split()
        if words[:1] == ["->"] and len(words) > 1 and in_service:
            yield words[1], True, line
        elif words[:1] == ["FWM"] and len(words) > 1 and re.fullmatch(r"-?[0-9]+", words[1]):
            in_service = True
            mark = unsigned_mark(int(words[1]))
            yield f"FWM {mark} IPv6" if words[2:3] == ["IPv6"] else f"FWM {mark}", False, line
        elif words[:1] in (["TCP"], ["UDP"], ["SCTP"]) and len(words) > 1:
            in_service = True
            yield f"{words[0]} {words[1]}", False, line
        else:
            raise _unreadable(f"-L -n {option}", line)


def _five(line: str, option: str) -> tuple[int, int, int, int, int]:
    numbers = line.split()[-5:]
    if len(numbers) != 5 or not all(map(_is_digits, numbers)):
        raise _unreadable(f"-L -n {option} --exact", line)
    first, second, third, fourth, fifth = map(int, numbers)
    return first, second, third, fourth, fifth


def _connection(line: str) -> Connection:
    words = line.split()
    expires = re.fullmatch(r"([0-9]+):([0-9]{2})", words[1]) if len(words) in (6, 8) else None
    if expires is None:
        raise _unreadable("-L -n -c", line)
    try:
        client, virtual, destination = (Endpoint.parse(word) for word in words[3:6])
    except UsageError:
        raise _unreadable("-L -n -c", line) from None
    return Connection(
        words[0], int(expires[1]) * 60 + int(expires[2]), words[2], client, virtual, destination, *words[6:]
    )


def _is_digits(word: str) -> bool:
    return re.fullmatch(r"[0-9]+", word) is not None


def _unreadable(options: str, line: str) -> LabError:
    return LabError(
        f"'ipvsadm {options}' printed '{line.strip()}', which lvslab cannot read; is this ipvsadm 1.29 or"
        " later?"
    )
