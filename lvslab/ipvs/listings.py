"""What `ipvsadm -L` prints, as records: counters, rates, thresholds, connections and timeouts.

Pure functions over what ipvsadm(8) 1.31 prints with `-n` and, for numbers, `--exact`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address

from lvslab.errors import LabError, UsageError
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.service import unsigned_mark


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
        client, virtual, destination = map(_endpoint, words[3:6])
    except UsageError:
        raise _unreadable("-L -n -c", line) from None
    return Connection(
        words[0], int(expires[1]) * 60 + int(expires[2]), words[2], client, virtual, destination, *words[6:]
    )


@lru_cache(maxsize=1 << 16)
def _endpoint(text: str) -> Endpoint:
    """In a table of thousands of connections the same come again and again."""
    return Endpoint.parse(text)


def _is_digits(word: str) -> bool:
    return re.fullmatch(r"[0-9]+", word) is not None


def _unreadable(options: str, line: str) -> LabError:
    return LabError(
        f"'ipvsadm {options}' printed '{line.strip()}', which lvslab cannot read; is this ipvsadm 1.29 or"
        " later?"
    )
