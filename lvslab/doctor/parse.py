"""What was read of a machine, as data. Pure functions; what cannot be read becomes a line of
`Machine.unread`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from lvslab.doctor.evidence import Ipvs, Machine
from lvslab.doctor.script import MOST_CONNECTIONS
from lvslab.modes.base import Role
from lvslab.reading import ipvs as listings
from lvslab.reading.keepalived import read_keepalived
from lvslab.reading.ldirectord import read_ldirectord
from lvslab.reading.netfilter import read_iptables, read_nft
from lvslab.reading.network import Network, Route, read_json, read_network, read_routes
from lvslab.reading.rules import read_rules
from lvslab.reading.sections import Kind, Section, split
from lvslab.reading.sockets import read_idle, read_proc_sockets, read_ss
from lvslab.reading.sysctls import read_sysctls
from lvslab.reading.unclear import Unclear

_TABLE = "/proc/net/ip_vs"
_MOST_UNCLEAR = 3
"""Lines of one part that are told one by one; the rest is counted."""
_NO_FILE = ("No such file or directory", "No such process", "Invalid argument", "Is a directory")


def parse_machine(name: str, role: Role, text: str) -> Machine:
    """A machine from the output of `lvslab.doctor.script.reading`."""
    return machine_of(name, role, split(text))


def machine_of(name: str, role: Role, sections: Iterable[Section]) -> Machine:
    """A machine from the parts that were read of it."""
    parts: dict[Kind, str] = {}
    for section in sections:
        # the numbers of a file's lines are told, so they must be right
        before = "\n" * (section.line - 1) if section.kind in (Kind.KEEPALIVED, Kind.LDIRECTORD) else ""
        parts[section.kind] = parts.get(section.kind, before) + section.text
    files, unread = _files(parts.get(Kind.FILES, "").splitlines())
    network = _network(parts, unread)
    ipvs = _ipvs(parts, files, unread)
    rules = _rules(parts, unread)
    keepalived = ldirectord = None
    if Kind.KEEPALIVED in parts:
        keepalived = read_keepalived(parts[Kind.KEEPALIVED], file="keepalived.conf")
        unread += map(str, keepalived.unclear[:_MOST_UNCLEAR])
    if Kind.LDIRECTORD in parts:
        ldirectord = read_ldirectord(parts[Kind.LDIRECTORD], file="ldirectord.cf")
        unread += map(str, ldirectord.unclear[:_MOST_UNCLEAR])
    return Machine(
        name,
        role,
        links=network.links,
        routes=network.routes,
        neighbours=network.neighbours,
        routing_rules=network.rules,
        sysctls=_sysctls(parts, files),
        sockets=(
            *read_proc_sockets(files, read_idle(parts.get(Kind.IDLE, "").splitlines())),
            *read_ss(parts.get(Kind.SOCKETS, "")),
        ),
        rules=rules,
        programs=frozenset(lines[0] for path, lines in files.items() if path.endswith("/comm")),
        counts=_counts(files),
        ipvs=ipvs,
        keepalived=keepalived,
        ldirectord=ldirectord,
        unread=tuple(dict.fromkeys((*unread, *parts.get(Kind.NOT_READ, "").splitlines()))),
    )


def parse_paths(questions: Sequence[tuple[str, str]], text: str) -> dict[tuple[str, str], Route | None]:
    """The kernel's answers to `lvslab.doctor.script.asking`; None where it has no route."""
    answers: dict[tuple[str, str], Route | None] = dict.fromkeys(questions)
    for source, way in read_routes(text):
        if (source, way.destination) in answers:
            answers[source, way.destination] = way
    return answers


def _told(what: str, unclear: Sequence[Unclear]) -> list[str]:
    """Lines that were not understood, for people."""
    lines = [f"{what}: {each.text.strip()}" for each in unclear[:_MOST_UNCLEAR]]
    more = len(unclear) - _MOST_UNCLEAR
    return [*lines, f"{what}: {more} more lines that were not understood"] if more > 0 else lines


# -- files and parameters --------------------------------------------------------------------------


def _files(lines: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """File → its lines, and what grep could not read; a file that is not there is no problem."""
    files: dict[str, list[str]] = {}
    unread = []
    for line in lines:
        refused = re.fullmatch(r"grep: (/\S+): (.+)", line)
        if refused:
            if refused[2] not in _NO_FILE:
                unread.append(f"{refused[1]}: {refused[2]}")
        elif line.startswith("/proc/"):
            path, _, content = line.partition(":")
            files.setdefault(path, []).append(content)
    return files, unread


def _sysctls(parts: Mapping[Kind, str], files: Mapping[str, Sequence[str]]) -> dict[str, str]:
    release = re.search(r"\b\d+\.\d+(\.\d+)?\S*", parts.get(Kind.RELEASE, ""))
    return {
        **({"kernel.osrelease": release[0]} if release else {}),
        **{
            path.removeprefix("/proc/sys/").replace("/", "."): " ".join(lines[0].split())
            for path, lines in files.items()
            if path.startswith("/proc/sys/")
        },
        **read_sysctls(parts.get(Kind.SYSCTLS, "")).values,
    }


def _counts(files: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Numbers of connection tracking, summed over processors; columns are named by the file's first
    line.
    """
    counts: dict[str, int] = {}
    lines = files.get("/proc/net/stat/nf_conntrack", ())
    if lines:
        rows = [line.split() for line in lines[1:]]
        for column, title in enumerate(lines[0].split()):
            words = [row[column] for row in rows if column < len(row)]
            values = [int(word, 16) for word in words if re.fullmatch(r"[0-9a-f]{1,16}", word)]
            counts[title] = max(values, default=0) if title == "entries" else sum(values)
    count = files.get("/proc/sys/net/netfilter/nf_conntrack_count", ("",))[0]
    if re.fullmatch(r"[0-9]{1,18}", count):
        counts["nf_conntrack_count"] = int(count)
    return counts


# -- the network -----------------------------------------------------------------------------------


def _network(parts: Mapping[Kind, str], unread: list[str]) -> Network:
    """The network as ip(8) shows it, in JSON or as text."""
    networks = [read_json(parts.get(Kind.IP_JSON, ""))]
    for kind in (Kind.LINKS, Kind.ROUTES, Kind.ROUTING_RULES, Kind.NEIGHBOURS):
        networks.append(read_network(parts.get(kind, "")))
    for kind in (Kind.ROUTES6, Kind.ROUTING_RULES6):
        networks.append(read_network(parts.get(kind, ""), ipv6=True))
    for network in networks:
        unread += _told("ip", network.unclear)
    return Network(
        tuple(chain.from_iterable(network.links for network in networks)),
        tuple(dict.fromkeys(chain.from_iterable(network.routes for network in networks))),
        tuple(chain.from_iterable(network.rules for network in networks)),
        tuple(chain.from_iterable(network.neighbours for network in networks)),
    )


def _rules(parts: Mapping[Kind, str], unread: list[str]) -> tuple[str, ...]:
    """Rules and chain policies with their table in front; "arp" stands for arptables' filter."""
    lines: list[str] = []
    for kind, program in ((Kind.IPTABLES, "iptables-save"), (Kind.NFT_IPTABLES, "iptables-save")):
        rules = read_iptables(parts.get(kind, ""))
        lines += rules.lines
        unread += _told(program, rules.unclear)
    arp = read_iptables(parts.get(Kind.ARPTABLES, ""), table="arp")
    unread += _told("arptables-save", arp.unclear)
    ruleset = read_nft(parts.get(Kind.RULESET, ""))
    unread += _told("nft", ruleset.unclear)
    if Kind.CHAINS in parts:
        unread.append("iptables -L: it leaves out what a rule asks for; give iptables-save")
    # what iptables-nft has set shows in both
    return tuple(dict.fromkeys((*lines, *arp.lines, *ruleset.lines)))


# -- IPVS ------------------------------------------------------------------------------------------


def _ipvs(parts: Mapping[Kind, str], files: Mapping[str, Sequence[str]], unread: list[str]) -> Ipvs | None:
    """The virtual server, by ipvsadm's rules, or as far as a listing or /proc/net/ip_vs tells where
    there are none; None: nothing of it was read.
    """
    listed = parts.get(Kind.LISTING, "") + "\n".join(files.get(_TABLE, ()))
    of_ipvsadm = (Kind.TABLE, Kind.LISTING, Kind.STATS, Kind.CONNECTIONS)
    if _TABLE not in files and not any(kind in parts for kind in of_ipvsadm):
        return None
    table = read_rules(parts.get(Kind.TABLE, ""))
    listing = listings.read_listing(listed)
    counted = listings.read_counters(parts.get(Kind.STATS, ""))
    lines = parts.get(Kind.CONNECTIONS, "").splitlines(keepends=True)[:MOST_CONNECTIONS]
    connections = listings.read_connections("".join(lines))
    unread += _told("ipvsadm", table.unclear)
    if not table.services:
        unread += _told("ipvsadm -L", listing.unclear)
    unread += _told("ipvsadm", counted.unclear)
    unread += _told("ipvsadm", connections.unclear)
    if len(lines) >= MOST_CONNECTIONS:
        unread.append(f"ipvsadm -L -n -c: only its first {MOST_CONNECTIONS} lines")
    synced = parts.get(Kind.SYNCED, "").strip()
    return Ipvs(
        table.services if Kind.TABLE in parts and not table.unclear else table.services or listing.services,
        counted.counters,
        connections.entries,
        listings.read_timeouts(parts.get(Kind.TIMEOUTS, "")),
        listings.read_daemons(parts.get(Kind.DAEMONS, "")),
        listing.active,
        int(synced) if re.fullmatch(r"[0-9]{1,10}", synced) else 0,
    )
