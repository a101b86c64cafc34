"""keepalived: checkers that keep the table of virtual services, and VRRP for a pair of directors;
one keepalived.conf for both.

In: virtual services and settings. Out: texts. Facts are from keepalived.conf(5) and the sources of
keepalived 2.2.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lvslab.control.base import (
    CHECK_SCRIPT,
    Check,
    ControlFile,
    HealthControl,
    HealthSettings,
    check_script,
    checked,
    sorry_server,
)
from lvslab.errors import UsageError
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from lvslab.runs.words import plural

CONFIGURATION = "keepalived.conf"

ADDRESSES_MAX = 20
"""Addresses that an advertisement names at most; keepalived takes more as "excluded" ones, which
move all the same.
"""

_EVENT = re.compile(r"\((\S+)\) Entering (MASTER|BACKUP|FAULT) STATE")


@dataclass(frozen=True)
class SyncDaemon:
    """IPVS connection sync, which keepalived starts as master or backup along with VRRP's state.

    Attributes:
        interface: where the multicast packets go.
        id: 0..255, the same in both directors.
    """

    interface: str
    id: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.id <= 255:
            raise UsageError(f"connection sync: id {self.id} is outside 0..255; choose one inside")


@dataclass(frozen=True, kw_only=True)
class Vrrp:
    """VRRP of one director of a pair. All addresses move together.

    Attributes:
        priority: 1..254; the higher one becomes master.
        outer, inner: interface towards the clients, and towards the real servers; may be the same.
        outer_addresses, inner_addresses: with prefix length, for example the VIP, and the real
            servers' gateway.
        advert: seconds between two advertisements, in steps of 0.01.
        preempt: the director with the higher priority takes the addresses back when it returns.
        router_ids: VRRP's numbers of the outer and of the inner addresses, 1..255.
        sync: connection sync, or None.
        garp_refresh: seconds after which a master repeats its gratuitous ARP, 0: never
            (vrrp_garp_master_refresh).

    Raises:
        UsageError: a value that VRRP version 3 does not have.
    """

    priority: int
    outer: str
    inner: str
    outer_addresses: tuple[str, ...]
    inner_addresses: tuple[str, ...] = ()
    advert: float = 1.0
    preempt: bool = False
    router_ids: tuple[int, int] = (51, 52)
    sync: SyncDaemon | None = None
    garp_refresh: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.garp_refresh <= 3600:
            raise UsageError(
                f"VRRP: garp_refresh {self.garp_refresh} s is outside 0..3600; choose one inside"
            )
        if not 1 <= self.priority <= 254:
            raise UsageError(f"VRRP: priority {self.priority} is outside 1..254; choose one inside")
        if not 0.01 <= self.advert <= 40.95 or round(self.advert * 100, 6) % 1:
            raise UsageError(
                f"VRRP: advert {self.advert:g} s: version 3 takes 0.01 to 40.95 s in steps of 0.01 (RFC 5798,"
                " 5.2.7)"
            )
        if not all(1 <= each <= 255 for each in self.router_ids) or self.router_ids[0] == self.router_ids[1]:
            raise UsageError(f"VRRP: router ids {self.router_ids}: give two different ones of 1..255")
        if not self.outer_addresses:
            raise UsageError("VRRP: there is no outer address to move; give the virtual address")

    @property
    def instances(self) -> tuple[VrrpInstance, ...]:
        """One for each interface with addresses; the first is the outer one."""
        outer_id, inner_id = self.router_ids
        if self.outer == self.inner:
            return (
                VrrpInstance("outer", self.outer, outer_id, (*self.outer_addresses, *self.inner_addresses)),
            )
        outer = VrrpInstance("outer", self.outer, outer_id, self.outer_addresses)
        if not self.inner_addresses:
            return (outer,)
        return (outer, VrrpInstance("inner", self.inner, inner_id, self.inner_addresses))

    @property
    def skew(self) -> float:
        """Skew_Time of RFC 5798, 6.1, in seconds: by so much longer than one of priority 256 this
        director waits for the master.
        """
        return (256 - self.priority) / 256 * self.advert

    @property
    def bound(self) -> tuple[float, str]:
        """The longest time from the master's death to this director's becoming master, and how it
        comes about.

        Master_Down_Interval of RFC 5798, 6.1; keepalived counts the same (VRRP_MS_DOWN_TIMER and
        VRRP_TIMER_SKEW in vrrp.h). The last advertisement leaves right before the death at the
        latest.
        """
        formula = f"3 × advert {self.advert:g} s + skew (256 − {self.priority}) / 256 × advert"
        return 3 * self.advert + self.skew, formula


@dataclass(frozen=True)
class VrrpInstance:
    """A virtual router: its name in keepalived's messages, interface, number, and addresses."""

    name: str
    interface: str
    router_id: int
    addresses: tuple[str, ...]


class Keepalived(HealthControl):
    """keepalived's checkers."""

    name = "keepalived"
    summary = "one process checks all real servers by itself and keeps the table (keepalived, checkers)"
    programs = ("keepalived",)
    builds_table = True

    def files(
        self, services: Sequence[VirtualService], settings: HealthSettings, directory: PurePath
    ) -> Mapping[str, ControlFile]:
        self._require(services, settings)
        return keepalived_files(directory, services=services, settings=settings)

    def command(self, directory: PurePath) -> str:
        return keepalived_command(directory)

    def ready(self, services: Sequence[VirtualService], settings: HealthSettings) -> tuple[str, ...]:
        """Each checker says how its first check went (a server is up until a check fails, so the
        table is complete before).
        """
        lines = []
        for _, server in checked(services, settings):
            where = re.escape(f"[{server.address}]")
            port = server.port
            if settings.check == Check.TCP:
                lines.append(
                    rf"TCP connection to {where}:tcp:{port} (success|failed|timeout)|Check on service"
                    rf" {where}:tcp:{port} "
                )
            elif settings.check == Check.HTTP:
                lines.append(rf"(HTTP|Remote|Error|Timeout|Check).*{where}:tcp:{port}")
            else:
                lines.append(rf"Misc check for \[{where}:tcp:{port} .* (succeeded|failed|timed out)")
        return tuple(dict.fromkeys(lines))

    def bound(self, settings: HealthSettings) -> tuple[float, str]:
        """A check begins `delay_loop` after the end of the one before, a failed one is repeated
        after `delay_before_retry`.

        MISC_CHECK counts from the beginning of the check before (check_misc.c), HTTP_GET has a
        timeout for the connection and one more for the answer (check_http.c).
        """
        interval, timeout, retries = settings.interval, settings.timeout, settings.retries
        if settings.check == Check.MISC:
            seconds = retries * max(interval, timeout) + timeout
            return (
                seconds + _SCRIPT_SECONDS,
                (
                    f"{plural(retries, 'failure')} × delay_loop {max(interval, timeout):g} s +"
                    f" misc_timeout {timeout:g} s + {_SCRIPT_SECONDS:g} s to start the script"
                ),
            )
        times = 2 if settings.check == Check.HTTP else 1
        limit = f"{'2 × ' if times == 2 else ''}connect_timeout {timeout:g} s"
        return (
            retries * (interval + times * timeout),
            f"{plural(retries, 'failure')} × (delay_loop {interval:g} s + {limit})",
        )

    def _refuse(self, services: Sequence[VirtualService], settings: HealthSettings) -> str | None:
        if settings.check == Check.MISC and (
            settings.timeout != int(settings.timeout) or settings.timeout < 1
        ):
            return (
                f"misc_timeout counts in whole seconds, and timeout is {settings.timeout:g} s; choose 1,"
                " 2, … s"
            )
        for service in services:
            for server in service.real_servers:
                if (
                    service.protocol == Protocol.FWMARK
                    and server.port
                    and server.forwarding != PacketForwarding.MASQ
                ):
                    what = f"virtual service {service.name}: real server {server.name}"
                    return (
                        f"{what}: keepalived drops port {server.port} there, as {server.forwarding.value}"
                        " does; give port 0"
                    )
        return None


_SCRIPT_SECONDS = 1.0
"""Allowance for starting the check's script in a guest, where a program's start costs some 50 ms,
and curl's 250 ms.
"""


def keepalived_files(
    directory: PurePath,
    *,
    services: Sequence[VirtualService] = (),
    settings: HealthSettings | None = None,
    vrrp: Vrrp | None = None,
) -> Mapping[str, ControlFile]:
    """keepalived's folder, with checkers (`services` and `settings`), VRRP, or both.

    Args:
        directory: the folder, as the node sees it.
    """
    blocks = [_global(vrrp)]
    if vrrp is not None:
        blocks += _vrrp(vrrp)
    if settings is not None:
        blocks += [_virtual_server(service, settings, directory) for service in services]
    files = {CONFIGURATION: ControlFile("\n".join(blocks))}
    if settings is not None and settings.check == Check.MISC:
        files[CHECK_SCRIPT] = check_script(settings)
    return files


def keepalived_command(directory: PurePath) -> str:
    """keepalived in the foreground, saying everything on standard error and nothing to syslog.

    The table stays when it ends, as with the other controls; the addresses of VRRP go. The
    configuration is tested first, so that what keepalived finds in it is said before anything else.
    Status 5 (KEEPALIVED_EXIT_CONFIG_TEST) means warnings, such as a quorum above the sum of the
    weights, with which keepalived starts everywhere; 6 (…_SECURITY) only says that scripts are run
    as root.
    """
    test = f"keepalived --config-test --use-file={directory}/{CONFIGURATION}"
    options = "--dont-fork --log-console --log-detail --no-syslog --dont-release-ipvs"
    pids = (
        f"--pid={directory}/keepalived.pid --checkers_pid={directory}/checkers.pid"
        f" --vrrp_pid={directory}/vrrp.pid"
    )
    start = (
        f"exec keepalived {options} --use-file={directory}/{CONFIGURATION} {pids}"
        f" --bfd_pid={directory}/bfd.pid"
    )
    return f"{test}; case $? in 0|5|6) {start};; esac; exit 4"


def vrrp_event(line: str) -> tuple[str, str] | None:
    """The instance and its new state, "MASTER", "BACKUP" or "FAULT", if that is what the
    line says.
    """
    found = _EVENT.search(line)
    return (found[1], found[2]) if found else None


def vrrp_ready(vrrp: Vrrp) -> tuple[str, ...]:
    """Regular expressions of the lines with which each instance takes up its work."""
    return tuple(rf"\({each.name}\) Entering (MASTER|BACKUP) STATE" for each in vrrp.instances)


# -- keepalived.conf -------------------------------------------------------------------------------


def _global(vrrp: Vrrp | None) -> str:
    lines = ["script_user root"]
    if vrrp is not None:
        lines += [
            "vrrp_version 3",
            "# gratuitous ARP: five at once on becoming master, five more a second later",
            "vrrp_garp_master_repeat 5",
            "vrrp_garp_master_delay 1",
        ]
        if vrrp.garp_refresh:
            lines.append(f"vrrp_garp_master_refresh {vrrp.garp_refresh}")
        if vrrp.sync is not None:
            lines.append(f"lvs_sync_daemon {vrrp.sync.interface} {vrrp.instances[0].name} id {vrrp.sync.id}")
    return _block("global_defs", lines)


def _vrrp(vrrp: Vrrp) -> list[str]:
    blocks = []
    if len(vrrp.instances) > 1:
        blocks.append(
            _block(
                "vrrp_sync_group lvs", _block("group", (each.name for each in vrrp.instances)).splitlines()
            )
        )
    for each in vrrp.instances:
        lines = [
            "state BACKUP",
            f"interface {each.interface}",
            f"virtual_router_id {each.router_id}",
            f"priority {vrrp.priority}",
            f"advert_int {vrrp.advert:g}",
            *([] if vrrp.preempt else ["nopreempt"]),
            *_block("virtual_ipaddress", each.addresses[:ADDRESSES_MAX]).splitlines(),
        ]
        if each.addresses[ADDRESSES_MAX:]:
            lines += _block("virtual_ipaddress_excluded", each.addresses[ADDRESSES_MAX:]).splitlines()
        blocks.append(_block(f"vrrp_instance {each.name}", lines))
    return blocks


def _virtual_server(service: VirtualService, settings: HealthSettings, directory: PurePath) -> str:
    fwmark = service.protocol == Protocol.FWMARK
    lines = [f"lvs_sched {service.scheduler}"]
    lines += [f"lvs_method {_method(service.real_servers[0])}"] if service.real_servers else []
    lines += [str(flag) for flag in service.scheduler_flags]
    lines += ["ops"] if service.ops else []
    lines += (
        [f"protocol {service.protocol.upper()}"]
        if not fwmark
        else ["ip_family inet6"]
        if service.ipv6
        else []
    )
    if service.persistence_timeout:
        lines.append(f"persistence_timeout {service.persistence_timeout}")
        lines += (
            [f"persistence_granularity {service.persistence_netmask}"] if service.persistence_netmask else []
        )
        lines += [f"persistence_engine {service.persistence_engine}"] if service.persistence_engine else []
    if settings.checks(service):
        lines += [
            f"delay_loop {settings.interval:g}",
            "# the first check at once, not after a random part of delay_loop",
            "warmup 0",
            *(["inhibit_on_failure"] if settings.quiescent else []),
            f"quorum {settings.quorum}",
        ]
        if settings.sorry:
            sorry = sorry_server(service, settings.sorry)
            lines += [
                f"sorry_server {sorry.address} {sorry.port}",
                f"sorry_server_lvs_method {_method(sorry)}",
            ]
    for server in service.real_servers:
        lines += _real_server(server, settings if settings.checks(service) else None, directory).splitlines()
    name = f"fwmark {service.fwmark}" if fwmark else f"{service.address} {service.port}"
    return _block(f"virtual_server {name}", lines)


def _real_server(server: RealServer, settings: HealthSettings | None, directory: PurePath) -> str:
    lines = [f"weight {server.weight}", f"lvs_method {_method(server)}"]
    lines += [f"uthreshold {server.upper_threshold}"] if server.upper_threshold else []
    lines += [f"lthreshold {server.lower_threshold}"] if server.lower_threshold else []
    if settings is not None:
        # Here and not in virtual_server, where keepalived 2.2.7 refuses `retry 0` and takes 1.
        again = [f"retry {settings.retries - 1}", f"delay_before_retry {settings.interval:g}"]
        limit = f"connect_timeout {settings.timeout:g}"
        if settings.check == Check.TCP:
            lines += _block("TCP_CHECK", [limit, *again]).splitlines()
        elif settings.check == Check.HTTP:
            url = _block("url", ["path /", "status_code 200"]).splitlines()
            lines += _block("HTTP_GET", [*url, limit, *again]).splitlines()
        else:
            path = f'misc_path "{directory}/{CHECK_SCRIPT} {server.address} {server.port}"'
            lines += _block("MISC_CHECK", [path, f"misc_timeout {settings.timeout:g}", *again]).splitlines()
    return _block(f"real_server {server.address} {server.port}", lines)


def _method(server: RealServer) -> str:
    word = {PacketForwarding.DR: "DR", PacketForwarding.TUN: "TUN", PacketForwarding.MASQ: "NAT"}[
        server.forwarding
    ]
    if server.tun_type is TunnelType.IPIP:
        return word
    port = f" port {server.tun_port}" if server.tun_type is TunnelType.GUE else ""
    checksum = "" if server.tun_csum is TunnelChecksum.NOCSUM else f" {server.tun_csum}"
    return f"{word} type {server.tun_type}{port}{checksum}"


def _block(head: str, lines: Iterable[str]) -> str:
    return f"{head} {{\n" + "".join(f"    {line}\n" for line in lines) + "}\n"
