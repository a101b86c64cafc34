"""Rules of iptables-save(8), as far as the doctor must understand them."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lvslab.doctor.evidence import Machine
from lvslab.ipvs.service import Protocol, VirtualService

_PROTOCOL_NUMBERS = {"6": "tcp", "17": "udp", "132": "sctp", "1": "icmp"}


@dataclass(frozen=True)
class Rule:
    """A rule of a chain.

    Attributes:
        options: option → value, "" for one without; a negated one has "! " in front of its name.
        text: as it was read.
    """

    table: str
    chain: str
    options: Mapping[str, str]
    text: str

    @property
    def target(self) -> str:
        return self.options.get("-j", "")

    @property
    def protocol(self) -> str:
        """ "tcp", "udp", …; "" for every one."""
        word = self.options.get("-p") or self.options.get("--vproto", "")
        return _PROTOCOL_NUMBERS.get(word, word)

    def about(self, option: str, ip: str) -> bool:
        """Whether an address fits its option -s, -d or --vaddr; a rule without the option
        fits all.
        """
        if option in self.options:
            return _in(ip, self.options[option])
        return f"! {option}" not in self.options or not _in(ip, self.options[f"! {option}"])


def _in(ip: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(ip) in ipaddress.ip_network(network, strict=False)
    except ValueError:  # a name, or several addresses
        return False


def rules(machine: Machine, table: str, chain: str = "") -> Iterator[Rule]:
    """The rules of a table, of one chain or of all, in their order."""
    for line in machine.rules:
        words = line.split(maxsplit=3)
        if len(words) >= 3 and words[0] == table and words[1] == "-A" and chain in ("", words[2]):
            yield Rule(table, words[2], dict(_options(words[3] if len(words) > 3 else "")), line)


def _options(text: str) -> Iterable[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that is never closed
        words = text.split()
    negated, at = False, 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "!":
            negated = True
        elif word.startswith("-"):
            value = []
            while at < len(words) and not words[at].startswith("-") and words[at] != "!":
                value.append(words[at])
                at += 1
            if word != "-m":
                yield ("! " if negated else "") + word, " ".join(value)
            negated = False


def source_nat(director: Machine, service: VirtualService, client: str, server: str) -> Rule | None:
    """The rule by which the director would give a connection of this client to this real server an
    address of its own.

    What netfilter sees after IPVS: from the client to the real server; `-m ipvs` recalls the
    service (iptables-extensions(8)).
    """
    for rule in rules(director, "nat", "POSTROUTING"):
        if rule.target not in ("SNAT", "MASQUERADE"):
            continue
        fits = rule.about("-s", client) and rule.about("-d", server)
        if service.protocol is not Protocol.FWMARK:
            fits = (
                fits
                and rule.about("--vaddr", service.address)
                and rule.protocol in ("", service.protocol.value)
            )
            fits = fits and rule.options.get("--vport", str(service.port)) == str(service.port)
        if fits:
            return rule
    return None


def port_matches(rule: Rule, port: int) -> bool:
    """Whether a destination port fits the rule."""
    for option in ("--dport", "--dports"):
        if option in rule.options:
            return any(_port_in(port, each) for each in rule.options[option].split(","))
    return True


def _port_in(port: int, text: str) -> bool:
    low, _, high = text.partition(":")
    return low.isdigit() and int(low) <= port <= (
        int(high) if high.isdigit() else (65535 if ":" in text else int(low))
    )


def source_addresses(rule: Rule) -> list[str]:
    """The addresses from which a SNAT rule chooses, at most 256 of them; none for MASQUERADE."""
    match = re.fullmatch(r"([0-9.]+)(?:-([0-9.]+))?(?::.*)?", rule.options.get("--to-source", ""))
    if not match:
        return []
    first, last = ipaddress.IPv4Address(match[1]), ipaddress.IPv4Address(match[2] or match[1])
    return [
        str(ipaddress.IPv4Address(each)) for each in range(int(first), min(int(last), int(first) + 255) + 1)
    ]


def translated_ports(rule: Rule) -> int | None:
    """How many addresses times ports a source NAT rule may choose from; None: it does not say."""
    match = re.fullmatch(
        r"([0-9.]+)(?:-([0-9.]+))?(?::(\d+)(?:-(\d+))?)?", rule.options.get("--to-source", "")
    )
    if rule.target == "MASQUERADE":
        match = re.fullmatch(r"()()(\d+)(?:-(\d+))?", rule.options.get("--to-ports", ""))
    if not match or not match[3]:
        return None
    addresses = (
        int(ipaddress.ip_address(match[2])) - int(ipaddress.ip_address(match[1])) + 1 if match[2] else 1
    )
    return addresses * (int(match[4] or match[3]) - int(match[3]) + 1)
