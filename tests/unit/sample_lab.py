"""Labs as a run directory describes them: the five modes, before and after a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lvslab.runs.records import Interface, Kernel, Lab, Network, Node, ServerCounters, ServiceCounters

MODES = ("nat", "dr", "tun", "fullnat", "synproxy")
VIP = "10.0.0.10"

_HOST = Kernel(kind="host", name="host", release="6.1.0-28-cloud-amd64", why="needs nothing special")


def _uml(needs: Sequence[str]) -> Kernel:
    why = f"the host's kernel lacks {', '.join(needs)}; Debian's user-mode-linux has them"
    return Kernel(kind="uml", name="uml", release="6.1.174-1-um", config_sha256="5f0c" * 16, why=why)


def _mac(number: int) -> str:
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def _node(
    name: str,
    role: str,
    interfaces: Sequence[tuple[str, str]],
    mac: int,
    *,
    extra: Sequence[str] = (),
    gateway: str | None = None,
    needs: Sequence[str] = (),
    uml: bool = False,
) -> Node:
    return Node(
        name,
        role,
        needs=tuple(needs),
        kernel=_uml(needs) if uml else _HOST,
        interfaces=tuple(
            Interface(f"{name}-eth{i}", _mac(mac + i), network, (address,))
            for i, (network, address) in enumerate(interfaces)
        ),
        extra_addresses=tuple(extra),
        gateway=gateway,
    )


def lab(mode: str, clients: int = 1, servers: int = 2) -> Lab:
    """The description of a lab, as run.json holds it before anything was measured."""
    subnet = {"dr": "10.0.0", "tun": "10.0.2"}.get(mode, "10.0.1")
    router = "10.0.0.254" if mode == "tun" else None
    nodes = [
        _node(f"c{i + 1}", "client", [("s1", f"10.0.0.{101 + i}/24")], 0x100 + 16 * i, gateway=router)
        for i in range(clients)
    ]
    nodes.append(_director(mode, subnet, router))
    if mode == "tun":
        nodes.append(_node("gw", "router", [("s1", "10.0.0.254/24"), ("s2", "10.0.2.254/24")], 0x20))
    nodes += [_server(mode, subnet, i) for i in range(servers)]
    networks = [Network("s1", "10.0.0.0/24")]
    if mode != "dr":
        networks.append(Network("s2", f"{subnet}.0/24"))
    flag = {"dr": "-g", "tun": "-i"}.get(mode, "-m")
    rules = [f"-a -t {VIP}:80 -r {subnet}.{11 + i}:80 {flag} -w 1" for i in range(servers)]
    return Lab(
        name=mode,
        mode=mode,
        topology=mode,
        local_addresses=("10.0.1.201",) if mode == "fullnat" else (),
        nodes=tuple(nodes),
        networks=tuple(networks),
        service_rules=(f"-A -t {VIP}:80 -s rr", *rules),
    )


def _director(mode: str, subnet: str, gateway: str | None) -> Node:
    needs = {"fullnat": ["ip_vs", "xt_ipvs", "nat"], "synproxy": ["ip_vs", "SYNPROXY"]}.get(mode, ["ip_vs"])
    ports = [("s1", "10.0.0.1/24")] + ([("s2", "10.0.1.1/24")] if subnet == "10.0.1" else [])
    extra = [f"{VIP}/32 on lvs-eth0"] + (["10.0.1.201/32 on lvs-eth1"] if mode == "fullnat" else [])
    return _node("lvs", "director", ports, 0x10, extra=extra, needs=needs, uml=True, gateway=gateway)


def _server(mode: str, subnet: str, index: int) -> Node:
    return _node(
        f"rs{index + 1}",
        "real server",
        [("s1" if mode == "dr" else "s2", f"{subnet}.{11 + index}/24")],
        0x200 + 16 * index,
        extra={"dr": [f"{VIP}/32 on lo"], "tun": [f"{VIP}/32 on tunl0"]}.get(mode, []),
        gateway={"nat": "10.0.1.1", "synproxy": "10.0.1.1", "tun": "10.0.2.254"}.get(mode),
        needs=["ipip"] if mode == "tun" else [],
        uml=mode == "tun",
    )


def counted(description: Lab, requests: int) -> Lab:
    """The same lab after `requests` connections, with its counters and times."""
    servers = [node for node in description.nodes if node.role == "real server"]
    back = description.mode not in ("dr", "tun")

    def numbers(conns: int) -> dict[str, int]:
        return {
            "conns": conns,
            "in_packets": 6 * conns,
            "out_packets": 4 * conns if back else 0,
            "in_bytes": 398 * conns,
            "out_bytes": 1462 * conns if back else 0,
        }

    rows = []
    for index, server in enumerate(servers):
        address = server.interfaces[0].addresses[0].split("/")[0]
        conns = requests // len(servers) + (index < requests % len(servers))
        rows.append(ServerCounters(server=f"{address}:80", name=server.name, **numbers(conns)))
    total = ServiceCounters(service=f"TCP {VIP}:80", servers=tuple(rows), **numbers(requests))
    return replace(description, counters=(total,), start_seconds=1.42, stop_seconds=0.31)
