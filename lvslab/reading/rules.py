"""Rules as `ipvsadm -S` prints them, with or without `-n`, however many of them can be read."""

from __future__ import annotations

from dataclasses import dataclass

from lvslab.ipvs.rules import sift_rules
from lvslab.ipvs.service import VirtualService
from lvslab.reading.ports import PORTS
from lvslab.reading.unclear import Unclear

_WITH_PORTS = frozenset(
    {"-t", "-u", "-r", "--tcp-service", "--udp-service", "--sctp-service", "--real-server"}
)


@dataclass(frozen=True)
class Table:
    """A table of virtual services, as far as it was understood."""

    services: tuple[VirtualService, ...] = ()
    unclear: tuple[Unclear, ...] = ()


def read_rules(text: str) -> Table:
    """The table that rules make. Names of ports count; names of hosts are not understood. A line
    that begins with "#" is passed over, though `ipvsadm -R` would stop at it.
    """
    lines = text.splitlines()
    numeric = ["" if line.lstrip().startswith("#") else _with_numeric_ports(line) for line in lines]
    services, refused = sift_rules("\n".join(numeric))
    return Table(services, tuple(Unclear(number, lines[number - 1], why) for number, _, why in refused))


def _with_numeric_ports(line: str) -> str:
    """A rule with numbers for the names of ports."""
    words = line.split()
    for at, option in enumerate(words[:-1]):
        address, colon, port = words[at + 1].rpartition(":")
        if option in _WITH_PORTS and colon and port.lower() in PORTS:
            words[at + 1] = f"{address}:{PORTS[port.lower()]}"
    return " ".join(words)
