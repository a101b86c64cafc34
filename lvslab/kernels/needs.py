"""What a node may need from its kernel, as data: the modules that bring it and the trial that
proves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lvslab.errors import CannotError
from lvslab.kernels.kinds import CHEAPEST, HOST, KINDS


class Need(StrEnum):
    """A kernel capability that some node of a lab asks for."""

    IP_VS = "ip_vs"
    """The virtual server itself (net/netfilter/ipvs)."""
    IPVS_SNAT = "xt_ipvs"
    """Source NAT of balanced packets, `-m ipvs … -j SNAT`: what FullNAT is composed of
    (iptables-extensions(8), ipvs).
    """
    SYNPROXY = "SYNPROXY"
    """netfilter's SYN proxy with untracked SYNs (iptables-extensions(8), SYNPROXY and CT)."""
    IPIP = "ipip"
    """IP-in-IP decapsulation on a real server (net/ipv4/ipip.c)."""
    NETEM = "netem"
    """Delay, loss, reordering on a link (tc-netem(8))."""


@dataclass(frozen=True)
class NeedFacts:
    """How a need is met and proved.

    Attributes:
        title: one plain sentence for `lvslab check`.
        modules: kernel modules to load in a guest, without their dependencies.
        trial: /bin/sh commands that only succeed on a kernel that has it; run in a namespace or
            guest that is thrown away. `$IPTABLES` stands for the iptables variant under trial.
    """

    title: str
    modules: tuple[str, ...]
    trial: tuple[str, ...]
    uses_iptables: bool = False


def _has(path: str) -> str:
    """A command that fails where a file is missing, and says so. In the network of a user namespace
    IPVS shows no parameters (ip_vs_control_net_init_sysctl in net/netfilter/ipvs/ip_vs_ctl.c).
    """
    return f"test -e {path} || {{ echo 'no {path}' >&2; exit 1; }}"


NEEDS: Mapping[Need, NeedFacts] = {
    Need.IP_VS: NeedFacts(
        "IP virtual server",
        ("ip_vs", "ip_vs_rr"),
        (
            "ipvsadm -A -t 192.0.2.1:80 -s rr",
            "ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.2:80 -m",
            _has("/proc/sys/net/ipv4/vs/conn_reuse_mode"),
        ),
    ),
    Need.IPVS_SNAT: NeedFacts(
        "source NAT of balanced packets (FullNAT)",
        ("nf_conntrack", "iptable_nat", "xt_nat", "xt_ipvs"),
        (
            (
                "$IPTABLES -t nat -A POSTROUTING -m ipvs --vproto tcp --vaddr 192.0.2.1 --vport 80 -j SNAT"
                " --to-source 192.0.2.2"
            ),
            _has("/proc/sys/net/ipv4/vs/conntrack"),
        ),
        uses_iptables=True,
    ),
    Need.SYNPROXY: NeedFacts(
        "SYN proxy",
        (
            "nf_conntrack",
            "iptable_raw",
            "iptable_filter",
            "xt_tcpudp",
            "xt_CT",
            "xt_state",
            "xt_conntrack",
            "ipt_SYNPROXY",
        ),
        (
            "$IPTABLES -t raw -A PREROUTING -d 192.0.2.1 -p tcp --dport 80 --syn -j CT --notrack",
            (
                "$IPTABLES -A INPUT -d 192.0.2.1 -p tcp --dport 80 -m state --state INVALID,UNTRACKED "
                "-j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460"
            ),
        ),
        uses_iptables=True,
    ),
    Need.IPIP: NeedFacts(
        "IP-in-IP tunnels",
        ("ipip",),
        ("ip link add lvstrial type ipip local 192.0.2.1 remote 192.0.2.2",),
    ),
    Need.NETEM: NeedFacts(
        "delay and loss on links",
        ("sch_netem",),
        ("tc qdisc add dev lo root netem delay 1ms",),
    ),
}

IPTABLES_VARIANTS = ("iptables-legacy", "iptables-nft")
"""Debian's User-Mode Linux kernels have the legacy tables only, many host kernels the nf_tables
ones: both are tried.
"""


def modules_for(needs: Iterable[Need]) -> tuple[str, ...]:
    """The modules of several needs, each once, in the order of `NEEDS`."""
    wanted = set(needs)
    return tuple(dict.fromkeys(module for need in NEEDS if need in wanted for module in NEEDS[need].modules))


@dataclass(frozen=True)
class KernelFacts:
    """What trials found out about one kernel.

    Attributes:
        kind: `HOST`, or one of `KINDS`.
        release: as `uname -r` in it prints.
        config_sha256: of the kernel's own configuration text, or None where it shows none.
        met: the needs whose trial succeeded.
        unmet: the others, each with the reason in one line.
        iptables: the variant that worked, or None.
    """

    kind: str
    release: str
    config_sha256: str | None
    met: frozenset[Need]
    unmet: Mapping[Need, str]
    iptables: str | None


@dataclass(frozen=True)
class Kernels:
    """The kernels there are to choose from: facts of those that were tried, reasons for those that
    cannot be had.
    """

    facts: Mapping[str, KernelFacts]
    absent: Mapping[str, str] = field(default_factory=dict)

    def choose(self, needs: frozenset[Need], wanted: str | None, who: str) -> tuple[str, str]:
        """The cheapest kernel that meets the needs, and why.

        Args:
            wanted: the user's choice, which is taken or refused.

        Raises:
            CannotError: none does; says what each lacks.
        """
        lacking = []
        for kind in [wanted] if wanted else [HOST, *KINDS]:
            facts = self.facts.get(kind)
            if facts is None:
                if not wanted and kind in KINDS and not KINDS[kind].tried_unasked and kind not in self.absent:
                    continue
                lacking.append(f"{kind}: {self.absent.get(kind, 'not tried')}")
                continue
            unmet = sorted(need for need in needs if need not in facts.met)
            if not unmet:
                if wanted:
                    return kind, "chosen by name"
                return kind, (
                    "; ".join(["needs " + ", ".join(sorted(needs)), *lacking])
                    if needs
                    else "needs nothing special"
                )
            reasons = "; ".join(f"{need} ({facts.unmet.get(need, 'not tried')})" for need in unmet)
            lacking.append(f"kernel '{kind}' ({facts.release}) lacks {reasons}")
        raise CannotError(f"{who}: no kernel for it here: {'; '.join(lacking)}; see: lvslab check")


def any_kernel(*names: str) -> Kernels:
    """Kernels that can do everything, also of further names: for checking the user's input before
    looking at the machine.
    """
    every = {
        kind: KernelFacts(kind, "", None, frozenset(Need), {}, "iptables-legacy") for kind in (HOST, *KINDS)
    }
    return Kernels({**every, **{name: every[CHEAPEST.kind] for name in names if name not in every}})
