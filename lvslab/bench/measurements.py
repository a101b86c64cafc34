"""What is measured: the matrix of measurements as descriptions, and the choice among them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lvslab.errors import UsageError

NEW, ESTABLISHED = "new", "established"
PHASES = (NEW, ESTABLISHED)
"""What the packets are to the director: each the first of its connection, or one of a connection
that it knows.
"""

ROUNDS = 5
"""Passes of a phase; the figure is their median, so one odd event of the kernel's own (a timer, a
work queue) does not count.
"""

PACKETS = 2000
"""Packets of a pass of established connections: pktgen tells whole microseconds of virtual time,
0.5 instructions per packet.
"""

CONNECTIONS = 5000
"""New connections of a measurement, in ROUNDS passes."""

SERVERS = 10

LARGE_TABLE = 18
"""conn_tab_bits of a director that is set up for many connections; Debian's kernels have 12, which
makes 4,096 rows.
"""


class Handling(StrEnum):
    """What the director does with a packet."""

    DROP = "drop"
    """Thrown away where it enters: what the packet generator and the first link cost."""
    ROUTING = "routing"
    """Forwarded without a virtual server."""
    NAT = "nat"
    DR = "dr"
    TUN = "tun"
    FULLNAT = "fullnat"

    @property
    def is_baseline(self) -> bool:
        return self in (Handling.DROP, Handling.ROUTING)


FORWARDING = {Handling.NAT: "-m", Handling.DR: "-g", Handling.TUN: "-i", Handling.FULLNAT: "-m"}
"""ipvsadm(8)'s packet-forwarding option of each handling."""


@dataclass(frozen=True)
class Traffic:
    """The kind of packets: "udp" or "tcp", and the version of IP."""

    protocol: str
    version: int

    def __str__(self) -> str:
        return f"{self.protocol}{self.version}"


UDP4, TCP4, UDP6, TCP6 = Traffic("udp", 4), Traffic("tcp", 4), Traffic("udp", 6), Traffic("tcp", 6)


@dataclass(frozen=True)
class Measurement:
    """One configuration of the director and the packets sent through it.

    Attributes:
        name: subject and what varies, joined by colons; `<name>:<phase>` names a figure.
        connections: new connections that are made, all rounds together; distinct flows of the
            packets.
        existing: connections made before anything is measured; then these are the established ones.
        tab_bits: size of IPVS's connection table (its module's `conn_tab_bits`), or None for the
            kernel's own.
        conntrack: the director also tracks connections: `net.ipv4.vs.conntrack=1`, and netfilter's
            hooks are in use.
        phases: what is measured.
        quick: belongs to the set that is measured by default.
    """

    name: str
    handling: Handling
    traffic: Traffic = UDP4
    scheduler: str = "rr"
    servers: int = SERVERS
    connections: int = CONNECTIONS
    existing: int = 0
    tab_bits: int | None = None
    conntrack: bool = False
    phases: tuple[str, ...] = PHASES
    quick: bool = True

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of its figures."""
        return tuple(f"{self.name}:{phase}" for phase in self.phases)

    @property
    def meaning(self) -> str:
        """What is measured, in a line."""
        if self.handling is Handling.DROP:
            what = "dropped where it enters: generator and first link"
        elif self.handling is Handling.ROUTING:
            what = "forwarded without a virtual server, over drop"
        else:
            servers = f"{self.servers} real server{'s' if self.servers > 1 else ''}"
            what = f"{self.handling} over routing, {self.scheduler}, {servers}"
        existing = f", beside {self.existing:,} connections" if self.existing else ""
        table = f", conn_tab_bits={self.tab_bits}" if self.tab_bits else ""
        tracking = ", with connection tracking" if self.conntrack else ""
        return (
            f"{self.traffic.protocol.upper()} over IPv{self.traffic.version},"
            f" {what}{existing}{table}{tracking}"
        )

    @property
    def baseline(self) -> str | None:
        """The measurement whose cost is taken off: routing for a virtual server, drop for routing,
        none for drop.
        """
        if self.handling is Handling.DROP:
            return None
        under = Handling.DROP if self.handling is Handling.ROUTING else Handling.ROUTING
        return f"baseline:{under}:{self.traffic}"

    @property
    def modules(self) -> tuple[str, ...]:
        """Kernel modules that it needs besides `COMMON_MODULES`."""
        found: tuple[str, ...] = ()
        if not self.handling.is_baseline:
            found += ("ip_vs", f"ip_vs_{self.scheduler}")
        if self.traffic.protocol == "tcp":
            found += ("act_pedit", "act_csum")
        if self.conntrack:
            found += ("nf_tables", "nft_compat", "xt_conntrack", "nf_conntrack")
        if self.handling is Handling.FULLNAT:
            found += ("xt_ipvs", "nft_chain_nat", "xt_nat")
        return found


COMMON_MODULES = ("pktgen", "veth", "sch_ingress", "cls_u32", "cls_matchall", "act_gact")

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos")
"""IPVS's schedulers in the order of ipvsadm(8); which of them a kernel has, its modules say."""

_QUICK_SCHEDULERS = ("rr", "wlc", "sh", "mh")

NOT_MEASURED = {
    "mode:synproxy": (
        "the kernel's packet generator sends UDP without looking at answers, so it cannot bring a cookie's "
        "handshake to its end; lvslab verify synproxy proves the mode, and run compare-modes measures it"
    ),
}
"""What a reader would look for, and why it is not there."""


def _matrix() -> tuple[Measurement, ...]:
    found: list[Measurement] = []
    for traffic in (UDP4, TCP4, UDP6, TCP6):
        quick = traffic is not TCP6
        found.append(
            Measurement(
                f"baseline:drop:{traffic}", Handling.DROP, traffic, phases=(ESTABLISHED,), quick=quick
            )
        )
        found.append(
            Measurement(
                f"baseline:routing:{traffic}", Handling.ROUTING, traffic, phases=(ESTABLISHED,), quick=quick
            )
        )
    for traffic in (UDP4, TCP4, UDP6, TCP6):
        for handling in (Handling.NAT, Handling.DR, Handling.TUN):
            found.append(
                Measurement(f"mode:{handling}:{traffic}", handling, traffic, quick=traffic is not TCP6)
            )
    found.append(Measurement("mode:fullnat:udp4", Handling.FULLNAT, conntrack=True))
    found.append(Measurement("conntrack:routing:udp4", Handling.ROUTING, conntrack=True, quick=False))
    for handling in (Handling.NAT, Handling.DR, Handling.TUN):
        quick = handling is Handling.NAT
        found.append(Measurement(f"conntrack:{handling}:udp4", handling, conntrack=True, quick=quick))
    for scheduler in SCHEDULERS:
        quick = scheduler in _QUICK_SCHEDULERS
        found.append(
            Measurement(
                f"scheduler:{scheduler}", Handling.NAT, scheduler=scheduler, phases=(NEW,), quick=quick
            )
        )
    for scheduler in ("rr", "wlc", "mh"):
        for servers in (1, 10, 100, 1000):
            quick = scheduler == "wlc"
            name = f"servers:{scheduler}:{servers}"
            found.append(
                Measurement(
                    name, Handling.NAT, scheduler=scheduler, servers=servers, phases=(NEW,), quick=quick
                )
            )
    for existing in (1, 10, 100, 1000, 10_000, 100_000):
        phases = (
            PHASES if existing >= CONNECTIONS // ROUNDS else (ESTABLISHED,)
        )  # 1,000 new ones beside 10 do not tell of 10
        found.append(Measurement(f"connections:{existing}", Handling.NAT, existing=existing, phases=phases))
    for existing in (1000, 10_000, 100_000):
        name = f"connections:{existing}:tab{LARGE_TABLE}"
        found.append(Measurement(name, Handling.NAT, existing=existing, tab_bits=LARGE_TABLE, quick=False))
    return tuple(found)


MATRIX = _matrix()
"""Every measurement, baselines first."""


def select(
    patterns: Sequence[str] = (), full: bool = False, matrix: Sequence[Measurement] = MATRIX
) -> tuple[Measurement, ...]:
    """The measurements to run, with the baselines that they need, in the order of the matrix.

    Args:
        patterns: shell patterns of names (`mode:*`) or of figures (`mode:nat:*:new`); none chooses
            the default set.
        full: without patterns, everything.

    Raises:
        UsageError: a pattern fits nothing.
    """
    if not patterns:
        return tuple(each for each in matrix if full or each.quick)
    wanted: set[str] = set()
    for pattern in patterns:
        fitting = {
            each.name
            for each in matrix
            if any(fnmatch.fnmatchcase(name, pattern) for name in (each.name, *each.figures))
        }
        if not fitting:
            reason = next(
                (why for name, why in NOT_MEASURED.items() if fnmatch.fnmatchcase(name, pattern)), None
            )
            raise UsageError(f"--only {pattern}: {reason or 'fits no measurement; see: lvslab bench --list'}")
        wanted |= fitting
    by_name = {each.name: each for each in matrix}
    for name in list(wanted):
        under = by_name[name].baseline
        while under:
            wanted.add(under)
            under = by_name[under].baseline
    return tuple(each for each in matrix if each.name in wanted)
