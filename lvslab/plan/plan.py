"""The plan of a lab: what will be started where, decided before anything starts and printable with
--dry-run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lvslab.control.controls import HealthControl, HealthSettings
from lvslab.control.keepalived import Vrrp
from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import VirtualService
from lvslab.kernels.kinds import HOST
from lvslab.kernels.needs import Need
from lvslab.modes.base import Addresses, Mode, Role, Step, plain_lines
from lvslab.plan.layout import Interface
from lvslab.plan.redundancy import Redundancy
from lvslab.plan.topology import LvsTopo


@dataclass(frozen=True)
class NodePlan:
    """A node and the kernel that it gets.

    Attributes:
        needs: what it needs from its kernel.
        kernel, why: the choice and the reason; a name of `Kernels.facts`.
        modules: kernel modules to load when the kernel is a guest's.
        network_steps: addresses, routes and parameters that belong to the network.
        mode_steps: set-up that the forwarding mode asks for.
    """

    name: str
    role: Role
    needs: frozenset[Need]
    kernel: str
    why: str
    modules: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    gateway: str | None
    network_steps: tuple[Step, ...]
    mode_steps: tuple[Step, ...]

    @property
    def ip(self) -> str:
        """Its first address."""
        return self.interfaces[0].ip

    @property
    def is_guest(self) -> bool:
        """Whether it has a kernel of its own."""
        return self.kernel != HOST


@dataclass(frozen=True)
class LabPlan:
    """Everything about a lab before it starts.

    Attributes:
        name: of the lab, also of its files.
        topo: the Mininet topology that is built.
        networks: switch name → subnet.
        addresses: as the first director sees them.
        services: the virtual services that the directors' tables begin with.
        tables: False: the tables begin empty, and `services` is what somebody is to build.
        keepalived: director → its own keepalived.conf, instead of one that is generated.
        without: names of mode steps that are left out on purpose.
        iptables: director → program for its rules, or None where none are needed.
        health, health_settings: what watches the real servers, and how.
        redundancy: how the directors of a pair stand in for each other; None with one director.
        vrrp: the same for each director by name; empty with one.
    """

    name: str
    mode: Mode
    topology: str
    topo: LvsTopo
    nodes: tuple[NodePlan, ...]
    networks: Mapping[str, str]
    addresses: Addresses
    services: tuple[VirtualService, ...]
    without: tuple[str, ...]
    iptables: Mapping[str, str | None]
    health: HealthControl
    health_settings: HealthSettings
    redundancy: Redundancy | None = None
    vrrp: Mapping[str, Vrrp] = field(default_factory=dict)
    tables: bool = True
    keepalived: Mapping[str, str] = field(default_factory=dict)

    def of_role(self, role: Role) -> tuple[NodePlan, ...]:
        return tuple(node for node in self.nodes if node.role == role)

    @property
    def director(self) -> NodePlan:
        """The only director, or the first of a pair: the one with the higher VRRP priority."""
        return self.directors[0]

    @property
    def directors(self) -> tuple[NodePlan, ...]:
        return self.of_role(Role.DIRECTOR)

    @property
    def local_addresses(self) -> tuple[str, ...]:
        """Addresses of the director that real servers see instead of the clients'; none in most
        modes.
        """
        return self.addresses.lips if self.mode.uses_local_addresses else ()

    def node(self, name: str) -> NodePlan:
        return next(node for node in self.nodes if node.name == name)

    def commands(self) -> list[str]:
        """The whole set-up as plain shell commands, node by node."""
        lines = []
        for node in self.nodes:
            lines.append(f"### {node.name} ({node.role})")
            lines += plain_lines((*node.network_steps, *node.mode_steps))
            if node.role == Role.DIRECTOR and self.tables:
                lines += [
                    "# virtual services",
                    *(f"ipvsadm {rule}" for rule in format_rules(self.services).splitlines()),
                ]
        return lines
