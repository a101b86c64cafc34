"""A lab with servers to break and what its client sees of it, for tests of faults."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvslab.events import Event
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.traffic import http
from tests.lab.conftest import in_sandbox

SECONDS = 30.0
"""How long a test waits for what must happen: far longer than it takes, because the machine may be
busy.
"""

REQUEST = """
import socket, sys
connected = ""
try:
    with socket.create_connection(("10.0.0.10", 80), float(sys.argv[1])) as sock:
        connected = "connected, then "
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        words = sock.makefile().read().split()
        print(words[-3] if len(words) > 2 else connected + "closed")
except TimeoutError:
    print(connected + "silence")
except OSError as error:
    print(connected + type(error).__name__)
"""
"""One HTTP request; unlike curl it tells a refused connection from one that finds no way, and from
one that is closed without an answer, as by a server that is killed when it has just accepted.
"""


class Scene:
    """A lab whose director is a guest, what was told in it, and questions to its nodes."""

    def __init__(self, lab: Lab, events: list[Event]) -> None:
        self.lab, self.events = lab, events

    def answers(self, times: int) -> list[http.Answer]:
        """What the client gets from the virtual service."""
        return http.get(self.lab.clients[0], f"http://{self.lab.plan.addresses.vip}/", times)

    def answer(self, timeout: float = 5.0) -> str:
        """Who answers one request of the client, or what became of it."""
        script = f"{sys.executable} -I -S -c '{REQUEST}' {timeout}"
        return self.lab.clients[0].run(script).check("c1", "request").strip()

    def reaches(self, node: str, address: str) -> bool:
        """Whether a node's ping is answered: ends with the first answer, or after five seconds, in
        which a guest on a busy machine has had its turn.
        """
        return self.lab.node(node).run(f"ping -q -c 1 -i 0.2 -w 5 {address}").code == 0

    def arp(self, node: str, address: str) -> bool:
        """Whether a node learns the hardware address of another one anew."""
        interface = self.lab.plan.node(node).interfaces[0].name
        script = (
            f"ip neigh flush dev {interface}; ping -q -c 1 -i 0.2 -w 5 {address} >/dev/null; ip neigh show to"
            f" {address} dev {interface}"
        )
        return "lladdr" in self.lab.node(node).run(script).out

    def state(self, *nodes: str) -> list[str]:
        """Addresses, links, routes and queues of nodes."""
        show = (
            "ip -br address; ip route; ip -o link | sed 's/.*mtu/mtu/; s/ state .*//'; tc qdisc show | cut"
            " -d' ' -f1,2,4-"
        )
        lines = [
            f"{node}: {line}"
            for node in nodes
            for line in self.lab.node(node).run(show).check(node, show).splitlines()
        ]
        return sorted(line for line in lines if "lo " not in line)

    def table(self) -> list[str]:
        """Services and real servers of the director's table, in no order."""
        return sorted(
            f"{each.name} {server}" for each in self.lab.ipvsadm.save() for server in each.real_servers
        )

    def told(self, kind: str) -> list[str]:
        return [event.text for event in self.events if event.kind == kind]


def in_scene(work: Callable[[Scene], Any], mode: str = "nat", **options: Any) -> Any:
    """Run something in a lab with two real servers of which only rs1 has weight, if nothing else is
    said.
    """

    def inside() -> Any:
        kernels = probe.kernels_here([Need.IP_VS, Need.NETEM, Need.IPIP], "uml")
        given = {"weights": (1, 0), "kernels": ["uml"], **options}
        plan = make_plan(LabSpec.of(mode, **given), kernels)
        events: list[Event] = []
        with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs), events.append) as lab:
            return work(Scene(lab, events))

    return in_sandbox(inside)


def wait_for(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, problem
