"""ipvsadm's rules: printing and reading the lines of `ipvsadm -Sn`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lvslab.errors import UsageError
from lvslab.ipvs.service import (
    PERSISTENCE_DEFAULT,
    TIMEOUT_MAX,
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
    check_fit,
    unsigned_mark,
)
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from lvslab.ipvs.words import check_range, member, split_endpoint, whole_number


def format_rules(services: Iterable[VirtualService]) -> str:
    """A table as text: what `ipvsadm -S -n` prints of it and `ipvsadm -R` reads, one rule a line.

    Two differences from `ipvsadm -S -n`: the order is the caller's (ipvsadm sorts), and connection
    thresholds are printed (`-x`, `-y`), because ipvsadm 1.31 forgets them when it saves.

    Raises:
        UsageError: a service is there twice.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for service in services:
        if service.name in seen:
            raise UsageError(f"virtual service {service.name} is there twice; merge the two")
        seen.add(service.name)
        lines.append(" ".join(("-A", *service.selector, *service.options)))
        for server in service.real_servers:
            lines.append(" ".join(("-a", *service.selector, "-r", server.name, *server.options)))
    return "".join(f"{line}\n" for line in lines)


def parse_rules(text: str) -> tuple[VirtualService, ...]:
    """Read rules as `ipvsadm -S -n` prints them and `ipvsadm -R` takes them: short or long options,
    `ipvsadm` in front or not.

    What a rule leaves out gets ipvsadm's default. Only `-A` and `-a` describe a table; other
    commands are refused. A comment is refused as well: `ipvsadm -R` stops at one ("unexpected
    argument #"), whatever its source code says.

    Raises:
        UsageError: with the number and the text of the line.
    """
    services, refused = sift_rules(text)
    for number, line, reason in refused[:1]:
        raise UsageError(f"line {number}: '{line.strip()}': {reason}")
    return services


def sift_rules(text: str) -> tuple[tuple[VirtualService, ...], list[tuple[int, str, str]]]:
    """As `parse_rules`, however many of the rules are right: the table that those make, and of each
    other line its number, its text and the reason.
    """
    services: dict[str, VirtualService] = {}
    servers: dict[str, dict[str, RealServer]] = {}
    refused: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words[:1] == ["ipvsadm"]:
            words = words[1:]
        if not words:
            continue
        try:
            options = _parse_options(words)
            if "-A" in options:
                service = _parse_service(options)
                if service.name in services:
                    raise UsageError(f"virtual service {service.name} is there twice; drop one")
                services[service.name], servers[service.name] = service, {}
            else:
                name = _parse_identity(options).name
                if name not in services:
                    raise UsageError(f"virtual service {name} is not defined above; add it with -A first")
                server = _parse_server(options, services[name])
                if server.name in servers[name]:
                    raise UsageError(
                        f"virtual service {name}: real server {server.name} is there twice; drop one"
                    )
                servers[name][server.name] = server
        except UsageError as error:
            refused.append((number, line, str(error)))
    table = tuple(
        replace(service, real_servers=tuple(servers[name].values())) for name, service in services.items()
    )
    return table, refused


# Option → (the name under which it is kept, whether it takes a value). "optional" is popt's: a
# following word that starts with a dash is not the value.
_NO, _YES, _OPTIONAL = "no", "yes", "optional"


_SHORT: Mapping[str, str] = {
    "A": _NO,
    "a": _NO,
    "t": _YES,
    "u": _YES,
    "f": _YES,
    "6": _NO,
    "s": _YES,
    "p": _OPTIONAL,
    "M": _YES,
    "o": _NO,
    "b": _YES,
    "r": _YES,
    "g": _NO,
    "i": _NO,
    "m": _NO,
    "w": _YES,
    "x": _YES,
    "y": _YES,
}


_LONG: Mapping[str, str] = {
    "add-service": "-A",
    "add-server": "-a",
    "tcp-service": "-t",
    "udp-service": "-u",
    "fwmark-service": "-f",
    "ipv6": "-6",
    "scheduler": "-s",
    "persistent": "-p",
    "netmask": "-M",
    "ops": "-o",
    "sched-flags": "-b",
    "real-server": "-r",
    "gatewaying": "-g",
    "ipip": "-i",
    "masquerading": "-m",
    "weight": "-w",
    "u-threshold": "-x",
    "l-threshold": "-y",
}


_LONG_ONLY: Mapping[str, str] = {
    "sctp-service": _YES,
    "pe": _YES,
    "tun-type": _YES,
    "tun-port": _YES,
    "tun-nocsum": _NO,
    "tun-csum": _NO,
    "tun-remcsum": _NO,
}


_SELECTORS = {"-t": Protocol.TCP, "-u": Protocol.UDP, "--sctp-service": Protocol.SCTP, "-f": Protocol.FWMARK}


_FORWARDING = {forwarding.option: forwarding for forwarding in PacketForwarding}


_CHECKSUMS = {checksum.option: checksum for checksum in TunnelChecksum}


_SERVICE_ONLY = ("-s", "-p", "-M", "-o", "-b", "--pe")


_SERVER_ONLY = ("-r", *_FORWARDING, "-w", "-x", "-y", "--tun-type", "--tun-port", *_CHECKSUMS)


def _parse_options(words: Sequence[str]) -> dict[str, str | None]:
    """Split a rule as popt(3) does: `--long value`, `--long=value`, `-x value`, `-xvalue`,
    `-At value`.
    """
    found: dict[str, str | None] = {}
    rest = list(words)

    def keep(key: str, takes: str, attached: str | None) -> None:
        value = attached
        if value is None and takes == _YES:
            if not rest:
                raise UsageError(f"{key}: its value is missing; give one")
            value = rest.pop(0)
        elif value is None and takes == _OPTIONAL and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
        if key in found:
            raise UsageError(f"{key} is there twice; drop one")
        found[key] = value

    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            key = _LONG.get(name, f"--{name}")
            takes = _SHORT.get(key[1:]) if name in _LONG else _LONG_ONLY.get(name)
            if takes is None or (equals and takes == _NO):
                raise UsageError(f"option {word} is unknown in a rule; see ipvsadm(8)")
            keep(key, takes, value if equals else None)
        elif word.startswith("-") and len(word) > 1:
            letters = word[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                takes = _SHORT.get(letter)
                if takes is None:
                    raise UsageError(f"option -{letter} is unknown in a rule; see ipvsadm(8)")
                keep(f"-{letter}", takes, letters if letters and takes != _NO else None)
                if takes != _NO:
                    break
        else:
            raise UsageError(f"unexpected word '{word}'; see ipvsadm(8)")
    if next(iter(found)) not in ("-A", "-a") or {"-A", "-a"} <= found.keys():
        raise UsageError("a rule starts with -A or with -a; other commands do not describe a table")
    foreign = [key for key in (_SERVER_ONLY if "-A" in found else _SERVICE_ONLY) if key in found]
    if foreign:
        raise UsageError(f"{foreign[0]} does not belong to {'-A' if '-A' in found else '-a'}; drop it")
    return found


def _parse_identity(options: Mapping[str, str | None]) -> VirtualService:
    """The service that a rule names, without its options."""
    selectors = [key for key in _SELECTORS if key in options]
    if len(selectors) != 1:
        raise UsageError("a rule names one virtual service: -t, -u, --sctp-service or -f; give exactly one")
    protocol, value = _SELECTORS[selectors[0]], options[selectors[0]] or ""
    if protocol is Protocol.FWMARK:
        return VirtualService(
            protocol, fwmark=unsigned_mark(whole_number(value, "firewall mark")), ipv6="-6" in options
        )
    if "-6" in options:
        raise UsageError(f"-6 goes with -f only, not with {selectors[0]}; drop it")
    address, port = split_endpoint(value)
    # Whether port 0 is allowed depends on -p; a timeout here keeps that question for
    # _parse_service.
    return VirtualService(protocol, address, port or 0, persistence_timeout=1)


def _parse_service(options: Mapping[str, str | None]) -> VirtualService:
    scheduler = member(Scheduler, options.get("-s") or "wlc", "scheduler")
    timeout = 0
    if "-p" in options:
        value = options["-p"]
        timeout = PERSISTENCE_DEFAULT if value is None else whole_number(value, "persistence timeout")
        check_range(timeout, 1, TIMEOUT_MAX, "persistence", "timeout")
    flags = [
        member(SchedulerFlag, word, "scheduler flag") for word in (options.get("-b") or "").split(",") if word
    ]
    return replace(
        _parse_identity(options),
        scheduler=scheduler,
        scheduler_flags=tuple(_named_flag(flag, scheduler) for flag in flags),
        persistence_timeout=timeout,
        persistence_netmask=options.get("-M") or "",
        persistence_engine=options.get("--pe") or "",
        ops="-o" in options,
    )


def _parse_server(options: Mapping[str, str | None], service: VirtualService) -> RealServer:
    where = options.get("-r")
    if where is None:
        raise UsageError("a rule with -a needs a real server; give -r ADDRESS:PORT")
    address, port = split_endpoint(where)
    forwardings = [_FORWARDING[key] for key in _FORWARDING if key in options]
    checksums = [_CHECKSUMS[key] for key in _CHECKSUMS if key in options]
    if len(forwardings) > 1 or len(checksums) > 1:
        raise UsageError(
            f"real server {where}: options exclude each other; keep one of -g, -i, -m and one checksum"
        )
    server = RealServer(
        address,
        service.port if port is None else port,
        forwardings[0] if forwardings else PacketForwarding.DR,
        weight=whole_number(options.get("-w") or "1", "weight"),
        upper_threshold=whole_number(options.get("-x") or "0", "upper threshold"),
        lower_threshold=whole_number(options.get("-y") or "0", "lower threshold"),
        tun_type=member(TunnelType, options.get("--tun-type") or "ipip", "tunnel type"),
        tun_port=whole_number(options.get("--tun-port") or "0", "tunnel port"),
        tun_csum=checksums[0] if checksums else TunnelChecksum.NOCSUM,
    )
    check_fit(service, server)
    return server


def _named_flag(flag: SchedulerFlag, scheduler: Scheduler) -> SchedulerFlag:
    """ipvsadm takes flag-1 and flag-2 for the flags that sh and mh have names for, and prints the
    names.
    """
    names = {
        (Scheduler.SH, SchedulerFlag.FLAG_1): SchedulerFlag.SH_FALLBACK,
        (Scheduler.SH, SchedulerFlag.FLAG_2): SchedulerFlag.SH_PORT,
        (Scheduler.MH, SchedulerFlag.FLAG_1): SchedulerFlag.MH_FALLBACK,
        (Scheduler.MH, SchedulerFlag.FLAG_2): SchedulerFlag.MH_PORT,
    }
    return names.get((scheduler, flag), flag)
