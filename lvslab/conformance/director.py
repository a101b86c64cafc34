"""The director under test as checks change it: its table, its kernel's parameters, its rules. All
is put back after each check.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from lvslab.conformance.addresses import NETS, PORT, ROUTER_MAC, SERVER_PORT, SERVERS, V6, server_mac
from lvslab.conformance.verdict import CheckSkipped
from lvslab.conformance.ways import upstream_version
from lvslab.errors import CommandError
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService
from lvslab.lab.worlds import AnyLab
from lvslab.modes.base import Ip, Iptables, Step, Sysctl, set_up_script, sysctl_file

_FORWARDING = {"nat": PacketForwarding.MASQ, "dr": PacketForwarding.DR, "tun": PacketForwarding.TUN}
_MARK = "----"

# Without the table's first line: its size grows by itself since 7.x.
_TABLE = """\
while read -r word rest; do [ "$word" = IP ] || echo "$word $rest"; done </proc/net/ip_vs
"""
_SYSCTLS = """\
grep -H . /proc/sys/net/ipv4/vs/* /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
"""
"""With the table, everything of the director that a check may change, as text: a program's start
more than the table, which the shell reads itself.
"""


class Director:
    """The director of a lab.

    Attributes:
        lab: with the director; what else is in it keeps silent.
    """

    def __init__(self, lab: AnyLab) -> None:
        self.lab = lab
        self._undo: list[str] = []
        self._used_rules = self._ran_scripts = False
        self._ports = itertools.count(2000, 2)
        self._marks = itertools.count(1000)
        self._baseline = ""

    def prepare(self) -> None:
        """Give it both IP versions, all neighbours, the route to the clients and an empty table,
        which is where every check begins.

        Raises:
            CommandError: a step failed.
        """
        outer, inner = (interface.name for interface in self.lab.plan.director.interfaces[:2])
        lines = [
            set_up_script(_steps(outer, inner), None),
            # User-Mode Linux's network driver says that it can send lists of fragments, and sends
            # stale memory in place of all but the first.
            f"ethtool -K {outer} tx-scatter-gather-fraglist off 2>/dev/null || true",
            f"ethtool -K {inner} tx-scatter-gather-fraglist off 2>/dev/null || true",
            # They bring sysctls of their own, which are part of the baseline.
            "modprobe -qa ip_vs_lblc ip_vs_lblcr || true",
            "ipvsadm -C",
        ]
        self.run("\n".join(lines))
        self._baseline = self.run(_TABLE + _SYSCTLS)

    def run(self, script: str) -> str:
        """Run a /bin/sh script in the director; its output.

        Raises:
            CommandError: it failed.
        """
        self._ran_scripts = True
        return self.lab.director.run(script).check(self.lab.plan.director.name, script)

    @property
    def ipvsadm(self) -> Ipvsadm:
        """ipvsadm in the director."""
        return self.lab.ipvsadm

    @cached_property
    def release(self) -> str:
        """Of the director's kernel."""
        return self.lab.director.release

    @cached_property
    def version(self) -> str:
        """The upstream version of the director's kernel: the release of Debian's stock kernels,
        such as 6.1.0-50-amd64, does not tell it.
        """
        return upstream_version(self.release, self.run("uname -v"))

    @property
    def iptables(self) -> str:
        """The director's variant of iptables.

        Raises:
            CheckSkipped: it has none.
        """
        program = self.lab.plan.iptables.get(self.lab.plan.director.name)
        if not program:
            raise CheckSkipped(f"kernel {self.release} has no iptables")
        return program

    def apply(self, script: str, undo: str) -> None:
        """Change something in the director, and say how it is put back after the check.

        Raises:
            CommandError: the change failed; nothing is to be put back then.
        """
        self.run(script)
        self._undo.append(undo)

    def sysctl(self, key: str, value: str | int) -> None:
        """Set a kernel parameter for this check, once or again; `key` with dots.

        Raises:
            CheckSkipped: this kernel does not have it.
        """
        before = self._baseline_of(key) or self.value(key)
        self.apply(Sysctl(key, value).fast(), Sysctl(key, before).fast())

    def value(self, key: str) -> str:
        """What a kernel parameter is now, its words parted by one space.

        Raises:
            CheckSkipped: this kernel does not have it.
        """
        shown = self.lab.director.run(f"cat {sysctl_file(key)}")
        if shown.code != 0:
            raise CheckSkipped(f"kernel {self.release} has no {key}")
        return " ".join(shown.out.split())

    def _baseline_of(self, key: str) -> str:
        """A parameter's value before any check, "" where `_STATE` does not have it."""
        for line in self._baseline.splitlines():
            path, _, value = line.partition(":")
            if path == sysctl_file(key):
                return " ".join(value.split())
        return ""

    def rule(self, arguments: str) -> None:
        """Add an iptables rule for this check: `arguments` as after "iptables", with -A.

        Raises:
            CheckSkipped: this kernel has no iptables.
        """
        program = self.iptables
        self._used_rules = True
        self.apply(f"{program} {arguments}", f"{program} {arguments.replace('-A ', '-D ', 1)}")

    def rules(self, *rules: str) -> None:
        """Add several iptables rules for this check by one program, whose modules are loaded
        already; each as `rule` takes it.

        Raises:
            CheckSkipped: this kernel has no iptables.
        """
        program = self.iptables
        self._used_rules = True
        gone = [each.replace("-A ", "-D ", 1) for each in reversed(rules)]
        scripts = [
            set_up_script([Step("rules", "rules of this check", tuple(map(Iptables, lines)))], program)
            for lines in (rules, gone)
        ]
        self.apply(scripts[0], f"({scripts[1]})")

    def add(self, service: VirtualService) -> VirtualService:
        """Put a service into the table.

        Raises:
            CheckSkipped: this kernel has no such scheduler or protocol.
        """
        # Without reading the table back, as Ipvsadm.restore does, which costs a program's start:
        # packets will tell.
        done = self.lab.director.run(f"ipvsadm -R <<'RULES'\n{format_rules((service,))}RULES\n")
        said = (done.out + done.err).strip()
        if done.code == 0 and not said:
            return service
        error = CommandError(self.lab.plan.director.name, "ipvsadm -R", done.code, said)
        if any(
            word in said
            for word in (
                "Scheduler or persistence engine not found",
                "Protocol not available",
                "not supported",
            )
        ):
            raise CheckSkipped(f"kernel {self.release}: {said.splitlines()[0]}")
        raise error

    def service(
        self,
        mode: str = "nat",
        *,
        protocol: Protocol = Protocol.TCP,
        scheduler: Scheduler = Scheduler.RR,
        weights: Sequence[int] = (1, 1),
        port: int = PORT,
        version: int = 4,
        server_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> VirtualService:
        """Put a service with real servers 1, 2, … into the table; it is gone after the check.

        Args:
            mode: nat, dr or tun: how packets reach the real servers. In nat their port is 8080,
                else the service's own.
            weights: one for each real server.
            server_options: further fields of every `RealServer`; options: of the `VirtualService`.
        """
        net = NETS[version]
        server_port = SERVER_PORT if mode == "nat" and port else port
        servers = tuple(
            RealServer(net.server(number), server_port, _FORWARDING[mode], weight, **(server_options or {}))
            for number, weight in enumerate(weights, start=1)
        )
        fwmark = options.get("fwmark")
        address = () if fwmark else (net.vip, port)
        if fwmark and version == 6:
            options["ipv6"] = True
        return self.add(
            VirtualService(protocol, *address, scheduler=scheduler, real_servers=servers, **options)
        )

    def port(self) -> int:
        """A port of the VIP that no service had before; the one after it stays free. Below 32768,
        where the director's own ports begin.

        The kernel keeps a removed real server for two minutes with its connections, and gives them
        back when a service with the same address, port and protocol adds it again
        (ip_vs_trash_get_dest in ip_vs_ctl.c).
        """
        return next(self._ports)

    def mark(self) -> int:
        """A firewall mark, below 2000, that no service had before."""
        return next(self._marks)

    def put_back(self) -> str:
        """Put back what the check changed. Kernel parameters are looked at where it ran scripts,
        which alone change them.

        Returns:
            What is not as it was before the check, or "".
        """
        lines = [*reversed(self._undo), "ipvsadm -C", f"echo {_MARK}", _TABLE]
        before = self._baseline.splitlines()
        if self._ran_scripts:
            lines.append(_SYSCTLS)
        else:
            before = [line for line in before if not line.startswith("/")]
        if self._used_rules:
            lines.append(f"{self.iptables}-save | sed -n /^-A/p")
        self._undo, self._used_rules, self._ran_scripts = [], False, False
        after = self.lab.director.run("\n".join(lines)).out.partition(f"{_MARK}\n")[2].splitlines()
        left = [line for line in after if line not in before]
        gone = [line for line in before if line not in after]
        return "; ".join([*(f"left: {line}" for line in left), *(f"gone: {line}" for line in gone)])


def _steps(outer: str, inner: str) -> list[Step]:
    """What the director has in every check: `outer` and `inner` are its interfaces."""
    ipv6 = [
        Sysctl(f"net.ipv6.conf.{scope}.{name}", 0)
        for scope in ("all", "default", outer, inner)
        for name in ("disable_ipv6", "router_solicitations")
    ]
    redirects = [Sysctl(f"net.ipv4.conf.{scope}.send_redirects", 0) for scope in ("all", outer, inner)]
    addresses = [
        Ip(f"address add {V6.vip}/128 dev {outer} nodad"),
        Ip(f"address add {V6.dip}/64 dev {outer} nodad"),
        Ip(f"address add {V6.inner}/64 dev {inner} nodad"),
    ]
    neighbours = [(net.router, ROUTER_MAC, outer) for net in NETS.values()] + [
        (net.server(number), server_mac(number), inner)
        for net in NETS.values()
        for number in range(1, SERVERS + 1)
    ]
    return [
        Step("ipv6", "both IP versions", (*ipv6, Sysctl("net.ipv6.conf.all.forwarding", 1))),
        Step("redirects", "nothing is said but what checks ask for", tuple(redirects)),
        Step("addresses", "IPv6 addresses; those of IPv4 are the plan's", tuple(addresses)),
        Step(
            "neighbours",
            "no ARP, no neighbour discovery",
            tuple(
                Ip(f"neighbour replace {address} lladdr {mac} dev {device} nud permanent")
                for address, mac, device in neighbours
            ),
        ),
        Step(
            "routes",
            "the clients are behind the router",
            tuple(Ip(f"route replace default via {net.router}") for net in NETS.values()),
        ),
    ]


def print_file(path: str) -> str:
    """A shell command that prints a text file without starting a program, which takes 40 ms in a
    guest. Not for /proc/sys: the shell reads byte by byte, of which a number's file gives the first
    one only.
    """
    return f'while IFS= read -r line; do echo "$line"; done <{path}'
