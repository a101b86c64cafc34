"""ldirectord.cf as what the network needs of it: pools with their checks. ldirectord itself remains
the judge of its file.

Facts are from `read_config` of ldirectord 4.12: a section begins with `virtual=` at a line's start,
and goes on with lines indented by a tab or four blanks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from lvslab.errors import UsageError
from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
)
from lvslab.ipvs.words import member, numeric_address
from lvslab.reading.configured import ConfiguredServer, Page, Pool, Script, ServerCheck, with_servers
from lvslab.reading.ports import port_number
from lvslab.reading.unclear import Unclear
from lvslab.reading.vrrp import whole

_METHODS = {"gate": PacketForwarding.DR, "masq": PacketForwarding.MASQ, "ipip": PacketForwarding.TUN}
_SETTING = re.compile(r"([a-z][a-z0-9_-]*)\s*=\s*(.*)")
_SERVER = re.compile(r"(\[[^\]]*\]|[^\s:>-]+(?:-[^\s:>-]+)*)(?:->(\[[^\]]*\]|[^\s:]+))?(?::(\S+))?")
_MOST_ADDRESSES = 1024

_SERVICES: Mapping[int, str] = {
    21: "ftp",
    25: "smtp",
    53: "dns",
    80: "http",
    110: "pop",
    119: "nntp",
    143: "imap",
    389: "ldap",
    443: "https",
    587: "submission",
    636: "ldaps",
    993: "imaps",
    995: "pops",
    1521: "oracle",
    1812: "radius",
    3128: "http_proxy",
    3306: "mysql",
    5060: "sip",
    5432: "pgsql",
}
"""Port → what is asked there unless `service=` says so (ld_port_to_service)."""

_INTERVAL, _TIMEOUT, _NEGOTIATE_TIMEOUT, _FAILURES = 10, 5, 30, 1
"""Defaults of `set_defaults`, in seconds; failures in a row."""

_GLOBAL = frozenset(
    """
    checktimeout negotiatetimeout checkinterval checkcount failurecount fallback fallback6
    fallbackcommand autoreload callback logfile execute fork supervised quiescent readdquiescent
    emailalert emailalertfreq emailalertstatus emailalertfrom smtp cleanstop maintenancedir
    """.split()  # noqa: SIM905
)
_LOCAL = frozenset(
    """
    real real6 request receive checktype checkcommand checktimeout negotiatetimeout checkcount
    failurecount checkinterval checkport login passwd database secret load scheduler persistent
    schedflags netmask protocol ops service httpmethod virtualhost fallback fallback6
    fallbackcommand quiescent emailalert emailalertfreq emailalertstatus monitorfile cleanstop smtp
    servicename comment
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Ldirectord:
    """An ldirectord.cf.

    Attributes:
        settings: those above and between the sections, as written, quotes taken away.
        pools: one for each section.
        scripts: programs that it would run.
        unclear: what was not understood.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    pools: tuple[Pool, ...] = ()
    scripts: tuple[Script, ...] = ()
    unclear: tuple[Unclear, ...] = ()

    @property
    def quiescent(self) -> bool:
        """Whether a failed server stays with weight 0, where a section does not say otherwise; yes
        is the default.
        """
        return self.settings.get("quiescent", "yes") == "yes"


@dataclass
class _Section:
    """The lines of a virtual service: (number, name, value)."""

    line: int
    header: str
    ipv6: bool
    lines: list[tuple[int, str, str]] = field(default_factory=list)

    def value(self, name: str, default: str = "") -> str:
        return next((value for _, word, value in reversed(self.lines) if word == name), default)


def read_ldirectord(text: str, *, file: str = "") -> Ldirectord:
    """An ldirectord.cf; `file` is its name, for messages."""
    unclear: list[Unclear] = []

    def note(number: int, line: str, why: str) -> None:
        unclear.append(Unclear(number, line, why, file))

    settings, sections = _sections(text, note)
    pools = tuple(_pool(section, settings, file, note) for section in sections)
    scripts = [
        Script(name, "", settings[name], 0, file)
        for name in ("callback", "fallbackcommand")
        if name in settings
    ]
    for section in sections:
        scripts += [
            Script(name, f"virtual={section.header}", value, number, file)
            for number, name, value in section.lines
            if name in ("checkcommand", "fallbackcommand")
        ]
    return Ldirectord(settings, pools, tuple(scripts), tuple(unclear))


_Note = Callable[[int, str, str], None]


def _sections(text: str, note: _Note) -> tuple[dict[str, str], list[_Section]]:
    settings: dict[str, str] = {}
    sections: list[_Section] = []
    inside = False
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.expandtabs(4)
        if not line.strip() or line.lstrip().startswith("#"):
            inside = inside and bool(line.strip())
            continue
        setting = _SETTING.match(line.strip())
        if setting is None:
            note(number, raw, "is no setting")
            continue
        name, value = setting[1], setting[2]
        indented = line.startswith("    ")
        if not indented and name in ("virtual", "virtual6"):
            sections.append(_Section(number, value.partition("#")[0].strip(), name == "virtual6"))
            inside = True
        elif indented and sections and inside:
            if name not in _LOCAL:
                note(number, raw, "no setting of a virtual service that ldirectord knows")
            sections[-1].lines.append((number, name, _bare(value.partition("#")[0])))
        elif indented:
            note(number, raw, "is indented and belongs to no virtual service")
        else:
            inside = False
            if name not in _GLOBAL:
                note(number, raw, "no setting that ldirectord knows")
            settings[name] = _bare(value)
    return settings, sections


def _bare(value: str) -> str:
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' and value.count('"') == 2 else value


# -- pools -----------------------------------------------------------------------------------------


def _pool(section: _Section, settings: Mapping[str, str], file: str, note: _Note) -> Pool:
    service = _service(section, note)
    port = service.port if service else 0
    servers = [
        ConfiguredServer(
            server, _checks(section, settings, server, words, service), _inhibits(section, settings)
        )
        for number, name, value in section.lines
        if name in ("real", "real6")
        for server, words in _servers(number, f"{name}={value}", value, port, note)
    ]
    with_all = (
        with_servers(
            service, [each.server for each in servers], lambda why: note(section.line, section.header, why)
        )
        if service
        else None
    )
    fallback = section.value("fallback6" if section.ipv6 else "fallback") or settings.get(
        "fallback6" if section.ipv6 else "fallback", ""
    )
    return Pool(
        section.header,
        (with_all,) if with_all else (),
        tuple(servers),
        sorry=_fallback(section, fallback, port, note) if fallback else None,
        line=section.line,
        file=file,
    )


def _inhibits(section: _Section, settings: Mapping[str, str]) -> bool:
    return section.value("quiescent", settings.get("quiescent", "yes")) == "yes"


def _service(section: _Section, note: _Note) -> VirtualService | None:
    """The virtual service of a section; the protocol is TCP, or UDP for DNS, unless written."""
    try:
        identity: dict[str, Any]
        if re.fullmatch(r"[0-9]+", section.header):
            identity = {"protocol": Protocol.FWMARK, "fwmark": whole(section.header, 0), "ipv6": section.ipv6}
        else:
            address, port = _endpoint(section.header)
            usual = "udp" if port == 53 else "tcp"
            protocol = member(Protocol, section.value("protocol", usual), "ldirectord: protocol")
            identity = {"protocol": protocol, "address": address, "port": port}
        persistence = whole(section.value("persistent"), 0)
        return VirtualService(
            **identity,
            scheduler=member(Scheduler, section.value("scheduler", "wrr"), "ldirectord: scheduler"),
            scheduler_flags=tuple(
                member(SchedulerFlag, flag, "ldirectord: schedflags")
                for flag in section.value("schedflags").split(",")
                if flag
            ),
            persistence_timeout=persistence,
            persistence_netmask=section.value("netmask") if persistence else "",
            ops=section.value("ops") == "yes",
        )
    except UsageError as error:
        note(section.line, section.header, str(error))
        return None


def _endpoint(text: str) -> tuple[str, int]:
    address, _, word = text.rpartition(":")
    port = port_number(word)
    if port is None:
        raise UsageError(f"'{word}' is no port")
    return numeric_address(address.strip("[]"), "ldirectord"), port


def _servers(
    number: int, line: str, value: str, port: int, note: _Note
) -> Iterator[tuple[RealServer, list[str]]]:
    """The real servers of a line: ADDRESS[->LAST][:PORT] METHOD [WEIGHT] ["REQUEST", "RECEIVE"]
    [l:LOWER] [u:UPPER]; with what a check is told there.
    """
    words = re.findall(r'"[^"]*"|[^\s,]+', value)
    place = _SERVER.fullmatch(words[0]) if words else None
    try:
        if place is None or len(words) < 2 or words[1] not in _METHODS:
            raise UsageError("no address with a method (gate, masq or ipip)")
        own_port = port_number(place[3]) if place[3] else port
        if own_port is None:
            raise UsageError(f"'{place[3]}' is no port")
        rest = words[2:]
        weight = whole(rest.pop(0), 1) if rest and rest[0].isdigit() else 1
        limits = dict(word.split(":", 1) for word in rest if word[:2] in ("l:", "u:"))
        for address in _addresses(place[1], place[2] or place[1]):
            server = RealServer(
                address,
                own_port,
                _METHODS[words[1]],
                weight,
                upper_threshold=whole(limits.get("u", ""), 0),
                lower_threshold=whole(limits.get("l", ""), 0),
            )
            yield server, [word.strip('"') for word in rest if word.startswith('"')]
    except UsageError as error:
        note(number, line, str(error))


def _addresses(first: str, last: str) -> list[str]:
    begin, end = (ip_address(numeric_address(each.strip("[]"), "real server")) for each in (first, last))
    if begin.version != end.version or not 0 <= int(end) - int(begin) < _MOST_ADDRESSES:
        raise UsageError(f"{first}->{last} is no range that lvslab can take")
    return [str(begin + step) for step in range(int(end) - int(begin) + 1)]


def _fallback(section: _Section, text: str, port: int, note: _Note) -> RealServer | None:
    """ADDRESS[:PORT] [METHOD]; without a method it is "gate", whatever the servers have
    (parse_fallback).
    """
    place, *words = text.split() or [""]
    address, colon, word = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if colon and ":" in address and not address.startswith("["):
        address, colon = place, ""
    own_port = port_number(word) if colon else port
    try:
        if own_port is None:
            raise UsageError(f"'{word}' is no port")
        method = _METHODS.get(words[0] if words else "gate", PacketForwarding.DR)
        return RealServer(
            numeric_address((address if colon else place).strip("[]"), "fallback"), own_port, method
        )
    except UsageError as error:
        note(section.line, f"fallback={text}", str(error))
        return None


# -- checks ----------------------------------------------------------------------------------------


def _checks(
    section: _Section,
    settings: Mapping[str, str],
    server: RealServer,
    told: Sequence[str],
    service: VirtualService | None,
) -> tuple[ServerCheck, ...]:
    """The check of a server; none where `checktype` is on or off, for then nobody asks."""

    def setting(name: str, default: int) -> int:
        return whole(section.value(name) or settings.get(name, ""), default)

    checktype = section.value("checktype", "negotiate")
    if checktype in ("on", "off"):
        return ()
    marked = service is None or bool(service.fwmark)
    kind = section.value("service") or ("none" if marked else _SERVICES.get(server.port, "none"))
    timeout = setting("checktimeout", _TIMEOUT)
    if checktype == "connect":
        kind = "tcp" if service is None or service.protocol is not Protocol.UDP else "ping"
    elif checktype == "ping":
        kind = "ping"
    elif checktype.startswith("external"):
        kind = "script"
    else:
        timeout = setting("negotiatetimeout", _NEGOTIATE_TIMEOUT)
    request = told[0] if told else section.value("request", "/")
    receive = told[1] if len(told) > 1 else section.value("receive")
    page = Page(f"/{request.removeprefix('/')}", section.value("virtualhost"), contains=receive)
    return (
        ServerCheck(
            kind,
            address=server.address,
            port=whole(section.value("checkport"), server.port) if kind != "ping" else 0,
            pages=(page,) if kind in ("http", "https") else (),
            script=section.value("checkcommand") if kind == "script" else "",
            interval=float(setting("checkinterval", _INTERVAL)),
            timeout=float(timeout),
            retries=max(setting("failurecount", _FAILURES) - 1, 0),
            retry_interval=float(setting("checkinterval", _INTERVAL)),
            words={name: value for _, name, value in section.lines if name not in ("real", "real6")},
        ),
    )
