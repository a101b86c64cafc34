"""What a machine shows of its virtual server: `ipvsadm -L` in its forms, /proc/net/ip_vs, and the
sync daemons; older and newer releases than lvslab's own included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lvslab.errors import UsageError
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection, Counters, Rates, Timeouts
from lvslab.ipvs.proc import endpoint as proc_endpoint
from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    VirtualService,
    check_fit,
    unsigned_mark,
)
from lvslab.ipvs.words import member
from lvslab.reading.unclear import Unclear

_FORWARDING = {
    "Masq": PacketForwarding.MASQ,
    "Tunnel": PacketForwarding.TUN,
    "Route": PacketForwarding.DR,
    "Local": PacketForwarding.DR,
}
"""Kernels before 2.6.37 said "Local" of a server on the director itself."""

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_UNITS = {"": 1, "K": 1000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000}
"""How ipvsadm shortens numbers without --exact (print_largenum, ipvsadm.c)."""


@dataclass(frozen=True)
class SyncDaemon:
    """One of the two sync daemons, `ipvsadm -L --daemon`; `role` is "master" or "backup"."""

    role: str
    link: str
    syncid: int


@dataclass(frozen=True)
class Listing:
    """A table as it was listed.

    Attributes:
        services: with their servers.
        active: (service name, server name) → connections of all states at the server.
    """

    services: tuple[VirtualService, ...] = ()
    active: Mapping[tuple[str, str], int] = field(default_factory=dict)
    unclear: tuple[Unclear, ...] = ()


@dataclass(frozen=True)
class Counted:
    """Counters or rates: (service name, server name) → numbers; server name "" is the whole
    service.
    """

    counters: Mapping[tuple[str, str], Counters] = field(default_factory=dict)
    rates: Mapping[tuple[str, str], Rates] = field(default_factory=dict)
    unclear: tuple[Unclear, ...] = ()


@dataclass(frozen=True)
class Connections:
    """Entries of a connection table, templates included."""

    entries: tuple[Connection, ...] = ()
    unclear: tuple[Unclear, ...] = ()


def read_listing(text: str) -> Listing:
    """`ipvsadm -L -n`, with or without its head, or /proc/net/ip_vs."""
    services: list[VirtualService] = []
    active: dict[tuple[str, str], int] = {}
    unclear: list[Unclear] = []
    lost = False
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0] in ("IP", "Prot") or words[:2] == ["->", "RemoteAddress:Port"]:
            continue
        try:
            if words[0] != "->":
                lost = True  # servers that follow a service which is not understood
                services.append(_service(words))
                lost = False
            elif lost or not services:
                raise UsageError("its virtual service was not understood")
            else:
                server = _server(words)
                check_fit(services[-1], server)
                services[-1] = replace(services[-1], real_servers=(*services[-1].real_servers, server))
                counts = [word for word in words[4:6] if word.isdigit() and len(word) < 12]
                if len(counts) == 2:
                    active[services[-1].name, server.name] = sum(map(int, counts))
        except (UsageError, ValueError, OSError, IndexError) as error:
            unclear.append(Unclear(number, line, _reason(error)))
    return Listing(tuple(services), active, tuple(unclear))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, UsageError) else "no line of `ipvsadm -L -n`"


def _service(words: list[str]) -> VirtualService:
    identity: dict[str, Any]
    if words[0] == "FWM":
        hexadecimal = re.fullmatch(r"[0-9A-Fa-f]{8}", words[1])
        mark = int(words[1], 16) if hexadecimal else unsigned_mark(int(words[1]))
        identity = {"protocol": Protocol.FWMARK, "fwmark": mark, "ipv6": words[2] == "IPv6"}
        rest = words[3:] if words[2] == "IPv6" else words[2:]
    elif words[0] in _PROTOCOLS:
        place = _endpoint(words[1])
        identity = {"protocol": Protocol[words[0]], "address": place.address, "port": place.port}
        rest = words[2:]
    else:
        raise UsageError("no virtual service and no real server")
    timeout = rest[rest.index("persistent") + 1] if "persistent" in rest[:-1] else ""
    mask = rest[rest.index("mask") + 1] if "mask" in rest[:-1] else ""
    return VirtualService(
        **identity,
        scheduler=member(Scheduler, rest[0], "scheduler"),
        persistence_timeout=int(timeout) if timeout else 0,
        persistence_netmask=mask if timeout else "",
        persistence_engine=rest[rest.index("pe") + 1] if "pe" in rest[:-1] else "",
        ops="ops" in rest,
    )


def _server(words: list[str]) -> RealServer:
    place = _endpoint(words[1])
    if words[2] not in _FORWARDING:
        raise UsageError(f"'{words[2]}' is no forwarding method of ipvsadm(8)")
    return RealServer(place.address, place.port, _FORWARDING[words[2]], weight=int(words[3]))


def _endpoint(text: str) -> Endpoint:
    """In the kernel's own words, or in ipvsadm's."""
    if re.fullmatch(r"[0-9A-F]{8}:[0-9A-F]{4}|\[[0-9a-f]{4}(:[0-9a-f]{4}){7}\]:[0-9A-F]{4}", text):
        return Endpoint(*proc_endpoint(text))
    return Endpoint.parse(text)


# -- numbers ---------------------------------------------------------------------------------------


def read_counters(text: str) -> Counted:
    """`ipvsadm -L -n --stats` or `--rate`, with or without `--exact`."""
    counters: dict[tuple[str, str], Counters] = {}
    rates: dict[tuple[str, str], Rates] = {}
    unclear: list[Unclear] = []
    service = ""
    is_rate = False
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0] == "IP" or words[:2] == ["->", "RemoteAddress:Port"]:
            continue
        if words[0] == "Prot":
            is_rate = "CPS" in words
            continue
        name, values = _counted(words, service)
        if name is None or len(values) != 5:
            unclear.append(Unclear(number, line, "no line of `ipvsadm -L -n --stats` or `--rate`"))
            continue
        service = name[0]
        if is_rate:
            rates[name] = Rates(
                cps=values[0], in_pps=values[1], out_pps=values[2], in_bps=values[3], out_bps=values[4]
            )
        else:
            counters[name] = Counters(
                conns=values[0],
                in_packets=values[1],
                out_packets=values[2],
                in_bytes=values[3],
                out_bytes=values[4],
            )
    return Counted(counters, rates, tuple(unclear))


def _counted(words: list[str], service: str) -> tuple[tuple[str, str] | None, list[int]]:
    """(service name, server name) of a line, and its numbers."""
    values = [value for word in words[-5:] if (value := _large(word)) is not None]
    if words[0] == "->" and service and len(words) > 1:
        return (service, words[1]), values
    if words[0] == "FWM" and len(words) > 2 and re.fullmatch(r"-?[0-9]{1,10}", words[1]):
        family = " IPv6" if words[2] == "IPv6" else ""
        return (f"FWM {unsigned_mark(int(words[1]))}{family}", ""), values
    if words[0] in _PROTOCOLS and len(words) > 1:
        return (f"{words[0]} {words[1]}", ""), values
    return None, values


def _large(word: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,20})([KMGT]?)", word)
    return int(match[1]) * _UNITS[match[2]] if match else None


# -- connections -----------------------------------------------------------------------------------


def read_connections(text: str) -> Connections:
    """`ipvsadm -L -n -c`, with or without its head and with or without `--persistent-conn`."""
    entries: list[Connection] = []
    unclear: list[Unclear] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[:2] == ["pro", "expire"] or words[0] == "IPVS":
            continue
        entry = _entry(words)
        if entry is None:
            unclear.append(Unclear(number, line, "no line of `ipvsadm -L -n -c`"))
        else:
            entries.append(entry)
    return Connections(tuple(entries), tuple(unclear))


def _entry(words: list[str]) -> Connection | None:
    expires = re.fullmatch(r"([0-9]{1,9}):([0-9]{2})", words[1]) if len(words) in (6, 8) else None
    if expires is None:
        return None
    try:
        client, virtual, destination = (Endpoint.parse(word) for word in words[3:6])
    except UsageError:
        return None
    seconds = int(expires[1]) * 60 + int(expires[2])
    return Connection(words[0], seconds, words[2], client, virtual, destination, *words[6:])


def read_timeouts(text: str) -> Timeouts | None:
    """`ipvsadm -L --timeout`; None: it is not there."""
    match = re.search(r"Timeout \(tcp tcpfin udp\): ([0-9]{1,10}) ([0-9]{1,10}) ([0-9]{1,10})", text)
    return Timeouts(*map(int, match.groups())) if match else None


def read_daemons(text: str) -> tuple[SyncDaemon, ...]:
    """ "master sync daemon (mcast=eth0, syncid=1, …)" of `ipvsadm -L --daemon`."""
    pattern = re.compile(r"(master|backup) sync daemon \(mcast=([^,\s]+), syncid=(\d{1,3})")
    return tuple(SyncDaemon(match[1], match[2], int(match[3])) for match in pattern.finditer(text))


def read_ipset(text: str) -> tuple[dict[str, list[str]], tuple[Unclear, ...]]:
    """`ipset save`: set → its elements, as written; kube-proxy keeps its ports in sets."""
    sets: dict[str, list[str]] = {}
    unclear: list[Unclear] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words[:1] == ["create"] and len(words) > 2:
            sets.setdefault(words[1], [])
        elif words[:1] == ["add"] and len(words) > 2:
            sets.setdefault(words[1], []).append(words[2])
        elif words and not words[0].startswith("#"):
            unclear.append(Unclear(number, line, "no line of `ipset save`"))
    return sets, tuple(unclear)


def elements(sets: Mapping[str, list[str]], name: str) -> Iterator[tuple[str, str, int]]:
    """The elements of a set of addresses and ports ("hash:ip,port"), as kube-proxy makes them:
    (address, protocol, port).
    """
    for element in sets.get(name, ()):
        match = re.match(r"([^,]+),(tcp|udp|sctp):(\d{1,5})", element)
        if match:
            yield match[1], match[2], int(match[3])
