"""The links of a lab in virtual time: a `lvslab.lab.worlds.Links`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from lvslab.errors import CannotError
from lvslab.host.completed import Completed
from lvslab.lab.cables import routes_again
from lvslab.lab.impairment import Impairment
from lvslab.plan.plan import LabPlan
from lvslab.simulation.calendar import SECOND
from lvslab.simulation.labs.wiring import CABLE, Cable, Wiring

_QUEUE = 100_000
"""Frames that an impaired link holds at most, as netem in the labs of real time."""


class VirtualLinks:
    """What can be done to the cables of a world; in a director, by commands in it."""

    def __init__(self, plan: LabPlan, wiring: Wiring, run: Callable[[str, str], Completed]) -> None:
        """`run`: a script in a director, given by its name."""
        self._plan, self._wiring, self._run = plan, wiring, run

    def _cable(self, interface: str) -> Cable:
        return self._wiring.cables[interface]

    # -- carrier -----------------------------------------------------------------------------------

    def unplug(self, node: str, interfaces: Sequence[str]) -> None:
        for interface in interfaces:
            self._cable(interface).link.up = False
        if self._plan.node(node).is_guest:
            down = "\n".join(f"ip link set {interface} down" for interface in interfaces)
            self._run(node, down).check(node, "ip link set down")

    def plug(self, node: str, interfaces: Sequence[str]) -> None:
        for interface in interfaces:
            self._cable(interface).link.up = True
        planned = self._plan.node(node)
        if planned.is_guest:
            lines = [f"ip link set {interface} up" for interface in interfaces] + routes_again(planned)
            self._run(node, "\n".join(lines)).check(node, "ip link set up")

    def is_up(self, interface: str) -> bool:
        return self._cable(interface).link.up

    # -- impairment --------------------------------------------------------------------------------

    def impair(self, node: str, interfaces: Sequence[str], impairment: Impairment) -> None:
        """By the link's way out of the node."""
        conditions = replace(
            CABLE,
            delay=CABLE.delay + round(impairment.delay * SECOND),
            jitter=round(impairment.jitter * SECOND),
            loss=impairment.loss,
            duplicate=impairment.duplicate,
            reorder=impairment.reorder,
            rate=impairment.rate,
            queue=_QUEUE,
        )
        for interface in interfaces:
            self._cable(interface).link.forth.conditions = conditions

    def shown_impairment(self, node: str, interfaces: Sequence[str]) -> str | None:
        shown = [self._cable(interface).link.forth.conditions for interface in interfaces]
        return f"{', '.join(interfaces)}: {shown[0]}" if all(each != CABLE for each in shown) else None

    def repair(self, node: str, interfaces: Sequence[str], impairment: Impairment) -> str:
        for interface in interfaces:
            self._cable(interface).link.forth.conditions = CABLE
        forth = self._cable(interfaces[0]).link.forth
        return f"{forth.sent} frames sent since the beginning, {forth.lost} lost"

    # -- size --------------------------------------------------------------------------------------

    def mtus(self, node: str, interfaces: Sequence[str]) -> Sequence[int]:
        script = "\n".join(f"cat /sys/class/net/{name}/mtu" for name in interfaces)
        return [int(text) for text in self._in_director(node, script).check(node, "cat mtu").split()]

    def set_mtus(self, node: str, interfaces: Sequence[str], mtus: Sequence[int]) -> None:
        lines = [f"ip link set {name} mtu {mtu}" for name, mtu in zip(interfaces, mtus, strict=True)]
        self._in_director(node, "\n".join(lines)).check(node, f"ip link set mtu {mtus[0]}")

    def _in_director(self, node: str, script: str) -> Completed:
        if not self._plan.node(node).is_guest:
            raise CannotError(
                f"{node}: the MTU of a simulated machine is fixed; run it in real time: --time real"
            )
        return self._run(node, script)

    # -- partition ---------------------------------------------------------------------------------

    def cut_off(self, ports: Mapping[str, Sequence[str]]) -> None:
        for network, interfaces in ports.items():
            self._wiring.switches[network].part([self._cable(name).port for name in interfaces])

    def rejoin(self, ports: Mapping[str, Sequence[str]]) -> None:
        for network in ports:
            self._wiring.switches[network].heal()

    def is_cut_off(self, interface: str) -> bool:
        return self._cable(interface).port.side != 0

    def far_end(self, interface: str) -> str:
        cable = self._cable(interface)
        return f"{cable.switch.name}, port {cable.port.number}"
