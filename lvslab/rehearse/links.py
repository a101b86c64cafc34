"""A machine's interfaces as `ip address` shows them, for a director of a rehearsal: pure."""

from __future__ import annotations

from collections.abc import Iterable

from lvslab.reading.network import Link, read_json, read_network


def links_of(texts: Iterable[str]) -> list[Link]:
    """The interfaces that texts show, as JSON or not."""
    links: list[Link] = []
    for text in texts:
        links += (read_json(text) if text.lstrip().startswith("[") else read_network(text)).links
    return links


def own_addresses(links: Iterable[Link]) -> dict[str, tuple[str, ...]]:
    """Interface → its addresses, each "address/length"; those without any are left out."""
    own = {
        _name(link): tuple(f"{each.ip}/{each.prefix}" for each in link.addresses if each.scope == "global")
        for link in links
    }
    return {name: addresses for name, addresses in own.items() if addresses}


def macs_of(links: Iterable[Link]) -> dict[str, str]:
    """Interface → its MAC address."""
    return {_name(link): link.mac for link in links if link.mac and _name(link) != "lo"}


def _name(link: Link) -> str:
    """ "eth0.7" of "eth0.7@eth0"."""
    return link.name.partition("@")[0]
