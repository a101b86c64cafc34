"""What a topology says, read and checked before anything starts: roles, interfaces, networks,
addresses.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lvslab.errors import UsageError
from lvslab.modes.base import Addresses, Role
from lvslab.plan.topology import MAX_DIRECTORS, LvsTopo


@dataclass(frozen=True)
class Interface:
    """One network interface of a node: its name, MAC address, network (the switch's name) and
    address with prefix length.
    """

    name: str
    mac: str
    network: str
    address: str | None

    @property
    def ip(self) -> str:
        """The address without prefix length."""
        return (self.address or "").partition("/")[0]


@dataclass(frozen=True)
class Layout:
    """Who is where in a topology.

    Attributes:
        topology, topo: its name and itself.
        roles: of the nodes, in the order in which a lab is described.
        interfaces: of each node.
        networks: switch name → subnet.
        seen_by: director → the lab's addresses as it sees them.
    """

    topology: str
    topo: LvsTopo
    roles: Mapping[str, Role]
    interfaces: Mapping[str, tuple[Interface, ...]]
    networks: Mapping[str, str]
    seen_by: Mapping[str, Addresses]

    @property
    def directors(self) -> tuple[str, ...]:
        return tuple(self.seen_by)

    @property
    def addresses(self) -> Addresses:
        """The lab's addresses as the first director sees them."""
        return self.seen_by[self.directors[0]]

    def gateway(self, node: str) -> str | None:
        """Address of a node's default router."""
        return str(self.topo.nodeInfo(node).get("defaultRoute", "")).removeprefix("via ") or None


def lay_out(topology: str, topo: LvsTopo) -> Layout:
    """Read and check a topology.

    Args:
        topology: its name, for what is said of it.

    Raises:
        UsageError: a node without a role, a role that nobody has, a link or an address that no lab
            can have, an address that belongs to two.
    """
    roles = _roles(topo, topology)
    interfaces, networks = _interfaces(topo, roles, topology)
    seen_by = {
        node: _addresses(topo, roles, interfaces, topology, node)
        for node, role in roles.items()
        if role == Role.DIRECTOR
    }
    _check_clashes(topo, interfaces, topology)
    return Layout(topology, topo, roles, interfaces, networks, seen_by)


def _roles(topo: LvsTopo, topology: str) -> dict[str, Role]:
    """Node name → role, in the order in which a lab is described: clients, directors, routers, real
    servers.

    Raises:
        UsageError: a node has no role, or a role is not filled.
    """
    order = [Role.CLIENT, Role.DIRECTOR, Role.ROUTER, Role.REAL_SERVER]
    found = {}
    for node in topo.hosts():
        role = topo.nodeInfo(node).get("role")
        if not isinstance(role, Role):
            raise UsageError(
                f"topology '{topology}': node '{node}' has no role; add it with add_node(name, Role.…)"
            )
        found[node] = role
    for role, least in ((Role.CLIENT, 1), (Role.DIRECTOR, 1), (Role.REAL_SERVER, 1)):
        if sum(each == role for each in found.values()) < least:
            raise UsageError(f"topology '{topology}': has no {role}; a lab needs at least one")
    directors = [node for node, role in found.items() if role == Role.DIRECTOR]
    if len(directors) > MAX_DIRECTORS:
        raise UsageError(
            f"topology '{topology}': has {len(directors)} directors ({', '.join(directors)}); a lab has one"
            " director or a pair"
        )
    return dict(sorted(found.items(), key=lambda item: order.index(item[1])))


def _interfaces(
    topo: LvsTopo, roles: Mapping[str, Role], topology: str
) -> tuple[dict[str, tuple[Interface, ...]], dict[str, str]]:
    """Each node's interfaces, and each switch's subnet.

    Raises:
        UsageError: a link or an address that no lab can have.
    """
    found: dict[str, dict[int, Interface]] = {node: {} for node in roles}
    networks: dict[str, str] = {}
    numbers = {node: number for number, node in enumerate(roles, start=1)}
    for _, _, info in topo.links(sort=True, withInfo=True):
        for here, there in ((1, 2), (2, 1)):
            node, other = info[f"node{here}"], info[f"node{there}"]
            if node not in found:
                continue
            if other in found:
                raise UsageError(
                    f"topology '{topology}': '{node}' and '{other}' are linked directly; put a switch between"
                    " them"
                )
            port, address = info[f"port{here}"], (info.get(f"params{here}") or {}).get("ip")
            try:
                subnet = ipaddress.ip_interface(address).network if address else None
            except ValueError:
                raise UsageError(
                    f"topology '{topology}': '{node}' has the address '{address}', which is none; write it as"
                    " 10.0.0.1/24"
                ) from None
            if subnet is None:
                raise UsageError(
                    f"topology '{topology}': '{node}' has no address on '{other}'; link it with attach(node,"
                    " switch, address)"
                )
            if subnet.version != 4:
                raise UsageError(
                    f"topology '{topology}': '{node}' has the address '{address}' on '{other}'; labs are IPv4"
                    " only"
                )
            if networks.setdefault(other, str(subnet)) != str(subnet):
                raise UsageError(
                    f"topology '{topology}': '{node}' has {address} on '{other}', which is {networks[other]};"
                    " use one subnet"
                )
            mac = f"02:00:00:00:{numbers[node]:02x}:{port:02x}"
            found[node][port] = Interface(f"{node}-eth{port}", mac, other, address)
    for node, ports in found.items():
        if not ports:
            raise UsageError(f"topology '{topology}': '{node}' is not linked to any switch; attach it")
    return {node: tuple(ports[port] for port in sorted(ports)) for node, ports in found.items()}, networks


def _addresses(
    topo: LvsTopo,
    roles: Mapping[str, Role],
    interfaces: Mapping[str, tuple[Interface, ...]],
    topology: str,
    director: str,
) -> Addresses:
    """The lab's addresses as one director sees them.

    Raises:
        UsageError: the director is not where the clients are.
    """
    client_networks = {
        each.network for node, role in roles.items() if role == Role.CLIENT for each in interfaces[node]
    }
    server_networks = {
        each.network for node, role in roles.items() if role == Role.REAL_SERVER for each in interfaces[node]
    }
    outer = next((each for each in interfaces[director] if each.network in client_networks), None)
    if outer is None:
        raise UsageError(
            f"topology '{topology}': director '{director}' has no interface in the clients' network; attach"
            " it there"
        )
    inner = next((each for each in interfaces[director] if each.network in server_networks), outer)
    return Addresses(
        vip=topo.vip,
        dip=outer.ip,
        rips={node: interfaces[node][0].ip for node, role in roles.items() if role == Role.REAL_SERVER},
        lips=topo.local_addresses,
        outer=outer.name,
        inner=inner.name,
        inner_prefix=ipaddress.ip_interface(inner.address or "0.0.0.0/24").network.prefixlen,
    )


def _check_clashes(topo: LvsTopo, interfaces: Mapping[str, tuple[Interface, ...]], topology: str) -> None:
    """Raise UsageError if an address belongs to two."""
    owners = [(each.ip, node) for node, own in interfaces.items() for each in own if each.address]
    owners += [(topo.vip, "the virtual address"), *((lip, "a local address") for lip in topo.local_addresses)]
    if topo.virtual_gateway:
        owners.append((topo.virtual_gateway, "the virtual gateway"))
    address, count = Counter(address for address, _ in owners).most_common(1)[0]
    if count > 1:
        who = " and ".join(owner for each, owner in owners if each == address)
        raise UsageError(f"topology '{topology}': address {address} belongs to {who}; give each its own")
