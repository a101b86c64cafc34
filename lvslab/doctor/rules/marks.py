"""Firewall marks: a rule of netfilter sets one, and a service of IPVS asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.netfilter import Rule, port_matches, rules
from lvslab.ipvs.service import PacketForwarding, Protocol, VirtualService

_SETTERS = ("--set-xmark", "--set-mark")
_NOT_A_MATCH = ("-j", *_SETTERS)
_PORTS = ("--dport", "--dports")
_FTP = 21


def mark_not_set(evidence: Evidence) -> Iterator[Finding]:
    """A service on a mark that nobody sets."""
    for director, service in _marked_services(evidence):
        if not _readable(director) or any(mark == service.fwmark for _, mark in _setters(director)):
            continue
        selector = " ".join(service.selector)
        if service.real_servers:
            fix = (
                f"{director.name}# iptables -t mangle -A PREROUTING -d VIP -p tcp --dport PORT -j MARK"
                f" --set-mark {service.fwmark}"
            )
        else:
            fix = (
                f"it has no real server either, so it looks forgotten: {director.name}# ipvsadm -D {selector}"
            )
        yield Finding(
            "mark-not-set",
            f"No rule sets the firewall mark {service.fwmark}, so no packet meets the service"
            f" {service.name}.",
            (f"{director.name}: iptables-save shows no MARK rule with {service.fwmark}",),
            (fix,),
        )


def mark_set_twice(evidence: Evidence) -> Iterator[Finding]:
    """Two rules give the same packets different marks: MARK does not end the chain, so the last one
    wins (iptables-extensions(8)).
    """
    for director, service in _marked_services(evidence):
        for (first, before), (last, mark) in _overridden(director):
            if mark != service.fwmark:
                continue
            stale = last if not service.real_servers else first
            left = before if stale is last else mark
            yield Finding(
                "mark-set-twice",
                f"Two rules mark the same packets, first with {before}, then with {mark}: the last one wins,"
                f" so they go to {service.name}"
                + (", which has no real server, and are refused." if not service.real_servers else "."),
                (
                    f"{director.name}: {first.text}",
                    f"{director.name}: {last.text}",
                    *(
                        f"{director.name}: {each.name} has {len(each.real_servers) or 'no'} real servers"
                        for _, each in _marked_services(evidence)
                        if each.fwmark in (before, mark)
                    ),
                ),
                (
                    f"take the stale rule away, so that {left} is left: {director.name}# {_deletion(stale)}",
                    *(
                        [f"{director.name}# ipvsadm -D {' '.join(service.selector)}"]
                        if not service.real_servers
                        else []
                    ),
                ),
                Certainty.CERTAIN if not service.real_servers else Certainty.LIKELY,
            )


def mark_without_service(evidence: Evidence) -> Iterator[Finding]:
    """On a director that balances by marks, a port is marked for a service that there is not: its
    packets go to the director's own programs.
    """
    for director in evidence.directors:
        if not director.ipvs:
            continue
        known = {service.fwmark for service in director.ipvs.services}
        for rule, mark in _setters(director) if any(known) else ():
            ports = [rule.options[option] for option in ("--dport", "--dports") if option in rule.options]
            served = [each for each in director.ipvs.services if each.port and port_matches(rule, each.port)]
            listens = any(each.is_open and port_matches(rule, each.local.port) for each in director.sockets)
            if mark in known or mark in director.routed_marks or not ports or served or listens:
                continue
            yield Finding(
                "mark-without-service",
                f"Packets to port {ports[0]} get the firewall mark {mark}, of which there is no service: IPVS"
                " leaves them alone, and "
                + (
                    "the director's own programs get them."
                    if Part.SOCKETS in director.lacks
                    else "nobody on the director listens there, so they are refused."
                ),
                (
                    f"{director.name}: {rule.text}",
                    f"{director.name}: ipvsadm -S -n has no service -f {mark}",
                ),
                (
                    f"if the service is gone, take the rule away: {director.name}# {_deletion(rule)}",
                    f"or make the service: {director.name}# ipvsadm -A -f {mark} -s rr, and give it real"
                    " servers",
                ),
                Certainty.LIKELY,
            )


def ftp_data_unmarked(evidence: Evidence) -> Iterator[Finding]:
    """FTP's passive data connections go to ports of their own (RFC 959): without the mark of the
    control connection they meet another service, or the director itself.
    """
    for director, service in _marked_services(evidence):
        if any(server.forwarding is PacketForwarding.MASQ for server in service.real_servers):
            continue  # there a helper, ip_vs_ftp, expects them
        setters = [rule for rule, mark in _setters(director) if mark == service.fwmark]
        ranges = [rule for rule in setters if ":" in _ports(rule)]
        for rule in setters:
            where = rule.options.get("-d", "")
            covered = any(each.options.get("-d", where) == where for each in ranges)
            if not _ports(rule) or not port_matches(rule, _FTP) or covered:
                continue
            sample = next((each for each in ranges), None)
            yield Finding(
                "ftp-data-unmarked",
                f"The control connections of FTP to {where or 'every address'} get the mark"
                f" {service.fwmark}, its passive data connections do not: they do not meet {service.name}, so"
                " they do not reach the server that the client has logged in to.",
                (
                    f"{director.name}: {rule.text}",
                    *([f"{director.name}: {sample.text}"] if sample else ()),
                    f"{director.name}: no rule marks a range of ports of {where or 'every address'}",
                ),
                (
                    f"{director.name}# iptables -t mangle -A {rule.chain}"
                    f" {_with_ports(rule, _ports(sample) if sample else 'FIRST:LAST')}",
                    "and set the servers' passive ports to that range (vsftpd: pasv_min_port, pasv_max_port)",
                    *(() if service.persistence_timeout else (_sticky(director, service),)),
                ),
                Certainty.CERTAIN if sample else Certainty.LIKELY,
            )


def _ports(rule: Rule) -> str:
    return next((rule.options[option] for option in _PORTS if option in rule.options), "")


def _with_ports(rule: Rule, ports: str) -> str:
    """What stands behind the chain in a rule, for other ports."""
    _, _, rest = rule.text.partition(f" -A {rule.chain} ")
    for option in _PORTS:
        if option in rule.options:
            rest = rest.replace(f"{option} {rule.options[option]}", f"--dport {ports}")
    return rest.replace("-m multiport ", "")


def _sticky(director: Machine, service: VirtualService) -> str:
    return (
        "so that both connections meet the same server:"
        f" {director.name}# ipvsadm -E {' '.join(service.selector)} -s {service.scheduler} -p 300"
    )


def _names(service: VirtualService) -> str:
    return ", ".join(server.name for server in service.real_servers)


def server_in_two_pools(evidence: Evidence) -> Iterator[Finding]:
    """Pools of marks that differ and yet share a server: what was meant for one application meets
    another now and then.
    """
    for director in evidence.directors:
        marked = [service for each, service in _marked_services(evidence) if each is director]
        for one, other in combinations(marked, 2):
            host, guest = sorted((one, other), key=lambda service: -len(service.real_servers))
            own, foreign = ({server.address for server in each.real_servers} for each in (host, guest))
            shared = own & foreign
            any_port = not any(server.port for each in (one, other) for server in each.real_servers)
            if one.ipv6 != other.ipv6 or not any_port or not shared or 2 * len(shared) > len(own):
                continue
            yield Finding(
                "server-in-two-pools",
                f"{', '.join(sorted(shared))} stands in the pools of {host.name} and of {guest.name}, which"
                f" differ otherwise: if it belongs to {guest.name}, one in {len(own)} connections to"
                f" {host.name} meets the wrong application.",
                tuple(f"{director.name}: {each.name} -> {_names(each)}" for each in (host, guest)),
                tuple(
                    f"if it belongs to {guest.name} alone: {director.name}# ipvsadm -d"
                    f" {' '.join(host.selector)} -r {server.name}"
                    for server in host.real_servers
                    if server.address in shared
                ),
                Certainty.LIKELY,
            )


def is_met(director: Machine, service: VirtualService) -> bool:
    """Whether packets meet a marked service because of one rule alone: otherwise the marks are at
    fault, not the service.
    """
    setting = [rule for rule, mark in _setters(director) if mark == service.fwmark]
    overriding = [last for _, (last, mark) in _overridden(director) if mark == service.fwmark]
    return not _readable(director) or bool(setting and not overriding)


def _marked_services(evidence: Evidence) -> Iterator[tuple[Machine, VirtualService]]:
    for director in evidence.directors:
        for service in director.ipvs.services if director.ipvs else ():
            if service.protocol is Protocol.FWMARK:
                yield director, service


def _setters(director: Machine) -> list[tuple[Rule, int]]:
    """The rules that set a mark as a whole, with the mark."""
    return [
        (rule, mark)
        for rule in rules(director, "mangle")
        if rule.target == "MARK"
        for option in _SETTERS
        if (mark := _number(rule.options.get(option, "").partition("/")[0]))
    ]


def _overridden(director: Machine) -> list[tuple[tuple[Rule, int], tuple[Rule, int]]]:
    """Pairs of rules of a chain that set different marks on the same packets, in their order."""
    return [
        (one, other)
        for one, other in combinations(_setters(director), 2)
        if one[1] != other[1] and one[0].chain == other[0].chain and _matches(one[0]) == _matches(other[0])
    ]


def _matches(rule: Rule) -> dict[str, str]:
    return {option: value for option, value in rule.options.items() if option not in _NOT_A_MATCH}


def _deletion(rule: Rule) -> str:
    _, _, rest = rule.text.partition(" -A ")
    return f"iptables -t {rule.table} -D {rest}"


def _readable(director: Machine) -> bool:
    """Whether the marks are known: rules of nft(8) alone do not show in iptables-save."""
    refused = any("iptables" in line for line in director.unread)
    foreign = any(line.startswith("nft ") for line in director.rules)
    return Part.RULES not in director.lacks and not refused and not foreign


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None
