"""mon: a scheduler that starts a monitor program for each check and an alert program for each
change, as in the LVS-HOWTO.

In: virtual services and settings. Out: texts. Facts are from mon(8) and the source of mon 1.3.6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from lvslab.control.base import (
    CHECK_SCRIPT,
    Check,
    ControlFile,
    HealthControl,
    HealthSettings,
    check_script,
    checked,
    whole_seconds,
)
from lvslab.host.scripts import guest_file
from lvslab.ipvs.service import RealServer, VirtualService
from lvslab.runs.words import plural

CONFIGURATION = "mon.cf"
_ALERT = "ipvs.alert"
_MONITOR = "check.monitor"
_MONITORS = "/usr/lib/mon/mon.d"

_TICK = 1.0
"""Seconds between two looks of mon's scheduler (`$SLEEPINT`); it starts monitors and notices their
ends only then.
"""

_START_SECONDS = 1.0
"""Allowance for starting a monitor in Perl (0.3 s in a guest) and the alert with its ipvsadm (0.2
s).
"""


class Mon(HealthControl):
    """mon with its own monitors, and an alert that edits the table by ipvsadm."""

    name = "mon"
    summary = "a scheduler starts one program for each check, and an alert script calls ipvsadm (mon)"
    programs = ("mon",)
    builds_table = False

    def files(
        self, services: Sequence[VirtualService], settings: HealthSettings, directory: PurePath
    ) -> Mapping[str, ControlFile]:
        self._require(services, settings)
        files = {
            CONFIGURATION: ControlFile(_configuration(services, settings, directory)),
            # mon does not start without one; nobody may command it.
            "auth.cf": ControlFile("command section\n"),
            _ALERT: ControlFile(guest_file("lvslab.control", _ALERT), executable=True),
        }
        if settings.check == Check.MISC:
            files[CHECK_SCRIPT] = check_script(settings)
            files[_MONITOR] = ControlFile(
                "#!/bin/sh\n"
                "# called by mon: PORT HOST. mon takes the first line of what a failing monitor says for its"
                " summary.\n"
                f'{directory}/{CHECK_SCRIPT} "$2" "$1" || {{ echo "$2"; exit 1; }}\n',
                executable=True,
            )
        return files

    def command(self, directory: PurePath) -> str:
        """In the foreground, telling on standard error what it does (`-d`); its own messages go to
        syslog, which a node has not.
        """
        return f"exec mon -d -c {directory}/{CONFIGURATION}"

    def ready(self, services: Sequence[VirtualService], settings: HealthSettings) -> tuple[str, ...]:
        """Each monitor has run once."""
        pairs = checked(services, settings)
        return tuple(
            rf"PID \d+ \({re.escape(_group(server))}/{_service(service)}\) exited"
            for service, server in pairs
        )

    def bound(self, settings: HealthSettings) -> tuple[float, str]:
        """A monitor's end is noticed at a tick; then the timer counts `interval` down, one tick
        after the other, and one tick later the next monitor starts. It counts anew from `interval`
        when the tick came too late for the time that was planned (`reset_timer`).
        """
        interval, timeout, retries = settings.interval, settings.timeout, settings.retries
        seconds = _TICK + retries * (interval + _TICK + timeout + _TICK) + _START_SECONDS
        return (
            seconds,
            (
                f"tick {_TICK:g} s + {plural(retries, 'failure')} × (interval {interval:g} s +"
                f" tick {_TICK:g} s + timeout {timeout:g} s + tick {_TICK:g} s)"
                f" + {_START_SECONDS:g} s to start programs"
            ),
        )

    def _refuse(self, services: Sequence[VirtualService], settings: HealthSettings) -> str | None:
        if settings.sorry:
            return "mon has no sorry server; choose ldirectord or keepalived"
        if settings.quorum != 1:
            return "mon has no quorum; leave it at 1, or choose keepalived"
        if any(service.is_ipv6 for service, _ in checked(services, settings)):
            return "mon's monitors know IPv4 only; choose keepalived"
        return whole_seconds("mon", settings)


def _group(server: RealServer) -> str:
    """mon's host group: one for each real server, so that one server's failure is its own event."""
    return server.address


def _service(service: VirtualService) -> str:
    return f"{service.protocol}-{service.port}"


def _configuration(services: Sequence[VirtualService], settings: HealthSettings, directory: PurePath) -> str:
    by_address: dict[str, list[tuple[VirtualService, RealServer]]] = {}
    for service, server in checked(services, settings):
        by_address.setdefault(server.address, []).append((service, server))
    lines = [
        f"cfbasedir = {directory}",
        f"authfile = {directory}/auth.cf",
        f"mondir = {directory}:{_MONITORS}",
        f"alertdir = {directory}",
        f"statedir = {directory}",
        f"logdir = {directory}",
        f"pidfile = {directory}/mon.pid",
        "serverbind = 127.0.0.1",
        "trapbind = 127.0.0.1",
        "",
        *(f"hostgroup {address} {address}\n" for address in by_address),
    ]
    for address, pairs in by_address.items():
        lines.append(f"watch {address}")
        for service, server in pairs:
            down, up = _commands(service, server, settings)
            lines += [
                f"    service {_service(service)}",
                f"        interval {settings.interval:g}s",
                f"        monitor {_monitor(server, settings)}",
                "        period wd {Sun-Sat}",
                f"            alert {_ALERT} -- {down}",
                f"            upalert {_ALERT} -- {up}",
                f"            alertafter {settings.retries}",
                "            numalerts 1",
            ]
        lines.append("")
    return "\n".join(lines)


def _monitor(server: RealServer, settings: HealthSettings) -> str:
    """mon appends the host."""
    return {
        Check.TCP: f"tcp.monitor -p {server.port} -t {settings.timeout:g}",
        Check.HTTP: f"http.monitor -p {server.port} -t {settings.timeout:g}",
        Check.MISC: f"{_MONITOR} {server.port}",
    }[settings.check]


def _commands(service: VirtualService, server: RealServer, settings: HealthSettings) -> tuple[str, str]:
    """What ipvsadm is told when the server has failed, and when it is well again."""
    where = [*service.selector, "-r", server.name]
    well = [*where, *server.options]
    if settings.quiescent:
        quiet = replace(server, weight=0)
        return " ".join(["-e", *where, *quiet.options]), " ".join(["-e", *well])
    return " ".join(["-d", *where]), " ".join(["-a", *well])
