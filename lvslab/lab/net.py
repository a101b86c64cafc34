"""The Mininet network of a lab: built from the plan, fast, and without touching anything outside
its namespaces.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mininet.log import setLogLevel

from lvslab.errors import LabError
from lvslab.kernels.machine import Guest
from lvslab.lab.nodes import GuestNode, LabHost
from lvslab.lab.parts import Intf, Link, LinuxBridge, Mininet
from lvslab.plan.plan import LabPlan


class PlannedIntf(Intf):  # type: ignore[misc]
    """An interface that the lab's set-up steps configure: nothing to do when it is made."""

    def config(self, ip: str | None = None, **options: Any) -> dict[str, Any]:
        """Remember the planned address, so that the command line can put it in place of the node's
        name.
        """
        if ip:
            self.ip, self.prefixLen = ip.split("/")
        return {}


class VethLink(Link):  # type: ignore[misc]
    """A veth pair made by one command, each end at once in its node's namespace (for a guest: the
    one around it).
    """

    @classmethod
    def makeIntfPair(
        cls,
        intfname1: str,
        intfname2: str,
        addr1: str | None = None,
        addr2: str | None = None,
        node1: Any = None,
        node2: Any = None,
        deleteIntfs: bool = True,
    ) -> None:
        ends = []
        for name, address, node in ((intfname1, addr1, node1), (intfname2, addr2, node2)):
            namespace = str(node.pid) if node.inNamespace else str(os.getpid())
            ends.append(["name", name, *(["address", address] if address else []), "netns", namespace])
        done = subprocess.run(
            ["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError(f"link {intfname1} – {intfname2}: {done.stderr.strip()}")


class Bridge(LinuxBridge):  # type: ignore[misc]
    """A Linux bridge as switch, made by iproute2 in one command; it floods multicast as a plain
    switch does.
    """

    @classmethod
    def setup(cls) -> None:
        """Keep the machine's bridge firewalling, where it has it, out of the lab's namespace."""
        for table in ("arp", "ip", "ip6"):
            switch = Path(f"/proc/sys/net/bridge/bridge-nf-call-{table}tables")
            if switch.exists():
                switch.write_text("0")

    def start(self, controllers: Any) -> None:
        commands = [f"link add {self.name} type bridge mcast_snooping 0", f"link set {self.name} up"]
        commands += [
            f"link set {each.name} master {self.name} up" for each in self.intfList() if each.name != "lo"
        ]
        done = subprocess.run(
            ["ip", "-batch", "-"], input="\n".join(commands), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(
                f"switch {self.name}: {done.stderr.strip()}; is the kernel's bridge module there? see: lvslab"
                " check"
            )

    def stop(self, deleteIntfs: bool = True) -> None:
        """Nothing: the bridge goes with the lab's namespace."""


class LabNet(Mininet):  # type: ignore[misc]
    """Mininet, building what the plan says."""

    def __init__(self, plan: LabPlan, guests: Mapping[str, Guest], directory: Path) -> None:
        """`guests` are booting already, by node name; `directory` is where nodes on the machine's
        own kernel get their folders.
        """
        setLogLevel("warning")
        self._plan, self._guests, self._directory = plan, guests, directory
        self._macs = {each.name: each.mac for node in plan.nodes for each in node.interfaces}
        # Mininet would change limits of the whole machine here (fs.file-max, net.core.*, …); a lab
        # leaves them alone.
        Mininet.inited = True
        super().__init__(
            topo=plan.topo, controller=None, switch=Bridge, link=VethLink, intf=PlannedIntf, build=False
        )

    def addHost(self, name: str, cls: Any = None, **options: Any) -> Any:
        guest = self._guests.get(name)
        if guest:
            return super().addHost(name, cls=GuestNode, guest=guest, **options)
        directory = self._directory / name
        directory.mkdir(parents=True)
        return super().addHost(name, cls=LabHost, directory=directory, **options)

    def addLink(
        self,
        node1: Any,
        node2: Any,
        port1: int | None = None,
        port2: int | None = None,
        cls: Any = None,
        **options: Any,
    ) -> Any:
        for key, node, port in (("addr1", node1, port1), ("addr2", node2, port2)):
            options[key] = self._macs.get(f"{node}-eth{port}")
        return super().addLink(node1, node2, port1, port2, cls, **options)

    def configHosts(self) -> None:
        """Nothing: the lab configures every node with the plan's steps, guests as soon as they are
        ready.
        """
