"""The cables between the nodes of a lab and its switches, and what can be done to them:
`lvslab.lab.worlds.Links` by ip(8), tc(8) and bridges.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lvslab.errors import LabError
from lvslab.host import linux
from lvslab.lab.clock import MachineClock
from lvslab.lab.impairment import Impairment
from lvslab.lab.nodes import LabMachine
from lvslab.plan.plan import LabPlan, NodePlan

if TYPE_CHECKING:
    from lvslab.lab.net import LabNet

_LIMIT = 100_000
"""Packets that netem holds at most: more than any trial has on the way."""

_CUT = "-cut"
"""Ends the name of the second bridge, whose ports are cut off."""

_DRAIN_SECONDS, _LOOK = 10.0, 0.005


class Cables:
    """The links of a running lab."""

    def __init__(self, plan: LabPlan, net: LabNet) -> None:
        self._plan, self._net = plan, net

    # -- carrier -----------------------------------------------------------------------------------

    def unplug(self, node: str, interfaces: Sequence[str]) -> None:
        for interface in interfaces:
            linux.set_link_up(self.far_end(interface), up=False)
        if self._plan.node(node).is_guest:  # a guest's card does not see what happens at the switch
            down = "\n".join(f"ip link set {interface} down" for interface in interfaces)
            self._node(node).run(down).check(node, "ip link set down")

    def plug(self, node: str, interfaces: Sequence[str]) -> None:
        for interface in interfaces:
            linux.set_link_up(self.far_end(interface))
        planned = self._plan.node(node)
        if planned.is_guest:
            lines = [f"ip link set {interface} up" for interface in interfaces] + routes_again(planned)
            self._node(node).run("\n".join(lines)).check(node, "ip link set up")

    def is_up(self, interface: str) -> bool:
        return linux.is_link_up(self.far_end(interface))

    # -- impairment --------------------------------------------------------------------------------

    def impair(self, node: str, interfaces: Sequence[str], impairment: Impairment) -> None:
        """By netem in the node's own kernel."""
        words = impairment.words
        lines = [f"tc qdisc replace dev {name} root netem limit {_LIMIT} {words}" for name in interfaces]
        self._node(node).run("set -e\n" + "\n".join(lines)).check(node, f"tc … netem {words}")

    def shown_impairment(self, node: str, interfaces: Sequence[str]) -> str | None:
        out = [self._node(node).run(f"tc qdisc show dev {name}").out.strip() for name in interfaces]
        return "; ".join(out) if all("netem" in line for line in out) else None

    def repair(self, node: str, interfaces: Sequence[str], impairment: Impairment) -> str:
        machine = self._node(node)
        if impairment.delay and not impairment.rate:  # what a rate holds back may be minutes
            self._drain(machine, interfaces)
        seen = machine.run(f"tc -s qdisc show dev {interfaces[0]}").out.strip().splitlines()
        end = "\n".join(f"tc qdisc del dev {name} root" for name in interfaces)
        machine.run(end).check(node, "tc qdisc del")
        return " ".join(seen[1].split()) if len(seen) > 1 else ""

    def _drain(self, machine: LabMachine, interfaces: Sequence[str]) -> None:
        """Let go what the queues hold: `tc qdisc del` would throw it away."""
        hurry = [f"tc qdisc change dev {name} root netem limit {_LIMIT} delay 0" for name in interfaces]
        machine.run("\n".join(hurry))

        def empty() -> bool:
            shown = (machine.run(f"tc -s qdisc show dev {name}").out for name in interfaces)
            return all("backlog 0b 0p" in text for text in shown)

        if not MachineClock().wait(empty, _DRAIN_SECONDS, _LOOK):
            raise LabError(
                f"{machine.name}: what netem holds back does not leave within {_DRAIN_SECONDS:g} s"
            )

    # -- size --------------------------------------------------------------------------------------

    def mtus(self, node: str, interfaces: Sequence[str]) -> Sequence[int]:
        script = "\n".join(f"cat /sys/class/net/{name}/mtu" for name in interfaces)
        return [int(text) for text in self._node(node).run(script).check(node, "cat mtu").split()]

    def set_mtus(self, node: str, interfaces: Sequence[str], mtus: Sequence[int]) -> None:
        lines = [f"ip link set {name} mtu {mtu}" for name, mtu in zip(interfaces, mtus, strict=True)]
        self._node(node).run("\n".join(lines)).check(node, f"ip link set mtu {mtus[0]}")

    # -- partition ---------------------------------------------------------------------------------

    def cut_off(self, ports: Mapping[str, Sequence[str]]) -> None:
        """Their ports move to a second bridge, as if the cable between two switches broke."""
        bridges = [
            f"link add {switch}{_CUT} type bridge mcast_snooping 0\nlink set {switch}{_CUT} up"
            for switch in ports
        ]
        _ip_batch([*bridges, *self._moves(ports, _CUT)])

    def rejoin(self, ports: Mapping[str, Sequence[str]]) -> None:
        _ip_batch(self._moves(ports))
        _ip_batch([f"link del {switch}{_CUT}" for switch in ports])

    def is_cut_off(self, interface: str) -> bool:
        return _master_of(self.far_end(interface)).endswith(_CUT)

    def _moves(self, ports: Mapping[str, Sequence[str]], suffix: str = "") -> list[str]:
        return [
            f"link set {self.far_end(name)} master {switch}{suffix}"
            for switch, own in ports.items()
            for name in own
        ]

    def far_end(self, interface: str) -> str:
        for link in self._net.links:
            ends = {link.intf1.name: link.intf2.name, link.intf2.name: link.intf1.name}
            if interface in ends:
                return str(ends[interface])
        raise LabError(f"{interface}: belongs to no link of the lab")

    def _node(self, name: str) -> LabMachine:
        return self._net[name]  # type: ignore[no-any-return]


def routes_again(planned: NodePlan) -> list[str]:
    """The commands that give a node its routes again: a link that goes down takes them along."""
    routes = (step for step in planned.network_steps if step.name == "routes")
    return [
        action.plain().replace("route add", "route replace") for step in routes for action in step.actions
    ]


def _ip_batch(lines: Sequence[str]) -> None:
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"ip {'; '.join(lines)}: {done.stderr.strip()}")


def _master_of(port: str) -> str:
    done = subprocess.run(
        ["ip", "-o", "link", "show", "dev", port], capture_output=True, text=True, check=True
    )
    return done.stdout.partition(" master ")[2].split()[0]
