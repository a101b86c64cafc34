"""What a forwarding mode is: descriptions only, nothing here touches a kernel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import ClassVar

from lvslab.ipvs.service import PacketForwarding, VirtualService
from lvslab.kernels.needs import Need
from lvslab.modes.contract import Contract, Party


class Role(StrEnum):
    """What a node is in the lab."""

    CLIENT = "client"
    DIRECTOR = "director"
    REAL_SERVER = "real server"
    ROUTER = "router"


class ReplyPath(StrEnum):
    """How a topology lets packets get from a real server to a client."""

    DIRECTOR = "director"
    """The director is the real servers' gateway."""
    DIRECT = "direct"
    """The real servers have their own way to the clients."""
    NONE = "none"
    """The real servers have no route to the clients at all."""


# -- actions: what set-up does, as data ------------------------------------------------------------


def sysctl_file(key: str) -> str:
    """Where a kernel parameter is; `key` with dots."""
    return f"/proc/sys/{key.replace('.', '/')}"


@dataclass(frozen=True)
class Sysctl:
    """Set a kernel parameter (sysctl(8)); `key` with dots.

    Attributes:
        of_machine: whether the kernel has one value for all its network namespaces. A node that has
            only a namespace leaves it alone: it must not be written there, nor can it
            (nf_conntrack_standalone_init_sysctl in net/netfilter/nf_conntrack_standalone.c).
    """

    key: str
    value: str | int
    of_machine: bool = False

    def plain(self) -> str:
        return (
            f"sysctl -w {self.key}='{self.value}'"
            if " " in str(self.value)
            else f"sysctl -w {self.key}={self.value}"
        )

    def fast(self) -> str:
        """Without starting a program, which costs 40 ms in a guest."""
        return f"echo '{self.value}' >{sysctl_file(self.key)}"


@dataclass(frozen=True)
class Ip:
    """One iproute2 command (ip(8)) without the leading `ip`.

    Attributes:
        ipv6: it is about IPv6 and does not say so by an address that stands first (`ip -6`).
    """

    arguments: str
    ipv6: bool = False

    def plain(self) -> str:
        return f"ip -6 {self.arguments}" if self.ipv6 else f"ip {self.arguments}"


@dataclass(frozen=True)
class Iptables:
    """One rule (iptables(8)) without the leading program name, which the kernel's tables decide."""

    arguments: str

    def plain(self) -> str:
        return f"iptables {self.arguments}"


Action = Sysctl | Ip | Iptables


@dataclass(frozen=True)
class Step:
    """A named part of a node's set-up: what `--without` leaves out to show what it is for."""

    name: str
    why: str
    actions: tuple[Action, ...]


def plain_lines(steps: Iterable[Step]) -> list[str]:
    """The set-up as shell commands that a person would type, each step headed by its reason."""
    return [
        line
        for step in steps
        for line in (f"# {step.name}: {step.why}", *(action.plain() for action in step.actions))
    ]


def set_up_script(steps: Sequence[Step], iptables: str | None) -> str:
    """The set-up as one quick script that stops at the first failure and names the step.

    A program started in a guest costs some 40 ms, so consecutive `ip` commands go to one
    `ip -batch`, consecutive rules to one `iptables-restore`, and sysctls are written without a
    program.

    Args:
        iptables: the variant that fits the kernel, "iptables-legacy" or "iptables-nft".
    """
    lines = ["failed() { echo \"set-up step '$1' failed\" >&2; exit 1; }"]
    for step in steps:
        for (kind, ipv6), actions in groupby(
            step.actions, key=lambda action: (type(action), _is_ipv6(action))
        ):
            failed = f"|| failed '{step.name}'"
            if kind is Ip:
                lines += [
                    f"ip {'-6 ' if ipv6 else ''}-batch - <<'END' {failed}",
                    *(action.arguments for action in actions if isinstance(action, Ip)),
                    "END",
                ]
            elif kind is Iptables:
                rules = [action for action in actions if isinstance(action, Iptables)]
                lines += [f"{_restore_command(iptables)} <<'END' {failed}", *_restore_input(rules), "END"]
            else:
                sysctls = [action for action in actions if isinstance(action, Sysctl)]
                lines += [f"{action.fast()} || failed '{step.name}: {action.key}'" for action in sysctls]
    return "\n".join(lines) + "\n"


def _is_ipv6(action: Action) -> bool:
    return isinstance(action, Ip) and action.ipv6


def _restore_command(iptables: str | None) -> str:
    """iptables-restore(8) of the variant, adding to what is there.

    The legacy variant would look for its kernel modules by modprobe, half a second in a guest,
    where lvslab has loaded them already.
    """
    return f"{iptables or 'iptables'}-restore --noflush" + (
        " --modprobe=/bin/true" if iptables == "iptables-legacy" else ""
    )


def _restore_input(rules: Sequence[Iptables]) -> list[str]:
    lines = []
    for rule in rules:
        words = rule.arguments.split(" ", 2)
        table, line = (words[1], words[2]) if words[0] == "-t" else ("filter", rule.arguments)
        lines += [f"*{table}", line, "COMMIT"]
    return lines


# -- addresses -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Addresses:
    """The lab's addresses as a mode needs them.

    Attributes:
        vip: virtual IP address.
        dip: the director's own address in the clients' network, the outer source of TUN packets.
        rips: node name of each real server → its address.
        lips: local addresses that FullNAT may use as source towards real servers; empty where the
            topology has none.
        outer, inner: the director's interface towards the clients, and towards the real servers
            (may be the same).
        inner_prefix: prefix length of the inner network.
    """

    vip: str
    dip: str
    rips: Mapping[str, str]
    lips: tuple[str, ...]
    outer: str
    inner: str
    inner_prefix: int


@dataclass(frozen=True)
class Color:
    """A colour as "#rrggbb": on light ground, and on dark."""

    light: str
    dark: str


class Mode(ABC):
    """One forwarding mode: all that the rest of lvslab knows about it."""

    name: ClassVar[str]
    """As users write it, in small letters."""
    title: ClassVar[str]
    """As people write it."""
    summary: ClassVar[str]
    """One sentence for `lvslab list`."""
    color: ClassVar[Color]
    """In every figure. Okabe and Ito's palette is told apart with every kind of colour vision; its
    vermilion is kept for what is wrong.
    """
    packet_forwarding: ClassVar[PacketForwarding] = PacketForwarding.MASQ
    """What IPVS itself does."""
    composed: ClassVar[bool] = False
    """Whether it is composed of IPVS and netfilter, because mainline IPVS does not have it."""
    topology: ClassVar[str]
    """Name of the shipped topology made for it."""
    needs: ClassVar[Mapping[Role, frozenset[Need]]]
    reply_paths: ClassVar[frozenset[ReplyPath]]
    """Reply paths that the mode can work with."""
    why_reply_path: ClassVar[str]
    """Why it cannot work with others."""
    maps_ports: ClassVar[bool] = False
    """Whether a real server's port may differ from the service's."""
    carries_udp: ClassVar[bool] = True
    uses_local_addresses: ClassVar[bool] = False
    """Whether real servers see local addresses of the director instead of the clients'."""
    survives_sync: ClassVar[bool] = True
    """Whether connection sync saves established connections when the director dies."""
    vip_device: ClassVar[str | None] = None
    """Interface on which real servers have the virtual address; None where they do not."""
    contract: ClassVar[Contract]

    @property
    def replies_bypass_director(self) -> bool:
        """Whether real servers answer clients straight, so that the director sees requests only."""
        return all(Party.DIRECTOR not in (leg.sender, leg.receiver) for leg in self.contract.reply)

    @abstractmethod
    def director(self, addresses: Addresses, services: Sequence[VirtualService]) -> tuple[Step, ...]:
        """Set-up of the director, without its table of virtual services."""

    def real_server(self, addresses: Addresses) -> tuple[Step, ...]:
        """Set-up of each real server beyond its address and gateway."""
        return ()

    def refuse(self, topology: str, reply_path: ReplyPath, has_local_addresses: bool) -> str | None:
        """Why this mode cannot work in a topology, or None if it can."""
        if reply_path not in self.reply_paths:
            paths = {
                ReplyPath.DIRECTOR: "the director is the real servers' gateway",
                ReplyPath.DIRECT: "real servers answer the clients directly",
                ReplyPath.NONE: "real servers have no route to the clients",
            }
            return f"in topology '{topology}' {paths[reply_path]}, but {self.why_reply_path}"
        if self.uses_local_addresses and not has_local_addresses:
            return f"topology '{topology}' has no local addresses, but {self.why_reply_path}"
        return None


def vip_step(addresses: Addresses) -> Step:
    """The virtual address on the director."""
    return Step(
        "vip",
        "the director answers for the virtual address",
        (Ip(f"address add {addresses.vip}/32 dev {addresses.outer}"),),
    )


IP_FORWARD = Step(
    "ip-forward",
    "replies of the real servers pass the director's routing code",
    (Sysctl("net.ipv4.ip_forward", 1),),
)

TRACK_MANY = (
    Sysctl("net.netfilter.nf_conntrack_buckets", 65536, of_machine=True),
    Sysctl("net.netfilter.nf_conntrack_max", 262144, of_machine=True),
)
"""Room for tracked connections. A guest's small kernel allows a thousand, and drops what does not
fit ("table full").
"""

QUIET_ARP = Step(
    "arp",
    "only the director may answer ARP requests for the virtual address: arp_ignore answers only for addresses"
    " of the receiving interface, arp_announce keeps the virtual address out of the servers' own requests",
    (Sysctl("net.ipv4.conf.all.arp_ignore", 1), Sysctl("net.ipv4.conf.all.arp_announce", 2)),
)
