"""Rules of netfilter: iptables-save(8) as it is, `nft list ruleset` in iptables' words as far as
they have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lvslab.reading.blocks import tokens
from lvslab.reading.unclear import Unclear

_PACKET_COUNTS = re.compile(r" *\[[0-9]+:[0-9]+]")
"""What iptables-save puts behind a chain's policy, and `-c` in front of a rule."""

_MOST_ELEMENTS = 64
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")


@dataclass(frozen=True)
class Rules:
    """Rules and chain policies, each with its table in front: "nat -A POSTROUTING …"."""

    lines: tuple[str, ...] = ()
    unclear: tuple[Unclear, ...] = ()


def read_iptables(text: str, *, table: str = "") -> Rules:
    """iptables-save, ip6tables-save or arptables-save; `table` takes the place of the file's own
    names of tables.
    """
    lines: list[str] = []
    unclear: list[Unclear] = []
    current = table
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _PACKET_COUNTS.sub("", raw, count=1).strip()
        if line.startswith("*"):
            current = table or line[1:].strip()
        elif line.startswith((":", "-A ")):
            lines.append(f"{current or 'filter'} {line}")
        elif line and not line.startswith(("#", "COMMIT")):
            unclear.append(Unclear(number, raw, "no line of iptables-save"))
    return Rules(tuple(lines), tuple(unclear))


# -- nft -------------------------------------------------------------------------------------------


@dataclass
class _Chain:
    family: str
    name: str
    kind: str = ""
    hook: str = ""
    priority: str = ""
    rules: list[tuple[int, str]] = field(default_factory=list)

    @property
    def where(self) -> str:
        """Table and chain as iptables would call them."""
        if self.hook not in _HOOKS:
            return f"{'nat' if self.kind == 'nat' else 'filter'} -A {self.name}"
        if self.kind == "nat":
            table = "nat"
        elif self.priority in ("raw", "-300") or self.priority.startswith("raw"):
            table = "raw"
        else:
            table = "mangle" if self.hook in ("prerouting", "postrouting") or self._early else "filter"
        return f"{table} -A {self.hook.upper()}"

    @property
    def _early(self) -> bool:
        return self.priority.startswith(("mangle", "-150"))


def read_nft(text: str) -> Rules:
    """`nft list ruleset`. What a rule says that iptables cannot is kept as a line that begins with
    "nft", and told as not understood.
    """
    chains, sets, unclear = _structure(text)
    lines: list[str] = []
    for chain in chains:
        for number, rule in chain.rules:
            written = list(_in_iptables_words(rule, sets))
            lines += [f"{chain.where} {each}".rstrip() for each in written]
            if not written:
                lines.append(f"nft {chain.name} {rule}")
                unclear.append(Unclear(number, rule, "this rule of nft(8) has no counterpart in iptables"))
    return Rules(tuple(lines), tuple(unclear))


def _structure(text: str) -> tuple[list[_Chain], dict[str, list[str]], list[Unclear]]:
    """The chains of all tables of IP, and the elements of named sets."""
    chains: list[_Chain] = []
    sets: dict[str, list[str]] = {}
    unclear: list[Unclear] = []
    family, chain, named = "", None, ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].strip()
        words = line.split()
        if not words:
            continue
        if words[0] == "table" and line.endswith("{"):
            family = words[1] if len(words) > 3 else "ip"
        elif words[0] == "chain" and line.endswith("{"):
            chain, named = _Chain(family, words[1]), ""
            if family in ("ip", "ip6", "inet"):
                chains.append(chain)
        elif words[0] in ("set", "map") and line.endswith("{"):
            chain, named = None, words[1]
            sets[named] = []
        elif line == "}":
            chain, named = None, ""
        elif chain is not None and words[0] == "type":
            base = re.match(r"type (\w+) hook (\w+)(?: device \S+)? priority ([^;]+);", line)
            if base:
                chain.kind, chain.hook, chain.priority = base[1], base[2], base[3].strip()
        elif chain is not None and words[0] not in ("policy", "comment"):
            chain.rules.append((number, line))
        elif named:
            sets[named] += _elements(line.partition("=")[2] if "=" in line else line)
        elif chain is None and words[0] not in ("elements", "typeof", "flags", "}", "comment", "counter"):
            unclear.append(Unclear(number, raw, "no line of `nft list ruleset`"))
    return chains, sets, unclear


def _elements(text: str) -> list[str]:
    if text.split()[:1] in (["type"], ["flags"], ["typeof"], ["size"], ["timeout"]):
        return []
    return [word for part in text.strip("{} ").split(",") if (word := part.strip().partition(" ")[0])]


def _in_iptables_words(rule: str, sets: dict[str, list[str]]) -> Iterator[str]:
    """A rule of nft as one or several rules of iptables; nothing where it has none."""
    words = [word for word, _ in tokens(rule.replace("{", " { ").replace("}", " } "))]
    options: list[list[str]] = []
    at = 0
    while at < len(words):
        taken = _expression(words, at, sets)
        if taken is None:
            return
        alternatives, at = taken
        if alternatives:
            options.append(alternatives)
    combined = [""]
    for alternatives in options:
        combined = [f"{one} {other}".strip() for one in combined for other in alternatives]
        if len(combined) > _MOST_ELEMENTS:
            return
    protocols = {"tcp": "-p tcp", "udp": "-p udp", "sctp": "-p sctp"}
    for each in combined:
        # a protocol may be named more than once: by itself, and in front of a port
        for protocol in protocols.values():
            if each.count(protocol) > 1:
                head, _, tail = each.partition(protocol)
                each = f"{head}{protocol}{tail.replace(protocol, '')}"
        yield " ".join(each.split())


_VERDICTS = {
    "accept": "-j ACCEPT",
    "drop": "-j DROP",
    "reject": "-j REJECT",
    "return": "-j RETURN",
    "notrack": "-j CT --notrack",
}
_ADDRESSES = {"saddr": "-s", "daddr": "-d"}
_LINKS = {"iifname": "-i", "oifname": "-o", "iif": "-i", "oif": "-o"}


def _expression(words: list[str], at: int, sets: dict[str, list[str]]) -> tuple[list[str], int] | None:
    """What an expression or statement at a place says, each alternative in iptables' words, and the
    place behind it; None: iptables has no word for it.
    """
    word, rest = words[at], words[at + 1 :]
    following = rest[0] if rest else ""
    if word == "counter":
        return [], at + (5 if rest[:1] == ["packets"] and rest[2:3] == ["bytes"] else 1)
    if word == "comment":
        return [], at + 2
    if word in _VERDICTS:
        return [_VERDICTS[word]], len(words) if word == "reject" else at + 1
    if word in ("jump", "goto") and rest:
        return [f"-j {following}"], at + 2
    if word in _LINKS:
        return _matching(_LINKS[word], words, at + 1, sets)
    if word in ("ip", "ip6") and following in _ADDRESSES:
        return _matching(_ADDRESSES[following], words, at + 2, sets)
    if (word, following) in (("ip", "protocol"), ("meta", "l4proto"), ("ip6", "nexthdr")):
        return _matching("-p", words, at + 2, sets)
    if word in ("tcp", "udp", "sctp", "th") and following in ("dport", "sport"):
        ports = _matching(f"--{following}", words, at + 2, sets)
        prefix = "" if word == "th" else f"-p {word} "
        return ([f"{prefix}{each}" for each in ports[0]], ports[1]) if ports else None
    if word == "icmp" and following == "type":
        return _matching("-p icmp --icmp-type", words, at + 2, sets)
    if word == "ether" and following == "saddr":
        return _matching("-m mac --mac-source", words, at + 2, sets)
    if word == "ct" and following == "state":
        return _matching("-m conntrack --ctstate", words, at + 2, sets, joined=True)
    if word == "meta" and following in ("mark", "nfproto"):
        word, following, at = following, rest[1] if len(rest) > 1 else "", at + 1
        rest = rest[1:]
    if word == "nfproto" and following in ("ipv4", "ipv6"):
        return [], at + 2
    if word == "mark":
        if following == "set":
            mark = rest[1] if len(rest) > 1 and rest[1][:1].isdigit() else ""
            return ([f"-j MARK --set-xmark {mark}/0xffffffff"], at + 3) if mark else None
        return _matching("-m mark --mark", words, at + 1, sets)
    return _translation(words, at)


def _translation(words: list[str], at: int) -> tuple[list[str], int] | None:
    """Address translation, which ends a rule; its flags do not matter here."""
    word, rest = words[at], [each for each in words[at + 1 :] if each not in ("ip", "ip6")]
    target = rest[1] if rest[:1] == ["to"] and len(rest) > 1 else ""
    if word == "masquerade":
        ports = f" --to-ports {target.lstrip(':')}" if target else ""
        return [f"-j MASQUERADE{ports}"], len(words)
    if word == "redirect":
        return [f"-j REDIRECT --to-ports {target.lstrip(':')}" if target else "-j REDIRECT"], len(words)
    if word in ("snat", "dnat") and target and not target.startswith(("@", "{")):
        side = "source" if word == "snat" else "destination"
        return [f"-j {word.upper()} --to-{side} {target}"], len(words)
    if word == "synproxy":
        return ["-j SYNPROXY"], len(words)
    return None


def _matching(
    option: str, words: list[str], at: int, sets: dict[str, list[str]], *, joined: bool = False
) -> tuple[list[str], int] | None:
    """A match on a value, a negated one, or on one of several values."""
    negated = words[at : at + 1] == ["!="]
    at += negated
    if at >= len(words):
        return None
    if words[at] == "{":
        end = words.index("}", at) if "}" in words[at:] else len(words)
        values, at = [each.strip(",") for each in words[at + 1 : end] if each.strip(",")], end + 1
    elif words[at].startswith("@"):
        values, at = sets.get(words[at][1:], []), at + 1
    else:
        values, at = [words[at]], at + 1
    if not values or any(value in (".", ":", "vmap", "map") for value in (*values, *words[at : at + 1])):
        return None
    values = [value.strip('"') for value in values]
    if option in ("--dport", "--sport"):
        values = [value.replace("-", ":") for value in values]
    if joined or (negated and len(values) > 1):
        values = [",".join(values)]
    if negated:
        head, _, name = option.rpartition(" ")
        option = f"{head} ! {name}".strip()
    return [f"{option} {value}" for value in values], at
