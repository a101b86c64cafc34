"""The doctor on evidence that was recorded in real labs: silent on the healthy ones, and right when
one thing is changed in them.

tests/lab/record_doctor.py records; tests/lab/test_training.py has the doctor look at labs that are
really broken.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lvslab.doctor import gather, script
from lvslab.doctor.diagnose import RULES, diagnose, report
from lvslab.doctor.evidence import (
    Address,
    Evidence,
    Ipvs,
    Link,
    Machine,
    Neighbour,
    Packet,
    Route,
    Socket,
    SyncDaemon,
)
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.netfilter import rules, source_addresses, source_nat, translated_ports
from lvslab.doctor.parse import parse_machine
from lvslab.errors import CannotError, LabError
from lvslab.host.completed import Completed
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection, Counters, Timeouts
from lvslab.ipvs.proc import read_table
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService
from lvslab.modes.base import Role

RECORDED = sorted((Path(__file__).parent / "data" / "doctor").glob("*.json"))
VIP = "10.0.0.10"


class _Replay:
    """A machine that says again what it said when it was recorded."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self._outputs = list(outputs)

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        return Completed(0, self._outputs.pop(0), "")


@cache
def recorded(name: str) -> Evidence:
    machines = json.loads((Path(__file__).parent / "data" / "doctor" / f"{name}.json").read_text())
    return gather.read([(each["name"], Role(each["role"]), _Replay(each["outputs"])) for each in machines])


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


# -- healthy networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("file", RECORDED, ids=[each.stem for each in RECORDED])
def test_nothing_is_found_in_a_healthy_lab(file: Path) -> None:
    evidence = recorded(file.stem)
    assert found(evidence) == []
    assert not [line for each in evidence.machines for line in each.unread]


def test_all_is_read_that_the_rules_look_at() -> None:
    evidence = recorded("nat")
    lvs, rs1 = machine(evidence, "lvs"), machine(evidence, "rs1")
    assert lvs.ipvs is not None
    assert [service.name for service in lvs.ipvs.services] == [
        "TCP 10.0.0.10:80",
        "TCP 10.0.0.10:5201",
        "UDP 10.0.0.10:5300",
    ]
    assert lvs.ipvs.timeouts == Timeouts(900, 120, 300)
    assert len([each for each in lvs.ipvs.connections if each.virtual == Endpoint(VIP, 80)]) == 4
    assert lvs.ipvs.active["TCP 10.0.0.10:80", "10.0.1.11:8080"] == 2
    assert lvs.takes(VIP) and lvs.has("10.0.1.1") and not lvs.has("10.0.1.11")
    assert lvs.sysctl("net.ipv4.ip_forward") == 1 and lvs.sysctl("net.ipv4.vs.conn_reuse_mode") == 1
    assert rs1.paths["10.0.1.11", "10.0.0.101"] == Route("unicast", "10.0.0.101", "rs1-eth0", via="10.0.1.1")
    assert any(each.is_open and each.local == Endpoint("0.0.0.0", 8080) for each in rs1.sockets)
    assert rs1.ipvs is None and "nginx" in rs1.programs
    assert evidence.clients() == ("10.0.0.101",)
    snat = next(rules(machine(recorded("fullnat"), "lvs"), "nat", "POSTROUTING"))
    assert (snat.target, source_addresses(snat)) == ("SNAT", ["10.0.1.201", "10.0.1.202"])
    pair = recorded("pair")
    daemons = {each.name: [one.role for one in each.ipvs.daemons] for each in pair.directors if each.ipvs}
    assert daemons == {"lvs1": ["master"], "lvs2": ["backup"]}
    assert next(link for link in machine(recorded("tun"), "rs1").links if link.name == "tunl0").kind == "ipip"


# -- one thing changed -----------------------------------------------------------------------------


def _http(change: Callable[[VirtualService], VirtualService]) -> Callable[[VirtualService], VirtualService]:
    return lambda service: change(service) if service.port == 80 else service


def _drained(service: VirtualService) -> VirtualService:
    first, *others = service.real_servers
    return replace(service, real_servers=(replace(first, weight=0), *others))


def _ports(evidence: Evidence, name: str, closed: int) -> Evidence:
    """With nobody on a port of a real server."""
    return changed(
        evidence,
        name,
        sockets=tuple(each for each in machine(evidence, name).sockets if each.local.port != closed),
    )


def _route(evidence: Evidence, name: str, rip: str, via: str = "", link: str | None = None) -> Evidence:
    way = Route("unicast", "10.0.0.101", link or f"{name}-eth0", via=via)
    return changed(evidence, name, paths={(rip, "10.0.0.101"): way})


def _dns(service: VirtualService) -> VirtualService:
    if service.protocol is not Protocol.UDP:
        return service
    return replace(
        service, port=53, real_servers=tuple(replace(each, port=53) for each in service.real_servers)
    )


def _flood(count: int) -> tuple[Connection, ...]:
    return tuple(
        entry("SYN_RECV", "10.0.1.11:8080", f"198.51.100.{number % 250 + 1}:{2000 + number}")
        for number in range(count)
    )


_SERVER = "10.0.1.11:8080"
_IDLE = Socket("tcp", Endpoint("10.0.1.11", 8080), Endpoint("10.0.0.101", 40001), "ESTABLISHED", idle=901.0)
_TLS = VirtualService(
    Protocol.TCP, VIP, 443, real_servers=(RealServer("10.0.1.11", 8080, PacketForwarding.MASQ),)
)
_COAP = VirtualService(
    Protocol.UDP,
    VIP,
    5683,
    real_servers=(
        RealServer("10.0.1.11", 5683, PacketForwarding.MASQ),
        RealServer("10.0.1.12", 5683, PacketForwarding.MASQ),
    ),
)
_SECOND = VirtualService(
    Protocol.TCP, "10.0.0.20", 80, real_servers=(RealServer("10.0.1.11", 8080, PacketForwarding.MASQ),)
)
_REPLY = Packet("lvs", "lvs-eth0", True, "UDP", "10.0.1.11", 5683, "10.0.0.101", 5683)
_DROP_ICMP = ("filter -A OUTPUT -p icmp -j DROP",)
_SNAT = (
    "nat -A POSTROUTING -p tcp -m ipvs --vproto 6 --vaddr 10.0.0.10 --vport 80 -j SNAT --to-source"
    " 10.0.1.201:40000-40031"
)
_SYNPROXY = (
    f"filter -A INPUT -d {VIP}/32 -p tcp -m tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY"
)


def _table_plus(evidence: Evidence, service: VirtualService, **fields: Any) -> Evidence:
    ipvs = machine(evidence, "lvs").ipvs
    assert ipvs is not None
    return with_ipvs(evidence, services=(*ipvs.services, service), **fields)


def _datagrams(evidence: Evidence, service: VirtualService, **fields: Any) -> Evidence:
    """With a UDP service that is offered, and one sender."""
    for name in ("rs1", "rs2"):
        offered = Socket("udp", Endpoint("0.0.0.0", service.port), None, "")
        evidence = changed(evidence, name, sockets=(*machine(evidence, name).sockets, offered))
    sender = entry("UDP", service.real_servers[0].name, virtual=f"{VIP}:{service.port}", protocol="UDP")
    return _table_plus(evidence, service, connections=(sender,), **fields)


def _sync(evidence: Evidence, name: str, *daemons: SyncDaemon) -> Evidence:
    return with_ipvs(evidence, name, daemons=daemons)


def _tunl(evidence: Evidence, **fields: Any) -> Evidence:
    links = tuple(
        replace(link, **fields) if link.name == "tunl0" else link for link in machine(evidence, "rs1").links
    )
    return changed(evidence, "rs1", links=links)


BROKEN: dict[str, tuple[str, str, Callable[[Evidence], Evidence]]] = {
    "ip_forward is 0": (
        "nat",
        "ip-forward-off",
        lambda e: changed(
            e,
            "lvs",
            sysctls={
                "net.ipv4.ip_forward": "0",
                **{f"net.ipv4.conf.lvs-eth{number}.forwarding": "0" for number in (0, 1)},
            },
        ),
    ),
    "one link does not forward": (
        "nat",
        "ip-forward-off",
        lambda e: changed(e, "lvs", sysctls={"net.ipv4.conf.lvs-eth1.forwarding": "0"}),
    ),
    "another gateway": ("nat", "wrong-gateway", lambda e: _route(e, "rs2", "10.0.1.12", via="10.0.1.254")),
    "no gateway": (
        "nat",
        "wrong-gateway",
        lambda e: changed(e, "rs2", paths={("10.0.1.12", "10.0.0.101"): None}),
    ),
    "client on the link": ("nat", "client-beside-servers", lambda e: _route(e, "rs1", "10.0.1.11")),
    "a second card": (
        "nat",
        "reply-bypasses-director",
        lambda e: _route(e, "rs1", "10.0.1.11", link="rs1-eth1"),
    ),
    "vip taken away": ("nat", "vip-not-local", lambda e: without_address(e, "lvs", VIP)),
    "one vip of two": ("nat", "balancer-dead", lambda e: _table_plus(e, _SECOND)),
    "empty table": ("nat", "no-service", lambda e: with_table(e, lambda service: None)),
    "no real server": (
        "nat",
        "no-real-server",
        lambda e: with_table(e, _http(lambda service: replace(service, real_servers=()))),
    ),
    "all drained": (
        "nat",
        "all-servers-quiescent",
        lambda e: with_table(
            e,
            _http(
                lambda service: replace(
                    service, real_servers=tuple(replace(each, weight=0) for each in service.real_servers)
                )
            ),
        ),
    ),
    "mark without a rule": (
        "nat",
        "mark-not-set",
        lambda e: _table_plus(
            e,
            VirtualService(
                Protocol.FWMARK, fwmark=1, real_servers=(RealServer("10.0.1.11", 0, PacketForwarding.MASQ),)
            ),
        ),
    ),
    "two rules for one mark": (
        "nat",
        "mark-set-twice",
        lambda e: _marking(e, ("--dport 8021", 7), ("--dport 8021", 9), servers={7: "10.0.1.11", 9: ""}),
    ),
    "a mark that nobody serves": (
        "nat",
        "mark-without-service",
        lambda e: _marking(e, ("--dport 8021", 7), ("--dport 9100", 8), servers={7: "10.0.1.11"}),
    ),
    "masqueraded to lo": (
        "nat",
        "masquerade-to-loopback",
        lambda e: with_table(
            e,
            _http(
                lambda service: replace(
                    service,
                    real_servers=(
                        *service.real_servers,
                        RealServer("127.0.0.1", 80, PacketForwarding.MASQ),
                    ),
                )
            ),
        ),
    ),
    "nobody of a pair has the vip": (
        "pair",
        "vip-held-by-none",
        lambda e: without_address(without_address(e, "lvs1", VIP), "lvs2", VIP),
    ),
    "both of a pair have the vip": (
        "pair",
        "vip-held-twice",
        lambda e: _plus_address(_plus_address(e, "lvs1", VIP), "lvs2", VIP),
    ),
    "drained, and a sender goes on": (
        "nat",
        "udp-keeps-drained",
        lambda e: with_ipvs(
            _datagrams(e, _drained(_COAP)),
            connections=(_SENDER,),
        ),
    ),
    "arp_ignore is 0": (
        "dr",
        "arp-flux",
        lambda e: changed(e, "rs1", sysctls={"net.ipv4.conf.all.arp_ignore": "0"}),
    ),
    "arp_ignore on lo alone": (
        "dr",
        "arp-flux",
        lambda e: changed(
            e, "rs1", sysctls={"net.ipv4.conf.all.arp_ignore": "0", "net.ipv4.conf.lo.arp_ignore": "1"}
        ),
    ),
    "arp_announce is 0": (
        "dr",
        "arp-flux",
        lambda e: changed(e, "rs2", sysctls={"net.ipv4.conf.all.arp_announce": "0"}),
    ),
    "server without vip": ("dr", "vip-missing-on-server", lambda e: without_address(e, "rs1", VIP)),
    "tunl0 down": ("tun", "tunnel-down", lambda e: _tunl(e, up=False)),
    "strict rp_filter": (
        "tun",
        "tunnel-rp-filter",
        lambda e: changed(e, "rs1", sysctls={"net.ipv4.conf.tunl0.rp_filter": "1"}),
    ),
    "icmp dropped": ("tun", "tunnel-mtu", lambda e: changed(e, "lvs", rules=_DROP_ICMP)),
    "dr on another port": (
        "dr",
        "port-mapping-without-nat",
        lambda e: _ports(_ports(e, "rs1", 80), "rs2", 80),
    ),
    "one server's port closed": ("nat", "wrong-server-port", lambda e: _ports(e, "rs1", 8080)),
    "one server's ports closed": (
        "nat",
        "server-port-dead",
        lambda e: _ports(_ports(e, "rs1", 8080), "rs1", 80),
    ),
    "https to the http port": (
        "nat",
        "wrong-server-port",
        lambda e: _table_plus(
            changed(
                e,
                "rs1",
                sockets=(*machine(e, "rs1").sockets, Socket("tcp", Endpoint("0.0.0.0", 443), None, "LISTEN")),
            ),
            _TLS,
        ),
    ),
    "dns over udp alone": ("nat", "protocol-missing", lambda e: with_table(e, _dns)),
    "deleted server": (
        "nat",
        "deleted-server-swallows",
        lambda e: with_ipvs(e, connections=(entry("ESTABLISHED", "10.0.1.19:8080"),)),
    ),
    "drained and persistent": (
        "nat",
        "persistence-keeps-drained",
        lambda e: with_ipvs(
            with_table(e, _http(lambda service: replace(_drained(service), persistence_timeout=300))),
            connections=(
                entry("NONE", "10.0.1.12:8080", client="10.0.0.101:0"),
                entry("NONE", _SERVER, client="10.0.0.102:0"),
            ),
        ),
    ),
    "conn_reuse_mode is 0": (
        "nat",
        "reused-port-pinned",
        lambda e: changed(
            with_table(e, _http(_drained)), "lvs", sysctls={"net.ipv4.vs.conn_reuse_mode": "0"}
        ),
    ),
    "idle for too long": (
        "nat",
        "idle-timeout",
        lambda e: changed(e, "rs1", sockets=(*machine(e, "rs1").sockets, _IDLE)),
    ),
    "coap from one port": ("nat", "udp-sticks", lambda e: _datagrams(e, _COAP)),
    "replies of a one-packet service": (
        "nat",
        "one-packet-nat",
        lambda e: replace(_datagrams(e, replace(_COAP, ops=True)), packets=(_REPLY,)),
    ),
    "no backup daemon": ("pair", "sync-off", lambda e: _sync(e, "lvs2")),
    "another syncid": (
        "pair",
        "sync-mismatch",
        lambda e: _sync(e, "lvs2", SyncDaemon("backup", _sync_link(e, "lvs2"), 77)),
    ),
    "another link": (
        "pair",
        "sync-mismatch",
        lambda e: _sync(e, "lvs2", SyncDaemon("backup", _other_link(e, "lvs2"), _sync_id(e))),
    ),
    "no tracking": (
        "fullnat",
        "conntrack-off",
        lambda e: changed(e, "lvs", sysctls={"net.ipv4.vs.conntrack": "0"}),
    ),
    "local address gone": (
        "fullnat",
        "local-address-missing",
        lambda e: without_address(e, "lvs", "10.0.1.202"),
    ),
    "ports used up": (
        "fullnat",
        "local-ports-exhausted",
        lambda e: with_ipvs(
            changed(e, "lvs", rules=(_SNAT,)),
            connections=tuple(
                entry("ESTABLISHED", "10.0.1.11:8080", f"10.0.0.101:{port}") for port in range(3000, 3032)
            ),
        ),
    ),
    "tracking full": (
        "fullnat",
        "conntrack-full",
        lambda e: changed(e, "lvs", counts={"nf_conntrack_count": 262144}),
    ),
    "proxy without notrack": (
        "synproxy",
        "syn-proxy-half",
        lambda e: changed(
            e, "lvs", rules=tuple(each for each in machine(e, "lvs").rules if not each.startswith("raw -A"))
        ),
    ),
    "notrack without proxy": (
        "synproxy",
        "syn-proxy-half",
        lambda e: changed(
            e, "lvs", rules=tuple(each for each in machine(e, "lvs").rules if "-j SYNPROXY" not in each)
        ),
    ),
    "a server asks itself": (
        "nat",
        "hairpin",
        lambda e: with_ipvs(e, connections=(entry("SYN_RECV", "10.0.1.12:8080", "10.0.1.11:4000"),)),
    ),
    "nothing comes back": ("nat", "wrong-gateway", lambda e: _half_open(_alone(e), "10.0.1.12:8080")),
    "nothing comes back, server gone": (
        "nat",
        "server-unreachable",
        lambda e: changed(
            _half_open(_alone(e), "10.0.1.12:8080"),
            "lvs",
            neighbours=(Neighbour("10.0.1.12", "", "lvs-eth1", "FAILED"),),
        ),
    ),
    "no handshake in DR": ("dr", "server-silent", lambda e: _half_open(_alone(e), "10.0.0.12:80")),
    "a flood": ("nat", "syn-flood", lambda e: with_ipvs(e, connections=_flood(200))),
}


_SENDER = replace(
    entry("UDP", "10.0.1.11:5683", "10.0.0.101:5683", f"{VIP}:5683", protocol="UDP"), expires=299
)


def _marking(evidence: Evidence, *marks: tuple[str, int], servers: dict[int, str]) -> Evidence:
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
        evidence = _table_plus(evidence, service)
    rules = tuple(
        f"mangle -A PREROUTING -p tcp -m tcp {match} -j MARK --set-xmark {mark:#x}/0xffffffff"
        for match, mark in marks
    )
    return changed(evidence, "lvs", rules=rules)


def _plus_address(evidence: Evidence, name: str, ip: str) -> Evidence:
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


def _alone(evidence: Evidence) -> Evidence:
    """The director alone, as with --here."""
    return replace(evidence, machines=evidence.directors)


def _half_open(evidence: Evidence, server: str, count: int = 2) -> Evidence:
    """With connections to one server that never get any further."""
    stuck = tuple(entry("SYN_RECV", server, f"10.0.0.101:{port}") for port in range(5000, 5000 + count))
    return with_ipvs(evidence, connections=stuck)


def _sync_link(evidence: Evidence, name: str) -> str:
    ipvs = machine(evidence, name).ipvs
    assert ipvs is not None
    return ipvs.daemons[0].link


def _other_link(evidence: Evidence, name: str) -> str:
    return next(
        link.name
        for link in machine(evidence, name).links
        if link.name not in ("lo", _sync_link(evidence, name))
    )


def _sync_id(evidence: Evidence) -> int:
    ipvs = machine(evidence, "lvs1").ipvs
    assert ipvs is not None
    return ipvs.daemons[0].syncid


@pytest.mark.parametrize("case", BROKEN)
def test_one_thing_changed_is_found_as_what_it_is(case: str) -> None:
    name, fault, change = BROKEN[case]
    first, *others = diagnose(change(recorded(name)))
    assert first.fault == fault, [first, *others]
    assert not others, others
    assert first.evidence and first.fix and first.sentence.endswith(".")
    assert all(
        line.partition(":")[0] in {each.name for each in recorded(name).machines} for line in first.evidence
    )


def test_every_rule_has_a_case() -> None:
    """A rule that no case makes speak is not tested; the one on sessions has tests of its own."""
    changed_evidence = [change(recorded(name)) for name, _, change in BROKEN.values()]
    silent = [
        rule.__name__ for rule in RULES if not any(list(rule(evidence)) for evidence in changed_evidence)
    ]
    assert silent == ["persistence_missing"]


def test_the_manual_knows_every_fault() -> None:
    manual = (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text()
    faults = {"persistence-missing", *(fault for _, fault, _ in BROKEN.values())}
    assert [fault for fault in sorted(faults) if f"`{fault}`" not in manual] == []


# What looks like a fault and is none: (lab, change), nothing must be found.
HARMLESS: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "ip_forward is 0 in DR": ("dr", lambda e: changed(e, "lvs", sysctls={"net.ipv4.ip_forward": "0"})),
    "another gateway behind source NAT": (
        "fullnat",
        lambda e: _route(e, "rs1", "10.0.1.11", via="10.0.1.254"),
    ),
    "arp_ignore on the card": (
        "dr",
        lambda e: changed(
            e, "rs1", sysctls={"net.ipv4.conf.all.arp_ignore": "0", "net.ipv4.conf.rs1-eth0.arp_ignore": "1"}
        ),
    ),
    "arptables instead": (
        "dr",
        lambda e: changed(
            e,
            "rs1",
            sysctls={"net.ipv4.conf.all.arp_ignore": "0", "net.ipv4.conf.all.arp_announce": "0"},
            rules=(
                f"arp -A INPUT -d {VIP} -j DROP",
                f"arp -A OUTPUT -s {VIP} -j mangle --mangle-ip-s 10.0.0.11",
            ),
        ),
    ),
    "redirected instead of an address": (
        "dr",
        lambda e: changed(
            without_address(e, "rs1", VIP),
            "rs1",
            rules=(f"nat -A PREROUTING -d {VIP}/32 -p tcp -j REDIRECT", *_UDP_TOO),
        ),
    ),
    "loose rp_filter": ("tun", lambda e: changed(e, "rs1", sysctls={"net.ipv4.conf.tunl0.rp_filter": "2"})),
    "icmp dropped, short segments": (
        "tun",
        lambda e: changed(_short_segments(_short_segments(e, "rs1"), "rs2"), "lvs", rules=_DROP_ICMP),
    ),
    "icmp dropped but the one": (
        "tun",
        lambda e: changed(
            e, "lvs", rules=("filter -A OUTPUT -p icmp -m icmp --icmp-type 3/4 -j ACCEPT", *_DROP_ICMP)
        ),
    ),
    "drained, nobody remembered": (
        "nat",
        lambda e: with_table(e, _http(lambda service: replace(_drained(service), persistence_timeout=300))),
    ),
    "drained, templates expire": (
        "nat",
        lambda e: changed(
            with_ipvs(
                with_table(e, _http(lambda service: replace(_drained(service), persistence_timeout=300))),
                connections=(
                    entry("NONE", "10.0.1.12:8080", client="10.0.0.101:0"),
                    entry("NONE", _SERVER, client="10.0.0.102:0"),
                ),
            ),
            "lvs",
            sysctls={"net.ipv4.vs.expire_quiescent_template": "1"},
        ),
    ),
    "deleted server, connection over": (
        "nat",
        lambda e: with_ipvs(e, connections=(entry("TIME_WAIT", "10.0.1.19:8080"),)),
    ),
    "idle, and the director knows it": (
        "nat",
        lambda e: with_ipvs(
            changed(e, "rs1", sockets=(*machine(e, "rs1").sockets, _IDLE)),
            connections=(entry("ESTABLISHED", _SERVER, "10.0.0.101:40001"),),
        ),
    ),
    "unknown, but not for that long": (
        "nat",
        lambda e: changed(e, "rs1", sockets=(*machine(e, "rs1").sockets, replace(_IDLE, idle=20.0))),
    ),
    "a service that nobody offers and nobody uses": (
        "nat",
        lambda e: _table_plus(
            e,
            VirtualService(
                Protocol.TCP, VIP, 9999, real_servers=(RealServer("10.0.1.11", 9999, PacketForwarding.MASQ),)
            ),
        ),
    ),
    "one-packet scheduling": ("nat", lambda e: _datagrams(e, replace(_COAP, ops=True))),
    "translated replies": (
        "nat",
        lambda e: replace(_datagrams(e, replace(_COAP, ops=True)), packets=(replace(_REPLY, source=VIP),)),
    ),
    "a flood that drop_entry fights": (
        "nat",
        lambda e: changed(
            with_ipvs(e, connections=_flood(200)), "lvs", sysctls={"net.ipv4.vs.drop_entry": "3"}
        ),
    ),
    "half-open connections of one client": (
        "nat",
        lambda e: with_ipvs(
            e,
            connections=tuple(entry("SYN_RECV", _SERVER, f"10.0.0.101:{port}") for port in range(2000, 2200)),
        ),
    ),
    "a connection that is just being made": (
        "nat",
        lambda e: _half_open(_alone(e), "10.0.1.12:8080", count=1),
    ),
    "half-open connections beside others": (
        "nat",
        lambda e: with_ipvs(
            _alone(e),
            connections=(
                *(entry("SYN_RECV", _SERVER, f"10.0.0.101:{port}") for port in (1, 2, 3)),
                entry("ESTABLISHED", _SERVER),
            ),
        ),
    ),
    "an IPv6 service": ("nat", lambda e: _ipv6(e)),
    "a pair without sync": ("pair", lambda e: _sync(_sync(e, "lvs1"), "lvs2")),
    "both daemons on both": (
        "pair",
        lambda e: _sync(_sync(e, "lvs1", *_both(e, "lvs1")), "lvs2", *_both(e, "lvs2")),
    ),
}


def _ipv6(evidence: Evidence) -> Evidence:
    """With an IPv6 service, whose address the director has."""
    outer, *others = machine(evidence, "lvs").links[::-1]
    own = replace(outer, addresses=(*outer.addresses, Address("fd00::10", 64)))
    server = RealServer("fd00::11", 8080, PacketForwarding.MASQ)
    return _table_plus(
        changed(evidence, "lvs", links=(*others, own)),
        VirtualService(Protocol.TCP, "fd00::10", 80, real_servers=(server,)),
    )


_UDP_TOO = (f"nat -A PREROUTING -d {VIP}/32 -p udp -j REDIRECT",)


def _both(evidence: Evidence, name: str) -> tuple[SyncDaemon, ...]:
    return tuple(
        SyncDaemon(role, _sync_link(evidence, name), _sync_id(evidence)) for role in ("master", "backup")
    )


def _short_segments(evidence: Evidence, name: str) -> Evidence:
    paths = {key: replace(path, advmss=1400) for key, path in machine(evidence, name).paths.items() if path}
    return changed(evidence, name, paths=paths)


@pytest.mark.parametrize("case", HARMLESS)
def test_what_only_looks_like_a_fault_is_passed_over(case: str) -> None:
    name, change = HARMLESS[case]
    assert found(change(recorded(name))) == []


# -- sessions, by what a capture shows -------------------------------------------------------------


def _talk(server: str, rip: str, port: int, asked: str, answered: str) -> list[Packet]:
    ends = ("10.0.0.101", port, rip, 8080)
    back = (rip, 8080, "10.0.0.101", port)
    link = f"{server}-eth0"
    return [
        Packet(server, link, False, "TCP", *ends, flags="PA", body=asked.encode()),
        Packet(server, link, True, "TCP", *back, flags="PA", body=answered[:15].encode()),
        Packet(server, link, True, "TCP", *back, flags="PA", body=answered[15:].encode()),
    ]


_LOGIN = _talk(
    "rs1",
    "10.0.1.11",
    4001,
    "GET /login HTTP/1.1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nSet-Cookie: id=5f3a9c21d7\r\n\r\n",
)
_AWAY = ("rs2", "10.0.1.12", 4002, "GET /home HTTP/1.1\r\nCookie: id=5f3a9c21d7\r\n\r\n")


def _with_packets(*packets: Packet) -> Evidence:
    return replace(recorded("nat"), packets=packets)


def test_a_session_that_another_server_does_not_know() -> None:
    refused = _talk(*_AWAY, "HTTP/1.1 403 Forbidden\r\n\r\nwho are you?")
    (finding,) = diagnose(_with_packets(*_LOGIN, *refused))
    assert (finding.fault, finding.certainty) == ("persistence-missing", Certainty.LIKELY)
    assert finding.fix == ("lvs# ipvsadm -E -t 10.0.0.10:80 -s rr -p 300",)


@pytest.mark.parametrize(
    "talk",
    [
        _talk(*_AWAY, "HTTP/1.1 200 OK\r\n\r\nwelcome back"),
        _talk(*_AWAY, "HTTP/1.1 404 Not Found\r\n\r\nno such page"),
        _talk(*_AWAY[:3], "GET /home HTTP/1.1\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n"),
        _talk("rs1", "10.0.1.11", 4003, _AWAY[3], "HTTP/1.1 403 Forbidden\r\n\r\n"),
    ],
    ids=["known everywhere", "no such page", "nothing shown", "refused by its own server"],
)
def test_no_session_is_lost(talk: list[Packet]) -> None:
    assert found(_with_packets(*_LOGIN, *talk)) == []


def test_a_persistent_service_keeps_its_sessions() -> None:
    evidence = with_table(
        _with_packets(*_LOGIN, *_talk(*_AWAY, "HTTP/1.1 403 Forbidden\r\n\r\n")),
        _http(lambda each: replace(each, persistence_timeout=60)),
    )
    assert found(evidence) == []


# -- together --------------------------------------------------------------------------------------


def test_the_surest_comes_first_and_each_fault_once() -> None:
    flooded = with_ipvs(recorded("nat"), connections=_flood(200))
    both = _route(_route(flooded, "rs1", "10.0.1.11", via="10.0.1.254"), "rs2", "10.0.1.12", via="10.0.1.254")
    findings = diagnose(both)
    assert [each.fault for each in findings] == ["wrong-gateway", "syn-flood"]
    assert findings[0].fix == (
        "rs1# ip route replace default via 10.0.1.1",
        "rs2# ip route replace default via 10.0.1.1",
    )


def test_the_report_is_what_json_shows() -> None:
    evidence = changed(recorded("nat"), "rs1", unread=("ipvsadm: not for you",))
    shown = report(_route(evidence, "rs2", "10.0.1.12", via="10.0.1.254"))
    assert json.loads(json.dumps(shown)) == shown
    (finding,) = shown["findings"]
    assert (finding["name"], finding["verdict"], finding["certainty"]) == ("wrong-gateway", "fail", "certain")
    assert shown["unread"] == ["rs1: ipvsadm: not for you"] and shown["packets"] is None
    assert shown["machines"] == ["c1", "lvs", "rs1", "rs2"]


def test_a_finding_says_how_sure_it_is() -> None:
    assert Finding("x", "It is.", (), (), Certainty.LIKELY).to_json()["certainty"] == "likely"


# -- one director alone, as with --here ------------------------------------------------------------


def test_a_director_alone_shows_what_is_wrong_with_itself() -> None:
    alone = _alone(recorded("nat"))
    assert found(alone) == []
    assert found(
        changed(
            alone,
            "lvs",
            sysctls={f"net.ipv4.conf.{link}.forwarding": "0" for link in ("lvs-eth0", "lvs-eth1")},
        )
    ) == ["ip-forward-off"]


def test_the_backup_of_a_pair_alone_lacks_the_address_rightly() -> None:
    pair = recorded("pair")
    backup = next(each for each in pair.directors if not each.takes(VIP))
    alone = replace(pair, machines=(backup,))
    assert found(alone) == []
    assert found(changed(alone, backup.name, programs=frozenset())) == ["vip-not-local"]


def test_an_ordinary_user_sees_the_table_and_is_told_what_was_refused() -> None:
    text = "\n".join(
        [
            f"{script.MARK}files",
            "grep: /proc/sys/net/ipv4/vs/secret: Permission denied",
            "/proc/sys/net/ipv4/ip_forward:0",
            "/proc/net/ip_vs:IP Virtual Server version 1.2.1 (size=4096)",
            "/proc/net/ip_vs:Prot LocalAddress:Port Scheduler Flags",
            "/proc/net/ip_vs:  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
            "/proc/net/ip_vs:TCP  0A00000A:0050 wrr persistent 60 FFFFFFFF",
            "/proc/net/ip_vs:  -> 0A00010C:1F90      Masq    3      1          2         ",
            f"{script.MARK}ip",
            '[{"ifname":"lo","flags":["UP","LOWER_UP"],"addr_info":[{"family":"inet","local":"10.0.0.10","prefixlen":32}]}]',
            '[{"type":"local","dst":"10.0.0.10","dev":"lo","table":"local"}]',
            f"{script.MARK}table",
            "Can't initialize ipvs: Permission denied (you must be root)",
        ]
    )
    director = parse_machine("me", Role.DIRECTOR, text)
    assert director.ipvs == Ipvs(
        services=(
            VirtualService(
                Protocol.TCP,
                VIP,
                80,
                scheduler=Scheduler.WRR,
                persistence_timeout=60,
                real_servers=(RealServer("10.0.1.12", 8080, PacketForwarding.MASQ, 3),),
            ),
        ),
        active={("TCP 10.0.0.10:80", "10.0.1.12:8080"): 3},
    )
    assert director.unread == (
        "/proc/sys/net/ipv4/vs/secret: Permission denied",
        "ipvsadm: Can't initialize ipvs: Permission denied (you must be root)",
    )
    assert found(Evidence((director,))) == ["ip-forward-off"]


def test_a_machine_without_ip_vs_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match=r"its kernel has no IP virtual server .*; .* modprobe ip_vs"):
        gather.require_ipvs(tmp_path / "ip_vs")
    (tmp_path / "ip_vs").touch()
    gather.require_ipvs(tmp_path / "ip_vs")


def test_a_machine_that_does_not_answer_is_named() -> None:
    class Dead:
        def run(self, script: str, *, timeout: float = 30.0) -> Completed:
            return Completed(127, "", "sh: not found")

    with pytest.raises(LabError, match="rs9"):
        gather.read([("rs9", Role.REAL_SERVER, Dead())])


# -- reading ---------------------------------------------------------------------------------------


def test_the_reading_script_changes_nothing() -> None:
    """Every command of it only shows something, and nothing loads a module: ipvsadm and
    iptables-save do so where none is loaded.
    """
    lines = [line.strip() for line in script.reading(director=True).splitlines()]
    programs = {
        line.split()[0] for line in lines if not line.startswith(("echo", "PATH=", "exit", "END", "if", "fi"))
    }
    assert programs == {"grep", "ip", "ipvsadm", "address", "route", "rule", "neigh"}
    assert all(line.split()[1] in ("-S", "-L") for line in lines if line.startswith("ipvsadm"))
    assert all(
        line.split()[1] in ("show", "get")
        for line in lines
        if line.startswith(("address", "route", "rule", "neigh"))
    )
    assert (
        lines[lines.index(next(line for line in lines if line.startswith("ipvsadm"))) - 2]
        == "if [ -e /proc/net/ip_vs ]; then"
    )
    assert all("-save" in line for line in lines if "tables" in line)
    asked = [
        line
        for line in script.asking([("", VIP), ("10.0.1.11", "10.0.0.101")]).splitlines()
        if line.startswith("route")
    ]
    assert asked == ["route get 10.0.0.10", "route get 10.0.0.101 from 10.0.1.11"]


def test_the_kernels_own_table_is_read() -> None:
    services, active = read_table(
        [
            "IP Virtual Server version 1.2.1 (size=4096)",
            "UDP  0A00000A:0035 rr ops",
            "  -> 0A00000B:0035      Route   1      0          7         ",
            "TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 wlc",
            "  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0050      Tunnel  2      1          0         ",
            "FWM  00000050 rr persistent 300 FFFFFFFF",
        ]
    )
    assert [each.name for each in services] == ["UDP 10.0.0.10:53", "TCP [fd00::1]:80", "FWM 80"]
    assert (services[0].ops, services[1].real_servers[0].forwarding, services[2].persistence_timeout) == (
        True,
        PacketForwarding.TUN,
        300,
    )
    assert active == {("UDP 10.0.0.10:53", "10.0.0.11:53"): 7, ("TCP [fd00::1]:80", "[fd00::2]:80"): 1}


def test_rules_of_source_nat_are_understood() -> None:
    service = VirtualService(Protocol.TCP, VIP, 80)

    def nat(*lines: str) -> Machine:
        return Machine("lvs", Role.DIRECTOR, rules=tuple(f"nat -A POSTROUTING {line}" for line in lines))

    def fits(*lines: str) -> bool:
        return source_nat(nat(*lines), service, "10.0.0.101", "10.0.1.11") is not None

    assert fits("-j MASQUERADE") and fits(
        "-m ipvs --vaddr 10.0.0.10/32 --vport 80 -j SNAT --to-source 10.0.1.1"
    )
    assert fits("-s 10.0.0.0/24 -j MASQUERADE") and not fits("-s 10.0.1.0/24 -j MASQUERADE")
    assert not fits("! -s 10.0.0.0/24 -j MASQUERADE") and not fits("-m ipvs --vproto 17 -j MASQUERADE")
    assert (
        not fits("-m ipvs --vaddr 10.0.0.20/32 -j MASQUERADE")
        and not fits("-m ipvs --vport 443 -j MASQUERADE")
        and not fits("-j ACCEPT")
    )
    (rule,) = rules(nat("-p tcp -j SNAT --to-source 10.0.1.201-10.0.1.204:40000-40031"), "nat")
    assert (translated_ports(rule), source_addresses(rule)) == (
        4 * 32,
        [f"10.0.1.{host}" for host in range(201, 205)],
    )
    (whole,) = rules(nat("-j SNAT --to-source 10.0.1.201"), "nat")
    assert translated_ports(whole) is None


def test_addresses_are_placed_on_links() -> None:
    links = (
        Link("lo", addresses=(Address(VIP, 32, "host"),)),
        Link("eth0", addresses=(Address("10.0.0.11", 24),)),
    )
    server = Machine("rs1", Role.REAL_SERVER, links=links, neighbours=(Neighbour(VIP, "", "eth0", "FAILED"),))
    assert server.has(VIP) and not server.has("10.0.0.12")
    assert server.on_link("10.0.0.101") == links[1] and server.on_link("10.0.9.1") is None


def test_counters_of_a_lopsided_service_tell_that_a_sender_sticks() -> None:
    service = replace(
        _COAP, port=9000, real_servers=tuple(replace(each, port=9000) for each in _COAP.real_servers)
    )

    def counted(conns: int, packets: int) -> Evidence:
        counters = Counters(conns=conns, in_packets=packets, out_packets=0, in_bytes=0, out_bytes=0)
        stats = {(service.name, ""): counters, (service.name, "10.0.1.11:9000"): counters}
        return _datagrams(recorded("nat"), service, stats=stats)

    assert found(counted(1, 50)) == ["udp-sticks"]
    assert found(counted(25, 50)) == [], "each sender asks once or twice"
