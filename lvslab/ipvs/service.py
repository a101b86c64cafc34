"""Virtual services and real servers, in ipvsadm's words.

In: descriptions of an IPVS table (frozen, checked when made) and the text form of ipvsadm(8):
`format_rules` prints what `ipvsadm -S -n` prints, `parse_rules` reads it and the same in long
options. Out: whatever touches a kernel; that is lvslab.ipvs.ipvsadm.

The limits are those of ipvsadm(8) 1.31 and of the kernel's ip_vs_ctl.c; each was tried on Linux
6.1. Addresses are numbers, never host names, in the form that inet_ntop(3) prints, because ipvsadm
prints them so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from ipaddress import ip_address

from lvslab.errors import UsageError
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from lvslab.ipvs.words import check_range, dotted_mask, numeric_address, prefix_length

WEIGHT_MAX = 65535
"""Largest weight that every ipvsadm takes: upstream 1.31 and keepalived stop here, Debian's 1.31
goes on to 2147483647.
"""
THRESHOLD_MAX = 2**31 - 1
"""Largest connection threshold, INT_MAX in ipvsadm.c."""
TIMEOUT_MAX = 31 * 86400
"""Longest timeout in seconds, MAX_TIMEOUT in ipvsadm.c."""
PERSISTENCE_DEFAULT = 360
"""Seconds that `-p` without a value means: IPVS_SVC_PERSISTENT_TIMEOUT in libipvs.h (the manual
page says 300, wrongly).
"""
PERSISTENCE_ENGINES = ("sip",)
"""Engines of `--pe`; the kernel has this one, module ip_vs_pe_sip."""


class Protocol(StrEnum):
    """What a virtual service is recognised by."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"
    FWMARK = "fwmark"

    @property
    def option(self) -> str:
        """The option that names such a service to ipvsadm."""
        return {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service", "fwmark": "-f"}[self.value]

    @property
    def label(self) -> str:
        """The word in the first column of `ipvsadm -L`."""
        return "FWM" if self is Protocol.FWMARK else self.value.upper()


class PacketForwarding(StrEnum):
    """How IPVS hands a packet to a real server; the value is the word in the Forward column of
    `ipvsadm -L`.
    """

    DR = "Route"
    TUN = "Tunnel"
    MASQ = "Masq"

    @property
    def option(self) -> str:
        """ipvsadm's option for it."""
        return {"Route": "-g", "Tunnel": "-i", "Masq": "-m"}[self.value]


class Scheduler(StrEnum):
    """The schedulers of the mainline kernel. `twos` came with Linux 5.10 and is missing in Debian's
    User-Mode Linux 6.1.
    """

    RR = "rr"
    WRR = "wrr"
    LC = "lc"
    WLC = "wlc"
    LBLC = "lblc"
    LBLCR = "lblcr"
    DH = "dh"
    SH = "sh"
    SED = "sed"
    NQ = "nq"
    FO = "fo"
    OVF = "ovf"
    MH = "mh"
    TWOS = "twos"

    @property
    def module(self) -> str:
        """Name of the kernel module."""
        return f"ip_vs_{self.value}"


class SchedulerFlag(StrEnum):
    """Flags of `-b`, in the order in which ipvsadm prints them.

    `sh` and `mh` name theirs; the three numbered ones are what ipvsadm calls the same bits on every
    other scheduler.
    """

    SH_FALLBACK = "sh-fallback"
    SH_PORT = "sh-port"
    MH_FALLBACK = "mh-fallback"
    MH_PORT = "mh-port"
    FLAG_1 = "flag-1"
    FLAG_2 = "flag-2"
    FLAG_3 = "flag-3"

    @property
    def scheduler(self) -> Scheduler | None:
        """The only scheduler that knows the flag; None for the numbered flags."""
        word = self.value.partition("-")[0]
        return None if word == "flag" else Scheduler(word)


@dataclass(frozen=True)
class RealServer:
    """A destination of a virtual service, as `ipvsadm -a` adds it.

    Attributes:
        address: RIP, IPv4 or IPv6.
        port: equal to the service's with DR and TUN (but free in a firewall-mark service, where 0
            keeps the request's port).
        forwarding: how packets reach it.
        weight: share of the load; 0 is quiescent: no new connections, the existing ones stay.
        upper_threshold: no new connections above this number of connections; 0 is no limit.
        lower_threshold: new connections again below this number; 0 is three quarters of the upper
            one.
        tun_type: encapsulation, with TUN only.
        tun_port: UDP port of the encapsulation, with GUE only.
        tun_csum: checksum of the encapsulation, with GUE and GRE only.

    Raises:
        UsageError: a value that ipvsadm or the kernel would refuse; it is raised before anything
            runs.
    """

    address: str
    port: int
    forwarding: PacketForwarding
    weight: int = 1
    upper_threshold: int = 0
    lower_threshold: int = 0
    _: KW_ONLY
    tun_type: TunnelType = TunnelType.IPIP
    tun_port: int = 0
    tun_csum: TunnelChecksum = TunnelChecksum.NOCSUM

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", numeric_address(self.address, "real server"))
        check_range(self.port, 0, 65535, f"real server {self.address}", "port")
        what = f"real server {self.name}"
        parsed = ip_address(self.address)
        if parsed.is_multicast or parsed.is_unspecified or self.address == "255.255.255.255":
            raise UsageError(
                f"{what}: the kernel takes unicast addresses only; give the server's own address"
            )
        check_range(self.weight, 0, WEIGHT_MAX, what, "weight")
        check_range(self.upper_threshold, 0, THRESHOLD_MAX, what, "upper threshold")
        check_range(self.lower_threshold, 0, THRESHOLD_MAX, what, "lower threshold")
        if self.lower_threshold > self.upper_threshold:
            raise UsageError(
                f"{what}: lower threshold {self.lower_threshold} is above upper threshold"
                f" {self.upper_threshold}; the kernel refuses that; raise the upper one"
            )
        self._check_tunnel(what)

    def _check_tunnel(self, what: str) -> None:
        """The rules of `tunnel_types_v_options` in ipvsadm.c."""
        plain = (
            self.tun_type is TunnelType.IPIP and self.tun_csum is TunnelChecksum.NOCSUM and self.tun_port == 0
        )
        if self.forwarding is not PacketForwarding.TUN and not plain:
            raise UsageError(
                f"{what}: tunnel options go with forwarding Tunnel, not {self.forwarding.value}; drop one of"
                " them"
            )
        if self.tun_type is TunnelType.GUE:
            check_range(self.tun_port, 1, 65535, what, "tunnel port")
        elif self.tun_port != 0:
            raise UsageError(
                f"{what}: tunnel type {self.tun_type.value} has no port; drop tunnel port {self.tun_port}"
            )
        if self.tun_csum is not TunnelChecksum.NOCSUM and self.tun_type is TunnelType.IPIP:
            raise UsageError(
                f"{what}: tunnel type ipip has no checksum; drop {self.tun_csum.value} or choose gue or gre"
            )
        if self.tun_csum is TunnelChecksum.REMCSUM and self.tun_type is not TunnelType.GUE:
            raise UsageError(
                f"{what}: remcsum exists in tunnel type gue only, not in {self.tun_type.value}; choose csum"
            )

    @property
    def endpoint(self) -> Endpoint:
        """Address and port."""
        return Endpoint(self.address, self.port)

    @property
    def name(self) -> str:
        """What `ipvsadm -L -n` calls it: `10.0.1.11:80`."""
        return str(self.endpoint)

    @property
    def options(self) -> tuple[str, ...]:
        """The options after `-r ADDRESS:PORT`, in the order of `ipvsadm -S`, then the thresholds,
        which `ipvsadm -S` forgets.
        """
        words = [self.forwarding.option, "-w", str(self.weight)]
        if self.forwarding is PacketForwarding.TUN:
            words += ["--tun-type", self.tun_type.value]
            if self.tun_type is TunnelType.GUE:
                words += ["--tun-port", str(self.tun_port)]
            if self.tun_type is not TunnelType.IPIP:
                words.append(self.tun_csum.option)
        if self.upper_threshold:
            words += ["-x", str(self.upper_threshold)]
        if self.lower_threshold:
            words += ["-y", str(self.lower_threshold)]
        return tuple(words)


@dataclass(frozen=True)
class VirtualService:
    """A virtual service with its real servers, as `ipvsadm -A` and `-a` make them.

    Attributes:
        protocol: tcp, udp and sctp services have an address and a port, fwmark services a mark.
        address: VIP, IPv4 or IPv6.
        port: 0 is every port; only a persistent service may have it.
        fwmark: firewall mark, 1..4294967295; 0 in services with an address.
        ipv6: with a mark only: the service takes IPv6 packets (`-6`).
        scheduler: how new connections are spread; ipvsadm's default is wlc.
        scheduler_flags: `-b`; kept in ipvsadm's order, each once.
        persistence_timeout: seconds for which a client stays with its real server (`-p`); 0 is not
            persistent.
        persistence_netmask: how clients are grouped (`-M`): dotted mask in IPv4, prefix length in
            IPv6; "" is each for itself.
        persistence_engine: `--pe`; "sip" groups by the Call-ID instead of the client's address.
        ops: one-packet scheduling (`-o`): every UDP packet is scheduled anew.
        real_servers: may be empty: such a service refuses its connections.

    Raises:
        UsageError: a value or a combination that ipvsadm or the kernel would refuse, or would
            silently change.
    """

    protocol: Protocol
    address: str = ""
    port: int = 0
    _: KW_ONLY
    fwmark: int = 0
    ipv6: bool = False
    scheduler: Scheduler = Scheduler.WLC
    scheduler_flags: tuple[SchedulerFlag, ...] = ()
    persistence_timeout: int = 0
    persistence_netmask: str = ""
    persistence_engine: str = ""
    ops: bool = False
    real_servers: tuple[RealServer, ...] = ()

    def __post_init__(self) -> None:
        self._check_identity()
        what = f"virtual service {self.name}"
        flags = tuple(flag for flag in SchedulerFlag if flag in self.scheduler_flags)
        object.__setattr__(self, "scheduler_flags", flags)
        for flag in flags:
            _check_flag(flag, self.scheduler, what)
        self._check_persistence(what)
        if self.ops and self.protocol not in (Protocol.UDP, Protocol.FWMARK):
            raise UsageError(f"{what}: one-packet scheduling is for UDP and firewall-mark services; drop ops")
        object.__setattr__(self, "real_servers", tuple(self.real_servers))
        seen: set[str] = set()
        for server in self.real_servers:
            if server.name in seen:
                raise UsageError(f"{what}: real server {server.name} is there twice; drop one")
            seen.add(server.name)
            check_fit(self, server)

    def _check_identity(self) -> None:
        if self.protocol is Protocol.FWMARK:
            if self.address or self.port:
                raise UsageError(
                    f"virtual service FWM {self.fwmark}: a firewall mark has no address and no port; drop"
                    " them"
                )
            check_range(self.fwmark, 1, 2**32 - 1, "virtual service by firewall mark", "mark")
            return
        label = self.protocol.label
        object.__setattr__(self, "address", numeric_address(self.address, f"virtual service {label}"))
        check_range(self.port, 0, 65535, f"virtual service {label} {self.address}", "port")
        if self.fwmark:
            raise UsageError(
                f"virtual service {self.name}: {label} and firewall mark {self.fwmark} exclude each other;"
                " drop one"
            )
        if self.ipv6:
            raise UsageError(
                f"virtual service {self.name}: ipv6 goes with a firewall mark only; the address tells the"
                " family"
            )

    def _check_persistence(self, what: str) -> None:
        check_range(self.persistence_timeout, 0, TIMEOUT_MAX, what, "persistence timeout")
        if self.protocol is not Protocol.FWMARK and self.port == 0 and not self.persistence_timeout:
            raise UsageError(
                f"{what}: port 0 (every port) needs persistence; give a port or a persistence timeout"
            )
        if self.persistence_engine and self.persistence_engine not in PERSISTENCE_ENGINES:
            raise UsageError(
                f"{what}: persistence engine '{self.persistence_engine}' is unknown; the kernel has sip"
            )
        if not self.persistence_netmask:
            return
        if not self.persistence_timeout:
            raise UsageError(
                f"{what}: persistence netmask {self.persistence_netmask} without persistence; give a"
                " timeout too"
            )
        mask = (
            prefix_length(self.persistence_netmask, what)
            if self.is_ipv6
            else dotted_mask(self.persistence_netmask, what)
        )
        object.__setattr__(self, "persistence_netmask", "" if mask in ("128", "255.255.255.255") else mask)

    @property
    def is_ipv6(self) -> bool:
        """Whether the service takes IPv6 packets."""
        return self.ipv6 or ":" in self.address

    @property
    def name(self) -> str:
        """What `ipvsadm -L -n` calls it, with single spaces: `TCP 10.0.0.10:80`, `FWM 1`,
        `FWM 1 IPv6`.
        """
        if self.protocol is Protocol.FWMARK:
            return f"FWM {self.fwmark} IPv6" if self.ipv6 else f"FWM {self.fwmark}"
        return f"{self.protocol.label} {Endpoint(self.address, self.port)}"

    @property
    def selector(self) -> tuple[str, ...]:
        """The arguments that name the service: `-t 10.0.0.10:80`, `-f 1 -6`."""
        if self.protocol is Protocol.FWMARK:
            return ("-f", str(self.fwmark), "-6") if self.ipv6 else ("-f", str(self.fwmark))
        return (self.protocol.option, str(Endpoint(self.address, self.port)))

    @property
    def options(self) -> tuple[str, ...]:
        """The arguments after the selector, in the order of `ipvsadm -S`."""
        words = ["-s", self.scheduler.value]
        if self.persistence_timeout:
            words += ["-p", str(self.persistence_timeout)]
            if self.persistence_netmask:
                words += ["-M", self.persistence_netmask]
        if self.persistence_engine:
            words += ["--pe", self.persistence_engine]
        if self.ops:
            words.append("-o")
        if self.scheduler_flags:
            words += ["-b", ",".join(flag.value for flag in self.scheduler_flags)]
        return tuple(words)

    @property
    def required_modules(self) -> tuple[str, ...]:
        """The kernel modules that the service needs, `ip_vs` first."""
        return required_modules((self,))


def required_modules(services: Iterable[VirtualService]) -> tuple[str, ...]:
    """The kernel modules that a table needs: `ip_vs`, then its schedulers and persistence engines
    by name.

    The encapsulations of tunnel mode are part of ip_vs itself; a real server's side (`ipip`, `fou`,
    `ip_gre`) is not counted.
    """
    modules: set[str] = set()
    for service in services:
        modules.add(service.scheduler.module)
        if service.persistence_engine:
            modules.add(f"ip_vs_pe_{service.persistence_engine}")
    return ("ip_vs", *sorted(modules))


def unsigned_mark(mark: int) -> int:
    """A firewall mark as ipvsadm prints it, made positive: it prints those above 2147483647 with
    %d, as negative numbers.
    """
    return mark + 2**32 if -(2**31) <= mark < 0 else mark


def check_fit(service: VirtualService, server: RealServer) -> None:
    """What holds between a service and each of its real servers."""
    what = f"virtual service {service.name}: real server {server.name}"
    tunnel = server.forwarding is PacketForwarding.TUN
    if server.endpoint.ipv6 != service.is_ipv6 and not tunnel:
        raise UsageError(
            f"{what} is of the other address family; only Tunnel crosses families; change one of them"
        )
    masquerading = server.forwarding is PacketForwarding.MASQ
    if service.protocol is not Protocol.FWMARK and not masquerading and server.port != service.port:
        raise UsageError(
            f"{what} cannot have a port of its own with forwarding {server.forwarding.value}; use port"
            f" {service.port} or Masq"
        )


def _check_flag(flag: SchedulerFlag, scheduler: Scheduler, what: str) -> None:
    word = scheduler.value
    if flag.scheduler is None and scheduler in (Scheduler.SH, Scheduler.MH):
        raise UsageError(
            f"{what}: scheduler {word} names its flags {word}-fallback and {word}-port; write one of them,"
            f" not {flag.value}"
        )
    if flag.scheduler not in (None, scheduler):
        raise UsageError(
            f"{what}: flag {flag.value} is not one of scheduler {word}; drop it or change the scheduler"
        )
