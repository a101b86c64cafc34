"""What ip(8) shows of a machine's network, as text or with `-json`, with or without `-details`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface, ip_network
from typing import Any

from lvslab.reading.unclear import Unclear


@dataclass(frozen=True)
class Address:
    """An address of a link, with its prefix length; `scope` as ip-address(8) names it."""

    ip: str
    prefix: int
    scope: str = "global"


@dataclass(frozen=True)
class Link:
    """A network interface.

    Attributes:
        kind: of a virtual link: "ipip", "gre", "veth", …; "" of a card.
        up: administratively up, and with a carrier.
        arp: whether it takes part in ARP.
    """

    name: str
    mac: str = ""
    mtu: int = 1500
    kind: str = ""
    up: bool = True
    arp: bool = True
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Route:
    """An entry of a routing table, or the kernel's answer to "how do I get there".

    Attributes:
        kind: "unicast", "local", "unreachable", "blackhole", …
        destination: "default", a network or an address.
        via: the next router, "" where the destination is on the link.
        advmss: largest TCP segment that is announced over it, in bytes; 0: as the link allows.
        mtu: of the path, where it was set or learned; 0: the link's.
        metric: of several routes to one destination the lowest is taken.
        ipv6: the family; a "default" does not tell it.
    """

    kind: str
    destination: str
    link: str
    via: str = ""
    table: str = "main"
    advmss: int = 0
    mtu: int = 0
    metric: int = 0
    ipv6: bool = False


@dataclass(frozen=True)
class RoutingRule:
    """A line of `ip rule`: which table is asked for which packets.

    Attributes:
        source, destination: a network; "all": every packet.
        mark: the firewall mark that it asks for, 0: any.
        conditional: whether it asks for something else besides, such as a link.
    """

    priority: int
    source: str = "all"
    destination: str = "all"
    table: str = "main"
    mark: int = 0
    conditional: bool = False
    ipv6: bool = False


@dataclass(frozen=True)
class Neighbour:
    """An entry of the ARP cache or of that of IPv6; `state` is the word of ip-neighbour(8),
    "REACHABLE", "FAILED", …
    """

    ip: str
    mac: str
    link: str
    state: str


@dataclass(frozen=True)
class Network:
    """What was understood of a machine's network."""

    links: tuple[Link, ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[RoutingRule, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    unclear: tuple[Unclear, ...] = ()


STATES = ("PERMANENT", "NOARP", "REACHABLE", "STALE", "NONE", "INCOMPLETE", "DELAY", "PROBE", "FAILED")
_KINDS = frozenset(
    """
    unicast local broadcast multicast throw unreachable prohibit blackhole nat anycast
    """.split()  # noqa: SIM905
)
_LINK_KINDS = frozenset(
    """
    bond bridge dummy gre gretap erspan ifb ip6gre ip6gretap ip6tnl ipip ipvlan ipvtap macsec macvlan
    macvtap netkit nlmon sit team tun vcan veth vlan vrf vti vti6 vxlan wireguard xfrm geneve
    """.split()  # noqa: SIM905
)
_HEAD = re.compile(r"(\d+): ([^\s:]+): <([^>]*)>(.*)")
_CARRIER = ("UP", "LOWER_UP")


# -- JSON ------------------------------------------------------------------------------------------


def read_json(text: str) -> Network:
    """Any of `ip -json address`, `route`, `rule` and `neigh`; what stands between arrays is passed
    over.
    """
    items = list(_items(text))
    return Network(
        tuple(_link(item) for item in items if "ifname" in item),
        tuple(_route(item) for item in items if "dst" in item and "type" in item and "ifname" not in item),
        tuple(_rule(item) for item in items if "priority" in item and "src" in item),
        tuple(
            Neighbour(
                str(item["dst"]),
                str(item.get("lladdr", "")),
                str(item.get("dev", "")),
                str((item["state"] or [""])[0]),
            )
            for item in items
            if "dst" in item and isinstance(item.get("state"), list)
        ),
    )


def read_routes(text: str) -> list[tuple[str, Route]]:
    """The answers of `ip -json route get`: the source that was asked with, "" without one, and the
    way.
    """
    return [(str(item.get("from", "")), _route(item)) for item in _items(text)]


def _items(text: str) -> Iterator[dict[str, Any]]:
    """The objects of all arrays in a text."""
    decoder = json.JSONDecoder()
    at = 0
    while (begin := text.find("[", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            at = begin + 1
            continue
        yield from (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _link(item: Mapping[str, Any]) -> Link:
    flags = _list(item, "flags")
    information = item.get("linkinfo")
    return Link(
        name=str(item["ifname"]),
        mac=str(item.get("address", "")),
        mtu=number(item.get("mtu")),
        kind=str(information.get("info_kind", "")) if isinstance(information, dict) else "",
        up=all(flag in flags for flag in _CARRIER),
        arp="NOARP" not in flags,
        addresses=tuple(
            Address(str(each["local"]), number(each.get("prefixlen"), 32), str(each.get("scope", "global")))
            for each in _list(item, "addr_info")
            if isinstance(each, dict) and is_address(str(each.get("local")))
        ),
    )


def _route(item: Mapping[str, Any]) -> Route:
    """A route of `ip -json route`."""
    metrics: dict[str, Any] = {}
    for each in _list(item, "metrics"):
        metrics |= each if isinstance(each, dict) else {}
    destination, via = str(item.get("dst", "")), str(item.get("gateway", ""))
    return Route(
        kind=str(item.get("type", "unicast")),
        destination=destination,
        link=str(item.get("dev", "")),
        via=via,
        table=str(item.get("table", "main")),
        advmss=number(metrics.get("advmss")),
        mtu=number(metrics.get("mtu")),
        metric=number(item.get("metric")),
        ipv6=":" in destination or ":" in via,
    )


def _rule(item: Mapping[str, Any]) -> RoutingRule:
    known = {"priority", "src", "srclen", "dst", "dstlen", "table", "protocol", "fwmark", "fwmask"}
    source, destination = str(item["src"]), str(item.get("dst", "all"))
    return RoutingRule(
        number(item["priority"]),
        f"{source}/{item['srclen']}" if "srclen" in item else source,
        f"{destination}/{item['dstlen']}" if "dstlen" in item else destination,
        str(item.get("table", "")),
        number(item.get("fwmark")),
        conditional=bool(set(item) - known) or "table" not in item,
        ipv6=":" in source or ":" in destination,
    )


def _list(item: Mapping[str, Any], key: str) -> list[Any]:
    value = item.get(key)
    return value if isinstance(value, list) else []


def number(value: object, default: int = 0) -> int:
    """A number that a program printed, in decimal or with 0x; `default` for everything else."""
    if isinstance(value, int):
        return value
    text = str(value)
    if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text):
        return int(text, 16)
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else default


def is_address(text: str) -> bool:
    """Whether a text is an address, with a prefix length or without."""
    try:
        ip_interface(text)
    except ValueError:
        return False
    return True


# -- text ------------------------------------------------------------------------------------------


@dataclass
class _Links:
    """Links while their lines come."""

    links: list[Link] = field(default_factory=list)

    def take(self, line: str) -> bool:
        """Take a line of `ip address`; False: it is none."""
        head = _HEAD.match(line)
        words = line.split()
        if head:
            flags = head[3].split(",")
            name = head[2].partition("@")[0]
            mtu = re.search(r"\bmtu (\d{1,9})\b", head[4])
            self.links.append(
                Link(
                    name,
                    mtu=int(mtu[1]) if mtu else 0,
                    up=all(flag in flags for flag in _CARRIER),
                    arp="NOARP" not in flags,
                )
            )
        elif not line.startswith((" ", "\t")) or not self.links or not words:
            return False
        elif words[0] in ("inet", "inet6") and len(words) > 1 and is_address(words[1]):
            place = ip_interface(words[1])
            scope = words[words.index("scope") + 1] if "scope" in words[:-1] else "global"
            self._change(
                addresses=(
                    *self.links[-1].addresses,
                    Address(str(place.ip).partition("%")[0], place.network.prefixlen, scope),
                )
            )
        elif words[0].startswith("link/"):
            self._change(
                mac=words[1] if len(words) > 1 else "", kind=self.links[-1].kind or _implied(words[0])
            )
        elif words[0] in _LINK_KINDS:
            self._change(kind=words[0])
        return True

    def _change(self, **values: Any) -> None:
        self.links[-1] = replace(self.links[-1], **values)


def _implied(word: str) -> str:
    """The kind of a link that its type of hardware tells: "link/ipip"."""
    kind = {"link/tunnel6": "ip6tnl"}.get(word, word.removeprefix("link/"))
    return kind if kind in ("ipip", "sit", "gre", "ip6tnl") else ""


def read_network(text: str, *, ipv6: bool = False) -> Network:
    """Any of `ip address`, `ip route`, `ip rule` and `ip neigh`, one after the other; `ipv6`: the
    family of routes and rules that do not show theirs.
    """
    links = _Links()
    routes: list[Route] = []
    rules: list[RoutingRule] = []
    neighbours: list[Neighbour] = []
    unclear: list[Unclear] = []
    for at, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if re.match(r"\d+:\s+(not\s+)?from\s", line):
            rules.append(_text_rule(words, ipv6))
        elif line.startswith(("\t", " ")) and words[0] == "nexthop" and routes:
            routes[-1] = _with_hop(routes[-1], words)
        elif links.take(line):
            continue
        elif words[-1] in STATES and is_address(words[0]) and "dev" in words[:-1]:
            neighbours.append(Neighbour(words[0], _after(words, "lladdr"), _after(words, "dev"), words[-1]))
        elif _is_route(words):
            routes.append(_text_route(words, ipv6))
        else:
            unclear.append(Unclear(at, line, "nothing that ip(8) shows"))
    return Network(tuple(links.links), tuple(routes), tuple(rules), tuple(neighbours), tuple(unclear))


def _after(words: list[str], word: str) -> str:
    return words[words.index(word) + 1] if word in words[:-1] else ""


def _is_route(words: list[str]) -> bool:
    destination = words[1] if words[0] in _KINDS and len(words) > 1 else words[0]
    return destination == "default" or is_network(destination)


def is_network(text: str) -> bool:
    """Whether a text is an address or a network."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _text_route(words: list[str], ipv6: bool) -> Route:
    kind, rest = (words[0], words[1:]) if words[0] in _KINDS else ("unicast", words)
    via = _after(rest, "via")
    if via in ("inet", "inet6"):
        via = _after(rest, via)
    return Route(
        kind,
        rest[0],
        _after(rest, "dev"),
        via=via,
        table=_after(rest, "table") or ("local" if kind in ("local", "broadcast", "anycast") else "main"),
        advmss=number(_after(rest, "advmss")),
        mtu=number(_after(rest, "mtu")),
        metric=number(_after(rest, "metric")),
        ipv6=":" in rest[0] or ":" in via or (ipv6 and rest[0] == "default"),
    )


def _with_hop(way: Route, words: list[str]) -> Route:
    """A route of several next hops, with the first of them; the others tell the same."""
    if way.via or way.link:
        return way
    via = _after(words, "via")
    via = _after(words, via) if via in ("inet", "inet6") else via
    return replace(way, via=via, link=_after(words, "dev"), ipv6=way.ipv6 or ":" in via)


def _text_rule(words: list[str], ipv6: bool) -> RoutingRule:
    known = {"from", "to", "lookup", "table", "fwmark", "proto", "protocol"}
    rest = words[1:]
    options, conditional = dict(zip(rest[::2], rest[1::2], strict=False)), rest[0] == "not"
    source, destination = options.get("from", "all"), options.get("to", "all")
    return RoutingRule(
        number(words[0].rstrip(":")),
        source,
        destination,
        options.get("lookup", options.get("table", "")),
        number(options.get("fwmark", "").partition("/")[0]),
        conditional=conditional or bool(set(options) - known) or not {"lookup", "table"} & set(options),
        ipv6=ipv6 or ":" in source or ":" in destination,
    )
