"""What the reading script printed, as data. Pure functions; what cannot be read becomes a line of
`Machine.unread`.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lvslab.doctor.evidence import Address, Ipvs, Link, Machine, Neighbour, Route, Socket, SyncDaemon
from lvslab.doctor.script import MARK, MOST_CONNECTIONS
from lvslab.errors import LvslabError, UsageError
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import (
    Connection,
    Counters,
    Timeouts,
    parse_connections,
    parse_stats,
    parse_timeouts,
)
from lvslab.ipvs.proc import read_table
from lvslab.ipvs.rules import parse_rules
from lvslab.ipvs.service import VirtualService
from lvslab.modes.base import Role

_TCP_STATES = {"01": "ESTABLISHED", "02": "SYN_SENT", "03": "SYN_RECV", "0A": "LISTEN", "08": "CLOSE_WAIT"}
"""include/net/tcp_states.h; the others do not matter here."""


_PACKET_COUNTS = re.compile(r" *\[[0-9]+:[0-9]+]")
"""What iptables-save puts behind a chain's policy."""


def parse_machine(name: str, role: Role, text: str) -> Machine:
    """A machine from the output of `lvslab.doctor.script.reading`."""
    parts = _parts(text)
    files, unread = _files(parts.get("files", ()))
    links, routes, neighbours, marks = _ip(parts.get("ip", ()))
    rules, refused = _rules({part: parts[part] for part in ("rules", "nft", "arp") if part in parts})
    ipvs, more = _ipvs(parts, files)
    return Machine(
        name,
        role,
        links=links,
        routes=routes,
        neighbours=neighbours,
        routed_marks=marks,
        sysctls={
            path.removeprefix("/proc/sys/").replace("/", "."): " ".join(lines[0].split())
            for path, lines in files.items()
            if path.startswith("/proc/sys/")
        },
        sockets=tuple(_sockets(files, _idle(parts.get("idle", ())))),
        rules=rules,
        programs=frozenset(lines[0] for path, lines in files.items() if path.endswith("/comm")),
        counts=_counts(files),
        ipvs=ipvs,
        unread=(*unread, *refused, *more),
    )


def parse_paths(questions: Sequence[tuple[str, str]], text: str) -> dict[tuple[str, str], Route | None]:
    """The kernel's answers to `lvslab.doctor.script.asking`; None where it has no route."""
    found: dict[tuple[str, str], Route | None] = dict.fromkeys(questions)
    for item in _json_items(text.splitlines()):
        key = (str(item.get("from", "")), str(item.get("dst", "")))
        if key in found:
            found[key] = _route(item)
    return found


def _parts(text: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(MARK):
            lines = parts.setdefault(line.removeprefix(MARK).strip("'\n"), [])
        else:
            lines.append(line)
    return parts


def _files(lines: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """File → its lines, and what grep could not read; a file that is not there is no problem."""
    files: dict[str, list[str]] = {}
    unread = []
    for line in lines:
        refused = re.fullmatch(r"grep: (/\S+): (.+)", line)
        if refused:
            if refused[2] not in (
                "No such file or directory",
                "No such process",
                "Invalid argument",
                "Is a directory",
            ):
                unread.append(f"{refused[1]}: {refused[2]}")
        elif line.startswith("/proc/"):
            path, _, content = line.partition(":")
            files.setdefault(path, []).append(content)
    return files, unread


# -- iproute2 --------------------------------------------------------------------------------------


def _json_items(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The objects of all JSON arrays, one array a line; complaints between them are passed over."""
    items = []
    for line in lines:
        if line.startswith("["):
            try:
                items += [each for each in json.loads(line) if isinstance(each, dict)]
            except ValueError:
                continue
    return items


def _ip(
    lines: Iterable[str],
) -> tuple[tuple[Link, ...], tuple[Route, ...], tuple[Neighbour, ...], frozenset[int]]:
    items = _json_items(lines)
    links = tuple(_link(each) for each in items if "ifname" in each)
    routes = tuple(
        _route(each) for each in items if "dst" in each and "type" in each and "ifname" not in each
    )
    neighbours = tuple(
        Neighbour(
            str(each["dst"]),
            str(each.get("lladdr", "")),
            str(each.get("dev", "")),
            str((each["state"] or [""])[0]),
        )
        for each in items
        if "dst" in each and isinstance(each.get("state"), list)
    )
    marks = frozenset(int(str(each["fwmark"]), 0) for each in items if "fwmark" in each)
    return links, routes, neighbours, marks


def _link(item: Mapping[str, Any]) -> Link:
    flags = item.get("flags", ())
    return Link(
        name=str(item["ifname"]),
        mac=str(item.get("address", "")),
        mtu=int(item.get("mtu", 0)),
        kind=str(item.get("linkinfo", {}).get("info_kind", "")),
        up="UP" in flags and "LOWER_UP" in flags,
        arp="NOARP" not in flags,
        addresses=tuple(
            Address(str(each["local"]), int(each.get("prefixlen", 32)), str(each.get("scope", "global")))
            for each in item.get("addr_info", ())
            if "local" in each
        ),
    )


def _route(item: Mapping[str, Any]) -> Route:
    metrics: dict[str, Any] = {}
    for each in item.get("metrics", ()):
        metrics |= each
    return Route(
        kind=str(item.get("type", "unicast")),
        destination=str(item.get("dst", "")),
        link=str(item.get("dev", "")),
        via=str(item.get("gateway", "")),
        table=str(item.get("table", "main")),
        advmss=int(metrics.get("advmss", 0)),
        mtu=int(metrics.get("mtu", 0)),
    )


# -- /proc -----------------------------------------------------------------------------------------


def _sockets(
    files: Mapping[str, Sequence[str]], idle: Mapping[tuple[Endpoint, Endpoint], float]
) -> Iterable[Socket]:
    """Sockets of /proc/net/tcp, tcp6, udp and udp6 (proc(5)); an IPv6 socket for every address
    takes IPv4 too, as the default is.
    """
    for protocol in ("tcp", "udp"):
        for file in (protocol, f"{protocol}6"):
            for line in files.get(f"/proc/net/{file}", ())[1:]:
                words = line.split()
                if len(words) < 4:
                    continue
                local, remote = _endpoint(words[1]), _endpoint(words[2])
                state = _TCP_STATES.get(words[3], words[3]) if protocol == "tcp" else ""
                yield Socket(
                    protocol, local, remote if remote.port else None, state, idle.get((local, remote))
                )


def _idle(lines: Iterable[str]) -> dict[tuple[Endpoint, Endpoint], float]:
    """Seconds of silence of each established connection; `ss --info` puts a connection's numbers on
    a line of their own.
    """
    found: dict[tuple[Endpoint, Endpoint], float] = {}
    ends: tuple[Endpoint, Endpoint] | None = None
    for line in lines:
        if not line.startswith((" ", "\t")):
            words = line.replace("[::ffff:", "").replace("]", "").split()
            try:
                ends = Endpoint.parse(words[2]), Endpoint.parse(words[3])
            except (IndexError, UsageError):
                ends = None
        times = re.findall(r"last(?:snd|rcv|ack):([0-9]+)", line)
        if ends and times:
            found[ends] = min(map(int, times)) / 1000.0
    return found


def _endpoint(text: str) -> Endpoint:
    """ "0100007F:0050": each 32-bit word of the address in the machine's byte order, which is the
    little-endian one.
    """
    address, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
    if len(raw) == 16 and raw.startswith(bytes(10) + b"\xff\xff"):
        raw = raw[12:]
    return Endpoint(
        socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)
    )


def _counts(files: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Numbers of connection tracking, summed over processors; columns are named by the file's first
    line.
    """
    found: dict[str, int] = {}
    lines = files.get("/proc/net/stat/nf_conntrack", ())
    if lines:
        rows = [line.split() for line in lines[1:]]
        for column, title in enumerate(lines[0].split()):
            values = [int(row[column], 16) for row in rows if column < len(row)]
            found[title] = max(values, default=0) if title == "entries" else sum(values)
    count = files.get("/proc/sys/net/netfilter/nf_conntrack_count")
    if count:
        found["nf_conntrack_count"] = int(count[0])
    return found


# -- netfilter -------------------------------------------------------------------------------------


def _rules(parts: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], list[str]]:
    """Rules and chain policies with their table in front; "arp" stands for arptables' filter."""
    found, unread = [], []
    for part, lines in parts.items():
        table = ""
        for line in lines:
            if line.startswith("*"):
                table = "arp" if part == "arp" else line[1:].strip()
            elif line.startswith((":", "-A ")):
                found.append(f"{table} {_PACKET_COUNTS.sub('', line).strip()}")
            elif line.strip() and not line.startswith(("#", "COMMIT")):
                unread.append(f"{'arptables' if part == 'arp' else 'iptables'}-save: {line.strip()}")
    return tuple(found), unread


# -- IPVS ------------------------------------------------------------------------------------------


def _ipvs(
    parts: Mapping[str, Sequence[str]], files: Mapping[str, Sequence[str]]
) -> tuple[Ipvs | None, list[str]]:
    """The virtual server, by ipvsadm, or as far as /proc/net/ip_vs tells where ipvsadm may not
    look; and what could not be read.
    """
    if "/proc/net/ip_vs" not in files:
        return None, []
    proc_services, active = read_table(files["/proc/net/ip_vs"])
    unread = []

    def part(name: str) -> str:
        return "\n".join(parts.get(name, ())).strip() + "\n"

    try:
        services: tuple[VirtualService, ...] = parse_rules(part("table"))
    except UsageError:
        services = proc_services
        unread.append(
            "ipvsadm:"
            f" {part('table').strip().splitlines()[0] if part('table').strip() else 'printed nothing'}"
        )
    stats: dict[tuple[str, str], Counters] = {}
    connections: tuple[Connection, ...] = ()
    timeouts: Timeouts | None = None
    if not unread:
        try:
            for service in parse_stats(part("stats")):
                stats[service.service, ""] = service
                stats |= {(service.service, each.server): each for each in service.servers}
            connections = parse_connections(part("connections"))
            timeouts = parse_timeouts(part("timeouts"))
        except LvslabError as error:
            unread.append(f"ipvsadm: {error}")
    if len(parts.get("connections", ())) >= MOST_CONNECTIONS:
        unread.append(f"ipvsadm -L -n -c: only its first {MOST_CONNECTIONS} lines")
    synced = int(part("synced")) if part("synced").strip().isdigit() else 0
    return Ipvs(services, stats, connections, timeouts, _daemons(part("daemons")), active, synced), unread


def _daemons(text: str) -> tuple[SyncDaemon, ...]:
    """ "master sync daemon (mcast=eth0, syncid=1)"; the words of ipvsadm 1.31."""
    pattern = re.compile(r"(master|backup) sync daemon \(mcast=([^,]+), syncid=(\d+)")
    return tuple(SyncDaemon(match[1], match[2], int(match[3])) for match in pattern.finditer(text))
