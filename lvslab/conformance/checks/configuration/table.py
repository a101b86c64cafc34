"""What the checks of the table share: its addresses, how it is printed and compared, exit codes."""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.conformance.director import print_file
from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import VirtualService

VIP, RIP = "192.0.2.10", "192.0.2.100"
SPLIT, AGAIN = "--lvslab--", "--again--"
HERE, THERE = 2, 255
"""Exit codes: ipvsadm refuses, the kernel refuses."""
TABLE = print_file("/proc/net/ip_vs")
"""Prints the table."""


def sorted_rules(services: Sequence[VirtualService]) -> list[str]:
    """The rules of a table in an order that does not depend on ipvsadm's."""
    return sorted(format_rules(services).splitlines())


def difference(expected: Sequence[VirtualService], seen: Sequence[VirtualService]) -> list[str]:
    """How two tables differ, rule by rule."""
    left, right = sorted_rules(expected), sorted_rules(seen)
    return [f"missing: {line}" for line in left if line not in right] + [
        f"not expected: {line}" for line in right if line not in left
    ]
