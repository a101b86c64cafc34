"""Random walks: many commands, valid and not, and after each the table of a model in Python."""

from __future__ import annotations

import random
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from lvslab.conformance.check import check
from lvslab.conformance.checks.configuration.table import (
    AGAIN,
    SPLIT,
    TABLE,
    THERE,
    VIP,
    difference,
    sorted_rules,
)
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.conformance.ways import ways
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService


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
        return _Step(command, 0 if good else THERE, tuple(self.services.values()))

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
        return VirtualService(kind, "2001:db8:7::1" if ipv6 else VIP, draw.choice([80, 443]), **options)

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
    reading = f"{TABLE}\necho {AGAIN}\n{TABLE}" if ways(bench.version).tables_resize else TABLE
    script = "\n".join(
        f"ipvsadm {step.command} >/dev/null 2>&1\necho $?\n{reading}\necho {SPLIT}" for step in played
    )
    for number, (step, text) in enumerate(
        zip(played, bench.run(script).split(f"{SPLIT}\n"), strict=False), start=1
    ):
        code, _, tables = text.partition("\n")
        history = [
            f"step {place}: ipvsadm {step.command}" for place, step in enumerate(played[:number], start=1)
        ][-5:]
        if code != str(step.code):
            raise CheckFailed(
                f"step {number}, 'ipvsadm {step.command}': exit code {step.code} expected, {code} seen",
                history,
            )
        expected = Counter(_as_proc(service, tick) for service in step.table)
        readings = [_parsed(table.splitlines()[3:]) for table in tables.split(f"{AGAIN}\n")]
        if expected not in readings:
            seen = readings[-1]
            wrong = [f"missing: {line}" for line in expected - seen] + [
                f"not expected: {line}" for line in seen - expected
            ]
            raise CheckFailed(
                f"step {number}, 'ipvsadm {step.command}': the table is not the model's", [*wrong, *history]
            )
    saved, table = bench.ipvsadm.save(), played[-1].table
    must(
        sorted_rules(saved) == sorted_rules(table),
        "at the end ipvsadm -S and --thresholds show the model's table",
        *difference(table, saved),
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
    script = f"ipvsadm -A -t {VIP}:1 -p 1\n{TABLE}\nipvsadm -D -t {VIP}:1"
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
        f"{_hex(server.address)}:{server.port:04X} {server.forwarding.value} {server.weight}"
        for server in service.real_servers
    )
    return " | ".join([" ".join(words), *servers])


def _hex(address: str) -> str:
    parsed = ip_address(address)
    return f"[{parsed.exploded}]" if parsed.version == 6 else f"{int(parsed):08X}"
