"""Speed in virtual time: frames through a guest, a failover, a director of thousands of servers."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lvslab.catalog import catalog
from lvslab.cli.virtual import kernels_in_virtual_time
from lvslab.events import nobody
from lvslab.host import linux, sandbox
from lvslab.kernels.virtual_time import VirtualTimeKernel
from lvslab.plan.files import shipped_files
from lvslab.scenario import description
from lvslab.scenario.cells import Cell
from lvslab.scenario.jobs import plan_jobs, read_settings
from lvslab.scenario.running import run_jobs
from lvslab.simulation.calendar import MICROSECOND, SECOND, Calendar
from lvslab.simulation.cards import Card
from lvslab.simulation.endpoints import Host, Rack
from lvslab.simulation.endpoints.clients import Prober, Probing
from lvslab.simulation.endpoints.servers import HttpServer
from lvslab.simulation.labs.world import VirtualWorld
from lvslab.simulation.machine import Machine
from lvslab.simulation.network import Conditions, Link, Record
from lvslab.simulation.processor import on_one_processor

PACKETS = 20_000
SERVERS = 5_000
_EVERY = 10 * MICROSECOND

_SET_UP = """set -e
for number in 0 1; do
    ip addr add 10.$number.0.1/16 dev eth$number
    ip link set eth$number up
    ip neigh add 10.$number.0.2 lladdr 02:00:00:00:02:0$number dev eth$number
done
sysctl -qw net.ipv4.ip_forward=1
sleep 3
"""

_CROWD_SET_UP = """set -e
for number in 0 1; do
    ip addr add 10.$number.0.1/16 dev eth$number
    ip link set eth$number up
done
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.neigh.default.gc_thresh3=16384
"""
"""The kernel keeps 1,024 neighbours by default (arp(7)), too few for that many servers."""


@dataclass(frozen=True)
class Forwarded:
    """What a stream of packets cost.

    Attributes:
        ready: seconds of this machine's from the guest's start until it runs commands, two seconds
            of virtual time included.
        frames: in and out of the guest.
        own, guest: processor seconds of the calendar's process, and of the guest's.
    """

    kernel: str
    ready: float
    frames: int
    own: float
    guest: float


def forwarded() -> Iterator[Forwarded]:
    """With each kernel in virtual time that is here."""
    for name, kernel in virtual_kernels():
        with on_one_processor():
            yield _forward(name, kernel)


def virtual_kernels() -> Iterator[tuple[str, VirtualTimeKernel]]:
    """Those that are here, with their names."""
    for entry in catalog.entries():
        kernel = entry.kernel()
        if isinstance(kernel, VirtualTimeKernel):
            yield entry.full_name, kernel


@contextmanager
def _guest(calendar: Calendar, kernel: VirtualTimeKernel) -> Iterator[Machine]:
    """A guest with two cards that is ready."""
    cards = [Card(bytes((2, 0, 0, 0, 1, number))) for number in (0, 1)]
    with tempfile.TemporaryDirectory(dir=sandbox.PRIVATE_DIRECTORY) as name, ExitStack() as stack:
        directory = Path(name)
        machine = Machine(
            calendar, kernel, 1, "router", directory / "guest", directory / "console", cards=cards
        )
        stack.callback(machine.power_off)
        machine.boot()
        machine.wait_ready()
        yield machine


def _forward(name: str, kernel: VirtualTimeKernel) -> Forwarded:
    calendar, began = Calendar(), time.monotonic()
    with _guest(calendar, kernel) as machine:
        ready = time.monotonic() - began
        machine.command(_SET_UP).check("router", "set-up")
        left: list[int] = []
        machine.cards[1].transmit = lambda frame: left.append(calendar.now)
        for number in range(PACKETS):
            calendar.after(_EVERY * (number + 1), machine.cards[0].receive, _packet(number))
        own, guest = sum(os.times()[:2]), _used(machine)
        calendar.run(calendar.now + PACKETS * _EVERY + SECOND)
        own, guest = sum(os.times()[:2]) - own, _used(machine) - guest
        return Forwarded(name, ready, PACKETS + len(left), own, guest)


def failover(name: str, *words: str) -> tuple[float, float]:
    """A power cut of one of two directors with connection sync: processor seconds of all who take
    part, and seconds of the world's.

    Args:
        name: of the directors' kernel.
        words: further settings of the scenario.
    """
    settings, _ = read_settings(["sync=yes", *words])
    scenario = description.load("director-power-cut", shipped_files("scenarios"))
    jobs = plan_jobs([scenario], settings)
    worlds: list[VirtualWorld] = []

    def world(seed: int) -> VirtualWorld:
        worlds.append(VirtualWorld(seed))
        return worlds[-1]

    with tempfile.TemporaryDirectory() as runs, on_one_processor():
        began = sum(os.times()[:4])
        for outcome in run_jobs(
            jobs,
            kernels_in_virtual_time([name]),
            nobody,
            Path(runs),
            cells=(Cell(kernel=name),),
            draw=False,
            world=partial(world, 1),
        ):
            assert outcome.code == 0, outcome.error
        return sum(os.times()[:4]) - began, sum(world.now() for world in worlds)


@dataclass(frozen=True)
class Crowd:
    """A director of many real servers.

    Attributes:
        ready: processor seconds until it balances, its boot and all hosts included.
        served: how many servers answered one request each, of as many.
        seconds: of the processor's, that took.
        frames: in and out of the director.
    """

    ready: float
    served: int
    seconds: float
    frames: int


def crowd(kernel: VirtualTimeKernel, servers: int) -> Crowd:
    """A NAT director of so many real servers in one world, each of which is asked once."""
    calendar, began = Calendar(), sum(os.times()[:2])
    record, client, rack = Record(calendar), Host(calendar, "client"), Rack(calendar)
    cable = Conditions(delay=50 * MICROSECOND)
    names = [f"10.1.{number >> 8}.{number & 255}" for number in range(256, 256 + servers)]
    for number, address in enumerate(names):
        host = Host(calendar, address)
        mac = f"02:00:01:00:{number >> 8:02x}:{number & 255:02x}"
        rack.add(host.plug(mac, f"{address}/16"))
        host.route("0.0.0.0/0", "10.1.0.1")
        HttpServer(host).start()
    with on_one_processor(), _guest(calendar, kernel) as machine:
        outside, inside = machine.cards
        Link(calendar, record.tap("outside", outside), client.plug("02:00:00:00:02:00", "10.0.0.2/16"), cable)
        Link(calendar, record.tap("inside", inside), rack, cable)
        table = ["-A -t 10.0.0.1:80 -s rr", *(f"-a -t 10.0.0.1:80 -r {name}:80 -m" for name in names)]
        rules = "\n".join(table)
        machine.command(_CROWD_SET_UP + f"ipvsadm -R <<'END'\n{rules}\nEND\n").check("router", "set-up")
        ready = sum(os.times()[:2]) + _used(machine) - began
        prober = Prober(client, Probing("10.0.0.1", 80, frozenset(names), interval=2_000_000))
        prober.start()
        calendar.run(calendar.now + servers * 2_000_000)
        prober.stop()
        calendar.run(calendar.now + 5 * SECOND)
        served = len({attempt.server for attempt in prober.attempts if not attempt.failed})
        used = sum(os.times()[:2]) + _used(machine) - began - ready
        return Crowd(ready, served, used, record.frames)


def _used(machine: Machine) -> float:
    """Processor seconds of a guest."""
    return linux.processor_seconds(machine.pid)


def _packet(number: int) -> bytes:
    """UDP from 10.0.0.2 to 10.1.0.2 in 60 octets."""
    head = bytearray.fromhex("45000020 0000 0000 4011 0000 0a000002 0a010002")
    head[4:6] = (number & 0xFFFF).to_bytes(2, "big")
    total = sum(int.from_bytes(head[place : place + 2], "big") for place in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    head[10:12] = (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    ethernet = bytes((2, 0, 0, 0, 1, 0, 2, 0, 0, 0, 2, 0, 8, 0))
    return (ethernet + head + bytes.fromhex("30393039 000c 0000") + b"data").ljust(60, b"\0")


def report(line: Callable[..., None], additions: float) -> None:
    """What worlds with real directors cost, and what else does `additions` of a plain loop a
    second.

    Args:
        line: prints what was measured, its value, and what it should be.
    """
    for seen in forwarded():
        rate = seen.frames / (seen.own + seen.guest)
        line(f"frames a processor second through '{seen.kernel}'", f"{rate:,.0f}", "aim ≥ 60,000")
        line("  additions of a plain loop in the time of one", f"{additions / rate:,.0f}")
        line("  a frame in the calendar's process", f"{seen.own / seen.frames * 1e6:.1f} µs")
        line("  a frame in the guest", f"{seen.guest / seen.frames * 1e6:.1f} µs")
        line("  boot to ready", f"{seen.ready:.2f} s")
    for name, kernel in virtual_kernels():
        used, virtual = failover(name, "rate=500")
        line(f"power cut of one of two directors with '{name}', processor seconds", f"{used:.1f}", "500/s")
        line("  ÷ virtual seconds", f"{used / virtual:.2f}", "aim ≤ 0.16")
        used, _ = failover(name, "rate=50", "connections=8")
        line("the same at 50/s with 8 lasting connections, processor seconds", f"{used:.1f}")
        line("  1,000 such worlds on two processors, minutes", f"{used * 1000 / 2 / 60:.0f}", "aim ≤ 20")
        many = crowd(kernel, SERVERS)
        line(f"a director of {SERVERS:,} real servers with '{name}', processor seconds", f"{many.ready:.1f}")
        line("  of them that answered one request each", f"{many.served:,}", f"aim {SERVERS:,}")
        line("  processor seconds of that", f"{many.seconds:.1f}", f"{many.frames:,} frames")
