"""What machines of labs said when they were recorded, and what changes in it, for tests of the
doctor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from lvslab.doctor import gather
from lvslab.doctor.diagnose import diagnose
from lvslab.doctor.evidence import Evidence, Machine, Packet
from lvslab.host.completed import Completed
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.modes.base import Role
from lvslab.reading.ipvs import SyncDaemon
from lvslab.reading.network import Address, Route
from lvslab.reading.sockets import Socket

RECORDED = sorted((Path(__file__).parent / "data" / "doctor").glob("*.json"))
VIP = "10.0.0.10"


class Replay:
    """A machine that says again what it said when it was recorded."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self._outputs = list(outputs)

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        return Completed(0, self._outputs.pop(0), "")


@cache
def recorded(name: str) -> Evidence:
    machines = json.loads((Path(__file__).parent / "data" / "doctor" / f"{name}.json").read_text())
    return gather.read([(each["name"], Role(each["role"]), Replay(each["outputs"])) for each in machines])


def machine(evidence: Evidence, name: str) -> Machine:
    return next(each for each in evidence.machines if each.name == name)


def changed(evidence: Evidence, name: str, **fields: Any) -> Evidence:
    """The evidence with something else on one machine; mappings are laid over the old ones."""
    old = machine(evidence, name)
    new = {
        key: {**getattr(old, key), **value} if isinstance(value, dict) else value
        for key, value in fields.items()
    }
    return replace(
        evidence, machines=tuple(replace(old, **new) if each is old else each for each in evidence.machines)
    )


def with_ipvs(evidence: Evidence, name: str = "lvs", **fields: Any) -> Evidence:
    old = machine(evidence, name).ipvs
    assert old is not None
    return changed(evidence, name, ipvs=replace(old, **fields))


def with_table(evidence: Evidence, change: Callable[[VirtualService], VirtualService | None]) -> Evidence:
    ipvs = machine(evidence, "lvs").ipvs
    assert ipvs is not None
    return with_ipvs(evidence, services=tuple(new for each in ipvs.services if (new := change(each))))


def entry(
    state: str,
    destination: str,
    client: str = "10.0.0.101:40000",
    virtual: str = f"{VIP}:80",
    protocol: str = "TCP",
) -> Connection:
    return Connection(protocol, 100, state, *map(Endpoint.parse, (client, virtual, destination)))


def without_address(evidence: Evidence, name: str, ip: str) -> Evidence:
    old = machine(evidence, name)
    links = tuple(
        replace(link, addresses=tuple(each for each in link.addresses if each.ip != ip)) for link in old.links
    )
    routes = tuple(each for each in old.routes if each.destination != ip)
    path = Route("unicast", ip, old.links[-1].name)
    return changed(evidence, name, links=links, routes=routes, paths={("", ip): path})


def found(evidence: Evidence) -> list[str]:
    return [each.fault for each in diagnose(evidence)]


def of_http(change: Callable[[VirtualService], VirtualService]) -> Callable[[VirtualService], VirtualService]:
    return lambda service: change(service) if service.port == 80 else service


def drained(service: VirtualService) -> VirtualService:
    first, *others = service.real_servers
    return replace(service, real_servers=(replace(first, weight=0), *others))


def with_closed_port(evidence: Evidence, name: str, closed: int) -> Evidence:
    """With nobody on a port of a real server."""
    return changed(
        evidence,
        name,
        sockets=tuple(each for each in machine(evidence, name).sockets if each.local.port != closed),
    )


def with_route(evidence: Evidence, name: str, rip: str, via: str = "", link: str | None = None) -> Evidence:
    way = Route("unicast", "10.0.0.101", link or f"{name}-eth0", via=via)
    return changed(evidence, name, paths={(rip, "10.0.0.101"): way})


def as_dns(service: VirtualService) -> VirtualService:
    if service.protocol is not Protocol.UDP:
        return service
    return replace(
        service, port=53, real_servers=tuple(replace(each, port=53) for each in service.real_servers)
    )


def syn_flood(count: int) -> tuple[Connection, ...]:
    return tuple(
        entry("SYN_RECV", "10.0.1.11:8080", f"198.51.100.{number % 250 + 1}:{2000 + number}")
        for number in range(count)
    )


SERVER = "10.0.1.11:8080"
IDLE = Socket("tcp", Endpoint("10.0.1.11", 8080), Endpoint("10.0.0.101", 40001), "ESTABLISHED", idle=901.0)
TLS = VirtualService(
    Protocol.TCP, VIP, 443, real_servers=(RealServer("10.0.1.11", 8080, PacketForwarding.MASQ),)
)
COAP = VirtualService(
    Protocol.UDP,
    VIP,
    5683,
    real_servers=(
        RealServer("10.0.1.11", 5683, PacketForwarding.MASQ),
        RealServer("10.0.1.12", 5683, PacketForwarding.MASQ),
    ),
)
SECOND = VirtualService(
    Protocol.TCP, "10.0.0.20", 80, real_servers=(RealServer("10.0.1.11", 8080, PacketForwarding.MASQ),)
)
REPLY = Packet("lvs", "lvs-eth0", True, "UDP", "10.0.1.11", 5683, "10.0.0.101", 5683)
DROP_ICMP = ("filter -A OUTPUT -p icmp -j DROP",)
SNAT = (
    "nat -A POSTROUTING -p tcp -m ipvs --vproto 6 --vaddr 10.0.0.10 --vport 80 -j SNAT --to-source"
    " 10.0.1.201:40000-40031"
)
SYNPROXY_RULE = (
    f"filter -A INPUT -d {VIP}/32 -p tcp -m tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY"
)


def with_service(evidence: Evidence, service: VirtualService, **fields: Any) -> Evidence:
    ipvs = machine(evidence, "lvs").ipvs
    assert ipvs is not None
    return with_ipvs(evidence, services=(*ipvs.services, service), **fields)


def with_datagrams(evidence: Evidence, service: VirtualService, **fields: Any) -> Evidence:
    """With a UDP service that is offered, and one sender."""
    for name in ("rs1", "rs2"):
        offered = Socket("udp", Endpoint("0.0.0.0", service.port), None, "")
        evidence = changed(evidence, name, sockets=(*machine(evidence, name).sockets, offered))
    sender = entry("UDP", service.real_servers[0].name, virtual=f"{VIP}:{service.port}", protocol="UDP")
    return with_service(evidence, service, connections=(sender,), **fields)


def with_sync(evidence: Evidence, name: str, *daemons: SyncDaemon) -> Evidence:
    return with_ipvs(evidence, name, daemons=daemons)


def with_tunl(evidence: Evidence, **fields: Any) -> Evidence:
    links = tuple(
        replace(link, **fields) if link.name == "tunl0" else link for link in machine(evidence, "rs1").links
    )
    return changed(evidence, "rs1", links=links)


SENDER = replace(
    entry("UDP", "10.0.1.11:5683", "10.0.0.101:5683", f"{VIP}:5683", protocol="UDP"), expires=299
)


def with_marks(evidence: Evidence, *marks: tuple[str, int], servers: dict[int, str]) -> Evidence:
    """With rules that set marks, and services of marks with a real server or none."""
    services = [
        VirtualService(
            Protocol.FWMARK,
            fwmark=mark,
            real_servers=(RealServer(server, 0, PacketForwarding.MASQ),) if server else (),
        )
        for mark, server in servers.items()
    ]
    for service in services:
        evidence = with_service(evidence, service)
    rules = tuple(
        f"mangle -A PREROUTING -p tcp -m tcp {match} -j MARK --set-xmark {mark:#x}/0xffffffff"
        for match, mark in marks
    )
    return changed(evidence, "lvs", rules=rules)


def with_address(evidence: Evidence, name: str, ip: str) -> Evidence:
    """With an address on the first card, unless it is there."""
    old = machine(evidence, name)
    if any(address.ip == ip for _, address in old.addresses):
        return evidence
    card = next(link for link in old.links if link.name.endswith("-eth0"))
    links = tuple(
        replace(link, addresses=(*link.addresses, Address(ip, 32))) if link is card else link
        for link in old.links
    )
    return changed(evidence, name, links=links)


def director_alone(evidence: Evidence) -> Evidence:
    """The director alone, as with --here."""
    return replace(evidence, machines=evidence.directors)


def with_half_open(evidence: Evidence, server: str, count: int = 2) -> Evidence:
    """With connections to one server that never get any further."""
    stuck = tuple(entry("SYN_RECV", server, f"10.0.0.101:{port}") for port in range(5000, 5000 + count))
    return with_ipvs(evidence, connections=stuck)


def sync_link(evidence: Evidence, name: str) -> str:
    ipvs = machine(evidence, name).ipvs
    assert ipvs is not None
    return ipvs.daemons[0].link


def other_link(evidence: Evidence, name: str) -> str:
    return next(
        link.name
        for link in machine(evidence, name).links
        if link.name not in ("lo", sync_link(evidence, name))
    )


def sync_id(evidence: Evidence) -> int:
    ipvs = machine(evidence, "lvs1").ipvs
    assert ipvs is not None
    return ipvs.daemons[0].syncid
