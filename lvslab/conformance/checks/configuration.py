"""The table itself: what ipvsadm takes and refuses, and what is in the table after every step,
against a model in Python.

Facts: ipvsadm(8) and ipvsadm.c 1.31 (exit code 2 for what ipvsadm refuses, 255 for what the kernel
does), ip_vs_ctl.c.
"""

from __future__ import annotations

import random
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from lvslab.conformance.check import check
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.conformance.ways import ways
from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
)
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType

_VIP, _RIP = "192.0.2.10", "192.0.2.100"
_SPLIT, _AGAIN = "--lvslab--", "--again--"
_HERE, _THERE = 2, 255
"""Exit codes: ipvsadm refuses, the kernel refuses."""
_TABLE = 'while IFS= read -r line; do echo "$line"; done </proc/net/ip_vs'
"""Print the table without another program, which would take long to start in a guest."""
_BASE = (f"-A -t {_VIP}:80 -s rr", f"-a -t {_VIP}:80 -r {_RIP}:80 -g -w 3")


# -- single commands -------------------------------------------------------------------------------


def _commands(bench: Bench, *commands: str) -> list[tuple[int, str, str]]:
    """Run ipvsadm once for each command line: exit code, what it said, and the table (`-S -n`)
    after it.
    """
    lines = []
    for command in commands:
        lines += [f"said=$(ipvsadm {command} 2>&1); echo $? $said", "ipvsadm -S -n", f"echo {_SPLIT}"]
    found = []
    for part in bench.run("\n".join(lines)).split(f"{_SPLIT}\n")[:-1]:
        first, _, table = part.partition("\n")
        code, _, said = first.partition(" ")
        found.append((int(code), said, table))
    return found


_REFUSED: Mapping[str, Sequence[tuple[str, int]]] = {
    "services": (
        (f"-A -t {_VIP}:80 -s wlc", _THERE),
        (f"-E -t {_VIP}:81 -s wlc", _THERE),
        (f"-D -u {_VIP}:80", _THERE),
        (f"-Z -t {_VIP}:81", _THERE),
        ("-A -s rr", _HERE),
        (f"-A -t {_VIP}:81 -u {_VIP}:81 -s rr", _HERE),
        (f"-A -t {_VIP}:81 -s nosuch", _THERE),
        (f"-A -t {_VIP}:81 -s rr -b sh-port", _HERE),
    ),
    "addresses": (
        (f"-A -t {_VIP}:0 -s rr", _HERE),
        (f"-A -t {_VIP}:65536 -s rr", _HERE),
        ("-A -t 192.0.2.300:81 -s rr", _HERE),
        ("-A -f 0 -s rr", _HERE),
        ("-A -f 4294967296 -s rr", _HERE),
    ),
    "persistence": (
        (f"-A -t {_VIP}:81 -s rr -o", _HERE),
        (f"-A -t {_VIP}:81 -s rr -p 0", _HERE),
        (f"-A -t {_VIP}:81 -s rr -p 2678401", _HERE),
        ("-A -t [2001:db8::5]:80 -s rr -p 5 -M 0", _HERE),
        ("-A -t [2001:db8::5]:80 -s rr -p 5 -M 129", _HERE),
        (f"-A -u {_VIP}:81 -s rr -p 5 --pe nosuch", _THERE),
    ),
    "servers": (
        (f"-a -t {_VIP}:81 -r {_RIP}:81 -g", _THERE),
        (f"-a -t {_VIP}:80 -r {_RIP}:80 -m", _THERE),
        (f"-e -t {_VIP}:80 -r 192.0.2.101:80 -g", _THERE),
        (f"-d -t {_VIP}:80 -r 192.0.2.101:80", _THERE),
        (f"-a -t {_VIP}:80 -r 224.0.0.1:80 -g", _THERE),
        (f"-a -t {_VIP}:80 -r 0.0.0.0:80 -g", _THERE),
        (f"-a -t {_VIP}:80 -r [2001:db8::7]:80 -m", _HERE),
        (f"-a -t {_VIP}:80 -r 192.0.2.101:80 -g -m", _HERE),
    ),
    "weights": (
        (f"-a -t {_VIP}:80 -r 192.0.2.101:80 -g -w -1", _HERE),
        (f"-a -t {_VIP}:80 -r 192.0.2.101:80 -g -w 2147483648", _HERE),
        (f"-a -t {_VIP}:80 -r 192.0.2.101:80 -g -w x", _HERE),
    ),
    "thresholds": (
        (f"-a -t {_VIP}:80 -r 192.0.2.101:80 -g -x 1 -y 2", _THERE),
        (f"-e -t {_VIP}:80 -r {_RIP}:80 -g -x 1 -y 2", _THERE),
    ),
    "tunnels": (
        (f"-a -t {_VIP}:80 -r 192.0.2.101:80 -i --tun-type gue", _HERE),
        (f"-a -t {_VIP}:80 -r 192.0.2.101:80 -g --tun-type gre", _HERE),
    ),
    "global": (
        ("--set 1 2", _HERE),
        ("--set 1 2 2678401", _HERE),
        ("--start-daemon backup --mcast-interface nosuch", _THERE),
        ("--stop-daemon backup", _THERE),
        ("-C extra", _HERE),
    ),
}

_ACCEPTED: Mapping[str, Sequence[tuple[str, str]]] = {
    "defaults": (
        (f"-A -t {_VIP}:81", f"-A -t {_VIP}:81 -s wlc"),
        (f"-A -t {_VIP}:81 -s rr -p", f"-A -t {_VIP}:81 -s rr -p 360"),
        (f"-a -t {_VIP}:80 -r 192.0.2.101", f"-a -t {_VIP}:80 -r 192.0.2.101:80 -g -w 1"),
    ),
    "persistence": (
        (f"-A -t {_VIP}:81 -s rr -p 2678400", f"-A -t {_VIP}:81 -s rr -p 2678400"),
        (f"-A -t {_VIP}:81 -s rr -M 255.255.255.0", f"-A -t {_VIP}:81 -s rr"),
        (f"-A -t {_VIP}:81 -s rr -p 5 -M 255.0.255.0", f"-A -t {_VIP}:81 -s rr -p 5 -M 255.0.255.0"),
    ),
    "ports": (
        (f"-A -t {_VIP}:0 -s rr -p 1", f"-A -t {_VIP}:0 -s rr -p 1"),
        (f"-a -t {_VIP}:80 -r 192.0.2.101:8080 -g", f"-a -t {_VIP}:80 -r 192.0.2.101:80 -g -w 1"),
        (
            f"-a -t {_VIP}:80 -r 192.0.2.101:8080 -i",
            f"-a -t {_VIP}:80 -r 192.0.2.101:80 -i -w 1 --tun-type ipip",
        ),
        (f"-a -t {_VIP}:80 -r 192.0.2.101:8080 -m", f"-a -t {_VIP}:80 -r 192.0.2.101:8080 -m -w 1"),
        (
            f"-a -t {_VIP}:80 -r [2001:db8::7]:80 -i",
            f"-a -t {_VIP}:80 -r [2001:db8::7]:80 -i -w 1 --tun-type ipip",
        ),
    ),
    "weights": (
        (f"-e -t {_VIP}:80 -r {_RIP}:80 -g -w 0", f"-a -t {_VIP}:80 -r {_RIP}:80 -g -w 0"),
        (f"-e -t {_VIP}:80 -r {_RIP}:80 -g -w 65535", f"-a -t {_VIP}:80 -r {_RIP}:80 -g -w 65535"),
        (f"-e -t {_VIP}:80 -r {_RIP}:80 -g", f"-a -t {_VIP}:80 -r {_RIP}:80 -g -w 1"),
    ),
    "changes": (
        (f"-e -t {_VIP}:80 -r {_RIP}:80 -m", f"-a -t {_VIP}:80 -r {_RIP}:80 -m -w 1"),
        (f"-E -t {_VIP}:80 -s wrr", f"-A -t {_VIP}:80 -s wrr"),
    ),
    "ops-and-marks": (
        (f"-A -u {_VIP}:81 -s rr -o", f"-A -u {_VIP}:81 -s rr -o"),
        ("-A -f 81 -s rr -o", "-A -f 81 -s rr -o"),
        ("-A -f 81 -s rr", "-A -f 81 -s rr"),
    ),
}


@check(
    "configuration:refused:{group}",
    "every wrong command about {group} is refused by ipvsadm or the kernel, with the exit code and a reason,"
    " and changes nothing",
    each=[{"group": group} for group in _REFUSED],
)
def refused(bench: Bench, group: str) -> None:
    if group == "tunnels":
        must("tun-type" in bench.run("ipvsadm --help"), "this ipvsadm knows no tunnel types")
    _start(bench)
    commands = _REFUSED[group]
    said = "read -r said </tmp/lvs-said; echo $code $said"
    lines = [
        f"said=; ipvsadm {command} >/tmp/lvs-said 2>&1; code=$?; {said}; {_TABLE}; echo {_SPLIT}"
        for command, _ in commands
    ]
    before = bench.run(_TABLE)
    played = bench.run("\n".join([*lines, "rm /tmp/lvs-said"])).split(f"{_SPLIT}\n")
    for (command, code), text in zip(commands, played, strict=False):
        first, _, after = text.partition("\n")
        seen, _, reason = first.partition(" ")
        must(
            seen == str(code),
            f"'ipvsadm {command}': exit code {code} expected, {seen} seen",
            f"said: {reason}",
        )
        must(reason != "", f"'ipvsadm {command}' is refused without a reason")
        must(
            before == after,
            f"'ipvsadm {command}' has changed the table",
            f"before: {before}",
            f"after:  {after}",
        )


@check(
    "configuration:accepted:{group}",
    "every command about {group} at its limits or with something left out makes the rule that it should",
    each=[{"group": group} for group in _ACCEPTED],
)
def accepted(bench: Bench, group: str) -> None:
    for command, rule in _ACCEPTED[group]:
        _start(bench)
        code, said, table = _commands(bench, command)[0]
        must(code == 0, f"'ipvsadm {command}': exit code 0 expected, {code} seen", f"said: {said}")
        must(
            rule in table.splitlines(),
            f"'ipvsadm {command}': the rule '{rule}' is not in the table",
            *table.splitlines(),
        )


def _start(bench: Bench) -> None:
    """The table to start from: one service with one real server."""
    bench.run("ipvsadm -C; printf '%s\\n' " + " ".join(map(shlex.quote, _BASE)) + " | ipvsadm -R")


@check(
    "configuration:edit-service-keeps-servers",
    "-E changes a service and keeps its real servers; what -E leaves out is not kept but reset",
)
def edit_keeps(bench: Bench) -> None:
    found = _commands(
        bench, f"-A -t {_VIP}:80 -s rr -p 60 -M 255.255.255.0", _BASE[1], f"-E -t {_VIP}:80 -s wlc"
    )
    expected = f"-A -t {_VIP}:80 -s wlc\n-a -t {_VIP}:80 -r {_RIP}:80 -g -w 3\n"
    must(found[2][2] == expected, "the table after -E", f"expected: {expected}", f"seen:     {found[2][2]}")


@check(
    "configuration:delete-service",
    "-D removes a service with its real servers and nothing else; -C removes all",
)
def delete(bench: Bench) -> None:
    found = _commands(bench, *_BASE, f"-A -u {_VIP}:80 -s rr", f"-D -t {_VIP}:80", "-C", "-C")
    must(found[3][:1] == (0,) and found[3][2] == f"-A -u {_VIP}:80 -s rr\n", "after -D", f"seen: {found[3]}")
    must(found[4][0] == 0 and found[4][2] == "", "after -C", f"seen: {found[4]}")
    must(found[5][0] == 0, "-C of an empty table is no error", f"seen: {found[5]}")


# -- save and restore ------------------------------------------------------------------------------


def _everything() -> tuple[VirtualService, ...]:
    """A table with every option that ipvsadm saves, and thresholds."""
    nat, dr, tun = PacketForwarding.MASQ, PacketForwarding.DR, PacketForwarding.TUN
    v6 = "2001:db8:7::"
    return (
        VirtualService(
            Protocol.TCP,
            _VIP,
            80,
            scheduler=Scheduler.WRR,
            real_servers=(
                RealServer(_RIP, 8080, nat, 5, 100, 50),
                RealServer("192.0.2.101", 80, dr, 0),
                RealServer("192.0.2.102", 80, tun),
                RealServer(
                    "192.0.2.103",
                    80,
                    tun,
                    tun_type=TunnelType.GUE,
                    tun_port=5555,
                    tun_csum=TunnelChecksum.REMCSUM,
                ),
                RealServer("192.0.2.104", 80, tun, tun_type=TunnelType.GRE, tun_csum=TunnelChecksum.CSUM),
                RealServer(f"{v6}9", 80, tun),
            ),
        ),
        VirtualService(
            Protocol.TCP,
            _VIP,
            0,
            persistence_timeout=300,
            persistence_netmask="255.255.255.0",
            scheduler=Scheduler.RR,
        ),
        VirtualService(
            Protocol.UDP,
            _VIP,
            53,
            ops=True,
            scheduler=Scheduler.RR,
            real_servers=(RealServer(_RIP, 53, nat, 65535),),
        ),
        VirtualService(
            Protocol.TCP,
            f"{v6}1",
            443,
            scheduler=Scheduler.SH,
            scheduler_flags=(SchedulerFlag.SH_FALLBACK, SchedulerFlag.SH_PORT),
            real_servers=(RealServer(f"{v6}2", 443, dr), RealServer(f"{v6}3", 8443, nat, 7)),
        ),
        VirtualService(
            Protocol.UDP,
            f"{v6}1",
            53,
            persistence_timeout=60,
            persistence_netmask="64",
            scheduler=Scheduler.RR,
        ),
        VirtualService(
            Protocol.FWMARK, fwmark=7, scheduler=Scheduler.WLC, real_servers=(RealServer(_RIP, 0, nat),)
        ),
        VirtualService(
            Protocol.FWMARK,
            fwmark=7,
            ipv6=True,
            scheduler=Scheduler.LC,
            real_servers=(RealServer(f"{v6}2", 0, nat),),
        ),
    )


@check(
    "configuration:save-restore",
    "what ipvsadm -S saves of a table with every option, ipvsadm -R restores to the same; only thresholds are"
    " lost on the way",
)
def save_restore(bench: Bench) -> None:
    table = _everything()
    bench.ipvsadm.restore(table)
    must(
        _sorted(bench.ipvsadm.save()) == _sorted(table),
        "the table is what was put in",
        *_difference(table, bench.ipvsadm.save()),
    )
    text = bench.run(
        "ipvsadm -S -n >/tmp/lvs-saved; ipvsadm -C; ipvsadm -S -n; ipvsadm -R </tmp/lvs-saved; echo $?; rm"
        " /tmp/lvs-saved"
    )
    must(text == "0\n", "-C empties the table and -R exits with 0", f"seen: {text}")
    after = bench.ipvsadm.save()
    forgotten = tuple(
        replace(
            each,
            real_servers=tuple(
                replace(server, upper_threshold=0, lower_threshold=0) for server in each.real_servers
            ),
        )
        for each in table
    )
    must(_sorted(after) == _sorted(forgotten), "the table after -S, -C, -R", *_difference(forgotten, after))


@check(
    "configuration:restore-bad-line",
    "ipvsadm -R says what it refuses and goes on with the next line; its exit code is that of the last line"
    " alone",
)
def restore_bad(bench: Bench) -> None:
    good, bad = f"-A -t {_VIP}:81 -s rr", f"-A -t {_VIP}:82 -s nosuch"
    for lines, code in (((bad, good), 0), ((good, bad), 255)):
        text = bench.run(
            "printf '%s\\n' "
            + " ".join(map(shlex.quote, lines))
            + " | ipvsadm -R 2>&1; echo code $?; ipvsadm -S -n; ipvsadm -C"
        )
        must("not found" in text, "the refused line is told", f"seen: {text}")
        must(f"code {code}\n" in text, f"exit code {code} expected", f"seen: {text}")
        must(text.endswith(f"{good}\n"), "the good line is in the table, and nothing else", f"seen: {text}")


def _sorted(services: Sequence[VirtualService]) -> list[str]:
    return sorted(format_rules(services).splitlines())


def _difference(expected: Sequence[VirtualService], seen: Sequence[VirtualService]) -> list[str]:
    left, right = _sorted(expected), _sorted(seen)
    return [f"missing: {line}" for line in left if line not in right] + [
        f"not expected: {line}" for line in right if line not in left
    ]


# -- random walks ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Step:
    """One ipvsadm command, its exit code and the table after it, as the model has it."""

    command: str
    code: int
    table: tuple[VirtualService, ...]


class _Model:
    """The table as it must be: services by name, each with its real servers by name."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.services: dict[str, VirtualService] = {}

    def step(self) -> _Step:
        """A random command, valid or not, and what becomes of the table."""
        kinds = {"-A": 5, "-E": 3, "-D": 2, "-a": 9, "-e": 5, "-d": 3, "-Z": 1, "-C": 0.3}
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        if kind == "-C":
            self.services = {}
            return self._step("-C", True)
        service = self._service()
        present = service.name in self.services
        if kind == "-Z":
            return self._step(shlex.join(("-Z", *service.selector)), present)
        if kind == "-D":
            self.services.pop(service.name, None)
            return self._step(shlex.join(("-D", *service.selector)), present)
        if kind in ("-A", "-E"):
            good = present == (kind == "-E")
            if good:
                servers = self.services[service.name].real_servers if present else ()
                self.services[service.name] = replace(service, real_servers=servers)
            return self._step(shlex.join((kind, *service.selector, *service.options)), good)
        return self._server_step(kind, service, present)

    def _server_step(self, kind: str, service: VirtualService, present: bool) -> _Step:
        server = self._server(service)
        current = self.services[service.name].real_servers if present else ()
        there = server.name in {each.name for each in current}
        good = present and there == (kind != "-a")
        options = () if kind == "-d" else server.options
        command = shlex.join((kind, *service.selector, "-r", server.name, *options))
        if good:
            others = tuple(each for each in current if each.name != server.name)
            self.services[service.name] = replace(
                self.services[service.name], real_servers=others if kind == "-d" else (*others, server)
            )
        return self._step(command, good)

    def _step(self, command: str, good: bool) -> _Step:
        return _Step(command, 0 if good else _THERE, tuple(self.services.values()))

    def _service(self) -> VirtualService:
        """One of few services, so that they meet again, with options of its own."""
        draw = self.random
        options: dict[str, Any] = {
            "scheduler": draw.choice(
                [Scheduler.RR, Scheduler.WRR, Scheduler.LC, Scheduler.WLC, Scheduler.SED]
            )
        }
        ipv6 = draw.random() < 0.4
        if draw.random() < 0.4:
            options["persistence_timeout"] = draw.choice([1, 300, 86400])
            if draw.random() < 0.5:
                options["persistence_netmask"] = draw.choice(
                    ["64", "127"] if ipv6 else ["255.255.255.0", "255.128.0.0"]
                )
        kind = draw.choice([Protocol.TCP, Protocol.TCP, Protocol.UDP, Protocol.FWMARK])
        if kind is Protocol.FWMARK:
            return VirtualService(kind, fwmark=draw.choice([1, 4294967295]), ipv6=ipv6, **options)
        if kind is Protocol.UDP and draw.random() < 0.3:
            options["ops"] = True
        return VirtualService(kind, "2001:db8:7::1" if ipv6 else _VIP, draw.choice([80, 443]), **options)

    def _server(self, service: VirtualService) -> RealServer:
        draw = self.random
        forwarding = draw.choice(list(PacketForwarding))
        fixed = service.protocol is not Protocol.FWMARK and forwarding is not PacketForwarding.MASQ
        address = draw.choice(
            ["2001:db8:7::2", "2001:db8:7::3"] if service.is_ipv6 else ["192.0.2.100", "192.0.2.101"]
        )
        upper = draw.choice([0, 0, 10])
        return RealServer(
            address,
            service.port if fixed else draw.choice([service.port or 8080, 8080]),
            forwarding,
            draw.choice([0, 1, 2, 65535]),
            upper,
            draw.choice([0, upper]),
        )


@check(
    "configuration:walk:{seed}",
    "after each of {steps} random commands, valid and not, ipvsadm's exit code and the table in"
    " /proc/net/ip_vs are those of the model",
    tags=("model",),
    each=[{"seed": seed, "steps": 50} for seed in (1, 2, 3)],
)
def walk(bench: Bench, seed: int, steps: int) -> None:
    # /proc/net/ip_vs can be read without another program, which keeps a step short; what it lacks
    # is compared at the end.
    tick = _ticks_per_second(bench)
    model = _Model(seed)
    played = [model.step() for _ in range(steps)]
    # Where the kernel resizes its table a reading may be torn, which the next one is not.
    reading = f"{_TABLE}\necho {_AGAIN}\n{_TABLE}" if ways(bench.version).tables_resize else _TABLE
    script = "\n".join(
        f"ipvsadm {each.command} >/dev/null 2>&1\necho $?\n{reading}\necho {_SPLIT}" for each in played
    )
    for number, (step, text) in enumerate(
        zip(played, bench.run(script).split(f"{_SPLIT}\n"), strict=False), start=1
    ):
        code, _, tables = text.partition("\n")
        history = [
            f"step {place}: ipvsadm {each.command}" for place, each in enumerate(played[:number], start=1)
        ][-5:]
        if code != str(step.code):
            raise CheckFailed(
                f"step {number}, 'ipvsadm {step.command}': exit code {step.code} expected, {code} seen",
                history,
            )
        expected = Counter(_as_proc(each, tick) for each in step.table)
        readings = [_parsed(each.splitlines()[3:]) for each in tables.split(f"{_AGAIN}\n")]
        if expected not in readings:
            seen = readings[-1]
            wrong = [f"missing: {each}" for each in expected - seen] + [
                f"not expected: {each}" for each in seen - expected
            ]
            raise CheckFailed(
                f"step {number}, 'ipvsadm {step.command}': the table is not the model's", [*wrong, *history]
            )
    saved, table = bench.ipvsadm.save(), played[-1].table
    must(
        _sorted(saved) == _sorted(table),
        "at the end ipvsadm -S and --thresholds show the model's table",
        *_difference(table, saved),
    )


def _parsed(lines: Sequence[str]) -> Counter[str]:
    """The services in /proc/net/ip_vs, each as one text with its real servers sorted, without
    connection counts.
    """
    services: list[tuple[str, list[str]]] = []
    for line in lines:
        words = line.split()
        if words[0] == "->":
            services[-1][1].append(" ".join(words[1:4]))
        else:
            services.append((" ".join(words), []))
    return Counter(" | ".join([name, *sorted(servers)]) for name, servers in services)


def _ticks_per_second(bench: Bench) -> int:
    """CONFIG_HZ of the kernel, which nothing tells programs but such numbers as the table's own: a
    timeout of one second, in jiffies.
    """
    script = f"ipvsadm -A -t {_VIP}:1 -p 1\n{_TABLE}\nipvsadm -D -t {_VIP}:1"
    words = bench.run(script).split()
    return int(words[words.index("persistent") + 1])


def _as_proc(service: VirtualService, tick: int) -> str:
    """A service as ip_vs_ctl.c, ip_vs_info_seq_show, prints it: addresses, ports and marks in hex,
    the timeout in jiffies.

    Args:
        tick: jiffies in a second.
    """
    if service.protocol is Protocol.FWMARK:
        name = f"FWM {service.fwmark:08X}"
    else:
        name = f"{service.protocol.label} {_hex(service.address)}:{service.port:04X}"
    words = [name, service.scheduler.value]
    if service.ops and not (service.is_ipv6 and service.protocol is not Protocol.FWMARK):
        words.append("ops")  # the line for IPv6 addresses forgets it
    if service.persistence_timeout:
        mask = service.persistence_netmask
        if service.is_ipv6:  # the prefix length goes through ntohl all the same
            number = int.from_bytes(int(mask or 128).to_bytes(4, "little"), "big")
        else:
            number = int(ip_address(mask or "255.255.255.255"))
        words.append(f"persistent {service.persistence_timeout * tick} {number:08X}")
    servers = sorted(
        f"{_hex(each.address)}:{each.port:04X} {each.forwarding.value} {each.weight}"
        for each in service.real_servers
    )
    return " | ".join([" ".join(words), *servers])


def _hex(address: str) -> str:
    parsed = ip_address(address)
    return f"[{parsed.exploded}]" if parsed.version == 6 else f"{int(parsed):08X}"
