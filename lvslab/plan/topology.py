"""Topologies as descriptions: a Mininet `Topo` whose nodes say what they are in an LVS lab.

Node options are Mininet's own (`ip`, `defaultRoute`) plus `role`, `needs`, `routes` and `sysctls`;
plain Mininet hosts pass over the ones that they do not know. Links are written switch first: then
Mininet makes the veth pair in the switch's namespace, which is always there.
"""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

from mininet.topo import Topo

from lvslab.errors import UsageError
from lvslab.kernels.needs import Need
from lvslab.modes.base import ReplyPath, Role
from lvslab.plan.files import load_module, mistakes_in

MAX_CLIENTS = MAX_SERVERS = 50
"""Clients have host numbers 101…150, real servers 11…60, crafted clients 201…250: that is how many
fit.
"""

MAX_DIRECTORS = 2
"""One director, or one that takes over from the other."""


class LvsTopo(Topo):  # type: ignore[misc]
    """Base of the shipped topologies.

    Attributes:
        vip: the virtual address.
        reply_path: how a real server's packets get to a client.
        local_addresses: addresses of the director that FullNAT may use towards the real servers.
        virtual_gateway: the real servers' gateway that moves with the virtual address, in a pair of
            directors whose topology has one.
        needs: what nodes of a role need from their kernel when the network is used outside lvslab,
            with `mn --host lab`.
    """

    vip: ClassVar[str] = "10.0.0.10"
    reply_path: ClassVar[ReplyPath]
    local_addresses: ClassVar[tuple[str, ...]] = ()
    virtual_gateway: str | None = None
    needs: ClassVar[Mapping[Role, frozenset[Need]]] = {Role.DIRECTOR: frozenset({Need.IP_VS})}

    def add_node(
        self,
        name: str,
        role: Role,
        *,
        gateway: str | None = None,
        routes: Iterable[str] = (),
        sysctls: Mapping[str, int] | None = None,
    ) -> str:
        """Add a host.

        Args:
            gateway: address of its default router.
            routes: further routes as `ip route add` takes them, for example "10.0.2.0/24 via
                10.0.0.254".
            sysctls: kernel parameters that belong to the network itself, such as forwarding on a
                router.
        """
        options: dict[str, Any] = {"role": role, "needs": self.needs.get(role, frozenset()), "ip": None}
        if gateway:
            options["defaultRoute"] = f"via {gateway}"
        return str(self.addHost(name, **options, routes=tuple(routes), sysctls=dict(sysctls or {})))

    def attach(self, name: str, switch: str, address: str) -> None:
        """Link a host to a switch; `address` with its prefix length, for example "10.0.0.1/24"."""
        node = self.nodeInfo(name)
        if node["ip"] is None:
            # Mininet configures a host's first interface from the host's own options
            node["ip"] = address
        self.addLink(switch, name, params2={"ip": address})

    def add_directors(self, count: int, *networks: tuple[str, str], routes: Iterable[str] = ()) -> None:
        """Director "lvs" with host number 1, or a pair "lvs1" and "lvs2" with 1 and 2.

        Args:
            networks: where they are attached, each (switch, network), for example ("s1",
                "10.0.0.0/24").
        """
        if count not in (1, MAX_DIRECTORS) or isinstance(count, bool):
            raise UsageError(
                f"directors: {count!r} is neither 1 nor {MAX_DIRECTORS}; a lab has one director or a pair"
            )
        for number in range(1, count + 1):
            name = self.add_node("lvs" if count == 1 else f"lvs{number}", Role.DIRECTOR, routes=routes)
            for switch, network in networks:
                prefix = ipaddress.ip_network(network)
                self.attach(name, switch, f"{prefix[number]}/{prefix.prefixlen}")

    def add_clients(self, count: int, switch: str, gateway: str | None = None) -> None:
        """Clients c1, c2, … with addresses 10.0.0.101, …"""
        for number in range(1, _count(count, "clients", MAX_CLIENTS) + 1):
            self.attach(
                self.add_node(f"c{number}", Role.CLIENT, gateway=gateway), switch, f"10.0.0.{100 + number}/24"
            )

    def add_real_servers(self, count: int, switch: str, network: str, gateway: str | None = None) -> None:
        """Real servers rs1, rs2, … with host numbers 11, 12, … in `network`, for example
        "10.0.1.0/24".
        """
        prefix = ipaddress.ip_network(network)
        for number in range(1, _count(count, "servers", MAX_SERVERS) + 1):
            address = f"{prefix[10 + number]}/{prefix.prefixlen}"
            self.attach(self.add_node(f"rs{number}", Role.REAL_SERVER, gateway=gateway), switch, address)


def _count(value: Any, what: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(f"{what}: {value!r} is not a number from 1 to {most}; a lab needs at least one")
    return value


def find_file(name_or_path: str, shipped: Mapping[str, Path]) -> Path:
    """The file of a shipped topology, or the one that is named.

    Raises:
        UsageError: it is neither.
    """
    path = shipped.get(name_or_path) or Path(name_or_path)
    if name_or_path not in shipped and not (path.suffix == ".py" or path.exists()):
        raise UsageError(
            f"topology '{name_or_path}': no such topology or file; shipped: {', '.join(sorted(shipped))}"
        )
    return path


def load(
    name_or_path: str, shipped: Mapping[str, Path], parameters: Mapping[str, Any]
) -> tuple[str, LvsTopo]:
    """Build a topology by the name of a shipped one or by the path of a file.

    Args:
        shipped: name → file of the topologies that come with lvslab.
        parameters: arguments of its `build`, for example clients and servers.

    Returns:
        Its name and the topology.

    Raises:
        UsageError: unknown name, broken file, wrong parameters.
    """
    path = find_file(name_or_path, shipped)
    classes = getattr(load_module(path), "topos", None)
    if not isinstance(classes, dict) or not classes:
        raise UsageError(
            f"{path}: defines no topology; give it a dictionary `topos = {{'name': TopoClass}}`, as mn"
            " --custom wants it"
        )
    name = path.stem if path.stem in classes else next(iter(classes))
    chosen = classes[name]
    if not (isinstance(chosen, type) and issubclass(chosen, LvsTopo)):
        raise UsageError(f"{path}: topology '{name}' is not a subclass of lvslab.plan.topology.LvsTopo")
    known = inspect.signature(chosen.build).parameters
    unknown = [key for key in parameters if key not in known]
    if unknown:
        raise UsageError(
            f"topology '{name}' has no parameter '{unknown[0]}'; it has: {', '.join(list(known)[1:])}"
        )
    own = name_or_path not in shipped
    with mistakes_in(path, inspect.getsourcelines(chosen)[1]) if own else nullcontext():
        topo = chosen(**parameters)
        _check_attributes(topo)
    return name, topo


def _check_attributes(topo: LvsTopo) -> None:
    """Raise UsageError where a class says something that no lab can use."""
    reply_path = getattr(topo, "reply_path", None)
    if not isinstance(reply_path, ReplyPath):
        choices = ", ".join(f"ReplyPath.{each.name}" for each in ReplyPath)
        raise UsageError(f"reply_path is {reply_path!r}; set it to one of {choices}")
    gateway = [("virtual_gateway", topo.virtual_gateway)] if topo.virtual_gateway else []
    for what, address in [
        ("vip", topo.vip),
        *(("local_addresses", local) for local in topo.local_addresses),
        *gateway,
    ]:
        try:
            ipaddress.IPv4Address(address)
        except ValueError:
            raise UsageError(f"{what}: {address!r} is no IPv4 address; labs are IPv4 only") from None
