"""Part of `make perf`: the longest requests through a director on each guest kernel that is here,
beside the same requests through a router namespace of the machine's own kernel, in turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lvslab.catalog import catalog
from lvslab.host import sandbox
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.kernels.uml import UmlGuest
from lvslab.lab.lab import Lab
from lvslab.lab.nodes import LabHost
from lvslab.lab.servers import start_nginx
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.traffic import latency

TURNS, REQUESTS = 10, 1000
LATE = 0.003
"""Seconds beyond the router's own longest request."""
IDLE_SECONDS = 5.0


@dataclass(frozen=True)
class Tails:
    """What one kernel's guest showed.

    Attributes:
        director, router: seconds that each request took.
        calls: how often the guest was found asleep on something and woken; None where its kind
            needs no waker.
        idle: the share of a processor that it took while nothing came.
    """

    director: tuple[float, ...]
    router: tuple[float, ...]
    calls: int | None
    idle: float

    @property
    def late(self) -> int:
        """Requests that took more than `LATE` longer than any through the router."""
        return sum(seconds > max(self.router) + LATE for seconds in self.director)

    @property
    def shown(self) -> str:
        """Medians, 999 of 1,000, and longest, through the director and through the router, in
        milliseconds.
        """
        return " | ".join(
            " ".join(f"{value * 1e3:.1f}" for value in (median(part), p999(part), max(part)))
            for part in (self.director, self.router)
        )


def p999(seconds: tuple[float, ...]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.999)]


def guest_kernels() -> list[str]:
    """The names of those that directors take unasked, and of those that were fetched."""
    fetched = [entry.name for entry in catalog.entries() if entry.kind == "uml"]
    return ["uml", *fetched]


def tails(kernel: str) -> Tails:
    """Measure in turns."""
    kernels = catalog.including(probe.kernels_here([Need.IP_VS], "uml"), (kernel,))
    plan = make_plan(LabSpec.of("dr", kernels=[kernel]), kernels)
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
        guest = lab.guest(plan.director.name)
        assert guest is not None
        client, beside = lab.clients[0], routed()
        assert isinstance(client, LabHost)
        before, began = guest.cpu_seconds(), time.monotonic()
        time.sleep(IDLE_SECONDS)  # nothing comes
        idle = (guest.cpu_seconds() - before) / (time.monotonic() - began)
        director: list[float] = []
        router: list[float] = []
        for _ in range(TURNS):
            director += ask(client, plan.addresses.vip)
            router += ask(beside[0], "10.9.1.2")
        calls = guest.waker.calls if isinstance(guest, UmlGuest) and guest.waker else None
        for node in beside:
            node.terminate()
    return Tails(tuple(director), tuple(router), calls, idle)


def ask(client: LabHost, address: str) -> list[float]:
    """Seconds of each request, one after the other."""
    command = f"{sys.executable} -S {latency.__file__} {address} 80 {REQUESTS}"
    return list(json.loads(client.run(command, timeout=300).check(client.name, command))["seconds"])


def routed() -> tuple[LabHost, ...]:
    """A client, a router namespace and a web server, beside the lab."""
    client, router, server = (
        LabHost(name, directory=sandbox.PRIVATE_DIRECTORY / "beside" / name, inNamespace=True)
        for name in ("client", "router", "server")
    )
    for number, node in enumerate((client, server)):
        node.directory.mkdir(parents=True, exist_ok=True)
        near = ["name", "r0", "netns", str(node.pid)]
        far = ["type", "veth", "peer", "name", f"r{number}", "netns", str(router.pid)]
        subprocess.run(["ip", "link", "add", *near, *far], check=True)
        end = f"ip addr add 10.9.{number}.2/24 dev r0; ip link set r0 up"
        node.run(f"{end}; ip route add default via 10.9.{number}.1").check(node.name, "set-up")
        router.run(f"ip addr add 10.9.{number}.1/24 dev r{number}; ip link set r{number} up").check(
            "router", "set-up"
        )
    router.run("echo 1 >/proc/sys/net/ipv4/ip_forward").check("router", "set-up")
    start_nginx(server)
    return client, router, server
