"""The real ipvsadm in a node: put a table in, read it back, read its counters, rates and
connections (`lvslab.ipvs.listings`).

Every method costs one command in the node, because a fork is slow in a guest kernel.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol as Interface

from lvslab.errors import CommandError, LabError, UsageError
from lvslab.host.completed import Completed
from lvslab.ipvs.listings import (
    Connection,
    ServiceRates,
    ServiceStats,
    Timeouts,
    parse_connections,
    parse_rates,
    parse_stats,
    parse_thresholds,
    parse_timeouts,
)
from lvslab.ipvs.rules import format_rules, parse_rules
from lvslab.ipvs.service import TIMEOUT_MAX, RealServer, VirtualService

_SPLIT = "==== lvslab ===="
"""Stands between the outputs of two commands of one script; ipvsadm never prints it."""


class Runner(Interface):
    """A node that can run a script."""

    @property
    def name(self) -> str:
        """The node's name, for messages."""

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script to its end, for at most `timeout` seconds."""


class Ipvsadm:
    """ipvsadm in one node.

    Each method raises CommandError, with what ipvsadm said, when the command failed, and LabError
    when ipvsadm printed something that lvslab does not know.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def restore(self, services: Iterable[VirtualService]) -> None:
        """Add services with their real servers to the table by one `ipvsadm -R`, and make sure that
        they are in it.

        What the table held before stays; `clear` first for a table that holds nothing else.
        `ipvsadm -R` goes on after a rule that the kernel refuses and exits with the status of the
        last rule alone, so its status proves nothing: standard error must be empty and the table,
        read back by the same script, must contain every rule.

        Raises:
            UsageError: a service is there twice.
            CommandError: a rule was refused; the first one that is missing is named. Rules before
                and after it may be in.
        """
        wanted = tuple(services)
        rules = format_rules(wanted)
        if not rules:
            return
        completed = self._runner.run(
            f"ipvsadm -R <<'RULES'\n{rules}RULES\ncode=$?\necho '{_SPLIT}'\nipvsadm -S -n\nexit $code\n"
        )
        said, _, table = completed.out.partition(f"{_SPLIT}\n")
        complaint = "; ".join(line.strip() for line in (said + completed.err).splitlines() if line.strip())
        missing = _missing(wanted, self._parse(table))
        if completed.code == 0 and not complaint and not missing:
            return
        first = (
            f"first rule that is not in the table: {missing[0]}" if missing else "all rules are in the table"
        )
        raise CommandError(
            self._runner.name, "ipvsadm -R", completed.code, f"{complaint or 'no message'} ({first})"
        )

    def save(self) -> tuple[VirtualService, ...]:
        """The whole table, in ipvsadm's order. Thresholds come from `-L --thresholds`, because
        `ipvsadm -S` leaves them out.
        """
        out = self._run_script(
            f"ipvsadm -S -n && echo '{_SPLIT}' && ipvsadm -L -n --thresholds", "ipvsadm -S -n"
        )
        rules, _, listing = out.partition(f"{_SPLIT}\n")
        thresholds = parse_thresholds(listing)
        return tuple(_with_thresholds(service, thresholds) for service in self._parse(rules))

    def clear(self) -> None:
        """Remove all services (`-C`). Connection entries stay until they expire."""
        self._run("-C")

    def add_service(self, service: VirtualService) -> None:
        """Add a service with its real servers."""
        self.restore((service,))

    def edit_service(self, service: VirtualService) -> None:
        """Make a service's options exactly those given (`-E`), resetting what is left out. Real
        servers stay.
        """
        self._run("-E", *service.selector, *service.options)

    def delete_service(self, service: VirtualService) -> None:
        """Remove a service with its real servers (`-D`)."""
        self._run("-D", *service.selector)

    def add_server(self, service: VirtualService, server: RealServer) -> None:
        """Add a real server (`-a`)."""
        self._run("-a", *_checked(service, server).selector, "-r", server.name, *server.options)

    def edit_server(self, service: VirtualService, server: RealServer) -> None:
        """Make a real server's options exactly those given (`-e`): weight, forwarding, thresholds,
        tunnel; its address stays.
        """
        self._run("-e", *_checked(service, server).selector, "-r", server.name, *server.options)

    def delete_server(self, service: VirtualService, server: RealServer) -> None:
        """Remove a real server (`-d`). Its connections' entries stay, their packets are dropped."""
        self._run("-d", *service.selector, "-r", server.name)

    def zero(self, service: VirtualService | None = None) -> None:
        """Set counters and rates to zero (`-Z`), of one service or of all."""
        self._run("-Z", *(service.selector if service else ()))

    def set_timeouts(self, tcp: int = 0, tcpfin: int = 0, udp: int = 0) -> None:
        """Set the lifetimes of idle connection entries in seconds (`--set`); 0 leaves one as it is.

        Raises:
            UsageError: a value is outside 0..2678400, 31 days.
        """
        for name, value in (("tcp", tcp), ("tcpfin", tcpfin), ("udp", udp)):
            if not 0 <= value <= TIMEOUT_MAX:
                raise UsageError(
                    f"{self._runner.name}: {name} timeout {value} s is outside 0..{TIMEOUT_MAX}; choose one"
                    " inside"
                )
        self._run("--set", str(tcp), str(tcpfin), str(udp))

    def timeouts(self) -> Timeouts:
        """The lifetimes of idle connection entries."""
        return parse_timeouts(self._run("-L", "-n", "--timeout"))

    def list_stats(self) -> tuple[ServiceStats, ...]:
        """Counters of all services and real servers."""
        return parse_stats(self._run("-L", "-n", "--stats", "--exact"))

    def list_rates(self) -> tuple[ServiceRates, ...]:
        """Rates of all services and real servers."""
        return parse_rates(self._run("-L", "-n", "--rate", "--exact"))

    def list_connections(self) -> tuple[Connection, ...]:
        """The connection table, templates included."""
        return parse_connections(self._run("-L", "-n", "-c", "--persistent-conn"))

    def _run(self, *arguments: str) -> str:
        command = shlex.join(("ipvsadm", *arguments))
        return self._run_script(command, command)

    def _run_script(self, script: str, shown: str) -> str:
        return self._runner.run(script).check(self._runner.name, shown)

    def _parse(self, rules: str) -> tuple[VirtualService, ...]:
        """Rules that ipvsadm printed: what lvslab cannot read there is no mistake of the user's."""
        try:
            return parse_rules(rules)
        except UsageError as error:
            raise LabError(
                f"{self._runner.name}: 'ipvsadm -S -n' printed what lvslab cannot describe: {error}"
            ) from error


def _checked(service: VirtualService, server: RealServer) -> VirtualService:
    """The service with this real server alone: raises UsageError when the two do not fit."""
    return replace(service, real_servers=(server,))


def _missing(wanted: Iterable[VirtualService], table: Iterable[VirtualService]) -> list[str]:
    """The rules of `wanted` that the table lacks; thresholds are not compared, `ipvsadm -S` does
    not print them.
    """
    found = set(format_rules(table).splitlines())
    return [
        line
        for line in format_rules(_with_thresholds(service, {}) for service in wanted).splitlines()
        if line not in found
    ]


def _with_thresholds(
    service: VirtualService, thresholds: Mapping[tuple[str, str], tuple[int, int]]
) -> VirtualService:
    servers = []
    for server in service.real_servers:
        upper, lower = thresholds.get((service.name, server.name), (0, 0))
        servers.append(replace(server, upper_threshold=upper, lower_threshold=lower))
    return replace(service, real_servers=tuple(servers))
