"""What differs between kernel releases, by the upstream version that a release is of."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Ways:
    """What the kernels do differently.

    Attributes:
        active_cost: as many inactive connections weigh as much as an active one:
            ip_vs_dest_conn_overhead in ip_vs.h. The later kernels add all connections to 256 times
            the active ones, so an active one counts twice ("ipvs: add totalconns for dest").
        edits_count: an edit of the thresholds decides at once whether a server is full:
            ip_vs_dest_update_overload in ip_vs_ctl.c ("ipvs: properly update the overload flag on
            dest edit"). Earlier kernels only end an overload.
        error_counts_tunnel: the MTU in an ICMP error that is passed on to the client of a tunnel
            leaves room for GRE's and GUE's headers too: ip_vs_in_icmp in ip_vs_core.c ("ipvs: fix
            PMTU for GUE/GRE tunnel ICMP errors"). Earlier kernels take off IPIP's 20 bytes always.
        tables_resize: the table of services grows and shrinks with them, and a reader of
            /proc/net/ip_vs may meanwhile miss a service or see one twice: the comment at
            ip_vs_info_array in ip_vs_ctl.c of 7.2.
    """

    active_cost: int = 256
    edits_count: bool = False
    error_counts_tunnel: bool = False
    tables_resize: bool = False


EARLY = Ways()
LATE = Ways(active_cost=257, edits_count=True, error_counts_tunnel=True)
LATEST = replace(LATE, tables_resize=True)

_COUNTS = {(6, 1): 183, (6, 12): 113}
_TUNNEL_ERRORS = {(6, 1): 178, (6, 12): 113}
"""First patch level of a stable series that has it. Of 6.1 from the changelog of Debian's
6.1.192-2; 6.12.113 was tried, where that began is not known.
"""


def ways(version: str) -> Ways:
    """How a kernel does it, by its upstream version. 7.2.7 was tried; no other series is known."""
    series, patch = patch_level(version)
    if series >= (7, 2):
        return LATEST
    counts, tunnel = (patch >= table.get(series, patch + 1) for table in (_COUNTS, _TUNNEL_ERRORS))
    return Ways(257 if counts else 256, counts, tunnel)


def patch_level(version: str) -> tuple[tuple[int, int], int]:
    """The series of an upstream version and the patch level in it: "6.1.176" is ((6, 1), 176)."""
    major, minor, patch = (*map(int, re.findall(r"[0-9]+", version.partition("-")[0])), 0, 0, 0)[:3]
    return (major, minor), patch


def upstream_version(release: str, build: str) -> str:
    """The upstream version of a kernel. Debian's stock kernels hide it in `uname -v`, such as "#1
    SMP Debian 6.1.192-2 (2026-11-14)".

    Args:
        release: as `uname -r` prints. build: as `uname -v` prints.
    """
    hidden = re.search(r"Debian ([0-9]+\.[0-9]+\.[0-9]+)", build)
    return hidden[1] if hidden else release
