"""ldirectord: a Perl program that checks the real servers one after the other and changes the table
by calling ipvsadm.

In: virtual services and settings. Out: texts. Facts are from ldirectord(8) and the source of
ldirectord 4.12.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    whole_seconds,
)
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.ipvs.tunnels import TunnelType
from lvslab.runs.words import plural

CONFIGURATION = "ldirectord.cf"
_EXTERNAL = "check.external"
_METHOD = {PacketForwarding.DR: "gate", PacketForwarding.TUN: "ipip", PacketForwarding.MASQ: "masq"}
_CHECKTYPE = {Check.TCP: "connect", Check.HTTP: "negotiate", Check.MISC: "external"}

_CALLS_SECONDS = 1.0
"""Allowance for the programs that a change costs in a guest: `ipvsadm -L` twice and the change
itself.
"""

_SCRIPT_SECONDS = 1.0
"""Allowance for the scripts of `Check.MISC`: 0.4 s each in a guest, and the other servers' come
first.
"""


class Ldirectord(HealthControl):
    """ldirectord."""

    name = "ldirectord"
    summary = "a Perl program checks the real servers one after the other and calls ipvsadm (ldirectord)"
    programs = ("ldirectord",)
    builds_table = True

    def files(
        self, services: Sequence[VirtualService], settings: HealthSettings, directory: PurePath
    ) -> Mapping[str, ControlFile]:
        self._require(services, settings)
        head = [
            f"checkinterval = {settings.interval:g}",
            f"checktimeout = {settings.timeout:g}",
            f"negotiatetimeout = {settings.timeout:g}",
            f"failurecount = {settings.retries}",
            f"quiescent = {'yes' if settings.quiescent else 'no'}",
            "# a quiescent server that is not in the table is put there with weight 0",
            f"readdquiescent = {'yes' if settings.quiescent else 'no'}",
            "# the table stays when ldirectord ends",
            "cleanstop = no",
            "autoreload = no",
            "fork = no",
            f'logfile = "{directory}/ldirectord.log"',
        ]
        blocks = ["\n".join(head) + "\n", *(_virtual(service, settings, directory) for service in services)]
        files = {CONFIGURATION: ControlFile("\n".join(blocks))}
        if settings.check == Check.MISC:
            files[CHECK_SCRIPT] = check_script(settings)
            files[_EXTERNAL] = ControlFile(
                "#!/bin/sh\n"
                "# called by ldirectord: VIRTUAL-ADDRESS VIRTUAL-PORT REAL-ADDRESS REAL-PORT\n"
                f'exec {directory}/{CHECK_SCRIPT} "$3" "$4"\n',
                executable=True,
            )
        return files

    def command(self, directory: PurePath) -> str:
        """In the foreground with messages on standard error, which `--debug` means.

        `supervised` would do it too, but Perl keeps what goes to a pipe until it has 8 KB. Without
        PERLIO in the environment ldirectord starts itself anew with it.
        """
        return f"cd {directory} && PERLIO=perlio exec ldirectord --debug {directory}/{CONFIGURATION} start"

    def ready(self, services: Sequence[VirtualService], settings: HealthSettings) -> tuple[str, ...]:
        """Each check has ended, and each server without a check was put into the table.

        At its start ldirectord adds a server and takes it out again at once, to add it anew at the
        first check: its second addition counts.
        """
        lines = [f"DEBUG[23]: {_said(server, settings)}" for _, server in checked(services, settings)]
        for service in services:
            if not settings.checks(service):
                protocol = "fwm" if service.protocol == Protocol.FWMARK else service.protocol
                lines += [
                    f"Enabled  real server=on:.*{protocol}:{re.escape(each.name)}:"
                    for each in service.real_servers
                ] * 2
        return tuple(lines)

    def bound(self, settings: HealthSettings) -> tuple[float, str]:
        """All servers are checked one after the other, then `sleep checkinterval`; healthy ones
        cost little of that time.
        """
        interval, timeout, retries = settings.interval, settings.timeout, settings.retries
        programs = _CALLS_SECONDS + (retries * _SCRIPT_SECONDS if settings.check == Check.MISC else 0.0)
        return (
            retries * (interval + timeout) + programs,
            (
                f"{plural(retries, 'failure')} × (checkinterval {interval:g} s + checktimeout {timeout:g} s)"
                f" + {programs:g} s to start programs"
            ),
        )

    def _refuse(self, services: Sequence[VirtualService], settings: HealthSettings) -> str | None:
        if settings.quorum != 1:
            return "ldirectord has no quorum; leave it at 1, or choose keepalived"
        for service in services:
            if service.protocol == Protocol.SCTP:
                return (
                    f"virtual service {service.name}: ldirectord knows TCP, UDP and firewall marks only;"
                    " choose keepalived"
                )
            if service.is_ipv6:
                return (
                    f"virtual service {service.name}: only IPv4 is generated for ldirectord; choose"
                    " keepalived"
                )
            if service.persistence_engine:
                return (
                    f"virtual service {service.name}: ldirectord has no persistence engines; choose"
                    " keepalived"
                )
            if any(server.tun_type is not TunnelType.IPIP for server in service.real_servers):
                return f"virtual service {service.name}: ldirectord tunnels with ipip only; choose keepalived"
        return whole_seconds("ldirectord", settings)


def _said(server: RealServer, settings: HealthSettings) -> str:
    """What ldirectord says of a check's end."""
    if settings.check == Check.HTTP:
        return re.escape(f"check_http: http://{server.name}/ is ") + "(up|down)"
    return f"(Activated|Deactivated) service {re.escape(server.name)}"


def _virtual(service: VirtualService, settings: HealthSettings, directory: PurePath) -> str:
    fwmark = service.protocol == Protocol.FWMARK
    lines = [
        f"real={server.name} {_METHOD[server.forwarding]} {server.weight}{_thresholds(server)}"
        for server in service.real_servers
    ]
    if settings.checks(service):
        lines.append(f"checktype={_CHECKTYPE[settings.check]}")
        lines.append("service=http" if settings.check == Check.HTTP else "service=none")
        lines += ['request="/"'] if settings.check == Check.HTTP else []
        lines += [f'checkcommand="{directory}/{_EXTERNAL}"'] if settings.check == Check.MISC else []
        if settings.sorry:
            sorry = sorry_server(service, settings.sorry)
            lines.append(f"fallback={sorry.name} {_METHOD[sorry.forwarding]}")
    else:
        lines += ["service=none", "checktype=on"]
    lines.append(f"scheduler={service.scheduler}")
    lines += [f"schedflags={','.join(service.scheduler_flags)}"] if service.scheduler_flags else []
    lines += [f"persistent={service.persistence_timeout}"] if service.persistence_timeout else []
    lines += [f"netmask={service.persistence_netmask}"] if service.persistence_netmask else []
    lines += [] if fwmark else [f"protocol={service.protocol}"]
    lines += ["ops=yes"] if service.ops else []
    head = f"virtual={service.fwmark}" if fwmark else f"virtual={service.address}:{service.port}"
    return "\n".join([head, *(f"    {line}" for line in lines)]) + "\n"


def _thresholds(server: RealServer) -> str:
    lower = f" l:{server.lower_threshold}" if server.lower_threshold else ""
    return lower + (f" u:{server.upper_threshold}" if server.upper_threshold else "")
